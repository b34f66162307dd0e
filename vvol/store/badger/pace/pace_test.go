package pace

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestCalm takes what is most dead first, and less only when records have settled.
func TestCalm(t *testing.T) {
	var c Calm
	round := func(crowding float64, settled, gave bool) (float64, bool) {
		from, ok := c.Begin(crowding, settled)
		if ok {
			c.Ended(gave)
		}
		return from, ok
	}
	for _, s := range []struct {
		crowding      float64
		settled, gave bool
		from          float64 // 0: none
	}{
		{2.5, false, false, 0.5}, {2.5, false, false, 0.5}, // records are cleaned
		{2.5, true, true, 0.5}, {2, true, false, 0.5},
		{2, true, true, 0.35}, {1.8, true, false, 0.35},
		{1.8, true, true, 0.2}, {1.6, true, false, 0.2},
		{1.6, true, false, 0}, {1.6, true, false, 0.2}, // one round is let pass
		{1.6, true, false, 0}, {1.6, true, false, 0}, {1.6, true, false, 0}, {1.6, true, true, 0.2}, // three
		{1.5, true, false, 0.2}, {1.5, true, false, 0},
		{1.58, true, false, 0.5},                        // there is more: from the beginning
		{1.58, true, false, 0.35}, {1.1, true, true, 0}, // and now it is little
	} {
		from, ok := round(s.crowding, s.settled, s.gave)
		require.Equal(t, s.from > 0, ok, "%+v", s)
		if ok {
			require.Equal(t, s.from, from, "%+v", s)
		}
	}
	passed := 0
	for n := 0; n < 1000 && passed < mostRests; n++ {
		if _, ok := round(1.5, true, false); ok {
			require.LessOrEqual(t, passed, mostRests)
			passed = 0
		} else {
			passed++
		}
	}
	require.Equal(t, mostRests, passed, "rests grow to their bound")
}

func TestBarren(t *testing.T) {
	var b Barren
	require.False(t, b.Is(0.5, false, 0, 0, 64), "nothing is known")
	b.Ended(false, 0.5, 1000)
	require.True(t, b.Is(0.5, false, 1000, 10, 64))
	require.True(t, b.Is(0.95, false, 1063, 10, 64))
	require.False(t, b.Is(0.5, false, 1064, 10, 64), "a file more is dead")
	require.True(t, b.Is(0.5, false, 1064, 20, 64), "the tree costs more")
	require.False(t, b.Is(0.5, false, 1080, 20, 64))
	require.True(t, b.Is(0.5, true, 1063, 20, 64))
	require.False(t, b.Is(0.5, true, 1064, 20, 64), "somebody waits")
	require.False(t, b.Is(0.4, false, 1000, 10, 64), "a smaller share")
	b.Ended(true, 0.5, 1000)
	require.False(t, b.Is(0.5, false, 1000, 10, 64))
}

// TestLull: what can wait waits for writes, and for many reads.
func TestLull(t *testing.T) {
	var l Lull
	const every = time.Second / 2
	for _, s := range []struct {
		head, reads uint64
		lull        bool
	}{
		{7, 0, false}, {7, 0, true}, {8, 0, false}, {8, 0, true}, {8, 2499, true}, {8, 4999, false}, {8, 4999, true}, {9, 9000, false},
	} {
		require.Equal(t, s.lull, l.Since(s.head, s.reads, every), "%+v", s)
	}
}

// TestShares: the less space there is, the more is moved for it.
func TestShares(t *testing.T) {
	for at, want := range map[float64]float64{0: 0.95, 1.9: 0.95, 2.1: 0.725, 2.3: 0.5, 9: 0.5} {
		require.InDelta(t, want, Rewrite(at), 1e-9, at)
	}
	for at, want := range map[float64]float64{0: 1.1, 2.3: 1.1, 2.35: 0.675, 2.4: 0.25, 9: 0.25} {
		require.InDelta(t, want, Clean(at), 1e-9, at)
	}
}

// TestEnough: writers that wait have the space between what is short and the bound.
func TestEnough(t *testing.T) {
	for crowding, want := range map[float64][2]bool{2.4: {true, true}, 2.41: {false, true}, 2.5: {false, true}, 2.51: {false, false}} {
		require.Equal(t, want[0], Enough(crowding, false), crowding)
		require.Equal(t, want[1], Enough(crowding, true), crowding)
	}
}
