package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/initiator"
)

// execute runs a command over the link within timeout, from when its turn comes: that of t
// among those that go at one instant, and that of a place among MaxCommands. It waits
// for a session that may come back, and sends the command again when the session ended
// under it. What was not answered is aborted before it returns: the target does not
// execute it later. Errors are *Error where no status came.
func (l *link) execute(ctx context.Context, c initiator.Command, timeout time.Duration, t turn) (initiator.Result, error) {
	l.h.apart(ctx, t)
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	case <-ctx.Done():
		return initiator.Result{}, context.Cause(ctx)
	}
	limited, cancel := l.h.clock.WithTimeout(ctx, timeout, ErrTimeout)
	defer cancel()
	for {
		s, err := l.await(limited, t)
		if err != nil {
			if errors.Is(err, ErrTimeout) {
				err = &Error{Host: HostTimeout, Err: err}
			}
			return initiator.Result{}, err
		}
		r, err := l.transact(limited, s, c)
		switch {
		case err == nil:
			return r, nil
		case s.Err() != nil:
			l.leave(s)
			if limited.Err() != nil {
				return r, &Error{Host: HostAbort, Err: context.Cause(limited)}
			}
		case limited.Err() != nil:
			return r, &Error{Host: HostAbort, Err: context.Cause(limited)}
		default:
			return r, &Error{Host: HostError, Err: err}
		}
	}
}

// leave waits until the link has seen that a session has ended.
func (l *link) leave(s *initiator.Session) {
	for {
		l.h.mu.Lock()
		gone, changed := l.session != s, l.changed
		l.h.mu.Unlock()
		if gone {
			return
		}
		<-changed
	}
}

// transact runs a command on a session until it has ended, by itself or aborted.
func (l *link) transact(ctx context.Context, s *initiator.Session, c initiator.Command) (initiator.Result, error) {
	ended := make(chan struct{})
	call := &initiator.Call{Command: c, Done: func(*initiator.Call) { close(ended) }}
	if err := s.Start(call); err != nil {
		return initiator.Result{}, err
	}
	select {
	case <-ended:
	case <-ctx.Done():
		if l.abort(s, call, ended) {
			return initiator.Result{}, initiator.ErrAborted
		}
		<-ended
	}
	return call.Result, call.Err
}

// abort sends ABORT TASK until it is answered, and closes the session when it never is. It
// returns true when the command never went to the target; else the command ends.
func (l *link) abort(s *initiator.Session, call *initiator.Call, ended <-chan struct{}) (unsent bool) {
	for range l.h.s.AbortTries {
		ctx, cancel := l.h.clock.WithTimeout(l.h.ctx, l.h.s.AbortTimeout, ErrTimeout)
		r, err := s.TaskManagement(ctx, scsi.AbortTask, call.LUN, call.Tag())
		cancel()
		select {
		case <-ended:
			return false
		default:
		}
		if err == nil && (r == scsi.FunctionComplete || r == scsi.TaskDoesNotExist) {
			return s.Cancel(call)
		}
	}
	s.Close()
	return false
}

// Handle is a user of a device. Safe for concurrent use.
type Handle struct {
	d     *Device
	guest bool

	// Guarded by Host.mu.
	closed bool
	calls  map[*initiator.Call]*started
}

// started is a command of Start.
type started struct {
	cancel context.CancelFunc
	ended  chan struct{}
}

// Use says whose I/O goes over a Handle.
type Use bool

// Uses of a device.
const (
	ByHost  Use = false // fails once all paths have been down for APDTimeout
	ByGuest Use = true  // waits, unless FailGuestIO says otherwise
)

// Open lets somebody use the device: until Close it is not removed. A device that is lost
// cannot be opened.
func (d *Device) Open(use Use) (*Handle, error) {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	switch {
	case d.h.closed:
		return nil, ErrClosed
	case d.state == Removed:
		return nil, ErrRemoved
	case d.state == PermanentLoss:
		return nil, fmt.Errorf("%s: %w", d.name, errLost)
	}
	d.handles++
	return &Handle{d: d, guest: bool(use), calls: map[*initiator.Call]*started{}}, nil
}

// Close ends the use, not the commands that run. Idempotent.
func (h *Handle) Close() {
	h.d.h.mu.Lock()
	defer h.d.h.mu.Unlock()
	if !h.closed {
		h.closed = true
		h.d.handles--
		h.d.drop()
	}
}

// Unit is the device with typed commands.
func (h *Handle) Unit() *initiator.Unit { return initiator.NewUnit(h, h.d.lun) }

