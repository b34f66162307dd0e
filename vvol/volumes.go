package vvol

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"vvsim/vvol/store"
)

// CreateSpec describes a new volume.
type CreateSpec struct {
	Container  string // name or id
	Size       uint64 // bytes
	Type       Type   // default Data
	Name       string
	Metadata   map[string]string
	ID         ID // default: a new random one
	PolicySpec    // default: the container's first level; of a Config volume its first thin one
}

// Create makes an empty volume. Errors: ErrNotFound (container), ErrInvalid,
// ErrExists (id), ErrNoSpace (a thick one), ErrTooMany.
func (s *Service) Create(ctx context.Context, spec CreateSpec) (VirtualVolume, error) {
	if spec.Type == "" {
		spec.Type = Data
	}
	if !slices.Contains([]Type{Config, Data, Swap, Memory, Other}, spec.Type) {
		return VirtualVolume{}, fmt.Errorf("%w: type %q", ErrInvalid, spec.Type)
	}
	if err := s.checkSize(spec.Size, s.limits.MaxSize); err != nil {
		return VirtualVolume{}, err
	}
	k, err := s.containerRow(spec.Container)
	if err != nil {
		return VirtualVolume{}, err
	}
	row := &volumeRow{VirtualVolume: VirtualVolume{ID: spec.ID, Name: spec.Name, Type: spec.Type, Container: k.ID,
		Size: spec.Size, Metadata: maps.Clone(spec.Metadata)}}
	if err := s.prepareBirth(row); err != nil {
		return VirtualVolume{}, err
	}
	level, quality, err := k.choose(spec.PolicySpec, false, k.preferred(spec.Type)...)
	if err != nil {
		return VirtualVolume{}, err
	}
	row.grade(level, quality, spec.Policy)
	_, unlock, err := s.lockVolumes(ctx, nil, []ID{row.ID})
	if err != nil {
		return VirtualVolume{}, err
	}
	defer unlock()
	made, err := s.birth(ctx, "create", []*volumeRow{row}, func(ctx context.Context) error {
		return s.options.Engine.Create(ctx, store.ID(row.ID), store.CreateOptions{Size: row.Size, Pool: row.poolOf()})
	})
	if err != nil {
		return VirtualVolume{}, err
	}
	return made[0], nil
}

// prepareBirth checks what callers chose and fills what they left: id and time.
func (s *Service) prepareBirth(row *volumeRow) (err error) {
	if err := checkName("name of a vvol", row.Name); err != nil {
		return err
	}
	if err := checkMetadata(row.Metadata); err != nil {
		return err
	}
	row.Created = s.now()
	if row.ID == (ID{}) {
		row.ID, err = s.newID()
	}
	return err
}

func checkMetadata(m map[string]string) error {
	if len(m) > maxMetadataPairs {
		return fmt.Errorf("%w: %d metadata pairs, at most %d", ErrInvalid, len(m), maxMetadataPairs)
	}
	total := 0
	for k, v := range m {
		if k == "" || len(k) > maxMetadataKey {
			return fmt.Errorf("%w: metadata key of %d bytes, must have 1 to %d", ErrInvalid, len(k), maxMetadataKey)
		}
		if strings.ToValidUTF8(k, "") != k || strings.ToValidUTF8(v, "") != v {
			return fmt.Errorf("%w: metadata %q is not UTF-8", ErrInvalid, k)
		}
		total += len(k) + len(v)
	}
	if total > maxMetadataBytes {
		return fmt.Errorf("%w: %d bytes of metadata, at most %d", ErrInvalid, total, maxMetadataBytes)
	}
	return nil
}

