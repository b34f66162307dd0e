package files

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
)

// Badger's logs, of values and of memory tables, are a header and entries: meta, user
// meta, lengths of key and value and the expiry as varints, key with its version, value,
// CRC32C.
const (
	LogHeader      = 20 // bytes of a log before its first entry: key number and nonce
	MaxEntryHeader = 2 + 3*binary.MaxVarintLen64
	VersionLength  = 8
	SumLength      = 4
)

// EntryHeader is the header of an entry. Lengths are in bytes.
type EntryHeader struct {
	Meta               byte
	Length, Key, Value int64 // of the header itself, of the key with its version, of the value
}

// DecodeEntryHeader reads the header at the beginning of b; ok is false where there is
// none, as behind the last entry, or b ends before it does.
func DecodeEntryHeader(b []byte) (h EntryHeader, ok bool) {
	if len(b) < 2 {
		return h, false
	}
	h.Meta, h.Length = b[0], 2
	for _, to := range [...]*int64{&h.Key, &h.Value, nil} {
		v, n := binary.Uvarint(b[h.Length:])
		if n <= 0 || to != nil && v > 1<<32 {
			return h, false
		}
		h.Length += int64(n)
		if to != nil {
			*to = int64(v)
		}
	}
	return h, h.Key > 0
}

// Size is how long the whole entry is.
func (h *EntryHeader) Size() int64 { return h.Length + h.Key + h.Value + SumLength }

// ReadEntryHeader reads the header of the entry at a place of a log; its key is empty when there is
// none.
func ReadEntryHeader(f *os.File, at int64) (EntryHeader, error) {
	var b [MaxEntryHeader]byte
	n, err := f.ReadAt(b[:], at)
	if err != nil && !errors.Is(err, io.EOF) {
		return EntryHeader{}, err
	}
	if h, ok := DecodeEntryHeader(b[:n]); ok {
		return h, nil
	}
	return EntryHeader{}, nil
}
