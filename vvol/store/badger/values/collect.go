package values

import (
	"errors"
	"math/bits"
	"slices"

	bdb "github.com/dgraph-io/badger/v4"
)

// Collected is what a collection gave back.
type Collected struct {
	Files, Bytes uint64
	Rescued      uint64 // values that Badger would have lost with a damaged file
}

// Step runs f, which writes up to so many bytes of values and a few rows, once there is
// room for that; or it fails without, which ends the collection.
type Step func(values int64, f func() error) error

// Collect has Badger rewrite and delete the files that are dead to a share or more, until
// none is or stop says so. Each transaction of ours and each file is a step: what is freed
// by one is there for the next, and a file system that others fill meanwhile is noticed.
// Discard statistics follow compaction, not deletion, so that the tree is compacted first. What
// lives in the files is moved by us (empty.go).
//
// A compaction keeps a deletion, and what was deleted, as long as somebody reads in a view
// from before; in the last level both stay then until something in their range is
// written. So views are renewed first; and after collections that gave nothing, the first, the
// second, the fourth and so on, the filling reaches over all keys if tables of the last level
// have something stale: then the whole tree is merged.
func (l *Log) Collect(from float64, stop func() bool, step Step) (c Collected, err error) {
	_, before := l.files.Sizes()
	l.o.Renew()
	wide := bits.OnesCount(uint(l.fruitless)) == 1 && l.stale()
	if err := l.fillTable(step, wide); err != nil {
		return c, err
	}
	defer func() {
		if l.fruitless++; c.Files > 0 {
			l.fruitless = 0
		}
	}()
	if err := l.db.Flatten(1); err != nil {
		return c, err
	}
	s, err := l.survey(from)
	if err != nil {
		return c, err
	}
	l.synced = false
	survive := int64((1 - from) * float64(l.o.FileBytes))
	for !stop() {
		err = step(survive, func() error { return l.rewriteFile(from, s, &c) })
		if err != nil {
			break
		}
		c.Files++
	}
	if errors.Is(err, bdb.ErrNoRewrite) {
		err = nil
	}
	if _, after := l.files.Sizes(); after < before {
		c.Bytes = before - after
	}
	return c, err
}

// fillTable makes Badger write its memory table out, which it does when that is full
// and at no other call: with few keys that are set again and again, and of which the
// table on disk keeps one version. A wide filling deletes a key before and one behind all
// others besides, which nobody sets, so that its table is merged with every other.
func (l *Log) fillTable(step Step, wide bool) error {
	value := make([]byte, l.o.Threshold-1) // stays out of the value log
	fill := func(tx *bdb.Txn) error {
		if wide {
			if err := errors.Join(tx.Delete([]byte{0}), tx.Delete([]byte{0xff})); err != nil {
				return err
			}
		}
		for i := range fillRows {
			if err := tx.Set(l.key(2+i), value); err != nil {
				return err
			}
		}
		return nil
	}
	for filled := int64(0); filled < l.o.TableBytes; filled += fillRows * int64(len(value)) {
		if err := step(0, func() error { return l.db.Update(fill) }); err != nil {
			return err
		}
	}
	return nil
}

// stale tells whether tables of the last level hold what is deleted or was set anew.
func (l *Log) stale() bool {
	tables := l.db.Tables() // the last level comes last
	last := len(tables) - 1
	return slices.ContainsFunc(tables, func(t bdb.TableInfo) bool { return t.Level == tables[last].Level && t.StaleDataSize > 0 })
}

// fillRows is how many rows of filling one transaction takes.
const fillRows = 100

// rewriteFile has the live values of one file moved and Badger delete it, or fails with
// bdb.ErrNoRewrite. A collection that could not be finished is finished first.
func (l *Log) rewriteFile(from float64, s survey, c *Collected) error {
	if l.keep == nil {
		n, err := l.empty(from, s)
		c.Rescued += n
		if err == nil {
			err = l.rewrite(from)
		}
		if err != nil {
			return err
		}
	}
	return l.finish(c)
}

// finish lets the file go that Badger has rewritten. Badger deletes none while an iterator is
// open, which keeps the old values until all moved ones are on stable storage. When
// that fails the iterator stays open, and the next call tries again; a database that is opened
// anew knows nothing of deletions that wait. Of a file that was ended there is nothing to wait
// for; what Badger does with another, which its statistics have brought to the front
// meanwhile, is looked at.
func (l *Log) finish(c *Collected) error {
	if r := l.o.Rewrites; l.ended != 0 && r.file == l.ended && r.entries == 0 {
		l.letGo()
		return nil
	}
	n, err := l.rescue()
	c.Rescued += n
	if err = errors.Join(err, l.files.Sync()); err == nil {
		l.o.Moved()
		l.letGo()
	}
	return err
}

// rewrite has one file rewritten, and keeps it.
func (l *Log) rewrite(from float64) error {
	o := bdb.DefaultIteratorOptions
	o.PrefetchValues, o.Prefix = false, []byte{l.o.Fill}
	l.view = l.db.NewTransaction(false)
	l.keep = l.view.NewIterator(o)
	*l.o.Rewrites = Rewrites{entries: -1}
	if ordered {
		l.o.Writing.Lock()
		defer l.o.Writing.Unlock()
	}
	err := l.db.RunValueLogGC(from)
	if err != nil {
		l.letGo()
	}
	return err
}

func (l *Log) letGo() {
	l.keep.Close()
	l.view.Discard()
	l.keep, l.view, l.ended = nil, nil, 0
}
