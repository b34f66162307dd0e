package badger

import (
	"encoding/binary"
	"encoding/json"

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
	keyFill   = 'f' // see Engine.fillTable
)

func numberKey(kind byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kind}, n)
}

func volumeKey(id store.ID) []byte { return append([]byte{keyVolume}, id[:]...) }

// layerRow, volumeRow and stateRow are the JSON rows.
type layerRow struct {
	Parent  uint64 `json:"parent,omitempty"`
	Pool    string `json:"pool"`
	Merging bool   `json:"merging,omitempty"` // its records are becoming those of its only child
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
	Format int `json:"format"`
}

// format of the directory. An engine refuses others.
const format = 3

func encodeRow(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // the rows above always encode
	}
	return b
}
