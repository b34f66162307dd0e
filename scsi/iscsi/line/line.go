package line

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Clock is the time that Ways go by, the wall's or one that tests freeze and step. Safe for
// concurrent use.
type Clock interface {
	Now() time.Time
	// After calls f once, when d has passed; f does not wait for other timers. stop keeps
	// it from being called, and tells whether that was in time.
	After(d time.Duration, f func()) (stop func() bool)
}

// Wall is the clock of the machine.
type Wall struct{}

// Now implements Clock.
func (Wall) Now() time.Time { return time.Now() }

// After implements Clock.
func (Wall) After(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }

// Way decides when bytes of one direction go on. Safe for concurrent use.
type Way interface {
	// Clock is what the times of Due are read on; always the same.
	Clock() Clock
	// Due tells when n bytes that are there now go on: never, as long as this Way is in
	// force, for the zero time. Due(0) asks without anything that goes.
	Due(n int) time.Time
	// Piece is how many bytes go on at once at most; 0 for any number.
	Piece() int
}

// Line is both directions of one connection. Safe for concurrent use.
type Line struct {
	nc    net.Conn
	done  <-chan struct{}
	mu    sync.Mutex // held by Disturb
	state atomic.Pointer[state]
}

// state is what is in force; nil: nothing.
type state struct {
	in, out Way           // nil: undisturbed
	changed chan struct{} // closed when another state is in force
}

// New returns the undisturbed line of nc; done is closed when nc is.
func New(nc net.Conn, done <-chan struct{}) *Line { return &Line{nc: nc, done: done} }

// Disturb puts Ways in force, in the place of those before; nil lets a direction pass. What
// waits is judged anew.
func (l *Line) Disturb(in, out Way) {
	var next *state
	if in != nil || out != nil {
		next = &state{in: in, out: out, changed: make(chan struct{})}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.state.Swap(next)
	if before == nil {
		return // a Reader that waits for the socket looks when it has something
	}
	close(before.changed)
	l.rouse()
}

// rouse wakes the Reader. It fails on a closed connection only, which wakes it too.
func (l *Line) rouse() { _ = l.nc.SetReadDeadline(time.Unix(1, 0)) }

// ways are those in force.
func (s *state) ways() (in, out Way) {
	if s == nil {
		return nil, nil
	}
	return s.in, s.out
}

// due is when n bytes go on by w; ok is false for never.
func due(w Way, n int) (at time.Time, ok bool) {
	if w == nil {
		return time.Time{}, true
	}
	at = w.Due(n)
	return at, !at.IsZero()
}

// passed tells whether what is due at a time by w goes on now.
func passed(w Way, at time.Time) bool { return w == nil || !w.Clock().Now().Before(at) }

// ring calls f when it is at by w, never for the zero time. stop ends that.
func ring(w Way, at time.Time, f func()) (stop func() bool) {
	if w == nil || at.IsZero() {
		return func() bool { return true }
	}
	c := w.Clock()
	stop = c.After(at.Sub(c.Now()), f)
	if passed(w, at) && stop() { // a clock that was stepped meanwhile, and stands still now
		f()
	}
	return stop
}

// wait returns at a time by w (the zero time for never), when s is not in force any more, or
// when the connection is closed.
func (l *Line) wait(s *state, w Way, at time.Time) {
	over := make(chan struct{})
	stop := ring(w, at, func() { close(over) })
	defer stop()
	select {
	case <-l.done:
	case <-s.changed:
	case <-over:
	}
}

// closed tells whether the connection is.
func (l *Line) closed() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}
