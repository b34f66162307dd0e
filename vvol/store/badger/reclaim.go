package badger

import (
	"fmt"
	"time"

	"vvsim/vvol/store/badger/pace"
	"vvsim/vvol/store/badger/values"
)

// filesAtOnce bounds the files of one collection in calm: what died meanwhile is known
// after the next has merged tables, and then need not be moved.
const filesAtOnce = 16

// dead is how much of value logs the engine knows to be dead, and the size of the tree.
func (e *Engine) dead() (dead, tree uint64) {
	tree, held := e.files.Sizes()
	e.index.RLock()
	defer e.index.RUnlock()
	return held - min(held, e.index.Counts().Held*blockSize), tree
}

// isBarren tells whether a collection from that share on is hardly worth its work, which is
// taken for less when the drainer waits for it. The lock of collections is held.
func (e *Engine) isBarren(from float64, waits bool) bool {
	dead, tree := e.dead()
	return e.barren.Is(from, waits, dead, tree, uint64(e.o.ValueLogBytes))
}

// lull tells whether what can wait may go on, at a tick.
func (e *Engine) lull(l *pace.Lull) bool {
	return l.Since(e.journal.Head(), e.counts.reads.Load(), e.o.CollectEvery)
}

// collectValueLog has value log files given back, while they hold too much, until the
// engine closes.
func (e *Engine) collectValueLog() {
	tick := time.NewTicker(e.o.CollectEvery)
	defer tick.Stop()
	var pacing pace.Calm
	var rest pace.Lull
	for {
		select {
		case <-e.stop:
			return
		case <-tick.C:
		}
		crowding := e.crowding()
		if e.lull(&rest) {
			if from, ok := pacing.Begin(crowding, e.cleaned()); ok {
				pacing.Ended(e.collectSomeFiles(from, filesAtOnce) > 0)
			}
			continue
		}
		pacing = pace.Calm{}
		if crowding > pace.SpaceBusy {
			e.collectFiles(pace.Rewrite(crowding))
		}
	}
}

// cleaned tells whether no layer waits to be dropped, and no record to be cleaned in calm.
func (e *Engine) cleaned() bool {
	e.index.RLock()
	defer e.index.RUnlock()
	return e.index.OrphanBlocks() == 0 && !tooDead(e.index.Counts(), pace.CleanCalm)
}

// collectFiles has Badger give back value log files that are dead to a share, until none
// is.
func (e *Engine) collectFiles(from float64) {
	e.collecting.Lock()
	defer e.collecting.Unlock()
	if !e.isBarren(from, false) {
		e.collectLocked(from, e.closed.Load)
	}
}

// collectSomeFiles does so with n files at most, and returns the number of bytes that it gave
// back.
func (e *Engine) collectSomeFiles(from float64, n int) uint64 {
	e.collecting.Lock()
	defer e.collecting.Unlock()
	return e.collectLocked(from, func() bool {
		n--
		return n < 0 || e.closed.Load()
	})
}

// collectLocked collects until stop says so. It returns the number of bytes that it gave back.
func (e *Engine) collectLocked(from float64, stop func() bool) uint64 {
	c, err := e.collectValues(from, stop)
	e.counts.collected.Add(c.Files)
	e.counts.reclaimed.Add(c.Bytes)
	e.counts.rescued.Add(c.Rescued)
	dead, _ := e.dead()
	e.barren.Ended(c.Files > 0, from, dead)
	if err != nil && !e.closed.Load() {
		e.o.Warn(fmt.Sprintf("collection of the value log: %v", err))
	}
	return c.Bytes
}

// collectValues runs one collection, each step of which needs room: what is not dead of
// a file is moved, beside the drainer's transactions.
func (e *Engine) collectValues(from float64, stop func() bool) (values.Collected, error) {
	return e.values.Collect(from, stop, e.step)
}

// step runs f, which writes so many bytes of values beside the drainer's, once there is room.
func (e *Engine) step(bytes int64, f func() error) error {
	if err := e.room(minFreeForRows); err != nil {
		return err
	}
	if err := e.begin(valuesAhead + bytes); err != nil {
		return err
	}
	defer e.files.End()
	return f()
}
