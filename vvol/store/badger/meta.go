package badger

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"

	bdb "github.com/dgraph-io/badger/v4"

	"vvsim/vvol/store"
)

// meta implements store.Meta. Updates run one after the other; the sync that makes
// them durable is shared by those that wait for it.
type meta struct {
	e      *Engine
	mu     sync.Mutex
	closed atomic.Bool
}

func (m *meta) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed.Store(true)
}

// View implements store.Meta.
func (m *meta) View(_ context.Context, f func(store.MetaTx) error) error {
	if m.closed.Load() || m.e.closed.Load() {
		return store.ErrUnavailable
	}
	tx := m.e.db.NewTransaction(false)
	defer tx.Discard()
	t := &metaTx{tx: tx, readOnly: true}
	return errors.Join(f(t), t.err)
}

// Update implements store.Meta.
func (m *meta) Update(ctx context.Context, f func(store.MetaTx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := m.commit(f); err != nil {
		return err
	}
	return m.e.sync.sync()
}

func (m *meta) commit(f func(store.MetaTx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed.Load() || m.e.closed.Load() {
		return store.ErrUnavailable
	}
	if err := m.e.room(); err != nil {
		return err
	}
	return m.e.write(func(tx *bdb.Txn) error {
		t := &metaTx{tx: tx}
		return errors.Join(f(t), t.err)
	})
}

// metaTx is one transaction; keys stand behind keyMeta.
type metaTx struct {
	tx       *bdb.Txn
	readOnly bool
	err      error // of a Scan, which has no other way to tell
}

func metaKey(key []byte) []byte { return append([]byte{keyMeta}, key...) }

func (t *metaTx) Get(key []byte) ([]byte, error) {
	item, err := t.tx.Get(metaKey(key))
	if errors.Is(err, bdb.ErrKeyNotFound) {
		return nil, fmt.Errorf("%w: %q", store.ErrNotFound, key)
	}
	if err != nil {
		return nil, translate(err)
	}
	return item.ValueCopy(nil)
}

func (t *metaTx) check(key, value []byte) error {
	if t.readOnly || len(key) == 0 || len(key) > store.MaxMetaKey || len(value) > store.MaxMetaValue {
		return fmt.Errorf("%w: key of %d bytes, value of %d", store.ErrInvalid, len(key), len(value))
	}
	return nil
}

func (t *metaTx) Set(key, value []byte) error {
	if err := t.check(key, value); err != nil {
		return err
	}
	return translate(t.tx.Set(metaKey(key), value))
}

func (t *metaTx) Delete(key []byte) error {
	if err := t.check(key, nil); err != nil {
		return err
	}
	return translate(t.tx.Delete(metaKey(key)))
}

func (t *metaTx) Scan(prefix []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		o := bdb.DefaultIteratorOptions
		o.Prefix = metaKey(prefix)
		it := t.tx.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			value, err := it.Item().ValueCopy(nil)
			if err != nil {
				t.err = fmt.Errorf("badger: row %q: %w", it.Item().Key(), err)
				return
			}
			if !yield(it.Item().Key()[1:], value) {
				return
			}
		}
	}
}
