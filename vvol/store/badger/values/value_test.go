package values

import (
	"bytes"
	"reflect"
	"testing"

	bdb "github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"vvsim/vvol/store/badger/files"
)

// overwrite puts bytes over those of a file, so many in front of the value of a key.
func overwrite(t *testing.T, d *files.Directory, key, before int, with []byte) {
	b, f := opened(t, d)
	defer f.Close()
	i := bytes.Index(b, valueOf(key))
	require.Positive(t, i)
	_, err := f.WriteAt(with, int64(i-before))
	require.NoError(t, err)
}

// free tells whether nobody holds the lock of the first value log, and lets go of it, so that a
// test that fails ends.
func free(db *bdb.DB) bool {
	log := mutex(reflect.ValueOf(db).Elem().FieldByName("vlog").FieldByName("filesMap").MapIndex(reflect.ValueOf(uint32(1))).Elem(), "lock")
	if log.TryLock() {
		log.Unlock()
		return true
	}
	log.RUnlock()
	return false
}

// TestDamagedLengths damages the lengths in front of a value, in all the ways in which Badger
// tells it apart: it gives the value up, once without letting go of the log, twice in a panic.
// The log is not locked afterwards, so that it can be collected, all other values are
// read, and the database ends. It was seen to fail with the call of unlock taken out of Locks.Errorf,
// and out of Value.
func TestDamagedLengths(t *testing.T) {
	const keyLength, header = 2 + files.VersionLength, 2 + 1 + 3 + 1
	for name, lengths := range map[string][]byte{
		"too long":    {keyLength, 0xff, 0xff, 0x7f, 0},
		"no number":   bytes.Repeat([]byte{0xff}, 30),
		"overflowing": {0xff, 0xff, 0xff, 0xff, 0x0f, 1, 0},
		"too short":   {keyLength, 1, 0, 0, 0},
		"zeros":       make([]byte, 8),
	} {
		t.Run(name, func(t *testing.T) {
			db, l, d := open(t)
			mixed(t, db)
			overwrite(t, d, 7, header-2+keyLength, lengths)
			read := func(key int) (value []byte, err error) {
				return value, db.View(func(tx *bdb.Txn) error {
					item, err := tx.Get([]byte{'v', byte(key)})
					require.NoError(t, err)
					return Value(item, func(b []byte) error { value = bytes.Clone(b); return nil })
				})
			}
			for range 3 {
				value, err := read(7)
				if err != nil {
					require.ErrorIs(t, err, ErrDamaged)
				}
				require.Less(t, len(value), 1000)
				require.True(t, free(db))
			}
			for key := range 100 {
				if key != 7 {
					value, err := read(key)
					require.NoError(t, err)
					require.True(t, bytes.Equal(valueOf(key), value), "value %d", key)
				}
			}
			collectAll(t, l, d)
		})
	}
}

// TestPanickingReader has a reader of values panic, which is no damage: Badger lets go of its lock by
// itself, and the panic is the reader's.
func TestPanickingReader(t *testing.T) {
	db, _, _ := open(t)
	mixed(t, db)
	require.NoError(t, db.View(func(tx *bdb.Txn) error {
		item, err := tx.Get([]byte{'v', 1})
		require.NoError(t, err)
		require.PanicsWithValue(t, "mine", func() { _ = Value(item, func([]byte) error { panic("mine") }) })
		require.True(t, free(db))
		return nil
	}))
}

// TestRow flips a bit of a row that lies in the value log: it is damaged, there and
// where a collection moves it. It was seen to fail without the comparison in Row, and without the mark in move.
func TestRow(t *testing.T) {
	db, l, d := open(t)
	mixed(t, db)
	require.NoError(t, db.Update(func(tx *bdb.Txn) error { return tx.Set([]byte("small"), []byte("in the tree")) }))
	flip(t, d, 7, 1000)
	rows := func() {
		require.NoError(t, db.View(func(tx *bdb.Txn) error {
			item, err := tx.Get([]byte("small"))
			require.NoError(t, err)
			value, err := l.Row(item)
			require.NoError(t, err)
			require.Equal(t, "in the tree", string(value))
			for i := range 100 {
				item, err := tx.Get([]byte{'v', byte(i)})
				require.NoError(t, err)
				value, err := l.Row(item)
				if i == 7 {
					require.ErrorIs(t, err, ErrDamaged)
					require.ErrorContains(t, err, ".vlog, byte ")
					continue
				}
				require.NoError(t, err)
				require.True(t, bytes.Equal(valueOf(i), value), "value %d", i)
			}
			return nil
		}))
	}
	rows()
	collectAll(t, l, d)
	rows()
}

// TestRestoredRow has a power cut take the place to which a damaged row was moved the second time: what is found
// of it is still damaged. It was seen to fail with what is restored set without its mark.
func TestRestoredRow(t *testing.T) {
	db, l, d := open(t)
	mixed(t, db)
	flip(t, d, 7, 1000)
	collectAll(t, l, d)
	key := []byte{'v', 7}
	requireDamaged := func() {
		require.NoError(t, db.View(func(tx *bdb.Txn) error {
			item, err := tx.Get(key)
			require.NoError(t, err)
			_, err = l.Row(item)
			require.ErrorIs(t, err, ErrDamaged)
			return nil
		}))
	}
	requireDamaged()
	lost, found := map[string]uint64{}, map[string]stray{}
	require.NoError(t, l.each(func(s stray) error {
		if bytes.Equal(s.key, key) {
			lost[string(key)] = s.version
		}
		return nil
	}))
	newest, err := d.NewestValueLog()
	require.NoError(t, err)
	for n := newest; n > 0; n-- {
		require.NoError(t, l.find(n, lost, found))
	}
	require.Contains(t, found, string(key))
	require.NoError(t, l.restoreOne(found[string(key)]))
	requireDamaged()
}
