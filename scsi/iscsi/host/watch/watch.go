package watch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/host"
	"vvsim/scsi/iscsi/host/clock"
	"vvsim/scsi/iscsi/initiator"
)

// What a watch does by itself, in the host's time.
const (
	heartbeatEvery = 3 * time.Second  // as VMFS renews its own [memory]
	heartbeatLimit = 8 * time.Second  // after which one has failed [vendor-doc]
	rescanEvery    = 10 * time.Second // once the device is lost
	maxEvents      = 1 << 16          // that nobody has taken
	logoutLimit    = 5 * time.Second  // of the wall, at the end
)

// Kinds of events that are not the host's own.
const (
	IO    host.Kind = "io"    // State is "ok" or "failing"
	Fault host.Kind = "fault" // State is "added" or "removed"; Reason is the rule
)

// Options of Run.
type Options struct {
	// Host is as its package has it; Clock and Events are the watch's.
	Host  host.Options
	LUN   scsi.LUN
	Scale float64 // how many times as fast as the wall the host's clock goes, once the device is found
	// Time ends the watch after so much of the host's time, 0 never; Until as soon as the
	// device is in that state, "" never.
	Time  time.Duration
	Until host.DeviceState
	// Break adds a fault once the device is found, and returns the rule; Mend takes it away,
	// at the end or after Heal of the host's time, if that is not 0. Break may be nil.
	Break func(context.Context) (rule string, err error)
	Mend  func() error
	Heal  time.Duration
	// Tell is given each event with the host's time since it began. Its error ends the watch.
	Tell func(since time.Duration, e host.Event) error
}

// watch is one Run.
type watch struct {
	o     Options
	h     *host.Host
	clock *clock.Clock
	began time.Time
	rule  string // that was added
	state host.DeviceState

	mu     sync.Mutex // guards events
	events []host.Event
	more   chan struct{} // room for one: there are events
}

// Run watches until o or ctx ends it, and returns the state that the device then has, "" when
// none was found.
func Run(ctx context.Context, o Options) (_ host.DeviceState, err error) {
	w := &watch{o: o, clock: clock.New(1), more: make(chan struct{}, 1)}
	w.began = w.clock.Now()
	o.Host.Clock, o.Host.Events = w.clock, w.hear
	if w.h, err = host.New(o.Host); err != nil {
		return "", err
	}
	err = w.run(ctx)
	closing, cancel := context.WithTimeout(context.Background(), logoutLimit)
	defer cancel()
	closed := w.h.Close(closing)
	if ctx.Err() == nil && w.works() {
		err = errors.Join(err, closed) // a target that is not there need not answer
	}
	return w.state, err
}

func (w *watch) works() bool { return w.state == host.On || w.state == host.Degraded }

func (w *watch) reached() bool { return w.o.Until != "" && w.state == w.o.Until }

// hear is told of events by the host, which must not wait.
func (w *watch) hear(e host.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.events) < maxEvents {
		w.events = append(w.events, e)
	}
	select {
	case w.more <- struct{}{}:
	default:
	}
}

func (w *watch) add(kind host.Kind, device, state, reason string) {
	w.hear(host.Event{Time: w.clock.Now(), Kind: kind, Device: device, State: state, Reason: reason})
}

func (w *watch) run(ctx context.Context) error {
	if err := w.h.Connect(ctx); err != nil {
		return err
	}
	d, err := w.h.Attach(ctx, w.o.LUN)
	if err := errors.Join(err, w.tell()); err != nil {
		return err
	}
	w.clock.SetRate(w.o.Scale) // a slow machine has had its time to log in
	if w.o.Break != nil && !w.reached() {
		if w.rule, err = w.o.Break(ctx); err != nil {
			return err
		}
		w.add(Fault, "", "added", w.rule)
	}
	using, cancel := context.WithCancel(ctx)
	var user sync.WaitGroup
	user.Go(func() { w.use(using, d) })
	err = w.follow(ctx)
	cancel()
	err = errors.Join(err, w.mend())
	user.Wait()
	return err
}

// follow tells events until the watch ends.
func (w *watch) follow(ctx context.Context) error {
	over, heal := make(chan struct{}), make(chan struct{})
	if w.o.Time > 0 {
		defer w.clock.AfterFunc(w.o.Time-w.clock.Now().Sub(w.began), func() { close(over) }).Stop()
	}
	if w.o.Heal > 0 {
		defer w.clock.AfterFunc(w.o.Heal, func() { close(heal) }).Stop()
	}
	for !w.reached() {
		select {
		case <-w.more:
		case <-heal:
			heal = nil
			if err := w.mend(); err != nil {
				return err
			}
		case <-over:
			return w.tell()
		case <-ctx.Done():
			return w.tell()
		}
		if err := w.tell(); err != nil {
			return err
		}
	}
	return nil
}

// tell hands over what has been heard, up to the state that ends the watch.
func (w *watch) tell() error {
	w.mu.Lock()
	events := w.events
	w.events = nil
	w.mu.Unlock()
	for _, e := range events {
		if w.reached() {
			return nil
		}
		if e.Kind == host.DeviceChanged {
			w.state = host.DeviceState(e.State)
		}
		if err := w.o.Tell(e.Time.Sub(w.began), e); err != nil {
			return err
		}
	}
	return nil
}

// mend takes away what Break has added.
func (w *watch) mend() error {
	if w.rule == "" {
		return nil
	}
	rule := w.rule
	w.rule = ""
	if err := w.o.Mend(); err != nil {
		return fmt.Errorf("rule %q: %w", rule, err)
	}
	w.add(Fault, "", "removed", rule)
	return nil
}

// use reads a block again and again, as a file system does, and finds the device again
// after it was lost.
func (w *watch) use(ctx context.Context, d *host.Device) {
	for ctx.Err() == nil {
		if handle, err := d.Open(host.ByHost); err == nil {
			w.beat(ctx, d, handle.Unit())
			handle.Close()
		}
		for found := false; !found && w.clock.Sleep(ctx, rescanEvery) == nil; {
			w.h.Rescan()
			if again, err := w.h.Attach(ctx, w.o.LUN); err == nil {
				found, d = again.State() != host.PermanentLoss, again
			}
		}
	}
}

// beat returns when the device is lost for good, or ctx has ended.
func (w *watch) beat(ctx context.Context, d *host.Device, u *initiator.Unit) {
	errLate := fmt.Errorf("no answer within %v", heartbeatLimit)
	failing := ""
	for {
		limited, cancel := w.clock.WithTimeout(ctx, heartbeatLimit, errLate)
		err := heartbeat(limited, u)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && failing != "":
			failing = ""
			w.add(IO, d.Name(), "ok", "")
		case err != nil && failing != err.Error():
			failing = err.Error()
			w.add(IO, d.Name(), "failing", failing)
		}
		if s := d.State(); s == host.PermanentLoss || s == host.Removed || w.clock.Sleep(ctx, heartbeatEvery) != nil {
			return
		}
	}
}

func heartbeat(ctx context.Context, u *initiator.Unit) error {
	g, err := u.Geometry(ctx)
	if err != nil {
		return err
	}
	_, err = u.ReadAt(ctx, make([]byte, g.BlockSize), 0)
	return err
}