// birth brings volumes into the world together: intent rows, then produce, which
// makes them in the engine, then the final rows. Their ids are locked. A row that
// is Prepared in the catalog is taken over; any other that exists is ErrExists.
func (s *Service) birth(ctx context.Context, operation string, rows []*volumeRow, produce func(context.Context) error) ([]VirtualVolume, error) {
	release, err := s.claimBirths(rows)
	if err != nil {
		return nil, err
	}
	defer release()
	task, intents := s.newTask(ctx, operation, rows[0].ID), new(batch)
	for _, r := range rows {
		begun := *r
		begun.State, begun.Intent = Creating, &intent{Task: task.Number}
		if was := s.row(r.ID); was != nil {
			begun.Intent.Before = &was.VirtualVolume
		}
		intents.put(&begun)
		if r.thick() {
			intents.put(&poolRow{ID: r.ID, Container: r.Container})
		}
	}
	if err := s.commit(ctx, intents.put(task)); err != nil {
		return nil, err
	}
	if err := s.produce(ctx, rows, produce); err != nil {
		return nil, s.giveUp(ctx, err, rows)
	}
	final, made := new(batch), make([]VirtualVolume, len(rows))
	for i, r := range rows {
		done := *r
		done.State, done.Intent = Ready, nil
		final.put(&done).event("vvol."+past(operation), r.ID.String(), describe(&done))
		made[i] = done.copyOut()
	}
	if err := s.commit(ctx, final.put(s.succeeded(task, rows[0].ID.String()))); err != nil {
		return nil, s.giveUp(ctx, err, rows)
	}
	return made, nil
}

func (s *Service) produce(ctx context.Context, rows []*volumeRow, produce func(context.Context) error) error {
	for _, r := range rows {
		if r.thick() {
			if err := s.reserve(ctx, r.Container, r.ID, r.Size); err != nil {
				return err
			}
		}
	}
	return produce(ctx)
}

// claimBirths checks the limits and counts the volumes, gives them their serials,
// and keeps the container from being deleted until release.
func (s *Service) claimBirths(rows []*volumeRow) (release func(), err error) {
	c := s.catalog
	c.mu.Lock()
	defer c.mu.Unlock()
	fresh := 0
	for _, r := range rows {
		old := c.volumes[r.ID]
		if old != nil && (old.State != Prepared || r.State != Prepared) {
			return nil, fmt.Errorf("%w: vvol %v", ErrExists, r.ID)
		}
		if old == nil {
			fresh++
		}
		if c.containers[r.Container] == nil || c.closing[r.Container] {
			return nil, fmt.Errorf("%w: container %v", ErrNotFound, r.Container)
		}
	}
	if n := len(c.volumes) + c.births; n+fresh > s.options.MaxVVols {
		return nil, fmt.Errorf("%w: %d vvols, the limit is %d", ErrTooMany, n, s.options.MaxVVols)
	}
	for _, r := range rows {
		if c.volumes[r.ID] == nil {
			c.counters.Serial++
			r.Serial = c.counters.Serial
		}
		c.filling[r.Container]++
	}
	c.births += fresh
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.births -= fresh
		for _, r := range rows {
			if c.filling[r.Container]--; c.filling[r.Container] == 0 {
				delete(c.filling, r.Container)
			}
		}
	}, nil
}

// VVol returns a volume by id; Prepared ones too, but none in creation or being
// deleted. Errors: ErrNotFound.
func (s *Service) VVol(id ID) (VirtualVolume, error) {
	row := s.row(id)
	if row == nil || !row.listable() && row.State != Prepared {
		return VirtualVolume{}, fmt.Errorf("%w: vvol %v", ErrNotFound, id)
	}
	return row.copyOut(), nil
}

// namesShown bounds the ids that an error about an ambiguous name lists.
const namesShown = 8

// Find returns the volume with that id or unique name. Errors: ErrNotFound,
// ErrInvalid (several have the name; the text lists their ids).
func (s *Service) Find(ref string) (VirtualVolume, error) {
	if id, err := ParseID(ref); err == nil {
		return s.VVol(id)
	}
	if ref == "" {
		return VirtualVolume{}, fmt.Errorf("%w: empty name of a vvol", ErrInvalid)
	}
	list := s.VVols(Filter{Name: ref})
	switch len(list) {
	case 0:
		return VirtualVolume{}, fmt.Errorf("%w: vvol %q", ErrNotFound, ref)
	case 1:
		return list[0], nil
	}
	ids := make([]string, 0, namesShown)
	for _, v := range list[:min(len(list), namesShown)] {
		ids = append(ids, v.ID.String())
	}
	if len(list) > namesShown {
		ids = append(ids, "…")
	}
	return VirtualVolume{}, fmt.Errorf("%w: %d vvols have the name %q: %s", ErrInvalid, len(list), ref, strings.Join(ids, ", "))
}

