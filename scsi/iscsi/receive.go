package iscsi

import (
	"errors"
	"fmt"
	"time"

	"vvsim/scsi/iscsi/line"
	"vvsim/scsi/iscsi/pdu"
	"vvsim/scsi/iscsi/work"
	"vvsim/scsi/latency"
)

// Sizes of a receive buffer in bytes. It grows while reads fill it, and takes a
// whole PDU of the largest kind.
const (
	firstReceiveBuffer = 8 << 10
	largeReceiveBuffer = 512 << 10
)

var (
	errTooLong      = errors.New("data segment is longer than negotiated")
	errHeaderDigest = errors.New("header digest error")
	errDeadPeer     = errors.New("initiator does not answer")
)

// received is one PDU in the receive buffer; valid until the next fill.
type received struct {
	header  pdu.Header
	ahs     []byte
	data    []byte
	corrupt bool // the data digest is wrong
}

// receiver cuts the bytes of a connection into PDUs. Used by one goroutine.
type receiver struct {
	line                     *line.Reader
	buf                      []byte
	r, w                     int
	headerDigest, dataDigest bool
	maxData                  int
	deadline                 latency.Instant
	polls                    bool // whoever owns the receiver wants it to poll
	gap                      time.Duration
	asked, arrived           latency.Instant // when the last bytes were asked for and came
}

func newReceiver(l *line.Line) receiver {
	return receiver{line: line.NewReader(l), buf: make([]byte, firstReceiveBuffer), maxData: loginDataSegment}
}

// next returns the next whole PDU of the buffer; ok is false when more bytes are
// needed. An error ends the connection.
func (r *receiver) next() (p received, ok bool, err error) {
	b := r.buf[r.r:r.w]
	if len(b) < pdu.HeaderLength {
		return p, false, nil
	}
	h := pdu.Header(b[:pdu.HeaderLength])
	ahs, data := h.AHSLength(), h.DataLength()
	if data > r.maxData {
		p.header = h
		return p, false, fmt.Errorf("%w: %d bytes, %v", errTooLong, data, h.OpCode())
	}
	headerEnd := pdu.HeaderLength + ahs
	dataStart := headerEnd
	if r.headerDigest {
		dataStart += pdu.DigestLength
	}
	dataEnd := dataStart + data + pdu.Pad(data)
	end := dataEnd
	if r.dataDigest && data > 0 {
		end += pdu.DigestLength
	}
	if len(b) < end {
		return p, false, nil
	}
	if r.headerDigest && pdu.Digest(b[:headerEnd]) != [pdu.DigestLength]byte(b[headerEnd:dataStart]) {
		return p, false, errHeaderDigest
	}
	p = received{header: h, ahs: b[pdu.HeaderLength:headerEnd], data: b[dataStart : dataStart+data]}
	if end > dataEnd {
		p.corrupt = pdu.Digest(b[dataStart:dataEnd]) != [pdu.DigestLength]byte(b[dataEnd:end])
	}
	r.r += end
	return p, true, nil
}

// empty tells that the buffer holds no further byte.
func (r *receiver) empty() bool { return r.r == r.w }

// fill reads once from the connection, moving what is left to the front and
// growing the buffer as needed.
func (r *receiver) fill() error {
	switch {
	case r.empty():
		r.r, r.w = 0, 0
	case len(r.buf)-r.w < len(r.buf)/2:
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
	if r.w == len(r.buf) {
		bigger := make([]byte, 2*len(r.buf))
		r.w = copy(bigger, r.buf[r.r:r.w])
		r.r, r.buf = 0, bigger
	}
	n, err := r.line.Read(r.buf[r.w:], r.asked, r.polls && r.gap < work.PollTime)
	arrived := latency.Now()
	r.gap, r.arrived = arrived.Sub(r.asked), arrived
	r.w += n
	if n > 0 && r.w == len(r.buf) && len(r.buf) < largeReceiveBuffer {
		bigger := make([]byte, 2*len(r.buf))
		r.w = copy(bigger, r.buf[r.r:r.w])
		r.r, r.buf = 0, bigger
	}
	if n > 0 {
		return nil
	}
	return err
}

// deadlineSlack is the part of a time limit by which a deadline may be early:
// setting it for every read would cost more than the read.
const deadlineSlack = 16

// shrink gives the memory of a burst back once the connection is idle.
func (r *receiver) shrink() {
	if r.r == r.w && len(r.buf) > firstReceiveBuffer {
		r.buf = make([]byte, firstReceiveBuffer)
		r.r, r.w = 0, 0
	}
}

// wait sets the time by which something must have come.
func (r *receiver) wait(d time.Duration) {
	now := latency.Now()
	r.asked = now
	if left := r.deadline.Sub(now); left > d-d/deadlineSlack && left <= d {
		return
	}
	r.deadline = now.Add(d)
	_ = r.line.SetDeadline(time.Now().Add(d)) // fails on a closed connection only, as the read then does
}
