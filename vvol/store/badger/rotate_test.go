package badger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	bdb "github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"
)

// rotatedRow is row n of TestKillRotating, of 64 in turn.
func rotatedRow(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{keyMeta}, n%64) }

// rotate is the child of TestKillRotating. It writes rows and syncs Badger's files, so
// that logs of memory tables are begun, marked and deleted all the time.
func rotate(dir string, tell func(string), _ func()) error {
	e, err := Open(context.Background(), small(dir))
	if err != nil {
		return err
	}
	var written atomic.Uint64 // rows that were
	failed := make(chan error, 1)
	go func() {
		value := make([]byte, valueThreshold-1)
		for n := uint64(0); ; n++ {
			binary.BigEndian.PutUint64(value, n)
			if err := e.write(func(tx *bdb.Txn) error { return tx.Set(rotatedRow(n), value) }); err != nil {
				failed <- err
				return
			}
			written.Store(n)
		}
	}()
	for {
		n := written.Load()
		if err := e.files.Sync(); err != nil {
			return err
		}
		tell(fmt.Sprint(n))
		select {
		case err := <-failed:
			return err
		default:
		}
	}
}

// TestKillRotating kills a process at any moment from its start on while Badger begins and
// deletes logs of memory tables: the directory is never refused, and holds what was synced.
// It was seen to fail with a log that is gone taken for damaged in Directory.checkTableLog; rarer
// moments are those of TestCheckFlushedLogs.
func TestKillRotating(t *testing.T) {
	const kills = 25
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir, opened := t.TempDir(), 0
	for range kills {
		a := startActor(t, "rotate", dir)
		killer := time.AfterFunc(time.Duration(random.IntN(150+450*random.IntN(2)))*time.Millisecond, func() { _ = a.cmd.Process.Kill() })
		told := ""
		for a.lines.Scan() {
			told = a.lines.Text()
		}
		killer.Stop()
		require.ErrorContains(t, a.cmd.Wait(), "killed", "the child was to be killed")
		if random.IntN(2) == 0 {
			continue // and the next one opens the directory
		}
		e, err := Open(t.Context(), small(dir))
		require.NoError(t, err)
		if told != "" {
			opened++
			require.NoError(t, e.db.View(func(tx *bdb.Txn) error {
				var n uint64
				_, err := fmt.Sscan(told, &n)
				item, got := tx.Get(rotatedRow(n))
				if err = errors.Join(err, got); err != nil {
					return err
				}
				return item.Value(func(b []byte) error {
					require.GreaterOrEqual(t, binary.BigEndian.Uint64(b), n)
					return nil
				})
			}))
		}
		require.NoError(t, e.Close())
	}
	require.Positive(t, opened)
}
