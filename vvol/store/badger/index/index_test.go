package index

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
	"vvsim/vvol/store/badger/sum"
)

func TestLocation(t *testing.T) {
	for _, c := range []struct {
		name                      string
		loc                       Location
		data, journaled, recorded bool
	}{
		{"absent", Absent, false, false, false},
		{"zeroed", Zeroed, false, false, false},
		{"first record", At(1, 0), true, false, true},
		{"last index", At(1<<57-1, 63), true, false, true},
		{"first page", Journaled(0), true, true, false},
		{"last page", Journaled(1<<63 - 1), true, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, []bool{c.data, c.journaled, c.recorded}, []bool{c.loc.Data(), c.loc.Journaled(), c.loc.Recorded()})
		})
	}
	require.EqualValues(t, 77, At(77, 5).Record())
	require.Equal(t, 5, At(77, 5).Index())
	require.EqualValues(t, 77, Journaled(77).Page())
	require.Less(t, At(1<<57-1, 63), Journaled(0), "the journal is newer than any record")
}

// TestRows compares rows with their bytes on disk.
func TestRows(t *testing.T) {
	e := Entry{Layer: 3, Blocks: []uint64{9, DeadIndex}, Sums: []uint32{0x01020304, 0x05060708}}
	require.Equal(t, "0000000000000003"+"71acabeb"+"0000000000000009"+"01020304"+"ffffffffffffffff"+"05060708", hex.EncodeToString(e.Encode()))
	e2, err := DecodeEntry(e.Encode())
	require.NoError(t, err)
	require.Equal(t, e, e2)
	z := ZeroEntry{ID: 8, Layer: 3, Kept: true, Spans: []Span{{7, 0, 512}, {8, 600, 601}}}
	require.Equal(t, "0000000000000003"+"01"+"0000000000000007"+"0000000000000000"+"0000000000000200"+
		"0000000000000008"+"0000000000000258"+"0000000000000259", hex.EncodeToString(z.Encode()))
	z2, err := DecodeZeros(8, z.Encode())
	require.NoError(t, err)
	require.Equal(t, z, z2)
}

func TestBadRows(t *testing.T) {
	entry := func(n int) []byte { return (&Entry{Blocks: make([]uint64, n), Sums: make([]uint32, n)}).Encode() }
	flipped := entry(2)
	flipped[27] ^= 1
	zeros := func(s ...Span) []byte { return (&ZeroEntry{Spans: s}).Encode() }
	for name, b := range map[string][]byte{"empty": nil, "no block": entry(0), "too many": entry(RecordBlocks + 1), "cut": entry(2)[:27], "flipped bit": flipped} {
		_, err := DecodeEntry(b)
		require.ErrorIs(t, err, ErrCorrupt, name)
	}
	kept := zeros()
	kept[8] = 2
	for name, b := range map[string][]byte{"empty": nil, "cut": zeros(Span{1, 0, 1})[:32], "flag": kept, "no block": zeros(Span{1, 5, 5}),
		"beyond any volume": zeros(Span{1, 5, MaxBlocks + 1}), "newer than its row": zeros(Span{2, 0, 1})} {
		_, err := DecodeZeros(1, b)
		require.ErrorIs(t, err, ErrCorrupt, name)
	}
}

// What VerifyBlock lets pass is what was written, at the block that it was written to.
func TestVerifyBlock(t *testing.T) {
	value := make([]byte, 2*BlockSize)
	zeros := sum.Of(value[:BlockSize])
	e := NewEntry([]Move{{Layer: NewLayer(1, store.Pool{}), Block: 1}, {Block: 2}}, []uint32{Sum(1, zeros), Sum(2, zeros)})
	p := make([]byte, BlockSize)
	verify := func(block uint64, at int) error {
		require.NoError(t, CopyBlock(p, value, at))
		return VerifyBlock(p, block, e.Sums, at)
	}
	require.NoError(t, verify(1, 0))
	require.NoError(t, verify(2, 1))
	require.ErrorIs(t, verify(2, 0), ErrCorrupt, "another block's data")
	require.ErrorIs(t, VerifyBlock(p, 3, e.Sums, 2), ErrShort)
	require.ErrorIs(t, CopyBlock(p, value, 2), ErrShort)
	require.ErrorIs(t, CopyBlock(p, value[:2*BlockSize-1], 1), ErrShort)
	value[BlockSize+77] ^= 4
	require.NoError(t, verify(1, 0))
	require.ErrorIs(t, verify(2, 1), ErrCorrupt)
}

