package iscsi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"vvsim/scsi/iscsi/pdu"
	"vvsim/scsi/iscsi/work"
	"vvsim/scsi/latency"
)

// Server accepts connections on any number of portals. Safe for concurrent use.
type Server struct {
	o       Options
	wait    sync.WaitGroup // accept loops and connections
	next    atomic.Uint64  // session numbers
	watch   work.Watch     // over connections whose reader is busy
	groups  sync.Pool      // of *group
	pollers int            // up to how many connections may be active for their readers to poll

	mu          sync.Mutex // guards what follows
	closing     bool
	listeners   map[net.Listener]struct{}
	connections map[*connection]struct{} // all, logged in or not
	pending     map[*connection]struct{} // those that have not finished their login
	byTSIH      map[uint16]*connection
	byPort      map[initiatorPort]*connection // normal sessions by nexus
	lastTSIH    uint16
}

// initiatorPort identifies a session for reinstatement (RFC 7143 6.3.5).
type initiatorPort struct {
	name  string
	isid  [6]byte
	group uint16
}

// NewServer checks the options; nothing listens yet.
func NewServer(o Options) (*Server, error) {
	o.ensureDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	return &Server{o: o, pollers: runtime.GOMAXPROCS(0) / 2, listeners: map[net.Listener]struct{}{}, connections: map[*connection]struct{}{},
		pending: map[*connection]struct{}{}, byTSIH: map[uint16]*connection{}, byPort: map[initiatorPort]*connection{}}, nil
}

// ErrClosed is what Serve returns after Shutdown.
var ErrClosed = errors.New("iscsi: server is closed")

// Serve accepts connections of the portal with target portal group tag group
// until ctx ends or Shutdown. It closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener, group uint16) error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return errors.Join(ErrClosed, ln.Close())
	}
	s.listeners[ln] = struct{}{}
	s.wait.Add(1)
	s.mu.Unlock()
	defer s.wait.Done()
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	for {
		nc, err := ln.Accept()
		if err != nil {
			if scarce(err) && pause(ctx, acceptPause) {
				continue // Shutdown closes the listener, which the next Accept tells
			}
			s.mu.Lock()
			delete(s.listeners, ln)
			closing := s.closing
			s.mu.Unlock()
			if closing || ctx.Err() != nil {
				return ErrClosed
			}
			return errors.Join(fmt.Errorf("portal %v: %w", ln.Addr(), err), ln.Close())
		}
		s.start(nc, group)
	}
}

// acceptPause is how long a portal rests when the process is out of descriptors.
const acceptPause = 100 * time.Millisecond

// scarce tells errors of accept that pass from those that stay.
func scarce(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// pause waits; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// start runs a connection. When too many are logging in, the one that has been at
// it for longest makes room: silent peers keep no initiator out.
func (s *Server) start(nc net.Conn, group uint16) {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		nc.Close()
		return
	}
	var crowded *connection
	if len(s.pending) >= s.o.MaxLogins {
		crowded = s.oldestLogin()
		delete(s.pending, crowded)
	}
	c := newConnection(s, nc, group)
	s.connections[c] = struct{}{}
	s.pending[c] = struct{}{}
	s.wait.Add(1)
	s.mu.Unlock()
	if crowded != nil {
		crowded.close(errCrowded)
	}
	s.o.Paths.Connected(c)
	go c.run()
}

var errCrowded = errors.New("too many connections are logging in")

// oldestLogin is called with mu held while logins are pending.
func (s *Server) oldestLogin() (oldest *connection) {
	for c := range s.pending {
		if oldest == nil || c.id < oldest.id {
			oldest = c
		}
	}
	return oldest
}

// ended forgets a connection.
func (s *Server) ended(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.connections, c)
	delete(s.pending, c)
	if !c.loggedIn {
		return
	}
	if s.byTSIH[c.tsih] == c {
		delete(s.byTSIH, c.tsih)
	}
	if s.byPort[c.port] == c {
		delete(s.byPort, c.port)
	}
}

