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
	rest, rests := 0, 0 // ticks to let pass, and how many there were last time
	fruitless := 0.0    // crowding when a calm collection gave nothing
	for {
		select {
		case <-e.stop:
			return
		case <-tick.C:
		}
		head := e.journal.Head()
		calm := head == last
		last = head
		crowding := e.crowding()
		if !calm || crowding > fruitless+crowdingStep { // as after a deletion
			rest, rests = 0, 0
		}
		switch {
		case calm && rest > 0:
			rest--
		case calm && crowding > spaceCalm:
			// What is left is too much alive to be worth it, and a round is not free:
			// nothing but time, in which tables are merged, may change that.
			if rests = min(2*rests+1, mostRests); e.collectFiles(rewriteCalm, e.closed.Load) > 0 {
				rests = 0
			}
			rest, fruitless = rests, crowding
		case crowding > spaceBusy:
			pressure := min(max((crowding-spaceFew)/(spaceTight-spaceFew), 0), 1)
			e.collectFiles(rewriteBusy-pressure*(rewriteBusy-rewriteMost), e.closed.Load)
		}
	}
}

// crowdingStep is what more there has to be for a calm collection before its time.
const crowdingStep = 0.05

// mostRests bounds the ticks between two calm collections that give nothing back.
const mostRests = 63

// collectFiles has Badger give back value log files that are dead to a share, until none
// is or stop says so. It returns the number of bytes that it gave back.
func (e *Engine) collectFiles(from float64, stop func() bool) uint64 {
	e.collecting.Lock()
	defer e.collecting.Unlock()
	return e.collectLocked(from, stop)
}

func (e *Engine) collectLocked(from float64, stop func() bool) uint64 {
	c, err := e.collectValues(from, stop)
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
// cleaned. Writers go on into the journal meanwhile, and slow down with it, so that it
// takes no longer than needed: a collection of all that can be had may take minutes.
// Drainer only.
func (d *drainer) makeSpace() error {
	e := d.e
	enough := func() bool { return e.crowding() <= spaceMost || e.closed.Load() }
	for !enough() {
		if !e.collecting.TryLock() { // the collector is at it
			select {
			case <-e.stop:
				return nil
			case <-time.After(spacePoll):
			}
			continue
		}
		gave, err := d.collectSome(enough)
		e.collecting.Unlock()
		if err != nil {
			return err
		}
		if gave || enough() {
			continue
		}
		cleaned, err := d.clean(cleanCalm)
		if err != nil || !cleaned {
			return err
		}
	}
	return nil
}

// spacePoll is how often the drainer looks whether the collector has made room for it.
const spacePoll = 20 * time.Millisecond

// collectSome collects until there is enough room, and tells whether anything was given
// back. The lock of collections is held.
func (d *drainer) collectSome(enough func() bool) (bool, error) {
	e := d.e
	if err := e.journal.Flush(); err != nil { // what it holds keeps what that replaces from being deleted
		return false, err
	}
	if err := d.checkpoint(); err != nil {
		return false, err
	}
	return e.collectLocked(rewriteMost, enough) > 0, nil
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
