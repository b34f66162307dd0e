package inuse

import (
	"sync"
	"sync/atomic"
	"testing"

	bdb "github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"
)

// TestCalls closes while calls begin and end: none runs when Close has returned, and none
// begins.
func TestCalls(t *testing.T) {
	for range 20 {
		c := NewCalls()
		var running atomic.Int64
		var callers sync.WaitGroup
		started := make(chan struct{}, 4)
		for range 4 {
			callers.Go(func() {
				started <- struct{}{}
				for c.Begin() {
					running.Add(1)
					running.Add(-1)
					c.End()
				}
			})
		}
		for range 4 {
			<-started
		}
		c.Close()
		require.Zero(t, running.Load())
		require.False(t, c.Begin())
		c.Close()
		callers.Wait()
	}
}

// TestCloseWaits holds a call until Close has begun.
func TestCloseWaits(t *testing.T) {
	c := NewCalls()
	require.True(t, c.Begin())
	ended := false
	go func() {
		for c.Begin() { // as long as nobody closes
			c.End()
		}
		ended = true
		c.End()
	}()
	c.Close()
	require.True(t, ended)
}

// TestViews renews from several goroutines: a view that is acquired after a renewal has
// what was committed before it.
func TestViews(t *testing.T) {
	db, err := bdb.Open(bdb.DefaultOptions("").WithInMemory(true).WithLogger(nil))
	require.NoError(t, err)
	defer db.Close()
	var v Views
	v.Renew(db)
	held := v.Acquire()
	var all sync.WaitGroup
	for k := range byte(4) {
		all.Go(func() {
			for n := range byte(50) {
				key := []byte{k, n}
				if err := db.Update(func(tx *bdb.Txn) error { return tx.Set(key, key) }); err != nil {
					t.Error(err)
				}
				v.Renew(db)
				now := v.Acquire()
				if _, err := now.Tx.Get(key); err != nil {
					t.Errorf("key %v: %v", key, err)
				}
				now.Release()
			}
		})
	}
	all.Wait()
	_, err = held.Tx.Get([]byte{0, 0})
	require.ErrorIs(t, err, bdb.ErrKeyNotFound, "as it was then")
	held.Release()
	v.Close()
}
