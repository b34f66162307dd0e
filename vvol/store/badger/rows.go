package badger

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"

	"vvsim/vvol/store"
)

// First bytes of keys; see the package comment.
const (
	keyRecord = 'r'
	keyEntry  = 'e'
	keyZeros  = 'z'
	keyLayer  = 'l'
	keyVolume = 'v'
	keyState  = 's'
	keyMeta   = 'm'
)

func numberKey(kind byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kind}, n)
}

func volumeKey(id store.ID) []byte { return append([]byte{keyVolume}, id[:]...) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// layerRow, volumeRow and stateRow are the JSON rows.
type layerRow struct {
	Parent uint64 `json:"parent,omitempty"`
	Pool   string `json:"pool"`
}

type volumeRow struct {
	Head     uint64 `json:"head"`
	Size     uint64 `json:"size"`
	Pool     string `json:"pool"`
	ReadOnly bool   `json:"readOnly,omitempty"`
	Origin   string `json:"origin,omitempty"`
	Family   uint64 `json:"family"`
}

type stateRow struct {
	Format int    `json:"format"`
	Synced uint64 `json:"synced"` // records up to this id are on stable storage
	Clean  bool   `json:"clean"`  // closed in order, everything is on stable storage
	Boot   string `json:"boot"`   // of the kernel that ran then: the same one still has its page cache
}

// format of the directory. An engine refuses others.
const format = 1

func encodeRow(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // the rows above always encode
	}
	return b
}

// deadIndex marks an index of an entry whose block belongs to the record no more.
const deadIndex = 1<<64 - 1

// entry is the content of an e row.
type entry struct {
	layer  uint64
	crc    uint32
	blocks []uint64
}

func (t *entry) encode() []byte {
	b := make([]byte, 0, 12+8*len(t.blocks))
	b = binary.BigEndian.AppendUint64(b, t.layer)
	b = binary.BigEndian.AppendUint32(b, t.crc)
	for _, n := range t.blocks {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

var errCorrupt = errors.New("corrupt row")

func decodeEntry(b []byte) (t entry, err error) {
	n := (len(b) - 12) / 8
	if len(b) < 20 || len(b) != 12+8*n || n > recordBlocks {
		return t, fmt.Errorf("%w: entry of %d bytes", errCorrupt, len(b))
	}
	t = entry{layer: binary.BigEndian.Uint64(b), crc: binary.BigEndian.Uint32(b[8:]), blocks: make([]uint64, n)}
	for i := range t.blocks {
		t.blocks[i] = binary.BigEndian.Uint64(b[12+8*i:])
	}
	return t, nil
}

// span is a range of blocks, last excluded.
type span struct{ first, last uint64 }

// zeroEntry is the content of a z row.
type zeroEntry struct {
	layer uint64
	spans []span
}

func (t *zeroEntry) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, t.layer)
	for _, s := range t.spans {
		b = binary.BigEndian.AppendUint64(b, s.first)
		b = binary.BigEndian.AppendUint64(b, s.last)
	}
	return b
}

func decodeZeros(b []byte) (t zeroEntry, err error) {
	if len(b) < 8 || len(b)%16 != 8 {
		return t, fmt.Errorf("%w: zeros of %d bytes", errCorrupt, len(b))
	}
	t.layer = binary.BigEndian.Uint64(b)
	for b = b[8:]; len(b) > 0; b = b[16:] {
		s := span{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
		if s.first >= s.last || s.last > maxSize>>blockShift {
			return t, fmt.Errorf("%w: zeros from %d to %d", errCorrupt, s.first, s.last)
		}
		t.spans = append(t.spans, s)
	}
	return t, nil
}
