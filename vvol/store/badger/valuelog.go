package badger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
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
	_, before := e.files()
	e.index.RLock()
	live := e.index.Counts().Live * blockSize
	e.index.RUnlock()
	if before < live+live/2+valueLogSlack {
		return nil
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
	if _, after := e.files(); after < before {
		e.counts.reclaimed.Add(before - after)
	}
	return nil
}

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
		return e.sync.Do()
	})
}

// rewriteFrom is the dead share of a value log file from which it is rewritten.
const rewriteFrom = 0.5

// files tells the bytes on disk of Badger's tree and of its value logs.
func (e *Engine) files() (tree, values uint64) {
	entries, err := os.ReadDir(e.dir)
	if err != nil {
		return 0, 0 // a gauge; whoever needs the directory meets the error
	}
	for _, f := range entries {
		info, err := f.Info()
		if errors.Is(err, fs.ErrNotExist) || err != nil {
			continue
		}
		if strings.HasSuffix(f.Name(), ".vlog") {
			values += occupied(info)
		} else {
			tree += occupied(info)
		}
	}
	return tree, values
}
