package initiator

import (
	"crypto/md5" //nolint:gosec // CHAP algorithm 5 is MD5 (RFC 1994)
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // CHAP algorithm 6
	"crypto/sha256"
	"crypto/sha3"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"

	"vvsim/scsi/iscsi/pdu"
)

// chapHash returns the hash of a CHAP algorithm by its IANA number.
func chapHash(algorithm string) hash.Hash {
	switch algorithm {
	case "5":
		return md5.New()
	case "6":
		return sha1.New()
	case "7":
		return sha256.New()
	case "8":
		return sha3.New256()
	}
	return nil
}

// chapExchange is the initiator's side of one authentication (RFC 7143 12.1.3).
type chapExchange struct {
	own, target *CHAP // target is nil without mutual CHAP
	algorithms  string
	algorithm   string // chosen by the target
	id          byte   // of the challenge to the target
	challenge   []byte
	done        bool
}

// next answers the target's keys. last says that nothing is left to send, so
// that the stage may be left.
func (c *chapExchange) next(keys pdu.Keys) (answers pdu.Keys, last bool, err error) {
	method, chosen := keys.Get("AuthMethod")
	algorithm, challenged := keys.Get("CHAP_A")
	switch {
	case chosen && method != "CHAP":
		return nil, false, protocol("AuthMethod %q, CHAP was offered", method)
	case chosen:
		answers.Add("CHAP_A", c.algorithms)
		return answers, false, nil
	case challenged && c.algorithm == "":
		answers, err = c.respond(algorithm, keys)
		return answers, true, err
	}
	return nil, false, protocol("CHAP without a challenge")
}

// respond answers the target's challenge and adds the initiator's own.
func (c *chapExchange) respond(algorithm string, keys pdu.Keys) (answers pdu.Keys, err error) {
	if chapHash(algorithm) == nil || !slices.Contains(strings.Split(c.algorithms, ","), algorithm) {
		return nil, protocol("CHAP algorithm %q of %q", algorithm, c.algorithms)
	}
	c.algorithm = algorithm
	text, _ := keys.Get("CHAP_I")
	id, err := strconv.ParseUint(text, 0, 8)
	if err != nil {
		return nil, protocol("CHAP_I %q", text)
	}
	text, _ = keys.Get("CHAP_C")
	challenge, err := binaryValue(text)
	if err != nil || len(challenge) == 0 || len(challenge) > maxChallenge {
		return nil, protocol("CHAP_C of %d characters", len(text))
	}
	answers.Add("CHAP_N", c.own.User)
	answers.Add("CHAP_R", "0x"+hex.EncodeToString(c.hash(byte(id), c.own.Secret, challenge)))
	if c.target == nil {
		return answers, nil
	}
	random := make([]byte, 1+chapHash(algorithm).Size())
	if _, err := rand.Read(random); err != nil {
		return nil, err
	}
	c.id, c.challenge = random[0], random[1:]
	answers.Add("CHAP_I", strconv.Itoa(int(c.id)))
	answers.Add("CHAP_C", "0x"+hex.EncodeToString(c.challenge))
	return answers, nil
}

// verify checks the target's proof when the stage ends.
func (c *chapExchange) verify(keys pdu.Keys) error {
	if c.algorithm == "" {
		return protocol("the target ended the authentication before it began")
	}
	c.done = true
	if c.target == nil {
		return nil
	}
	name, _ := keys.Get("CHAP_N")
	text, _ := keys.Get("CHAP_R")
	response, err := binaryValue(text)
	if err != nil {
		return fmt.Errorf("%w: no response", ErrAuthentication)
	}
	want := c.hash(c.id, c.target.Secret, c.challenge)
	if name != c.target.User || subtle.ConstantTimeCompare(response, want) != 1 {
		return fmt.Errorf("%w: wrong name or secret of %q", ErrAuthentication, name)
	}
	return nil
}

// hash is hash(id, secret, challenge) (RFC 1994 4.1).
func (c *chapExchange) hash(id byte, secret, challenge []byte) []byte {
	h := chapHash(c.algorithm)
	h.Write([]byte{id})
	h.Write(secret)
	h.Write(challenge)
	return h.Sum(nil)
}

// binaryValue reads a hex or base64 constant (RFC 7143 6.1).
func binaryValue(v string) ([]byte, error) {
	switch {
	case len(v) < 3:
	case v[:2] == "0x" || v[:2] == "0X":
		s := v[2:]
		if len(s)%2 == 1 {
			s = "0" + s
		}
		return hex.DecodeString(s)
	case v[:2] == "0b" || v[:2] == "0B":
		return base64.StdEncoding.DecodeString(v[2:])
	}
	return nil, fmt.Errorf("no binary value: %.20q", v)
}
