package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrCorrupt is content that this package did not write.
var ErrCorrupt = errors.New("corrupt journal")

// Row is one change of a key: a nil Value deletes.
type Row struct{ Key, Value []byte }

// EncodeRows writes rows as data of a Rows entry.
func EncodeRows(rows []Row) (b []byte) {
	for _, r := range rows {
		b = binary.AppendUvarint(b, uint64(len(r.Key)))
		b = append(b, r.Key...)
		if r.Value == nil {
			b = append(b, 0)
			continue
		}
		b = append(b, 1)
		b = binary.AppendUvarint(b, uint64(len(r.Value)))
		b = append(b, r.Value...)
	}
	return b
}

// DecodeRows reads what EncodeRows wrote; keys and values lie in b.
func DecodeRows(b []byte) (rows []Row, err error) {
	bad := func() ([]Row, error) { return nil, fmt.Errorf("%w: rows", ErrCorrupt) }
	for len(b) > 0 {
		var r Row
		var ok bool
		if r.Key, b, ok = cutBytes(b); !ok || len(b) == 0 {
			return bad()
		}
		set := b[0] == 1
		if b = b[1:]; set {
			if r.Value, b, ok = cutBytes(b); !ok {
				return bad()
			}
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// cutBytes reads a length and so many bytes.
func cutBytes(b []byte) (p, rest []byte, ok bool) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return nil, nil, false
	}
	end := k + int(n)
	return b[k:end:end], b[end:], true
}
