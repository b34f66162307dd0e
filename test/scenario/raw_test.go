package scenario

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/pdu"
)

// rawPatience is for what never should take so long, and rawSilence how long a raw initiator
// listens for what must not come.
const (
	rawPatience = 20 * time.Second
	rawSilence  = 50 * time.Millisecond
)

// raw is an initiator that sees each PDU.
type raw struct {
	t                        testing.TB
	nc                       net.Conn
	target                   string
	qualifier                byte // of the ISID: sessions with different ones are not the same
	tag, cmdSN, expStatSN    uint32
	headerDigest, dataDigest bool
	answers                  map[uint32]*answer // by tag
}

// dialRaw connects to a portal, from 0.
func (l *lab) dialRaw(portal int) *raw {
	l.t.Helper()
	nc, err := net.Dial("tcp", l.a.Ready().ISCSI[portal])
	require.NoError(l.t, err)
	l.t.Cleanup(func() { nc.Close() })
	return &raw{t: l.t, nc: nc, target: l.a.Ready().IQN, cmdSN: 1, answers: map[uint32]*answer{}}
}

// rawSession logs a host in at a portal, with keys beside the usual ones.
func (l *lab) rawSession(host string, portal int, keys ...string) *raw {
	l.t.Helper()
	r := l.dialRaw(portal)
	r.sendLogin(host, keys...)
	p, answers := r.loginResponse()
	require.Equal(l.t, pdu.LoginSuccess, p.Status)
	v, _ := answers.Get("HeaderDigest")
	r.headerDigest = v == "CRC32C"
	v, _ = answers.Get("DataDigest")
	r.dataDigest = v == "CRC32C"
	return r
}

func (r *raw) send(p interface{ AppendTo([]byte) []byte }, data []byte) {
	r.t.Helper()
	b := p.AppendTo(nil)
	if r.headerDigest {
		d := pdu.Digest(b)
		b = append(b, d[:]...)
	}
	if len(data) > 0 {
		start := len(b)
		b = append(append(b, data...), make([]byte, pdu.Pad(len(data)))...)
		if r.dataDigest {
			d := pdu.Digest(b[start:])
			b = append(b, d[:]...)
		}
	}
	_, err := r.nc.Write(b)
	require.NoError(r.t, err)
}

func (r *raw) sendLogin(host string, keys ...string) {
	r.t.Helper()
	_, err := r.nc.Write(r.login(host, keys...))
	require.NoError(r.t, err)
}

// login is a Login Request that leads to the full feature phase.
func (r *raw) login(host string, keys ...string) []byte {
	var k pdu.Keys
	keys = append([]string{"InitiatorName", iqn(host), "TargetName", r.target, "SessionType", "Normal", "InitialR2T", "No", "ImmediateData", "Yes"}, keys...)
	for i := 0; i < len(keys); i += 2 {
		if at := slices.IndexFunc(k, func(x pdu.Pair) bool { return x.Key == keys[i] }); at >= 0 {
			k[at].Value = keys[i+1]
			continue
		}
		k.Add(keys[i], keys[i+1])
	}
	text := k.AppendTo(nil)
	p := pdu.LoginRequest{Transit: true, Current: pdu.OperationalNegotiation, Next: pdu.FullFeaturePhase, DataLength: len(text),
		ISID: [6]byte{0x80, 1, 2, 3, 4, r.qualifier}, CmdSN: r.cmdSN}
	return append(append(p.AppendTo(nil), text...), make([]byte, pdu.Pad(len(text)))...)
}

func (r *raw) loginResponse() (p pdu.LoginResponse, answers pdu.Keys) {
	r.t.Helper()
	h, data := r.receive()
	require.Equal(r.t, pdu.OpLoginResponse, h.OpCode())
	p.Parse(h)
	answers, err := pdu.ParseKeys(data)
	require.NoError(r.t, err)
	r.expStatSN = p.StatSN + 1
	return p, answers
}

// next reads a PDU with what of its digests is wrong.
func (r *raw) next() (h pdu.Header, data []byte, wrong string, err error) {
	h = make(pdu.Header, pdu.HeaderLength)
	if _, err = io.ReadFull(r.nc, h); err != nil {
		return h, nil, "", err
	}
	digest := func(on bool, b []byte, what string) {
		var d [pdu.DigestLength]byte
		if !on || err != nil {
			return
		}
		if _, err = io.ReadFull(r.nc, d[:]); err == nil && d != pdu.Digest(b) {
			wrong += what
		}
	}
	digest(r.headerDigest, h, "header")
	n := h.DataLength()
	data = make([]byte, n+pdu.Pad(n))
	if err == nil {
		_, err = io.ReadFull(r.nc, data)
	}
	digest(r.dataDigest && n > 0, data, "data")
	return h, data[:n], wrong, err
}

