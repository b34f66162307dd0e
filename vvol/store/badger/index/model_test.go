package index

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
)

// modelSize is in blocks, and behind the last that a model uses.
const modelSize = 4 << limbAll * ChunkBlocks

// modelBlocks are those that a model uses, in order: islands at the borders of all levels
// of the tree, so that chunks, twigs and branches fill up, and between them blocks that
// stay alone, or in small company.
func modelBlocks() (all []uint64) {
	for _, level := range []uint{0, twigBits, branchAll, limbAll} {
		border := uint64(ChunkBlocks) << level
		for b := border - min(border, 150); b < border+150; b++ {
			all = append(all, b)
		}
		for b := border + 300; b < 4*border; b += border/8 + 40 {
			all = append(all, b)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// model holds what an index has to answer: for each volume the number of the write
// that each block shows, 0 where it reads as zeros; and where each write's data lies.
type model struct {
	t       *testing.T
	random  *rand.Rand
	x       *Index
	page    uint64 // behind the last group
	lastID  uint64
	writes  uint64
	blocks  []uint64
	volumes map[*Volume]map[uint64]uint64
	places  map[Location]uint64 // number of the write whose data lies there
	rows    map[uint64]*Entry   // of records
}

// TestModel does random changes to an index and to plain maps, and compares.
func TestModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	m := &model{t: t, random: random, volumes: map[*Volume]map[uint64]uint64{},
		places: map[Location]uint64{}, rows: map[uint64]*Entry{}, blocks: modelBlocks(),
		// Some end where locations do not fit into words.
		page: 1<<pageBits - random.Uint64N(20000), lastID: 1<<(pageBits-indexBits) - random.Uint64N(2000)}
	m.x = New(func() uint64 { return m.page })
	m.create()
	for range 600 {
		switch k := m.random.IntN(20); {
		case k < 8:
			m.write()
		case k < 11:
			m.zero()
		case k < 14:
			m.settle()
		case k < 16 && len(m.volumes) < 6:
			m.snapshot()
		case k < 17 && len(m.volumes) > 1:
			m.remove()
		case k < 18:
			m.collect()
		case k < 19:
			m.clean()
		case m.random.IntN(2) == 0:
			m.revert()
		default:
			m.rebuild()
		}
		m.check()
	}
}

func (m *model) newID() uint64 { m.lastID++; return m.lastID }

func (m *model) create() {
	var c Change
	v := &Volume{ID: store.ID{1}, Size: modelSize * BlockSize}
	l := c.Layer(m.newID(), nil, v.Pool)
	v.Family = l.ID
	c.Head(v, l, modelSize*BlockSize)
	m.x.Install(&c, m.page)
	m.volumes[v] = map[uint64]uint64{}
}

func (m *model) any() *Volume {
	all := slices.SortedFunc(maps.Keys(m.volumes), func(a, b *Volume) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return all[m.random.IntN(len(all))]
}

// extent returns a block and how many from it on, up to most, the model uses; often one.
func (m *model) extent(most int) (first, count uint64) {
	k := m.random.IntN(len(m.blocks))
	first, count = m.blocks[k], 1
	if m.random.IntN(3) > 0 {
		for most = 1 + m.random.IntN(most); count < uint64(most) && k+int(count) < len(m.blocks) && m.blocks[k+int(count)] == first+count; {
			count++
		}
	}
	return first, count
}

func (m *model) write() {
	v := m.any()
	first, count := m.extent(90)
	page := m.page + 1 // behind the header
	m.page = page + count
	m.x.Write(v.Head, first, count, page, m.page)
	for i := range count {
		m.writes++
		m.places[Journaled(page+i)] = m.writes
		m.volumes[v][first+i] = m.writes
	}
}

func (m *model) zero() {
	v := m.any()
	first, count := m.extent(700)
	last := first + count
	if m.random.IntN(4) == 0 {
		last = m.blocks[m.random.IntN(len(m.blocks))] + 1
	}
	first, last = min(first, last-1), max(first+1, last)
	m.page++
	m.x.ZeroGroup(v.Head, first, last, m.page)
	maps.DeleteFunc(m.volumes[v], func(b, _ uint64) bool { return b >= first && b < last })
}

// settle moves blocks of one layer from the journal into records.
func (m *model) settle() {
	for _, l := range m.layers() {
		var moves []Move
		for _, b := range m.blocks {
			if loc := l.Get(b); loc.Journaled() {
				moves = append(moves, Move{l, b, loc})
			}
		}
		m.record(m.x.Wanted(moves, m.page))
	}
}

func (m *model) layers() []*Layer {
	return slices.SortedFunc(maps.Values(m.x.Layers), func(a, b *Layer) int { return int(a.ID) - int(b.ID) })
}

func (m *model) record(moves []Move) {
	for part := range slices.Chunk(moves, RecordBlocks) {
		id := m.newID()
		t := NewEntry(part, make([]uint32, len(part)))
		m.rows[id] = &t
		for i, mv := range part {
			m.places[At(id, i)] = m.places[mv.From]
		}
		m.x.Settle(id, part)
	}
}

// snapshot clones a volume, writable.
func (m *model) snapshot() {
	src := m.any()
	var c Change
	frozen := c.Freeze(src, m.newID)
	v := &Volume{Size: src.Size, Family: src.Family, Origin: src.ID}
	l := c.Layer(m.newID(), frozen, v.Pool)
	v.ID = store.ID{2, byte(l.ID >> 16), byte(l.ID >> 8), byte(l.ID)}
	c.Head(v, l, modelSize*BlockSize)
	m.x.Install(&c, m.page)
	m.volumes[v] = maps.Clone(m.volumes[src])
}

func (m *model) remove() {
	v := m.any()
	head := m.x.Remove(v, m.page)
	delete(m.volumes, v)
	m.forget(head)
}

// revert gives a volume the content of another one.
func (m *model) revert() {
	v, to := m.any(), m.any()
	if v == to {
		return
	}
	var c Change
	frozen := c.Freeze(to, m.newID)
	left := v.Head
	c.Head(v, c.Layer(m.newID(), frozen, v.Pool), v.Size)
	m.x.Install(&c, m.page)
	m.volumes[v] = maps.Clone(m.volumes[to])
	m.forget(left)
}

// forget goes through a head that a volume left, with a write in between.
func (m *model) forget(l *Layer) {
	m.x.Forget(l, m.random.IntN(3))
	if len(m.volumes) > 0 {
		m.write()
	}
	for !m.x.Forget(l, 5) {
	}
}

// drop takes orphans away, as many together as the drainer may.
func (m *model) drop() {
	for all := m.x.Orphans(3); len(all) > 0; all = m.x.Orphans(3) {
		for _, l := range all {
			m.x.Drop(l)
		}
	}
}

// rebuild counts anew what is known.
func (m *model) rebuild() {
	m.x.RowsSet = m.page
	m.drop()
	for _, l := range m.x.Layers {
		l.shown, l.alone, l.forgotten = 77, 78, 79
	}
	m.x.Rebuilding = true
	m.x.Rebuilt()
}

// collect drops all orphans and merges one link, as the drainer does.
func (m *model) collect() {
	m.x.RowsSet = m.page
	m.drop()
	l := m.x.Mergeable(m.page)
	if l == nil {
		return
	}
	child := l.Child()
	m.settle() // nothing of a layer that is merged is in the journal
	l.Merging = true
	for ids := l.Records(5); len(ids) > 0; ids = l.Records(5) {
		for _, id := range ids {
			blocks := slices.Clone(m.rows[id].Blocks)
			l.Dismiss(id, m.rows[id])
			m.x.MoveUp(l, id, blocks)
		}
	}
	t := ZeroEntry{ID: m.newID(), Layer: child.ID, Kept: true}
	if l.Parent != nil {
		t.Spans = l.ZeroSpans(t.ID, func(b uint64) bool { return !child.Get(b).Recorded() })
	}
	m.x.FinishMerge(l, &t)
}

// clean moves the blocks of sparse records, and forgets the dead.
func (m *model) clean() {
	var moves []Move
	for _, r := range m.x.Survivors(m.lastID+segmentRecords, 200) {
		for i, b := range m.rows[r.ID].Blocks {
			if at := At(r.ID, i); b != DeadIndex && r.Layer.Get(b) == at {
				moves = append(moves, Move{r.Layer, b, at})
			}
		}
	}
	slices.SortFunc(moves, CompareMoves)
	for len(moves) > 0 {
		n := slices.IndexFunc(moves, func(mv Move) bool { return mv.Layer != moves[0].Layer })
		if n < 0 {
			n = len(moves)
		}
		m.record(moves[:n])
		moves = moves[n:]
	}
	for _, b := range m.x.Buried(m.x.Counts().Dead, m.page) {
		delete(m.rows, b.ID)
		for i := range RecordBlocks {
			delete(m.places, At(b.ID, i))
		}
	}
	m.x.Delete(m.x.Counts().Dead)
}

// check compares blocks, ranges and counts.
func (m *model) check() {
	for v, want := range m.volumes {
		var allocated uint64
		for _, b := range m.blocks {
			loc := v.Head.Find(b)
			if loc.Data() {
				allocated++
			}
			var got uint64
			if loc.Data() {
				var there bool
				got, there = m.places[loc]
				if !there {
					m.t.Fatalf("volume %v, block %d lies at %x, where nothing is", v.ID, b, loc)
				}
			}
			if got != want[b] {
				m.t.Fatalf("volume %v, block %d at %x is of write %d instead of %d", v.ID, b, loc, got, want[b])
			}
		}
		m.checkStat(v, allocated)
		var sum uint64
		require.NoError(m.t, m.x.Walk(m.t.Context(), v, nil, store.Allocated, 0, func(r store.Range) bool { sum += r.Length; return true }))
		require.Equal(m.t, allocated*BlockSize, sum)
	}
	m.checkCounts()
}

// checkStat counts the blocks of a volume that no other one shows, by asking all.
func (m *model) checkStat(v *Volume, allocated uint64) {
	var unshared, in uint64
	for _, b := range m.blocks {
		loc, seen := v.Head.Find(b), false
		for o := range m.volumes {
			seen = seen || o != v && o.Head.Find(b) == loc
		}
		if loc.Data() && !seen {
			unshared++
		}
		if v.Head.Get(b).Data() {
			in++
		}
	}
	require.Equal(m.t, Stat{allocated, unshared, in}, v.Stat(), "volume %v", v.ID)
	var sum uint64
	require.NoError(m.t, m.x.Walk(m.t.Context(), v, nil, store.Unshared, 0, func(r store.Range) bool { sum += r.Length; return true }))
	require.Equal(m.t, unshared*BlockSize, sum, "volume %v", v.ID)
}

// checkCounts counts anew what the index keeps count of.
func (m *model) checkCounts() {
	var held, live, dirty, mapped uint64
	segments := map[uint64][2]uint64{}
	records := map[uint64]*Record{}
	for _, l := range m.x.Layers {
		var before *Record
		for r := l.records; r != nil; before, r = r, r.next {
			require.Same(m.t, r, m.x.record(r.ID))
			require.Same(m.t, l, r.Layer)
			require.Equal(m.t, before, r.prev)
			records[r.ID] = r
			held, live = held+uint64(r.n), live+uint64(r.live)
			s := segments[r.ID/segmentRecords]
			segments[r.ID/segmentRecords] = [2]uint64{s[0] + uint64(r.n), s[1] + uint64(r.live)}
		}
	}
	require.Len(m.t, m.x.segments, len(segments))
	for n, s := range segments {
		require.Equal(m.t, s, [2]uint64{m.x.segments[n].held, m.x.segments[n].live})
	}
	leads := map[uint64]uint8{}
	children := map[*Layer]int{}
	for _, l := range m.x.Layers {
		if l.Parent != nil {
			children[l.Parent]++
		}
		var data uint64
		for _, b := range m.blocks {
			switch loc := l.Get(b); {
			case loc.Journaled():
				dirty++
				data++
			case loc.Recorded():
				leads[loc.Record()]++
				data++
			}
		}
		require.Equal(m.t, data, l.mapped, "layer %d", l.ID)
		mapped += data
	}
	for _, r := range records {
		require.Equal(m.t, leads[r.ID], r.live, "record %d", r.ID)
	}
	for _, l := range m.x.Layers {
		require.Equal(m.t, children[l], l.Children(), "layer %d", l.ID)
	}
	c := m.x.Counts()
	require.Equal(m.t, Counts{held, live, dirty, len(records), len(m.x.dead)}, c)
	require.Equal(m.t, mapped*BlockSize, m.x.PoolUsage(store.Pool{}))
}
