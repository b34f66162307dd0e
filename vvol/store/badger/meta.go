package badger

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	bdb "github.com/dgraph-io/badger/v4"

	"vvsim/vvol/store"
	"vvsim/vvol/store/badger/inuse"
	"vvsim/vvol/store/badger/journal"
	"vvsim/vvol/store/badger/rows"
)

// meta implements store.Meta. Updates are appended to the journal one after the other.
// Who reads waits for the rows that Badger lacks; the control plane keeps the catalog in
// memory, and reads when it starts.
type meta struct {
	e     *Engine
	mu    sync.Mutex
	reads inuse.Grace // what a transaction may read stays where it is as long as it lasts
}

// View implements store.Meta.
func (m *meta) View(_ context.Context, f func(store.MetaTx) error) error {
	t := &metaTx{e: m.e, readOnly: true}
	return m.run(t, f)
}

// Update implements store.Meta.
func (m *meta) Update(ctx context.Context, f func(store.MetaTx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	changed, err := m.append(f)
	if err != nil || !changed {
		return err
	}
	return m.e.settle()
}

// append runs f and appends what it set.
func (m *meta) append(f func(store.MetaTx) error) (changed bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &metaTx{e: m.e}
	if err := m.run(t, f); err != nil || len(t.rows) == 0 {
		return false, err
	}
	return true, m.e.committer.call(func() error {
		err := m.e.awaitRowRoom()
		if err == nil {
			_, err = m.e.appendRows(rowChange{rows: t.rows})
		}
		return err
	})
}

func (m *meta) run(t *metaTx, f func(store.MetaTx) error) error {
	if err := m.e.enter(); err != nil {
		return err
	}
	defer m.e.use.RUnlock()
	defer t.discard()
	return errors.Join(f(t), t.err)
}

// metaTx is one transaction; keys stand behind keyMeta.
type metaTx struct {
	e        *Engine
	tx       *bdb.Txn // of reads, from the first one on: it holds rows too
	end      func()   // of the reads
	readOnly bool
	rows     []journal.Row // what was set and deleted, in order
	size     int           // bytes of rows
	err      error         // of a Scan, which has no other way to tell
}

// reader returns a transaction of Badger that sees all rows.
func (t *metaTx) reader() (*bdb.Txn, error) {
	if t.tx != nil {
		return t.tx, nil
	}
	if err := t.e.finish(t.e.rows.Newest()); err != nil {
		return nil, err
	}
	t.end = t.e.meta.reads.Begin()
	t.tx = t.e.db.NewTransaction(!t.readOnly)
	return t.tx, translate(rows.Write(t.tx, t.rows))
}

func (t *metaTx) discard() {
	if t.tx != nil {
		t.tx.Discard()
		t.end()
	}
}

func metaKey(key []byte) []byte { return append([]byte{keyMeta}, key...) }

func (t *metaTx) Get(key []byte) ([]byte, error) {
	tx, err := t.reader()
	if err != nil {
		return nil, err
	}
	value, err := t.e.values.Get(tx, metaKey(key))
	if errors.Is(err, bdb.ErrKeyNotFound) {
		return nil, fmt.Errorf("%w: %q", store.ErrNotFound, key)
	}
	return value, translate(err)
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
	return t.note(journal.Row{Key: metaKey(key), Value: append([]byte{}, value...)})
}

func (t *metaTx) Delete(key []byte) error {
	if err := t.check(key, nil); err != nil {
		return err
	}
	return t.note(journal.Row{Key: metaKey(key)})
}

// note remembers a change.
func (t *metaTx) note(r journal.Row) error {
	if t.size += len(r.Key) + len(r.Value) + rowOverhead; t.size > maxRows {
		return fmt.Errorf("%w: %d bytes", store.ErrTooBig, t.size)
	}
	t.rows = append(t.rows, r)
	if t.tx == nil {
		return nil
	}
	return translate(rows.Write(t.tx, t.rows[len(t.rows)-1:]))
}

func (t *metaTx) Scan(prefix []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		tx, err := t.reader()
		if err != nil {
			t.err = err
			return
		}
		o := bdb.DefaultIteratorOptions
		o.PrefetchValues, o.Prefix = false, metaKey(prefix)
		it := tx.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			value, err := t.e.values.Row(it.Item())
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
