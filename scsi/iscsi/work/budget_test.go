package work

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	patience = 10 * time.Second
	tick     = time.Millisecond
)

func TestBudget(t *testing.T) {
	b := NewBudget(10)
	never := func() bool { return false }
	require.True(t, b.Try(25), "alone it may exceed the limit")
	require.False(t, b.Try(1))
	b.Give(25)
	require.True(t, b.Try(7))
	require.True(t, b.Try(3))
	took := make(chan struct{})
	go func() {
		b.Take(4, never)
		close(took)
	}()
	require.Eventually(t, func() bool { return b.waiting.Load() == 1 }, patience, tick)
	b.Give(3)
	require.Empty(t, took)
	require.EqualValues(t, 7, b.Used())
	b.Give(7)
	<-took
	require.EqualValues(t, 4, b.Used())
}

// Who gives up, or whose connection closes, goes on beyond the limit.
func TestBudgetGivesUp(t *testing.T) {
	b := NewBudget(10)
	b.Take(10, nil)
	gaveUp := make(chan bool, 1)
	enough := false
	go func() {
		b.Take(5, func() bool { return enough })
		gaveUp <- true
	}()
	require.Eventually(t, func() bool { return b.waiting.Load() == 1 }, patience, tick)
	b.mu.Lock()
	enough = true
	b.mu.Unlock()
	b.Poke()
	<-gaveUp
	require.EqualValues(t, 15, b.Used())
	b.Interrupt()
	b.Take(5, func() bool { return false })
	require.EqualValues(t, 20, b.Used())
}