// chain returns an index with a volume of so many layers, the head first.
func chain(t *testing.T, depth int) (x *Index, layers []*Layer) {
	x = New(func() uint64 { return 100 })
	v := &Volume{ID: store.ID{1}, Size: 64 * 512 * BlockSize, Family: 1}
	var below *Layer
	for id := range uint64(depth) {
		var c Change
		l := c.Layer(id+1, below, store.Pool{})
		c.Head(v, l, v.Size)
		x.Install(&c, 0)
		layers = append([]*Layer{l}, layers...)
		below = l
	}
	require.Equal(t, depth, v.Head.Depth())
	return x, layers
}

func TestZero(t *testing.T) {
	for _, c := range []struct {
		name        string
		below       bool // the layer below knows the chunk
		rebuilding  bool
		first, last uint64
		want        Location // of the first block, in the head
		shared      bool     // the chunk is the shared one
	}{
		{"unknown", false, false, 0, 64, Absent, false},
		{"unknown, in part", false, false, 3, 5, Absent, false},
		{"hides the layer below", true, false, 0, 64, Zeroed, true},
		{"hides the layer below, in part", true, false, 3, 5, Zeroed, false},
		{"the layer below is completed later", false, true, 3, 5, Zeroed, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, l := chain(t, 2)
			if c.below {
				x.Write(l[1], 3, 1, 10, 11)
			}
			x.Rebuilding = c.rebuilding
			x.Zero(l[0], c.first, c.last)
			if c.rebuilding {
				x.Write(l[1], 3, 2, 10, 12)
				x.Write(l[0], 4, 1, 20, 21)
				x.Rebuilt()
				require.Equal(t, Journaled(20), l[0].Get(4), "written after it was zeroed")
			}
			require.Equal(t, c.want, l[0].Get(c.first))
			require.Equal(t, c.shared, l[0].chunks.at(0).chunk == zeroChunk)
			x.Write(l[0], 7, 1, 20, 21)
			require.Equal(t, chunk{zero: everyBlock}, *zeroChunk, "the shared chunk changed")
		})
	}
}

func TestNeeded(t *testing.T) {
	x, l := chain(t, 1)
	head := l[0]
	for b := range uint64(10) {
		head.set(b, Zeroed)
	}
	head.set(2, At(5, 0))      // newer than the span, on stable storage
	head.set(3, At(9, 0))      // newer, not on stable storage yet
	head.set(4, At(2, 0))      // older: a crash made it come back
	head.set(5, Journaled(50)) // not in the database
	head.set(6, Absent)
	require.Equal(t, []Span{{4, 7, 8}, {3, 0, 2}, {3, 3, 6}, {3, 8, 9}},
		head.Needed([]Span{{3, 0, 9}, {4, 7, 8}}, 6))
	require.Zero(t, x.Counts().Live)
}

func TestZeroSpans(t *testing.T) {
	_, l := chain(t, 1)
	fill := func(first, last uint64) {
		for number := first / ChunkBlocks; number*ChunkBlocks < last; number++ {
			l[0].mark(number, within(number, first, last))
		}
	}
	fill(500, 1500)
	l[0].set(1400, At(1, 0))
	require.Equal(t, []Span{{7, 500, 1000}, {7, 1001, 1400}, {7, 1401, 1500}},
		l[0].ZeroSpans(7, func(b uint64) bool { return b != 1000 }))
	require.Same(t, zeroChunk, l[0].chunks.at(8).chunk)
	fill(1400, 1401)
	require.Equal(t, At(1, 0), l[0].Get(1400))
}

// TestMark leaves what is known as it is, whether few blocks are marked, many or all.
func TestMark(t *testing.T) {
	for _, n := range []uint64{2, loneMost + 1, ChunkBlocks - 1, ChunkBlocks} {
		l := NewLayer(1, store.Pool{})
		l.set(1, At(2, 0))
		l.mark(0, within(0, 0, n))
		require.Equal(t, At(2, 0), l.Get(1))
		v := l.chunks.at(0)
		require.EqualValues(t, 0b10, v.data)
		require.Equal(t, within(0, 0, n)&^0b10, v.zero)
	}
}

