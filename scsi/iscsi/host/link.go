package host

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/initiator"
)

// link keeps a session to one portal.
type link struct {
	h       *Host
	channel int
	address string
	o       initiator.Options
	tried   chan struct{} // closed after the first login
	slots   chan struct{} // of commands in flight

	// Guarded by Host.mu.
	session *initiator.Session // nil: down
	down    bool               // for longer than RecoveryTimeout, or refused
	lost    error              // the login that means permanent loss
	why     error              // of being down
	changed chan struct{}      // closed when one of these changes
	again   chan struct{}      // closed by resume
	first   bool               // a login was tried
}

func newLink(h *Host, channel int, address string) (*link, error) {
	l := &link{h: h, channel: channel, o: h.o.Session, tried: make(chan struct{}), slots: make(chan struct{}, h.s.MaxCommands),
		changed: make(chan struct{}), again: make(chan struct{}), why: ErrNoConnect}
	l.o.Address = address
	l.o.ISID = [6]byte{0x00, 0x02, 0x3d, 0x00, 0x00, byte(channel + 1)}                   // as ESXi counts them [observed]
	l.o.MaxCommands, l.o.NOPInterval, l.o.LoginTimeout = h.s.MaxCommands, 0, 24*time.Hour // the host's clock has its own times
	l.o.ObeyLogout = true                                                                 // [memory]
	l.o.EnsureDefaults()
	l.o.ISID[5] = byte(channel + 1)
	if err := l.o.Validate(); err != nil {
		return nil, fmt.Errorf("portal %q: %w", address, err)
	}
	l.address = l.o.Address
	return l, nil
}

// wake has all that wait for the link look again. Called with mu held.
func (l *link) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// run is the link's goroutine.
func (l *link) run() {
	recovery := func() {}
	defer func() { recovery() }()
	for l.h.ctx.Err() == nil {
		session, err := l.login()
		if err == nil && !l.up(session) {
			session.Close()
			return
		}
		if err == nil {
			recovery()
			err = l.watch(session)
			l.gone(err)
			recovery = l.recover()
		} else {
			l.refused(err)
		}
		l.pause()
	}
}

// login tries once, and follows where the target sends it [vmware-doc].
func (l *link) login() (*initiator.Session, error) {
	ctx, cancel := l.h.clock.WithTimeout(l.h.ctx, l.h.s.LoginTimeout, ErrTimeout)
	defer cancel()
	o := l.o
	for range maxRedirects {
		session, err := initiator.Dial(ctx, o)
		var refused *initiator.LoginError
		if !errors.As(err, &refused) || refused.TargetAddress == "" {
			return session, err
		}
		o.Address = refused.TargetAddress
	}
	return nil, fmt.Errorf("%w: redirected %d times", ErrNoConnect, maxRedirects)
}

// up takes a session into use; false when the host is closed.
func (l *link) up(s *initiator.Session) bool {
	h := l.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	l.session, l.down, l.lost = s, false, nil
	l.begun()
	h.tell(Event{Kind: SessionChanged, Portal: l.address, State: "up"})
	l.wake()
	for _, d := range h.devices {
		d.linkUp(l)
	}
	return true
}

// begun lets Connect go on. Called with mu held.
func (l *link) begun() {
	if !l.first {
		l.first = true
		close(l.tried)
	}
}

// refused takes a login that failed. A session that had ended has its time to recover;
// one that never was has none.
func (l *link) refused(err error) {
	h := l.h
	h.mu.Lock()
	defer h.mu.Unlock()
	var login *initiator.LoginError
	final := errors.As(err, &login) && slices.Contains(h.s.LossLogins, login.Status)
	fresh := !l.first
	if l.begun(); fresh || final && l.lost == nil {
		h.tell(Event{Kind: SessionChanged, Portal: l.address, State: "down", Reason: err.Error()})
	}
	l.why = err
	if final {
		l.lost = err
	}
	if fresh || final {
		l.expire()
	}
}

// gone takes the end of a session.
func (l *link) gone(err error) {
	h := l.h
	h.mu.Lock()
	defer h.mu.Unlock()
	l.session, l.why = nil, err
	if !h.closed {
		h.tell(Event{Kind: SessionChanged, Portal: l.address, Before: "up", State: "down", Reason: err.Error()})
	}
	l.wake()
}