// establish gives a finished login its TSIH and, for a normal session, its place
// as the session of its initiator port; an older session of the same port, or the
// connection that it takes the place of, is ended first (RFC 7143 6.3.4, 6.3.5).
func (s *Server) establish(c *connection) (pdu.LoginStatus, error) {
	for {
		s.mu.Lock()
		old := s.byPort[c.port]
		if s.closing {
			s.mu.Unlock()
			return pdu.LoginServiceUnavailable, ErrClosed
		}
		if c.discovery || old == nil {
			status, err := s.register(c)
			s.mu.Unlock()
			return status, err
		}
		s.mu.Unlock()
		old.close(errReinstated)
		select {
		case <-old.done:
		case <-time.After(s.o.LoginTimeout):
			return pdu.LoginServiceUnavailable, errors.New("the session to be reinstated does not end")
		}
	}
}

var errReinstated = errors.New("session was reinstated")

// register is called with mu held.
func (s *Server) register(c *connection) (pdu.LoginStatus, error) {
	if len(s.byTSIH) >= s.o.MaxSessions {
		return pdu.LoginOutOfResources, fmt.Errorf("%d sessions are open", len(s.byTSIH))
	}
	switch {
	case c.tsih == 0:
		for s.lastTSIH++; s.lastTSIH == 0 || s.byTSIH[s.lastTSIH] != nil; {
			s.lastTSIH++
		}
		c.tsih = s.lastTSIH
	case s.byTSIH[c.tsih] != nil: // the session to rejoin ended meanwhile, and another has its handle
		return pdu.LoginSessionDoesNotExist, fmt.Errorf("TSIH %d is another session's", c.tsih)
	}
	s.byTSIH[c.tsih] = c
	if !c.discovery {
		s.byPort[c.port] = c
	}
	c.loggedIn = true
	c.since = time.Now()
	delete(s.pending, c)
	return pdu.LoginSuccess, nil
}

// session returns the connection of this initiator port's session with this TSIH, or nil.
func (s *Server) session(tsih uint16, port initiatorPort) *connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.byTSIH[tsih]; c != nil && c.port == port {
		return c
	}
	return nil
}

// SessionInfo describes one session.
type SessionInfo struct {
	ID                uint64
	Initiator         string
	ISID              [6]byte
	TSIH              uint16
	Portal            string // local address
	Remote            string
	Group             uint16 // target portal group tag
	Discovery         bool
	Since             time.Time
	HeaderDigest      bool
	DataDigest        bool
	InFlight          int
	Commands          uint64         // received
	Errors            uint64         // answered with another status than GOOD or CONDITION MET
	BytesIn, BytesOut uint64         // Data-In to, and Data-Out from the initiator
	Latency           latency.Counts // of answered commands, from their turn to the answer
}

// Sessions lists the sessions in full feature phase, in no order.
func (s *Server) Sessions() []SessionInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]SessionInfo, 0, len(s.byTSIH))
	for _, c := range s.byTSIH {
		all = append(all, c.info())
	}
	return all
}

// Drop ends a session: its initiator is told, within LogoutGrace, and its connection
// closed. False when there is none.
func (s *Server) Drop(id uint64) bool {
	s.mu.Lock()
	var found *connection
	for _, c := range s.byTSIH {
		if c.id == id {
			found = c
		}
	}
	s.mu.Unlock()
	if found == nil {
		return false
	}
	found.Leave(true)
	select {
	case <-found.done:
	case <-time.After(s.o.LogoutGrace):
		found.close(errDropped)
		<-found.done
	}
	return true
}

var errDropped = errors.New("session was dropped")

// Shutdown stops accepting and asks initiators to log out. It closes sessions in which
// nothing runs after LogoutGrace, and the others as soon as nothing does, at
// LogoutTimeout or when ctx ends. It returns when every goroutine has ended. Idempotent.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	for ln := range s.listeners {
		ln.Close()
	}
	var open []*connection
	for c := range s.connections {
		open = append(open, c)
	}
	s.mu.Unlock()
	grace := min(s.o.LogoutGrace, s.o.LogoutTimeout)
	for _, c := range open {
		c.requestLogout(grace)
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.LogoutTimeout)
	defer cancel()
	graceful, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	for len(open) > 0 {
		open = slices.DeleteFunc(open, func(c *connection) bool {
			if !c.closed.Load() && ctx.Err() == nil && (graceful.Err() == nil || !c.quiet()) {
				return false
			}
			c.close(ErrClosed)
			return true
		})
		if len(open) > 0 {
			pause(ctx, drainTick)
		}
	}
	s.wait.Wait()
	s.watch.Wait()
	return nil
}

// drainTick is how often Shutdown looks which sessions have ended or have nothing to do any more.
const drainTick = 10 * time.Millisecond
