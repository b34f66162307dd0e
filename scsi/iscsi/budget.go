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

// take waits until n bytes are free, the connection closes, or give up says so.
func (b *budget) take(n int64, giveUp func() bool) {
	if now := b.used.Add(n); now <= maxReads || now == n {
		return
	}
	b.used.Add(-n)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting.Add(1)
	defer b.waiting.Add(-1)
	for {
		now := b.used.Add(n)
		if now <= maxReads || now == n || b.closed || giveUp() {
			return
		}
		// Another waiter may have missed its turn because of the try.
		if b.used.Add(-n) == 0 {
			continue
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
