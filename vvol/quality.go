package vvol

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"vvsim/vvol/policy"
	"vvsim/vvol/store"
)

type (
	// ServiceLevel is one quality of service that a container offers.
	ServiceLevel = policy.ServiceLevel
	// Quality is what a volume has.
	Quality = policy.Quality
	// QualitySpec asks for a Quality.
	QualitySpec = policy.Request
	// Policy tells where a Quality came from.
	Policy = policy.Policy
	// Violation is one thing that is not as it should be.
	Violation = policy.Violation
)

// Durability of a volume and of a service level.
const (
	DurabilityFlush = policy.Flush
	DurabilitySync  = policy.Sync
)

// PolicySpec asks for a quality, and says on whose behalf. The zero value asks for
// nothing. Without a service level, it is the first of the container that offers what is
// asked; each operation says which it looks at before.
type PolicySpec struct {
	ServiceLevel string
	Quality      QualitySpec // what is nil is the level's
	Policy       Policy
}

// choose finds a level that offers what is asked, and the quality that it gives. first
// are looked at before the others of the container. Of a snapshot the space does not
// matter: it has none of its own.
func (r *containerRow) choose(spec PolicySpec, snapshot bool, first ...ServiceLevel) (ServiceLevel, Quality, error) {
	if err := spec.Policy.Check(); err != nil {
		return ServiceLevel{}, Quality{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	candidates := slices.Concat(first, r.ServiceLevels)
	if spec.ServiceLevel != "" {
		l, err := r.level(spec.ServiceLevel)
		if err != nil {
			return ServiceLevel{}, Quality{}, err
		}
		candidates = []ServiceLevel{l}
	}
	var refused error
	for _, l := range candidates {
		q, err := offer(l, spec.Quality, snapshot)
		if err == nil {
			return l, q, nil
		}
		if refused == nil {
			refused = err
		}
	}
	return ServiceLevel{}, Quality{}, fmt.Errorf("%w: container %q: %w", ErrInvalid, r.Name, refused)
}

// offer is the quality that a level gives when some is asked.
func offer(l ServiceLevel, asked QualitySpec, snapshot bool) (Quality, error) {
	if snapshot {
		asked.Thick = nil
	}
	q := asked.Over(l.Default())
	if err := q.Check(); err != nil {
		return q, err
	}
	for _, v := range l.Refuses(q) {
		return q, fmt.Errorf("service level %q does not offer this: %v", l.Name, v)
	}
	if snapshot {
		q.Thick = false
	}
	return q, nil
}

// Offers tells whether a container offers what spec asks for. Errors: ErrNotFound (container
// or level), ErrInvalid.
func (s *Service) Offers(container string, spec PolicySpec) error {
	k, err := s.containerRow(container)
	if err != nil {
		return err
	}
	_, _, err = k.choose(spec, false)
	return err
}

// DefaultLevel is the service level of a new volume of a type that asks for nothing.
// Errors: ErrNotFound (container).
func (s *Service) DefaultLevel(container string, t Type) (ServiceLevel, error) {
	k, err := s.containerRow(container)
	if err != nil {
		return ServiceLevel{}, err
	}
	return append(k.preferred(t), k.ServiceLevels...)[0], nil
}

// preferred are the levels that a type is given before others: Config volumes are of
// 256 GB, of which little is used (vasa.md 10).
func (r *containerRow) preferred(t Type) []ServiceLevel {
	if t == Config {
		return r.thinLevels()
	}
	return nil
}

// thinLevels lists the thin levels.
func (r *containerRow) thinLevels() []ServiceLevel {
	return slices.DeleteFunc(slices.Clone(r.ServiceLevels), func(l ServiceLevel) bool { return !l.Thin })
}

// grade gives a row its level, quality and policy, and a pool of its own if it is thick.
func (r *volumeRow) grade(l ServiceLevel, q Quality, p Policy) {
	r.ServiceLevel, r.Quality, r.Policy, r.Asked = l.Name, q, p, Quality{}
	if p != (Policy{}) {
		r.Asked = q
	}
	if q.Thick {
		r.Pool = r.ID
	}
}

// inherit gives a snapshot or clone the quality of its source, where its level is offered
// still and, of a clone, offers it; false otherwise.
func (r *volumeRow) inherit(source *volumeRow, k *containerRow, snapshot bool) bool {
	q, asked := source.Quality, source.Asked
	if snapshot {
		q.Thick, asked.Thick = false, false
		q.WarnPercentUsed, asked.WarnPercentUsed = 0, 0 // it outlives what its volume asks for
	} else {
		l, err := k.level(source.ServiceLevel)
		if q.Thick = !l.Thin; err != nil || len(l.Refuses(q)) > 0 {
			return false
		}
		if asked != (Quality{}) {
			asked.Thick = q.Thick
		}
	}
	r.ServiceLevel, r.Quality, r.Policy, r.Asked = source.ServiceLevel, q, source.Policy, asked
	if q.Thick {
		r.Pool = r.ID
	}
	return true
}

// SetPolicy gives a volume another level, quality and policy, at once for running I/O
// too. What spec does not ask for is the level's; without a level, the one that the volume
// has is looked at first. A thick volume that becomes thin gives back what it does not
// hold; one that becomes thick reserves what it may come to need. A SnapshotLimit below
// the present number of snapshots is taken: there can be no more until there are fewer, and the
// volume is out of compliance. Errors: ErrNotFound, ErrInvalid (not offered; a prepared
// snapshot), ErrNoSpace, ErrUnsupported (a writable snapshot cannot be thick). Metadata
// changes with it, as with Update, or neither does: clients keep there which policy a
// volume has (vasa.md 6).
func (s *Service) SetPolicy(ctx context.Context, id ID, spec PolicySpec, metadata map[string]*string) (VirtualVolume, error) {
	return s.setPolicy(ctx, id, spec, metadata, false)
}

// AdjustPolicy is SetPolicy that leaves what spec does not ask for as it is, where the
// level still offers that, and the policy too, whether the volume then is what it asked
// for or not: that is for Compliance to say.
func (s *Service) AdjustPolicy(ctx context.Context, id ID, spec PolicySpec) (VirtualVolume, error) {
	return s.setPolicy(ctx, id, spec, nil, true)
}

func (s *Service) setPolicy(ctx context.Context, id ID, spec PolicySpec, metadata map[string]*string, adjust bool) (VirtualVolume, error) {
	row, unlock, err := s.lockReady(ctx, id)
	if err != nil {
		return VirtualVolume{}, err
	}
	defer unlock()
	if row.State != Ready {
		return VirtualVolume{}, fmt.Errorf("%w: vvol %v is %s", ErrInvalid, id, row.State)
	}
	k, err := s.containerByID(row.Container)
	if err != nil {
		return VirtualVolume{}, err
	}
	next := *row
	if err := next.regrade(k, spec, adjust); err != nil {
		return VirtualVolume{}, err
	}
	if next.Metadata, err = changedMetadata(row.Metadata, metadata); err != nil {
		return VirtualVolume{}, err
	}
	switch {
	case next.Quality.Thick != row.thick():
		err = s.convert(ctx, row, &next)
	case next.ServiceLevel != row.ServiceLevel || next.Quality != row.Quality || next.Policy != row.Policy || next.Asked != row.Asked ||
		!maps.Equal(next.Metadata, row.Metadata):
		done := s.succeeded(s.newTask(ctx, "set-policy", id), "")
		err = s.commit(ctx, new(batch).put(&next, done).event("vvol.policy", id.String(), describePolicy(&next.VirtualVolume)))
	}
	if err != nil {
		return VirtualVolume{}, err
	}
	now := s.row(id).copyOut()
	s.options.Endpoints.SetQuality(now)
	return now, nil
}

// regrade grades a row anew, with the pool that it has.
func (r *volumeRow) regrade(k *containerRow, spec PolicySpec, adjust bool) error {
	snapshot := r.SnapshotOf != (ID{})
	old, pool, asked := *r, r.Pool, r.Asked
	var own []ServiceLevel
	if l, err := k.level(r.ServiceLevel); err == nil {
		own = []ServiceLevel{l}
	}
	wish := spec
	if adjust {
		wish.Quality = r.kept(k, spec)
	}
	l, q, err := k.choose(wish, snapshot, own...)
	if err != nil {
		return err
	}
	r.grade(l, q, spec.Policy)
	r.Pool = pool
	if adjust && spec.Policy == (Policy{}) {
		r.Policy, r.Asked = old.Policy, asked
	}
	return nil
}

// kept adds to what spec asks what the volume has, where the level that it is to have
// offers that.
func (r *volumeRow) kept(k *containerRow, spec PolicySpec) QualitySpec {
	wish, have := spec.Quality, r.Quality
	name := spec.ServiceLevel
	if name == "" {
		name = r.ServiceLevel
	}
	l, err := k.level(name)
	if err != nil {
		return wish // the level is gone: what another one gives
	}
	refused := map[string]bool{}
	for _, v := range l.Refuses(have) {
		refused[v.What] = true
	}
	if wish.MaxIOPS == nil && !refused["maxIops"] {
		wish.MaxIOPS = &have.MaxIOPS
	}
	if wish.MaxBytesPerSec == nil && !refused["maxBytesPerSec"] {
		wish.MaxBytesPerSec = &have.MaxBytesPerSec
	}
	if wish.SnapshotLimit == nil && !refused["snapshotLimit"] {
		wish.SnapshotLimit = &have.SnapshotLimit
	}
	if wish.Durability == nil && !refused["durability"] {
		wish.Durability = &have.Durability
	}
	if wish.WarnPercentUsed == nil && !refused["warnPercentUsed"] {
		wish.WarnPercentUsed = &have.WarnPercentUsed
	}
	return wish
}

// convert makes a thin volume thick or a thick one thin. While it is Converting, its
// row has the pool of a thick one; whether that is so in the engine decides what is left.
func (s *Service) convert(ctx context.Context, row, next *volumeRow) error {
	thick := next.Quality.Thick
	if thick && row.SnapshotOf != (ID{}) {
		return fmt.Errorf("%w: a thick snapshot", ErrUnsupported)
	}
	task, begun := s.newTask(ctx, "set-policy", row.ID), *row
	begun.State, begun.Pool, begun.Intent = Converting, row.ID, &intent{Task: task.Number, After: &next.VirtualVolume, Asked: next.Asked}
	b, pool := new(batch), containerPool(row.Container)
	if thick {
		b.put(&poolRow{ID: row.ID, Container: row.Container})
		pool = store.Pool(row.ID)
	}
	if err := s.commit(ctx, b.put(&begun, task)); err != nil {
		return err
	}
	if thick {
		if err := s.reserve(ctx, row.Container, row.ID, s.share(ctx, row.ID, false)); err != nil {
			return s.abandon(ctx, &begun, err)
		}
	}
	if err := s.options.Engine.SetPool(ctx, store.ID(row.ID), pool); err != nil {
		return s.abandon(ctx, &begun, err)
	}
	return s.settle(ctx, &begun)
}

// converted brings a Converting row to rest: the volume is what its pool in the engine
// says. cause is the error when that is not what was wanted.
func (s *Service) converted(ctx context.Context, row *volumeRow, pool store.Pool, cause error) error {
	done, after := *row, row.Intent.After
	done.State, done.Intent = Ready, nil
	if own := pool == store.Pool(row.ID); own == after.Quality.Thick {
		done.VirtualVolume, done.Asked, cause = *after, row.Intent.Asked, nil
		done.State = Ready
	} else if cause == nil {
		cause = errInterrupted()
	}
	if pool == containerPool(row.Container) {
		done.Pool = ID{}
	}
	b := new(batch).put(&done)
	if cause == nil {
		b.event("vvol.policy", row.ID.String(), describePolicy(&done.VirtualVolume))
	}
	s.endTask(b, row.Intent.Task, "", cause)
	if err := s.commit(ctx, b); err != nil {
		return errors.Join(cause, err)
	}
	s.measure(ctx, row.ID)
	// As after a deletion, a pool that holds nothing is tried again later.
	_ = s.prunePools(context.WithoutCancel(ctx))
	return cause
}

// describePolicy is the message of an event about a volume's quality.
func describePolicy(v *VirtualVolume) string {
	space, q := "thin", v.Quality
	if q.Thick {
		space = "thick"
	}
	text := fmt.Sprintf("%s, %s, %s", v.ServiceLevel, space, q.Durability)
	if q.MaxIOPS > 0 {
		text += fmt.Sprintf(", %d IOPS", q.MaxIOPS)
	}
	if q.MaxBytesPerSec > 0 {
		text += fmt.Sprintf(", %d bytes/s", q.MaxBytesPerSec)
	}
	if v.Policy.ProfileID != "" {
		text += fmt.Sprintf("; profile %s:%d", v.Policy.ProfileID, v.Policy.Generation)
	}
	return text
}

// gradeOld gives the rows of a catalog from before volumes had a quality what they had:
// what their level gave when nothing else could be asked for.
func (s *Service) gradeOld(ctx context.Context) error {
	s.catalog.mu.RLock()
	var old []*volumeRow
	for _, r := range s.catalog.volumes {
		if r.Quality == (Quality{}) {
			old = append(old, r)
		}
	}
	s.catalog.mu.RUnlock()
	for part := range slices.Chunk(old, groupBatches) {
		b := new(batch)
		for _, r := range part {
			next := *r
			next.Quality = Quality{Thick: r.thick(), Durability: policy.Flush}
			if k, err := s.containerByID(r.Container); err == nil {
				if l, err := k.level(r.ServiceLevel); err == nil {
					next.Quality.SnapshotLimit = l.SnapshotLimit
				}
			}
			if r.Intent != nil && r.Intent.Before != nil {
				in, before := *r.Intent, *r.Intent.Before
				before.Quality = next.Quality
				in.Before, next.Intent = &before, &in
			}
			b.put(&next)
		}
		if err := s.commit(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// Compliance is what Service.Compliance found.
type Compliance struct {
	VVol       ID          `json:"vvol"`
	Policy     Policy      `json:"policy"`
	Compliant  bool        `json:"compliant"`
	Violations []Violation `json:"violations"`
}

// Compliance compares what was asked for a volume with what is so now: whether it is what
// its policy asked, whether its level is still offered with these bounds, whether the
// space of a thick volume is reserved, whether it has no more snapshots than it may, and
// whether the data path, where it is attached, enforces its limits and durability. Nothing
// of this is stored. Errors: ErrNotFound.
func (s *Service) Compliance(ctx context.Context, id ID) (Compliance, error) {
	row := s.row(id)
	if row == nil || !row.listable() {
		return Compliance{}, fmt.Errorf("%w: vvol %v", ErrNotFound, id)
	}
	c := Compliance{VVol: id, Policy: row.Policy, Violations: []Violation{}}
	if row.Asked != (Quality{}) {
		c.Violations = append(c.Violations, row.Quality.Differs(row.Asked)...)
	}
	c.Violations = append(c.Violations, s.notOffered(row)...)
	if row.thick() {
		v, err := s.notReserved(ctx, row)
		if err != nil {
			return Compliance{}, err
		}
		c.Violations = append(c.Violations, v...)
	}
	s.catalog.mu.RLock()
	n := s.catalog.bySource.Size(id)
	s.catalog.mu.RUnlock()
	if limit := row.snapshotLimit(s.options.MaxSnapshots); n > limit {
		c.Violations = append(c.Violations, Violation{What: "snapshots", Expected: fmt.Sprint("at most ", limit), Current: fmt.Sprint(n)})
	}
	if q, attached := s.options.Endpoints.Quality(id); attached {
		for _, v := range q.Enforces(row.Quality) {
			v.What = "in force: " + v.What
			c.Violations = append(c.Violations, v)
		}
	}
	c.Compliant = len(c.Violations) == 0
	return c, nil
}

// notOffered lists where the container offers a volume's quality no more.
func (s *Service) notOffered(row *volumeRow) []Violation {
	gone := []Violation{{What: "serviceLevel", Expected: row.ServiceLevel, Current: "not offered"}}
	k, err := s.containerByID(row.Container)
	if err != nil {
		return gone
	}
	l, err := k.level(row.ServiceLevel)
	if err != nil {
		return gone
	}
	q := row.Quality
	if row.SnapshotOf != (ID{}) {
		q.Thick = !l.Thin
	}
	return l.Refuses(q)
}

// notReserved tells when less is reserved for a thick volume than it may need, or the
// volume draws on what others may take.
func (s *Service) notReserved(ctx context.Context, row *volumeRow) ([]Violation, error) {
	info, err := s.options.Engine.Stat(ctx, store.ID(row.ID))
	if err != nil {
		return nil, translate(err)
	}
	need := row.Size - min(info.InPlace, row.Size)
	var have uint64
	if used := s.options.Engine.PoolUsage(store.Pool(row.ID)); info.Pool == store.Pool(row.ID) {
		s.capacity.mu.Lock()
		if share := s.capacity.shares[row.ID]; share > used {
			have = share - used
		}
		s.capacity.mu.Unlock()
	}
	if have >= need {
		return nil, nil
	}
	return []Violation{{What: "reservedBytes", Expected: fmt.Sprint(need), Current: fmt.Sprint(have)}}, nil
}

// snapshotLimit is how many snapshots a volume may have.
func (r *volumeRow) snapshotLimit(otherwise int) int {
	if n := r.Quality.SnapshotLimit; n > 0 {
		return n
	}
	return otherwise
}
