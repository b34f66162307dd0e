package storetest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"vvsim/vvol/store"
)

// cell is the content of one block. It never changes: a write makes a new cell, and
// volumes that share a block share the cell. Whether a block of zeros is allocated
// is the engine's affair, unless there is no cell at all.
type cell struct {
	data  []byte
	empty bool // all zeros
}

func newCell(data []byte) *cell {
	return &cell{data: data, empty: len(bytes.Trim(data, "\x00")) == 0}
}

// volume is one volume of the model: a slice of cells, nil where nothing is allocated.
type volume struct {
	id       store.ID
	cells    []*cell
	pool     store.Pool
	readOnly bool
	family   int
	origin   store.ID
}

// model is all volumes: what an engine is compared with. Not safe for concurrent use.
type model struct {
	bs       uint64
	volumes  map[store.ID]*volume
	families int
}

func newModel(blockSize int) *model {
	return &model{bs: uint64(blockSize), volumes: map[store.ID]*volume{}}
}

// ids lists the volumes in a fixed order, so that a seed means the same run.
func (m *model) ids() []store.ID {
	return slices.SortedFunc(maps.Keys(m.volumes), func(a, b store.ID) int { return bytes.Compare(a[:], b[:]) })
}

func (m *model) create(id store.ID, blocks uint64, pool store.Pool) {
	m.families++
	m.volumes[id] = &volume{id: id, cells: make([]*cell, blocks), pool: pool, family: m.families}
}

// fork makes a volume with the content of src.
func (m *model) fork(src *volume, id store.ID, pool store.Pool, readOnly bool) {
	m.volumes[id] = &volume{id: id, cells: slices.Clone(src.cells), pool: pool, readOnly: readOnly, family: src.family, origin: src.id}
}

func (m *model) resize(v *volume, blocks uint64) {
	if blocks <= uint64(len(v.cells)) {
		v.cells = slices.Clone(v.cells[:blocks])
		return
	}
	v.cells = append(slices.Clone(v.cells), make([]*cell, blocks-uint64(len(v.cells)))...)
}

func (m *model) size(v *volume) uint64 { return uint64(len(v.cells)) * m.bs }

func (m *model) read(v *volume, off, n uint64) []byte {
	p := make([]byte, n)
	for done := uint64(0); done < n; {
		in := (off + done) % m.bs
		k := min(m.bs-in, n-done)
		if c := v.cells[(off+done)/m.bs]; c != nil {
			copy(p[done:], c.data[in:in+k])
		}
		done += k
	}
	return p
}

func (m *model) write(v *volume, off uint64, p []byte) {
	for done := uint64(0); done < uint64(len(p)); {
		at := (off + done) / m.bs
		in := (off + done) % m.bs
		k := min(m.bs-in, uint64(len(p))-done)
		data := make([]byte, m.bs)
		if c := v.cells[at]; c != nil {
			copy(data, c.data)
		}
		copy(data[in:], p[done:done+k])
		v.cells[at] = newCell(data)
		done += k
	}
}

// unmap takes whole blocks away and zeroes parts of blocks where there is something.
func (m *model) unmap(v *volume, off, n uint64) {
	for done := uint64(0); done < n; {
		at := (off + done) / m.bs
		in := (off + done) % m.bs
		k := min(m.bs-in, n-done)
		switch {
		case k == m.bs:
			v.cells[at] = nil
		case v.cells[at] != nil:
			m.write(v, off+done, make([]byte, k))
		}
		done += k
	}
}

// copyFrom copies block by block of the destination: where a whole block comes
// from one hole it becomes a hole.
func (m *model) copyFrom(dst *volume, off uint64, src *volume, srcOff, n uint64) {
	from := slices.Clone(src.cells)
	old := &volume{cells: from}
	for done := uint64(0); done < n; {
		in := (off + done) % m.bs
		k := min(m.bs-in, n-done)
		at := srcOff + done
		if k == m.bs && at%m.bs == 0 && from[at/m.bs] == nil {
			dst.cells[(off+done)/m.bs] = nil
		} else if data := m.read(old, at, k); len(bytes.Trim(data, "\x00")) == 0 && dst.cells[(off+done)/m.bs] == nil {
			// Zeros over nothing: the engine may leave it at that or allocate.
			dst.cells[(off+done)/m.bs] = newCell(make([]byte, m.bs))
		} else {
			m.write(dst, off+done, data)
		}
		done += k
	}
}

// verdict says of one block whether a listing must hold it, may, or must not.
type verdict int

const (
	mustNot verdict = iota
	may
	must
)

func allocated(c *cell) verdict {
	switch {
	case c == nil:
		return mustNot
	case c.empty:
		return may
	}
	return must
}

// at is the cell of a block, nil beyond the end.
func (v *volume) at(n int) *cell {
	if n < len(v.cells) {
		return v.cells[n]
	}
	return nil
}

func (m *model) judge(v *volume, kind store.RangeKind, base *volume, n int) verdict {
	c := v.cells[n]
	switch kind {
	case store.Unshared:
		for _, o := range m.volumes {
			if o != v && c != nil && o.at(n) == c {
				return mustNot
			}
		}
		return allocated(c)
	case store.Different:
		theirs := base.at(n)
		switch {
		case c == theirs:
			return mustNot
		case bytes.Equal(content(c, m.bs), content(theirs, m.bs)):
			return may
		}
		return must
	}
	return allocated(c)
}

func content(c *cell, n uint64) []byte {
	if c == nil {
		return make([]byte, n)
	}
	return c.data
}

// checkRanges compares a listing of an engine with the model.
func (m *model) checkRanges(ctx context.Context, o store.Object, v *volume, kind store.RangeKind, base *volume) (bytes uint64, err error) {
	var baseID store.ID
	if base != nil {
		baseID = base.id
	}
	all, err := listRanges(ctx, o, kind, baseID, 0)
	if err != nil {
		return 0, fmt.Errorf("ranges of kind %d: %w", kind, err)
	}
	in := make([]bool, len(v.cells))
	for _, r := range all {
		if r.Offset%m.bs != 0 || r.Length%m.bs != 0 {
			return 0, fmt.Errorf("range %v is not of whole blocks", r)
		}
		for n := r.Offset / m.bs; n < (r.Offset+r.Length)/m.bs; n++ {
			in[n] = true
		}
	}
	for n := range in {
		switch want := m.judge(v, kind, base, n); {
		case want == must && !in[n]:
			return 0, fmt.Errorf("block %d is not among the ranges of kind %d (base %v): %v", n, kind, baseID, all)
		case want == mustNot && in[n]:
			return 0, fmt.Errorf("block %d is among the ranges of kind %d (base %v): %v", n, kind, baseID, all)
		}
	}
	return total(all), nil
}

// visible bounds the number of bytes that some volume can see, each block once.
func (m *model) visible() (atLeast uint64) {
	seen := map[*cell]struct{}{}
	for _, v := range m.volumes {
		for _, c := range v.cells {
			if c != nil && !c.empty {
				seen[c] = struct{}{}
			}
		}
	}
	return uint64(len(seen)) * m.bs
}
