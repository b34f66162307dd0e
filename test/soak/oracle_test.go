package soak

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// bytesOf is what sectors that hold these cells read as, from lba on.
func bytesOf(lba uint64, cells ...cell) []byte {
	p := make([]byte, len(cells)*sectorSize)
	for i, c := range cells {
		c.stamp(p[i*sectorSize:][:sectorSize], lba+uint64(i))
	}
	return p
}

// reads is one read that runs while nothing else does.
func (o *Oracle) reads(im *Image, lba uint64, cells ...cell) error {
	return o.EndRead(o.BeginRead(im, lba, uint64(len(cells))), bytesOf(lba, cells...))
}

func (o *Oracle) writes(im *Image, lba, n uint64) cell {
	w := o.BeginWrite(im, lba, n, fresh)
	o.EndWrite(w)
	return w.cell
}

// TestSectors finds every wrong byte of a sector, and names what is intact.
func TestSectors(t *testing.T) {
	o, r := NewOracle(), rand.New(rand.NewPCG(1, 1))
	im := o.New(1000)
	c := o.writes(im, 10, 2)
	require.NoError(t, o.reads(im, 10, c, c))
	require.Equal(t, "image 1 generation 1 LBA 11", describe(bytesOf(11, c)))
	require.ErrorContains(t, o.EndRead(o.BeginRead(im, 10, 1), bytesOf(11, c)), "image 1 generation 1 LBA 11; expected", "a block from elsewhere")
	for at := range sectorSize {
		p := bytesOf(10, c, c)
		p[at+sectorSize*r.IntN(2)] ^= 1 << r.IntN(8)
		require.ErrorIs(t, o.EndRead(o.BeginRead(im, 10, 2), p), errWrong, "byte %d", at)
	}
	require.ErrorIs(t, o.EndRead(o.BeginRead(im, 500, 1), append(make([]byte, sectorSize-1), 1)), errWrong)
	same := o.BeginWrite(im, 20, 2, same)
	o.EndWrite(same)
	p := bytesOf(20, same.cell)
	require.NoError(t, o.EndRead(o.BeginRead(im, 20, 2), append(p, p...)))
}

// TestReadsBesideWrites find what was there or what is in flight, and nothing older.
func TestReadsBesideWrites(t *testing.T) {
	o := NewOracle()
	im := o.New(1000)
	old := o.writes(im, 0, 8)
	before := o.BeginRead(im, 0, 2)
	w := o.BeginWrite(im, 1, 4, fresh)
	require.Nil(t, o.BeginWrite(im, 4, 1, zeros), "in the way")
	idle := o.BeginWrite(im, 5, 1, nothing)
	require.NotNil(t, idle)
	for _, cells := range [][]cell{{old, old}, {old, w.cell}} {
		require.NoError(t, o.reads(im, 0, cells...))
	}
	for _, cells := range [][]cell{{w.cell, old}, {0, old}, {old, 0}} {
		require.ErrorIs(t, o.reads(im, 0, cells...), errWrong)
	}
	o.EndWrite(w)
	require.NoError(t, o.EndRead(before, bytesOf(0, old, w.cell)), "it began when the write had not")
	require.ErrorIs(t, o.reads(im, 0, old, old), errWrong, "what was acknowledged is gone")
	require.ErrorIs(t, o.reads(im, 5, idle.cell), errWrong, "what was not to be written is there")
	o.EndWrite(idle)
	require.NoError(t, o.reads(im, 0, old, w.cell, w.cell, w.cell, w.cell, old))
}

// TestForks hold what was there when they were made, and keep it.
func TestForks(t *testing.T) {
	o := NewOracle()
	im := o.New(1000)
	old := o.writes(im, 0, 8)
	frozen := o.EndFork(o.BeginFork(im))[0]
	next := o.writes(im, 0, 1)
	other := o.writes(frozen, 1, 1)
	require.NoError(t, o.reads(im, 0, next, old))
	require.NoError(t, o.reads(frozen, 0, old, other))
	require.ErrorIs(t, o.reads(frozen, 0, next), errWrong)
	require.ErrorIs(t, o.reads(im, 1, other), errWrong)
}

