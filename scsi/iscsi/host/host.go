package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/host/clock"
	"vvsim/scsi/iscsi/initiator"
)

// Limits of a host.
const (
	maxPortals   = 32   // sessions
	maxDevices   = 1024 // as ESXi 6.7 and later have it [host-settings]
	maxRedirects = 4    // of one login
	maxAttached  = 4096 // calls of Start that have not ended, of a device
)

// Errors of a host. Compare with errors.Is.
var (
	ErrClosed       = errors.New("host is closed")
	ErrSettings     = errors.New("host cannot be so") // Options
	ErrNoDevice     = errors.New("no path leads to a device")
	ErrTooMany      = errors.New("more than a host may have")
	ErrAllPathsDown = errors.New("all paths down")         // past the time-out
	ErrRemoved      = errors.New("the device was removed") // after permanent loss
	ErrInUse        = errors.New("somebody has it open")
	ErrTimeout      = errors.New("command is not answered") // in time
	ErrNoConnect    = errors.New("no session")              // within RecoveryTimeout
)

// Options of a Host.
type Options struct {
	// Session is what all sessions have in common: names, CHAP, digests, the dialer. Address,
	// pings and limits are the host's. The last byte of the ISID is the channel plus one, as
	// ESXi counts [observed]: two hosts of one name need ISIDs that differ before it.
	Session initiator.Options
	// Portals are the addresses; portal i is channel Ci of the adapter.
	Portals  []string
	Settings Settings
	// Clock is the wall's when nil.
	Clock *clock.Clock
	// Events is told of every change, in order. It must not wait, and must not call the Host.
	Events func(Event)
	// Apart, unless it is 0, has commands and probes that go at one instant, as when a path
	// is back, go one after the other in the order in which they came, so far apart: for runs
	// on a clock of their own that repeat themselves (test/sim).
	Apart time.Duration
}

// turn is the place of a command or a probe among those that go at one instant.
type turn uint64

// turnOf is that of the nth path that was found, or of the nth command.
func turnOf(n uint64, probe bool) turn {
	if probe {
		return turn(2 * n)
	}
	return turn(2*n + 1)
}

// apart waits until it is the turn of t among those that go now, or until the end of ctx.
func (h *Host) apart(ctx context.Context, t turn) {
	if h.o.Apart > 0 && t > 0 {
		_ = h.clock.Sleep(ctx, time.Duration(t)*h.o.Apart) // who goes on looks at ctx
	}
}

// Host is one initiator with its paths. Safe for concurrent use.
type Host struct {
	o     Options
	s     Settings
	clock *clock.Clock
	ctx   context.Context // of all that runs by itself
	end   context.CancelFunc
	wait  sync.WaitGroup
	links []*link

	mu      sync.Mutex // guards what follows, links, devices and paths included
	closed  bool
	devices []*Device // in the order in which they were found
	found   uint64    // paths
	begun   uint64    // commands; counted with Apart alone
	eval    *clock.Timer
}

// New checks the options; nothing is connected yet.
func New(o Options) (*Host, error) {
	if err := o.Settings.validate(); err != nil {
		return nil, err
	}
	if len(o.Portals) == 0 || len(o.Portals) > maxPortals {
		return nil, fmt.Errorf("%w: %d portals, up to %d", ErrSettings, len(o.Portals), maxPortals)
	}
	if o.Clock == nil {
		o.Clock = clock.New(1)
	}
	h := &Host{o: o, s: o.Settings, clock: o.Clock}
	h.ctx, h.end = context.WithCancel(context.Background())
	for i, address := range o.Portals {
		l, err := newLink(h, i, address)
		if err != nil {
			return nil, err
		}
		h.links = append(h.links, l)
	}
	return h, nil
}

// Connect logs in to all portals and keeps doing so until Close. It returns when each
// has been tried once, or with the cause of ctx. The state of the sessions is in events.
func (h *Host) Connect(ctx context.Context) error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return ErrClosed
	}
	if h.eval == nil {
		h.eval = h.clock.AfterFunc(h.s.PathEvalTime, h.evaluateAll)
		for _, l := range h.links {
			h.wait.Go(l.run)
		}
	}
	h.mu.Unlock()
	for _, l := range h.links {
		select {
		case <-l.tried:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-h.ctx.Done():
			return ErrClosed
		}
	}
	return nil
}

