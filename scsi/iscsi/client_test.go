package iscsi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/pdu"
)

const (
	testTarget    = "iqn.2026-01.test:array"
	testInitiator = "iqn.2026-01.test:host"
	testPatience  = 20 * time.Second // for what never should take so long
)

// open lets everybody in.
type open struct{ Credentials }

func (a open) Login(string, bool) (Credentials, error) { return a.Credentials, nil }

type fixture struct {
	server *Server
	disk   *disk
	addr   string
}

// serve starts a server on a loopback port and ends it with the test.
func serve(t testing.TB, change func(*Options)) *fixture {
	t.Helper()
	f := &fixture{disk: newDisk(4 << 20)}
	o := Options{TargetName: testTarget, Target: f.disk, Access: open{}, LogoutTimeout: 50 * time.Millisecond}
	o.Portals = func() []PortalAddress { return []PortalAddress{{f.addr, 1}, {"[::1]:3260", 2}} }
	if change != nil {
		change(&o)
	}
	var err error
	f.server, err = NewServer(o)
	require.NoError(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	f.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- f.server.Serve(context.Background(), ln, 1) }()
	t.Cleanup(func() {
		require.NoError(t, f.server.Shutdown(context.Background()))
		require.ErrorIs(t, <-served, ErrClosed)
	})
	return f
}

// client is a raw initiator: it sends what it is told, right or wrong.
type client struct {
	t                        testing.TB
	nc                       net.Conn
	isid                     [6]byte
	cmdSN, expStatSN, maxCmd uint32
	tag                      uint32
	headerDigest, dataDigest bool
	tsih                     uint16
}

func (f *fixture) dial(t testing.TB) *client {
	t.Helper()
	nc, err := net.Dial("tcp", f.addr)
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	require.NoError(t, nc.SetDeadline(time.Now().Add(testPatience)))
	return &client{t: t, nc: nc, isid: [6]byte{0, 2, 0x3d, 0, 0, 1}, cmdSN: 1}
}

func (c *client) raw(header, ahs, data []byte) {
	c.t.Helper()
	_, err := c.nc.Write(c.wire(header, ahs, data))
	require.NoError(c.t, err)
}

// wire is a PDU with its digests and padding.
func (c *client) wire(header, ahs, data []byte) []byte {
	b := append(append([]byte(nil), header...), ahs...)
	if c.headerDigest {
		d := pdu.Digest(b)
		b = append(b, d[:]...)
	}
	start := len(b)
	b = append(b, data...)
	b = append(b, make([]byte, pdu.Pad(len(data)))...)
	if c.dataDigest && len(data) > 0 {
		d := pdu.Digest(b[start:])
		b = append(b, d[:]...)
	}
	return b
}

func (c *client) send(p appender, data []byte) { c.t.Helper(); c.raw(p.AppendTo(nil), nil, data) }

// reply is one PDU from the target.
type reply struct {
	header pdu.Header
	data   []byte
}

func (c *client) tryReceive() (reply, error) {
	h := make(pdu.Header, pdu.HeaderLength)
	if _, err := io.ReadFull(c.nc, h); err != nil {
		return reply{}, err
	}
	if c.headerDigest {
		var d [4]byte
		if _, err := io.ReadFull(c.nc, d[:]); err != nil {
			return reply{}, err
		}
		if d != pdu.Digest(h) {
			return reply{}, fmt.Errorf("header digest of %v", h.OpCode())
		}
	}
	n := h.DataLength()
	data := make([]byte, n+pdu.Pad(n))
	if _, err := io.ReadFull(c.nc, data); err != nil {
		return reply{}, err
	}
	if c.dataDigest && n > 0 {
		var d [4]byte
		if _, err := io.ReadFull(c.nc, d[:]); err != nil {
			return reply{}, err
		}
		if d != pdu.Digest(data) {
			return reply{}, fmt.Errorf("data digest of %v", h.OpCode())
		}
	}
	c.maxCmd = binary.BigEndian.Uint32(h[32:])
	return reply{h, data[:n]}, nil
}