// TestScattered packs the newest zero rows, and older ones that are no larger together.
func TestScattered(t *testing.T) {
	for _, c := range []struct {
		name        string
		rows, spans []int // so many rows of so many spans, the oldest first
		want        int
	}{
		{"few", []int{3}, []int{1}, 3},
		{"a large one stays", []int{1, 40}, []int{41, 1}, 40},
		{"until the others are as large", []int{1, 41}, []int{41, 1}, 42},
		{"larger ones one after the other", []int{1, 1, 1, 32}, []int{1000, 64, 32, 1}, 34},
		{"no row that is too large", []int{1, 33}, []int{maxPackedSpans, maxPackedSpans}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, l := chain(t, 1)
			for i, n := range c.rows {
				for range n {
					x.AddZeros(l[0], &ZeroEntry{ID: uint64(len(l[0].Zeros) + 1), Spans: make([]Span, c.spans[i])})
				}
			}
			rows := l[0].Scattered()
			require.Len(t, rows, c.want)
			require.Equal(t, len(l[0].Zeros) > crowdedRows, x.Crowded(func(*Layer) bool { return true }) == l[0])
			last := rows[len(rows)-1].ID
			x.Packed(l[0], len(rows), &ZeroEntry{ID: last, Spans: make([]Span, 5)})
			require.Equal(t, ZeroRow{last, 5}, l[0].Zeros[len(l[0].Zeros)-1])
			require.Nil(t, x.Crowded(func(*Layer) bool { return true }))
		})
	}
}

// TestPackingEnds: what is packed again and again grows with the logarithm of it all.
func TestPackingEnds(t *testing.T) {
	x, l := chain(t, 1)
	packed, total := 0, 20000
	for id := range total {
		x.AddZeros(l[0], &ZeroEntry{ID: uint64(id + 1), Spans: make([]Span, 1)})
		if x.Crowded(func(*Layer) bool { return true }) == nil {
			continue
		}
		rows, spans := l[0].Scattered(), 0
		for _, r := range rows {
			spans += r.Spans
		}
		packed += spans
		x.Packed(l[0], len(rows), &ZeroEntry{ID: uint64(id + 1), Spans: make([]Span, spans)})
	}
	require.Less(t, packed, 15*total, "a span is packed %d times", packed/total)
}

func TestKnown(t *testing.T) {
	x, l := chain(t, 2)
	const n = ChunkBlocks
	x.Write(l[1], 5*n, 1, 10, 11)
	for _, c := range []struct {
		first, last uint64
		want        bool
	}{{0, 1, false}, {5 * n, 5*n + 1, true}, {4 * n, 5 * n, false}, {0, MaxBlocks, true}, {6 * n, MaxBlocks, false}} {
		require.Equal(t, c.want, l[0].Known(c.first, c.last), "%d to %d", c.first, c.last)
	}
	require.EqualValues(t, 3, l[1].Fresh(5*n-1, 5*n+3))
}

// TestBurial buries a record with its last block, behind what replaced it.
func TestBurial(t *testing.T) {
	x, l := chain(t, 1)
	x.Write(l[0], 0, 2, 10, 12)
	x.Settle(7, []Move{{l[0], 0, Journaled(10)}, {l[0], 1, Journaled(11)}})
	require.Equal(t, Counts{Held: 2, Live: 2, Records: 1}, x.Counts())
	x.Write(l[0], 0, 1, 20, 21)
	require.Equal(t, Counts{Held: 2, Live: 1, Dirty: 1, Records: 1}, x.Counts())
	x.ZeroGroup(l[0], 0, 5, 22)
	require.Equal(t, Counts{Dead: 1}, x.Counts())
	require.Empty(t, x.Buried(1, 99))
	require.Equal(t, []Burial{{7, 100}}, x.Buried(1, 100))
	x.Delete(1)
	require.Zero(t, x.Counts().Dead)
	require.Zero(t, x.PoolUsage(store.Pool{}))
}

