package lock

import (
	"context"
	"slices"
	"strings"
	"sync"
)

// Table holds one lock per name, made when wanted and dropped when nobody
// holds or awaits it. Several names are taken in order, so that no two callers wait
// for each other. The zero value is ready.
type Table struct {
	mu    sync.Mutex // guards the map and refs
	locks map[string]*entry
}

type entry struct {
	refs int
	held chan struct{} // full while held
}

// Acquire locks all names, each once, or none when ctx ends first.
func (t *Table) Acquire(ctx context.Context, names ...string) (release func(), err error) {
	names = slices.Clone(names)
	slices.SortFunc(names, strings.Compare)
	names = slices.Compact(names)
	held := 0
	release = func() {
		for _, n := range names[:held] {
			t.release(n, true)
		}
	}
	for _, n := range names {
		l := t.ref(n)
		select {
		case l.held <- struct{}{}:
			held++
		case <-ctx.Done():
			t.release(n, false)
			release()
			return nil, ctx.Err()
		}
	}
	return release, nil
}

// Try locks a name when nobody holds it.
func (t *Table) Try(name string) (release func(), ok bool) {
	l := t.ref(name)
	select {
	case l.held <- struct{}{}:
		return func() { t.release(name, true) }, true
	default:
		t.release(name, false)
		return nil, false
	}
}

func (t *Table) ref(name string) *entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.locks[name]
	if l == nil {
		l = &entry{held: make(chan struct{}, 1)}
		if t.locks == nil {
			t.locks = map[string]*entry{}
		}
		t.locks[name] = l
	}
	l.refs++
	return l
}

func (t *Table) release(name string, held bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.locks[name]
	if held {
		<-l.held
	}
	if l.refs--; l.refs == 0 {
		delete(t.locks, name)
	}
}