// Filter selects volumes that match all of its set fields.
type Filter struct {
	Container string // name or id
	Type      Type
	Name      string
	Metadata  map[string]string // exact values
	HasKeys   []string          // metadata keys that are present
	Prepared  bool              // prepared snapshots as well
}

// VVols lists the volumes that match, oldest first; not those in creation, being
// deleted or only prepared (vasa.md 6). It starts from the smallest index that
// the filter names.
func (s *Service) VVols(f Filter) []VirtualVolume {
	rows := s.matching(f)
	list := make([]VirtualVolume, len(rows))
	for i, r := range rows {
		list[i] = r.copyOut()
	}
	return list
}

// VVolIDs is VVols for callers that want nothing but the ids.
func (s *Service) VVolIDs(f Filter) []ID {
	rows := s.matching(f)
	ids := make([]ID, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	return ids
}

// matching lists the rows that match, oldest first.
func (s *Service) matching(f Filter) (rows []*volumeRow) {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	c := s.catalog
	var container ContainerID
	if f.Container != "" {
		k, err := c.container(f.Container)
		if err != nil {
			return nil
		}
		container = k.ID
	}
	c.candidates(f, container, func(r *volumeRow) {
		if (r.listable() || f.Prepared && r.State == Prepared) && f.matches(r, container) {
			rows = append(rows, r)
		}
	})
	slices.SortFunc(rows, func(a, b *volumeRow) int { return cmp.Compare(a.Serial, b.Serial) })
	return rows
}

func (f *Filter) matches(r *volumeRow, container ContainerID) bool {
	if f.Container != "" && r.Container != container || f.Type != "" && r.Type != f.Type || f.Name != "" && r.Name != f.Name {
		return false
	}
	for k, v := range f.Metadata {
		if have, has := r.Metadata[k]; !has || have != v {
			return false
		}
	}
	for _, k := range f.HasKeys {
		if _, has := r.Metadata[k]; !has {
			return false
		}
	}
	return true
}

// candidates yields the rows of the smallest index that holds all matches.
func (c *catalog) candidates(f Filter, container ContainerID, yield func(*volumeRow)) {
	best := len(c.volumes)
	each := func(y func(ID)) {
		for id := range c.volumes {
			y(id)
		}
	}
	consider := func(n int, e func(func(ID))) {
		if n < best {
			best, each = n, e
		}
	}
	if f.Container != "" {
		consider(c.byContainer.Size(container), func(y func(ID)) { c.byContainer.Each(container, y) })
	}
	if f.Name != "" {
		consider(c.byName.Size(f.Name), func(y func(ID)) { c.byName.Each(f.Name, y) })
	}
	for k, v := range f.Metadata {
		p := pair{k, v}
		consider(c.byPair.Size(p), func(y func(ID)) { c.byPair.Each(p, y) })
	}
	for _, k := range f.HasKeys {
		consider(c.byKey.Size(k), func(y func(ID)) { c.byKey.Each(k, y) })
	}
	each(func(id ID) { yield(c.volumes[id]) })
}

// SnapshotsOf lists the ids of a volume's snapshots, oldest first.
func (s *Service) SnapshotsOf(id ID) []ID {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	rows := []VirtualVolume{}
	s.catalog.bySource.Each(id, func(snap ID) {
		if r := s.catalog.volumes[snap]; r.listable() {
			rows = append(rows, r.VirtualVolume)
		}
	})
	slices.SortFunc(rows, bySerial)
	ids := make([]ID, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	return ids
}

// VolumeUsage is measured by the engine. Bytes; Depth in layers.
type VolumeUsage struct {
	Allocated uint64 // bytes that hold data, shared or not
	Unshared  uint64 // bytes that would return if the volume were deleted
	Depth     int    // layers of its chain, its own included
}

// Usage measures a volume. Errors: ErrNotFound.
func (s *Service) Usage(ctx context.Context, id ID) (VolumeUsage, error) {
	v, err := s.VVol(id)
	if err != nil || v.State == Prepared {
		return VolumeUsage{}, err
	}
	info, err := s.options.Engine.Stat(ctx, store.ID(id))
	if err != nil {
		return VolumeUsage{}, translate(err)
	}
	return VolumeUsage{Allocated: info.Allocated, Unshared: info.Unshared, Depth: info.Depth}, nil
}

// UpdateSpec changes what it names. A nil metadata value removes the key; keys
// that are not named stay.
type UpdateSpec struct {
	Name     *string
	Metadata map[string]*string
}

// Update changes name and metadata. Errors: ErrNotFound, ErrInvalid.
func (s *Service) Update(ctx context.Context, id ID, spec UpdateSpec) (VirtualVolume, error) {
	v, err := s.VVol(id)
	if err != nil {
		return VirtualVolume{}, err
	}
	also := []ID{}
	if v.State == Prepared { // goes with its source
		also = append(also, v.SnapshotOf)
	}
	rows, unlock, err := s.lockVolumes(ctx, []ID{id}, also)
	if err != nil {
		return VirtualVolume{}, err
	}
	defer unlock()
	row := rows[0]
	next := *row
	if spec.Name != nil {
		next.Name = *spec.Name
	}
	if next.Metadata, err = changedMetadata(row.Metadata, spec.Metadata); err != nil {
		return VirtualVolume{}, err
	}
	if err := checkName("name of a vvol", next.Name); err != nil {
		return VirtualVolume{}, err
	}
	if next.Name == row.Name && maps.Equal(next.Metadata, row.Metadata) {
		return row.copyOut(), nil
	}
	if err := s.commit(ctx, new(batch).put(&next).event("vvol.updated", id.String(), describe(&next))); err != nil {
		return VirtualVolume{}, err
	}
	return next.copyOut(), nil
}

// changedMetadata is metadata after changes: a key without a value goes.
func changedMetadata(old map[string]string, changes map[string]*string) (map[string]string, error) {
	next := maps.Clone(old)
	for k, v := range changes {
		switch {
		case k == "":
			return nil, fmt.Errorf("%w: empty metadata key", ErrInvalid)
		case v == nil:
			delete(next, k)
		default:
			if next == nil {
				next = map[string]string{}
			}
			next[k] = *v
		}
	}
	return next, checkMetadata(next)
}

// Delete removes a volume or prepared snapshot. Its snapshots and clones live on.
// Errors: ErrNotFound, ErrInUse (bound, mapped, or being copied).
func (s *Service) Delete(ctx context.Context, id ID) error {
	row, unlock, err := s.lockReady(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.claimDeath(id); err != nil {
		return err
	}
	if row.State == Prepared {
		return s.commit(ctx, new(batch).drop(row).event("vvol.deleted", id.String(), describe(row)))
	}
	task, dying := s.newTask(ctx, "delete", id), *row
	dying.State, dying.Intent = Deleting, &intent{Task: task.Number}
	if err := s.commit(ctx, new(batch).put(&dying, task)); err != nil {
		return err
	}
	return s.settle(ctx, &dying)
}

// claimDeath refuses to delete what is used.
func (s *Service) claimDeath(id ID) error {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	if b, l := s.catalog.inUse(id); b+l > 0 {
		return fmt.Errorf("%w: vvol %v has %d bindings and %d LUN aliases", ErrInUse, id, b, l)
	}
	if s.catalog.pins[id] > 0 {
		return fmt.Errorf("%w: vvol %v is being copied", ErrInUse, id)
	}
	return nil
}

// pin keeps the content of volumes from being deleted, reverted or resized until
// release. Called with the volumes locked; release needs no lock.
func (s *Service) pin(ids ...ID) (release func()) {
	s.catalog.mu.Lock()
	defer s.catalog.mu.Unlock()
	for _, id := range ids {
		s.catalog.pins[id]++
	}
	return func() {
		s.catalog.mu.Lock()
		defer s.catalog.mu.Unlock()
		for _, id := range ids {
			if s.catalog.pins[id]--; s.catalog.pins[id] == 0 {
				delete(s.catalog.pins, id)
			}
		}
	}
}

// unpinned refuses to change the content of a volume that is being copied.
func (s *Service) unpinned(id ID) error {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	if s.catalog.pins[id] > 0 {
		return fmt.Errorf("%w: vvol %v is being copied", ErrBusy, id)
	}
	return nil
}

// describe is the message of an event about a volume.
func describe(r *volumeRow) string {
	if r.Name == "" {
		return fmt.Sprintf("%s, %d bytes", r.Type, r.Size)
	}
	return fmt.Sprintf("%s %q, %d bytes", r.Type, r.Name, r.Size)
}
