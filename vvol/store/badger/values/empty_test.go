package values

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	bdb "github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vvsim/vvol/store/badger/files"
)

// versions are those of the values that mixed wrote.
func versions(t *testing.T, db *bdb.DB) (all []uint64) {
	require.NoError(t, db.View(func(tx *bdb.Txn) error {
		for i := range 100 {
			item, err := tx.Get([]byte{'v', byte(i)})
			require.NoError(t, err)
			all = append(all, item.Version())
		}
		return nil
	}))
	return all
}

// TestEmpty collects a file in which values live: they are moved in their versions, so that a
// view from before finds them as well, and Badger reads nothing of the file. It notices a Badger
// whose files or statistics have another format, or that chooses otherwise.
func TestEmpty(t *testing.T) {
	db, l, d, warned := openHeard(t, t.TempDir())
	mixed(t, db)
	before := versions(t, db)
	view := db.NewTransaction(false)
	defer view.Discard()
	untilGone(t, d, func() (Collected, error) {
		c, err := l.Collect(0.1, never, atOnce)
		if c.Files > 0 {
			require.Zero(t, l.o.Rewrites.entries, "Badger has read the file")
		}
		return c, err
	})
	requireValues(t, db, -1)
	require.Equal(t, before, versions(t, db))
	item, err := view.Get([]byte{'v', 99})
	require.NoError(t, err)
	require.NoError(t, item.Value(func(v []byte) error { require.Equal(t, valueOf(99), v); return nil }))
	require.Empty(t, *warned)
}

// TestLeaveLogs does so without touching the file: Badger reads all of it and finds nothing.
func TestLeaveLogs(t *testing.T) {
	db, l, d, _ := openHeard(t, t.TempDir())
	l.o.End = false
	mixed(t, db)
	untilGone(t, d, func() (Collected, error) {
		before, err := os.ReadFile(d.ValueLog(1))
		require.NoError(t, err)
		c, err := l.Collect(0.1, never, func(values int64, f func() error) error {
			err := f()
			if after, gone := os.ReadFile(d.ValueLog(1)); gone == nil {
				require.Equal(t, before[:files.LogHeader+files.MaxEntryHeader], after[:files.LogHeader+files.MaxEntryHeader])
			}
			return err
		})
		if c.Files > 0 {
			require.Positive(t, l.o.Rewrites.entries)
		}
		return c, err
	})
	requireValues(t, db, -1)
}

// TestEndedBeforeCrash opens a directory whose process ended between the end of a log and its
// deletion: nothing is missed, and the log is collected.
func TestEndedBeforeCrash(t *testing.T) {
	dir := t.TempDir()
	db, l, d, _ := openHeard(t, dir)
	mixed(t, db)
	for tries := 0; l.ended == 0; tries++ {
		require.Less(t, tries, 100)
		require.NoError(t, l.fillTable(atOnce, false))
		require.NoError(t, db.Flatten(1))
		s, err := l.survey(0.1)
		require.NoError(t, err)
		if _, err := l.empty(0.1, s); err != nil {
			require.ErrorIs(t, err, bdb.ErrNoRewrite)
		}
	}
	require.FileExists(t, d.ValueLog(1))
	copied := t.TempDir()
	require.NoError(t, os.CopyFS(copied, os.DirFS(dir)))
	db, l, d, _ = openHeard(t, copied)
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
	header := func() []byte {
		b, err := os.ReadFile(d.ValueLog(1))
		require.NoError(t, err)
		return b[:files.LogHeader+files.MaxEntryHeader]
	}
	before := header()
	require.NoError(t, os.Mkdir(dir+"/synced", 0o700)) // where a sync notes how far it reached
	for tries, err := 0, error(nil); err == nil; tries++ {
		require.Less(t, tries, 100)
		_, err = l.Collect(0.1, never, atOnce)
	}
	require.Equal(t, before, header())
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
