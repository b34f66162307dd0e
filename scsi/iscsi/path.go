package iscsi

import (
	"errors"
	"net"

	"vvsim/scsi/iscsi/line"
)

// Paths is told of connections, and may disturb each of them below its PDUs as long as it
// lives. Safe for concurrent use; what it is told of one connection comes in order.
type Paths interface {
	// Connected tells of a connection before its first byte is read.
	Connected(c Conn)
	// Identified tells that the login on it is an initiator's, before anything else of that
	// login is judged. A *Refusal ends the login with its status, any other error with 0202h.
	Identified(c Conn, initiator string) error
	// Disconnected tells that the connection has ended.
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
}

// undisturbed is Paths without faults.
type undisturbed struct{}

func (undisturbed) Connected(Conn)                {}
func (undisturbed) Identified(Conn, string) error { return nil }
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

var errReset = errors.New("connection was reset")
