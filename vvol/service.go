package vvol

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"vvsim/vvol/alarm"
	"vvsim/vvol/lock"
	"vvsim/vvol/store"
)

// Service is the control plane of one array: it changes the catalog, the
// engine's volumes and the endpoints' routes, in that order (see the package
// comment). All methods are safe for concurrent use; operations on one volume run
// one after the other, on different volumes beside each other. Queries read the
// index in memory and never wait for a disk.
//
// Errors are this package's sentinels with facts, or those of a cancelled ctx.
type Service struct {
	options Options
	arrayID string
	limits  store.Limits

	locks       lock.Table
	catalog     *catalog
	committer   committer
	capacity    capacity
	subscribers subscribers
	conflicts   alarm.Recent // that were reported
	alarms      alarms

	gate    sync.Mutex // guards the three below
	closed  bool
	running int
	idle    chan struct{} // closed when running falls to 0 after Close

	random sync.Mutex // serialises reads of options.Random
}

// ArrayID returns the id that the catalog in meta gives the array, and makes a
// random one on an empty catalog. It lets names that depend on it be known before Open.
func ArrayID(ctx context.Context, meta store.Meta) (string, error) {
	o := Options{}
	o.EnsureDefaults()
	return identify(ctx, meta, o)
}

func identify(ctx context.Context, meta store.Meta, o Options) (string, error) {
	fresh, err := randomID(o.Random)
	if err != nil {
		return "", err
	}
	row := formatRow{}
	err = meta.Update(ctx, func(tx store.MetaTx) error {
		v, err := tx.Get([]byte(prefixFormat))
		if errors.Is(err, store.ErrNotFound) {
			row = formatRow{Version: catalogVersion, ArrayID: o.ArrayID}
			if row.ArrayID == "" {
				row.ArrayID = store.ID(fresh).String()
			}
			value, err := row.encode()
			if err != nil {
				return err
			}
			return tx.Set([]byte(prefixFormat), value)
		}
		if err != nil {
			return err
		}
		r, err := decodeRow(prefixFormat, v)
		if err != nil {
			return err
		}
		row = *r.(*formatRow)
		return nil
	})
	if err != nil {
		return "", translate(err)
	}
	if row.Version > catalogVersion {
		return "", fmt.Errorf("%w: the catalog is of version %d, this program knows up to %d", ErrUnsupported, row.Version, catalogVersion)
	}
	if o.ArrayID != "" && o.ArrayID != row.ArrayID {
		return "", fmt.Errorf("%w: the catalog belongs to array %q, not %q", ErrInvalid, row.ArrayID, o.ArrayID)
	}
	return row.ArrayID, nil
}

