package iscsi

import (
	"sync"
	"sync/atomic"
)

// maxReads bounds the Data-In of one connection that is being read or waits to
// be sent, in bytes.
const maxReads = 64 << 20

// budget bounds the bytes of Data-In that the commands of a connection hold. A
// single command may exceed it while it is alone.
type budget struct {
	used    atomic.Int64
	waiting atomic.Int32

	mu     sync.Mutex
	wake   sync.Cond
	closed bool
}

// try takes n bytes if they are free.
func (b *budget) try(n int64) bool {
	for {
		used := b.used.Load()
		if used > 0 && used+n > maxReads {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// take takes n bytes, waiting until they are free. It goes on without waiting,
// beyond the limit, when the connection closes or giveUp says so: such a command
// is about to end.
func (b *budget) take(n int64, giveUp func() bool) {
	if b.try(n) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting.Add(1) // before the next try, so that give either frees in time for it or wakes
	defer b.waiting.Add(-1)
	for !b.try(n) {
		if b.closed || giveUp() {
			b.used.Add(n)
			return
		}
		b.wake.Wait()
	}
}

// give returns n bytes.
func (b *budget) give(n int64) {
	if n == 0 {
		return
	}
	b.used.Add(-n)
	b.poke()
}

// poke makes waiting commands look again.
func (b *budget) poke() {
	if b.waiting.Load() > 0 {
		b.mu.Lock()
		b.wake.Broadcast()
		b.mu.Unlock()
	}
}

// interrupt ends all waits for good.
func (b *budget) interrupt() {
	b.mu.Lock()
	b.closed = true
	b.wake.Broadcast()
	b.mu.Unlock()
}
