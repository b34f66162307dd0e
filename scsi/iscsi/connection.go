package iscsi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/line"
	"vvsim/scsi/iscsi/negotiate"
	"vvsim/scsi/iscsi/pdu"
	"vvsim/scsi/iscsi/work"
	"vvsim/scsi/latency"
)

// connection is one TCP connection and, after login, its session.
//
//	login ──► full feature phase ──► closing ──► done
//	   └────────────────────────────────┘
type connection struct {
	server *Server
	nc     net.Conn
	group  uint16
	line   *line.Line
	in     line.Receiver
	out    *outbox
	done   chan struct{}   // closed at the very end
	life   context.Context // ends when the connection is closed
	end    context.CancelFunc

	// Fixed by the login, before loggedIn is set under Server.mu.
	loggedIn  bool
	discovery bool
	id        uint64
	tsih      uint16
	cid       uint16
	port      initiatorPort
	since     time.Time
	p         negotiate.Parameters
	nexus     *scsi.Nexus
	window    window

	closed   atomic.Bool
	reason   error // why, set by the first close
	logout   atomic.Bool
	full     atomic.Bool // in full feature phase: the last login response is out
	commands atomic.Uint64
	errors   atomic.Uint64
	latency  latency.Histogram
	bytesIn  atomic.Uint64
	bytesOut atomic.Uint64

	pinged    bool // a NOP-In waits for an answer; reader only
	immediate atomic.Int32
	early     map[uint32]*heldPDU // requests before their turn, by CmdSN; reader only
	earlySize int
	texts     textExchange    // reader only
	ran       latency.Instant // when the reader itself last ended a command; reader only
	served    int             // commands since bytes came last; reader only
	depth     int             // the most of them lately; reader only
	plain     *group          // writes that came since the last read and go together; reader only
	stable    *group          // those of them that are to be on stable storage; reader only
	pushed    bool            // jobs into queue for which no worker was woken; reader only

	tenure    *work.Tenure   // the reader is who holds it
	receivers sync.WaitGroup // the reader, and those before it that finish what they lost it with

	mu       sync.Mutex // guards what follows
	tasks    map[uint32]*command
	nextTag  uint32     // target transfer tags
	admitted int        // bytes of Data-Out buffers of commands that may ask for data
	starved  []*command // wait for room in admitted
	tmf      int        // task management functions that wait for tasks to end
	ended    sync.Cond  // signalled when a task ended while tmf > 0
	reads    *work.Budget
	queue    *work.Queue[job]
}

func newConnection(s *Server, nc net.Conn, group uint16) *connection {
	c := &connection{server: s, nc: nc, group: group, done: make(chan struct{}),
		id: s.next.Add(1), p: negotiate.Default(), tasks: map[uint32]*command{}, early: map[uint32]*heldPDU{}}
	c.life, c.end = context.WithCancel(context.Background())
	c.line = line.New(nc, c.life.Done())
	c.in = line.NewReceiver(c.line, loginDataSegment)
	c.reads = work.NewBudget(maxReads)
	c.out = newOutbox(nc, c.line, s.o.WriteTimeout, func(err error) { c.close(err) }, c.reads.Give)
	c.ended.L = &c.mu
	c.queue = work.NewQueue(s.o.CommandWindow+maxImmediate, c.work, c.out.flush)
	c.tenure = work.NewTenure(&s.watch, c.succeed)
	return c
}

// close ends the connection; the reader notices and cleans up. The first reason counts.
func (c *connection) close(reason error) {
	if c.closed.CompareAndSwap(false, true) {
		c.mu.Lock()
		c.reason = reason
		c.mu.Unlock()
		c.end()
		c.nc.Close()
		c.out.interrupt()
		c.reads.Interrupt()
	}
}

// run is the first reader: login, full feature phase.
func (c *connection) run() {
	if tcp, ok := c.nc.(*net.TCPConn); ok {
		_ = tcp.SetNoDelay(true) // an optimisation; the connection works without
	}
	c.receivers.Add(1)
	c.receive(func() error {
		if err := c.login(); err != nil {
			return err
		}
		c.announce()
		if !c.discovery {
			c.server.o.Paths.Established(c)
		}
		return c.serve()
	})
}

// receive is what the holder of the tenure does. Whoever holds it when that ends
// cleans up.
func (c *connection) receive(f func() error) {
	err := c.guarded(f)
	if errors.Is(err, errSucceeded) {
		c.out.flush() // what the command that took so long has answered
		c.receivers.Done()
		return
	}
	c.receivers.Done()
	c.close(err)
	c.cleanUp()
	c.server.o.Paths.Disconnected(c) // first: who logs in again meets rules after it
	c.server.ended(c)
	close(c.done)
	c.server.wait.Done()
}

