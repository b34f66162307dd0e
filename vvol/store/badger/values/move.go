package values

import (
	"errors"
	"os"

	bdb "github.com/dgraph-io/badger/v4"
)

type stray struct {
	key     []byte
	at      pointer
	version uint64
}

// leadingTo lists the keys whose values lie in a file.
func (l *Log) leadingTo(file uint32) (all []stray, err error) {
	err = l.each(func(s stray) error {
		if s.at.file == file {
			all = append(all, s)
		}
		return nil
	})
	return all, err
}

// each calls f for every key whose value lies in a value log.
func (l *Log) each(f func(stray) error) error {
	return each(l.db, false, func(item *bdb.Item, at pointer) error { return f(stray{item.KeyCopy(nil), at, item.Version()}) })
}

// each calls f for every item whose value lies in a value log, in each version or the newest.
func each(db *bdb.DB, versions bool, f func(item *bdb.Item, at pointer) error) error {
	return db.View(func(tx *bdb.Txn) error {
		o := bdb.DefaultIteratorOptions
		o.PrefetchValues, o.AllVersions = false, versions
		it := tx.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if at, ok := locate(it.Item()); ok {
				if err := f(it.Item(), at); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Limits of what is moved at once, while all other writers wait.
const (
	moveRows  = 256
	moveBytes = 2 << 20
)

// moved is what became of values that were to be moved.
type moved struct {
	values  uint64 // set anew
	damaged int    // of them, as they were
	first   uint32 // byte of the file at which the first damaged entry begins
}

// moveAll sets the values of a file anew to which the tree still leads, and returns when nobody
// reads where they were.
func (l *Log) moveAll(f *os.File, left []stray) (all moved, err error) {
	for len(left) > 0 && err == nil {
		n, bytes := 0, 0
		for n < len(left) && n < moveRows && (n == 0 || bytes+int(left[n].at.length) <= moveBytes) {
			bytes += int(left[n].at.length)
			n++
		}
		err = l.move(f, left[:n], &all)
		left = left[n:]
	}
	l.o.Moved()
	return all, err
}

// move sets values anew that still lie where they did. What belongs to nothing any more is
// deleted. Nobody else writes meanwhile, as the transaction does not notice. In the version that
// they have, as Badger sets them, two tables of the first level could hold them, of which it does not
// always take the newer for newer.
func (l *Log) move(f *os.File, part []stray, all *moved) error {
	l.o.Writing.Lock()
	defer l.o.Writing.Unlock()
	return l.db.Update(func(tx *bdb.Txn) error {
		for _, s := range part {
			item, err := tx.Get(s.key)
			if errors.Is(err, bdb.ErrKeyNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if at, ok := locate(item); !ok || at != s.at {
				continue
			}
			if stays, err := l.stays(tx, s.key); err != nil {
				return err
			} else if !stays {
				if err := tx.Delete(s.key); err != nil {
					return err
				}
				continue
			}
			value, sound, err := readValue(f, s)
			if err != nil {
				return err
			}
			e := bdb.NewEntry(s.key, value).WithMeta(item.UserMeta())
			if all.values++; !sound {
				e.UserMeta |= wasDamaged
				if all.damaged++; all.damaged == 1 {
					all.first = s.at.offset
				}
			}
			if err := tx.SetEntry(e); err != nil {
				return err
			}
		}
		return nil
	})
}

// stays tells whether a value belongs to anything. A record and its entry come and go together;
// collections of Badger have brought back records alone.
func (l *Log) stays(tx *bdb.Txn, key []byte) (bool, error) {
	if key[0] != l.o.Record {
		return true, nil
	}
	_, err := tx.Get(append([]byte{l.o.Entry}, key[1:]...))
	if errors.Is(err, bdb.ErrKeyNotFound) {
		return false, nil
	}
	return err == nil, err
}