// inFlight is a fork of two images, each with a write in flight, and what they held before.
func inFlight(o *Oracle) (a, b *Image, before [2]cell, first, second *write) {
	ia, ib := o.New(100), o.New(100)
	before = [2]cell{o.writes(ia, 0, 4), o.writes(ib, 0, 4)}
	first = o.BeginWrite(ia, 0, 4, fresh)
	f := o.BeginFork(ia, ib)
	o.EndWrite(first)
	second = o.BeginWrite(ib, 0, 4, fresh)
	images := o.EndFork(f)
	o.EndWrite(second)
	return images[0], images[1], before, first, second
}

// TestWritesInFlightAtAFork are in it as a whole or not at all, once for all, and none
// without those that had ended before.
func TestWritesInFlightAtAFork(t *testing.T) {
	for name, end := range map[string]func(o *Oracle, a, b *Image, before [2]cell, first, second *write) error{
		"": func(o *Oracle, a, b *Image, _ [2]cell, first, second *write) error {
			if err := o.reads(b, 0, second.cell, second.cell); err != nil {
				return err
			}
			return o.reads(a, 0, first.cell)
		},
		"a part of the write": func(o *Oracle, a, _ *Image, before [2]cell, first, _ *write) error {
			return o.reads(a, 0, first.cell, before[0])
		},
		"expected": func(o *Oracle, a, _ *Image, before [2]cell, first, _ *write) error {
			if err := o.reads(a, 0, before[0]); err != nil {
				return err
			}
			return o.reads(a, 0, first.cell)
		},
		"had ended before": func(o *Oracle, a, b *Image, before [2]cell, _, second *write) error {
			if err := o.reads(a, 2, before[0]); err != nil {
				return err
			}
			return o.reads(b, 0, second.cell)
		},
		"a part of the write of": func(o *Oracle, a, _ *Image, before [2]cell, first, _ *write) error {
			clone := o.EndFork(o.BeginFork(a))[0]
			if err := o.reads(clone, 1, first.cell); err != nil {
				return err
			}
			return o.reads(a, 2, before[0])
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := NewOracle()
			a, b, before, first, second := inFlight(o)
			err := end(o, a, b, before, first, second)
			if name == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, errWrong)
			require.ErrorContains(t, err, name)
		})
	}
}

// TestBounds are judged.
func TestBounds(t *testing.T) {
	b := Bounds{Journal: 10, Disk: 300, CalmDisk: 160, DiskSlack: 5, Memory: 1000, MemoryGrowth: 50, Goroutines: 4, JudgeGrowth: time.Minute}
	series := func(change func(i int, s *Sample)) (all []Sample) {
		for i := range 120 {
			s := Sample{At: time.Duration(i+1) * time.Second, Anonymous: 500, Goroutines: 70, Live: 100, Disk: 315}
			s.Anonymous += uint64(40 * (i % 2)) // it goes up and down
			change(i, &s)
			all = append(all, s)
		}
		return all
	}
	for _, c := range []struct {
		beyond string
		change func(i int, s *Sample)
	}{
		{"", func(int, *Sample) {}},
		{"", func(i int, s *Sample) { s.Anonymous = min(100+10*uint64(i), 600) }}, // warm in the first half
		{"on disk", func(i int, s *Sample) { s.Disk += uint64(i / 119) }},
		{"RssAnon is", func(i int, s *Sample) { s.Anonymous += 600 * uint64(i/119) }},
		{"memory grows", func(i int, s *Sample) { s.Anonymous += 3 * uint64(i) }},
		{"goroutines grow", func(i int, s *Sample) { s.Goroutines += uint64(i / 5) }},
	} {
		beyond := b.Judge(series(c.change))
		if c.beyond == "" {
			require.Empty(t, beyond)
			continue
		}
		require.Len(t, beyond, 1)
		require.Contains(t, beyond[0], c.beyond)
	}
	require.EqualValues(t, 175, b.InCalm(100))
	require.Empty(t, b.Judge(series(func(i int, s *Sample) { s.Goroutines += uint64(i) })[:50]), "too short to tell")
}
