package work

import "sync/atomic"

// Tenure is the right to receive on one connection. Its holder may do other things
// of the connection itself, between Begin and End; when one of them takes longer
// than the patience of the Watch, the right goes to a successor, and End tells the
// old holder so. Begin and End are for the holder alone.
type Tenure struct {
	watch   *Watch
	succeed func()

	turn    atomic.Uint64 // odd between Begin and End; no value comes twice
	watched atomic.Bool   // by the Watch, or about to be

	// Of the Watch:
	seen  uint64 // turn at its last look
	still int    // looks since it has changed
}

// NewTenure returns a right that the caller holds. succeed is called by the watch
// when the right changes hands; it starts the successor and must not block.
func NewTenure(w *Watch, succeed func()) *Tenure { return &Tenure{watch: w, succeed: succeed} }

// Begin starts something that may take long.
func (t *Tenure) Begin() (turn uint64) {
	turn = t.turn.Add(1)
	// A Watch that lets go of the tenure looks at turn once more afterwards, so that
	// one of the two sees the other.
	if !t.watched.Load() && t.watched.CompareAndSwap(false, true) {
		t.watch.add(t)
	}
	return turn
}

// End ends what Begin has started. False: the right has gone to a successor, and the
// caller may not receive, nor Begin anything, any more.
func (t *Tenure) End(turn uint64) bool { return t.turn.CompareAndSwap(turn, turn+1) }

// look is the watch's; false lets go of the tenure.
func (t *Tenure) look() bool {
	turn := t.turn.Load()
	if turn != t.seen {
		t.seen, t.still = turn, 0
		return true
	}
	t.still++
	switch {
	case turn%2 == 1:
		if t.turn.CompareAndSwap(turn, turn+1) {
			t.succeed()
		}
	case t.still >= idleLooks:
		t.watched.Store(false)
		return t.turn.Load() != turn && t.watched.CompareAndSwap(false, true)
	}
	return true
}
