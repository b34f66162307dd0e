package work

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Patience is how often a Watch looks: a holder that is at the same thing at two
// looks in a row loses its right, after one to two times Patience.
const Patience = time.Millisecond

// idleLooks is after how many looks without any turn a tenure is no longer watched.
const idleLooks = 20

// Watch looks after the tenures in which something happens. It runs while there are
// any. The zero value is ready; safe for concurrent use.
type Watch struct {
	mu      sync.Mutex
	all     []*Tenure
	running bool
	active  atomic.Int32 // tenures with a turn between the last two looks
	ended   sync.WaitGroup
}

func (w *Watch) add(t *Tenure) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, t)
	if !w.running {
		w.running = true
		w.ended.Add(1)
		go w.run()
	}
}

func (w *Watch) run() {
	defer w.ended.Done()
	tick := time.NewTicker(Patience)
	defer tick.Stop()
	for range tick.C {
		if !w.look() {
			return
		}
	}
}

// look looks at every tenure; false when none is left.
func (w *Watch) look() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	active := int32(0)
	w.all = slices.DeleteFunc(w.all, func(t *Tenure) bool {
		seen := t.seen
		watched := t.look()
		if t.seen != seen {
			active++
		}
		return !watched
	})
	w.active.Store(active)
	w.running = len(w.all) > 0
	return w.running
}

// Active is how many tenures had a turn within about the last Patience.
func (w *Watch) Active() int { return int(w.active.Load()) }

// Wait returns when the watch has nothing to look after. Called when no tenure is
// used any more.
func (w *Watch) Wait() { w.ended.Wait() }
