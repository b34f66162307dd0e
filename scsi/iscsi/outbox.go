package iscsi

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"vvsim/scsi/iscsi/line"
	"vvsim/scsi/iscsi/pdu"
	"vvsim/scsi/latency"
)

// outbox collects PDUs and carries them to the socket. put and flush are safe for
// concurrent use; PDUs go out in the order of put.
type outbox struct {
	nc           net.Conn
	writeTimeout time.Duration
	fail         func(error) // called when the socket takes no more
	gone         func(int64) // told of the reserved bytes that have left

	headerDigest, dataDigest bool // set before full feature phase

	mu       sync.Mutex
	filling  *line.Batch
	full     atomic.Bool // filling has loadBytes; changed with mu held
	spare    *line.Batch
	late     *line.Queue // what a disturbed line does not let go yet, before filling
	parts    net.Buffers // header of the batch being written; see write
	carrying bool        // somebody is in carry
	idle     sync.Cond   // signalled when a batch is gone or the outbox fails
	broken   bool        // the socket takes no more
	statSN   uint32
	dataIn   pdu.DataIn // scratch, as what putLocked takes would escape to the heap
	response pdu.SCSIResponse
	deadline latency.Instant
}

func newOutbox(nc net.Conn, l *line.Line, writeTimeout time.Duration, fail func(error), gone func(int64)) *outbox {
	o := &outbox{nc: nc, writeTimeout: writeTimeout, fail: fail, gone: gone, filling: &line.Batch{}, spare: &line.Batch{}, late: line.NewQueue(l)}
	o.idle.L = &o.mu
	return o
}

type appender = line.Appender

// putLocked adds one PDU. Called with mu held. data is borrowed until it is on
// the wire; small data is copied instead.
func (o *outbox) putLocked(p appender, data []byte) {
	o.filling.Put(p, data, o.headerDigest, o.dataDigest)
	if o.filling.Size >= loadBytes {
		o.full.Store(true)
	}
}

// flush sees to it that everything put so far is carried: by the caller, or by
// whoever is at it.
func (o *outbox) flush() {
	o.mu.Lock()
	o.postpone()
	if o.carrying {
		o.mu.Unlock()
		return
	}
	o.carrying = true
	o.carry(false)
}

// carry writes until nothing is left. Called with mu held, which it lets go. When there is
// something to wait for on a disturbed line, a goroutine of its own does, which is patient.
func (o *outbox) carry(patient bool) {
	for {
		b, wait := o.take()
		if wait != nil && !patient {
			o.mu.Unlock()
			go func() {
				o.mu.Lock()
				o.carry(true)
			}()
			return
		}
		if wait == nil && b == nil {
			break
		}
		o.mu.Unlock()
		if wait != nil {
			wait()
			o.mu.Lock()
			continue
		}
		err := o.write(b)
		reserved := b.Reserved
		b.Clear()
		o.gone(reserved)
		if err != nil {
			o.fail(err)
		}
		o.mu.Lock()
		o.spare = b
		o.idle.Broadcast()
	}
	o.carrying = false
	o.idle.Broadcast()
	o.mu.Unlock()
}

// take returns the batch that goes next, how to wait for it when it may not yet, or
// neither. Called with mu held.
func (o *outbox) take() (b *line.Batch, wait func()) {
	o.postpone()
	b, wait = o.late.Take()
	if b == nil && wait == nil && len(o.filling.Parts) > 0 {
		b, o.filling, o.spare = o.filling, o.spare, nil
		o.full.Store(false)
	}
	return b, wait
}

// postpone puts what was put so far behind what waits, where the line holds it. Called with
// mu held.
func (o *outbox) postpone() {
	piece, held := o.late.Holds()
	if !held || len(o.filling.Parts) == 0 {
		return
	}
	for o.filling.Cut(piece, o.late.Push) {
	}
	o.late.Push(o.filling, o.filling.Length())
	o.filling = &line.Batch{}
	o.full.Store(false)
}

// loadBytes is how much is worth a call of its own, before all is answered that came together:
// what was just copied for it is in the processor's caches still, and the initiator takes it
// while the next is copied.
const loadBytes = 256 << 10

// loaded tells whether the reader had better flush now. It is asked after every PDU.
func (o *outbox) loaded() bool { return o.full.Load() && !o.busy() }

// minProgress is how many bytes a socket has to take within the write time-out: a
// batch may be too large for a slow line to carry in that time.
const minProgress = 4 << 10

// write sends one batch. Only the carrier calls it.
func (o *outbox) write(b *line.Batch) error {
	o.parts = b.Parts // WriteTo consumes its receiver; b keeps the whole
	for {
		now := latency.Now()
		if left := o.deadline.Sub(now); left < o.writeTimeout-o.writeTimeout/line.DeadlineSlack || left > o.writeTimeout {
			o.deadline = now.Add(o.writeTimeout)
			if err := o.nc.SetWriteDeadline(time.Now().Add(o.writeTimeout)); err != nil {
				return err
			}
		}
		n, err := o.parts.WriteTo(o.nc)
		if err == nil || n < minProgress || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

// maxOutbox is how many bytes may wait while the socket takes none before the
// reader stops reading: an initiator that sends but does not receive stops itself.
const maxOutbox = 4 << 20

// room waits until few bytes wait to be carried. The carrier fails after its
// write time-out at the latest.
func (o *outbox) room() {
	o.mu.Lock()
	for o.carrying && o.filling.Size+o.late.Size() > maxOutbox && !o.broken {
		o.idle.Wait()
	}
	o.mu.Unlock()
}

// busy tells whether a batch is on its way to the socket.
func (o *outbox) busy() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.carrying
}

// empty tells whether everything put so far is with the socket.
func (o *outbox) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.carrying && len(o.filling.Parts) == 0
}

// interrupt ends the waits of a connection that is being closed.
func (o *outbox) interrupt() {
	o.mu.Lock()
	o.broken = true
	o.idle.Broadcast()
	o.mu.Unlock()
}

// drain waits until nobody carries.
func (o *outbox) drain() {
	o.flush()
	o.mu.Lock()
	for o.carrying {
		o.idle.Wait()
	}
	o.mu.Unlock()
}
