package iscsi

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/pdu"
)

func pattern(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = r.Read(b)
	return b
}

func TestReadWrite(t *testing.T) {
	for name, keys := range map[string][]string{
		"usual":          nil,
		"digests":        {"HeaderDigest", "CRC32C", "DataDigest", "CRC32C"},
		"header digest":  {"HeaderDigest", "CRC32C,None", "DataDigest", "None,CRC32C"},
		"small segments": {"MaxRecvDataSegmentLength", "512", "MaxBurstLength", "1024", "FirstBurstLength", "512"},
		"initial R2T":    {"InitialR2T", "Yes", "ImmediateData", "No", "MaxOutstandingR2T", "1"},
		"odd segments":   {"MaxRecvDataSegmentLength", "777", "MaxBurstLength", "1023", "FirstBurstLength", "1023"},
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, nil).session(t, keys...)
			data := pattern(300 * testBlock)
			p, asked := c.write(7, data, 0)
			require.Equal(t, scsi.StatusGood, p.Status)
			require.Equal(t, pdu.Residual{}, p.Residual)
			require.NotEmpty(t, asked)
			for i, q := range asked {
				require.Equal(t, uint32(i), q.R2TSN)
			}
			got, status, residual := c.read(7, 300, len(data))
			require.Equal(t, scsi.StatusGood, status)
			require.Equal(t, pdu.Residual{}, residual)
			require.True(t, bytes.Equal(data, got))
			if keys == nil {
				p, asked = c.write(0, data[:8*testBlock], 8*testBlock)
				require.Equal(t, scsi.StatusGood, p.Status)
				require.Empty(t, asked)
				p, asked = c.write(0, data, 1024)
				require.Equal(t, scsi.StatusGood, p.Status)
				require.Equal(t, uint32(1024), asked[0].BufferOffset)
			}
			c.testUnitReady()
		})
	}
}

func TestUnsolicitedDataOut(t *testing.T) {
	c := serve(t, nil).session(t)
	data := pattern(200 * testBlock)
	p := c.command(rw10(0x2a, 0, 200))
	p.Final, p.Write, p.ExpectedDataLength, p.DataLength = false, true, uint32(len(data)), 4096
	c.send(p, data[:4096])
	for at, sn := 4096, uint32(0); at < 65536; at, sn = at+4096, sn+1 {
		c.send(&pdu.DataOut{Final: at+4096 == 65536, DataLength: 4096, TaskTag: p.TaskTag, TransferTag: pdu.ReservedTag, DataSN: sn,
			BufferOffset: uint32(at)}, data[at:at+4096])
	}
	var q pdu.R2T
	q.Parse(c.expect(pdu.OpR2T).header)
	require.Equal(t, uint32(65536), q.BufferOffset)
	require.Equal(t, uint32(len(data)-65536), q.DesiredLength)
	c.answer(q, data)
	r, _ := c.response()
	require.Equal(t, scsi.StatusGood, r.Status)
	got, _, _ := c.read(0, 200, len(data))
	require.True(t, bytes.Equal(data, got))
}

func TestSeveralR2T(t *testing.T) {
	c := serve(t, nil).session(t, "MaxBurstLength", "8192", "FirstBurstLength", "8192", "MaxOutstandingR2T", "4")
	data := pattern(80 * testBlock) // five bursts
	p := c.command(rw10(0x2a, 0, 80))
	p.Write, p.ExpectedDataLength = true, uint32(len(data))
	c.send(p, nil)
	var asked []pdu.R2T
	for range 4 {
		var q pdu.R2T
		q.Parse(c.expect(pdu.OpR2T).header)
		asked = append(asked, q)
	}
	for _, q := range asked {
		c.answer(q, data)
	}
	var q pdu.R2T
	q.Parse(c.expect(pdu.OpR2T).header)
	require.Equal(t, uint32(4*8192), q.BufferOffset)
	c.answer(q, data)
	r, _ := c.response()
	require.Equal(t, scsi.StatusGood, r.Status)
	got, _, _ := c.read(0, 80, len(data))
	require.True(t, bytes.Equal(data, got))
}

