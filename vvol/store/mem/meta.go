package mem

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"vvsim/vvol/store"
)

// meta implements store.Meta: rows in a map, changes applied when the
// transaction commits.
type meta struct {
	mu     sync.RWMutex
	rows   map[string]string
	closed bool
}

func (m *meta) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
}

// View implements store.Meta.
func (m *meta) View(ctx context.Context, f func(store.MetaTx) error) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return store.ErrUnavailable
	}
	return f(&metaTx{rows: m.rows, readOnly: true})
}

// Update implements store.Meta.
func (m *meta) Update(ctx context.Context, f func(store.MetaTx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return store.ErrUnavailable
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	tx := &metaTx{rows: m.rows, changed: map[string]*string{}}
	if err := f(tx); err != nil {
		return err
	}
	if m.rows == nil {
		m.rows = map[string]string{}
	}
	for k, v := range tx.changed {
		if v == nil {
			delete(m.rows, k)
		} else {
			m.rows[k] = *v
		}
	}
	return nil
}

// metaTx is one transaction: changed overlays rows; nil means deleted.
type metaTx struct {
	rows     map[string]string
	changed  map[string]*string
	readOnly bool
}

func (tx *metaTx) Get(key []byte) ([]byte, error) {
	if v, ok := tx.changed[string(key)]; ok {
		if v == nil {
			return nil, fmt.Errorf("%w: %q", store.ErrNotFound, key)
		}
		return []byte(*v), nil
	}
	v, ok := tx.rows[string(key)]
	if !ok {
		return nil, fmt.Errorf("%w: %q", store.ErrNotFound, key)
	}
	return []byte(v), nil
}

func (tx *metaTx) check(key, value []byte) error {
	if tx.readOnly || len(key) == 0 || len(key) > store.MaxMetaKey || len(value) > store.MaxMetaValue {
		return fmt.Errorf("%w: key of %d bytes, value of %d", store.ErrInvalid, len(key), len(value))
	}
	return nil
}

func (tx *metaTx) Set(key, value []byte) error {
	if err := tx.check(key, value); err != nil {
		return err
	}
	v := string(value)
	tx.changed[string(key)] = &v
	return nil
}

func (tx *metaTx) Delete(key []byte) error {
	if err := tx.check(key, nil); err != nil {
		return err
	}
	tx.changed[string(key)] = nil
	return nil
}

func (tx *metaTx) Scan(prefix []byte) iter.Seq2[[]byte, []byte] {
	seen := map[string]struct{}{}
	for k := range tx.rows {
		if strings.HasPrefix(k, string(prefix)) {
			seen[k] = struct{}{}
		}
	}
	for k := range tx.changed {
		if strings.HasPrefix(k, string(prefix)) {
			seen[k] = struct{}{}
		}
	}
	keys := slices.Sorted(maps.Keys(seen))
	return func(yield func([]byte, []byte) bool) {
		for _, k := range keys {
			if v, err := tx.Get([]byte(k)); err == nil && !yield([]byte(k), v) {
				return
			}
		}
	}
}
