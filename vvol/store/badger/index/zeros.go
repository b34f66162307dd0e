package index

import (
	"cmp"
	"slices"
)

// Span is a range of blocks, Last excluded, that reads as zeros whatever records
// with an id below ID hold.
type Span struct{ ID, First, Last uint64 }

// AppendBlock adds one block to spans, to the last one where it continues it.
func AppendBlock(all []Span, id, block uint64) []Span {
	if k := len(all) - 1; k >= 0 && all[k].ID == id && all[k].Last == block {
		all[k].Last++
		return all
	}
	return append(all, Span{id, block, block + 1})
}

// fillZeros makes blocks of which the layer says nothing read as zeros.
func (l *Layer) fillZeros(first, last uint64) {
	for first < last {
		number := first / LeafBlocks
		end := min(last, (number+1)*LeafBlocks)
		if end-first == LeafBlocks && l.leaves[number] == nil {
			l.leaves[number] = zeroLeaf
			first = end
			continue
		}
		for ; first < end; first++ {
			if l.Get(first) == Absent {
				l.set(first, Zeroed)
			}
		}
	}
}

// ZeroSpans lists what is zeroed in a layer and wanted, in order, as spans of an id. R.
func (l *Layer) ZeroSpans(id uint64, wanted func(block uint64) bool) (all []Span) {
	numbers := make([]uint64, 0, len(l.leaves))
	for n := range l.leaves {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for _, number := range numbers {
		for i, loc := range l.leaves[number] {
			if b := number*LeafBlocks + uint64(i); loc == Zeroed && wanted(b) {
				all = AppendBlock(all, id, b)
			}
		}
	}
	return all
}

// Needed returns the spans less what newer spans cover and what records on stable
// storage, up to id durable, have overwritten since. It sorts spans. R.
func (l *Layer) Needed(spans []Span, durable uint64) (all []Span) {
	slices.SortFunc(spans, func(a, b Span) int { return cmp.Compare(b.ID, a.ID) })
	covered := map[uint64]*[LeafBlocks]bool{}
	for _, s := range spans {
		for first := s.First; first < s.Last; {
			number := first / LeafBlocks
			end := min(s.Last, (number+1)*LeafBlocks)
			c := covered[number]
			if c == nil {
				c = &[LeafBlocks]bool{}
				covered[number] = c
			}
			for ; first < end; first++ {
				i := first % LeafBlocks
				loc := l.Get(first)
				overwritten := loc.Recorded() && loc.Record() > s.ID && loc.Record() <= durable
				if !c[i] && loc != Absent && !overwritten {
					all = AppendBlock(all, s.ID, first)
				}
				c[i] = true
			}
		}
	}
	return all
}