// recover starts the time in which the session has to come back: until then commands are
// held, after it they fail with H:0x1 [observed]. It returns what stops it.
func (l *link) recover() func() {
	t := l.h.clock.AfterFunc(l.h.s.RecoveryTimeout, func() {
		l.h.mu.Lock()
		defer l.h.mu.Unlock()
		if l.session == nil {
			l.expire()
		}
	})
	return func() { t.Stop() }
}

// expire fails what waits for the session. Called with mu held.
func (l *link) expire() {
	l.down = true
	l.wake()
	for _, d := range l.h.devices {
		d.linkDown(l)
	}
}

// pause waits before the next login: LoginPause, or until Rescan when the target says that
// it is gone: a host does not try to reconnect then [vmware-doc].
func (l *link) pause() {
	l.h.mu.Lock()
	lost, again := l.lost != nil, l.again
	l.h.mu.Unlock()
	if lost {
		select {
		case <-again:
		case <-l.h.ctx.Done():
		}
		return
	}
	_ = l.h.clock.Sleep(l.h.ctx, l.h.s.LoginPause) // its end is that of the host
}

// resume ends the pause of a link that was lost. Called with mu held.
func (l *link) resume() {
	close(l.again)
	l.again = make(chan struct{})
}

// watch pings the target until the session ends, and says why it did. A ping that is not
// answered ends it.
func (l *link) watch(s *initiator.Session) error {
	for {
		ctx, cancel := l.h.clock.WithTimeout(l.h.ctx, l.h.s.PingInterval, ErrTimeout)
		select {
		case <-s.Done():
			cancel()
			return errors.Join(s.Err(), s.Close())
		case <-ctx.Done():
			cancel()
		}
		if l.h.ctx.Err() != nil {
			<-s.Done() // Close logs out
			return ErrClosed
		}
		ctx, cancel = l.h.clock.WithTimeout(l.h.ctx, l.h.s.PingTimeout, ErrTimeout)
		err := s.NOP(ctx, nil)
		cancel()
		if errors.Is(err, ErrTimeout) {
			s.Close()
			return fmt.Errorf("NOP-Out: %w within %v", ErrTimeout, l.h.s.PingTimeout)
		}
	}
}

// logout ends the session for good.
func (l *link) logout(ctx context.Context) error {
	l.h.mu.Lock()
	s := l.session
	l.h.mu.Unlock()
	if s == nil {
		return nil
	}
	if err := s.Logout(ctx); err != nil && !errors.Is(err, initiator.ErrClosed) {
		return fmt.Errorf("%s: %w", l.address, err)
	}
	return nil
}

// failure is why commands fail without a session. Called with mu held.
func (l *link) failure() error {
	return &Error{Host: HostNoConnect, Err: fmt.Errorf("%w: %w", ErrNoConnect, l.why)}
}

// await waits for a session, while it may come back, and for the turn of t on it.
func (l *link) await(ctx context.Context, t turn) (*initiator.Session, error) {
	for waited := false; ; waited = true {
		l.h.mu.Lock()
		s, down, changed, err := l.session, l.down, l.changed, l.failure()
		l.h.mu.Unlock()
		if s != nil {
			if waited { // as others may have
				l.h.apart(ctx, t)
			}
			return s, nil
		}
		if down {
			return nil, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-l.h.ctx.Done():
			return nil, ErrClosed
		}
	}
}

// identity is what VPD page 83h says.
type identity struct {
	name  string // naa. and hex digits
	group uint16 // target port group of the path
}

// identify asks for the designators of a LUN (SPC-4 7.8.6): the NAA of the logical unit,
// and the target port group.
func (l *link) identify(ctx context.Context, lun scsi.LUN, t turn) (id identity, err error) {
	list, err := initiator.NewUnit(linkPath{l, t}, lun).Designators(ctx)
	if err != nil {
		return id, err
	}
	const (
		ofUnit, ofPort = 0, 1
		binaryCode     = 1
		naa, portGroup = 3, 5
	)
	for _, d := range list {
		switch {
		case d.CodeSet != binaryCode:
		case d.Association == ofUnit && d.Type == naa && id.name == "":
			id.name = "naa." + hex.EncodeToString(d.ID)
		case d.Association == ofPort && d.Type == portGroup && len(d.ID) == 4:
			id.group = binary.BigEndian.Uint16(d.ID[2:])
		}
	}
	if id.name == "" {
		return id, fmt.Errorf("%w: no NAA designator", initiator.ErrData)
	}
	return id, nil
}
