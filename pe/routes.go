package pe

import (
	"maps"
	"sync"
	"sync/atomic"
)

// routeShards is the number of copy-on-write maps of one table: a change copies
// one of them, so that a host with 16,383 bindings pays for 64.
const routeShards = 256

// routeTable leads numbers to routes. Look-ups take no lock; a change copies the
// shard it touches.
type routeTable struct {
	mu     sync.Mutex // held by changes
	shards [routeShards]atomic.Pointer[map[uint64]*route]
}

func (t *routeTable) get(key uint64) *route {
	if m := t.shards[key%routeShards].Load(); m != nil {
		return (*m)[key]
	}
	return nil
}

// put publishes r and returns what it replaced.
func (t *routeTable) put(key uint64, r *route) (old *route) {
	t.change(key, func(m map[uint64]*route) {
		old = m[key]
		m[key] = r
	})
	return old
}

// remove withdraws the route of key if it is r.
func (t *routeTable) remove(key uint64, r *route) {
	t.change(key, func(m map[uint64]*route) {
		if m[key] == r {
			delete(m, key)
		}
	})
}

func (t *routeTable) change(key uint64, edit func(map[uint64]*route)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	shard := &t.shards[key%routeShards]
	m := map[uint64]*route{}
	if old := shard.Load(); old != nil {
		m = maps.Clone(*old)
	}
	edit(m)
	shard.Store(&m)
}

// all yields every route, in no order.
func (t *routeTable) all(yield func(uint64, *route) bool) {
	for i := range t.shards {
		m := t.shards[i].Load()
		if m == nil {
			continue
		}
		for k, r := range *m {
			if !yield(k, r) {
				return
			}
		}
	}
}

// subsidiaryKey is the key of a binding in a host's table: the protocol
// endpoint's LUN (14 bits) above the subsidiary id (40 bits).
func subsidiaryKey(peLUN uint16, secondary uint64) uint64 {
	return uint64(peLUN)<<40 | secondary
}
