package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"vvsim/vvol/store/badger/sum"
)

// ErrCorrupt is a row or a record that the engine did not write.
var ErrCorrupt = errors.New("corrupt row")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// DeadIndex marks an index of an entry whose block belongs to the record no more.
const DeadIndex = 1<<64 - 1

// Entry tells what a record holds:
//
//	0  layer   u64
//	8  CRC32C  u32  of the other bytes of the row
//	12 blocks of 12 bytes, 1 to RecordBlocks: block u64, or DeadIndex; Sum u32
type Entry struct {
	Layer  uint64
	Blocks []uint64
	Sums   []uint32 // of the blocks, whether dead or not
}

// entryHeader and entryBlock are the lengths of an entry's parts, in bytes.
const (
	entryHeader = 12
	entryBlock  = 12
)

// Sum is the checksum of a block whose page has one: CRC32C, begun with the block's number,
// so that data in a place that is not its own is noticed as well.
func Sum(block uint64, page uint32) uint32 {
	return sum.Join(uint32(block)^uint32(block>>32), page)
}

// NewEntry returns the entry of a record with these blocks, whose sums it keeps.
func NewEntry(moves []Move, sums []uint32) Entry {
	t := Entry{Layer: moves[0].Layer.ID, Blocks: make([]uint64, len(moves)), Sums: sums}
	for i := range moves {
		t.Blocks[i] = moves[i].Block
	}
	return t
}

// Encode returns the row.
func (t *Entry) Encode() []byte {
	b := make([]byte, entryHeader, entryHeader+entryBlock*len(t.Blocks))
	binary.BigEndian.PutUint64(b, t.Layer)
	for i, n := range t.Blocks {
		b = binary.BigEndian.AppendUint64(b, n)
		b = binary.BigEndian.AppendUint32(b, t.Sums[i])
	}
	binary.BigEndian.PutUint32(b[8:], sumEntry(b))
	return b
}

func sumEntry(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:8], castagnoli), castagnoli, b[entryHeader:])
}

// DecodeEntry reads a row, or fails with ErrCorrupt.
func DecodeEntry(b []byte) (t Entry, err error) {
	n := (len(b) - entryHeader) / entryBlock
	if n < 1 || len(b) != entryHeader+entryBlock*n || n > RecordBlocks {
		return t, fmt.Errorf("%w: entry of %d bytes", ErrCorrupt, len(b))
	}
	if sumEntry(b) != binary.BigEndian.Uint32(b[8:]) {
		return t, fmt.Errorf("%w: checksum of an entry", ErrCorrupt)
	}
	t = Entry{Layer: binary.BigEndian.Uint64(b), Blocks: make([]uint64, n), Sums: make([]uint32, n)}
	for i := range t.Blocks {
		at := b[entryHeader+entryBlock*i:]
		t.Blocks[i], t.Sums[i] = binary.BigEndian.Uint64(at), binary.BigEndian.Uint32(at[8:])
	}
	return t, nil
}

// ErrShort is a record that is shorter than its entry says.
var ErrShort = errors.New("record is shorter than its entry says")

// CopyBlock copies the block at an index of a record's value into p, a whole block. It
// fails with ErrShort.
func CopyBlock(p, value []byte, at int) error {
	start := at * BlockSize
	if start+BlockSize > len(value) {
		return ErrShort
	}
	copy(p, value[start:start+BlockSize])
	return nil
}

// VerifyBlock compares a block with the sum at its index. Errors: ErrShort, ErrCorrupt.
func VerifyBlock(p []byte, block uint64, sums []uint32, at int) error {
	if at >= len(sums) {
		return ErrShort
	}
	if Sum(block, sum.Of(p)) != sums[at] {
		return fmt.Errorf("%w: checksum of block %d", ErrCorrupt, block)
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