// TestSettleLate makes records of copies that were written anew or dropped meanwhile.
func TestSettleLate(t *testing.T) {
	x, l := chain(t, 1)
	x.Write(l[0], 0, 2, 10, 12)
	x.Write(l[0], 1, 1, 20, 21)
	x.Settle(7, []Move{{l[0], 0, Journaled(10)}, {l[0], 1, Journaled(11)}})
	require.Equal(t, Journaled(20), l[0].Get(1))
	require.Equal(t, Counts{Held: 2, Live: 1, Dirty: 1, Records: 1}, x.Counts())
	x.Remove(x.Volumes[store.ID{1}], 0)
	x.Drop(orphan(x))
	x.Settle(8, []Move{{l[0], 1, Journaled(20)}})
	require.Equal(t, Counts{Dead: 2}, x.Counts())
}

func TestWanted(t *testing.T) {
	x, l := chain(t, 1)
	x.Write(l[0], 0, 4, 10, 14)
	var moves []Move
	for b := range uint64(4) {
		moves = append(moves, Move{l[0], b, Journaled(10 + b)})
	}
	x.Write(l[0], 1, 1, 20, 21)
	x.Write(l[0], 2, 1, 30, 31)
	x.ZeroGroup(l[0], 3, 4, 40)
	blocks := func(stable uint64) (all []uint64) {
		for _, m := range x.Wanted(append([]Move(nil), moves...), stable) {
			all = append(all, m.Block)
		}
		return all
	}
	require.Equal(t, []uint64{0, 1, 2, 3}, blocks(15))
	require.Equal(t, []uint64{0, 2, 3}, blocks(25))
	require.Equal(t, []uint64{0}, blocks(40))
}

func TestSurvivors(t *testing.T) {
	x, l := chain(t, 1)
	page := uint64(10)
	for id := range uint64(3) {
		x.Write(l[0], id*4, 4, page, page+4)
		var moves []Move
		for b := range uint64(4) {
			moves = append(moves, Move{l[0], id*4 + b, Journaled(page + b)})
		}
		x.Settle(id*segmentRecords+1, moves)
		page += 4
	}
	require.Empty(t, x.Survivors(5*segmentRecords, 100), "nothing is dead")
	x.Zero(l[0], 0, 1)
	x.Zero(l[0], 4, 6)
	x.Zero(l[0], 8, 11)
	ids := func(newest uint64) (all []uint64) {
		for _, r := range x.Survivors(newest, 100) {
			all = append(all, r.ID)
		}
		return all
	}
	require.Equal(t, []uint64{2*segmentRecords + 1}, ids(5*segmentRecords))
	require.Equal(t, []uint64{segmentRecords + 1}, ids(2*segmentRecords), "the newest still grows")
	x.record(segmentRecords + 1).Damaged = true
	require.Equal(t, []uint64{1}, ids(2*segmentRecords), "a damaged record holds nothing up")
}

// TestOrphanOfRows keeps a layer until Badger has the rows that took its volume.
func TestOrphanOfRows(t *testing.T) {
	x, l := chain(t, 1)
	v := x.Volumes[store.ID{1}]
	var c Change
	head := c.Layer(99, nil, v.Pool)
	c.Head(v, head, v.Size)
	x.Install(&c, 50)
	x.RowsSet = 49
	require.Nil(t, orphan(x))
	x.RowsSet = 50
	require.Same(t, l[0], orphan(x))
	x.Drop(l[0])
	require.Same(t, head, x.Remove(v, 60))
	require.Nil(t, orphan(x))
	x.RowsSet = 60
	require.Same(t, head, orphan(x))
}

func TestClassify(t *testing.T) {
	x, l := chain(t, 3)
	require.Nil(t, orphan(x))
	link := x.Mergeable(0)
	require.Contains(t, []*Layer{l[1], l[2]}, link)
	require.Same(t, link, link.Child().Parent)
	x.Remove(x.Volumes[store.ID{1}], 0)
	for _, want := range l {
		require.Same(t, want, orphan(x), "from the head on")
		x.Drop(want)
	}
	require.False(t, x.Shrinking())
	require.Empty(t, x.Layers)
}

