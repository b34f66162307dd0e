package chap

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

// hashes are the CHAP algorithms by IANA number; strongest last.
var hashes = map[string]func() hash.Hash{
	"5": md5.New, "6": sha1.New, "7": sha256.New,
	"8": func() hash.Hash { return sha3.New256() },
}

// Limits of a challenge that the target accepts (RFC 7143 12.1.3).
const (
	minChallenge = 1
	maxChallenge = 1024
)

var errFailed = errors.New("authentication failed")

// Party is one direction's name and secret.
type Party struct {
	User   string
	Secret []byte
}

// step is how far an authentication has come.
type step int

const (
	atAlgorithm step = iota // waiting for CHAP_A
	atResponse              // challenge sent, waiting for CHAP_N and CHAP_R
	atEnd
)

// Exchange is the target's side of one authentication (RFC 7143 12.1.3).
type Exchange struct {
	initiator, target *Party
	step              step
	algorithm         string
	id                byte
	challenge         []byte
}

// New returns an exchange in which the initiator has to be the first party; the target
// proves to be the second where the initiator asks for it, and may be nil.
func New(initiator, target *Party) *Exchange { return &Exchange{initiator: initiator, target: target} }

// Begun tells whether the initiator has named its algorithms.
func (c *Exchange) Begun() bool { return c.step != atAlgorithm }

// Done tells whether the initiator has authenticated.
func (c *Exchange) Done() bool { return c.step == atEnd }

// Next consumes the initiator's keys and returns the target's.
func (c *Exchange) Next(keys pdu.Keys) (answers pdu.Keys, err error) {
	switch c.step {
	case atAlgorithm:
		list, ok := keys.Get("CHAP_A")
		if !ok {
			return nil, nil // the initiator is not there yet: an empty answer keeps the stage
		}
		return c.begin(list)
	case atResponse:
		return c.verify(keys)
	}
	return nil, nil
}

// begin picks an algorithm of the initiator's list and issues the challenge.
func (c *Exchange) begin(list string) (answers pdu.Keys, err error) {
	chosen := ""
	for _, a := range strings.Split(list, ",") {
		if hashes[a] != nil {
			chosen = a
			break
		}
	}
	if chosen == "" {
		return nil, fmt.Errorf("%w: no common CHAP algorithm in %q", errFailed, list)
	}
	c.algorithm = chosen
	c.challenge = make([]byte, 1+hashes[chosen]().Size())
	if _, err := rand.Read(c.challenge); err != nil {
		return nil, err
	}
	c.id, c.challenge = c.challenge[0], c.challenge[1:]
	c.step = atResponse
	answers.Add("CHAP_A", chosen)
	answers.Add("CHAP_I", strconv.Itoa(int(c.id)))
	answers.Add("CHAP_C", "0x"+hex.EncodeToString(c.challenge))
	return answers, nil
}

// verify checks the initiator's response and answers its own challenge, if any.
func (c *Exchange) verify(keys pdu.Keys) (answers pdu.Keys, err error) {
	name, _ := keys.Get("CHAP_N")
	text, _ := keys.Get("CHAP_R")
	response, err := Value(text)
	if err != nil {
		return nil, fmt.Errorf("%w: CHAP_R: %w", errFailed, err)
	}
	want := Response(c.algorithm, c.id, c.initiator.Secret, c.challenge)
	// Both are always compared, so that time tells nothing of the name.
	good := subtle.ConstantTimeCompare(response, want) & subtle.ConstantTimeCompare([]byte(name), []byte(c.initiator.User))
	if good != 1 {
		return nil, fmt.Errorf("%w: wrong name or secret", errFailed)
	}
	c.step = atEnd
	_, id := keys.Get("CHAP_I")
	_, challenge := keys.Get("CHAP_C")
	if !id && !challenge {
		return nil, nil // one-way
	}
	return c.prove(keys)
}

// prove answers the initiator's challenge (mutual CHAP).
func (c *Exchange) prove(keys pdu.Keys) (answers pdu.Keys, err error) {
	idText, _ := keys.Get("CHAP_I")
	id, ok := negotiate.Number(idText, 0, 255)
	text, _ := keys.Get("CHAP_C")
	challenge, err := Value(text)
	switch {
	case c.target == nil:
		return nil, fmt.Errorf("%w: mutual CHAP is not configured", errFailed)
	case !ok || err != nil || len(challenge) < minChallenge || len(challenge) > maxChallenge:
		return nil, fmt.Errorf("%w: malformed CHAP_I or CHAP_C", errFailed)
	case slices.Equal(challenge, c.challenge):
		// RFC 7143 9.2.1: a reflected challenge would make the target compute its
		// own proof.
		return nil, fmt.Errorf("%w: the challenge was reflected", errFailed)
	}
	answers.Add("CHAP_N", c.target.User)
	answers.Add("CHAP_R", "0x"+hex.EncodeToString(Response(c.algorithm, byte(id), c.target.Secret, challenge)))
	return answers, nil
}

// Response is hash(id, secret, challenge) (RFC 1994 4.1), of an algorithm by its number; nil
// of one that is not known.
func Response(algorithm string, id byte, secret, challenge []byte) []byte {
	f := hashes[algorithm]
	if f == nil {
		return nil
	}
	h := f()
	h.Write([]byte{id})
	h.Write(secret)
	h.Write(challenge)
	return h.Sum(nil)
}

// Value reads a hex or base64 constant (RFC 7143 6.1).
func Value(v string) ([]byte, error) {
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