// evaluateAll probes every path, each PathEvalTime.
func (h *Host) evaluateAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	for _, d := range h.devices {
		d.probeAll()
	}
	h.eval = h.clock.AfterFunc(h.s.PathEvalTime, h.evaluateAll)
}

// probeDead probes the dead paths of all devices, as one device is back: they may have gone for
// the same reason and be back, too [inferred]. Who has nobody waiting would learn it at the next
// evaluation only. Called with mu held.
func (h *Host) probeDead() {
	for _, d := range h.devices {
		for _, p := range d.paths {
			if p.state == Dead && !d.final() {
				p.probe()
			}
		}
	}
}

// Attach finds the device at a LUN, over all sessions: by its NAA designator [vmware-doc].
// Paths of sessions that come later are added then. Attaching what is attached returns it.
func (h *Host) Attach(ctx context.Context, lun scsi.LUN) (*Device, error) {
	h.mu.Lock()
	for _, d := range h.devices {
		if d.lun == lun && d.state != Removed {
			h.mu.Unlock()
			return d, nil
		}
	}
	links := slices.Clone(h.links)
	h.mu.Unlock()
	var errs []error
	for _, l := range links {
		id, err := l.identify(ctx, lun, 0)
		if err == nil {
			return h.adopt(lun, id.name)
		}
		errs = append(errs, fmt.Errorf("%s: %w", l.address, err))
	}
	return nil, fmt.Errorf("LUN %v: %w: %w", lun, ErrNoDevice, errors.Join(errs...))
}

// adopt makes the device, and waits until each of its paths has been probed once.
func (h *Host) adopt(lun scsi.LUN, name string) (*Device, error) {
	h.mu.Lock()
	h.devices = slices.DeleteFunc(h.devices, func(d *Device) bool { return d.lun == lun && d.state == Removed })
	switch {
	case h.closed:
		h.mu.Unlock()
		return nil, ErrClosed
	case len(h.devices) >= maxDevices:
		h.mu.Unlock()
		return nil, fmt.Errorf("%w: %d devices", ErrTooMany, maxDevices)
	}
	d := newDevice(h, lun, name)
	h.devices = append(h.devices, d)
	var probes []<-chan struct{}
	for _, p := range d.paths {
		probes = append(probes, p.probe())
	}
	h.mu.Unlock()
	for _, done := range probes {
		<-done
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	d.found = true
	d.state = d.verdict()
	h.tell(Event{Kind: DeviceChanged, Device: d.name, State: string(d.state), Reason: "found at LUN " + lun.String()})
	d.wake()
	return d, nil
}

// Rescan logs in again where the target had said that it is gone, and probes every path.
// It returns when all have been probed.
func (h *Host) Rescan() {
	h.mu.Lock()
	for _, l := range h.links {
		l.resume()
	}
	var probes []<-chan struct{}
	for _, d := range h.devices {
		for _, p := range d.paths {
			if d.state != PermanentLoss && d.state != Removed {
				probes = append(probes, p.probe())
			}
		}
	}
	h.mu.Unlock()
	for _, done := range probes {
		<-done
	}
}

// Devices are those that are attached and not removed.
func (h *Host) Devices() []*Device {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(h.devices), func(d *Device) bool { return d.state == Removed })
}

// Close logs out, ends what waits with ErrClosed, and waits for all goroutines. ctx bounds
// the logout. Idempotent.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	first := !h.closed
	h.closed = true
	if h.eval != nil {
		h.eval.Stop()
	}
	for _, d := range h.devices {
		d.stopTimers()
		d.wake()
	}
	h.mu.Unlock()
	var errs []error
	if first {
		h.end()
		for _, l := range h.links {
			errs = append(errs, l.logout(ctx))
		}
	}
	h.wait.Wait()
	return errors.Join(errs...)
}
