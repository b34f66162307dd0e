package line

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Way decides when bytes of one direction go on. Safe for concurrent use.
type Way interface {
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
	_ = l.nc.SetReadDeadline(time.Unix(1, 0)) // wakes the Reader; fails on a closed connection only, which wakes it too
}

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

// wait returns at a time (the zero time for never), when s is not in force any more, or when
// the connection is closed.
func (l *Line) wait(s *state, at time.Time) {
	var over <-chan time.Time
	if !at.IsZero() {
		t := time.NewTimer(time.Until(at))
		defer t.Stop()
		over = t.C
	}
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