// Execute runs a command over any path, again over another when one fails, and waits for one
// as long as the state of the device allows; c.LUN is the device's. What the device answers
// is the Result; *Error is what the host has to say, such as ErrAllPathsDown.
func (h *Handle) Execute(ctx context.Context, c initiator.Command) (initiator.Result, error) {
	d := h.d
	c.LUN = d.lun
	t := d.turn()
	for retries, hops := 0, 0; ; {
		p, err := d.await(ctx, h.guest)
		if errors.Is(err, errLost) {
			return d.lossAnswer()
		}
		if err != nil {
			return initiator.Result{}, err
		}
		r, err := p.l.execute(ctx, c, d.h.s.CommandTimeout, t)
		next := d.look(p, &c, &r, err)
		if cause := context.Cause(ctx); cause != nil && err != nil {
			return r, cause
		}
		switch next {
		case ends:
			return r, err
		case later:
			if err := d.h.clock.Sleep(ctx, d.h.s.BusyDelay); err != nil {
				return r, err
			}
		case elsewhere:
			// The path is not active any more, or gives way to its probe. Once all have had their
			// turn there is a rest: probes may find good what commands do not.
			if hops++; hops%len(d.paths) == 0 && !d.lost() {
				if err := d.h.clock.Sleep(ctx, d.h.s.BusyDelay); err != nil {
					return r, err
				}
			}
			continue
		}
		if retries++; retries > d.h.s.RetryLimit {
			return r, err
		}
	}
}

// turn is that of the next command, among those of all devices.
func (d *Device) turn() turn {
	if d.h.o.Apart == 0 {
		return 0
	}
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	d.h.begun++
	return turnOf(d.h.begun, false)
}

// lost tells that commands need not wait.
func (d *Device) lost() bool {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	return d.final()
}

// course is what becomes of a command.
type course int

const (
	ends course = iota
	again
	later     // after BusyDelay
	elsewhere // on a path that works
)

// look decides about a command that ended, and takes from it what it says of the path.
func (d *Device) look(p *path, c *initiator.Command, r *initiator.Result, err error) course {
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if err != nil {
		return d.lookAtError(p, c, err)
	}
	switch r.Status {
	case scsi.StatusBusy, scsi.StatusTaskSetFull:
		return later
	case scsi.StatusCheckCondition:
	default:
		return ends
	}
	s := r.Sense
	state, access := PathState(""), false
	if s != nil {
		state, access = accessState(s)
	}
	switch {
	case s == nil:
		return ends
	case d.h.s.loss(s):
		d.failed(p, c, fmt.Sprintf("H:0x0 D:0x2 P:0x0 Valid sense data: 0x%x 0x%x 0x%x", uint8(s.Key), uint8(s.Code>>8), uint8(s.Code)))
		d.lose(p, s)
		return elsewhere
	case access: // I/O goes to other paths [vmware-doc]
		p.set(state, s.String())
		p.suspect = true
		p.probe()
		return elsewhere
	case s.Key == scsi.AbortedCommand: // [memory]
		return again
	case s.Key == scsi.UnitAttention:
		if s.Code == scsi.AccessStateChanged || s.Code == scsi.ReportedLUNsDataChanged {
			p.verified = nil
			p.probe()
		}
		return again
	}
	return ends
}

// lookAtError is look without a status: TEST UNIT READY decides about the path [vmware-doc].
func (d *Device) lookAtError(p *path, c *initiator.Command, err error) course {
	e, ok := errors.AsType[*Error](err)
	if !ok || errors.Is(err, initiator.ErrInvalid) || d.h.closed {
		return ends
	}
	d.failed(p, c, fmt.Sprintf("H:0x%x D:0x0 P:0x0", uint8(e.Host)))
	if d.final() {
		return elsewhere
	}
	if e.Host == HostError { // the target has refused it, or somebody reset the unit
		p.probe()
		return later
	}
	if p.l.session == nil && p.l.down {
		d.linkDown(p.l)
	} else {
		p.probe()
	}
	d.stepAside(p)
	return elsewhere
}

// stepAside has the next command take another path, if one works.
func (d *Device) stepAside(p *path) {
	for _, other := range d.paths {
		if other != p && other.state == Active {
			d.working = other
			return
		}
	}
}

// failed tells of a command that is not through. Called with mu held.
func (d *Device) failed(p *path, c *initiator.Command, line string) {
	d.h.tell(Event{Kind: CommandFailed, Device: d.name, Path: p.name(), Portal: p.l.address, State: line, Reason: scsi.OpCode(c.CDB[0]).String()})
}

// Start runs a command as Execute does, on a goroutine of its own; see initiator.Session.Start.
func (h *Handle) Start(c *initiator.Call) error {
	d := h.d
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	switch {
	case d.h.closed:
		return ErrClosed
	case len(h.calls) >= maxAttached:
		return initiator.ErrBusy
	}
	ctx, cancel := context.WithCancel(d.h.ctx)
	st := &started{cancel: cancel, ended: make(chan struct{})}
	h.calls[c] = st
	d.h.wait.Go(func() {
		defer cancel()
		r, err := h.Execute(ctx, c.Command)
		d.h.mu.Lock()
		wanted := h.calls[c] == st
		if wanted {
			delete(h.calls, c)
		}
		d.h.mu.Unlock()
		close(st.ended)
		if wanted {
			c.Result, c.Err = r, err
			c.Done(c)
		}
	})
	return nil
}

// Cancel takes back a command of Start, and waits until the target has let go of it; see
// initiator.Session.Cancel.
func (h *Handle) Cancel(c *initiator.Call) bool {
	h.d.h.mu.Lock()
	st := h.calls[c]
	delete(h.calls, c)
	h.d.h.mu.Unlock()
	if st == nil {
		return false
	}
	st.cancel()
	<-st.ended
	return true
}

var _ initiator.Path = (*Handle)(nil)
