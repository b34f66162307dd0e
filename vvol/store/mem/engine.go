package mem

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"vvsim/vvol/store"
)

const (
	blockSize   = 4096
	maxTransfer = 4 << 20
	maxDepth    = 320 // as the other engine
	maxSize     = 64 << 40
	maxSnapshot = 256
)

// Engine implements store.Engine in memory.
type Engine struct {
	mu      sync.RWMutex // guards all below and every volume and layer
	closed  bool
	volumes map[store.ID]*volume
	layers  int
	pools   map[store.Pool]uint64 // bytes held
	limits  map[store.Pool]uint64
	meta    *meta
	counts  counters
}

// volume is one row. Guarded by Engine.mu.
type volume struct {
	id       store.ID
	size     uint64
	head     *layer
	pool     store.Pool
	readOnly bool
	gone     bool
	family   *family
	origin   store.ID // of a snapshot or clone, for idempotence
}

// family is all that descend from one created volume.
type family struct{ members map[*volume]struct{} }

// New returns an empty engine.
func New() *Engine {
	return &Engine{volumes: map[store.ID]*volume{}, pools: map[store.Pool]uint64{}, limits: map[store.Pool]uint64{}, meta: &meta{}}
}

// Limits implements store.Engine.
func (e *Engine) Limits() store.Limits {
	return store.Limits{BlockSize: blockSize, MaxTransfer: maxTransfer, AtomicWrite: maxTransfer, MaxUnmap: maxSize,
		MaxSize: maxSize, MaxDepth: maxDepth, MaxSnapshot: maxSnapshot, Sync: true}
}

// Meta implements store.Engine.
func (e *Engine) Meta() store.Meta { return e.meta }

// lookup returns a volume. Called with mu held.
func (e *Engine) lookup(id store.ID) (*volume, error) {
	if e.closed {
		return nil, store.ErrUnavailable
	}
	v := e.volumes[id]
	if v == nil {
		return nil, fmt.Errorf("%w: %v", store.ErrNotFound, id)
	}
	return v, nil
}

func checkSize(size uint64) error {
	if size == 0 || size%blockSize != 0 || size > maxSize {
		return fmt.Errorf("%w: size %d is not a multiple of %d up to %d", store.ErrInvalid, size, blockSize, uint64(maxSize))
	}
	return nil
}

// add makes a volume above parent. Called with mu held.
func (e *Engine) add(v volume, parent *layer) {
	e.push(&v, parent)
	e.volumes[v.id] = &v
	v.family.members[&v] = struct{}{}
}

// Create implements store.Engine.
func (e *Engine) Create(ctx context.Context, id store.ID, o store.CreateOptions) error {
	if err := checkSize(o.Size); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if old, err := e.lookup(id); err == nil {
		if old.origin == (store.ID{}) && old.size == o.Size && old.pool == o.Pool {
			return nil
		}
		return fmt.Errorf("%w: %v", store.ErrExists, id)
	} else if e.closed {
		return err
	}
	e.add(volume{id: id, size: o.Size, pool: o.Pool, family: &family{map[*volume]struct{}{}}}, nil)
	return nil
}

// Open implements store.Engine.
func (e *Engine) Open(_ context.Context, id store.ID) (store.Object, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	v, err := e.lookup(id)
	if err != nil {
		return nil, err
	}
	return &object{e: e, v: v}, nil
}

// Delete implements store.Engine.
func (e *Engine) Delete(_ context.Context, id store.ID) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return store.ErrUnavailable
	}
	v := e.volumes[id]
	if v == nil {
		return nil
	}
	v.gone, v.head.volume = true, nil
	delete(e.volumes, id)
	delete(v.family.members, v)
	e.release(v.head)
	return nil
}

// fork checks one step of Snapshot or Clone: exists tells that dst is there with
// the same origin. Called with mu held.
func (e *Engine) fork(src, dst store.ID) (v *volume, exists bool, err error) {
	if v, err = e.lookup(src); err != nil {
		return nil, false, err
	}
	if old := e.volumes[dst]; old != nil {
		if old.origin == src {
			return v, true, nil
		}
		return nil, false, fmt.Errorf("%w: %v", store.ErrExists, dst)
	}
	if n := v.head.depth(); n >= maxDepth {
		return nil, false, fmt.Errorf("%w: %v has %d layers", store.ErrTooDeep, src, n)
	}
	return v, false, nil
}

// freeze puts a new head above the present one of v and returns what was frozen.
func (e *Engine) freeze(v *volume) *layer {
	frozen := v.head
	if len(frozen.blocks) == 0 && frozen.parent != nil {
		// An empty head would only make the chain longer.
		return frozen.parent
	}
	frozen.volume = nil
	e.push(v, frozen)
	return frozen
}

