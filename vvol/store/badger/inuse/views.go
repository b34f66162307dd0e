package inuse

import (
	"sync"
	"sync/atomic"

	bdb "github.com/dgraph-io/badger/v4"
)

// View is a read-only transaction that reads share, as beginning one for each costs
// as much as the look-up. Records never change, so that an old view is as good as a
// new one for those that it has; the drainer renews it before the index leads to
// others. A read-only transaction may be used by many at once as long as nobody
// iterates in it.
type View struct {
	Tx    *bdb.Txn
	users atomic.Int64 // and one for being the newest
}

// Views holds the newest view.
type Views struct {
	newest atomic.Pointer[View]
	mu     sync.Mutex // renewals follow each other, so that none brings an older view back
}

// Renew replaces the view by one of what is committed now.
func (p *Views) Renew(db *bdb.DB) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := &View{Tx: db.NewTransaction(false)}
	v.users.Store(1)
	if old := p.newest.Swap(v); old != nil {
		old.Release()
	}
}

// Acquire returns the newest view, to be released.
func (p *Views) Acquire() *View {
	for {
		v := p.newest.Load()
		if n := v.users.Load(); n > 0 && v.users.CompareAndSwap(n, n+1) {
			return v
		}
	}
}

// Release ends the use of a view.
func (v *View) Release() {
	if v.users.Add(-1) == 0 {
		v.Tx.Discard()
	}
}

// Close lets go of the newest view. Nobody may acquire one any more.
func (p *Views) Close() {
	if v := p.newest.Swap(nil); v != nil {
		v.Release()
	}
}
