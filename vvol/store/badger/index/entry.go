package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// ErrCorrupt is a row or a record that the engine did not write.
var ErrCorrupt = errors.New("corrupt row")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// DeadIndex marks an index of an entry whose block belongs to the record no more.
const DeadIndex = 1<<64 - 1

// Entry tells what a record holds:
//
//	0  layer   u64
//	8  CRC32C  u32  of the record
//	12 blocks  u64  each, 1 to RecordBlocks; or DeadIndex
type Entry struct {
	Layer  uint64
	CRC    uint32
	Blocks []uint64
}

// NewEntry returns the entry of a record with a value.
func NewEntry(moves []Move, value []byte) Entry {
	t := Entry{Layer: moves[0].Layer.ID, CRC: crc32.Checksum(value, castagnoli), Blocks: make([]uint64, len(moves))}
	for i := range moves {
		t.Blocks[i] = moves[i].Block
	}
	return t
}

// Encode returns the row.
func (t *Entry) Encode() []byte {
	b := make([]byte, 0, 12+8*len(t.Blocks))
	b = binary.BigEndian.AppendUint64(b, t.Layer)
	b = binary.BigEndian.AppendUint32(b, t.CRC)
	for _, n := range t.Blocks {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

// DecodeEntry reads a row, or fails with ErrCorrupt.
func DecodeEntry(b []byte) (t Entry, err error) {
	n := (len(b) - 12) / 8
	if len(b) < 20 || len(b) != 12+8*n || n > RecordBlocks {
		return t, fmt.Errorf("%w: entry of %d bytes", ErrCorrupt, len(b))
	}
	t = Entry{Layer: binary.BigEndian.Uint64(b), CRC: binary.BigEndian.Uint32(b[8:]), Blocks: make([]uint64, n)}
	for i := range t.Blocks {
		t.Blocks[i] = binary.BigEndian.Uint64(b[12+8*i:])
	}
	return t, nil
}

// ErrShort is a record that is shorter than its entry says.
var ErrShort = errors.New("record is shorter than its entry says")

// Verify compares a record's value with its checksum. Errors: ErrShort, ErrCorrupt.
func (t *Entry) Verify(value []byte) error {
	if len(value) != len(t.Blocks)*BlockSize {
		return ErrShort
	}
	if crc32.Checksum(value, castagnoli) != t.CRC {
		return fmt.Errorf("%w: checksum", ErrCorrupt)
	}
	return nil
}

// ZeroEntry tells what of a layer reads as zeros:
//
//	0  layer  u64
//	8  kept   u8   0 or 1
//	9  spans of 24 bytes: id u64, first block u64, last block u64 (excluded)
type ZeroEntry struct {
	ID    uint64 // of the row: the highest of its spans
	Layer uint64
	Kept  bool // made of what was on stable storage: it is, where its row is
	Spans []Span
}

// Encode returns the row.
func (t *ZeroEntry) Encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, t.Layer)
	if t.Kept {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	for _, s := range t.Spans {
		b = binary.BigEndian.AppendUint64(b, s.ID)
		b = binary.BigEndian.AppendUint64(b, s.First)
		b = binary.BigEndian.AppendUint64(b, s.Last)
	}
	return b
}

// DecodeZeros reads the row of an id, or fails with ErrCorrupt.
func DecodeZeros(id uint64, b []byte) (t ZeroEntry, err error) {
	if len(b) < 9 || (len(b)-9)%24 != 0 || b[8] > 1 {
		return t, fmt.Errorf("%w: zeros of %d bytes", ErrCorrupt, len(b))
	}
	t = ZeroEntry{ID: id, Layer: binary.BigEndian.Uint64(b), Kept: b[8] == 1}
	for b = b[9:]; len(b) > 0; b = b[24:] {
		s := Span{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])}
		if s.First >= s.Last || s.Last > MaxBlocks || s.ID > id {
			return t, fmt.Errorf("%w: zeros from %d to %d", ErrCorrupt, s.First, s.Last)
		}
		t.Spans = append(t.Spans, s)
	}
	return t, nil
}
