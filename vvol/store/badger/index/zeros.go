package index

import (
	"cmp"
	"math/bits"
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

// mark lets blocks of a chunk of which the layer says nothing read as zeros.
func (l *Layer) mark(number, set uint64) {
	l.zeroed = true
	c := l.chunks.at(number)
	switch unknown := set &^ c.known(); {
	case unknown == everyBlock:
		*l.chunks.slot(number) = zeroChunk
	case bits.OnesCount64(unknown) > loneMost:
		l.chunks.own(number).zero |= unknown
	default:
		for ; unknown != 0; unknown &= unknown - 1 {
			l.set(number*ChunkBlocks+uint64(bits.TrailingZeros64(unknown)), Zeroed)
		}
	}
}

// ZeroSpans lists what is zeroed in a layer and wanted, in order, as spans of an id. R.
func (l *Layer) ZeroSpans(id uint64, wanted func(block uint64) bool) (all []Span) {
	if !l.zeroed {
		return nil
	}
	for number, c := range l.chunks.all() {
		for set := c.zero; set != 0; set &= set - 1 {
			if b := number*ChunkBlocks + uint64(bits.TrailingZeros64(set)); wanted(b) {
				all = AppendBlock(all, id, b)
			}
		}
	}
	return all
}

// ZeroRow is a zero entry of a layer in the database.
type ZeroRow struct {
	ID    uint64
	Spans int
}

// AddZeros notes a zero row of a layer. W.
func (x *Index) AddZeros(l *Layer, t *ZeroEntry) {
	l.Zeros = append(l.Zeros, ZeroRow{t.ID, len(t.Spans)})
	l.ZeroID = max(l.ZeroID, t.ID)
	x.fileZeros(l)
}

// Packed notes that t took the place of the last n zero rows of a layer. W.
func (x *Index) Packed(l *Layer, n int, t *ZeroEntry) {
	l.Zeros = l.Zeros[:len(l.Zeros)-n]
	if len(t.Spans) > 0 {
		l.Zeros = append(l.Zeros, ZeroRow{t.ID, len(t.Spans)})
	}
	x.fileZeros(l)
}

func (x *Index) fileZeros(l *Layer) {
	if len(l.Zeros) > crowdedRows {
		x.crowded[l] = struct{}{}
	} else {
		delete(x.crowded, l)
	}
}

// Crowded returns a layer that has many zero rows and passes, or nil. R.
func (x *Index) Crowded(passes func(*Layer) bool) *Layer {
	for l := range x.crowded {
		if !l.Merging && passes(l) {
			return l
		}
	}
	return nil
}

// Scattered lists the zero rows of a layer that are worth packing into one: the newest,
// and older ones that are not larger than those together, so that a span is packed a
// few times only however many there are. R, or the drainer.
func (l *Layer) Scattered() []ZeroRow {
	sum, from := 0, len(l.Zeros)
	for from > 0 && sum < maxPackedSpans && (len(l.Zeros)-from < scatteredRows || l.Zeros[from-1].Spans <= sum) {
		from--
		sum += l.Zeros[from].Spans
	}
	return l.Zeros[from:]
}

const (
	crowdedRows    = 64      // of a layer, before they are packed
	scatteredRows  = 32      // the newest rows that are packed whatever their size
	maxPackedSpans = 1 << 18 // 24 bytes each
)

// Needed returns the spans less what newer spans cover and what records on stable
// storage, up to id durable, have overwritten since. It sorts spans. R.
func (l *Layer) Needed(spans []Span, durable uint64) (all []Span) {
	slices.SortFunc(spans, func(a, b Span) int { return cmp.Compare(b.ID, a.ID) })
	covered := map[uint64]uint64{} // blocks by chunk
	for _, s := range spans {
		for number := l.chunks.next(s.First / ChunkBlocks); number*ChunkBlocks < s.Last; number = l.chunks.next(number + 1) {
			c, in := l.chunks.at(number), within(number, s.First, s.Last)
			for set := in & c.known() &^ covered[number]; set != 0; set &= set - 1 {
				i := uint64(bits.TrailingZeros64(set))
				loc := c.get(i)
				if overwritten := loc.Recorded() && loc.Record() > s.ID && loc.Record() <= durable; !overwritten {
					all = AppendBlock(all, s.ID, number*ChunkBlocks+i)
				}
			}
			covered[number] |= in
		}
	}
	return all
}
