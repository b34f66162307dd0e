package journal

import "sync"

// Rounds runs one function for many callers: each call of Do returns after a run
// that began after the call, and everybody who asked before it began shares it.
type Rounds struct {
	run func() error

	mu      sync.Mutex
	changed sync.Cond // a round has ended
	next    *round    // the round that those who ask now will share
	running bool
}

type round struct {
	ended bool
	err   error
}

// NewRounds returns the Rounds of run, of which one call runs at a time.
func NewRounds(run func() error) *Rounds {
	r := &Rounds{run: run}
	r.changed.L = &r.mu
	return r
}

// Do returns the error of the round that served the call.
func (r *Rounds) Do() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.next = &round{}
	}
	mine := r.next
	for !mine.ended {
		if r.running {
			r.changed.Wait()
			continue
		}
		// Nobody runs, so that the next round is still mine.
		r.running, r.next = true, nil
		r.mu.Unlock()
		err := r.run()
		r.mu.Lock()
		mine.err, mine.ended, r.running = err, true, false
		r.changed.Broadcast()
	}
	return mine.err
}