// RFC 7143 11.4.5.
func TestResiduals(t *testing.T) {
	f := serve(t, nil)
	c := f.session(t)
	over := func(n int) pdu.Residual { return pdu.Residual{Overflow: true, Count: uint32(n)} }
	under := func(n int) pdu.Residual { return pdu.Residual{Underflow: true, Count: uint32(n)} }
	for _, r := range []struct {
		blocks, expected, got int
		residual              pdu.Residual
	}{
		{2, 1024, 1024, pdu.Residual{}}, {2, 512, 512, over(512)}, {2, 10000, 1024, under(10000 - 1024)}, {1, 0, 0, over(512)},
		{0, 512, 0, under(512)}, {1, 0xfffffff0, 512, under(0xfffffff0 - 512)}, {2, 1000, 1000, over(24)},
	} {
		data, status, residual := c.read(0, r.blocks, r.expected)
		require.Equal(t, scsi.StatusGood, status)
		require.Len(t, data, r.got)
		require.Equal(t, r.residual, residual, "%+v", r)
	}
	for _, w := range []struct {
		blocks, expected int
		residual         pdu.Residual
	}{{2, 512, over(512)}, {1, 2048, under(1536)}, {1, 0, over(512)}} {
		p := c.command(rw10(0x2a, 0, w.blocks))
		p.Write, p.ExpectedDataLength, p.DataLength = true, uint32(w.expected), w.expected
		c.send(p, make([]byte, w.expected))
		r, _ := c.response()
		require.Equal(t, w.residual, r.Residual, "%+v", w)
	}
	// Neither direction: nothing is expected, whatever the field says.
	p := c.command(rw10(0x28, 0, 1))
	p.ExpectedDataLength = 512
	c.send(p, nil)
	r, _ := c.response()
	require.Equal(t, over(512), r.Residual)
	// CHECK CONDITION: nothing moved.
	_, status, residual := c.read(1<<30, 1, 512)
	require.Equal(t, scsi.StatusCheckCondition, status)
	require.Equal(t, under(512), residual)
	// TEST UNIT READY with R bit and zero length (scsi.md 0 rule 9).
	p = c.command([16]byte{})
	p.Read = true
	c.send(p, nil)
	r, _ = c.response()
	require.Equal(t, scsi.StatusGood, r.Status)
	require.Equal(t, pdu.Residual{}, r.Residual)
}

// A data phase that goes wrong ends the command without a byte written.
func TestDataPhaseErrors(t *testing.T) {
	data := pattern(200 * testBlock)
	start := func(c *client) pdu.R2T {
		p := c.command(rw10(0x2a, 0, 200))
		p.Write, p.ExpectedDataLength = true, uint32(len(data))
		c.send(p, nil)
		var q pdu.R2T
		q.Parse(c.expect(pdu.OpR2T).header)
		return q
	}
	out := func(c *client, q pdu.R2T, change func(*pdu.DataOut), n int) {
		d := &pdu.DataOut{DataLength: n, TaskTag: q.TaskTag, TransferTag: q.TransferTag, BufferOffset: q.BufferOffset}
		change(d)
		c.send(d, data[:n])
	}
	for name, bad := range map[string]func(c *client){
		"DataSN":               func(c *client) { out(c, start(c), func(d *pdu.DataOut) { d.DataSN = 3 }, 512) },
		"BufferOffset":         func(c *client) { out(c, start(c), func(d *pdu.DataOut) { d.BufferOffset += 4 }, 512) },
		"huge BufferOffset":    func(c *client) { out(c, start(c), func(d *pdu.DataOut) { d.BufferOffset = 0xffffff00 }, 512) },
		"F too early":          func(c *client) { out(c, start(c), func(d *pdu.DataOut) { d.Final = true }, 512) },
		"unknown transfer tag": func(c *client) { out(c, start(c), func(d *pdu.DataOut) { d.TransferTag ^= 0x5555 }, 512) },
		"unsolicited after all": func(c *client) {
			out(c, start(c), func(d *pdu.DataOut) { d.TransferTag = pdu.ReservedTag }, 512)
		},
		"more than asked for": func(c *client) {
			q := start(c)
			at := 0
			for ; at+65536 <= int(q.DesiredLength); at += 65536 {
				out(c, q, func(d *pdu.DataOut) { d.DataSN, d.BufferOffset = uint32(at/65536), uint32(at) }, 65536)
			}
			out(c, q, func(d *pdu.DataOut) { d.DataSN, d.BufferOffset = uint32(at/65536), uint32(at) }, 65536)
		},
		"immediate beyond FirstBurstLength": func(c *client) {
			p := c.command(rw10(0x2a, 0, 200))
			p.Write, p.ExpectedDataLength, p.DataLength = true, uint32(len(data)), 65540
			c.send(p, data[:65540])
		},
		"immediate beyond the expected length": func(c *client) {
			p := c.command(rw10(0x2a, 0, 1))
			p.Write, p.ExpectedDataLength, p.DataLength = true, 512, 1024
			c.send(p, data[:1024])
		},
		"bidirectional": func(c *client) {
			p := c.command(rw10(0x2a, 0, 1))
			p.Read, p.Write, p.ExpectedDataLength, p.DataLength = true, true, 512, 512
			c.send(p, data[:512])
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, nil)
			c := f.session(t)
			bad(c)
			p, sense := c.response()
			require.Equal(t, scsi.StatusCheckCondition, p.Status)
			if s := c.sense(sense); name != "bidirectional" {
				require.Equal(t, scsi.AbortedCommand, s.Key)
			}
			require.Zero(t, f.disk.writes)
			require.Zero(t, f.disk.taskCount())
			c.testUnitReady()
		})
	}
}

