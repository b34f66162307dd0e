package soak

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

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
		{"what Go holds was", func(i int, s *Sample) { s.Held = 3 * uint64(i) }},
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