func (c *client) receive() reply {
	c.t.Helper()
	r, err := c.tryReceive()
	require.NoError(c.t, err)
	return r
}

// expect receives a PDU of this kind and checks its StatSN if it carries status.
func (c *client) expect(op pdu.OpCode) reply {
	c.t.Helper()
	r := c.receive()
	require.Equal(c.t, op, r.header.OpCode())
	statSN := binary.BigEndian.Uint32(r.header[24:])
	counts := op != pdu.OpR2T && !(op == pdu.OpDataIn && r.header[1]&1 == 0) && !(op == pdu.OpNOPIn && r.header.TaskTag() == pdu.ReservedTag)
	if op == pdu.OpLoginResponse && c.expStatSN == 0 {
		c.expStatSN = statSN
	}
	if counts {
		require.Equal(c.t, c.expStatSN, statSN, "StatSN of %v", op)
		c.expStatSN++
	}
	return r
}

// closed checks that the target has ended the connection.
func (c *client) closed() {
	c.t.Helper()
	for {
		if _, err := c.tryReceive(); err != nil {
			require.NotErrorIs(c.t, err, context.DeadlineExceeded)
			var ne net.Error
			if errors.As(err, &ne) {
				require.False(c.t, ne.Timeout(), "the connection is still open")
			}
			return
		}
	}
}

func keysOf(pairs ...string) (k pdu.Keys) {
	for i := 0; i < len(pairs); i += 2 {
		k.Add(pairs[i], pairs[i+1])
	}
	return k
}

// loginRequest sends one login request and returns the answer.
func (c *client) loginRequest(current, next pdu.Stage, transit bool, k pdu.Keys) (pdu.LoginResponse, pdu.Keys) {
	c.t.Helper()
	text := k.AppendTo(nil)
	c.send(&pdu.LoginRequest{Transit: transit, Current: current, Next: next, DataLength: len(text), ISID: c.isid, TSIH: c.tsih, CmdSN: c.cmdSN,
		ExpStatSN: c.expStatSN}, text)
	r := c.expect(pdu.OpLoginResponse)
	var p pdu.LoginResponse
	p.Parse(r.header)
	answers, err := pdu.ParseKeys(r.data)
	require.NoError(c.t, err)
	return p, answers
}

// login opens a normal session with these operational keys beside the usual ones.
func (c *client) login(pairs ...string) pdu.Keys {
	c.t.Helper()
	k := keysOf("InitiatorName", testInitiator, "TargetName", testTarget, "SessionType", "Normal", "InitialR2T", "No", "ImmediateData", "Yes",
		"MaxRecvDataSegmentLength", "65536", "MaxBurstLength", "262144", "FirstBurstLength", "65536", "MaxOutstandingR2T", "4")
	for i := 0; i < len(pairs); i += 2 {
		replaced := false
		for j := range k {
			if k[j].Key == pairs[i] {
				k[j].Value, replaced = pairs[i+1], true
			}
		}
		if !replaced {
			k.Add(pairs[i], pairs[i+1])
		}
	}
	p, answers := c.loginRequest(pdu.OperationalNegotiation, pdu.FullFeaturePhase, true, k)
	require.Equal(c.t, pdu.LoginSuccess, p.Status)
	require.True(c.t, p.Transit)
	require.NotZero(c.t, p.TSIH)
	v, _ := answers.Get("HeaderDigest")
	c.headerDigest = v == "CRC32C"
	v, _ = answers.Get("DataDigest")
	c.dataDigest = v == "CRC32C"
	return answers
}

// session logs in on a new connection.
func (f *fixture) session(t testing.TB, pairs ...string) *client {
	t.Helper()
	c := f.dial(t)
	c.login(pairs...)
	return c
}

func rw10(op byte, lba, blocks int) (cdb [16]byte) {
	cdb[0] = op
	binary.BigEndian.PutUint32(cdb[2:], uint32(lba))
	binary.BigEndian.PutUint16(cdb[7:], uint16(blocks))
	return cdb
}

