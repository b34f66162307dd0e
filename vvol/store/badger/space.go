package badger

import "time"

// Space that Badger's value logs may hold for each byte that is live, in them or in the
// journal, with valueLogSlack on top. Draining waits where they hold more than the most.
const (
	spaceBusy  = 1.5 // collected from here on under load; package pace has it for when nothing comes in
	spaceFew   = 1.9 // of which records that are not dead as a whole take the most: cleanBusy
	spaceTight = 2.3
	spaceMost  = 2.5
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

// makeSpace brings value logs below what they may hold at most, as far as there is
// anything to give back: first what is dead, then, when that gives nothing, what can be
// cleaned. Writers go on into the journal meanwhile, and slow down with it, so that it
// takes no longer than needed: a collection of all that can be had may take minutes.
// Drainer only.
func (d *drainer) makeSpace() error {
	e := d.e
	enough := func() bool { return e.crowding() <= spaceMost || e.closed.Load() }
	for swept := false; !enough(); {
		if !e.collecting.TryLock() { // the collector is at it
			select {
			case <-e.stop:
				return nil
			case <-time.After(spacePoll):
			}
			continue
		}
		gave, err := false, error(nil)
		collect := swept || !e.isBarren(rewriteMost, true)
		if collect {
			gave, err = d.collectSome(enough)
		}
		e.collecting.Unlock()
		if err != nil || collect && swept && !gave {
			return err
		}
		if swept = false; gave || enough() {
			continue
		}
		cleaned, err := d.clean(cleanCalm)
		if err != nil {
			return err
		}
		swept = !cleaned
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
