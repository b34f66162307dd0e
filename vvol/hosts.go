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

// SawInitiator notes that an initiator logged in: a name that no host has becomes
// a host of that name. It writes only then. Errors: ErrInvalid (name), ErrTooMany.
func (s *Service) SawInitiator(ctx context.Context, name string) error {
	end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	_, err = s.ensureHost(ctx, name)
	return err
}

// ensureHost returns the host of an initiator, made when there is none.
func (s *Service) ensureHost(ctx context.Context, initiator string) (HostID, error) {
	if id, ok := s.hostOf(initiator); ok {
		return id, nil
	}
	if err := checkInitiator(initiator); err != nil {
		return "", err
	}
	id := HostID(initiator)
	unlock, err := s.locks.Acquire(ctx, hostLock(id))
	if err != nil {
		return "", err
	}
	defer unlock()
	if id, ok := s.hostOf(initiator); ok {
		return id, nil
	}
	row := &hostRow{Host{ID: id, Initiators: []string{initiator}, FirstSeen: s.now()}}
	b := new(batch).put(row).event("host.seen", initiator, "new initiator")
	b.guard = func(c *catalog) error {
		if n := len(c.hosts); n >= s.options.MaxHosts {
			return fmt.Errorf("%w: %d hosts", ErrTooMany, n)
		}
		return nil
	}
	return id, s.commit(ctx, b)
}

func (s *Service) hostOf(initiator string) (HostID, bool) {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	id, ok := s.catalog.initiators[initiator]
	return id, ok
}

// CheckInitiators tests the form of iSCSI names as SawInitiator does. Errors: ErrInvalid.
func CheckInitiators(names []string) error {
	for _, name := range names {
		if err := checkInitiator(name); err != nil {
			return err
		}
	}
	return nil
}

// checkInitiator tests the form of an iSCSI name (RFC 7143 4.2.7). Names are
// compared byte by byte; writing them in lower case is the initiator's duty.
func checkInitiator(name string) error {
	if name == "" || len(name) > maxInitiatorName {
		return fmt.Errorf("%w: initiator name of %d bytes, must have 1 to %d", ErrInvalid, len(name), maxInitiatorName)
	}
	known := slices.ContainsFunc([]string{"iqn.", "eui.", "naa."}, func(p string) bool { return strings.HasPrefix(strings.ToLower(name), p) })
	if !known {
		return fmt.Errorf("%w: initiator name %q does not begin with iqn., eui. or naa.", ErrInvalid, name)
	}
	if strings.ContainsAny(name, " ") {
		return fmt.Errorf("%w: initiator name %q has a space", ErrInvalid, name)
	}
	return checkText("initiator name", name)
}

// Hosts lists all, ordered by id.
func (s *Service) Hosts() []Host {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	list := make([]Host, 0, len(s.catalog.hosts))
	for _, r := range s.catalog.hosts {
		list = append(list, r.copyOut())
	}
	slices.SortFunc(list, func(a, b Host) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// Host finds a host by its id or one of its initiators. Errors: ErrNotFound.
func (s *Service) Host(ref string) (Host, error) {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	c := s.catalog
	if r := c.hosts[HostID(ref)]; r != nil {
		return r.copyOut(), nil
	}
	if id, ok := c.initiators[ref]; ok {
		return c.hosts[id].copyOut(), nil
	}
	return Host{}, fmt.Errorf("%w: host %q", ErrNotFound, ref)
}

// ReservationState returns what SaveReservationState kept for a volume, nil when
// there is nothing. The result is the caller's.
func (s *Service) ReservationState(id ID) ([]byte, error) { return s.reservation(id.String()) }

// SaveReservationState keeps the persistent reservations of a volume's logical
// unit (APTPL, SPC-4 5.12.5), opaque here and replaced as a whole; empty data
// removes them. They go with the volume. It takes no volume lock, so that a
// command that is being drained can finish it. Errors: ErrNotFound, ErrInvalid (size).
func (s *Service) SaveReservationState(ctx context.Context, id ID, data []byte) error {
	return s.saveReservation(ctx, id.String(), data, func(c *catalog) error {
		if r := c.volumes[id]; r == nil || r.State == Deleting {
			return fmt.Errorf("%w: vvol %v", ErrNotFound, id)
		}
		return nil
	})
}

// EndpointReservationState is ReservationState of a protocol endpoint.
func (s *Service) EndpointReservationState(id PEID) ([]byte, error) {
	return s.reservation(string(id))
}

// SaveEndpointReservationState is SaveReservationState of a protocol endpoint.
func (s *Service) SaveEndpointReservationState(ctx context.Context, id PEID, data []byte) error {
	if !strings.HasPrefix(string(id), "naa.") || len(id) > maxNameBytes {
		return fmt.Errorf("%w: protocol endpoint %q", ErrInvalid, id)
	}
	return s.saveReservation(ctx, string(id), data, nil)
}

func (s *Service) reservation(name string) (data []byte, err error) {
	s.catalog.mu.RLock()
	known := s.catalog.reserved[name]
	s.catalog.mu.RUnlock()
	if !known {
		return nil, nil // without the engine, which a bind would wait for
	}
	row := &reservationRow{Name: name}
	err = s.options.Engine.Meta().View(context.Background(), func(tx store.MetaTx) error {
		v, err := tx.Get([]byte(row.key()))
		data = slices.Clone(v)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return data, translate(err)
}

func (s *Service) saveReservation(ctx context.Context, name string, data []byte, guard func(*catalog) error) error {
	end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if len(data) > maxReservation {
		return fmt.Errorf("%w: reservation state of %d bytes, at most %d", ErrInvalid, len(data), maxReservation)
	}
	b := &batch{guard: guard}
	if row := (&reservationRow{Name: name, Data: slices.Clone(data)}); len(data) == 0 {
		b.drop(row)
	} else {
		b.put(row)
	}
	return s.commit(ctx, b)
}
