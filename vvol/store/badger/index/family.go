package index

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// What a volume shows and what it alone sees is counted while it changes, so that to be
// asked for it costs nothing.
//
// A block of a frozen layer is seen through a head when no layer between them says
// anything of it. When a head begins to say something of a block it sees one block less,
// and if now one head only sees that, the block is that head's alone. A new head above a
// frozen layer sees what another head sees: neither has anything alone. A head that
// lost its volume is still counted as seeing until Forget has gone through its chunks.

// Stat is what is counted of a volume.
type Stat struct {
	Allocated uint64 // blocks that hold data
	Unshared  uint64 // of these, blocks that no other volume sees
	InPlace   uint64 // of these, blocks of the head itself
}

// Stat returns the counts. R.
func (v *Volume) Stat() Stat {
	return Stat{Allocated: v.Head.shown, Unshared: v.Head.mapped + v.Head.alone, InPlace: v.Head.mapped}
}

func count(set uint64) uint64 { return uint64(bits.OnesCount64(set)) }

// visible is the set of blocks of a chunk that hold data, seen from a layer.
func (l *Layer) visible(number uint64) (set uint64) {
	rest := everyBlock
	for ; l != nil && rest != 0; l = l.Parent {
		c := l.chunks.at(number)
		set |= c.data & rest
		rest &^= c.known()
	}
	return set
}

// sees tells whether a layer without children is a head that sees a chunk.
func (l *Layer) sees(number uint64) bool { return number >= l.forgotten }

// seers tells which blocks of a set, seen from l, are seen through one head at least and
// which through two, leaving out one head. It ends when two see all, and begins where it
// found those the last time, as of many clones most may have written what is asked for.
func (l *Layer) seers(number, set uint64, but *Layer) (once, twice uint64) {
	start, first := int(l.seeing.Load()), -1
	if start >= len(l.children) {
		start = 0
	}
	for k := range l.children {
		i := start + k
		if i >= len(l.children) {
			i -= len(l.children)
		}
		c := l.children[i]
		if c == but {
			continue
		}
		own := c.chunks.at(number)
		seen := set &^ twice &^ own.known()
		var o, t uint64
		switch {
		case seen == 0:
		case len(c.children) > 0:
			o, t = c.seers(number, seen, but)
		case c.sees(number):
			o = seen
		}
		if o != 0 && first < 0 {
			first = i
		}
		once, twice = once|o, twice|t|once&o
		if twice == set {
			l.seeing.Store(uint32(first))
			break
		}
	}
	return once, twice
}

// credit counts blocks of a set, each of which one head sees from l, as that head's
// alone, and returns those that it found.
func (l *Layer) credit(number, set uint64, but *Layer) (found uint64) {
	for _, c := range l.children {
		own := c.chunks.at(number)
		seen := set &^ found &^ own.known()
		switch {
		case c == but || seen == 0:
		case len(c.children) > 0:
			found |= c.credit(number, seen, but)
		case c.sees(number):
			c.alone += count(seen)
			found |= seen
		}
		if found == set {
			break
		}
	}
	return found
}

// unsee counts that a head sees blocks of a set no more, which l, a layer below, holds.
func (l *Layer) unsee(number, set uint64, head *Layer) {
	once, twice := l.seers(number, set, head)
	head.alone -= count(set &^ once)
	if last := once &^ twice; last != 0 {
		l.credit(number, last, head)
	}
}

// supersede counts that a head is about to say something of the blocks of a set, data or
// zeros.
func (x *Index) supersede(head *Layer, number, set uint64, data bool) {
	if x.Rebuilding {
		return
	}
	c := head.chunks.at(number)
	shown := c.data&set | head.unseeBelow(number, set&^c.known())
	if data {
		head.shown += count(set &^ shown)
	} else {
		head.shown -= count(shown)
	}
}

// unseeBelow counts that a head sees blocks of a set in layers below no more, and
// returns those that hold data.
func (l *Layer) unseeBelow(number, rest uint64) (shown uint64) {
	for p := l.Parent; p != nil && rest != 0; p = p.Parent {
		c := p.chunks.at(number)
		if here := c.data & rest; here != 0 {
			shown |= here
			p.unsee(number, here, l)
		}
		rest &^= c.known()
	}
	return shown
}

// Forget has up to n chunks below a head that has lost its volume be seen through it no
// more, and tells whether that was the last of them; of other layers nothing is to be
// forgotten. W.
func (x *Index) Forget(l *Layer, n int) (done bool) {
	if l.Volume != nil || len(l.children) > 0 || x.Layers[l.ID] != l {
		return true
	}
	if l.forgotten == 0 && l.Parent != nil && l.Parent.covered(l) {
		l.forgotten = math.MaxUint64
	}
	for ; n > 0 && l.forgotten < noChunk; n-- {
		number := l.Parent.next(l.forgotten)
		if number == noChunk {
			break
		}
		c := l.chunks.at(number)
		l.unseeBelow(number, ^c.known())
		l.forgotten = number + 1
	}
	if n > 0 {
		l.forgotten = math.MaxUint64
	}
	return l.forgotten >= noChunk
}

// covered tells, at a glance, that two other heads see all that a child sees.
func (l *Layer) covered(child *Layer) bool {
	const glance = 64
	empty := 0
	for _, c := range l.children[:min(len(l.children), glance)] {
		if c != child && len(c.children) == 0 && c.Empty() && c.sees(0) {
			empty++
		}
	}
	return empty >= 2
}

// recount counts anew, when the index has been rebuilt. A parent has a lower id than
// its children.
func (x *Index) recount() {
	all := make([]*Layer, 0, len(x.Layers))
	for _, l := range x.Layers {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b *Layer) int { return cmp.Compare(a.ID, b.ID) })
	for _, l := range all {
		l.alone, l.forgotten, l.shown = 0, 0, l.mapped
		if len(l.children) == 0 && l.Volume == nil {
			l.forgotten = math.MaxUint64
		}
		if l.Parent == nil {
			continue
		}
		l.shown += l.Parent.shown
		for number, c := range l.chunks.all() {
			l.shown -= count(l.Parent.visible(number) & c.known())
		}
	}
	for _, l := range all {
		if len(l.children) == 0 {
			continue
		}
		for number, c := range l.chunks.all() {
			if once, twice := l.seers(number, c.data, nil); once != twice {
				l.credit(number, once&^twice, nil)
			}
		}
	}
}
