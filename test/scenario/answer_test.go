package scenario

import (
	"bytes"
	"io"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/pdu"
)

// mine scopes a rule of devices to the raw initiator.
func (s *roads) mine() string { return "lu vvol=disk portal=1 host=" + iqn("esx1") + " " }

// TestAnswerTwice shows an answer of which the last PDU comes twice, to the byte: the
// status of a command, and the data that have it.
func TestAnswerTwice(t *testing.T) {
	s := newRoads(t, ":memory:")
	f := s.addFault(s.mine() + "-> duplicate")
	for _, send := range []func() uint32{
		func() uint32 { return s.path1.command(s.lun, tur, nil, 0) },
		func() uint32 { return s.path1.command(s.lun, read8, nil, stageBytes) },
	} {
		tag := send()
		h1, d1 := s.path1.receive()
		h2, d2 := s.path1.receive()
		require.Equal(t, tag, h1.TaskTag())
		require.Equal(t, h1, h2)
		require.Equal(t, d1, d2)
		if len(d1) > 0 {
			require.Equal(t, s.content, d1)
		}
		s.path1.expStatSN++
	}
	require.Equal(t, uint64(2), s.hits(f))
	s.works(s.path2, s.host2)
	s.removeFault(f)
	s.worksRaw(s.path1)
}

// TestAnswerLate shows a write that is done at once and answered later, and no more when it was
// aborted before.
func TestAnswerLate(t *testing.T) {
	s := newRoads(t, ":memory:")
	f := s.addFault(s.mine() + "-> late 1h")
	next := random(7, stageBytes)
	write := s.path1.command(s.lun, write8, next, 0)
	aborted := s.path1.command(s.lun, tur, nil, 0)
	s.awaitHits(f, 2)
	require.Eventually(t, func() bool {
		b := make([]byte, stageBytes)
		_, err := s.path2.ReadAt(s.ctx, b, 0)
		return err == nil && bytes.Equal(b, next)
	}, rawPatience, time.Millisecond)
	s.content = next
	s.path1.silent()
	s.path1.tag++
	s.path1.send(&pdu.TaskManagement{Immediate: true, Function: scsi.AbortTask, LUN: s.lun, TaskTag: s.path1.tag, ReferencedTag: aborted,
		CmdSN: s.path1.cmdSN, ExpStatSN: s.path1.expStatSN, RefCmdSN: s.path1.cmdSN - 1}, nil)
	h, _ := s.path1.receive()
	require.Equal(t, pdu.OpTaskManagementResp, h.OpCode())
	require.Zero(t, h[2], "function complete")
	s.path1.expStatSN++
	s.works(s.path2, s.host2)
	s.removeFault(f)
	s.path1.good(write)
	s.worksRaw(s.path1)

	f = s.addFault(s.mine() + "-> late 50ms..60ms")
	began := time.Now()
	s.path1.good(s.path1.command(s.lun, tur, nil, 0))
	require.GreaterOrEqual(t, time.Since(began), 50*time.Millisecond)
	s.removeFault(f)
	s.worksRaw(s.path1)
}

