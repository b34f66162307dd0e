package vvol

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"vvsim/vvol/store"
)

// ContainerSpec describes a new container. Without service levels it gets
// DefaultServiceLevels.
type ContainerSpec struct {
	Name          string
	Size          uint64 // bytes
	ServiceLevels []ServiceLevel
}

// CreateContainer makes a container. Errors: ErrInvalid, ErrExists (name), ErrTooMany.
func (s *Service) CreateContainer(ctx context.Context, spec ContainerSpec) (StorageContainer, error) {
	end, err := s.begin(ctx)
	if err != nil {
		return StorageContainer{}, err
	}
	defer end()
	if len(spec.ServiceLevels) == 0 {
		spec.ServiceLevels = DefaultServiceLevels()
	}
	if err := s.checkContainer(spec); err != nil {
		return StorageContainer{}, err
	}
	id, err := s.newID()
	if err != nil {
		return StorageContainer{}, err
	}
	row := &containerRow{StorageContainer{ID: ContainerID(id), Name: spec.Name, Size: spec.Size,
		ServiceLevels: slices.Clone(spec.ServiceLevels), Created: s.now()}}
	if err := s.claimName(spec.Name); err != nil {
		return StorageContainer{}, err
	}
	defer s.releaseName(spec.Name)
	// The limit comes first: nothing can be written to the pool before the row is there.
	s.options.Engine.SetPoolLimit(containerPool(row.ID), row.Size)
	err = s.commit(ctx, new(batch).put(row).event("container.created", row.ID.String(), row.Name))
	if err != nil {
		return StorageContainer{}, err
	}
	return row.copyOut(), nil
}

func (s *Service) checkContainer(spec ContainerSpec) error {
	if err := checkName("name of a container", spec.Name); err != nil {
		return err
	}
	if spec.Name == "" || strings.ContainsAny(spec.Name, "/?#%") || strings.TrimSpace(spec.Name) != spec.Name {
		return fmt.Errorf("%w: container name %q: it must not be empty, begin or end with space, or contain any of /?#%%", ErrInvalid, spec.Name)
	}
	if _, err := store.ParseID(spec.Name); err == nil {
		return fmt.Errorf("%w: container name %q has the form of an id", ErrInvalid, spec.Name)
	}
	if err := s.checkSize(spec.Size, 0); err != nil {
		return err
	}
	if n := len(spec.ServiceLevels); n < 1 || n > maxLevels {
		return fmt.Errorf("%w: %d service levels, must be 1 to %d", ErrInvalid, n, maxLevels)
	}
	seen := map[string]bool{}
	for _, l := range spec.ServiceLevels {
		if err := checkLevel(l); err != nil {
			return err
		}
		if seen[l.Name] {
			return fmt.Errorf("%w: service level %q twice", ErrInvalid, l.Name)
		}
		seen[l.Name] = true
	}
	return nil
}

