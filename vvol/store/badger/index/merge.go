package index

// Mergeable returns the link that is being merged, or else one whose row lies before
// page tail of the journal; nil when there is none. A row that is still in the journal
// would come back without the mark of a merge; and without that of its child what becomes
// the child's would be lost to whoever had it before the child was made. R.
func (x *Index) Mergeable(tail uint64) (l *Layer) {
	for c := range x.links {
		if c.Merging {
			return c
		}
		if l == nil && c.RowPage <= tail && c.Child().RowPage <= x.RowsSet {
			l = c
		}
	}
	return l
}

// Records lists the ids of at most n records of a layer, in no order. R.
func (l *Layer) Records(n int) (ids []uint64) {
	for r := l.records; r != nil && len(ids) < n; r = r.next {
		ids = append(ids, r.ID)
	}
	return ids
}

// Dismiss takes out of the entry of a record of a merging layer what the layer itself
// superseded, and what the child overrides by a record that is older by its id, or by
// zeros: as part of the child it would hide them. What the child holds in newer records
// or in the journal hides it, and until those are on stable storage it is still needed. R.
func (l *Layer) Dismiss(id uint64, t *Entry) {
	for j, block := range t.Blocks {
		if block == DeadIndex {
			continue
		}
		over := l.Child().Get(block)
		if l.Get(block) != At(id, j) || over == Zeroed || over.Recorded() && over.Record() < id {
			t.Blocks[j] = DeadIndex
		}
	}
}

// MoveUp moves a record of a merging layer, with its blocks as its entry lists them,
// and what the layer says of these, up into the child. The record loses the blocks that
// the child overrides. W.
func (x *Index) MoveUp(l *Layer, id uint64, blocks []uint64) {
	child, r := l.Child(), x.record(id)
	if r == nil {
		return // died meanwhile
	}
	r.leave()
	r.join(child)
	child.LastID = max(child.LastID, id)
	for j, block := range blocks {
		if block == DeadIndex || l.Get(block) != At(id, j) {
			continue
		}
		l.set(block, Absent)
		l.mapped--
		x.pools[l.Pool] -= BlockSize
		if child.Get(block) == Absent {
			child.set(block, At(id, j))
			child.mapped++
			x.pools[child.Pool] += BlockSize
			if len(child.children) == 0 && child.sees(block/ChunkBlocks) {
				child.alone-- // it was: l has no other child
			}
		} else {
			x.lose(id)
		}
	}
}

// FinishMerge gives the child the place of a merging layer without records, and the
// zeros of entry t, which may have no spans. W.
func (x *Index) FinishMerge(l *Layer, t *ZeroEntry) {
	child := l.Child()
	x.pools[l.Pool] -= l.mapped * BlockSize
	if child.Parent, child.place = l.Parent, l.place; l.Parent != nil {
		l.Parent.children[l.place] = child
	}
	l.children = nil
	if len(t.Spans) > 0 {
		x.AddZeros(child, t)
		for _, s := range t.Spans {
			for number := s.First / ChunkBlocks; number*ChunkBlocks < s.Last; number++ {
				child.mark(number, within(number, s.First, s.Last))
			}
		}
	}
	delete(x.Layers, l.ID)
	delete(x.links, l)
	delete(x.crowded, l)
}
