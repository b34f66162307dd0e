package index

import (
	"maps"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
)

// TestTreeEnds finds and lists chunks at the ends of every level, and lone blocks there.
func TestTreeEnds(t *testing.T) {
	all := []uint64{0, 1, fanOut - 1, fanOut, fanOut*fanOut - 1, fanOut * fanOut, 1<<limbAll - 1, 1 << limbAll, noChunk - 1}
	for name, put := range map[string]func(*tree, uint64){
		"chunks": func(tr *tree, number uint64) {
			c := tr.own(number)
			require.Same(t, c, tr.at(number).chunk)
			require.Same(t, c, tr.own(number))
		},
		"first blocks": func(tr *tree, number uint64) { tr.set(number*ChunkBlocks, At(7, 7)) },
		"last blocks":  func(tr *tree, number uint64) { tr.set((number+1)*ChunkBlocks-1, Zeroed) },
	} {
		t.Run(name, func(t *testing.T) {
			var tr tree
			for i, number := range all {
				v := tr.at(number)
				require.Zero(t, v.known())
				put(&tr, number)
				require.Equal(t, number, tr.next(number))
				if i > 0 {
					require.Equal(t, number, tr.next(all[i-1]+1))
				}
			}
			require.EqualValues(t, noChunk, tr.next(noChunk))
			require.Equal(t, all, numbers(tr))
		})
	}
}

// numbers lists those of the chunks that a tree yields.
func numbers(tr tree) (all []uint64) {
	for number := range tr.all() {
		all = append(all, number)
	}
	return all
}

func TestWord(t *testing.T) {
	for _, c := range []struct {
		name string
		loc  Location
		fits bool
	}{
		{"zeros", Zeroed, true},
		{"first record", At(1, 0), true},
		{"last record that fits", At(1<<39-1, 63), true},
		{"record that does not", At(1<<39, 0), false},
		{"first page", Journaled(0), true},
		{"last page that fits", Journaled(1<<45 - 1), true},
		{"page that does not", Journaled(1 << 45), false},
		{"last page", Journaled(1<<63 - 1), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, block := range []uint64{0, 1, 1<<blockBits - 1, 1 << blockBits, MaxBlocks - 1} {
				w, fits := packed(block, c.loc)
				require.Equal(t, c.fits, fits)
				if fits {
					require.Equal(t, c.loc, w.location())
					require.Equal(t, block%(1<<blockBits), w.block())
				}
			}
		})
	}
}

// TestTree sets blocks of chance in ways that leave them alone, crowd and fill parts of
// all levels, and compares with a map.
func TestTree(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for round := range uint64(40) {
		m := &treeModel{t: t, r: rand.New(rand.NewPCG(seed, round)), want: map[uint64]Location{}}
		m.base = m.r.Uint64N(MaxBlocks>>18) << 18
		if m.r.IntN(2) == 0 {
			m.base = min(m.base>>24<<24, MaxBlocks-1<<24) // where a limb begins
		}
		for range 20 {
			m.step()
			m.check()
		}
	}
}

type treeModel struct {
	t    *testing.T
	r    *rand.Rand
	tr   tree
	base uint64
	want map[uint64]Location
	used []uint64 // blocks that were set, once or more
}

// location returns one of chance, seldom one that does not fit into a word.
func (m *treeModel) location() Location {
	switch k := m.r.IntN(300); {
	case k == 0:
		return Journaled(1<<pageBits + m.r.Uint64N(1<<17))
	case k == 1:
		return At(1<<(pageBits-indexBits)+m.r.Uint64N(1<<17), 0)
	case k < 30:
		return Zeroed
	case k < 150:
		return Journaled(m.r.Uint64N(1 << pageBits))
	}
	return At(1+m.r.Uint64N(1<<39-1), m.r.IntN(RecordBlocks))
}

// step sets some blocks at random over a space of chance, or all of a range.
func (m *treeModel) step() {
	bits := uint(4 + m.r.IntN(16))
	start := (m.base + m.r.Uint64N(1<<20)>>bits<<bits) % MaxBlocks
	if m.r.IntN(3) == 0 { // across a border of blocks, chunks, twigs or branches
		start = m.base + (1+m.r.Uint64N(3))<<[]uint{0, 6, 12, 18}[m.r.IntN(4)] - min(m.base, 1<<bits/2)
	}
	first, n := m.r.Uint64N(1<<bits), 1+m.r.Uint64N(400)
	kind, loc := m.r.IntN(6), m.location()
	for i := range n {
		block := start + m.r.Uint64N(1<<bits)
		if kind < 2 {
			block = start + first + i
		}
		to := m.location()
		switch {
		case kind == 0:
			to = loc + Location(i)
		case kind == 2:
			to = Absent
		case kind == 3 && len(m.used) > 0 && i%4 > 0:
			block = m.used[m.r.IntN(len(m.used))]
		}
		if block %= MaxBlocks; m.r.IntN(2000) == 0 {
			m.tr.own(block / ChunkBlocks)
		}
		m.same(block, m.tr.set(block, to))
		m.used = append(m.used, block)
		if m.want[block] = to; to == Absent {
			delete(m.want, block)
		}
	}
}

// same compares what a tree says of a block with what it should.
func (m *treeModel) same(block uint64, got Location) {
	if want := m.want[block]; got != want {
		m.t.Fatalf("block %d is at %x instead of %x", block, got, want)
	}
}

