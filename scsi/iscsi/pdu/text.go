package pdu

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Limits of text keys (RFC 7143 6.1).
const (
	MaxKeyLength   = 63
	MaxValueLength = 8192
	MaxTextLength  = 64 << 10 // of one request or response, all continued PDUs together
	MaxKeys        = 512      // of one request or response
)

// ErrText marks text that does not follow RFC 7143 6.1.
var ErrText = errors.New("malformed text keys")

// Pair is one key=value.
type Pair struct{ Key, Value string }

// Keys is a list of text keys in the order in which they stand on the wire.
type Keys []Pair

// ParseKeys reads a data segment: key=value pairs, each ended by a zero byte.
// Empty pairs, as trailing padding leaves, are passed over. A key that stands
// twice is an error (RFC 7143 6.3).
func ParseKeys(b []byte) (Keys, error) {
	keys, err := ParsePairs(b)
	if err != nil {
		return nil, err
	}
	for i, p := range keys {
		if _, dup := keys[:i].Get(p.Key); dup {
			return nil, fmt.Errorf("%w: %s stands twice", ErrText, p.Key)
		}
	}
	return keys, nil
}

// ParsePairs is ParseKeys for the answer to SendTargets, where TargetName and
// TargetAddress stand as often as there are targets and portals (RFC 7143
// appendix C).
func ParsePairs(b []byte) (Keys, error) {
	if len(b) > MaxTextLength {
		return nil, fmt.Errorf("%w: %d bytes", ErrText, len(b))
	}
	var keys Keys
	for len(b) > 0 {
		i := bytes.IndexByte(b, 0)
		if i < 0 {
			return nil, fmt.Errorf("%w: last pair has no end", ErrText)
		}
		item := b[:i]
		b = b[i+1:]
		if len(item) == 0 {
			continue
		}
		key, value, ok := strings.Cut(string(item), "=")
		switch {
		case !ok || key == "" || len(key) > MaxKeyLength:
			return nil, fmt.Errorf("%w: %.80q", ErrText, item)
		case len(value) > MaxValueLength:
			return nil, fmt.Errorf("%w: value of %s has %d bytes", ErrText, key, len(value))
		case len(keys) == MaxKeys:
			return nil, fmt.Errorf("%w: more than %d keys", ErrText, MaxKeys)
		}
		keys = append(keys, Pair{key, value})
	}
	return keys, nil
}

// Get returns the value of key.
func (k Keys) Get(key string) (string, bool) {
	for _, p := range k {
		if p.Key == key {
			return p.Value, true
		}
	}
	return "", false
}

// Add appends a pair.
func (k *Keys) Add(key, value string) { *k = append(*k, Pair{key, value}) }

// AppendTo appends the wire form, unpadded.
func (k Keys) AppendTo(b []byte) []byte {
	for _, p := range k {
		b = append(b, p.Key...)
		b = append(b, '=')
		b = append(b, p.Value...)
		b = append(b, 0)
	}
	return b
}
