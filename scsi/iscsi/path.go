package iscsi

import (
	"errors"
	"net"
	"time"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/line"
	"vvsim/scsi/iscsi/pdu"
)

// Paths is told of connections, and may disturb each of them below its PDUs as long as it
// lives. Safe for concurrent use; what it is told of one connection comes in order.
type Paths interface {
	// Connected tells of a connection before its first byte is read.
	Connected(c Conn)
	// Identified tells that the login on it is an initiator's, before anything else of that
	// login is judged. A *Refusal ends the login with its status, any other error with 0202h.
	Identified(c Conn, initiator string) error
	// Established tells that a normal session has begun on it.
	Established(c Conn)
	// Disconnected tells that the connection has ended, before its session's place is free.
	Disconnected(c Conn)
}

// Conn is one connection as Paths sees it; comparable. Safe for concurrent use.
type Conn interface {
	// Session is the number of the session that the connection becomes (SessionInfo.ID).
	Session() uint64
	// Portal is the target portal group tag of the portal where it came in.
	Portal() uint16
	// Disturb has what comes in and what goes out pass these ways from now on, nil for none.
	Disturb(in, out line.Way)
	// Reset ends the connection as a network does that loses it: the peer gets a RST, and
	// what was not sent is lost.
	Reset()
	// AskLogout asks the initiator of an established session to log out within d, in whole
	// seconds (RFC 7143 11.9.1, event 1).
	AskLogout(d time.Duration)
	// Leave tells the initiator of an established session that its connection, or its session,
	// is dropped (events 2 and 3), and closes the connection.
	Leave(session bool)
}

// undisturbed is Paths without faults.
type undisturbed struct{}

func (undisturbed) Connected(Conn)                {}
func (undisturbed) Identified(Conn, string) error { return nil }
func (undisturbed) Established(Conn)              {}
func (undisturbed) Disconnected(Conn)             {}

// Session implements Conn.
func (c *connection) Session() uint64 { return c.id }

// Portal implements Conn.
func (c *connection) Portal() uint16 { return c.group }

// Disturb implements Conn.
func (c *connection) Disturb(in, out line.Way) { c.line.Disturb(in, out) }

// Reset implements Conn.
func (c *connection) Reset() {
	if tcp, ok := c.nc.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without, the peer sees an orderly end
	}
	c.close(errReset)
}

// AskLogout implements Conn.
func (c *connection) AskLogout(d time.Duration) { c.requestLogout(d) }

// Leave implements Conn.
func (c *connection) Leave(session bool) {
	if session {
		c.drop(pdu.AsyncMessage{Event: pdu.AsyncDropSession})
	} else {
		c.drop(pdu.AsyncMessage{Event: pdu.AsyncDropConnection, Parameter1: c.cid})
	}
}

// distortion is what goes wrong with the answer of a command on its way.
type distortion struct {
	twice        bool // the last PDU
	header, data bool // the first digest of a header, or of data
}

// Digests tells which digests protect what goes to the initiator.
func (c *connection) Digests() (header, data bool) { return c.p.HeaderDigest, c.p.DataDigest }

// Distort has the answer of a task that is being executed go wrong.
func (c *connection) Distort(t *scsi.Task, twice, header, data bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cmd := c.tasks[t.Tag]; cmd != nil && &cmd.Task == t {
		cmd.distortion = distortion{twice, header, data}
	}
}

var errReset = errors.New("connection was reset")
