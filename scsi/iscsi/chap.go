package iscsi

import (
	"crypto/md5" //nolint:gosec // CHAP algorithm 5 is MD5 (RFC 1994)
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // CHAP algorithm 6
	"crypto/sha256"
	"crypto/sha3"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"

	"vvsim/scsi/iscsi/negotiate"
	"vvsim/scsi/iscsi/pdu"
)

// chapHashes are the CHAP algorithms by IANA number; strongest last.
var chapHashes = map[string]func() hash.Hash{
	"5": md5.New, "6": sha1.New, "7": sha256.New,
	"8": func() hash.Hash { return sha3.New256() },
}

// Limits of a challenge that the target accepts (RFC 7143 12.1.3).
const (
	minChallenge = 1
	maxChallenge = 1024
)

var errAuthentication = errors.New("authentication failed")

// chapStep is how far an authentication has come.
type chapStep int

const (
	chapAlgorithm chapStep = iota // waiting for CHAP_A
	chapResponse                  // challenge sent, waiting for CHAP_N and CHAP_R
	chapDone
)

// chapExchange is the target's side of one authentication (RFC 7143 12.1.3).
type chapExchange struct {
	credentials Credentials
	step        chapStep
	hash        func() hash.Hash
	id          byte
	challenge   []byte
}

// next consumes the initiator's keys and returns the target's.
func (c *chapExchange) next(keys pdu.Keys) (answers pdu.Keys, err error) {
	switch c.step {
	case chapAlgorithm:
		list, ok := keys.Get("CHAP_A")
		if !ok {
			return nil, nil // the initiator is not there yet: an empty answer keeps the stage
		}
		return c.begin(list)
	case chapResponse:
		return c.verify(keys)
	}
	return nil, nil
}

// begin picks an algorithm of the initiator's list and issues the challenge.
func (c *chapExchange) begin(list string) (answers pdu.Keys, err error) {
	chosen := ""
	for _, a := range strings.Split(list, ",") {
		if chapHashes[a] != nil {
			chosen = a
			break
		}
	}
	if chosen == "" {
		return nil, fmt.Errorf("%w: no common CHAP algorithm in %q", errAuthentication, list)
	}
	c.hash = chapHashes[chosen]
	c.challenge = make([]byte, 1+c.hash().Size())
	if _, err := rand.Read(c.challenge); err != nil {
		return nil, err
	}
	c.id, c.challenge = c.challenge[0], c.challenge[1:]
	c.step = chapResponse
	answers.Add("CHAP_A", chosen)
	answers.Add("CHAP_I", strconv.Itoa(int(c.id)))
	answers.Add("CHAP_C", "0x"+hex.EncodeToString(c.challenge))
	return answers, nil
}

// verify checks the initiator's response and answers its own challenge, if any.
func (c *chapExchange) verify(keys pdu.Keys) (answers pdu.Keys, err error) {
	name, _ := keys.Get("CHAP_N")
	text, _ := keys.Get("CHAP_R")
	response, err := binaryValue(text)
	if err != nil {
		return nil, fmt.Errorf("%w: CHAP_R: %w", errAuthentication, err)
	}
	want := c.response(c.id, c.credentials.CHAP.Secret, c.challenge)
	// Both are always compared, so that time tells nothing of the name.
	good := subtle.ConstantTimeCompare(response, want) & subtle.ConstantTimeCompare([]byte(name), []byte(c.credentials.CHAP.User))
	if good != 1 {
		return nil, fmt.Errorf("%w: wrong name or secret", errAuthentication)
	}
	c.step = chapDone
	_, id := keys.Get("CHAP_I")
	_, challenge := keys.Get("CHAP_C")
	if !id && !challenge {
		return nil, nil // one-way
	}
	return c.prove(keys)
}

// prove answers the initiator's challenge (mutual CHAP).
func (c *chapExchange) prove(keys pdu.Keys) (answers pdu.Keys, err error) {
	idText, _ := keys.Get("CHAP_I")
	id, ok := negotiate.Number(idText, 0, 255)
	text, _ := keys.Get("CHAP_C")
	challenge, err := binaryValue(text)
	switch {
	case c.credentials.Mutual == nil:
		return nil, fmt.Errorf("%w: mutual CHAP is not configured", errAuthentication)
	case !ok || err != nil || len(challenge) < minChallenge || len(challenge) > maxChallenge:
		return nil, fmt.Errorf("%w: malformed CHAP_I or CHAP_C", errAuthentication)
	case slices.Equal(challenge, c.challenge):
		// RFC 7143 9.2.1: a reflected challenge would make the target compute its
		// own proof.
		return nil, fmt.Errorf("%w: the challenge was reflected", errAuthentication)
	}
	answers.Add("CHAP_N", c.credentials.Mutual.User)
	answers.Add("CHAP_R", "0x"+hex.EncodeToString(c.response(byte(id), c.credentials.Mutual.Secret, challenge)))
	return answers, nil
}

// response is hash(id, secret, challenge) (RFC 1994 4.1).
func (c *chapExchange) response(id byte, secret, challenge []byte) []byte {
	h := c.hash()
	h.Write([]byte{id})
	h.Write(secret)
	h.Write(challenge)
	return h.Sum(nil)
}

// binaryValue reads a hex or base64 constant (RFC 7143 6.1).
func binaryValue(v string) ([]byte, error) {
	switch {
	case len(v) < 3:
		return nil, errors.New("no binary value")
	case v[:2] == "0x" || v[:2] == "0X":
		s := v[2:]
		if len(s)%2 == 1 {
			s = "0" + s
		}
		return hex.DecodeString(s)
	case v[:2] == "0b" || v[:2] == "0B":
		return base64.StdEncoding.DecodeString(v[2:])
	}
	return nil, errors.New("neither hex nor base64")
}