// TestMergeable passes over a layer whose row, or whose child's, is in the journal.
func TestMergeable(t *testing.T) {
	x, l := chain(t, 2)
	l[1].RowPage = 50
	require.Nil(t, x.Mergeable(49))
	require.Same(t, l[1], x.Mergeable(50))
	l[0].RowPage = 60
	require.Nil(t, x.Mergeable(50), "nor one whose child's row is not in Badger")
	x.RowsSet = 60
	require.Same(t, l[1], x.Mergeable(50))
	l[1].Merging = true
	require.Same(t, l[1], x.Mergeable(0), "one that is being merged")
}

func TestDismiss(t *testing.T) {
	for _, c := range []struct {
		name         string
		below, above Location
		stays        bool
	}{
		{"only copy", At(5, 0), Absent, true},
		{"superseded in the layer", At(6, 0), Absent, false},
		{"older record above", At(5, 0), At(4, 0), false},
		{"newer record above", At(5, 0), At(6, 0), true},
		{"zeros above", At(5, 0), Zeroed, false},
		{"journal above", At(5, 0), Journaled(1), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, l := chain(t, 2)
			l[1].Merging = true
			l[1].set(9, c.below)
			if c.above != Absent {
				l[0].set(9, c.above)
			}
			e := Entry{Layer: 1, Blocks: []uint64{9}}
			l[1].Dismiss(5, &e)
			require.Equal(t, c.stays, e.Blocks[0] == 9)
		})
	}
}

func TestWalk(t *testing.T) {
	x, l := chain(t, 1)
	a := x.Volumes[store.ID{1}]
	x.Write(l[0], 510, 4, 10, 14)
	var c Change
	b := &Volume{ID: store.ID{2}, Size: 513 * BlockSize, Family: 1}
	c.Head(b, c.Layer(3, c.Freeze(a, func() uint64 { return 2 }), store.Pool{}), b.Size)
	x.Install(&c, 0)
	x.Zero(b.Head, 513, 514)
	x.Write(a.Head, 0, 1, 20, 21)
	x.Zero(a.Head, 511, 512)
	for _, tc := range []struct {
		name string
		kind store.RangeKind
		from uint64
		want []store.Range
	}{
		{"allocated", store.Allocated, 0, []store.Range{{Offset: 0, Length: 1}, {Offset: 510, Length: 1}, {Offset: 512, Length: 2}}},
		{"from within", store.Allocated, 513, []store.Range{{Offset: 513, Length: 1}}},
		{"unshared: cut off from the other", store.Unshared, 0, []store.Range{{Offset: 0, Length: 1}, {Offset: 513, Length: 1}}},
		{"different", store.Different, 0, []store.Range{{Offset: 0, Length: 1}, {Offset: 511, Length: 1}, {Offset: 513, Length: 1}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []store.Range
			require.NoError(t, x.Walk(t.Context(), a, b, tc.kind, tc.from*BlockSize, func(r store.Range) bool {
				got = append(got, store.Range{Offset: r.Offset / BlockSize, Length: r.Length / BlockSize})
				return true
			}))
			require.Equal(t, tc.want, got)
		})
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, x.Walk(ended, a, nil, store.Allocated, 0, func(store.Range) bool { return true }), context.Canceled)
	a.Gone = true
	require.ErrorIs(t, x.Walk(t.Context(), a, nil, store.Allocated, 0, func(store.Range) bool { return true }), store.ErrGone)
}

func TestPieces(t *testing.T) {
	const leaf = ChunkBlocks * BlockSize
	x, l := chain(t, 1)
	src := NewLayer(9, store.Pool{})
	x.Write(l[0], 2*ChunkBlocks, 1, 10, 11) // bytes 1 to 2 chunks from off
	x.Write(src, 5*ChunkBlocks, 1, 20, 21)  // bytes from 1.5 chunks on, from srcOff
	require.Equal(t, []Span{{0, leaf, 2 * leaf}, {0, 2 * leaf, 2*leaf + leaf/2}},
		Pieces(l[0], leaf, src, 3*leaf+leaf/2, 4*leaf, leaf))
	require.Equal(t, []Span{{0, leaf, leaf + leaf*3/4}, {0, leaf + leaf*3/4, 2 * leaf}},
		Pieces(l[0], leaf, src, 100*leaf, 4*leaf, leaf*3/4))
	require.Empty(t, Pieces(l[0], leaf, src, 0, leaf, leaf))
}