func (m *treeModel) check() {
	chunks := map[uint64]bool{}
	for _, block := range m.used {
		m.same(block, m.tr.get(block))
		near := (block + m.r.Uint64N(200)) % MaxBlocks
		m.same(near, m.tr.get(near))
	}
	for block := range m.want {
		chunks[block/ChunkBlocks] = true
	}
	all := slices.Sorted(maps.Keys(chunks))
	known := slices.DeleteFunc(numbers(m.tr), func(number uint64) bool {
		v := m.tr.at(number)
		return v.chunk != nil && v.known() == 0
	})
	require.True(m.t, slices.Equal(all, known), "chunks %v instead of %v", known, all)
	for k := range 2 * len(all) {
		number := (all[k/2] + uint64(k%2)) % noChunk
		v := m.tr.at(number)
		for i := range uint64(ChunkBlocks) {
			block := number*ChunkBlocks + i
			if loc := m.want[block]; loc.Data() != (v.data>>i&1 == 1) || (loc == Zeroed) != (v.zero>>i&1 == 1) {
				m.t.Fatalf("block %d at %x: data %x, zeros %x", block, loc, v.data, v.zero)
			} else if loc != Absent {
				m.same(block, v.get(i))
			}
		}
	}
	for _, l := range m.tr {
		if l == nil {
			continue
		}
		for _, b := range l {
			if b != nil {
				m.checkBranch(b)
			}
		}
	}
}

func (m *treeModel) checkBranch(b *branch) {
	m.checkLone(&b.lone, twigAt, func(part word) bool { return b.twigs.get(uint64(part)) != nil })
	checkKids(m.t, &b.twigs)
	for _, w := range b.twigs.list {
		m.checkLone(&w.lone, chunkAt, func(part word) bool { return w.chunks.get(uint64(part)) != nil })
		checkKids(m.t, &w.chunks)
	}
}

// checkKids judges that there are as many kids as numbers of them, and how much room.
func checkKids[K any](t *testing.T, k *kids[K]) {
	require.Len(t, k.list, bits.OnesCount64(k.set))
	require.NotContains(t, k.list, (*K)(nil))
	require.LessOrEqual(t, cap(k.list), 4+len(k.list)*3/2)
}

// checkLone judges what keeps words small and fast: how many, how much room, and the marks.
func (m *treeModel) checkLone(s *lone, at uint, kid func(part word) bool) {
	require.True(m.t, slices.IsSorted(s.words))
	require.LessOrEqual(m.t, cap(s.words), max(8, 2*len(s.words)))
	parts := map[word]int{}
	for _, w := range s.words {
		part := w >> at % fanOut
		if parts[part]++; parts[part] > loneMost || kid(part) {
			m.t.Fatalf("%d words of part %d, which hangs in the tree: %t", parts[part], part, kid(part))
		}
	}
	if len(s.marks) == 0 {
		require.LessOrEqual(m.t, len(s.words), markMost*marksLeast/2)
		return
	}
	require.LessOrEqual(m.t, len(s.words), markMost*len(s.marks))
	require.GreaterOrEqual(m.t, len(s.words), markLeast*len(s.marks))
	want := make([]mark, len(s.marks))
	for _, w := range s.words {
		g := s.group(w.block(), at)
		want[g/64].has |= 1 << (g % 64)
		for i := g/64 + 1; i < uint64(len(want)); i++ {
			want[i].from++
		}
	}
	require.Equal(m.t, want, s.marks)
}

// TestRoom lets slices grow and shrink, and never have much more room than they need.
func TestRoom(t *testing.T) {
	var s []word
	for n := range 2000 {
		s = insert(s, n/2, word(n))
		require.LessOrEqual(t, cap(s), 4+n*3/2, "at %d", n)
	}
	for n := 2000; n > 0; n-- {
		require.Len(t, s, n)
		require.LessOrEqual(t, cap(s), max(8, 2*n), "at %d", n)
		s = remove(s, n/2, n/2+1)
	}
	require.Zero(t, cap(s))
}

// TestFindAllBorders reads across the borders of all levels, of which two layers know
// lone blocks.
func TestFindAllBorders(t *testing.T) {
	below, head := NewLayer(1, store.Pool{}), NewLayer(2, store.Pool{})
	head.SetParent(below)
	for _, border := range []uint64{ChunkBlocks, 1 << 12, 1 << 18, 1 << 24} {
		want := make([]Location, 300)
		first := max(border, 150) - 150
		set := func(l *Layer, block uint64, to Location) {
			l.set(block, to)
			if l == head || !head.Get(block).Data() && head.Get(block) != Zeroed {
				want[block-first] = to
			}
		}
		set(below, border-1, At(border, 1))
		set(below, border, At(border, 2))
		set(below, border+70, At(border, 3))
		set(head, border, Journaled(border))
		set(head, border-2, Journaled(border+1))
		set(head, border+70, Zeroed)
		locs := make([]Location, 300)
		head.FindAll(first, locs)
		require.Equal(t, want, locs, "border %d", border)
		for i, loc := range want {
			require.Equal(t, loc, head.Find(first+uint64(i)))
		}
		require.EqualValues(t, 298, head.Fresh(first, first+300))
		require.EqualValues(t, 297, below.Fresh(first, first+300))
	}
}
