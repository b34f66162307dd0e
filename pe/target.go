package pe

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"vvsim/scsi"
	"vvsim/scsi/device"
	"vvsim/vvol"
	"vvsim/vvol/store"
)

// Options of a Target.
type Options struct {
	Engine     store.Engine
	ArrayID    uint64 // 36 bits count; basis of all designators
	TargetName string // iSCSI name, for VPD page 83h
	Portals    int    // number of target portal groups, each one target port
	Endpoints  []Endpoint

	// Reservations keeps persistent reservations with APTPL of volumes.
	Reservations Reservations
	// Knobs are read at each use and may change at any time.
	Knobs func() device.Knobs
	// DrainTimeout is how long Detach and Unmap wait for running commands before
	// they are aborted.
	DrainTimeout time.Duration
	Events       Events
}

// Endpoint is the configuration of one protocol endpoint.
type Endpoint struct {
	Name string
	LUN  uint16 // in simple form, 1-16383
}

// Reservations keeps opaque reservation state; vvol.Service does.
type Reservations interface {
	ReservationState(id vvol.ID) ([]byte, error)
	SaveReservationState(ctx context.Context, id vvol.ID, state []byte) error
}

// Events are told, from any goroutine. Nil functions are passed over.
type Events struct {
	// InternalFailure is an error that has no row in the sense table.
	InternalFailure func(volume vvol.ID, err error)
	// Panic is a panic in a command, with its stack.
	Panic func(volume vvol.ID, value any, stack []byte)
}

// DefaultDrainTimeout of Options.
const DefaultDrainTimeout = 10 * time.Second

// Target routes SCSI commands by initiator and LUN (scsi.Target), and takes
// bindings from the control plane (vvol.Endpoints). Safe for concurrent use.
type Target struct {
	o         Options
	ports     *portGroups
	endpoints []*endpoint // in order of LUN
	pes       routeTable  // by LUN number, simple form only
	disks     routeTable  // flat aliases by LUN number
	absent    scsi.LogicalUnit
	zero      scsi.LogicalUnit // LUN 0 while no volume is mapped there
	wellKnown scsi.LogicalUnit

	mu       sync.Mutex // guards what follows; never held during I/O
	hosts    map[string]*host
	units    map[vvol.ID]*unit
	byNAA    map[NAA]*unit
	attached map[vvol.BindingID]*attachment
	mapped   map[uint16]*route
	nexuses  map[*scsi.Nexus]*host
}

// endpoint is a protocol endpoint with its administrative logical unit.
type endpoint struct {
	Endpoint
	id vvol.PEID
	lu *device.LogicalUnit
}

// host is what is known of one initiator name. It lives while a session or a
// binding of that name does.
type host struct {
	name string
	subs routeTable // bound volumes by subsidiaryKey
	refs int        // sessions and bindings; guarded by Target.mu
}

// New returns a Target without routes.
func New(o Options) (*Target, error) {
	if o.DrainTimeout == 0 {
		o.DrainTimeout = DefaultDrainTimeout
	}
	t := &Target{o: o, ports: newPortGroups(o.Portals), hosts: map[string]*host{}, units: map[vvol.ID]*unit{},
		byNAA: map[NAA]*unit{}, attached: map[vvol.BindingID]*attachment{}, mapped: map[uint16]*route{},
		nexuses: map[*scsi.Nexus]*host{}}
	if err := t.newStaticUnits(); err != nil {
		return nil, err
	}
	for _, e := range o.Endpoints {
		lu, err := t.newAdministrative(e)
		if err != nil {
			return nil, fmt.Errorf("protocol endpoint %s: %w", e.Name, err)
		}
		t.endpoints = append(t.endpoints, &endpoint{Endpoint: e, id: vvol.PEID(EndpointNAA(o.ArrayID, e.LUN).String()), lu: lu})
		t.pes.put(uint64(e.LUN), newRoute(nil, lu))
	}
	slices.SortFunc(t.endpoints, func(a, b *endpoint) int { return cmp.Compare(a.LUN, b.LUN) })
	return t, nil
}

// find returns the route of a LUN as host h sees it, nil when there is none.
// scsi.md 1.3: bytes 0-1 of a conglomerate LUN are the protocol endpoint in
// simple form, bytes 2-7 the subsidiary id in one of three forms.
func (t *Target) find(h *host, l scsi.LUN) *route {
	if id, ok := l.Subsidiary(); ok {
		_, pe, ok := l.Administrative().SingleLevel()
		if !ok {
			return nil
		}
		return h.subs.get(subsidiaryKey(uint16(pe), id))
	}
	method, n, ok := l.SingleLevel()
	if !ok || n > scsi.MaxSimpleLUN {
		return nil
	}
	switch method {
	case scsi.AddressSimple:
		if r := t.pes.get(n); r != nil || n > scsi.MaxPeripheralLUN {
			return r
		}
		return t.disks.get(n)
	case scsi.AddressFlat:
		return t.disks.get(n)
	}
	return nil
}

// Locate tells which volume and which protocol endpoint a nexus addresses by a LUN: no
// volume for an endpoint itself, no endpoint for an ordinary LUN, neither where nothing is.
func (t *Target) Locate(n *scsi.Nexus, l scsi.LUN) (volume vvol.ID, endpoint string) {
	r := t.find(n.Routes.(*host), l)
	if r == nil {
		return volume, ""
	}
	if r.unit != nil {
		volume = r.unit.volume
		if _, behind := l.Subsidiary(); !behind {
			return volume, ""
		}
	}
	_, number, _ := l.Administrative().SingleLevel()
	for _, e := range t.endpoints {
		if uint64(e.LUN) == number {
			return volume, e.Name
		}
	}
	return volume, ""
}

