package badger

import (
	"fmt"
	"time"

	"vvsim/vvol/store/badger/values"
)

// Space that Badger's value logs may hold for each byte that is live, in them or in the
// journal, with valueLogSlack on top. Draining waits where they hold more than the most.
const (
	spaceCalm  = 1.15 // collected from here on when nothing comes in
	spaceBusy  = 1.5  // and under load
	spaceFew   = 1.9  // of which records that are not dead as a whole take the most: cleanBusy
	spaceTight = 2.3
	spaceMost  = 2.5
)

// Dead shares of a value log file from which Badger rewrites it: the less space there is,
// the more is moved for it.
const (
	rewriteBusy = 0.95 // up to spaceFew
	rewriteMost = 0.5  // from spaceTight on
	rewriteCalm = 0.2
)

// crowding is how much value logs hold for each byte that is live, beyond the slack.
func (e *Engine) crowding() float64 {
	_, held := e.files.Sizes()
	e.index.RLock()
	n := e.index.Counts()
	e.index.RUnlock()
	live := (n.Live + n.Dirty) * blockSize
	if held <= valueLogSlack {
		return 0
	}
	return float64(held-valueLogSlack) / float64(max(live, 1))
}

// collectValueLog has value log files given back, while they hold too much, until the
// engine closes.
func (e *Engine) collectValueLog() {
	tick := time.NewTicker(e.o.CollectEvery)
	defer tick.Stop()
	var last uint64
	for {
		select {
		case <-e.stop:
			return
		case <-tick.C:
		}
		head := e.journal.Head()
		calm := head == last
		last = head
		switch crowding := e.crowding(); {
		case calm && crowding > spaceCalm:
			e.collectFiles(rewriteCalm)
		case crowding > spaceBusy:
			pressure := min(max((crowding-spaceFew)/(spaceTight-spaceFew), 0), 1)
			e.collectFiles(rewriteBusy - pressure*(rewriteBusy-rewriteMost))
		}
	}
}

// collectFiles has Badger give back value log files that are dead to a share. It returns
// the number of bytes that it gave back.
func (e *Engine) collectFiles(from float64) uint64 {
	e.collecting.Lock()
	defer e.collecting.Unlock()
	c, err := e.collectValues(from)
	e.counts.collected.Add(c.Files)
	e.counts.reclaimed.Add(c.Bytes)
	e.counts.rescued.Add(c.Rescued)
	if err != nil && !e.closed.Load() {
		e.o.Warn(fmt.Sprintf("collection of the value log: %v", err))
	}
	return c.Bytes
}

// makeSpace brings value logs below what they may hold at most, as far as there is
// anything to give back: first what is dead, then, when that is not enough, what can be
// cleaned. Writers go on into the journal meanwhile, and slow down with it. Drainer only.
func (d *drainer) makeSpace() error {
	e := d.e
	for e.crowding() > spaceMost && !e.closed.Load() {
		if err := e.journal.Flush(); err != nil { // what it holds keeps what that replaces from being deleted
			return err
		}
		if err := d.checkpoint(); err != nil {
			return err
		}
		if e.collectFiles(rewriteMost) > 0 {
			continue
		}
		cleaned, err := d.clean(cleanCalm)
		if err != nil || !cleaned {
			return err
		}
	}
	return nil
}

// collectValues runs one collection, each step of which needs room: what is not dead of
// a file is moved, beside the drainer's transactions.
func (e *Engine) collectValues(from float64) (values.Collected, error) {
	return e.values.Collect(from, e.closed.Load, func(bytes int64, f func() error) error {
		if err := e.room(minFreeForRows); err != nil {
			return err
		}
		if err := e.begin(valuesAhead + bytes); err != nil {
			return err
		}
		defer e.files.End()
		return f()
	})
}