// receive is the next PDU, which has to be whole.
func (r *raw) receive() (pdu.Header, []byte) {
	r.t.Helper()
	require.NoError(r.t, r.nc.SetReadDeadline(time.Now().Add(rawPatience)))
	h, data, wrong, err := r.next()
	require.NoError(r.t, err)
	require.Empty(r.t, wrong)
	return h, data
}

// silent shows that nothing comes.
func (r *raw) silent() {
	r.t.Helper()
	require.NoError(r.t, r.nc.SetReadDeadline(time.Now().Add(rawSilence)))
	_, _, _, err := r.next()
	require.ErrorIs(r.t, err, os.ErrDeadlineExceeded)
}

// reset shows that the connection ends with a RST, before any PDU.
func (r *raw) reset() {
	r.t.Helper()
	require.NoError(r.t, r.nc.SetReadDeadline(time.Now().Add(rawPatience)))
	_, _, _, err := r.next()
	require.True(r.t, errors.Is(err, syscall.ECONNRESET), "%v", err)
}

// command sends a command and returns its tag. out goes as immediate data.
func (r *raw) command(lun scsi.LUN, cdb, out []byte, in int) uint32 {
	r.t.Helper()
	r.tag++
	p := pdu.SCSICommand{Final: true, Attribute: scsi.Simple, LUN: lun, TaskTag: r.tag, CmdSN: r.cmdSN, ExpStatSN: r.expStatSN,
		Write: out != nil, Read: in > 0, ExpectedDataLength: uint32(len(out) + in), DataLength: len(out)}
	copy(p.CDB[:], cdb)
	r.cmdSN++
	r.send(&p, out)
	return r.tag
}

// answer is what has come for a tag.
type answer struct {
	op   pdu.OpCode
	scsi pdu.SCSIResponse
	data []byte
	done bool
}

// take receives one PDU that answers something.
func (r *raw) take() {
	r.t.Helper()
	h, d := r.receive()
	if r.answers[h.TaskTag()] == nil {
		r.answers[h.TaskTag()] = &answer{}
	}
	x := r.answers[h.TaskTag()]
	x.op, x.done = h.OpCode(), true
	x.scsi.Window.StatSN = binary.BigEndian.Uint32(h[24:])
	switch x.op {
	case pdu.OpDataIn:
		var q pdu.DataIn
		q.Parse(h)
		require.Equal(r.t, len(x.data), int(q.BufferOffset))
		x.data = append(x.data, d...)
		if x.done = q.HasStatus; !q.HasStatus {
			return
		}
		x.scsi = pdu.SCSIResponse{Status: q.Status, Residual: q.Residual, Window: q.Window}
	case pdu.OpSCSIResponse:
		x.scsi.Parse(h)
		if x.data == nil {
			x.data = d
		}
	case pdu.OpNOPIn:
	default:
		r.t.Fatalf("%v: % x", h.OpCode(), h)
	}
	require.Equal(r.t, r.expStatSN, x.scsi.StatSN)
	r.expStatSN++
}

// await receives until a tag is answered.
func (r *raw) await(tag uint32) *answer {
	r.t.Helper()
	for r.answers[tag] == nil || !r.answers[tag].done {
		r.take()
	}
	x := r.answers[tag]
	delete(r.answers, tag)
	return x
}

// response is the answer of a command: data, or what came with the status.
func (r *raw) response(tag uint32) (p pdu.SCSIResponse, data []byte) {
	r.t.Helper()
	x := r.await(tag)
	require.NotEqual(r.t, pdu.OpNOPIn, x.op)
	return x.scsi, x.data
}

// good shows that a command ends well, and returns what it has read.
func (r *raw) good(tag uint32) []byte {
	r.t.Helper()
	p, data := r.response(tag)
	require.Equal(r.t, scsi.StatusGood, p.Status, "%x", data)
	require.Equal(r.t, pdu.Residual{}, p.Residual)
	return data
}

// ready clears the unit attentions of a logical unit.
func (r *raw) ready(lun scsi.LUN) {
	r.t.Helper()
	for {
		if p, _ := r.response(r.command(lun, tur, nil, 0)); p.Status == scsi.StatusGood {
			return
		}
	}
}

// nop sends a ping and returns its tag.
func (r *raw) nop() uint32 {
	r.t.Helper()
	r.tag++
	r.send(&pdu.NOPOut{Immediate: true, TaskTag: r.tag, TransferTag: pdu.ReservedTag, CmdSN: r.cmdSN, ExpStatSN: r.expStatSN}, nil)
	return r.tag
}

// pong receives the answer of a ping.
func (r *raw) pong(tag uint32) {
	r.t.Helper()
	require.Equal(r.t, pdu.OpNOPIn, r.await(tag).op)
}