func TestUnsolicitedRefused(t *testing.T) {
	f := serve(t, nil)
	c := f.session(t, "InitialR2T", "Yes", "ImmediateData", "No")
	p := c.command(rw10(0x2a, 0, 1))
	p.Write, p.ExpectedDataLength, p.DataLength = true, 512, 512
	c.send(p, make([]byte, 512))
	r, _ := c.response()
	require.Equal(t, scsi.StatusCheckCondition, r.Status)
	p = c.command(rw10(0x2a, 0, 1))
	p.Final, p.Write, p.ExpectedDataLength = false, true, 512
	c.send(p, nil)
	r, _ = c.response()
	require.Equal(t, scsi.StatusCheckCondition, r.Status)
	require.Zero(t, f.disk.writes)
}

// An expected length of almost 4 GiB costs nothing: the device's CDB decides.
func TestHugeExpectedLength(t *testing.T) {
	c := serve(t, nil).session(t)
	p := c.command(rw10(0x2a, 0, 1))
	p.Write, p.ExpectedDataLength, p.DataLength = true, 0xfffffff0, 512
	c.send(p, make([]byte, 512))
	r, _ := c.response()
	require.Equal(t, scsi.StatusGood, r.Status)
	require.Equal(t, uint32(0xfffffff0-512), r.Residual.Count)
}

// Many large writes at once stay within the budget of buffers and all end.
func TestManyLargeWrites(t *testing.T) {
	f := serve(t, nil)
	f.disk.memory = make([]byte, 32<<20)
	c := f.session(t, "InitialR2T", "Yes", "MaxOutstandingR2T", "1", "MaxBurstLength", "1048576")
	const each = 16 << 20
	data := make([]byte, each)
	for range 8 {
		p := c.command(rw10(0x2a, 0, each/testBlock))
		p.Write, p.ExpectedDataLength = true, each
		c.send(p, nil)
	}
	for done := 0; done < 8; {
		r := c.receive()
		switch r.header.OpCode() {
		case pdu.OpR2T:
			var q pdu.R2T
			q.Parse(r.header)
			for _, s := range f.server.connectionsForTest() {
				s.mu.Lock()
				require.LessOrEqual(t, s.admitted, maxAdmitted)
				s.mu.Unlock()
			}
			at, sn := q.BufferOffset, uint32(0)
			for end := q.BufferOffset + q.DesiredLength; at < end; at, sn = at+262144, sn+1 {
				c.send(&pdu.DataOut{Final: at+262144 == end, DataLength: 262144, TaskTag: q.TaskTag, TransferTag: q.TransferTag, DataSN: sn,
					BufferOffset: at}, data[at:at+262144])
			}
		case pdu.OpSCSIResponse:
			require.Equal(t, byte(scsi.StatusGood), r.header[3])
			done++
		default:
			t.Fatal(r.header.OpCode())
		}
	}
}

func (s *Server) connectionsForTest() (all []*connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.connections {
		all = append(all, c)
	}
	return all
}
