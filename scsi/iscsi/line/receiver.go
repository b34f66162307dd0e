package line

import (
	"errors"
	"fmt"
	"time"

	"vvsim/scsi/iscsi/pdu"
	"vvsim/scsi/iscsi/work"
	"vvsim/scsi/latency"
)

// Sizes of a receive buffer in bytes. It grows while reads fill it, and takes a
// whole PDU of the largest kind.
const (
	firstReceiveBuffer = 8 << 10
	LargeReceiveBuffer = 512 << 10
)

// Errors of Next.
var (
	ErrTooLong      = errors.New("data segment is longer than negotiated")
	errHeaderDigest = errors.New("header digest error")
)

// PDU is one in the receive buffer; valid until the next Fill.
type PDU struct {
	Header  pdu.Header
	AHS     []byte
	Data    []byte
	Corrupt bool // the data digest is wrong
}

// Receiver cuts the bytes of a connection into PDUs. Used by one goroutine.
type Receiver struct {
	*Reader
	HeaderDigest, DataDigest bool
	MaxData                  int             // of a data segment, in bytes
	Polls                    bool            // whoever owns the receiver wants it to poll
	Arrived                  latency.Instant // when the last bytes came

	buf   []byte
	r, w  int
	limit latency.Instant // as set last, near enough
	gap   time.Duration
	asked latency.Instant // when the last bytes were asked for
}

// NewReceiver returns the receiver of a line for data segments of up to maxData bytes.
func NewReceiver(l *Line, maxData int) Receiver {
	return Receiver{Reader: NewReader(l), buf: make([]byte, firstReceiveBuffer), MaxData: maxData}
}

// Next returns the next whole PDU of the buffer; ok is false when more bytes are
// needed. An error ends the connection.
func (r *Receiver) Next() (p PDU, ok bool, err error) {
	b := r.buf[r.r:r.w]
	if len(b) < pdu.HeaderLength {
		return p, false, nil
	}
	h := pdu.Header(b[:pdu.HeaderLength])
	ahs, data := h.AHSLength(), h.DataLength()
	if data > r.MaxData {
		p.Header = h
		return p, false, fmt.Errorf("%w: %d bytes, %v", ErrTooLong, data, h.OpCode())
	}
	headerEnd := pdu.HeaderLength + ahs
	dataStart := headerEnd
	if r.HeaderDigest {
		dataStart += pdu.DigestLength
	}
	dataEnd := dataStart + data + pdu.Pad(data)
	end := dataEnd
	if r.DataDigest && data > 0 {
		end += pdu.DigestLength
	}
	if len(b) < end {
		return p, false, nil
	}
	if r.HeaderDigest && pdu.Digest(b[:headerEnd]) != [pdu.DigestLength]byte(b[headerEnd:dataStart]) {
		return p, false, errHeaderDigest
	}
	p = PDU{Header: h, AHS: b[pdu.HeaderLength:headerEnd], Data: b[dataStart : dataStart+data]}
	if end > dataEnd {
		p.Corrupt = pdu.Digest(b[dataStart:dataEnd]) != [pdu.DigestLength]byte(b[dataEnd:end])
	}
	r.r += end
	return p, true, nil
}

// Empty tells that the buffer holds no further byte.
func (r *Receiver) Empty() bool { return r.r == r.w }

// Fill reads once from the connection, moving what is left to the front and
// growing the buffer as needed.
func (r *Receiver) Fill() error {
	switch {
	case r.Empty():
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
	n, err := r.Read(r.buf[r.w:], r.asked, r.Polls && r.gap < work.PollTime)
	arrived := latency.Now()
	r.gap, r.Arrived = arrived.Sub(r.asked), arrived
	r.w += n
	if n > 0 && r.w == len(r.buf) && len(r.buf) < LargeReceiveBuffer {
		bigger := make([]byte, 2*len(r.buf))
		r.w = copy(bigger, r.buf[r.r:r.w])
		r.r, r.buf = 0, bigger
	}
	if n > 0 {
		return nil
	}
	return err
}

// DeadlineSlack is the part of a time limit by which a deadline may be early:
// setting it for every read would cost more than the read.
const DeadlineSlack = 16

// Shrink gives the memory of a burst back once the connection is idle.
func (r *Receiver) Shrink() {
	if r.r == r.w && len(r.buf) > firstReceiveBuffer {
		r.buf = make([]byte, firstReceiveBuffer)
		r.r, r.w = 0, 0
	}
}

// Wait sets the time by which something must have come.
func (r *Receiver) Wait(d time.Duration) {
	now := latency.Now()
	r.asked = now
	if left := r.limit.Sub(now); left > d-d/DeadlineSlack && left <= d {
		return
	}
	r.limit = now.Add(d)
	_ = r.SetDeadline(time.Now().Add(d)) // fails on a closed connection only, as the read then does
}
