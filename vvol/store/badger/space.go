package badger

import (
	"fmt"
	"time"
)

// collectValueLog has Badger give back value log files that are mostly dead, while they
// hold too much, until the engine closes.
func (e *Engine) collectValueLog() {
	tick := time.NewTicker(e.o.CollectEvery)
	defer tick.Stop()
	for {
		select {
		case <-e.stop:
			return
		case <-tick.C:
		}
		_, held := e.files.Sizes()
		e.index.RLock()
		live := e.index.Counts().Live * blockSize
		e.index.RUnlock()
		if held < live+live/2+valueLogSlack {
			continue
		}
		c, err := e.values.Collect(e.closed.Load)
		e.counts.collected.Add(c.Files)
		e.counts.reclaimed.Add(c.Bytes)
		if err != nil && !e.closed.Load() {
			e.o.Warn(fmt.Sprintf("collection of the value log: %v", err))
		}
	}
}
