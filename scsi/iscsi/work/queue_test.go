package work

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// A job that blocks keeps no other, what jobs leave is flushed while it does, and Close waits for it.
func TestQueue(t *testing.T) {
	var ran, flushed atomic.Int32
	block := make(chan struct{})
	var quick sync.WaitGroup
	q := NewQueue(4, func(j int) {
		if j == 0 {
			<-block
			return
		}
		ran.Add(1)
		quick.Done()
	}, func() { flushed.Store(ran.Load()) })
	quick.Add(9)
	for j := range 10 {
		require.True(t, q.Push(j))
	}
	q.Kick()
	quick.Wait()
	require.Eventually(t, func() bool { return flushed.Load() == 9 }, patience, tick)
	closed := make(chan struct{})
	go func() {
		q.Close()
		close(closed)
	}()
	select {
	case <-closed:
		t.Fatal("closed while a job ran")
	default:
	}
	close(block)
	<-closed
	require.False(t, q.Push(1))
}

// Jobs that were pushed and not kicked are run by Close.
func TestQueueCloseRuns(t *testing.T) {
	var ran atomic.Int32
	q := NewQueue(2, func(int) { ran.Add(1) }, func() {})
	for range 5 {
		q.Push(1)
	}
	q.Close()
	require.EqualValues(t, 5, ran.Load())
}
