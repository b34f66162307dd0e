package clock

import (
	"container/heap"
	"context"
	"math"
	"sync"
	"time"
)

// Clock tells the time and calls those who wait for it. It begins at the wall's time, at
// the wall's pace. Safe for concurrent use.
type Clock struct {
	mu     sync.Mutex // guards what follows, timers included
	wall   time.Time  // when now was set
	now    time.Time
	rate   float64
	order  uint64 // of timers
	timers queue
	alarm  *time.Timer // for the first of timers; nil when the clock stands still
}

// New is a clock that goes rate times as fast as the wall; 0 stands still, and less than
// 0 is 0.
func New(rate float64) *Clock {
	t := time.Now()
	return &Clock{wall: t, now: t.Round(0), rate: max(rate, 0)}
}

// Now is the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read()
}

func (c *Clock) read() time.Time {
	return c.now.Add(time.Duration(float64(time.Since(c.wall)) * c.rate))
}

// Rate is how many times as fast as the wall the clock goes.
func (c *Clock) Rate() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rate
}

// SetRate makes the clock go rate times as fast as the wall from now on; 0 freezes it.
func (c *Clock) SetRate(rate float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(c.read())
	c.rate = max(rate, 0)
	c.arm()
}

// set is called with mu held.
func (c *Clock) set(t time.Time) { c.now, c.wall = t, time.Now() }

// Step puts the clock forward by d, whether it stands still or not, and calls on its way
// all that wait for a time up to then, each at its time and in order. It returns when the
// last has. What they start beside themselves may find the clock at the end of the step: who
// steps over several times at once lets it settle in between.
func (c *Clock) Step(d time.Duration) {
	c.mu.Lock()
	end := c.read().Add(d)
	for {
		t := c.timers.first()
		if t == nil || t.due.After(end) {
			break
		}
		if t.due.After(c.read()) {
			c.set(t.due)
		}
		heap.Pop(&c.timers)
		c.mu.Unlock()
		t.f()
		c.mu.Lock()
	}
	if end.After(c.read()) {
		c.set(end)
	}
	c.arm()
	c.mu.Unlock()
}

// Timer calls a function once. Its methods are safe for concurrent use.
type Timer struct {
	c     *Clock
	due   time.Time
	order uint64
	at    int // in the queue; -1 when it is not there
	f     func()
}

// AfterFunc calls f once when d has passed, on a goroutine of its own or that of Step; f
// must not wait.
func (c *Clock) AfterFunc(d time.Duration, f func()) *Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.order++
	t := &Timer{c: c, due: c.read().Add(d), order: c.order, f: f}
	heap.Push(&c.timers, t)
	c.arm()
	return t
}

// Stop keeps the function from being called; false when it has been.
func (t *Timer) Stop() bool {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	if t.at < 0 {
		return false
	}
	heap.Remove(&t.c.timers, t.at)
	t.c.arm()
	return true
}

// arm has the wall's clock wake this one for the first timer. Called with mu held.
func (c *Clock) arm() {
	if c.alarm != nil {
		c.alarm.Stop()
		c.alarm = nil
	}
	t := c.timers.first()
	if t == nil || c.rate == 0 {
		return
	}
	wait := time.Duration(math.Ceil(float64(t.due.Sub(c.read())) / c.rate)) // not before, lest it rings in vain for ever
	c.alarm = time.AfterFunc(wait, c.ring)
}

// ring calls those whose time has come.
func (c *Clock) ring() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		t := c.timers.first()
		if t == nil || c.rate == 0 || t.due.After(c.read()) {
			break
		}
		heap.Pop(&c.timers)
		c.mu.Unlock()
		t.f()
		c.mu.Lock()
	}
	c.arm()
}

// WithTimeout is context.WithTimeoutCause by this clock.
func (c *Clock) WithTimeout(ctx context.Context, d time.Duration, cause error) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	t := c.AfterFunc(d, func() { cancel(cause) })
	return ctx, func() {
		t.Stop()
		cancel(nil)
	}
}

// Sleep waits; it returns the cause of ctx when that ends first.
func (c *Clock) Sleep(ctx context.Context, d time.Duration) error {
	passed := make(chan struct{})
	t := c.AfterFunc(d, func() { close(passed) })
	defer t.Stop()
	select {
	case <-passed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// queue has the timer that is due next first, and of those that are due together the one
// that was made first.
type queue []*Timer

func (q queue) first() *Timer {
	if len(q) == 0 {
		return nil
	}
	return q[0]
}

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].due.Equal(q[j].due) {
		return q[i].order < q[j].order
	}
	return q[i].due.Before(q[j].due)
}

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = i, j
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	t := x.(*Timer)
	t.at = len(*q)
	*q = append(*q, t)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(*q) - 1
	t := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	t.at = -1
	return t
}
