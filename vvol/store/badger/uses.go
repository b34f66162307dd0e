package badger

import (
	"sync"
	"sync/atomic"
)

// uses counts the calls that run on an open object, so that Close can wait for them. It
// takes two atomic additions of a call.
type uses struct {
	n    atomic.Int64 // less closedUses once closed
	once sync.Once
	idle chan struct{} // closed when no call runs any more
}

// closedUses is more than calls can run at once.
const closedUses = 1 << 40

func newUses() *uses { return &uses{idle: make(chan struct{})} }

// begin tells whether a call may run; end ends it then.
func (u *uses) begin() bool {
	if u.n.Add(1) > 0 {
		return true
	}
	u.end()
	return false
}

func (u *uses) end() {
	if u.n.Add(-1) == -closedUses {
		u.once.Do(func() { close(u.idle) })
	}
}

// close lets no more calls begin and returns when none runs. Once only.
func (u *uses) close() {
	u.n.Add(1 - closedUses)
	u.end()
	<-u.idle
}
