package work

import (
	"sync"
	"sync/atomic"
)

// Budget bounds the bytes that the commands of a connection hold. A single command
// may exceed it while it is alone. Safe for concurrent use.
type Budget struct {
	limit   int64
	used    atomic.Int64
	waiting atomic.Int32

	mu     sync.Mutex
	wake   sync.Cond
	closed bool
}

// NewBudget returns a budget of limit bytes.
func NewBudget(limit int64) *Budget {
	b := &Budget{limit: limit}
	b.wake.L = &b.mu
	return b
}

// Try takes n bytes if they are free.
func (b *Budget) Try(n int64) bool {
	for {
		used := b.used.Load()
		if used > 0 && used+n > b.limit {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// Take takes n bytes, waiting until they are free. It goes on without waiting,
// beyond the limit, when the connection closes or giveUp says so: such a command
// is about to end.
func (b *Budget) Take(n int64, giveUp func() bool) {
	if b.Try(n) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting.Add(1) // before the next try, so that give either frees in time for it or wakes
	defer b.waiting.Add(-1)
	for !b.Try(n) {
		if b.closed || giveUp() {
			b.used.Add(n)
			return
		}
		b.wake.Wait()
	}
}

// Give returns n bytes.
func (b *Budget) Give(n int64) {
	if n == 0 {
		return
	}
	b.used.Add(-n)
	b.Poke()
}

// Poke makes waiting commands look again.
func (b *Budget) Poke() {
	if b.waiting.Load() > 0 {
		b.mu.Lock()
		b.wake.Broadcast()
		b.mu.Unlock()
	}
}

// Interrupt ends all waits for good.
func (b *Budget) Interrupt() {
	b.mu.Lock()
	b.closed = true
	b.wake.Broadcast()
	b.mu.Unlock()
}

// Used is how many bytes are taken.
func (b *Budget) Used() int64 { return b.used.Load() }