func checkLevel(l ServiceLevel) error {
	if err := checkName("name of a service level", l.Name); err != nil {
		return err
	}
	if l.Name == "" {
		return fmt.Errorf("%w: a service level without a name", ErrInvalid)
	}
	if err := l.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

func (s *Service) claimName(name string) error {
	c := s.catalog
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, has := c.named[name]; has || c.takenNames[name] {
		return fmt.Errorf("%w: container %q", ErrExists, name)
	}
	if n := len(c.containers) + len(c.takenNames); n >= s.options.MaxContainers {
		return fmt.Errorf("%w: %d containers", ErrTooMany, n)
	}
	c.takenNames[name] = true
	return nil
}

func (s *Service) releaseName(name string) {
	s.catalog.mu.Lock()
	defer s.catalog.mu.Unlock()
	delete(s.catalog.takenNames, name)
}

// Container finds a container by its name or the text of its id. Errors: ErrNotFound.
func (s *Service) Container(ref string) (StorageContainer, error) {
	row, err := s.containerRow(ref)
	if err != nil {
		return StorageContainer{}, err
	}
	return row.copyOut(), nil
}

func (s *Service) containerRow(ref string) (*containerRow, error) {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	return s.catalog.container(ref)
}

func (c *catalog) container(ref string) (*containerRow, error) {
	id, has := c.named[ref]
	if !has {
		v, err := store.ParseID(ref)
		if err != nil {
			return nil, fmt.Errorf("%w: container %q", ErrNotFound, ref)
		}
		id = ContainerID(v)
	}
	row := c.containers[id]
	if row == nil || c.closing[id] {
		return nil, fmt.Errorf("%w: container %q", ErrNotFound, ref)
	}
	return row, nil
}

func (s *Service) containerByID(id ContainerID) (*containerRow, error) {
	return s.containerRow(id.String())
}

// Containers lists all, ordered by name.
func (s *Service) Containers() []StorageContainer {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	list := make([]StorageContainer, 0, len(s.catalog.containers))
	for _, r := range s.catalog.containers {
		list = append(list, r.copyOut())
	}
	slices.SortFunc(list, func(a, b StorageContainer) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// ContainerUpdate changes what it names.
type ContainerUpdate struct {
	Size          uint64         // bytes; 0 leaves it
	ServiceLevels []ServiceLevel // all of them, the default first; nil leaves them
}

// ResizeContainer changes the size. Errors as UpdateContainer.
func (s *Service) ResizeContainer(ctx context.Context, ref string, size uint64) (StorageContainer, error) {
	if err := s.checkSize(size, 0); err != nil {
		return StorageContainer{}, err
	}
	return s.UpdateContainer(ctx, ref, ContainerUpdate{Size: size})
}

// UpdateContainer changes size and service levels, both or none. Volumes keep the
// quality that they have; those whose level offers it no more are out of compliance.
// Errors: ErrNotFound, ErrInvalid, ErrInUse (the container holds more than the new size).
func (s *Service) UpdateContainer(ctx context.Context, ref string, u ContainerUpdate) (StorageContainer, error) {
	end, err := s.begin(ctx)
	if err != nil {
		return StorageContainer{}, err
	}
	defer end()
	row, unlock, err := s.lockContainer(ctx, ref)
	if err != nil {
		return StorageContainer{}, err
	}
	defer unlock()
	next, b := *row, new(batch)
	if u.Size != 0 && u.Size != row.Size {
		next.Size = u.Size
		b.event("container.resized", row.ID.String(), fmt.Sprintf("%s: %d to %d bytes", row.Name, row.Size, u.Size))
	}
	if u.ServiceLevels != nil && !slices.Equal(u.ServiceLevels, row.ServiceLevels) {
		next.ServiceLevels = slices.Clone(u.ServiceLevels)
		b.event("container.levels", row.ID.String(), fmt.Sprintf("%s: %d service levels", row.Name, len(u.ServiceLevels)))
	}
	if err := s.checkContainer(ContainerSpec{Name: next.Name, Size: next.Size, ServiceLevels: next.ServiceLevels}); err != nil {
		return StorageContainer{}, err
	}
	if len(b.events) == 0 {
		return row.copyOut(), nil
	}
	if next.Size != row.Size {
		s.refresh(ctx, row.ID)
		if used := s.containerUsed(row.ID); next.Size < used {
			return StorageContainer{}, fmt.Errorf("%w: container %q holds or reserves %d bytes", ErrInUse, row.Name, used)
		}
	}
	if err := s.commit(ctx, b.put(&next)); err != nil {
		return StorageContainer{}, err
	}
	s.capacity.mu.Lock()
	defer s.capacity.mu.Unlock()
	s.limitContainer(next.ID)
	return next.copyOut(), nil
}

func (s *Service) lockContainer(ctx context.Context, ref string) (*containerRow, func(), error) {
	row, err := s.containerRow(ref)
	if err != nil {
		return nil, nil, err
	}
	unlock, err := s.locks.Acquire(ctx, containerLock(row.ID))
	if err != nil {
		return nil, nil, err
	}
	if row, err = s.containerByID(row.ID); err != nil {
		unlock()
		return nil, nil, err
	}
	return row, unlock, nil
}

// DeleteContainer removes an empty container. Errors: ErrNotFound, ErrInUse (it has volumes).
func (s *Service) DeleteContainer(ctx context.Context, ref string) error {
	end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	row, unlock, err := s.lockContainer(ctx, ref)
	if err != nil {
		return err
	}
	defer unlock()
	c := s.catalog
	c.mu.Lock()
	if n := c.byContainer.Size(row.ID) + c.filling[row.ID]; n > 0 {
		c.mu.Unlock()
		return fmt.Errorf("%w: container %q has %d volumes", ErrInUse, row.Name, n)
	}
	c.closing[row.ID] = true // from here on nobody finds it
	gone := new(batch).drop(row).event("container.deleted", row.ID.String(), row.Name)
	pools := c.poolsIn.List(row.ID)
	for _, id := range pools {
		gone.drop(c.pools[id])
	}
	c.mu.Unlock()
	err = s.commit(ctx, gone)
	c.mu.Lock()
	delete(c.closing, row.ID)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	for _, p := range pools {
		s.forget(row.ID, p)
	}
	s.options.Engine.SetPoolLimit(containerPool(row.ID), unlimitedPool)
	return nil
}

// containerUsed is what the container's pool holds and thick volumes reserve.
func (s *Service) containerUsed(id ContainerID) uint64 {
	used := s.options.Engine.PoolUsage(containerPool(id))
	s.capacity.mu.Lock()
	defer s.capacity.mu.Unlock()
	return used + s.capacity.reserved[id]
}

// ContainerUsage measures a container. Logical needs a look at every volume; a
// volume deleted meanwhile does not count. Space that the engine has given back
// since it was last measured can be used from then on. Errors: ErrNotFound.
func (s *Service) ContainerUsage(ctx context.Context, ref string) (ContainerUsage, error) {
	row, err := s.containerRow(ref)
	if err != nil {
		return ContainerUsage{}, err
	}
	s.refresh(ctx, row.ID)
	u := ContainerUsage{Used: s.containerUsed(row.ID), WarnPercent: s.warnPercent(&row.StorageContainer)}
	held := s.options.Engine.PoolUsage(containerPool(row.ID))
	for _, p := range s.poolsOf(row.ID) {
		held += s.options.Engine.PoolUsage(store.Pool(p))
	}
	u.Used = max(u.Used, held)
	u.Reserved = u.Used - held
	s.catalog.mu.RLock()
	ids := slices.DeleteFunc(s.catalog.byContainer.List(row.ID), func(id ID) bool { return !s.catalog.volumes[id].listable() })
	s.catalog.mu.RUnlock()
	for _, id := range ids {
		info, err := s.options.Engine.Stat(ctx, store.ID(id))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return ContainerUsage{}, translate(err)
		}
		u.Volumes++
		u.Logical += info.Allocated
	}
	return u, nil
}

// level returns the service level of that name, the first for "".
func (r *containerRow) level(name string) (ServiceLevel, error) {
	if name == "" {
		return r.ServiceLevels[0], nil
	}
	for _, l := range r.ServiceLevels {
		if l.Name == name {
			return l, nil
		}
	}
	return ServiceLevel{}, fmt.Errorf("%w: container %q has no service level %q", ErrInvalid, r.Name, name)
}
