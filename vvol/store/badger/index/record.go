package index

import (
	"cmp"
	"slices"
)

// Record is what memory holds of one record.
type Record struct {
	ID    uint64
	Layer *Layer
	// Damaged tells that it could not be read when it was to be moved.
	Damaged bool

	n    uint8 // blocks, at most RecordBlocks
	live uint8 // of these, blocks that the layer leads to

	prev, next *Record // of the layer
}

// join puts a record in front of those of a layer.
func (r *Record) join(l *Layer) {
	if r.Layer, r.prev, r.next = l, nil, l.records; r.next != nil {
		r.next.prev = r
	}
	l.records = r
}

// leave takes a record from its layer.
func (r *Record) leave() {
	if r.prev == nil {
		r.Layer.records = r.next
	} else {
		r.prev.next = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	}
}

// Burial is a dead record. It may be deleted when what was in the journal before Page
// is on stable storage, as that is what took its place.
type Burial struct{ ID, Page uint64 }

// segmentRecords is the number of consecutive ids whose blocks are counted together.
const segmentRecords = 256

// segment holds records with consecutive ids, which lie together in the value log, and
// counts their blocks.
type segment struct {
	held, live uint64
	records    [segmentRecords]*Record
}

// record returns the record with an id, or nil. R.
func (x *Index) record(id uint64) *Record {
	if s := x.segments[id/segmentRecords]; s != nil {
		return s.records[id%segmentRecords]
	}
	return nil
}

func (x *Index) segment(id uint64) *segment {
	s := x.segments[id/segmentRecords]
	if s == nil {
		s = &segment{}
		x.segments[id/segmentRecords] = s
	}
	return s
}

// adopt adds a record whose blocks are all live so far.
func (x *Index) adopt(l *Layer, id uint64, n int) {
	r := &Record{ID: id, n: uint8(n), live: uint8(n)}
	r.join(l)
	x.records++
	x.held += uint64(n)
	x.live += uint64(n)
	s := x.segment(id)
	s.records[id%segmentRecords] = r
	s.held, s.live = s.held+uint64(n), s.live+uint64(n)
}

// lose counts one block of a record dead.
func (x *Index) lose(id uint64) {
	s := x.segments[id/segmentRecords]
	if s == nil || s.records[id%segmentRecords] == nil {
		return
	}
	r := s.records[id%segmentRecords]
	r.live--
	x.live--
	s.live--
	if r.live == 0 {
		x.bury(r)
	}
}

// bury hands a record to the list of the dead.
func (x *Index) bury(r *Record) {
	r.leave()
	x.records--
	x.held -= uint64(r.n)
	x.live -= uint64(r.live)
	s := x.segment(r.ID)
	s.records[r.ID%segmentRecords] = nil
	s.held, s.live = s.held-uint64(r.n), s.live-uint64(r.live)
	if s.held == 0 {
		delete(x.segments, r.ID/segmentRecords)
	}
	x.dead = append(x.dead, Burial{r.ID, x.head()})
}

// Bury notes a record that no layer leads to and that may be deleted at once. W.
func (x *Index) Bury(id uint64) { x.dead = append(x.dead, Burial{ID: id}) }

// Buried lists the first of n burials, in order, up to one whose page is behind page. R.
// The slice stays what it is until Delete.
func (x *Index) Buried(n int, page uint64) []Burial {
	dead := x.dead[:n]
	if i := slices.IndexFunc(dead, func(b Burial) bool { return b.Page > page }); i >= 0 {
		return dead[:i]
	}
	return dead
}

// Delete forgets the first n burials, whose records are deleted. W.
func (x *Index) Delete(n int) { x.dead = x.dead[n:] }

// Load lets a layer lead to a record that was found in the database. One whose layer
// is gone is buried. W.
func (x *Index) Load(id uint64, t *Entry) {
	l := x.Layers[t.Layer]
	if l == nil {
		x.Bury(id)
		return
	}
	x.adopt(l, id, len(t.Blocks))
	for i, block := range t.Blocks {
		if block == DeadIndex {
			x.lose(id)
			continue
		}
		x.point(l, block, At(id, i))
	}
}

// Move is a block on its way into a record, from the journal or another record.
type Move struct {
	Layer *Layer
	Block uint64
	From  Location
}

// CompareMoves orders by layer and block; of two copies of a block the newer is first.
func CompareMoves(a, b Move) int {
	return cmp.Or(cmp.Compare(a.Layer.ID, b.Layer.ID), cmp.Compare(a.Block, b.Block), cmp.Compare(b.From, a.From))
}

// Wanted leaves out moves of what something newer made needless: a copy in the journal
// before page stable, or zeros that are there. It reuses moves. R.
func (x *Index) Wanted(moves []Move, stable uint64) []Move {
	return slices.DeleteFunc(moves, func(m Move) bool {
		if x.Layers[m.Layer.ID] != m.Layer {
			return true // dropped
		}
		switch now := m.Layer.Get(m.Block); {
		case now == m.From:
			return false
		case now.Journaled():
			return now.Page() < stable
		case now == Zeroed:
			return m.Layer.ZeroPage <= stable
		}
		return true
	})
}

// Settle lets a layer lead to a record where it still leads to what the record was
// made of: 1 to RecordBlocks moves of one layer. W.
func (x *Index) Settle(id uint64, moves []Move) {
	l := moves[0].Layer
	if x.Layers[l.ID] != l {
		x.dead = append(x.dead, Burial{id, x.head()})
		return
	}
	l.LastID = id
	x.adopt(l, id, len(moves))
	for i, m := range moves {
		if l.Get(m.Block) == m.From {
			x.point(l, m.Block, At(id, i))
		} else {
			x.lose(id)
		}
	}
}

// Survivors lists records of the emptiest segment that has any which can move, with at
// least that many blocks to move if it has them. The segment of id newest still grows and
// is left out. R.
func (x *Index) Survivors(newest uint64, blocks int) (all []*Record) {
	emptiest, best := uint64(0), 2.0
	for n, s := range x.segments {
		share := float64(s.live) / float64(s.held)
		if n < newest/segmentRecords && s.live < s.held && share < best && len(x.movable(n, 1)) > 0 {
			emptiest, best = n, share
		}
	}
	if best > 1 {
		return nil
	}
	return x.movable(emptiest, blocks)
}

// movable lists records of a segment that are not damaged and keep their layer.
func (x *Index) movable(segment uint64, blocks int) (all []*Record) {
	for id := segment * segmentRecords; id < (segment+1)*segmentRecords && blocks > 0; id++ {
		if r := x.record(id); r != nil && !r.Layer.Merging && !r.Damaged {
			all = append(all, r)
			blocks -= int(r.live)
		}
	}
	return all
}
