package values

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sync"
	"sync/atomic"

	bdb "github.com/dgraph-io/badger/v4"
)

// Badger holds the lock of a value log for reading while it looks at an entry. When the lengths
// in front of the entry are damaged it keeps that lock (valueLog.Read, v4.9.6): it returns without
// the call that lets go of it, or panics. The next collection of the log, and the end of the
// database, would wait for it for ever, and behind them whoever reads from that log. So what it
// kept is given back here, and the damage is a matter of who reads that one value.

// ErrDamaged is a value that is not what was written.
var ErrDamaged = errors.New("damaged in the value log")

// Value calls f with the value of an item as it stands, which is Badger's and is not to be used
// afterwards. Damaged lengths are an empty value, as is a value that was moved or deleted
// meanwhile, or ErrDamaged. Errors besides: those of Badger and of f.
func Value(item *bdb.Item, f func(value []byte) error) (err error) {
	read := false
	defer func() {
		if read {
			return
		}
		if why := recover(); why != nil {
			at, _ := locate(item)
			err = errors.Join(fmt.Errorf("%w: file %d, byte %d: %v", ErrDamaged, at.file, at.offset, why), unlock(item, at.file))
		}
	}()
	return item.Value(func(value []byte) error { read = true; return f(value) })
}

// Row returns the value of an item, which is the caller's, or fails with ErrDamaged. It compares a
// value that lies in the value log with its checksum, which Badger does not: the tree has
// checksums, blocks have their own, and nothing else watches over rows. No collection may have
// begun since the item was looked up.
func (l *Log) Row(item *bdb.Item) ([]byte, error) {
	at, ok := locate(item)
	if !ok {
		return item.ValueCopy(nil)
	}
	f, err := os.Open(l.files.ValueLog(uint64(at.file)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	defer f.Close()
	value, sound, err := readValue(f, stray{item.Key(), at, item.Version()})
	if err == nil && (!sound || item.UserMeta()&wasDamaged != 0) {
		err = fmt.Errorf("%w: %s, byte %d", ErrDamaged, f.Name(), at.offset)
	}
	return value, err
}

// Get looks a key up and returns the value as Row does. Errors besides: those of Badger, also
// bdb.ErrKeyNotFound.
func (l *Log) Get(tx *bdb.Txn, key []byte) ([]byte, error) {
	item, err := tx.Get(key)
	if err != nil {
		return nil, err
	}
	return l.Row(item)
}

// wasDamaged marks, in the byte that Badger keeps for its user, a value that was damaged when it
// was moved: its new checksum is that of what it has become.
const wasDamaged = 1

// pointer is where the tree says that a value lies.
type pointer struct{ file, length, offset uint32 }

// locate tells where the value of an item lies; ok is false when that is in the tree.
// Badger has no name for it.
func locate(item *bdb.Item) (p pointer, ok bool) {
	const inValueLog = 1 << 1
	v := reflect.ValueOf(item).Elem()
	b := v.FieldByName("vptr").Bytes()
	if v.FieldByName("meta").Uint()&inValueLog == 0 || len(b) != 12 {
		return p, false
	}
	return pointer{binary.NativeEndian.Uint32(b), binary.NativeEndian.Uint32(b[4:]), binary.NativeEndian.Uint32(b[8:])}, true
}

// Locks learns what Badger keeps locked, of which it tells its Logger and nobody else, in the
// goroutine that read. Used by any number of goroutines.
type Locks struct{ db atomic.Pointer[bdb.DB] }

// Errorf takes what Badger tells its Logger, and gives back what it kept.
func (l *Locks) Errorf(format string, args ...any) error {
	db := l.db.Load()
	if db == nil || format != "Invalid read: vp: %+v" {
		return nil
	}
	return unlock(db, uint32(reflect.ValueOf(args[0]).FieldByName("Fid").Uint()))
}

// unlock lets go of what a read from a value log kept. Of is the database, or an item of it.
func unlock(of any, file uint32) error {
	db := reflect.ValueOf(of)
	if item, ok := of.(*bdb.Item); ok {
		db = reflect.ValueOf(item).Elem().FieldByName("txn").Elem().FieldByName("db")
	}
	logs := db.Elem().FieldByName("vlog")
	all := mutex(logs, "filesLock")
	all.RLock()
	defer all.RUnlock()
	log := logs.FieldByName("filesMap").MapIndex(reflect.ValueOf(file))
	if !log.IsValid() {
		return fmt.Errorf("value log %d is gone", file)
	}
	mutex(log.Elem(), "lock").RUnlock()
	return nil
}

// mutex is a lock of Badger's by the name of its field.
func mutex(of reflect.Value, name string) *sync.RWMutex {
	return (*sync.RWMutex)(of.FieldByName(name).Addr().UnsafePointer())
}
