package work

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The right goes to a successor while its holder is at something, and never back.
func TestTenureIsLost(t *testing.T) {
	var w Watch
	succeeded := make(chan struct{}, 8)
	tenure := NewTenure(&w, func() { succeeded <- struct{}{} })
	require.True(t, tenure.End(tenure.Begin()))
	first := tenure.Begin()
	<-succeeded
	second := tenure.Begin() // of the successor
	require.False(t, tenure.End(first))
	<-succeeded
	third := tenure.Begin()
	require.False(t, tenure.End(second))
	require.False(t, tenure.End(first))
	require.NotEqual(t, first, second)
	require.NotEqual(t, second, third)
	<-succeeded
	require.False(t, tenure.End(third))
	w.Wait()
	require.Empty(t, succeeded, "a right that is not in use stays where it is")
}

// A holder that is quick keeps its right, however often it is looked at.
func TestTenureIsKept(t *testing.T) {
	w := Watch{running: true} // no goroutine: the test looks
	tenure := NewTenure(&w, func() { t.Error("succeeded") })
	for range 3 * idleLooks {
		turn := tenure.Begin()
		require.True(t, w.look())
		require.Equal(t, 1, w.Active())
		require.True(t, tenure.End(turn))
	}
	w.look()
	w.look()
	require.Zero(t, w.Active())
	require.Len(t, w.all, 1, "watched once")
}

// A tenure without turns is let go of, and watched again when it has some.
func TestWatchLetsGo(t *testing.T) {
	w := Watch{running: true}
	succeeded := 0
	tenure := NewTenure(&w, func() { succeeded++ })
	for range 3 {
		require.True(t, tenure.End(tenure.Begin()))
		looks := 1
		for w.look() {
			looks++
		}
		require.Equal(t, idleLooks+1, looks)
		require.Empty(t, w.all)
		w.running = true
	}
	turn := tenure.Begin()
	require.True(t, w.look())
	require.Zero(t, succeeded)
	require.True(t, w.look(), "the successor may need watching soon")
	require.Equal(t, 1, succeeded)
	require.False(t, tenure.End(turn))
}
