package initiator

import (
	"context"
	"errors"
	"io"
	"net"

	"vvsim/scsi/iscsi/pdu"
)

// Conn frames PDUs on a byte stream: header, additional header segments, data,
// padding and digests. It knows no sequence of PDUs and no session; a test that
// wants to be wrong uses it alone. Receive and the rest may run at once from two
// goroutines, each of them from one only.
type Conn struct {
	// HeaderDigest and DataDigest say what PDUs carry from now on. MaxData is the
	// longest data segment that Receive takes. To be set while nobody receives.
	HeaderDigest, DataDigest bool
	MaxData                  int
	// Trace sees every PDU that is framed or received; see Options.Trace.
	Trace func(d Direction, header pdu.Header, data []byte)

	nc         net.Conn
	buf        []byte // received bytes are buf[start:end]
	start, end int
}

// Packet is one received PDU. Header holds the additional header segments too;
// both slices are borrowed until the next Receive.
type Packet struct {
	Header pdu.Header
	Data   []byte
}

// AHS are the additional header segments.
func (p Packet) AHS() []byte { return p.Header[pdu.HeaderLength:] }

// NewConn frames nc, which it owns from then on, as a login needs it: no
// digests, data segments of up to 8192 bytes.
func NewConn(nc net.Conn) *Conn { return &Conn{nc: nc, MaxData: loginSegment} }

// Connect connects to the portal that o names, without any PDU.
func Connect(ctx context.Context, o Options) (*Conn, error) {
	o.EnsureDefaults()
	nc, err := o.Dialer(ctx, o.Address)
	if err != nil {
		return nil, err
	}
	c := NewConn(nc)
	c.Trace = o.Trace
	return c, nil
}

// NetConn is the connection below, for deadlines and half closes.
func (c *Conn) NetConn() net.Conn { return c.nc }

// Close ends the connection; a Receive or Write in progress returns an error.
func (c *Conn) Close() error { return c.nc.Close() }

// Write sends bytes as they are.
func (c *Conn) Write(b []byte) (int, error) { return c.nc.Write(b) }

// Send frames a PDU and sends it. The lengths in its header become those of ahs
// and data; a header that lies goes through Write.
func (c *Conn) Send(p pdu.PDU, ahs, data []byte) error {
	_, err := c.nc.Write(c.Append(nil, p, ahs, data))
	return err
}

// Append appends what Send would send. ahs is a multiple of four bytes long.
func (c *Conn) Append(b []byte, p pdu.PDU, ahs, data []byte) []byte {
	at := len(b)
	b = p.AppendTo(b)
	h := pdu.Header(b[at:])
	h.PutAHSLength(len(ahs))
	h[5], h[6], h[7] = byte(len(data)>>16), byte(len(data)>>8), byte(len(data))
	b = append(b, ahs...)
	if c.Trace != nil {
		c.Trace(Sent, b[at:], data)
	}
	if c.HeaderDigest {
		d := pdu.Digest(b[at:])
		b = append(b, d[:]...)
	}
	if len(data) == 0 {
		return b
	}
	at = len(b)
	b = append(b, data...)
	var padding [4]byte
	b = append(b, padding[:pdu.Pad(len(data))]...)
	if c.DataDigest {
		d := pdu.Digest(b[at:])
		b = append(b, d[:]...)
	}
	return b
}

// Receive waits for a PDU. io.EOF means that the target closed the connection
// between two PDUs.
func (c *Conn) Receive() (Packet, error) {
	for {
		p, ok, err := c.next()
		if ok || err != nil {
			return p, err
		}
		if err := c.fill(); err != nil {
			return Packet{}, err
		}
	}
}

// next takes a whole PDU out of the buffer; ok is false when more bytes are
// needed.
func (c *Conn) next() (p Packet, ok bool, err error) {
	b := c.buf[c.start:c.end]
	if len(b) < pdu.HeaderLength {
		return Packet{}, false, nil
	}
	header := pdu.HeaderLength + pdu.Header(b).AHSLength()
	size := header
	if c.HeaderDigest {
		if size += pdu.DigestLength; len(b) < size {
			return Packet{}, false, nil
		}
		if pdu.Digest(b[:header]) != [pdu.DigestLength]byte(b[header:]) {
			return Packet{}, false, protocol("header digest of %v", pdu.Header(b).OpCode())
		}
	}
	n := pdu.Header(b).DataLength()
	if n > c.MaxData {
		return Packet{}, false, protocol("%v with %d bytes of data, %d allowed", pdu.Header(b).OpCode(), n, c.MaxData)
	}
	data := size
	padded := n + pdu.Pad(n)
	size += padded
	if c.DataDigest && n > 0 {
		size += pdu.DigestLength
	}
	if len(b) < size {
		return Packet{}, false, nil
	}
	if c.DataDigest && n > 0 && pdu.Digest(b[data:data+padded]) != [pdu.DigestLength]byte(b[data+padded:]) {
		return Packet{}, false, protocol("data digest of %v", pdu.Header(b).OpCode())
	}
	c.start += size
	p = Packet{Header: b[:header:header], Data: b[data : data+n : data+n]}
	if c.Trace != nil {
		c.Trace(Received, p.Header, p.Data)
	}
	return p, true, nil
}

// fill reads what the socket holds, as much as there is room for. The buffer
// grows to one PDU of the largest size and no further.
func (c *Conn) fill() error {
	if c.start == c.end {
		c.start, c.end = 0, 0
	}
	if largest := pdu.HeaderLength + pdu.MaxAHSLength + 2*pdu.DigestLength + c.MaxData + 3; c.end == len(c.buf) && len(c.buf) < largest {
		grown := make([]byte, min(max(2*len(c.buf), firstReadBuffer), max(largest, firstReadBuffer)))
		c.end = copy(grown, c.buf[c.start:c.end])
		c.buf, c.start = grown, 0
	}
	if c.end == len(c.buf) {
		c.end = copy(c.buf, c.buf[c.start:c.end])
		c.start = 0
	}
	n, err := c.nc.Read(c.buf[c.end:])
	c.end += n
	switch {
	case n > 0:
		return nil
	case errors.Is(err, io.EOF) && c.end > c.start:
		return io.ErrUnexpectedEOF
	case err == nil:
		return io.ErrNoProgress
	}
	return err
}