// Open loads the catalog, finishes or undoes the operations that a crash cut
// off, and sets the engine's pool limits. It attaches nothing; see Start.
func Open(ctx context.Context, o Options) (*Service, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	s := &Service{options: o, limits: o.Engine.Limits(), catalog: newCatalog(), idle: make(chan struct{})}
	s.subscribers.max = o.MaxSubscribers
	var err error
	if s.arrayID, err = identify(ctx, o.Engine.Meta(), o); err != nil {
		return nil, err
	}
	err = o.Engine.Meta().View(ctx, func(tx store.MetaTx) error {
		return loadRows(tx, func(r record) { r.put(s.catalog) })
	})
	if err != nil {
		return nil, translate(err)
	}
	if err := s.resume(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// ArrayID is the array's id; stable for ever.
func (s *Service) ArrayID() string { return s.arrayID }

// Endpoints lists the protocol endpoints in order of their LUN.
func (s *Service) Endpoints() []ProtocolEndpoint { return s.options.Endpoints.List() }

// EnsureDefaults creates container "default", 1 TiB, thin by default, when the
// array has no container.
func (s *Service) EnsureDefaults(ctx context.Context) error {
	if len(s.Containers()) > 0 {
		return nil
	}
	_, err := s.CreateContainer(ctx, ContainerSpec{Name: "default", Size: 1 << 40, ServiceLevels: DefaultServiceLevels()})
	return err
}

// DefaultServiceLevels are those of a container that names none: "default" is
// thin, "thick" reserves space at creation, "bronze" is thin with few snapshots.
func DefaultServiceLevels() []ServiceLevel {
	return []ServiceLevel{
		{Name: "default", Thin: true},
		{Name: "thick"},
		{Name: "bronze", Thin: true, SnapshotLimit: 8},
	}
}

// Close refuses further operations, waits for those that run, and ends all
// subscriptions. It detaches nothing and leaves engine and endpoints open.
// Queries still answer. Idempotent.
func (s *Service) Close() error {
	s.gate.Lock()
	if !s.closed {
		s.closed = true
		if s.running == 0 {
			close(s.idle)
		}
	}
	s.gate.Unlock()
	<-s.idle
	s.subscribers.close()
	return nil
}

// begin admits an operation that changes something; end it.
func (s *Service) begin(ctx context.Context) (end func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.gate.Lock()
	defer s.gate.Unlock()
	if s.closed {
		return nil, fmt.Errorf("%w: the service is closed", ErrNotActive)
	}
	s.running++
	return func() {
		s.gate.Lock()
		defer s.gate.Unlock()
		if s.running--; s.running == 0 && s.closed {
			close(s.idle)
		}
	}, nil
}

// now is the clock's time as it survives a row: UTC, no monotonic part.
func (s *Service) now() time.Time { return s.options.Clock().UTC().Round(time.Microsecond) }

func (s *Service) newID() (ID, error) {
	s.random.Lock()
	defer s.random.Unlock()
	return randomID(s.options.Random)
}

// randomID makes a UUID of version 4 (RFC 9562 5.4).
func randomID(r io.Reader) (id ID, err error) {
	if _, err := io.ReadFull(r, id[:]); err != nil {
		return id, fmt.Errorf("%w: source of random numbers: %w", ErrStorage, err)
	}
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id, nil
}

// lockReady locks a volume, finishes or undoes what an earlier operation left
// half done, and returns its row, which is Ready or Prepared.
func (s *Service) lockReady(ctx context.Context, id ID) (row *volumeRow, unlock func(), err error) {
	rows, unlock, err := s.lockVolumes(ctx, []ID{id}, nil)
	if err != nil {
		return nil, nil, err
	}
	return rows[0], unlock, nil
}

// lockVolumes does so for several volumes that exist and for ids of volumes to
// come. It begins an operation, which ends with unlock.
func (s *Service) lockVolumes(ctx context.Context, ids, coming []ID) (rows []*volumeRow, unlock func(), err error) {
	end, err := s.begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	names := make([]string, 0, len(ids)+len(coming))
	for _, id := range ids {
		names = append(names, volumeLock(id))
	}
	for _, id := range coming {
		names = append(names, volumeLock(id))
	}
	release, err := s.locks.Acquire(ctx, names...)
	if err != nil {
		end()
		return nil, nil, err
	}
	unlock = func() {
		release()
		end()
	}
	rows = make([]*volumeRow, len(ids))
	for i, id := range ids {
		if rows[i], err = s.settled(ctx, id); err != nil {
			unlock()
			return nil, nil, err
		}
	}
	return rows, unlock, nil
}

// settled returns the row of a locked volume. A state other than Ready and
// Prepared under the lock means that an operation failed and its undoing too: it
// is tried again.
func (s *Service) settled(ctx context.Context, id ID) (*volumeRow, error) {
	row := s.row(id)
	if row != nil && row.State != Ready && row.State != Prepared {
		if err := s.settle(ctx, row); err != nil {
			return nil, err
		}
		row = s.row(id)
	}
	if row == nil {
		return nil, fmt.Errorf("%w: vvol %v", ErrNotFound, id)
	}
	return row, nil
}

// row returns the catalog's row, nil when there is none.
func (s *Service) row(id ID) *volumeRow {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	return s.catalog.volumes[id]
}

// checkName tests free text that people see.
func checkName(what, name string) error {
	if len(name) > maxNameBytes {
		return fmt.Errorf("%w: %s of %d bytes, at most %d", ErrInvalid, what, len(name), maxNameBytes)
	}
	if err := checkText(what, name); err != nil {
		return err
	}
	return nil
}

// checkText refuses what does not survive being written as JSON text.
func checkText(what, text string) error {
	if strings.ToValidUTF8(text, "") != text {
		return fmt.Errorf("%w: %s is not UTF-8", ErrInvalid, what)
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		return fmt.Errorf("%w: %s has a control character at byte %d", ErrInvalid, what, i)
	}
	return nil
}

// checkSize tests the size of a volume or container.
func (s *Service) checkSize(size, limit uint64) error {
	unit := max(uint64(s.limits.BlockSize), sizeUnit)
	if size == 0 || size%unit != 0 {
		return fmt.Errorf("%w: size of %d bytes, must be a positive multiple of %d", ErrInvalid, size, unit)
	}
	if limit > 0 && size > limit {
		return fmt.Errorf("%w: size of %d bytes, at most %d", ErrInvalid, size, limit)
	}
	return nil
}