// command returns a command PDU with the next tag and CmdSN.
func (c *client) command(cdb [16]byte) *pdu.SCSICommand {
	c.tag++
	c.cmdSN++
	return &pdu.SCSICommand{Final: true, Attribute: scsi.Simple, TaskTag: c.tag, CmdSN: c.cmdSN - 1, ExpStatSN: c.expStatSN, CDB: cdb}
}

func (c *client) response() (pdu.SCSIResponse, []byte) {
	c.t.Helper()
	r := c.expect(pdu.OpSCSIResponse)
	var p pdu.SCSIResponse
	p.Parse(r.header)
	return p, r.data
}

// sense parses the data segment of a response with CHECK CONDITION.
func (c *client) sense(data []byte) scsi.SenseData {
	c.t.Helper()
	require.GreaterOrEqual(c.t, len(data), 2)
	require.Equal(c.t, len(data)-2, int(binary.BigEndian.Uint16(data)))
	s, err := scsi.ParseSense(data[2:])
	require.NoError(c.t, err)
	return s
}

// testUnitReady checks that the session works.
func (c *client) testUnitReady() {
	c.t.Helper()
	p := c.command([16]byte{})
	c.send(p, nil)
	r, _ := c.response()
	require.Equal(c.t, scsi.StatusGood, r.Status)
	require.Equal(c.t, p.TaskTag, r.TaskTag)
}

// read reads with one command and returns data, status and residual.
func (c *client) read(lba, blocks, expected int) ([]byte, scsi.Status, pdu.Residual) {
	c.t.Helper()
	p := c.command(rw10(0x28, lba, blocks))
	p.Read, p.ExpectedDataLength = true, uint32(expected)
	c.send(p, nil)
	var data []byte
	for sn := uint32(0); ; sn++ {
		r := c.receive()
		if r.header.OpCode() == pdu.OpSCSIResponse {
			var q pdu.SCSIResponse
			q.Parse(r.header)
			c.expStatSN++
			return data, q.Status, q.Residual
		}
		var q pdu.DataIn
		q.Parse(r.header)
		require.Equal(c.t, sn, q.DataSN)
		require.Equal(c.t, len(data), int(q.BufferOffset))
		require.Equal(c.t, p.TaskTag, q.TaskTag)
		data = append(data, r.data...)
		if q.HasStatus {
			require.True(c.t, q.Final)
			require.Equal(c.t, c.expStatSN, q.StatSN)
			c.expStatSN++
			return data, q.Status, q.Residual
		}
	}
}

// write writes data with immediate data of n bytes and answers R2Ts; it returns
// the response and the R2Ts.
func (c *client) write(lba int, data []byte, n int) (pdu.SCSIResponse, []pdu.R2T) {
	c.t.Helper()
	p := c.command(rw10(0x2a, lba, len(data)/testBlock))
	p.Write, p.ExpectedDataLength, p.DataLength = true, uint32(len(data)), n
	c.send(p, data[:n])
	var asked []pdu.R2T
	for {
		r := c.receive()
		if r.header.OpCode() == pdu.OpSCSIResponse {
			var q pdu.SCSIResponse
			q.Parse(r.header)
			c.expStatSN++
			return q, asked
		}
		require.Equal(c.t, pdu.OpR2T, r.header.OpCode())
		var q pdu.R2T
		q.Parse(r.header)
		asked = append(asked, q)
		c.answer(q, data)
	}
}

// answer sends what an R2T asks for, in segments of 8 KiB.
func (c *client) answer(q pdu.R2T, data []byte) {
	c.t.Helper()
	end := int(q.BufferOffset + q.DesiredLength)
	sn := uint32(0)
	for at := int(q.BufferOffset); at < end; sn++ {
		k := min(8192, end-at)
		c.send(&pdu.DataOut{Final: at+k == end, DataLength: k, TaskTag: q.TaskTag, TransferTag: q.TransferTag, DataSN: sn,
			BufferOffset: uint32(at)}, data[at:at+k])
		at += k
	}
}
