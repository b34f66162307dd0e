package badger

import (
	"errors"
	"fmt"
	"time"

	bdb "github.com/dgraph-io/badger/v4"
)

// collectValueLog has Badger give back value log files that are mostly dead, until
// the engine closes.
func (e *Engine) collectValueLog() {
	tick := time.NewTicker(e.o.CollectEvery)
	defer tick.Stop()
	for {
		select {
		case <-e.stop:
			return
		case <-tick.C:
		}
		if err := e.rewriteValueLog(); err != nil && !e.closed.Load() {
			e.o.Warn(fmt.Sprintf("collection of the value log: %v", err))
		}
	}
}

// rewriteValueLog runs Badger's collection while its files hold too much. Discard
// statistics follow compaction, not deletion, so that the tree is compacted first.
func (e *Engine) rewriteValueLog() error {
	_, before := e.files.Sizes()
	e.index.RLock()
	live := e.index.Counts().Live * blockSize
	e.index.RUnlock()
	if before < live+live/2+valueLogSlack {
		return nil
	}
	if err := e.fillTable(); err != nil {
		return err
	}
	if err := e.db.Flatten(1); err != nil {
		return err
	}
	for !e.closed.Load() {
		err := e.rewriteFile()
		if errors.Is(err, bdb.ErrNoRewrite) {
			break
		}
		if err != nil {
			return err
		}
		e.counts.collected.Add(1)
	}
	if _, after := e.files.Sizes(); after < before {
		e.counts.reclaimed.Add(before - after)
	}
	return nil
}

// fillTable makes Badger write its memory table out, which it does when that is full
// and at no other call: with one key that is set again and again, and of which the
// table on disk keeps one version.
func (e *Engine) fillTable() error {
	value := make([]byte, valueThreshold-1) // stays out of the value log
	for filled := 0; filled < memTableBytes; {
		err := e.write(func(tx *bdb.Txn) error {
			for i := range fillRows {
				key := append([]byte{keyFill}, byte(i>>8), byte(i))
				if err := tx.Set(key, value); err != nil {
					return err
				}
				filled += len(value)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// fillRows is how many rows of filling one transaction takes.
const fillRows = 100

// rewriteFile lets Badger move the live values of one file and delete it. Badger
// deletes no file while an iterator is open, which keeps the old values until the
// moved ones are on stable storage.
func (e *Engine) rewriteFile() error {
	return e.db.View(func(tx *bdb.Txn) error {
		o := bdb.DefaultIteratorOptions
		o.PrefetchValues, o.Prefix = false, []byte{keyState}
		it := tx.NewIterator(o)
		defer it.Close()
		if err := e.db.RunValueLogGC(rewriteFrom); err != nil {
			return err
		}
		return e.files.Sync()
	})
}

// rewriteFrom is the dead share of a value log file from which it is rewritten.
const rewriteFrom = 0.5
