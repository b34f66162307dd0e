package badger

import (
	"time"

	"vvsim/vvol/store/badger/pace"
)

// crowding is how much value logs hold for each byte that is live, beyond the slack.
func (e *Engine) crowding() float64 {
	_, held := e.files.Sizes()
	e.index.RLock()
	n := e.index.Counts()
	e.index.RUnlock()
	live := (n.Live + n.Dirty) * blockSize
	return float64(max(held, valueLogSlack)-valueLogSlack) / float64(max(live, 1))
}

// makeSpace brings value logs below what is short (pace.Enough), as far as there is anything to give back:
// first what is dead, then, when that gives nothing, what can be cleaned. Writers go on into
// the journal meanwhile, and slow down with it. Once they wait for it, it is their turn after
// each step: until files are dead enough to be collected, hundreds of MiB may have to be
// cleaned, and a collection of all that can be had may take minutes. Drainer only.
func (d *drainer) makeSpace() error {
	e := d.e
	for swept, stepped := false, false; !d.hasSpace(stepped); stepped = true {
		if !e.collecting.TryLock() { // the collector is at it
			select {
			case <-e.stop:
				return nil
			case <-time.After(spacePoll):
			}
			continue
		}
		gave, err := false, error(nil)
		collect := swept || !e.isBarren(pace.RewriteMost, true)
		if collect {
			gave, err = d.collectSome()
		}
		e.collecting.Unlock()
		if err != nil || collect && swept && !gave {
			return err
		}
		if swept = false; gave || d.hasSpace(true) {
			continue
		}
		cleaned, err := d.clean(pace.CleanCalm)
		if err != nil {
			return err
		}
		swept = !cleaned
	}
	return nil
}

// hasSpace tells whether draining may go on, stepped after a step that made space.
func (d *drainer) hasSpace(stepped bool) bool {
	return pace.Enough(d.e.crowding(), stepped && d.waiting.Load() > 0) || d.e.closed.Load()
}

const (
	// spacePoll is how often the drainer looks whether the collector has made room for it.
	spacePoll = 20 * time.Millisecond
	// filesInTurn bounds the files that are collected before it is the turn of writers that
	// wait: each collection merges tables first.
	filesInTurn = 4
)

// collectSome collects until there is enough room or it is the turn of writers, and tells
// whether anything was given back. The lock of collections is held.
func (d *drainer) collectSome() (bool, error) {
	e := d.e
	if err := e.journal.Flush(); err != nil { // what it holds keeps what that replaces from being deleted
		return false, err
	}
	if err := d.checkpoint(); err != nil {
		return false, err
	}
	files := 0
	return e.collectLocked(pace.RewriteMost, func() bool {
		files++
		return d.hasSpace(files > filesInTurn)
	}) > 0, nil
}
