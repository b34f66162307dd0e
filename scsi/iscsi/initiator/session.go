package initiator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"vvsim/scsi/iscsi/pdu"
)

// Session is one iSCSI session in full feature phase. All methods are safe for
// concurrent use. Callbacks (Call.Done, Options.Async) run on its receiving
// goroutine and must neither block nor call a method that waits.
type Session struct {
	o    Options
	p    Parameters
	conn *Conn
	free chan uint32 // indexes of free slots

	mu        sync.Mutex
	wake      sync.Cond // the sender waits for work
	corked    bool      // callbacks are running: the sender waits for all they start
	failure   error     // why the session ended; the first reason stays
	leaving   bool      // a logout is under way: nothing is started any more
	slots     []slot
	commands  queue[uint32] // tags of commands that have no CmdSN yet
	dataOut   queue[sequence]
	urgent    queue[packet]
	exchanges map[uint32]*exchange
	nextTag   uint32
	pings     int // NOP-Ins whose answer has not been sent

	cmdSN, expCmdSN, maxCmdSN, expStatSN uint32
	order                                uint64 // of what was sent last

	finished []*Call  // of the batch that is being received
	notices  []func() // callbacks of that batch
	hot      receivedPDUs
	out      sentPDUs

	lastReceived atomic.Int64  // Unix nanoseconds; kept with NOPInterval only
	failed       chan struct{} // closed with failure set
	done         chan struct{} // closed when the receiver has ended every call
	running      sync.WaitGroup
}

// Dial connects, logs in and starts the session's goroutines. ctx bounds the
// connect and the login only.
func Dial(ctx context.Context, o Options) (*Session, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	dialing, cancel := context.WithTimeout(ctx, o.LoginTimeout)
	defer cancel()
	conn, err := Connect(dialing, o)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", o.Address, err)
	}
	p, err := Login(dialing, conn, o)
	if err != nil {
		return nil, err
	}
	return newSession(conn, o, p), nil
}

// newSession takes over a Conn that has logged in.
func newSession(conn *Conn, o Options, p Parameters) *Session {
	s := &Session{o: o, p: p, conn: conn, free: make(chan uint32, o.MaxCommands), slots: make([]slot, o.MaxCommands),
		exchanges: map[uint32]*exchange{}, failed: make(chan struct{}), done: make(chan struct{}),
		cmdSN: p.CmdSN, expCmdSN: p.ExpCmdSN, maxCmdSN: p.MaxCmdSN, expStatSN: p.ExpStatSN}
	s.wake.L = &s.mu
	for i := range s.slots {
		s.free <- uint32(i)
	}
	s.lastReceived.Store(time.Now().UnixNano())
	s.running.Go(s.receive)
	s.running.Go(s.send)
	if o.NOPInterval > 0 {
		s.running.Go(s.ping)
	}
	return s
}

// Parameters are what the login settled.
func (s *Session) Parameters() Parameters { return s.p }

// Window returns the next CmdSN and the target's bounds.
func (s *Session) Window() (cmdSN, expCmdSN, maxCmdSN uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmdSN, s.expCmdSN, s.maxCmdSN
}

// ExpStatSN is the StatSN that the target's next status has to carry.
func (s *Session) ExpStatSN() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.expStatSN
}

// Done is closed once the session has ended and every Call's Done has run.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err says why the session ended; nil while it lives.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// Close drops the connection without a logout, ends what is in flight with
// ErrClosed and waits for the session's goroutines. It may be called again, but
// not from a callback.
func (s *Session) Close() error {
	s.fail(ErrClosed)
	s.running.Wait()
	return nil
}

// fail ends the session. The receiver does the rest.
func (s *Session) fail(err error) {
	s.mu.Lock()
	first := s.failure == nil
	if first {
		s.failure = err
		close(s.failed)
		s.wake.Broadcast()
	}
	s.mu.Unlock()
	if first {
		s.conn.Close()
	}
}

// lost is the error of a connection that broke.
func lost(err error) error {
	switch {
	case errors.Is(err, ErrProtocol):
		return err
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w by the target", ErrClosed)
	}
	return fmt.Errorf("%w: %w", ErrClosed, err)
}

// sweep ends everything that is in flight. Only the receiver calls it, last.
func (s *Session) sweep() {
	s.mu.Lock()
	s.finished = s.finished[:0]
	for i := range s.slots {
		if sl := &s.slots[i]; sl.call != nil {
			sl.call.Err = s.failure
			s.finished = append(s.finished, sl.call)
			sl.call = nil
		}
	}
	for _, e := range s.exchanges {
		e.answer(reply{err: s.failure})
	}
	clear(s.exchanges)
	s.commands.clear()
	s.dataOut.clear()
	s.urgent.clear()
	finished := s.finished
	s.mu.Unlock()
	for _, c := range finished {
		c.Done(c)
	}
	close(s.done)
}

// Send sends one PDU as it is behind everything that is already waiting; only
// the lengths in its header become those of ahs and data. It is for tests: the
// session does not know of the PDU, so that an answer to an unknown tag ends it.
func (s *Session) Send(p pdu.PDU, ahs, data []byte) error {
	return s.SendBytes(s.conn.Append(nil, p, ahs, data))
}

// SendBytes sends bytes as they are; see Send.
func (s *Session) SendBytes(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failure != nil:
		return s.failure
	case s.urgent.len() >= maxUrgent:
		return ErrBusy
	}
	s.urgent.push(packet{raw: append([]byte(nil), b...)})
	s.signal()
	return nil
}

// signal wakes the sender unless the receiver will do so. Called with mu held.
func (s *Session) signal() {
	if !s.corked {
		s.wake.Signal()
	}
}

// ping is the goroutine that notices a dead target (RFC 7143 11.18).
func (s *Session) ping() {
	timer := time.NewTimer(s.o.NOPInterval)
	defer timer.Stop()
	for {
		select {
		case <-s.failed:
			return
		case <-timer.C:
		}
		idle := time.Since(time.Unix(0, s.lastReceived.Load()))
		if idle < s.o.NOPInterval {
			timer.Reset(s.o.NOPInterval - idle)
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), s.o.NOPTimeout)
		err := s.NOP(ctx, nil)
		cancel()
		if err != nil {
			s.fail(fmt.Errorf("%w to NOP-Out within %v", ErrTimeout, s.o.NOPTimeout))
			return
		}
		timer.Reset(s.o.NOPInterval)
	}
}

// serialLess is a < b in the arithmetic of RFC 1982.
func serialLess(a, b uint32) bool { return int32(a-b) < 0 }
