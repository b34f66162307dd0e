package index

import (
	"math"
	"slices"

	"vvsim/vvol/store"
)

// Change collects one change of volumes and layers; the index changes in Install, when
// the journal has the rows. Used by the committer, as volumes and layers stand still
// there.
type Change struct {
	Layers  []*Layer
	Parents []*Layer // of Layers, in the same order; nil is none
	Heads   []NewHead
	Zero    Span // blocks of the first head that read as zeros then, by the group of the rows

	shared []*Layer // heads of which all is seen through another head too
}

// NewHead is a volume, new or not, and the layer that becomes its head, or is it.
type NewHead struct {
	Volume *Volume
	Layer  *Layer
	Size   uint64 // of the volume then, in bytes
}

// Layer plans a new layer above parent, which may be nil.
func (c *Change) Layer(id uint64, parent *Layer, pool store.Pool) *Layer {
	l := NewLayer(id, pool)
	c.Layers, c.Parents = append(c.Layers, l), append(c.Parents, parent)
	return l
}

// Head plans that l becomes the head of v, with a size.
func (c *Change) Head(v *Volume, l *Layer, size uint64) {
	c.Heads = append(c.Heads, NewHead{v, l, size})
}

// Freeze plans a new head for v, with the id that newID gives, and returns the layer
// that is frozen by it. An empty head is passed over: it would only make chains longer.
// While its parent is merging, blocks move up into it.
func (c *Change) Freeze(v *Volume, newID func() uint64) *Layer {
	for _, h := range c.Heads {
		if h.Volume == v {
			return c.Parents[slices.Index(c.Layers, h.Layer)] // frozen by this change already
		}
	}
	if parent := v.Head.Parent; parent != nil && !parent.Merging && v.Head.Empty() {
		c.shared = append(c.shared, v.Head)
		return parent
	}
	c.Head(v, c.Layer(newID(), v.Head, v.Pool), v.Size)
	return v.Head
}

// Install carries a change out. page is the end of the group that holds its rows. W.
func (x *Index) Install(c *Change, page uint64) {
	for i, l := range c.Layers {
		if p := c.Parents[i]; p != nil {
			l.SetParent(p)
			l.shown = p.shown
		}
		l.RowPage = page
		x.Layers[l.ID] = l
	}
	for _, l := range c.shared {
		l.alone = 0
	}
	for _, h := range c.Heads {
		v := h.Volume
		if v.Head != nil && v.Head != h.Layer {
			v.Head.Volume, v.Head.RowPage = nil, page
			x.classify(v.Head)
		}
		v.Head, h.Layer.Volume, v.Size = h.Layer, v, h.Size
		x.Volumes[v.ID] = v
	}
	for i, l := range c.Layers {
		if c.Parents[i] != nil {
			x.classify(c.Parents[i])
		}
		x.classify(l)
	}
}

// SetPool lets a volume draw on another pool, to which what its head holds goes, and as
// much of the limits. page is the end of the group that holds the rows of both. W.
func (x *Index) SetPool(v *Volume, pool store.Pool, page uint64) {
	l := v.Head
	held := l.mapped * BlockSize
	x.pools[l.Pool] -= held
	x.pools[pool] += held
	if limit := x.Limits[l.Pool]; limit > 0 {
		x.Limits[l.Pool] = max(limit, held+1) - held
	}
	if x.Limits[pool] > 0 {
		x.Limits[pool] += held
	}
	v.Pool, l.Pool, l.RowPage = pool, pool, page
}

// Remove takes a volume away and returns its head. page is the end of the group that
// says so. W.
func (x *Index) Remove(v *Volume, page uint64) *Layer {
	head := v.Head
	v.Gone, head.Volume, head.RowPage = true, nil, page
	delete(x.Volumes, v.ID)
	x.classify(head)
	return head
}

// Classify files every layer, after all were added. W.
func (x *Index) Classify() {
	for _, l := range x.Layers {
		x.classify(l)
	}
}

// classify files a layer under what the collector may do with it, after a change of
// its volume or children.
func (x *Index) classify(l *Layer) {
	delete(x.orphans, l)
	delete(x.links, l)
	switch {
	case l.Volume != nil || x.Layers[l.ID] != l:
	case len(l.children) == 0:
		x.orphans[l] = struct{}{}
	case len(l.children) == 1:
		x.links[l] = struct{}{}
	}
}

// Shrinking tells whether layers wait for the collector. R.
func (x *Index) Shrinking() bool { return len(x.links)+len(x.orphans) > 0 }

// Orphans returns up to n layers that may be dropped, now and for ever. The rows that made
// them such are in Badger, which else would lead to them after a crash. R.
func (x *Index) Orphans(n int) (all []*Layer) {
	for l := range x.orphans {
		if len(all) == n {
			break
		}
		if l.RowPage <= x.RowsSet {
			all = append(all, l)
		}
	}
	return all
}

// Unload buries up to n records of an orphan, and tells whether none is left. W.
func (x *Index) Unload(l *Layer, n int) (done bool) {
	for ; l.records != nil && n > 0; n-- {
		x.bury(l.records)
	}
	return l.records == nil
}

// Drop takes an orphan away that Forget has gone through, and buries its records. W.
func (x *Index) Drop(l *Layer) {
	x.Unload(l, math.MaxInt)
	x.dirty -= l.dirty
	x.pools[l.Pool] -= l.mapped * BlockSize
	delete(x.Layers, l.ID)
	delete(x.orphans, l)
	delete(x.crowded, l)
	if p := l.Parent; p != nil {
		l.leave()
		x.classify(p)
	}
}