// Snapshot implements store.Engine.
func (e *Engine) Snapshot(_ context.Context, specs []store.SnapshotSpec) error {
	if len(specs) == 0 || len(specs) > maxSnapshot {
		return fmt.Errorf("%w: %d snapshots at once", store.ErrInvalid, len(specs))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var todo []store.SnapshotSpec
	for i, s := range specs {
		_, exists, err := e.fork(s.Source, s.Snapshot)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(specs[:i], func(o store.SnapshotSpec) bool { return o.Snapshot == s.Snapshot }) {
			return fmt.Errorf("%w: %v stands twice", store.ErrInvalid, s.Snapshot)
		}
		if !exists {
			todo = append(todo, s)
		}
	}
	for _, s := range todo {
		v := e.volumes[s.Source]
		e.add(volume{id: s.Snapshot, size: v.size, pool: v.pool, readOnly: !s.Writable, family: v.family, origin: s.Source}, e.freeze(v))
	}
	return nil
}

// Clone implements store.Engine.
func (e *Engine) Clone(_ context.Context, src, dst store.ID, pool store.Pool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	v, exists, err := e.fork(src, dst)
	if err != nil || exists {
		return err
	}
	e.add(volume{id: dst, size: v.size, pool: pool, family: v.family, origin: src}, e.freeze(v))
	return nil
}

// Revert implements store.Engine.
func (e *Engine) Revert(_ context.Context, id, snapshot store.ID) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	v, err := e.lookup(id)
	if err != nil {
		return err
	}
	s, err := e.lookup(snapshot)
	if err != nil {
		return err
	}
	switch {
	case v.family != s.family:
		return fmt.Errorf("%w: %v is no relative of %v", store.ErrInvalid, snapshot, id)
	case v == s:
		return nil
	case s.head.depth() >= maxDepth:
		return fmt.Errorf("%w: %v has %d layers", store.ErrTooDeep, snapshot, maxDepth)
	}
	old := v.head
	old.volume = nil
	e.push(v, e.freeze(s))
	v.size = s.size
	e.release(old)
	return nil
}

// Resize implements store.Engine.
func (e *Engine) Resize(_ context.Context, id store.ID, size uint64) error {
	if err := checkSize(size); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	v, err := e.lookup(id)
	if err != nil {
		return err
	}
	if v.readOnly && size != v.size {
		return store.ErrReadOnly
	}
	if size < v.size {
		e.discard(v, size/blockSize, v.size/blockSize)
	}
	v.size = size
	return nil
}

// Stat implements store.Engine.
func (e *Engine) Stat(_ context.Context, id store.ID) (store.Info, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	v, err := e.lookup(id)
	if err != nil {
		return store.Info{}, err
	}
	i := store.Info{Size: v.size, InPlace: v.head.held(), ReadOnly: v.readOnly, Depth: v.head.depth(), Pool: v.pool}
	for _, n := range e.numbers(v) {
		b := v.head.find(n)
		if b == nil {
			continue
		}
		i.Allocated += blockSize
		if !e.shared(v, n, b) {
			i.Unshared += blockSize
		}
	}
	return i, nil
}

// numbers lists, in order, all blocks that a layer of v's chain maps.
func (e *Engine) numbers(v *volume) []uint64 {
	seen := map[uint64]struct{}{}
	for l := range v.head.chain {
		for n := range l.blocks {
			seen[n] = struct{}{}
		}
	}
	all := make([]uint64, 0, len(seen))
	for n := range seen {
		all = append(all, n)
	}
	slices.Sort(all)
	return all
}

// shared tells whether another volume sees b as its block n.
func (e *Engine) shared(v *volume, n uint64, b *block) bool {
	if _, own := v.head.blocks[n]; own {
		return false
	}
	for o := range v.family.members {
		if o != v && n < o.size/blockSize && o.head.find(n) == b {
			return true
		}
	}
	return false
}

// Volumes implements store.Engine.
func (e *Engine) Volumes(context.Context) ([]store.ID, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.closed {
		return nil, store.ErrUnavailable
	}
	ids := make([]store.ID, 0, len(e.volumes))
	for id := range e.volumes {
		ids = append(ids, id)
	}
	return ids, nil
}

// SetPool implements store.Engine.
func (e *Engine) SetPool(_ context.Context, id store.ID, pool store.Pool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	v, err := e.lookup(id)
	if err != nil || v.pool == pool {
		return err
	}
	held := v.head.held()
	e.pools[v.head.pool] -= held
	e.pools[pool] += held
	if l := e.limits[v.head.pool]; l > 0 {
		e.limits[v.head.pool] = max(l, held+1) - held
	}
	if e.limits[pool] > 0 {
		e.limits[pool] += held
	}
	v.pool, v.head.pool = pool, pool
	return nil
}

// SetPoolLimit implements store.Engine.
func (e *Engine) SetPoolLimit(pool store.Pool, bytes uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.limits[pool] = bytes
}

// PoolUsage implements store.Engine.
func (e *Engine) PoolUsage(pool store.Pool) uint64 {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.pools[pool]
}

// Metrics implements store.Engine.
func (e *Engine) Metrics() store.Metrics {
	e.mu.RLock()
	defer e.mu.RUnlock()
	m := e.counts.metrics()
	for _, n := range e.pools {
		m.Live += n
	}
	m.Volumes, m.Layers = len(e.volumes), e.layers
	return m
}

// Close implements store.Engine.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	e.meta.close()
	return nil
}

var _ store.Engine = (*Engine)(nil)
