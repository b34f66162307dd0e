package iscsi

import "sync/atomic"

// window is the command window of a session (RFC 7143 4.2.2.1). The reader alone
// accepts; anybody completes. MaxCmdSN leaves room for what is in flight and
// never goes back.
type window struct {
	size     int32
	expected atomic.Uint32 // ExpCmdSN
	inFlight atomic.Int32  // commands that took a place and have not ended
	max      uint32        // MaxCmdSN as last sent; guarded by the outbox's lock
}

func (w *window) start(cmdSN uint32, size int) {
	w.size = int32(size)
	w.expected.Store(cmdSN)
	w.max = cmdSN + uint32(size) - 1
}

// serialLess is a < b in the arithmetic of RFC 1982.
func serialLess(a, b uint32) bool { return int32(a-b) < 0 }

// arrival says what to do with a command by its CmdSN.
type arrival int

const (
	arrivalNow     arrival = iota // it is the expected one
	arrivalEarly                  // within the window, but others are missing
	arrivalOutside                // old, or beyond the window: ignored (RFC 7143 4.2.2.1)
)

// classify judges a non-immediate CmdSN.
func (w *window) classify(cmdSN uint32) arrival {
	exp := w.expected.Load()
	switch {
	case cmdSN == exp && w.inFlight.Load() < w.size:
		return arrivalNow
	case serialLess(cmdSN, exp) || cmdSN-exp >= uint32(w.size):
		return arrivalOutside
	case cmdSN == exp:
		return arrivalOutside // more than the window allows
	}
	return arrivalEarly
}

// accept takes the place of the expected command.
func (w *window) accept() { w.expected.Add(1); w.inFlight.Add(1) }

// complete gives a place back; full tells that there was no other.
func (w *window) complete() (full bool) { return w.inFlight.Add(-1) == w.size-1 }

// bounds returns ExpCmdSN and MaxCmdSN to send. Called with the outbox's lock held.
func (w *window) bounds() (exp, limit uint32) {
	exp = w.expected.Load()
	next := exp + uint32(w.size-min(w.inFlight.Load(), w.size)) - 1
	if serialLess(w.max, next) {
		w.max = next
	}
	return exp, w.max
}
