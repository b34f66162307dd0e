package index

import (
	"encoding/json"
	"fmt"

	"vvsim/vvol/store"
)

// layerRow and volumeRow are the JSON rows.
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

// EncodeRow returns a JSON row of plain fields.
func EncodeRow(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // the rows above always encode
	}
	return b
}

// EncodeLayer returns the row of a layer above parent, which may be nil.
func EncodeLayer(parent *Layer, pool store.Pool, merging bool) []byte {
	r := layerRow{Pool: store.ID(pool).String(), Merging: merging}
	if parent != nil {
		r.Parent = parent.ID
	}
	return EncodeRow(r)
}

// LoadLayer adds the layer of a row that was found in the database, and returns the id
// of its parent, or 0. W.
func (x *Index) LoadLayer(id uint64, b []byte) (parent uint64, err error) {
	var r layerRow
	if err := json.Unmarshal(b, &r); err != nil {
		return 0, fmt.Errorf("%w: layer %d: %w", ErrCorrupt, id, err)
	}
	pool, err := store.ParseID(r.Pool)
	if err != nil {
		return 0, fmt.Errorf("%w: layer %d: %w", ErrCorrupt, id, err)
	}
	l := NewLayer(id, store.Pool(pool))
	l.Merging = r.Merging
	x.Layers[id] = l
	return r.Parent, nil
}

// LinkLayers puts the layers above their parents, by their ids. It takes out those whose
// parents are missing and returns them: they were dropped before these, but a row that is
// still in the journal brought them back, or a power cut took the later part of one of
// Badger's logs and not the next log. None has a volume, or LoadVolume fails. W.
func (x *Index) LinkLayers(parents map[uint64]uint64) (returned []uint64) {
	for found := true; found; {
		found = false
		for id, parent := range parents {
			if parent != 0 && x.Layers[parent] == nil {
				delete(x.Layers, id)
				delete(parents, id)
				returned, found = append(returned, id), true
			}
		}
	}
	for id, parent := range parents {
		if parent != 0 {
			x.Layers[id].SetParent(x.Layers[parent])
		}
	}
	return returned
}

// Encode returns the row of a volume with its head.
func (h *NewHead) Encode() []byte {
	v := h.Volume
	r := volumeRow{Head: h.Layer.ID, Size: h.Size, Pool: store.ID(v.Pool).String(), ReadOnly: v.ReadOnly, Family: v.Family}
	if v.Origin != (store.ID{}) {
		r.Origin = v.Origin.String()
	}
	return EncodeRow(r)
}

// LoadVolume adds the volume of a row that was found in the database. W.
func (x *Index) LoadVolume(id store.ID, b []byte) error {
	var r volumeRow
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("%w: volume %v: %w", ErrCorrupt, id, err)
	}
	pool, err := store.ParseID(r.Pool)
	if err != nil {
		return fmt.Errorf("%w: volume %v: %w", ErrCorrupt, id, err)
	}
	v := &Volume{ID: id, Size: r.Size, Head: x.Layers[r.Head], Pool: store.Pool(pool), ReadOnly: r.ReadOnly, Family: r.Family}
	if r.Origin != "" {
		if v.Origin, err = store.ParseID(r.Origin); err != nil {
			return fmt.Errorf("%w: volume %v: %w", ErrCorrupt, id, err)
		}
	}
	if v.Head == nil {
		return fmt.Errorf("%w: volume %v has no layer %d", ErrCorrupt, id, r.Head)
	}
	v.Head.Volume = v
	x.Volumes[id] = v
	return nil
}
