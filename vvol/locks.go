package vvol

import (
	"context"
	"slices"
	"strings"
	"sync"
)

// lockTable holds one lock per name, made when wanted and dropped when nobody
// holds or awaits it. Volumes are locked under their id, hosts and containers
// under theirs; several names are taken in order, so that no two callers wait
// for each other. Order between calls: volumes, then a host or container.
type lockTable struct {
	mu    sync.Mutex // guards the map and refs
	locks map[string]*namedLock
}

type namedLock struct {
	refs int
	held chan struct{} // full while held
}

// acquire locks all names, each once, or none when ctx ends first.
func (t *lockTable) acquire(ctx context.Context, names ...string) (release func(), err error) {
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

// try locks a name when nobody holds it.
func (t *lockTable) try(name string) (release func(), ok bool) {
	l := t.ref(name)
	select {
	case l.held <- struct{}{}:
		return func() { t.release(name, true) }, true
	default:
		t.release(name, false)
		return nil, false
	}
}

func (t *lockTable) ref(name string) *namedLock {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.locks[name]
	if l == nil {
		l = &namedLock{held: make(chan struct{}, 1)}
		if t.locks == nil {
			t.locks = map[string]*namedLock{}
		}
		t.locks[name] = l
	}
	l.refs++
	return l
}

func (t *lockTable) release(name string, held bool) {
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

func volumeLock(id ID) string             { return "v" + string(id[:]) }
func hostLock(id HostID) string           { return "h" + string(id) }
func containerLock(id ContainerID) string { return "c" + string(id[:]) }
