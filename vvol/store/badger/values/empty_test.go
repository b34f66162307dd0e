package values

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	bdb "github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEmpty collects a file in which values live: they are moved, and Badger reads nothing of
// the file. Before it goes, who reads in a view from before is waited for, and has read
// all as it was, also what was replaced. It notices a Badger whose files or statistics have
// another format, or that chooses otherwise. It was seen to fail with move, and with Moved, left out of
// moveAll, and with EndLog left out of end.
func TestEmpty(t *testing.T) {
	db, l, d, warned := openHeard(t, t.TempDir())
	mixed(t, db)
	view := db.NewTransaction(false)
	require.NoError(t, db.Update(func(tx *bdb.Txn) error { return tx.Set([]byte{'v', 5}, valueOf(5)) }))
	require.NoError(t, db.Update(func(tx *bdb.Txn) error { return tx.Delete([]byte{'w'}) }))
	waited := false
	l.o.Moved = func() {
		require.FileExists(t, d.ValueLog(1))
		for i := range 100 {
			item, err := view.Get([]byte{'v', byte(i)})
			require.NoError(t, err)
			require.NoError(t, item.Value(func(v []byte) error { require.Equal(t, valueOf(i), v); return nil }))
		}
		waited = true
	}
	untilGone(t, d, func() (Collected, error) {
		waited = false
		c, err := l.Collect(0.1, never, atOnce)
		if c.Files > 0 {
			require.True(t, waited)
			require.Zero(t, l.o.Rewrites.entries, "Badger has read the file")
		}
		return c, err
	})
	view.Discard()
	l.o.Moved = func() {}
	requireValues(t, db, -1)
	require.Empty(t, *warned)
}

// emptied has what lives in the first file moved, and the file ended if that is wanted.
func emptied(t *testing.T, db *bdb.DB, l *Log) {
	for tries := 0; ; tries++ {
		require.Less(t, tries, 100)
		require.NoError(t, l.fillTable(atOnce, false))
		require.NoError(t, db.Flatten(1))
		s, err := l.survey(0.1)
		require.NoError(t, err)
		_, err = l.empty(0.1, s)
		if err == nil {
			return
		}
		require.ErrorIs(t, err, bdb.ErrNoRewrite)
	}
}

// TestLeaveLogs collects without touching the file: Badger reads all of it and finds nothing.
func TestLeaveLogs(t *testing.T) {
	db, l, d, _ := openHeard(t, t.TempDir())
	mixed(t, db)
	before, err := os.ReadFile(d.ValueLog(1))
	require.NoError(t, err)
	for _, end := range []bool{false, true} {
		l.o.End = end
		emptied(t, db, l)
		after, err := os.ReadFile(d.ValueLog(1))
		require.NoError(t, err)
		require.Equal(t, !end, bytes.Equal(before, after))
		require.Equal(t, end, l.ended == 1)
	}
	require.NoError(t, os.WriteFile(d.ValueLog(1), before, 0o600))
	l.o.End, l.ended = false, 0
	untilGone(t, d, func() (Collected, error) {
		c, err := l.Collect(0.1, never, atOnce)
		if c.Files > 0 {
			require.Positive(t, l.o.Rewrites.entries)
		}
		return c, err
	})
	requireValues(t, db, -1)
}

// TestStrayRecord collects a record without an entry: it is not moved, and one with an entry is.
func TestStrayRecord(t *testing.T) {
	db, l, d, _ := openHeard(t, t.TempDir())
	require.NoError(t, db.Update(func(tx *bdb.Txn) error {
		return errors.Join(tx.Set([]byte("r1"), make([]byte, 8000)), tx.Set([]byte("r2"), make([]byte, 8000)), tx.Set([]byte("e2"), []byte{1}))
	}))
	mixed(t, db)
	collectAll(t, l, d)
	require.NoError(t, db.View(func(tx *bdb.Txn) error {
		_, err := tx.Get([]byte("r1"))
		require.ErrorIs(t, err, bdb.ErrKeyNotFound)
		item, err := tx.Get([]byte("r2"))
		require.NoError(t, err)
		return item.Value(func(v []byte) error { require.Len(t, v, 8000); return nil })
	}))
}

// TestEndedBeforeCrash opens a directory whose process ended between the end of a log and its
// deletion: nothing is missed, and the log is collected. It was seen to fail with move left out of
// moveAll.
func TestEndedBeforeCrash(t *testing.T) {
	dir := t.TempDir()
	db, l, d, _ := openHeard(t, dir)
	mixed(t, db)
	emptied(t, db, l)
	require.EqualValues(t, 1, l.ended)
	require.FileExists(t, d.ValueLog(1))
	db, l, d, _ = openHeard(t, atRest(t, dir))
	requireValues(t, db, -1)
	collectAll(t, l, d)
	requireValues(t, db, -1)
}

// TestNotEndedUnsynced cannot put on stable storage what replaced the values of a log: the log stays
// as it is, until it can be. It was seen to fail with the sync left out of end.
func TestNotEndedUnsynced(t *testing.T) {
	dir := t.TempDir()
	db, l, d, _ := openHeard(t, dir)
	mixed(t, db)
	content := func() []byte {
		b, err := os.ReadFile(d.ValueLog(1))
		require.NoError(t, err)
		return b
	}
	before := content()
	require.NoError(t, os.Mkdir(dir+"/synced", 0o700)) // where a sync notes how far it reached
	for tries, err := 0, error(nil); err == nil; tries++ {
		require.Less(t, tries, 100)
		_, err = l.Collect(0.1, never, atOnce)
	}
	require.True(t, bytes.Equal(before, content()))
	requireValues(t, db, -1)
	require.NoError(t, os.Remove(dir+"/synced"))
	collectAll(t, l, d)
	requireValues(t, db, -1)
}

// TestDeletedStaysDeleted deletes values beside collections that move them, and merges of the
// tree: none comes back. It was seen to fail, in half of the runs, with Badger
// moving them.
func TestDeletedStaysDeleted(t *testing.T) {
	db, l, _ := open(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	key := func(n int) []byte { return binary.BigEndian.AppendUint32([]byte{'v'}, uint32(n)) }
	write := func(f func(tx *bdb.Txn) error) error {
		l.o.Writing.Lock()
		defer l.o.Writing.Unlock()
		return db.Update(f)
	}
	const keys, live = 4000, 400
	stop := make(chan struct{})
	var collector sync.WaitGroup
	collector.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := l.Collect(0.3, never, atOnce); !assert.NoError(t, err) {
				return
			}
		}
	})
	alive := map[int]bool{}
	for n := range keys {
		alive[n] = true
		require.NoError(t, write(func(tx *bdb.Txn) error { return tx.Set(key(n), make([]byte, 64<<10)) }))
		for len(alive) > live {
			victim := n - r.IntN(2*live)
			if !alive[victim] {
				continue
			}
			delete(alive, victim)
			require.NoError(t, write(func(tx *bdb.Txn) error { return tx.Delete(key(victim)) }))
		}
	}
	close(stop)
	collector.Wait()
	for range 3 {
		_, err := l.Collect(0.3, never, atOnce)
		require.NoError(t, err)
	}
	found := map[int]bool{}
	require.NoError(t, db.View(func(tx *bdb.Txn) error {
		o := bdb.DefaultIteratorOptions
		o.PrefetchValues, o.Prefix = false, []byte{'v'}
		it := tx.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			found[int(binary.BigEndian.Uint32(it.Item().Key()[1:]))] = true
		}
		return nil
	}))
	require.Equal(t, alive, found)
}
