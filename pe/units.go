package pe

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"vvsim/scsi"
	"vvsim/scsi/device"
	"vvsim/vvol"
)

// maxCompareWrite is what the Block Limits page offers for COMPARE AND WRITE, in
// logical blocks; ESXi uses one.
const maxCompareWrite = 128

// newStaticUnits makes what answers where no volume is.
func (t *Target) newStaticUnits() (err error) {
	t.absent = device.Absent{LUNs: t.reportLUNs, Sense: func() scsi.SenseData {
		return scsi.Sense(scsi.IllegalRequest, t.o.Knobs().UnboundSense)
	}}
	// LUN 0 answers REPORT LUNS while nothing is mapped there; ESXi refuses qualifier
	// 001b, so that it is as absent as any other (scsi.md 1.5).
	t.zero = device.Absent{LUNs: t.reportLUNs, Sense: scsi.UnsupportedLUN}
	t.wellKnown, err = device.New(t.config(device.WellKnown, device.Identity{}))
	return err
}

// config is what all units share.
func (t *Target) config(kind device.Kind, id device.Identity) device.Config {
	id.TargetName = t.o.TargetName
	return device.Config{Kind: kind, Identity: id, Ports: t.ports.list, SetPorts: t.setPorts, LUNs: t.reportLUNs, Knobs: t.o.Knobs,
		Panicked: func(value any, stack []byte) { t.panicked(vvol.ID{}, value, stack) }}
}

func (t *Target) panicked(id vvol.ID, value any, stack []byte) {
	if f := t.o.Events.Panic; f != nil {
		f(id, value, stack)
	}
}

func (t *Target) newAdministrative(e Endpoint) (*device.LogicalUnit, error) {
	naa := EndpointNAA(t.o.ArrayID, e.LUN)
	return device.New(t.config(device.Administrative, device.Identity{NAA: naa, Serial: serial(naa)}))
}

// serial is the unit serial number of a designator.
func serial(n NAA) string { return strings.TrimPrefix(n.String(), "naa.") }

func (t *Target) newVolumeUnit(u *unit, _ vvol.VirtualVolume) (*device.LogicalUnit, error) {
	l := t.o.Engine.Limits()
	c := t.config(device.Volume, device.Identity{NAA: u.naa, Serial: serial(u.naa)})
	c.Medium = medium{u.object, &u.sync}
	c.Limits = device.Limits{Granularity: l.BlockSize, MaxTransfer: l.MaxTransfer, AtomicWrite: l.AtomicWrite,
		MaxCompareWrite: min(maxCompareWrite, l.MaxTransfer/2/device.BlockLength), MaxUnmap: l.MaxUnmap, WriteThrough: l.Sync}
	c.Translate = func(err error, lba uint64, write bool) (scsi.Status, *scsi.SenseData) {
		status, sense, known := translate(failure{err, lba, write})
		if f := t.o.Events.InternalFailure; !known && f != nil {
			f(u.volume, err)
		}
		return status, sense
	}
	c.CopyTarget = t.copyTarget
	c.Panicked = func(value any, stack []byte) { t.panicked(u.volume, value, stack) }
	if t.o.Reservations != nil {
		c.Reservations = keptReservations{t.o.Reservations, u.volume}
	}
	return device.New(c)
}

// copyTarget finds the unit with a designator among those that the nexus can
// reach: EXTENDED COPY gives no access that a host does not have.
func (t *Target) copyTarget(n *scsi.Nexus, naa [16]byte) *device.LogicalUnit {
	t.mu.Lock()
	u := t.byNAA[NAA(naa)]
	t.mu.Unlock()
	if u == nil || !t.reaches(n.Routes.(*host), u) {
		return nil
	}
	return u.lu
}

// keptReservations is the device's store for one volume.
type keptReservations struct {
	r  Reservations
	id vvol.ID
}

func (k keptReservations) Load() ([]byte, error) { return k.r.ReservationState(k.id) }

func (k keptReservations) Save(ctx context.Context, state []byte) error {
	return k.r.SaveReservationState(ctx, k.id, state)
}

// portGroups holds the access state of every target port group, the same for all
// logical units and on all paths (scsi.md 0 rule 7).
// Every command looks at it, without a lock.
type portGroups struct {
	mu     sync.Mutex // held by changes
	groups atomic.Pointer[[]device.PortGroup]
}

func newPortGroups(n int) *portGroups {
	var all []device.PortGroup
	for i := range max(n, 1) {
		all = append(all, device.PortGroup{ID: uint16(i + 1)})
	}
	g := &portGroups{}
	g.groups.Store(&all)
	return g
}

// list returns a slice that nobody changes.
func (g *portGroups) list() []device.PortGroup { return *g.groups.Load() }

// setPorts changes access states for the whole array; every nexus but by hears of
// it by ASYMMETRIC ACCESS STATE CHANGED (SPC-4 6.45).
func (t *Target) setPorts(by *scsi.Nexus, states map[uint16]device.AccessState) bool {
	t.ports.mu.Lock()
	next := slices.Clone(t.ports.list())
	for i := range next {
		if s, ok := states[next[i].ID]; ok {
			next[i].State = s
		}
	}
	t.ports.groups.Store(&next)
	t.ports.mu.Unlock()
	for _, u := range t.everyUnit() {
		if lu, ok := u.(*device.LogicalUnit); ok {
			lu.Attention(scsi.AccessStateChanged, func(n *scsi.Nexus) bool { return n != by })
		}
	}
	return true
}
