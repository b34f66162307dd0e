package values

import (
	"errors"

	bdb "github.com/dgraph-io/badger/v4"
)

// Collected is what a collection gave back.
type Collected struct{ Files, Bytes uint64 }

// Collect has Badger rewrite and delete the files that are dead to a share or more, until
// none is or stop says so. Discard statistics follow compaction, not deletion, so that the
// tree is compacted first.
func (l *Log) Collect(from float64, stop func() bool) (c Collected, err error) {
	_, before := l.files.Sizes()
	if err := l.fillTable(); err != nil {
		return c, err
	}
	if err := l.db.Flatten(1); err != nil {
		return c, err
	}
	for !stop() {
		err = l.rewriteFile(from)
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
// table on disk keeps one version.
func (l *Log) fillTable() error {
	value := make([]byte, l.o.Threshold-1) // stays out of the value log
	for filled := int64(0); filled < l.o.TableBytes; filled += fillRows * int64(len(value)) {
		err := l.db.Update(func(tx *bdb.Txn) error {
			for i := range fillRows {
				if err := tx.Set(l.key(2+i), value); err != nil {
					return err
				}
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

// rewriteFile lets Badger move the live values of one file and delete it, or fails with
// bdb.ErrNoRewrite. Badger deletes no file while an iterator is open, which keeps the old
// values until the moved ones are on stable storage.
func (l *Log) rewriteFile(from float64) error {
	return l.db.View(func(tx *bdb.Txn) error {
		o := bdb.DefaultIteratorOptions
		o.PrefetchValues, o.Prefix = false, []byte{l.o.Fill}
		it := tx.NewIterator(o)
		defer it.Close()
		if err := l.db.RunValueLogGC(from); err != nil {
			return err
		}
		return l.files.Sync()
	})
}
