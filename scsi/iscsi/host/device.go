package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/host/clock"
	"vvsim/scsi/iscsi/initiator"
)

// DeviceState is what a host makes of all paths together.
type DeviceState string

// Device states.
const (
	On            DeviceState = "on"       // all paths are active
	Degraded      DeviceState = "degraded" // some are
	APD           DeviceState = "apd"      // none is, for an unknown time: AllPathsDown_Start
	APDTimeout    DeviceState = "apd-timeout"
	PermanentLoss DeviceState = "permanent-loss" // all paths say so; for good
	Removed       DeviceState = "removed"        // nobody had it open; what returns is a new device [vmware-doc]
)

// Device is what one NAA designator names. Safe for concurrent use.
type Device struct {
	h    *Host
	name string
	lun  scsi.LUN
	// probeLUN is where TEST UNIT READY goes: the protocol endpoint of a subsidiary LU [inferred].
	probeLUN scsi.LUN

	// Guarded by Host.mu.
	paths   []*path
	found   bool // its paths have been looked at
	state   DeviceState
	since   time.Time
	sense   *scsi.SenseData // of the last loss; nil when no sense told of it
	working *path           // that commands go over, until it does not work any more (MRU)
	handles int
	waiting int           // commands without a path
	changed chan struct{} // closed when a state changes

	timeout, removal, fast *clock.Timer
}

// newDevice is called with Host.mu held.
func newDevice(h *Host, lun scsi.LUN, name string) *Device {
	d := &Device{h: h, name: name, lun: lun, probeLUN: lun, state: On, since: h.clock.Now(), changed: make(chan struct{})}
	if _, subsidiary := lun.Subsidiary(); subsidiary {
		d.probeLUN = lun.Administrative()
	}
	for _, l := range h.links {
		h.found++
		d.paths = append(d.paths, &path{d: d, l: l, state: Unknown, turn: turnOf(h.found, true)})
	}
	return d
}

// Name is the NAA designator as hosts write it, naa. and hex digits.
func (d *Device) Name() string { return d.name }

// LUN is where the device is on all paths.
func (d *Device) LUN() scsi.LUN { return d.lun }

// PathInfo describes one path.
type PathInfo struct {
	Name   string    `json:"name"`
	Portal string    `json:"portal"`
	State  PathState `json:"state"`
	Reason string    `json:"reason,omitempty"`
}

// DeviceInfo describes a device.
type DeviceInfo struct {
	Name  string      `json:"name"`
	State DeviceState `json:"state"`
	Since time.Time   `json:"since"` // of the host's clock
	Paths []PathInfo  `json:"paths"` // whose session was up once
}

// Info tells what the host knows of the device now.
func (d *Device) Info() DeviceInfo {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	i := DeviceInfo{Name: d.name, State: d.state, Since: d.since, Paths: []PathInfo{}}
	for _, p := range d.paths {
		if p.state != Unknown {
			i.Paths = append(i.Paths, PathInfo{p.name(), p.l.address, p.state, p.reason})
		}
	}
	return i
}

// State is the device's.
func (d *Device) State() DeviceState { return d.Info().State }

// final tells that nothing is asked of the device any more. Called with mu held.
func (d *Device) final() bool { return d.state == PermanentLoss || d.state == Removed }

func (d *Device) wake() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// probeAll is called with mu held.
func (d *Device) probeAll() {
	if d.final() { // a host sends nothing any more [vmware-doc]
		return
	}
	for _, p := range d.paths {
		if p.l.session != nil || p.state != Unknown {
			p.probe()
		}
	}
}

// linkUp and linkDown follow the session of a path. Called with mu held.
func (d *Device) linkUp(l *link) {
	for _, p := range d.paths {
		if p.l == l && !d.final() {
			p.probe()
		}
	}
}

func (d *Device) linkDown(l *link) {
	for _, p := range d.paths {
		switch {
		case p.l != l || d.final():
		case l.lost != nil:
			p.set(Lost, l.lost.Error())
		default:
			p.set(Dead, reason(l.failure()))
		}
	}
}

// lose takes a sense of permanent loss that a command met on a path: the others are asked
// whether they say the same. Called with mu held.
func (d *Device) lose(p *path, s *scsi.SenseData) {
	if d.final() {
		return
	}
	d.sense = s
	p.set(Lost, s.String())
	for _, other := range d.paths {
		if other != p && other.state != Lost && other.state != Unknown && !d.final() {
			other.suspect = true
			other.probe()
		}
	}
}

// count tells how many paths are in each state, of those that count.
func (d *Device) count() (n map[PathState]int, all int) {
	n = map[PathState]int{}
	for _, p := range d.paths {
		if p.state != Unknown {
			n[p.state]++
			all++
		}
	}
	return n, all
}

// redundancy is what a host calls the loss of one more path [memory].
func (d *Device) redundancy() string {
	n, all := d.count()
	switch left := all - n[Dead] - n[Lost]; left {
	case 0:
		return idConnectivityLost
	case 1:
		return idRedundancyLost
	}
	return idRedundancyLess
}

