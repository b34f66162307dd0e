package inuse

import (
	"sync"
	"sync/atomic"
)

// Calls counts the calls that run on an open object, so that Close can wait for them. It
// takes two atomic additions of a call.
type Calls struct {
	n      atomic.Int64 // less closedCalls once closed
	closed atomic.Bool
	once   sync.Once
	idle   chan struct{} // closed when no call runs any more
}

// closedCalls is more than calls can run at once.
const closedCalls = 1 << 40

// NewCalls returns Calls of an object that is open.
func NewCalls() *Calls { return &Calls{idle: make(chan struct{})} }

// Begin tells whether a call may run; End ends it then.
func (u *Calls) Begin() bool {
	if u.n.Add(1) > 0 {
		return true
	}
	u.End()
	return false
}

// End ends a call.
func (u *Calls) End() {
	if u.n.Add(-1) == -closedCalls {
		u.once.Do(func() { close(u.idle) })
	}
}

// Close lets no more calls begin and returns when none runs. Idempotent.
func (u *Calls) Close() {
	if !u.closed.Swap(true) {
		u.n.Add(1 - closedCalls)
		u.End()
	}
	<-u.idle
}
