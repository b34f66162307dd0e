package oracle

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// bytesOf is what sectors that hold these cells read as, from lba on.
func bytesOf(lba uint64, cells ...cell) []byte {
	p := make([]byte, len(cells)*SectorSize)
	for i, c := range cells {
		c.stamp(p[i*SectorSize:][:SectorSize], lba+uint64(i))
	}
	return p
}

// reads is one read that runs while nothing else does.
func (o *Oracle) reads(im *Image, lba uint64, cells ...cell) error {
	return o.EndRead(o.BeginRead(im, lba, uint64(len(cells))), bytesOf(lba, cells...))
}

func (o *Oracle) writes(im *Image, lba, n uint64) cell {
	w := o.BeginWrite(im, lba, n, Fresh)
	o.EndWrite(w)
	return w.cell
}

// TestSectors finds every wrong byte of a sector, and names what is intact.
func TestSectors(t *testing.T) {
	o, r := New(), rand.New(rand.NewPCG(1, 1))
	im := o.Blank(1000)
	c := o.writes(im, 10, 2)
	require.NoError(t, o.reads(im, 10, c, c))
	require.Equal(t, "image 1 generation 1 LBA 11", describe(bytesOf(11, c)))
	require.ErrorContains(t, o.EndRead(o.BeginRead(im, 10, 1), bytesOf(11, c)), "image 1 generation 1 LBA 11; expected", "a block from elsewhere")
	for at := range SectorSize {
		p := bytesOf(10, c, c)
		p[at+SectorSize*r.IntN(2)] ^= 1 << r.IntN(8)
		require.ErrorIs(t, o.EndRead(o.BeginRead(im, 10, 2), p), ErrWrong, "byte %d", at)
	}
	require.ErrorIs(t, o.EndRead(o.BeginRead(im, 500, 1), append(make([]byte, SectorSize-1), 1)), ErrWrong)
	same := o.BeginWrite(im, 20, 2, Same)
	o.EndWrite(same)
	p := bytesOf(20, same.cell)
	require.NoError(t, o.EndRead(o.BeginRead(im, 20, 2), append(p, p...)))
}

// TestReadsBesideWrites find what was there or what is in flight, and nothing older.
func TestReadsBesideWrites(t *testing.T) {
	o := New()
	im := o.Blank(1000)
	old := o.writes(im, 0, 8)
	before := o.BeginRead(im, 0, 2)
	w := o.BeginWrite(im, 1, 4, Fresh)
	require.Nil(t, o.BeginWrite(im, 4, 1, Zeros), "in the way")
	idle := o.BeginWrite(im, 5, 1, Nothing)
	require.NotNil(t, idle)
	for _, cells := range [][]cell{{old, old}, {old, w.cell}} {
		require.NoError(t, o.reads(im, 0, cells...))
	}
	for _, cells := range [][]cell{{w.cell, old}, {0, old}, {old, 0}} {
		require.ErrorIs(t, o.reads(im, 0, cells...), ErrWrong)
	}
	o.EndWrite(w)
	require.NoError(t, o.EndRead(before, bytesOf(0, old, w.cell)), "it began when the write had not")
	require.ErrorIs(t, o.reads(im, 0, old, old), ErrWrong, "what was acknowledged is gone")
	require.ErrorIs(t, o.reads(im, 5, idle.cell), ErrWrong, "what was not to be written is there")
	o.EndWrite(idle)
	require.NoError(t, o.reads(im, 0, old, w.cell, w.cell, w.cell, w.cell, old))
}

// TestForks hold what was there when they were made, and keep it.
func TestForks(t *testing.T) {
	o := New()
	im := o.Blank(1000)
	old := o.writes(im, 0, 8)
	frozen := o.EndFork(o.BeginFork(im))[0]
	next := o.writes(im, 0, 1)
	other := o.writes(frozen, 1, 1)
	require.NoError(t, o.reads(im, 0, next, old))
	require.NoError(t, o.reads(frozen, 0, old, other))
	require.ErrorIs(t, o.reads(frozen, 0, next), ErrWrong)
	require.ErrorIs(t, o.reads(im, 1, other), ErrWrong)
}