// guarded calls f; a panic in it ends the connection, not the process.
func (c *connection) guarded(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.panicked(v)
			err = errPanic
		}
	}()
	return f()
}

// errSucceeded tells the goroutine that gets it that another one receives now.
var errSucceeded = errors.New("another goroutine receives")

// succeed starts the successor of a goroutine that has lost the tenure, which is at
// a command or sends. It goes on where that one was: requests that were held back may
// have their turn now.
func (c *connection) succeed() {
	c.receivers.Add(1)
	go c.receive(func() error {
		if err := c.catchUp(); err != nil {
			return err
		}
		return c.serve()
	})
}

// hold does something that may take long as the holder of the tenure. errSucceeded
// says that it took too long.
func (c *connection) hold(f func()) (err error) {
	turn := c.tenure.Begin()
	defer func() {
		if v := recover(); v != nil {
			c.panicked(v)
			c.close(errPanic)
			err = errPanic
		}
		if !c.tenure.End(turn) {
			err = errSucceeded
		}
	}()
	f()
	return nil
}

var errPanic = errors.New("internal error")

func (c *connection) panicked(v any) {
	if f := c.server.o.Events.Panic; f != nil {
		f(c.info(), v, debug.Stack())
	}
}

func (c *connection) announce() {
	if f := c.server.o.Events.SessionOpened; f != nil {
		f(c.info())
	}
}

// cleanUp ends what the connection left running: commands that wait for data are
// aborted here, those being executed by the loss of the nexus; then the workers
// are waited for.
func (c *connection) cleanUp() {
	if !c.loggedIn {
		c.out.drain()
		return
	}
	c.mu.Lock()
	var waiting []*command
	for _, cmd := range c.tasks {
		if cmd.phase == collecting {
			cmd.phase = queued
			waiting = append(waiting, cmd)
		}
	}
	c.mu.Unlock()
	for _, cmd := range waiting {
		cmd.Abort(scsi.AbortedSilently)
		c.queue.Push(job{command: cmd})
	}
	c.giveAway(&c.plain)
	c.giveAway(&c.stable)
	if c.nexus != nil {
		c.server.o.Target.NexusLost(c.nexus)
	}
	c.queue.Close()
	c.receivers.Wait()
	c.out.drain()
	c.mu.Lock()
	reason := c.reason
	c.mu.Unlock()
	if errors.Is(reason, io.EOF) || c.logout.Load() {
		reason = nil
	}
	if f := c.server.o.Events.SessionClosed; f != nil && c.full.Load() {
		f(c.info(), reason)
	}
}

// serve is the full feature phase: every PDU that a read brought is handled, then
// the next read.
func (c *connection) serve() error {
	for {
		for {
			p, ok, err := c.in.Next()
			if err != nil {
				return c.unreadable(p, err)
			}
			if !ok {
				break
			}
			if err := c.handle(p); err != nil {
				return err
			}
			if c.out.loaded() {
				c.kick()
				if err := c.hold(c.out.flush); err != nil {
					return err
				}
			}
		}
		if err := c.runGroups(); err != nil {
			return err
		}
		if err := c.hold(c.out.flush); err != nil {
			return err
		}
		if c.closed.Load() {
			return io.EOF
		}
		c.out.room()
		c.in.Polls = c.worthPolling()
		if err := c.listen(); err != nil {
			return err
		}
	}
}

// A reader polls while its initiator has had up to pollDepth commands at a time: with
// more, what comes next has come when the answers are sent, and polling would only cut
// it into smaller pieces. The most at a time falls by one part in depthDecay with each.
const (
	pollDepth  = 8
	depthDecay = 16
)

// worthPolling tells whether the reader had better ask the socket again and again for
// what comes next: when the initiator has few commands at a time, and few connections
// are active, so that a processor is free.
func (c *connection) worthPolling() bool {
	c.depth = max(c.served, c.depth-(c.depth+depthDecay-1)/depthDecay)
	c.served = 0
	return c.depth <= pollDepth && c.server.watch.Active() <= c.server.pollers
}

