package pdu

import (
	"errors"
	"fmt"
	"iter"
)

// Types of additional header segments (RFC 7143 11.2.2.1).
const (
	AHSExtendedCDB = 1
	AHSReadLength  = 2 // expected bidirectional read data length
)

// MaxAHSLength is the length in bytes of all additional header segments of a
// PDU: TotalAHSLength counts words in one byte (RFC 7143 11.2.1.5).
const MaxAHSLength = 255 * 4

// ErrAHS marks additional header segments that do not follow RFC 7143 11.2.2.
var ErrAHS = errors.New("malformed additional header segment")

// Segment is one additional header segment. Data are the bytes behind the
// AHS-specific one, without padding; they are borrowed from the parsed slice.
type Segment struct {
	Type     uint8
	Specific uint8
	Data     []byte
}

// AHS goes through the additional header segments in b, which holds all of them
// as they stand on the wire. A malformed one ends the iteration with an error.
func AHS(b []byte) iter.Seq2[Segment, error] {
	return func(yield func(Segment, error) bool) {
		for len(b) > 0 {
			if len(b) < 4 {
				yield(Segment{}, fmt.Errorf("%w: %d bytes left", ErrAHS, len(b)))
				return
			}
			n := int(u16(b)) // counts from byte 3 on
			end := 3 + n
			whole := end + Pad(end)
			if n < 1 || whole > len(b) {
				yield(Segment{}, fmt.Errorf("%w: type %d of length %d in %d bytes", ErrAHS, b[2], n, len(b)))
				return
			}
			if !yield(Segment{Type: b[2] & 0x3f, Specific: b[3], Data: b[4:end:end]}, nil) {
				return
			}
			b = b[whole:]
		}
	}
}

// AppendTo appends the segment with its padding.
func (s Segment) AppendTo(b []byte) []byte {
	n := 1 + len(s.Data)
	b = append(b, byte(n>>8), byte(n), s.Type&0x3f, s.Specific)
	b = append(b, s.Data...)
	return append(b, make([]byte, Pad(3+n))...)
}

// AppendExtendedCDB appends the segment that carries a CDB's bytes from the
// seventeenth on (RFC 7143 11.2.2.3). Nothing is appended for a CDB of up to 16.
func AppendExtendedCDB(b, cdb []byte) []byte {
	if len(cdb) <= 16 {
		return b
	}
	return Segment{Type: AHSExtendedCDB, Data: cdb[16:]}.AppendTo(b)
}

// AppendReadLength appends the expected length of the read data of a
// bidirectional command (RFC 7143 11.2.2.4).
func AppendReadLength(b []byte, n uint32) []byte {
	var d [4]byte
	put32(d[:], n)
	return Segment{Type: AHSReadLength, Data: d[:]}.AppendTo(b)
}

// PutAHSLength writes the length of all additional header segments, a multiple
// of four up to MaxAHSLength, into a BHS.
func (h Header) PutAHSLength(bytes int) { h[4] = byte(bytes / 4) }
