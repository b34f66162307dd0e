package vvol

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"vvsim/vvol/store"
)

// capacity keeps what thick volumes reserve.
//
// A thin volume draws on its container's pool. A thick volume has a pool of its
// own, so that its share cannot be eaten by others. The share R of such a pool is
// what it holds now plus what its volume may still need to be written everywhere
// once, that is U + size - I, with U the pool's usage and I the bytes that the
// volume writes in place; R equals the size until something shares its blocks.
// What the volume alone holds is not enough: behind a snapshot, it is written anew. R is the limit of that pool in the engine, and the container's pool is
// limited to the container's size less all R. Snapshots and clones of a thick
// volume therefore need free space at once, as much as they may make it need.
//
// A share grows by reserve, which may refuse, and changes by measure, which is
// called under the lock of the pool's volume only: an operation between its
// reserve and its engine call must not lose what it reserved. Space that the
// engine gives back in the background is found by refresh.
type capacity struct {
	mu       sync.Mutex             // held while shares are changed; taken before the catalog's lock
	shares   map[ID]uint64          // R by pool
	reserved map[ContainerID]uint64 // sum of the shares
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
	case row == nil || row.State == Deleting || !row.thick(): // its layers live on in snapshots and clones
	case row.State == Creating:
		return row.Size
	default:
		need = row.Size
		if row.Intent != nil {
			need = max(need, row.Intent.Size)
		}
		info, err := s.options.Engine.Stat(ctx, store.ID(pool))
		if err == nil && !becomesShared {
			need -= min(info.InPlace, need)
		}
	}
	// Usage is read after InPlace: a write in between makes R too large, never too small.
	return s.options.Engine.PoolUsage(store.Pool(pool)) + need
}

// reserve sets the share of a pool to bytes, or refuses with ErrNoSpace and
// changes nothing. It takes the container's lock, so that the container's size
// stays; the caller holds at most volumes.
func (s *Service) reserve(ctx context.Context, container ContainerID, pool ID, bytes uint64) error {
	unlock, err := s.locks.Acquire(ctx, containerLock(container))
	if err != nil {
		return err
	}
	defer unlock()
	k, err := s.containerByID(container)
	if err != nil {
		return err
	}
	if err = s.tryReserve(k, pool, bytes); errors.Is(err, ErrNoSpace) {
		s.refresh(ctx, container)
		err = s.tryReserve(k, pool, bytes)
	}
	return err
}

// tryReserve is called with the container's lock held.
func (s *Service) tryReserve(k *containerRow, pool ID, bytes uint64) error {
	s.capacity.mu.Lock()
	defer s.capacity.mu.Unlock()
	old, had := s.capacity.shares[pool]
	// The limit comes before the look at what is used: thin writers cannot take
	// the space in between.
	s.setShare(k.ID, pool, bytes)
	held, total := s.options.Engine.PoolUsage(containerPool(k.ID)), s.capacity.reserved[k.ID]
	if bytes <= old || (total <= k.Size && held <= k.Size-total) {
		return nil
	}
	if s.setShare(k.ID, pool, old); !had {
		delete(s.capacity.shares, pool)
	}
	return fmt.Errorf("%w: %d bytes more to reserve; volumes of container %q hold %d bytes and reserve %d of its %d",
		ErrNoSpace, bytes-old, k.Name, held, s.capacity.reserved[k.ID], k.Size)
}

// setShare notes the share of a pool and sets the engine's limits that follow
// from it. Called with capacity.mu held.
func (s *Service) setShare(container ContainerID, pool ID, bytes uint64) {
	c := &s.capacity
	if c.shares == nil {
		c.shares, c.reserved = map[ID]uint64{}, map[ContainerID]uint64{}
	}
	c.reserved[container] += bytes - c.shares[pool]
	c.shares[pool] = bytes
	s.options.Engine.SetPoolLimit(store.Pool(pool), max(bytes, fullPool))
	s.limitContainer(container)
}

// limitContainer sets the engine's limit of a container's own pool to what thick
// volumes leave. Called with capacity.mu held.
func (s *Service) limitContainer(id ContainerID) {
	s.catalog.mu.RLock()
	k := s.catalog.containers[id]
	s.catalog.mu.RUnlock()
	if k == nil {
		return
	}
	limit := uint64(fullPool)
	if total := s.capacity.reserved[id]; total < k.Size {
		limit = k.Size - total
	}
	s.options.Engine.SetPoolLimit(containerPool(id), limit)
}

// forget ends the share of a pool.
func (s *Service) forget(container ContainerID, pool ID) {
	s.capacity.mu.Lock()
	defer s.capacity.mu.Unlock()
	s.setShare(container, pool, 0)
	delete(s.capacity.shares, pool)
	if s.capacity.reserved[container] == 0 {
		delete(s.capacity.reserved, container)
	}
	s.options.Engine.SetPoolLimit(store.Pool(pool), unlimitedPool)
}

// measure sets the share of a pool to what is needed now, which is not refused.
// Nothing to do for what is no pool. Called with the lock of the pool's volume held.
func (s *Service) measure(ctx context.Context, pool ID) {
	p := s.pool(pool)
	if p == nil {
		return
	}
	bytes := s.share(context.WithoutCancel(ctx), pool, false)
	s.capacity.mu.Lock()
	defer s.capacity.mu.Unlock()
	s.setShare(p.Container, pool, bytes)
}

// tryMeasure is measure for callers that do not hold the lock. A pool with whose
// volume something is happening keeps its share.
func (s *Service) tryMeasure(ctx context.Context, pool ID) {
	if s.pool(pool) == nil {
		return
	}
	if unlock, ok := s.locks.Try(volumeLock(pool)); ok {
		defer unlock()
		s.measure(ctx, pool)
	}
}

// remeasure measures the pool of a locked volume, of which a snapshot may not be
// the owner.
func (s *Service) remeasure(ctx context.Context, row *volumeRow) {
	if row.thick() {
		s.measure(ctx, row.Pool)
	} else {
		s.tryMeasure(ctx, row.Pool)
	}
}

// refresh measures all pools of a container: engines give space back in the
// background, after the operation that freed it has ended.
func (s *Service) refresh(ctx context.Context, container ContainerID) {
	for _, pool := range s.poolsOf(container) {
		s.tryMeasure(ctx, pool)
	}
}

func (s *Service) pool(id ID) *poolRow {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	return s.catalog.pools[id]
}

// poolsOf lists the thick pools of a container.
func (s *Service) poolsOf(container ContainerID) []ID {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	return s.catalog.poolsIn.List(container)
}

// reserveShared makes room for sharing all of a thick volume (snapshot, clone).
// Nothing to do for others.
func (s *Service) reserveShared(ctx context.Context, row *volumeRow) error {
	if !row.thick() {
		return nil
	}
	return s.reserve(ctx, row.Container, row.Pool, s.share(ctx, row.Pool, true))
}

// prunePools measures the pools that no volume draws on any more, and removes the
// rows of those that hold nothing.
func (s *Service) prunePools(ctx context.Context) error {
	s.catalog.mu.RLock()
	pools := slices.Collect(maps.Values(s.catalog.emptied))
	s.catalog.mu.RUnlock()
	for _, p := range pools {
		if s.options.Engine.PoolUsage(store.Pool(p.ID)) > 0 {
			s.tryMeasure(ctx, p.ID)
			continue
		}
		if err := s.commit(ctx, new(batch).drop(p)); err != nil {
			return err
		}
		s.forget(p.Container, p.ID)
	}
	return nil
}
