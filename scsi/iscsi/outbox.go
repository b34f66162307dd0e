package iscsi

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/pdu"
	"vvsim/scsi/latency"
)

// batch is what one writev carries.
type batch struct {
	parts   net.Buffers
	arena   []byte // headers, digests and small payloads; parts point into it
	release []*scsi.Buffer
	size    int // bytes of all parts
	// reserved is what goes back to the connection's budget of reads.
	reserved int64
}

// arenaSize is the capacity of a batch's arena; more headers take another one.
const arenaSize = 8 << 10

// reserve makes room for n bytes in the arena without moving what is there.
func (b *batch) reserve(n int) {
	if cap(b.arena)-len(b.arena) < n {
		b.arena = make([]byte, 0, max(arenaSize, n))
	}
}

// add appends the bytes that f appends to the arena as one part.
func (b *batch) add(n int, f func([]byte) []byte) {
	b.reserve(n)
	start := len(b.arena)
	b.arena = f(b.arena)
	b.extend(start)
}

// extend makes the arena from start on a part, or longer the last part if it
// ends there.
func (b *batch) extend(start int) {
	piece := b.arena[start:len(b.arena):len(b.arena)]
	if k := len(b.parts); k > 0 && start > 0 {
		last := b.parts[k-1]
		if n := len(last); n > 0 && &last[n-1] == &b.arena[start-1] {
			b.parts[k-1] = b.arena[start-n : len(b.arena) : len(b.arena)]
			return
		}
	}
	b.parts = append(b.parts, piece)
}

func (b *batch) clear() {
	for i := range b.release {
		b.release[i].Release()
		b.release[i] = nil
	}
	clear(b.parts)
	b.parts, b.release, b.arena, b.size, b.reserved = b.parts[:0], b.release[:0], b.arena[:0], 0, 0
}

// outbox collects PDUs and carries them to the socket. put and flush are safe for
// concurrent use; PDUs go out in the order of put.
type outbox struct {
	nc           net.Conn
	writeTimeout time.Duration
	fail         func(error) // called when the socket takes no more
	gone         func(int64) // told of the reserved bytes that have left

	headerDigest, dataDigest bool // set before full feature phase

	mu       sync.Mutex
	filling  *batch
	spare    *batch
	parts    net.Buffers // header of the batch being written; see write
	carrying bool        // somebody is in carry
	idle     sync.Cond   // signalled when a batch is gone or the outbox fails
	broken   bool        // the socket takes no more
	statSN   uint32
	dataIn   pdu.DataIn // scratch, as what putLocked takes would escape to the heap
	response pdu.SCSIResponse
	deadline latency.Instant
}

func newOutbox(nc net.Conn, writeTimeout time.Duration, fail func(error), gone func(int64)) *outbox {
	o := &outbox{nc: nc, writeTimeout: writeTimeout, fail: fail, gone: gone, filling: &batch{}, spare: &batch{}}
	o.idle.L = &o.mu
	return o
}

// segment is a PDU to send: appendTo appends the header, data follows.
type appender interface{ AppendTo([]byte) []byte }

var padding [3]byte

// putLocked adds one PDU. Called with mu held. data is borrowed until it is on
// the wire; small data is copied instead.
func (o *outbox) putLocked(p appender, data []byte) {
	b := o.filling
	b.reserve(pdu.HeaderLength + pdu.DigestLength)
	start := len(b.arena)
	b.arena = p.AppendTo(b.arena)
	if o.headerDigest {
		d := pdu.Digest(b.arena[start:])
		b.arena = append(b.arena, d[:]...)
	}
	b.extend(start)
	b.size += pdu.HeaderLength + len(data)
	if len(data) == 0 {
		return
	}
	pad := padding[:pdu.Pad(len(data))]
	if len(data) <= copyLimit {
		b.add(len(data)+len(pad), func(a []byte) []byte { return append(append(a, data...), pad...) })
	} else {
		b.parts = append(b.parts, data)
		if len(pad) > 0 {
			b.parts = append(b.parts, pad)
		}
	}
	if o.dataDigest {
		d := pdu.Digest(data, pad)
		b.add(len(d), func(a []byte) []byte { return append(a, d[:]...) })
	}
}

// copyLimit is up to how many bytes copying is cheaper than another vector element.
const copyLimit = 256

// flush sees to it that everything put so far is carried: by the caller, or by
// whoever is at it.
func (o *outbox) flush() {
	o.mu.Lock()
	if o.carrying {
		o.mu.Unlock()
		return
	}
	o.carrying = true
	for len(o.filling.parts) > 0 {
		b := o.filling
		o.filling = o.spare
		o.spare = nil
		o.mu.Unlock()
		err := o.write(b)
		reserved := b.reserved
		b.clear()
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

// minProgress is how many bytes a socket has to take within the write time-out: a
// batch may be too large for a slow line to carry in that time.
const minProgress = 4 << 10

// write sends one batch. Only the carrier calls it.
func (o *outbox) write(b *batch) error {
	o.parts = b.parts // WriteTo consumes its receiver; b keeps the whole
	for {
		now := latency.Now()
		if left := o.deadline.Sub(now); left < o.writeTimeout-o.writeTimeout/deadlineSlack || left > o.writeTimeout {
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
	for o.carrying && o.filling.size > maxOutbox && !o.broken {
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
	return !o.carrying && len(o.filling.parts) == 0
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
