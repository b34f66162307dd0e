package device

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"vvsim/scsi"
)

// Persistent reservation types (SPC-4 6.15.3.4).
const (
	writeExclusive            = 1
	exclusiveAccess           = 3
	writeExclusiveRegistrants = 5
	exclusiveAccessRegistrant = 6
	writeExclusiveAll         = 7
	exclusiveAccessAll        = 8
)

func validType(t byte) bool {
	switch t {
	case writeExclusive, exclusiveAccess, writeExclusiveRegistrants, exclusiveAccessRegistrant, writeExclusiveAll, exclusiveAccessAll:
		return true
	}
	return false
}

// allRegistrants tells whether every registered nexus holds the reservation.
func allRegistrants(t byte) bool { return t == writeExclusiveAll || t == exclusiveAccessAll }

// registrantsOnly tells whether registered nexuses have access.
func registrantsOnly(t byte) bool {
	return t == writeExclusiveRegistrants || t == exclusiveAccessRegistrant || allRegistrants(t)
}

// writeOnly tells whether reads are open to everybody.
func writeOnly(t byte) bool {
	return t == writeExclusive || t == writeExclusiveRegistrants || t == writeExclusiveAll
}

// registration is the key of one I_T nexus.
type registration struct {
	Nexus scsi.NexusID
	Key   uint64
}

// reservations is the reservation state of a logical unit. Guarded by
// LogicalUnit.mu. A persistent reservation belongs to nexuses by name, an SPC-2
// one to a session.
type reservations struct {
	generation uint32
	all        []registration
	kind       byte          // type of the reservation, 0 for none
	holder     *scsi.NexusID // nil for none and for all registrants types
	persist    bool          // APTPL of the last REGISTER
	spc2       *scsi.Nexus
}

func (r *reservations) find(id scsi.NexusID) *registration {
	for i := range r.all {
		if r.all[i].Nexus == id {
			return &r.all[i]
		}
	}
	return nil
}

// holds tells whether a nexus holds the reservation.
func (r *reservations) holds(id scsi.NexusID) bool {
	if r.kind == 0 || r.find(id) == nil {
		return false
	}
	return allRegistrants(r.kind) || r.holder != nil && *r.holder == id
}

func (r *reservations) releaseSPC2(n *scsi.Nexus) {
	if r.spc2 == n {
		r.spc2 = nil
	}
}

// refreshGuard tells the hot path whether reservations need a look. Called with
// mu held.
func (lu *LogicalUnit) refreshGuard() {
	r := &lu.reservations
	lu.guarded.Store(r.kind != 0 || r.spc2 != nil || len(r.all) > 0)
}

// conflicts tells whether a command ends with RESERVATION CONFLICT (SPC-4 5.13.1,
// SPC-2 5.5.1).
func (lu *LogicalUnit) conflicts(n *scsi.Nexus, c *command, b []byte) bool {
	if c.class == ownClass {
		return lu.reservationCommandConflicts(n, c)
	}
	class := c.class
	if c.op == scsi.OpStartStopUnit && b[4]&0x01 != 0 || c.op == scsi.OpPreventAllow && b[4]&0x03 == 0 {
		class = readyClass // START=1 and ALLOW are open under persistent types (SPC-4 table 66)
	}
	return lu.excludes(n, class)
}

// excludes applies the reservation to a class of commands.
func (lu *LogicalUnit) excludes(n *scsi.Nexus, class reservationClass) bool {
	if class == freeClass {
		return false
	}
	lu.mu.Lock()
	defer lu.mu.Unlock()
	r := &lu.reservations
	if r.spc2 != nil {
		return r.spc2 != n
	}
	switch {
	case r.kind == 0, class == readyClass, r.holds(n.NexusID):
		return false
	case registrantsOnly(r.kind) && r.find(n.NexusID) != nil:
		return false
	case class == readClass && writeOnly(r.kind):
		return false
	}
	return true
}

// reservationCommandConflicts keeps the two models apart: an SPC-2 reservation of
// another nexus refuses persistent commands, and registrations refuse RESERVE and
// RELEASE but for the compatible cases (SPC-4 5.13.3).
func (lu *LogicalUnit) reservationCommandConflicts(n *scsi.Nexus, c *command) bool {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	r := &lu.reservations
	switch c.op {
	case scsi.OpPersistentReserveIn, scsi.OpPersistentReserveOut:
		return r.spc2 != nil && r.spc2 != n
	}
	release := c.op == scsi.OpRelease6 || c.op == scsi.OpRelease10
	switch {
	case r.spc2 != nil:
		return r.spc2 != n && !release
	case len(r.all) == 0:
		return false
	}
	// CRH: a holder, or any registrant under a registrants type, may; nothing happens.
	return !r.holds(n.NexusID) && !(registrantsOnly(r.kind) && r.find(n.NexusID) != nil)
}

// reserve is RESERVE(6) and RESERVE(10) (SPC-2 7.21, 7.22).
func reserve(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	if len(lu.reservations.all) == 0 && !t.Aborted() { // else the nexus may be gone: see nexusOf
		lu.reservations.spc2 = t.Nexus
		lu.refreshGuard()
	}
	return scsi.Good()
}

// release is RELEASE(6) and RELEASE(10); one of somebody else's is no error.
func release(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	lu.reservations.releaseSPC2(t.Nexus)
	lu.refreshGuard()
	return scsi.Good()
}

// keptReservations is what APTPL keeps.
type keptReservations struct {
	Version    int
	Generation uint32
	Kind       byte
	Holder     *scsi.NexusID `json:",omitempty"`
	All        []registration
}

const keptVersion = 1

// loadReservations restores what APTPL kept.
func (lu *LogicalUnit) loadReservations() error {
	if lu.c.Reservations == nil {
		return nil
	}
	b, err := lu.c.Reservations.Load()
	if err != nil || len(b) == 0 {
		return err
	}
	var k keptReservations
	if err := json.Unmarshal(b, &k); err != nil || k.Version != keptVersion {
		return fmt.Errorf("device: kept reservations of version %d: %w", k.Version, err)
	}
	lu.reservations = reservations{generation: k.Generation, all: k.All, kind: k.Kind, holder: k.Holder, persist: true}
	lu.refreshGuard()
	return nil
}

// keep saves the state when APTPL asks for it; called with a copy, without mu.
func (lu *LogicalUnit) keep(ctx context.Context, r reservations) error {
	if lu.c.Reservations == nil {
		return nil
	}
	if !r.persist || len(r.all) == 0 {
		return lu.c.Reservations.Save(ctx, nil)
	}
	b, err := json.Marshal(keptReservations{keptVersion, r.generation, r.kind, r.holder, r.all})
	if err != nil {
		return err
	}
	return lu.c.Reservations.Save(ctx, b)
}

// clone is a copy that shares nothing.
func (r *reservations) clone() reservations {
	c := *r
	c.all = slices.Clone(r.all)
	if r.holder != nil {
		h := *r.holder
		c.holder = &h
	}
	return c
}