// verdict judges the paths. PDL needs all of them to say so; when some are silent, all
// paths down is told first, and PDL when those that come back say so, too [vmware-doc].
func (d *Device) verdict() DeviceState {
	n, all := d.count()
	down := n[Dead] + n[Lost]
	if d.h.s.ExtendAPDCondition {
		down += n[Unavailable]
	}
	switch {
	case all == 0:
		return d.state
	case n[Lost] == all:
		return PermanentLoss
	case down == all && d.state == APDTimeout:
		return APDTimeout
	case down == all:
		return APD
	case n[Active] == all:
		return On
	}
	return Degraded
}

// judge follows the paths. Called with mu held after each change.
func (d *Device) judge(reason string) {
	if !d.found || d.final() || d.h.closed {
		return
	}
	if next := d.verdict(); next != d.state {
		d.enter(next, reason)
	}
	d.wake()
}

// enter changes the state. Called with mu held.
func (d *Device) enter(next DeviceState, reason string) {
	before := d.state
	d.state, d.since = next, d.h.clock.Now()
	e := Event{Kind: DeviceChanged, Device: d.name, Before: string(before), State: string(next), Reason: reason}
	wasDown := before == APD || before == APDTimeout
	if wasDown && next != APDTimeout {
		d.timeout.Stop()
		d.h.tell(Event{Kind: DeviceChanged, Device: d.name, Before: string(before), State: string(next), ID: idAPDExit, Reason: reason})
		if next != PermanentLoss {
			d.h.probeDead()
			return
		}
	}
	switch next {
	case APD:
		e.ID = idAPDStart
		d.timeout = d.h.clock.AfterFunc(d.h.s.APDTimeout, d.timeOut)
	case APDTimeout:
		e.ID, e.Reason = idAPDTimeout, d.h.s.APDTimeout.String()
	case PermanentLoss:
		e.ID = idPermanentLoss
		d.removal = d.h.clock.AfterFunc(d.h.s.PDLDelay, d.remove)
	}
	d.h.tell(e)
}

// timeOut ends the time that all paths may be down.
func (d *Device) timeOut() {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if d.state == APD && d.h.s.APDHandling && !d.h.closed {
		d.enter(APDTimeout, "")
		d.wake()
	}
}

// remove takes a lost device away once nobody has it open.
func (d *Device) remove() {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	d.removal = nil
	d.drop()
}

// Detach takes a device away that nobody has open, as administrators do before they unmap
// it. Errors: ErrInUse.
func (d *Device) Detach() error {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if d.handles > 0 {
		return fmt.Errorf("%s: %w", d.name, ErrInUse)
	}
	if d.state != Removed && !d.h.closed {
		d.stopTimers()
		d.enter(Removed, "detached")
		d.wake()
	}
	return nil
}

// drop is called with mu held.
func (d *Device) drop() {
	if d.state == PermanentLoss && d.removal == nil && d.handles == 0 && d.h.s.AutoRemove && !d.h.closed {
		d.enter(Removed, "nobody has it open")
		d.wake()
	}
}

func (d *Device) stopTimers() {
	for _, t := range []*clock.Timer{d.timeout, d.removal, d.fast} {
		if t != nil {
			t.Stop()
		}
	}
}

// choose is the path that the next command takes: the one that the last took as long as it
// is active. Called with mu held.
func (d *Device) choose() *path {
	if d.working == nil || d.working.state != Active {
		d.working = nil
		if at := slices.IndexFunc(d.paths, func(p *path) bool { return p.state == Active }); at >= 0 {
			d.working = d.paths[at]
		}
	}
	return d.working
}

// await waits for a path. Without one, what the state says is the error: errLost, or
// ErrAllPathsDown past the time-out, for guests only with FailGuestIO.
func (d *Device) await(ctx context.Context, guest bool) (*path, error) {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	d.waiting++
	defer func() { d.waiting-- }()
	for {
		switch p := d.choose(); {
		case d.h.closed:
			return nil, ErrClosed
		case d.state == PermanentLoss:
			return nil, errLost
		case d.state == Removed:
			return nil, ErrRemoved
		case p != nil:
			return p, nil
		case d.state == APDTimeout && (!guest || d.h.s.FailGuestIO):
			return nil, &Error{Host: HostNoConnect, Err: fmt.Errorf("%w for more than %v", ErrAllPathsDown, d.h.s.APDTimeout)}
		}
		d.hurry()
		changed := d.changed
		d.h.mu.Unlock()
		var err error
		select {
		case <-changed:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		d.h.mu.Lock()
		if err != nil {
			return nil, err
		}
	}
}

// errLost is a device in permanent loss.
var errLost = errors.New("permanent loss")

// hurry probes all paths soon and again, while commands wait. Called with mu held.
func (d *Device) hurry() {
	if d.fast != nil || d.final() {
		return
	}
	d.fast = d.h.clock.AfterFunc(d.h.s.FastProbe, func() {
		d.h.mu.Lock()
		defer d.h.mu.Unlock()
		d.fast = nil
		if d.waiting > 0 && d.choose() == nil && !d.h.closed {
			for _, p := range d.paths {
				if p.probing == nil && p.state != Unknown && !d.final() {
					p.probe()
				}
			}
			d.hurry()
		}
	})
}

// lossAnswer is what commands end with on a lost device.
func (d *Device) lossAnswer() (initiator.Result, error) {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if d.sense == nil {
		return initiator.Result{}, &Error{Host: HostNoConnect, Err: errLost}
	}
	return initiator.Result{Status: scsi.StatusCheckCondition, Sense: d.sense}, nil
}
