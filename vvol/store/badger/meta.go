package badger

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	bdb "github.com/dgraph-io/badger/v4"

	"vvsim/vvol/store"
	"vvsim/vvol/store/badger/journal"
)

// meta implements store.Meta. Updates run one after the other. A transaction of
// Badger serves their reads; what they wrote goes through the journal.
type meta struct {
	e  *Engine
	mu sync.Mutex
}

// View implements store.Meta.
func (m *meta) View(_ context.Context, f func(store.MetaTx) error) error {
	if err := m.e.enter(); err != nil {
		return err
	}
	defer m.e.use.RUnlock()
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
	m.mu.Lock()
	defer m.mu.Unlock()
	t, err := m.prepare(f)
	if err != nil || len(t.rows) == 0 {
		return err
	}
	var number uint64
	err = m.e.committer.call(func() (err error) {
		if err = m.e.awaitRowRoom(); err == nil {
			number, err = m.e.appendRows(rowChange{rows: t.rows})
		}
		return err
	})
	if err != nil {
		return err
	}
	return m.e.finish(number)
}

// prepare runs f on what is there and returns what it set.
func (m *meta) prepare(f func(store.MetaTx) error) (*metaTx, error) {
	if err := m.e.enter(); err != nil {
		return nil, err
	}
	defer m.e.use.RUnlock()
	tx := m.e.db.NewTransaction(true)
	defer tx.Discard()
	t := &metaTx{tx: tx}
	return t, errors.Join(f(t), t.err)
}

// metaTx is one transaction; keys stand behind keyMeta.
type metaTx struct {
	tx       *bdb.Txn
	readOnly bool
	rows     []journal.Row // what was set and deleted, in order
	size     int           // bytes of rows
	err      error         // of a Scan, which has no other way to tell
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
	if value == nil {
		value = []byte{}
	}
	return t.note(journal.Row{Key: metaKey(key), Value: value}, t.tx.Set(metaKey(key), value))
}

func (t *metaTx) Delete(key []byte) error {
	if err := t.check(key, nil); err != nil {
		return err
	}
	return t.note(journal.Row{Key: metaKey(key)}, t.tx.Delete(metaKey(key)))
}

// note remembers a change, which err was the answer to. The keys and values of the
// transaction stay what they are until it ends.
func (t *metaTx) note(r journal.Row, err error) error {
	if err != nil {
		return translate(err)
	}
	if t.size += len(r.Key) + len(r.Value) + rowOverhead; t.size > maxRows {
		return fmt.Errorf("%w: %d bytes", store.ErrTooBig, t.size)
	}
	t.rows = append(t.rows, r)
	return nil
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
