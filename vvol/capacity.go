package vvol

import (
	"context"
	"fmt"
	"sync"

	"vvsim/vvol/store"
)

// capacity keeps what thick volumes reserve.
//
// A thin volume draws on its container's pool. A thick volume has a pool of its
// own, so that its share cannot be eaten by others. The share R of such a pool is
// what it holds now plus what its volume may still need to be written everywhere
// once, that is U + size - unshared, with U the pool's usage and unshared the
// bytes that the volume alone holds; R equals the size until something shares its
// blocks. R is the limit of that pool in the engine, and the container's pool is
// limited to the container's size less all R. Snapshots and clones of a thick
// volume therefore need free space at once, as much as they may make it need.
type capacity struct {
	mu     sync.Mutex    // held while shares are changed
	shares map[ID]uint64 // R by pool
}

// unlimitedPool is no limit (store.Engine.SetPoolLimit); a pool without any room
// gets a limit of one byte, as 0 would lift it.
const (
	unlimitedPool = 0
	fullPool      = 1
)

func containerPool(id ContainerID) store.Pool { return store.Pool(id) }

// poolOf is the engine's pool in which a volume's writes count.
func (r *volumeRow) poolOf() store.Pool {
	if r.Pool != (ID{}) {
		return store.Pool(r.Pool)
	}
	return containerPool(r.Container)
}

func (r *volumeRow) thick() bool { return r.Pool == r.ID }

// share measures R of a pool, or what it is to be when all that its volume holds
// becomes shared. A volume that cannot be measured counts as wholly shared.
func (s *Service) share(ctx context.Context, pool ID, becomesShared bool) uint64 {
	var need uint64
	switch row := s.row(pool); {
	case row == nil || row.State == Deleting: // its layers live on in snapshots and clones
	case row.State == Creating:
		return row.Size
	default:
		need = row.Size
		if row.Intent != nil {
			need = max(need, row.Intent.Size)
		}
		info, err := s.options.Engine.Stat(ctx, store.ID(pool))
		if err == nil && !becomesShared {
			need -= min(info.Unshared, need)
		}
	}
	// Usage is read after Unshared: a write in between makes R too large, never too small.
	return s.options.Engine.PoolUsage(store.Pool(pool)) + need
}

// reserve sets the share of a pool to bytes, or refuses with ErrNoSpace and
// changes nothing. It takes the container's lock, so that the container's size
// stays; the caller holds at most volumes.
func (s *Service) reserve(ctx context.Context, container ContainerID, pool ID, bytes uint64) error {
	unlock, err := s.locks.acquire(ctx, containerLock(container))
	if err != nil {
		return err
	}
	defer unlock()
	k, err := s.containerByID(container)
	if err != nil {
		return err
	}
	engine := s.options.Engine
	s.capacity.mu.Lock()
	defer s.capacity.mu.Unlock()
	old, had := s.capacity.shares[pool]
	s.setShare(pool, bytes)
	// The limit comes before the look at what is used: thin writers cannot take
	// the space in between.
	total, fits := s.limitContainer(k.ID, k.Size)
	held := engine.PoolUsage(containerPool(k.ID))
	if bytes <= old || (fits && held <= k.Size-total) {
		engine.SetPoolLimit(store.Pool(pool), max(bytes, fullPool))
		return nil
	}
	if s.setShare(pool, old); !had {
		delete(s.capacity.shares, pool)
	}
	before, _ := s.limitContainer(k.ID, k.Size)
	return fmt.Errorf("%w: %d bytes more to reserve; volumes of container %q hold %d bytes and reserve %d of its %d",
		ErrNoSpace, bytes-old, k.Name, held, before, k.Size)
}

func (s *Service) setShare(pool ID, bytes uint64) {
	if s.capacity.shares == nil {
		s.capacity.shares = map[ID]uint64{}
	}
	s.capacity.shares[pool] = bytes
}

// forget ends the share of a pool.
func (s *Service) forget(container ContainerID, pool ID) {
	s.capacity.mu.Lock()
	defer s.capacity.mu.Unlock()
	delete(s.capacity.shares, pool)
	s.options.Engine.SetPoolLimit(store.Pool(pool), unlimitedPool)
	s.catalog.mu.RLock()
	row := s.catalog.containers[container]
	s.catalog.mu.RUnlock()
	if row != nil {
		s.limitContainer(container, row.Size)
	}
}

// limitContainer sets the engine's limit of a container's own pool and returns
// the sum of the shares; false when they exceed the container. Called with capacity.mu held.
func (s *Service) limitContainer(container ContainerID, size uint64) (total uint64, ok bool) {
	for _, pool := range s.poolsOf(container) {
		total += s.capacity.shares[pool]
	}
	limit := uint64(fullPool)
	if total < size {
		limit = size - total
	}
	s.options.Engine.SetPoolLimit(containerPool(container), limit)
	return total, total <= size
}

// poolsOf lists the thick pools of a container.
func (s *Service) poolsOf(container ContainerID) []ID {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	var ids []ID
	for id, p := range s.catalog.pools {
		if p.Container == container {
			ids = append(ids, id)
		}
	}
	return ids
}

// remeasure sets the share of a pool to what is needed now, which is not refused.
// Nothing to do for the zero id, the mark of thin volumes.
func (s *Service) remeasure(ctx context.Context, pool ID) {
	s.catalog.mu.RLock()
	p := s.catalog.pools[pool]
	var k *containerRow
	if p != nil {
		k = s.catalog.containers[p.Container]
	}
	s.catalog.mu.RUnlock()
	if k == nil {
		return
	}
	bytes := s.share(context.WithoutCancel(ctx), pool, false)
	s.capacity.mu.Lock()
	defer s.capacity.mu.Unlock()
	s.setShare(pool, bytes)
	s.options.Engine.SetPoolLimit(store.Pool(pool), max(bytes, fullPool))
	s.limitContainer(k.ID, k.Size)
}

// reserveShared makes room for sharing all of a thick volume (snapshot, clone).
// Nothing to do for others.
func (s *Service) reserveShared(ctx context.Context, row *volumeRow) error {
	if !row.thick() {
		return nil
	}
	return s.reserve(ctx, row.Container, row.Pool, s.share(ctx, row.Pool, true))
}

// prunePools removes the rows of pools that hold nothing and have no volume left,
// and measures the others anew.
func (s *Service) prunePools(ctx context.Context) error {
	s.catalog.mu.RLock()
	pools := make([]*poolRow, 0, len(s.catalog.pools))
	for _, p := range s.catalog.pools {
		pools = append(pools, p)
	}
	inUse := map[ID]bool{}
	for _, p := range pools {
		s.catalog.byContainer.each(p.Container, func(id ID) { inUse[s.catalog.volumes[id].Pool] = true })
	}
	s.catalog.mu.RUnlock()
	for _, p := range pools {
		if !inUse[p.ID] && s.options.Engine.PoolUsage(store.Pool(p.ID)) == 0 {
			if err := s.commit(ctx, new(batch).drop(p)); err != nil {
				return err
			}
			s.forget(p.Container, p.ID)
			continue
		}
		s.remeasure(ctx, p.ID)
	}
	return nil
}