// BenchmarkFind looks blocks up: through four layers, and all over 4 GiB that were written
// in pieces.
func BenchmarkFind(b *testing.B) {
	b.Run("chain", findInChain)
	b.Run("layers=16", findInLayers)
	for _, n := range []uint64{1, 8, 64} {
		b.Run(fmt.Sprintf("pieces=%d", n), func(b *testing.B) { findInPieces(b, n) })
	}
}

// findInPieces looks up blocks of 4 GiB, half of whose pieces of n blocks were written.
func findInPieces(b *testing.B, n uint64) {
	const pieces = 4 << 30 / BlockSize
	x, l, r := New(func() uint64 { return 0 }), NewLayer(1, store.Pool{}), rand.New(rand.NewPCG(n, 1))
	for i, k := range r.Perm(int(pieces / n))[:pieces/n/2] {
		x.Write(l, uint64(k)*n, n, uint64(i)*n, uint64(i+1)*n)
	}
	at := make([]uint64, 1<<16)
	for i := range at {
		at[i] = r.Uint64N(pieces)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		l.Find(at[i%len(at)])
	}
}

// findInLayers looks up blocks of 1 GiB, each of which one of 16 layers has, by chance.
func findInLayers(b *testing.B) {
	const blocks, layers = 1 << 30 / BlockSize, 16
	x, r := New(func() uint64 { return 0 }), rand.New(rand.NewPCG(16, 1))
	order := r.Perm(blocks)
	var l *Layer
	for id := range uint64(layers) {
		next := NewLayer(id+1, store.Pool{})
		if l != nil {
			next.SetParent(l)
		}
		l = next
		for i, k := range order[id*blocks/layers : (id+1)*blocks/layers] {
			x.Write(l, uint64(k), 1, id*blocks+uint64(i), id*blocks+uint64(i)+1)
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		l.Find(uint64(order[(i*7919)%blocks]))
	}
}

func findInChain(b *testing.B) {
	x := New(func() uint64 { return 0 })
	var l *Layer
	for id := range uint64(4) {
		next := NewLayer(id+1, store.Pool{})
		if l != nil {
			next.SetParent(l)
		}
		l = next
		x.Write(l, id*ChunkBlocks, 64, 10+id*64, 0)
	}
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		l.Find(i % (4 * ChunkBlocks))
	}
}

// TestLoadRows reads the rows of a layer, of one that came back without its parent, and of
// a volume as they were written.
func TestLoadRows(t *testing.T) {
	pool, v := store.Pool{7}, &Volume{ID: store.ID{1}, Pool: store.Pool{8}, ReadOnly: true, Origin: store.ID{2}, Family: 3}
	x, below, head := New(nil), NewLayer(3, pool), NewLayer(4, pool)
	parents := map[uint64]uint64{}
	for id, row := range map[uint64][]byte{3: EncodeLayer(nil, pool, true), 4: EncodeLayer(below, pool, false),
		6: EncodeLayer(NewLayer(5, pool), pool, false), 7: EncodeLayer(NewLayer(6, pool), pool, false)} {
		var err error
		parents[id], err = x.LoadLayer(id, row)
		require.NoError(t, err)
	}
	require.ElementsMatch(t, []uint64{6, 7}, x.LinkLayers(parents))
	require.Len(t, x.Layers, 2)
	require.Same(t, x.Layers[3], x.Layers[4].Parent)
	require.True(t, x.Layers[3].Merging)
	require.Equal(t, pool, x.Layers[4].Pool)
	require.NoError(t, x.LoadVolume(v.ID, (&NewHead{v, head, 4096}).Encode()))
	v.Size, v.Head = 4096, x.Layers[4]
	require.Equal(t, v, x.Volumes[v.ID])
	require.Same(t, x.Volumes[v.ID], x.Layers[4].Volume)
}

