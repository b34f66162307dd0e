package iscsi

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/pdu"
)

// ram answers READ(10) and WRITE(10) of 4 KiB from memory with no task set.
type ram struct {
	scsi.Target
	memory []byte
}

func (r *ram) Prepare(t *scsi.Task) int {
	if t.CDB[0] == 0x2a {
		return 4096
	}
	return 0
}

func (r *ram) Execute(t *scsi.Task) scsi.Response {
	at := int(binary.BigEndian.Uint32(t.CDB[2:])) * 512 % len(r.memory)
	if t.CDB[0] == 0x2a {
		copy(r.memory[at:at+4096], t.DataOut)
		return scsi.Response{TransferLength: 4096}
	}
	return scsi.Response{DataIn: scsi.BufferOf(r.memory[at : at+4096]), TransferLength: 4096}
}

func (r *ram) NexusEstablished(*scsi.Nexus) error { return nil }

func (r *ram) ExecuteAll(tasks []*scsi.Task, answers []scsi.Response) {
	for i, t := range tasks {
		answers[i] = r.Execute(t)
	}
}
func (r *ram) NexusLost(*scsi.Nexus) {}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const depth = 32

// benchmark4K keeps depth commands of 4 KiB in flight over loopback. The CPU
// figure includes the client, which is in the same process.
func benchmark4K(b *testing.B, op byte) {
	f := serve(b, func(o *Options) { o.Target = &ram{memory: make([]byte, 64<<20)} })
	c := f.session(b)
	require.NoError(b, c.nc.SetDeadline(time.Time{}))
	requests := make([]byte, 0, depth*(48+4096))
	pick := rand.New(rand.NewPCG(1, 2))
	payload := make([]byte, 4096)
	sn := c.cmdSN
	put := func() {
		p := pdu.SCSICommand{Final: true, Attribute: scsi.Simple, TaskTag: sn % 100000, CmdSN: sn, ExpectedDataLength: 4096,
			CDB: rw10(op, pick.IntN(16000)*8, 8)}
		p.Read, p.Write = op == 0x28, op == 0x2a
		if p.Write {
			p.DataLength = 4096
		}
		requests = p.AppendTo(requests)
		if p.Write {
			requests = append(requests, payload...)
		}
		sn++
	}
	reply := 48
	if op == 0x28 {
		reply += 4096
	}
	b.ReportAllocs()
	start := cpuTime()
	b.ResetTimer()
	sent, received := 0, 0
	buf := make([]byte, depth*reply)
	have := 0
	for received < b.N {
		for sent < b.N && sent-received < depth {
			put()
			sent++
		}
		if len(requests) > 0 {
			if _, err := c.nc.Write(requests); err != nil {
				b.Fatal(err)
			}
			requests = requests[:0]
		}
		n, err := io.ReadAtLeast(c.nc, buf[have:], 1)
		if err != nil {
			b.Fatal(err)
		}
		have += n
		at := 0
		for ; have-at >= reply; at += reply {
			if buf[at+3] != 0 || buf[at] == 0x3f {
				b.Fatalf("answer % x", buf[at:at+48])
			}
			received++
		}
		have = copy(buf, buf[at:have])
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "IOPS")
	b.ReportMetric(float64((cpuTime()-start).Nanoseconds())/float64(b.N)/1000, "cpu-µs/op")
}

func BenchmarkRead4K(b *testing.B)  { benchmark4K(b, 0x28) }
func BenchmarkWrite4K(b *testing.B) { benchmark4K(b, 0x2a) }