// TestAnswerShort shows transfers that are shorter than asked for, and residuals, right and
// wrong, byte for byte.
func TestAnswerShort(t *testing.T) {
	s := newRoads(t, ":memory:")
	residual := func(tag uint32, over bool, n uint32) []byte {
		p, data := s.path1.response(tag)
		require.Equal(t, scsi.StatusGood, p.Status)
		require.Equal(t, pdu.Residual{Overflow: over, Underflow: !over && n > 0, Count: n}, p.Residual)
		return data
	}
	for _, n := range []int{100, 1024, 0} {
		f := s.addFault(s.mine() + "op=read -> short " + strconv.Itoa(n))
		data := residual(s.path1.command(s.lun, read8, nil, stageBytes), false, uint32(stageBytes-n))
		require.True(t, bytes.Equal(s.content[:n], data))
		s.works(s.path2, s.host2)
		s.removeFault(f)
		s.worksRaw(s.path1)
	}
	next := random(7, stageBytes)
	for _, n := range []int{0, 1024} {
		f := s.addFault(s.mine() + "op=write -> short " + strconv.Itoa(n))
		residual(s.path1.command(s.lun, write8, next, 0), false, uint32(stageBytes-n))
		s.content = append(append([]byte(nil), next[:n]...), s.content[n:]...)
		s.works(s.path2, s.host2)
		s.removeFault(f)
		s.worksRaw(s.path1)
	}
	for _, c := range []struct {
		text string
		over bool
		n    uint32
	}{{"512", false, 512}, {"4096", false, 4096}, {"7 over", true, 7}} {
		f := s.addFault(s.mine() + "-> residual " + c.text)
		require.Equal(t, s.content, residual(s.path1.command(s.lun, read8, nil, stageBytes), c.over, c.n))
		residual(s.path1.command(s.lun, write8, s.content, 0), c.over, c.n)
		s.path1.good(s.path1.command(s.lun, tur, nil, 0))
		s.works(s.path2, s.host2)
		s.removeFault(f)
		s.worksRaw(s.path1)
	}
	f := s.addFault(s.mine() + "-> residual 0")
	require.Len(t, residual(s.path1.command(s.lun, read8, nil, 2*stageBytes), false, 0), stageBytes, "4096 bytes of 8192, and no residual")
	s.removeFault(f)
	residual(s.path1.command(s.lun, read8, nil, 2*stageBytes), false, stageBytes)
	f = s.addFault(s.mine() + "-> residual 4097")
	s.worksRaw(s.path1)
	require.Zero(t, s.hits(f), "no command expects so much")
	s.removeFault(f)
}

// TestAnswerDigest shows data and headers that disagree with their digest, each where it was
// agreed on; sessions without it pass.
func TestAnswerDigest(t *testing.T) {
	s := newRoads(t, ":memory:")
	wrong := func(r *raw, what string) {
		t.Helper()
		tag := r.command(s.lun, read8, nil, stageBytes)
		require.NoError(t, r.nc.SetReadDeadline(time.Now().Add(rawPatience)))
		h, data, found, err := r.next()
		require.NoError(t, err)
		require.Equal(t, what, found)
		require.Equal(t, tag, h.TaskTag())
		require.Equal(t, what == "data", !bytes.Equal(s.content, data))
		flipped := 0
		for k := range data {
			for x := data[k] ^ s.content[k]; x != 0; x &= x - 1 {
				flipped++
			}
		}
		require.Equal(t, map[string]int{"data": 1, "header": 0}[what], flipped, "bits")
		r.expStatSN++
	}
	session := func(keys ...string) *raw {
		r := s.rawSession("esx1", 0, keys...)
		r.ready(s.lun)
		return r
	}
	data := s.addFault(s.mine() + "op=read -> digest")
	header := s.addFault(s.mine() + "op=read -> digest header")
	s.worksRaw(s.path1)
	require.Zero(t, s.hits(data)+s.hits(header), "no digests")
	r := session("DataDigest", "CRC32C")
	wrong(r, "data")
	wrong(r, "data")
	require.Equal(t, []uint64{2, 0}, []uint64{s.hits(data), s.hits(header)})
	s.works(s.path2, s.host2)
	s.removeFault(data)
	s.worksRaw(r) // it has no digest of headers
	r = session("HeaderDigest", "CRC32C", "DataDigest", "CRC32C")
	wrong(r, "header")
	s.removeFault(header)
	s.worksRaw(r)
	header = s.addFault(s.mine() + "op=read count=3 -> digest header")
	r = session("HeaderDigest", "CRC32C")
	wrong(r, "header")
	wrong(r, "header")
	s.removeFault(header)
	s.worksRaw(r)

	sense := s.addFault(s.mine() + "op=0x08 -> digest") // READ(6) of a session that takes data: sense data are data too
	r = session("DataDigest", "CRC32C")
	for _, want := range []string{"data", ""} {
		r.command(s.lun, []byte{0x08, 0x1f, 0xff, 0xff, 8, 0}, nil, stageBytes)
		h, _, found, err := r.next()
		require.NoError(t, err)
		require.Equal(t, pdu.OpSCSIResponse, h.OpCode())
		require.Equal(t, want, found)
		r.expStatSN++
		if want == "data" {
			s.removeFault(sense)
		}
	}
	s.path1 = r
	s.worksRaw(s.path1)
	s.works(s.path2, s.host2)
}