// FuzzLoadRows takes rows that another hand may have written: what is no row is ErrCorrupt.
func FuzzLoadRows(f *testing.F) {
	l := NewLayer(3, store.Pool{7})
	v := &NewHead{&Volume{Origin: store.ID{2}}, l, 4096}
	for _, b := range []string{string(EncodeLayer(l, l.Pool, true)), string(v.Encode()), "", "{}", `{"pool":7}`, `{"pool":"x","head":3}`,
		`{"pool":"00000000-0000-0000-0000-000000000000","head":4}`, `{"pool":"00000000-0000-0000-0000-000000000000","head":3,"origin":"?"}`} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x := New(nil)
		if _, err := x.LoadLayer(3, b); err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			require.Empty(t, x.Layers)
			x.Layers[3] = NewLayer(3, store.Pool{})
		}
		if err := x.LoadVolume(store.ID{1}, b); err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			require.Empty(t, x.Volumes)
			return
		}
		require.Same(t, x.Layers[3], x.Volumes[store.ID{1}].Head)
	})
}

// BenchmarkMemory tells what an index of 1 GiB of data takes, with its records: written in
// sequence; one block in each so many of a volume, in order of chance, evenly apart or
// where chance has it, and all written over once more, in another order; and so many blocks
// at a time where chance has it.
func BenchmarkMemory(b *testing.B) {
	const blocks = 1 << 30 / BlockSize
	sequential := make([]uint64, blocks)
	for i := range sequential {
		sequential[i] = uint64(i)
	}
	b.Run("sequential", func(b *testing.B) { measureMemory(b, sequential, 1) })
	for _, apart := range []uint64{1, 2, 4, 8, 16, 64, 256, 1024, 4096, 16384, 65536} {
		r := rand.New(rand.NewPCG(apart, 1))
		even := make([]uint64, blocks)
		for i, k := range r.Perm(blocks) {
			even[i] = uint64(k) * apart
		}
		random := even
		if apart > 1 {
			random = slices.Collect(maps.Keys(draw(r, blocks, blocks*apart)))
		}
		random = slices.Clip(random)
		again := slices.Clone(random)
		r.Shuffle(blocks, func(i, k int) { again[i], again[k] = again[k], again[i] })
		for _, c := range []struct {
			name  string
			order []uint64
		}{{"even", even}, {"random", random}, {"again", append(random, again...)}} {
			b.Run(fmt.Sprintf("of=%d/%s", apart, c.name), func(b *testing.B) { measureMemory(b, c.order, 1) })
		}
	}
	for _, n := range []uint64{16, 32} {
		for _, apart := range []uint64{8, 64, 256, 4096} {
			pieces := slices.Collect(maps.Keys(draw(rand.New(rand.NewPCG(n, apart)), blocks/int(n), blocks*apart/n)))
			for i := range pieces {
				pieces[i] *= n
			}
			b.Run(fmt.Sprintf("of=%d/blocks=%d", apart, n), func(b *testing.B) { measureMemory(b, pieces, n) })
		}
	}
}

// draw returns n numbers below most.
func draw(r *rand.Rand, n int, most uint64) map[uint64]bool {
	all := make(map[uint64]bool, n)
	for len(all) < n {
		all[r.Uint64N(most)] = true
	}
	return all
}

// measureMemory reports what an index takes when so many blocks were written at each place
// of an order.
func measureMemory(b *testing.B, order []uint64, count uint64) {
	for b.Loop() {
		x := New(func() uint64 { return 0 })
		l := NewLayer(1, store.Pool{})
		x.Layers[1] = l
		before := reachable()
		moves := make([]Move, 0, RecordBlocks)
		page, id := uint64(0), uint64(2)
		for _, first := range order {
			x.Write(l, first, count, page, page+count)
			for i := range count {
				moves = append(moves, Move{l, first + i, Journaled(page + i)})
			}
			if page += count; len(moves) == RecordBlocks {
				slices.SortFunc(moves, CompareMoves)
				x.Settle(id, moves)
				x.Delete(x.Counts().Dead)
				moves = moves[:0]
				id++
			}
		}
		held := float64(reachable() - before)
		b.ReportMetric(held/float64(l.Mapped()), "B/block")
		b.ReportMetric(held/float64(l.Mapped())*(1<<30/BlockSize)/(1<<20), "MiB/GiB")
		runtime.KeepAlive(x)
	}
}

// reachable is the memory that is in use, in bytes.
func reachable() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// orphan is a layer that may be dropped, or nil.
func orphan(x *Index) *Layer {
	if all := x.Orphans(1); len(all) > 0 {
		return all[0]
	}
	return nil
}