// fallback is the logical unit that answers where find has no route.
func (t *Target) fallback(l scsi.LUN) scsi.LogicalUnit {
	if l == (scsi.LUN{}) {
		return t.zero
	}
	if l == scsi.ReportLUNsWellKnown {
		return t.wellKnown
	}
	return t.absent
}

// Prepare implements scsi.LogicalUnit.
func (t *Target) Prepare(task *scsi.Task) int {
	r := t.find(task.Nexus.Routes.(*host), task.LUN)
	if r == nil || !r.enter() {
		task.Unit = t.fallback(task.LUN)
	} else {
		task.Unit = r
	}
	return task.Unit.Prepare(task)
}

// Execute implements scsi.LogicalUnit.
func (t *Target) Execute(task *scsi.Task) scsi.Response { return task.Unit.Execute(task) }

// ExecuteAll implements scsi.Target: tasks in a row that go the same way go together.
func (t *Target) ExecuteAll(tasks []*scsi.Task, answers []scsi.Response) {
	for len(tasks) > 0 {
		n := 1
		if r, ok := tasks[0].Unit.(*route); ok && r.unit != nil {
			for n < len(tasks) && r.carries(tasks[n]) {
				n++
			}
			r.executeAll(tasks[:n], answers)
		} else {
			answers[0] = t.Execute(tasks[0])
		}
		tasks, answers = tasks[n:], answers[n:]
	}
}

// Manage implements scsi.LogicalUnit. Resets of the whole target reach every
// logical unit, those of other hosts included (SAM-5 7.10).
func (t *Target) Manage(ctx context.Context, m scsi.TaskManagement) scsi.ManagementResponse {
	h := m.Nexus.Routes.(*host)
	switch m.Function {
	case scsi.TargetWarmReset, scsi.TargetColdReset:
		m.Function = scsi.LogicalUnitReset
		return manageAll(ctx, t.everyUnit(), m)
	case scsi.ITNexusReset:
		return manageAll(ctx, t.reachable(h), m)
	}
	r := t.find(h, m.LUN)
	if r == nil {
		return t.fallback(m.LUN).Manage(ctx, m)
	}
	response := r.Manage(ctx, m)
	if r.unit == nil && m.Function == scsi.LogicalUnitReset && t.o.Knobs().ResetSubsidiaries {
		return worst(response, manageAll(ctx, t.subsidiaries(h, m.LUN), m))
	}
	return response
}

// manageAll performs m on all units and returns the worst answer.
func manageAll(ctx context.Context, units []scsi.LogicalUnit, m scsi.TaskManagement) scsi.ManagementResponse {
	answer := scsi.FunctionComplete
	for _, u := range units {
		answer = worst(answer, u.Manage(ctx, m))
	}
	return answer
}

// worst prefers the answer that is not FunctionComplete.
func worst(a, b scsi.ManagementResponse) scsi.ManagementResponse {
	if a == scsi.FunctionComplete {
		return b
	}
	return a
}

// everyUnit lists all logical units of the target.
func (t *Target) everyUnit() []scsi.LogicalUnit {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.fixed()
	for _, u := range t.units {
		all = append(all, u.lu)
	}
	return all
}

// fixed lists the units that every nexus sees, flat aliases left out.
func (t *Target) fixed() []scsi.LogicalUnit {
	all := []scsi.LogicalUnit{t.wellKnown}
	for _, e := range t.endpoints {
		all = append(all, e.lu)
	}
	return all
}

// reachable lists the logical units that h can address, in no order; one that it
// has several ways to stands there several times.
func (t *Target) reachable(h *host) []scsi.LogicalUnit {
	all := t.fixed()
	for _, r := range t.disks.all {
		all = append(all, r.lu)
	}
	for _, r := range h.subs.all {
		all = append(all, r.lu)
	}
	return all
}

// subsidiaries lists the units bound to h below the protocol endpoint at l.
func (t *Target) subsidiaries(h *host, l scsi.LUN) (all []scsi.LogicalUnit) {
	_, pe, _ := l.SingleLevel()
	for key, r := range h.subs.all {
		if key>>40 == pe {
			all = append(all, r.lu)
		}
	}
	return all
}

// Close ends what units do beside commands and waits for it. Called before the engine
// is closed, when no session is left.
func (t *Target) Close() {
	for _, u := range t.everyUnit() {
		if lu, ok := u.(*device.LogicalUnit); ok {
			lu.Close()
		}
	}
}

// NexusEstablished implements scsi.Target.
func (t *Target) NexusEstablished(n *scsi.Nexus) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.retain(n.Initiator)
	n.Routes = h
	t.nexuses[n] = h
	return nil
}

// NexusLost implements scsi.LogicalUnit.
func (t *Target) NexusLost(n *scsi.Nexus) {
	t.mu.Lock()
	h, ok := t.nexuses[n]
	if !ok {
		t.mu.Unlock()
		return
	}
	delete(t.nexuses, n)
	units := t.reachable(h) // before a route that is withdrawn now is gone: Detach tells those that it saw here
	t.mu.Unlock()
	for _, u := range units {
		u.NexusLost(n)
	}
	t.mu.Lock()
	t.release(h)
	t.mu.Unlock()
}

// retain returns the host of an initiator name; release gives it back. Both are
// called with mu held.
func (t *Target) retain(name string) *host {
	h := t.hosts[name]
	if h == nil {
		h = &host{name: name}
		t.hosts[name] = h
	}
	h.refs++
	return h
}

func (t *Target) release(h *host) {
	if h.refs--; h.refs == 0 {
		delete(t.hosts, h.name)
	}
}

var _ scsi.Target = (*Target)(nil)