// inFlight is a fork of two images, each with a write in flight, and what they held before.
func inFlight(o *Oracle) (a, b *Image, before [2]cell, first, second *Write) {
	ia, ib := o.Blank(100), o.Blank(100)
	before = [2]cell{o.writes(ia, 0, 4), o.writes(ib, 0, 4)}
	first = o.BeginWrite(ia, 0, 4, Fresh)
	f := o.BeginFork(ia, ib)
	o.EndWrite(first)
	second = o.BeginWrite(ib, 0, 4, Fresh)
	images := o.EndFork(f)
	o.EndWrite(second)
	return images[0], images[1], before, first, second
}

// TestWritesInFlightAtAFork are in it as a whole or not at all, once for all, and none
// without those that had ended before.
func TestWritesInFlightAtAFork(t *testing.T) {
	for name, end := range map[string]func(o *Oracle, a, b *Image, before [2]cell, first, second *Write) error{
		"": func(o *Oracle, a, b *Image, _ [2]cell, first, second *Write) error {
			if err := o.reads(b, 0, second.cell, second.cell); err != nil {
				return err
			}
			return o.reads(a, 0, first.cell)
		},
		"a part of the write": func(o *Oracle, a, _ *Image, before [2]cell, first, _ *Write) error {
			return o.reads(a, 0, first.cell, before[0])
		},
		"expected": func(o *Oracle, a, _ *Image, before [2]cell, first, _ *Write) error {
			if err := o.reads(a, 0, before[0]); err != nil {
				return err
			}
			return o.reads(a, 0, first.cell)
		},
		"had ended before": func(o *Oracle, a, b *Image, before [2]cell, _, second *Write) error {
			if err := o.reads(a, 2, before[0]); err != nil {
				return err
			}
			return o.reads(b, 0, second.cell)
		},
		"a part of the write of": func(o *Oracle, a, _ *Image, before [2]cell, first, _ *Write) error {
			clone := o.EndFork(o.BeginFork(a))[0]
			if err := o.reads(clone, 1, first.cell); err != nil {
				return err
			}
			return o.reads(a, 2, before[0])
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := New()
			a, b, before, first, second := inFlight(o)
			err := end(o, a, b, before, first, second)
			if name == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrWrong)
			require.ErrorContains(t, err, name)
		})
	}
}

// TestAbandoned writes are there as a whole or not at all, as the first reader finds them,
// and do not come later.
func TestAbandoned(t *testing.T) {
	for _, came := range []bool{true, false} {
		o := New()
		im := o.Blank(1000)
		old := o.writes(im, 0, 8)
		w := o.BeginWrite(im, 2, 4, Fresh)
		o.Abandon(w)
		require.False(t, o.Present(o.BeginWrite(im, 2, 1, Nothing), make([]byte, SectorSize)))
		clone := o.EndFork(o.BeginFork(im))[0]
		found, other := old, w.cell
		if came {
			found, other = w.cell, old
		}
		require.NoError(t, o.reads(im, 3, found))
		require.ErrorIs(t, o.reads(im, 3, other), ErrWrong, "it was otherwise before")
		require.ErrorIs(t, o.reads(im, 5, other), ErrWrong, "a part of the write")
		require.ErrorIs(t, o.reads(clone, 4, other), ErrWrong, "a copy that was made before anybody knew")
		require.NoError(t, o.reads(clone, 4, found))
		later := o.writes(im, 4, 1)
		require.NoError(t, o.reads(im, 4, later))
		require.ErrorIs(t, o.reads(im, 4, w.cell), ErrWrong, "it came later")
		require.ErrorIs(t, o.reads(im, 0, w.cell), ErrWrong)
	}
}

// TestAbandonedTwice leaves two writes of a sector open: the last that is found settles
// both, and what was before stays possible until then.
func TestAbandonedTwice(t *testing.T) {
	o := New()
	im := o.Blank(8)
	first := o.BeginWrite(im, 0, 2, Fresh)
	o.Abandon(first)
	second := o.BeginWrite(im, 1, 2, Fresh)
	o.Abandon(second)
	require.NoError(t, o.reads(im, 2, second.cell))
	require.ErrorIs(t, o.reads(im, 1, first.cell), ErrWrong, "the second is there as a whole")
	require.NoError(t, o.reads(im, 0, first.cell), "so the first may be, or not")
	require.ErrorIs(t, o.reads(im, 0, 0), ErrWrong, "but not both")
}