// async receives an Asynchronous Message and returns its event and parameters.
func (r *raw) async() []byte {
	r.t.Helper()
	h, data := r.receive()
	require.Equal(r.t, []byte{0x32, 0x80, 0, 0, 0, 0, 0, 0}, []byte(h[:8]), "Asynchronous Message without data")
	require.Equal(r.t, []byte{0xff, 0xff, 0xff, 0xff}, []byte(h[16:20]))
	require.Empty(r.t, data)
	r.expStatSN++
	return h[36:44]
}

// ended shows that the connection ends in order.
func (r *raw) ended() {
	r.t.Helper()
	_, _, _, err := r.next()
	require.ErrorIs(r.t, err, io.EOF)
}

// TestNotices shows what a target says before a connection ends: the request to log out, with
// what happens to those that do and those that don't, and that it drops the connection or the
// session.
func TestNotices(t *testing.T) {
	s := newRoads(t, ":memory:")
	path := "path portal=1 host=" + iqn("esx1") + " "
	for range 2 { // a session that is there, and one that comes
		f := s.addFault(path + "count=1 -> logout 300s")
		require.Equal(t, []byte{1, 0, 0, 0, 0, 0, 0x01, 0x2c}, s.path1.async())
		s.worksRaw(s.path1)
		s.path1.send(&pdu.LogoutRequest{Immediate: true, Reason: pdu.CloseSession, TaskTag: 99, CmdSN: s.path1.cmdSN, ExpStatSN: s.path1.expStatSN}, nil)
		h, _ := s.path1.receive()
		require.Equal(t, pdu.OpLogoutResponse, h.OpCode())
		s.path1.ended()
		s.path1 = s.again()
		s.works(s.path2, s.host2)
		s.removeFault(f)
	}
	f := s.addFault(path + "-> logout 1s")
	require.Equal(t, []byte{1, 0, 0, 0, 0, 0, 0, 1}, s.path1.async())
	require.Equal(t, []byte{2, 0, 0, 0, 0, 0, 0, 0}, s.path1.async(), "it did not")
	s.path1.ended()
	s.path1 = s.rawSession("esx1", 0)
	require.Equal(t, []byte{1, 0, 0, 0, 0, 0, 0, 1}, s.path1.async())
	s.works(s.path2, s.host2)
	s.removeFault(f)
	s.path1 = s.again()
	for action, event := range map[string]byte{"drop-connection": 2, "drop-session": 3} {
		f := s.addFault(path + "-> " + action)
		require.Equal(t, []byte{event, 0, 0, 0, 0, 0, 0, 0}, s.path1.async())
		s.path1.ended()
		s.path1 = s.rawSession("esx1", 0)
		require.Equal(t, []byte{event, 0, 0, 0, 0, 0, 0, 0}, s.path1.async())
		s.path1.ended()
		discovery := s.dialRaw(0)
		discovery.sendLogin("esx1", "SessionType", "Discovery")
		p, _ := discovery.loginResponse()
		require.Equal(t, pdu.LoginSuccess, p.Status)
		discovery.silent()
		require.Equal(t, uint64(2), s.hits(f))
		s.works(s.path2, s.host2)
		s.removeFault(f)
		s.path1 = s.again()
	}
	s.works(s.path2, s.host2)
}