// listen fills the receive buffer, pinging an initiator that is silent.
func (c *connection) listen() error {
	for {
		if c.pinged {
			c.in.Wait(c.server.o.NOPTimeout)
		} else {
			c.in.Wait(c.server.o.NOPInterval)
		}
		err := c.in.Fill()
		switch {
		case err == nil:
			c.pinged = false
			return nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case c.pinged && c.out.busy():
			continue // the ping waits behind data that the socket takes slowly; the write time-out judges that
		case c.pinged:
			return errDeadPeer
		}
		c.pinged = true
		c.in.Shrink()
		c.ping()
	}
}

// unreadable answers bytes that cannot be cut into PDUs; the connection ends.
func (c *connection) unreadable(p received, err error) error {
	if errors.Is(err, line.ErrTooLong) {
		c.reject(p.Header, pdu.RejectProtocolError)
		c.out.drain()
	}
	return err
}

// handle dispatches one PDU. An error ends the connection.
func (c *connection) handle(p received) error {
	h := p.Header
	op := h.OpCode()
	if p.Corrupt {
		// RFC 7143 7.8 and 11.17.1: at ErrorRecoveryLevel 0 the target reports the
		// error and the session recovers by a new login.
		c.reject(h, pdu.RejectDigestError)
		c.out.drain()
		return errors.New("data digest error")
	}
	switch op {
	case pdu.OpDataOut:
		if len(p.AHS) > 0 {
			c.reject(h, pdu.RejectInvalidField)
			return nil
		}
		return c.dataOut(h, p.Data)
	case pdu.OpSCSICommand, pdu.OpTaskManagement, pdu.OpNOPOut, pdu.OpTextRequest, pdu.OpLogoutRequest:
		return c.ordered(p)
	case pdu.OpSNACK:
		c.reject(h, pdu.RejectSNACK) // ErrorRecoveryLevel 0 has none (RFC 7143 11.16)
	case pdu.OpLoginRequest:
		c.reject(h, pdu.RejectProtocolError)
		c.out.drain()
		return errors.New("login request in full feature phase")
	default:
		c.reject(h, pdu.RejectNotSupported)
	}
	return nil
}

// received is a PDU of the initiator's.
type received = line.PDU

var errDeadPeer = errors.New("initiator does not answer")

// heldPDU is a request that came before its turn.
type heldPDU struct {
	header, ahs, data []byte
	aborted           bool // by ABORT TASK: it only takes its CmdSN
}

// maxHeld bounds the bytes of requests held back by a gap in CmdSN.
const maxHeld = 4 << 20

// ordered handles requests that carry a CmdSN, in its order.
func (c *connection) ordered(p received) error {
	h := p.Header
	if h.Immediate() {
		if reason, refused := c.objection(p); refused {
			return c.refuse(h, reason)
		}
		return c.request(p)
	}
	switch c.window.classify(h.CmdSN()) {
	case arrivalOutside:
		return nil
	case arrivalEarly:
		if _, dup := c.early[h.CmdSN()]; !dup && c.earlySize+len(p.Data) <= maxHeld {
			held := &heldPDU{header: slices.Clone(h), ahs: slices.Clone(p.AHS), data: slices.Clone(p.Data)}
			c.early[h.CmdSN()] = held
			c.earlySize += len(p.Data)
		}
		return nil
	}
	if reason, refused := c.objection(p); refused {
		return c.refuse(h, reason)
	}
	c.window.accept()
	if err := c.request(p); err != nil {
		return err
	}
	return c.catchUp()
}

// objection judges a request before it takes its place in the window. A command
// that is rejected counts as not received: its CmdSN stays open until the
// initiator sends another with it or aborts the task (RFC 7143 7.3).
func (c *connection) objection(p received) (reason pdu.RejectReason, refused bool) {
	h := p.Header
	op := h.OpCode()
	switch {
	case c.discovery && !allowedInDiscovery(h):
		return pdu.RejectProtocolError, true
	case len(p.AHS) > 0 && op != pdu.OpSCSICommand:
		return pdu.RejectInvalidField, true
	}
	switch op {
	case pdu.OpSCSICommand:
		return c.commandObjection(p)
	case pdu.OpTextRequest:
		return c.collectText(h, p.Data)
	case pdu.OpLogoutRequest:
		var q pdu.LogoutRequest
		q.Parse(h)
		return pdu.RejectInvalidField, q.Reason > pdu.RemoveForRecovery
	}
	return 0, false
}

// allowedInDiscovery tells whether a discovery session may send a request: text,
// logout, and answers to the target's pings (RFC 7143 4.3).
func allowedInDiscovery(h pdu.Header) bool {
	switch h.OpCode() {
	case pdu.OpTextRequest, pdu.OpLogoutRequest:
		return true
	case pdu.OpNOPOut:
		return h.TaskTag() == pdu.ReservedTag
	}
	return false
}

