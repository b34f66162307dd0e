package iscsi

import (
	"errors"
	"math"
	"time"

	"vvsim/scsi/iscsi/pdu"
)

// nopOut answers a ping, or takes the answer to one (RFC 7143 11.18).
func (c *connection) nopOut(h pdu.Header, data []byte) {
	var p pdu.NOPOut
	p.Parse(h)
	if p.TaskTag == pdu.ReservedTag {
		return // an answer to our NOP-In; that bytes came is what matters
	}
	data = append([]byte(nil), data[:min(len(data), c.p.MaxSend)]...)
	r := &pdu.NOPIn{DataLength: len(data), LUN: p.LUN, TaskTag: p.TaskTag, TransferTag: pdu.ReservedTag}
	c.send(&r.Window, r, data)
}

// ping sends a NOP-In that asks for an answer (RFC 7143 11.19).
func (c *connection) ping() {
	c.mu.Lock()
	c.nopIn(c.transferTag())
	c.mu.Unlock()
	c.out.flush()
}

// nopIn puts a NOP-In of the target's own into the outbox; with ReservedTag it
// only carries the window.
func (c *connection) nopIn(transferTag uint32) {
	r := &pdu.NOPIn{TaskTag: pdu.ReservedTag, TransferTag: transferTag}
	c.out.mu.Lock()
	c.stamp(&r.Window) // StatSN is the next one and does not advance
	c.out.putLocked(r, nil)
	c.out.mu.Unlock()
}

// transferTag returns a target transfer tag. Called with mu held.
func (c *connection) transferTag() uint32 {
	if c.nextTag++; c.nextTag == pdu.ReservedTag {
		c.nextTag = 0
	}
	return c.nextTag
}

// logoutRequest closes the session, which aborts commands that are still running
// (RFC 7143 11.14).
func (c *connection) logoutRequest(h pdu.Header) error {
	var p pdu.LogoutRequest
	p.Parse(h)
	r := &pdu.LogoutResponse{TaskTag: p.TaskTag}
	switch {
	case p.Reason == pdu.RemoveForRecovery:
		r.Response = 2 // recovery needs ErrorRecoveryLevel 2
	case p.Reason == pdu.CloseConnection && p.CID != c.cid:
		r.Response = 1
	}
	if r.Response == 0 {
		c.logout.Store(true)
	}
	c.send(&r.Window, r, nil)
	c.out.drain()
	if r.Response == 0 {
		return errLogout
	}
	return nil
}

var errLogout = errors.New("logout")

// requestLogout asks the initiator to log out within d (RFC 7143 11.9.1, event 1).
func (c *connection) requestLogout(d time.Duration) {
	if !c.full.Load() {
		c.close(ErrClosed)
		return
	}
	seconds := (d + time.Second - 1) / time.Second
	c.later(func() {
		a := &pdu.AsyncMessage{Event: pdu.AsyncLogout, Parameter3: uint16(min(seconds, math.MaxUint16))}
		c.send(&a.Window, a, nil)
	})
}

// drop tells the initiator that its session or connection ends (RFC 7143 11.9.1, events 2 and
// 3: it may log in again at once, and there is nothing to take over), and closes the connection.
func (c *connection) drop(a pdu.AsyncMessage) {
	c.later(func() {
		c.send(&a.Window, &a, nil)
		c.out.drain()
		c.close(errDropped)
	})
}

// later has a worker send: an initiator that receives nothing keeps nobody else.
func (c *connection) later(send func()) {
	if c.queue.Push(job{call: send}) {
		c.queue.Kick()
	}
}

// quiet tells that nothing runs for the initiator and no answer waits to be carried.
func (c *connection) quiet() bool {
	c.mu.Lock()
	busy := len(c.tasks) > 0 || c.tmf > 0
	c.mu.Unlock()
	return !busy && c.out.empty()
}