// refuse rejects a request. A discovery session that sends commands ends.
func (c *connection) refuse(h pdu.Header, reason pdu.RejectReason) error {
	c.reject(h, reason)
	if op := h.OpCode(); c.discovery && (op == pdu.OpSCSICommand || op == pdu.OpTaskManagement) {
		c.out.drain()
		return fmt.Errorf("%w: %v in a discovery session", negotiate.ErrProtocol, op)
	}
	return nil
}

// catchUp handles the held requests whose turn has come.
func (c *connection) catchUp() error {
	for {
		next := c.window.expected.Load()
		held := c.early[next]
		if held == nil || c.window.classify(next) != arrivalNow {
			return nil
		}
		delete(c.early, next)
		c.earlySize -= len(held.data)
		if held.aborted {
			c.window.accept()
			c.window.complete()
			continue
		}
		p := received{Header: held.header, AHS: held.ahs, Data: held.data}
		if reason, refused := c.objection(p); refused {
			return c.refuse(p.Header, reason)
		}
		c.window.accept()
		if err := c.request(p); err != nil {
			return err
		}
	}
}

// abortEarly makes ABORT TASK reach a task that has not had its turn or has not
// come: its CmdSN counts as received, its command is forgotten (RFC 7143 11.5.1).
func (c *connection) abortEarly(p *pdu.TaskManagement) error {
	held := c.early[p.RefCmdSN]
	switch {
	case held != nil:
		h := pdu.Header(held.header)
		if h.OpCode() == pdu.OpSCSICommand && h.TaskTag() == p.ReferencedTag {
			held.aborted = true
		}
	case c.window.classify(p.RefCmdSN) != arrivalOutside && serialLess(p.RefCmdSN, p.CmdSN):
		c.early[p.RefCmdSN] = &heldPDU{aborted: true}
	}
	return c.catchUp()
}

// request handles one request whose turn has come. Everything but a SCSI command
// and a task management function is over at once and gives its place back.
func (c *connection) request(p received) error {
	h := p.Header
	switch h.OpCode() {
	case pdu.OpSCSICommand:
		return c.scsiCommand(p)
	case pdu.OpTaskManagement:
		return c.taskManagementRequest(h)
	}
	var err error
	switch h.OpCode() {
	case pdu.OpNOPOut:
		c.nopOut(h, p.Data)
	case pdu.OpTextRequest:
		c.textResponse(h)
	case pdu.OpLogoutRequest:
		err = c.logoutRequest(h)
	}
	c.release(h.Immediate())
	return err
}

// release gives the place of a finished request back.
func (c *connection) release(immediate bool) {
	if !immediate {
		c.window.complete()
	}
}

// send puts a PDU that carries the next StatSN. set receives the window.
func (c *connection) send(w *pdu.Window, p appender, data []byte) {
	c.out.mu.Lock()
	c.stamp(w)
	c.out.statSN++
	c.out.putLocked(p, data)
	c.out.mu.Unlock()
}

// stamp fills the sequence numbers. Called with out.mu held.
func (c *connection) stamp(w *pdu.Window) {
	w.StatSN = c.out.statSN
	w.ExpCmdSN, w.MaxCmdSN = c.window.bounds()
}

// reject answers a PDU that cannot be served with its header (RFC 7143 11.17).
func (c *connection) reject(h pdu.Header, reason pdu.RejectReason) {
	r := &pdu.Reject{Reason: reason, DataLength: pdu.HeaderLength}
	c.send(&r.Window, r, append([]byte(nil), h[:pdu.HeaderLength]...))
	c.out.flush()
	if f := c.server.o.Events.Rejected; f != nil {
		f(c.info(), h.OpCode(), reason)
	}
}

func (c *connection) info() SessionInfo {
	return SessionInfo{ID: c.id, Initiator: c.port.name, ISID: c.port.isid, TSIH: c.tsih, Portal: c.nc.LocalAddr().String(),
		Remote: c.nc.RemoteAddr().String(), Group: c.group, Discovery: c.discovery, Since: c.since,
		HeaderDigest: c.p.HeaderDigest, DataDigest: c.p.DataDigest, InFlight: int(max(c.window.inFlight.Load(), 0)),
		Commands: c.commands.Load(), Errors: c.errors.Load(), Latency: c.latency.Counts(), BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load()}
}
