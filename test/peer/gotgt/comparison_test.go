package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/pdu"
	"vvsim/test/process"
)

const (
	comparedBytes = 256 << 20
	rounds        = 3
	loadTime      = 500 * time.Millisecond
	clockTicks    = 100 // per second, of /proc/PID/stat on every Linux that Go runs on
	maxPeerData   = 64 << 10
)

// load is one row of the comparison.
type load struct {
	name       string
	op         scsi.OpCode
	bytes      int
	depth      int
	sequential bool
}

func loads() []load {
	return []load{
		{"random read 4 KiB, depth 1", scsi.OpRead10, 4 << 10, 1, false},
		{"random read 4 KiB, depth 32", scsi.OpRead10, 4 << 10, 32, false},
		{"random write 4 KiB, depth 1", scsi.OpWrite10, 4 << 10, 1, false},
		{"random write 4 KiB, depth 32", scsi.OpWrite10, 4 << 10, 32, false},
		{"sequential read 64 KiB, depth 8", scsi.OpRead10, maxPeerData, 8, true},
		{"sequential write 64 KiB, depth 8", scsi.OpWrite10, maxPeerData, 8, true},
	}
}

// measured is what one front end did under a load.
type measured struct {
	perSecond float64
	cpu       time.Duration // of the target's process, for each command
}

// TestComparison puts the same loads on one volume of one data directory, in turn
// through vvsim's own front end and through gotgt's, with the same client, and
// prints the medians. It judges only that both serve the same bytes.
func TestComparison(t *testing.T) {
	if process.Program() == "" {
		t.Skip("needs the program at VVSIM_BIN: run make peer")
	}
	dir := t.TempDir()
	image := filepath.Join(dir, "image")
	require.NoError(t, os.WriteFile(image, bytes.Repeat([]byte("vvsim and gotgt "), comparedBytes/16), 0o600))

	var id string
	var ours, theirs [rounds][]measured
	for round := range rounds {
		a := process.Start(t, dir)
		if round == 0 {
			id = a.Run("vvol", "create", "--size", strconv.Itoa(comparedBytes), "--name", "compared")
			a.Run("io", "write", "--vvol", "compared", "--file", image)
			a.Run("lun", "map", "compared", "--lun", "0")
		}
		own, _ := login(t, a.Variable("VVSIM_ISCSI"), a.Variable("VVSIM_IQN"))
		own.ready()
		ours[round] = own.measureAll(a.PID())
		marker := filled(byte(round) + 1)
		own.write(scsi.LUN{}, 0, marker)
		require.NoError(t, own.c.Close())
		require.NoError(t, a.End(syscall.SIGTERM))

		p := start(t, "--data", filepath.Join(dir, "data"), "--vvol", id)
		other, _ := login(t, p.address, targetName)
		require.Equal(t, marker, other.read(scsi.LUN{}, 0), "another volume")
		theirs[round] = other.measureAll(p.cmd.Process.Pid)
		p.stop()
	}
	fmt.Printf("one volume of %d MiB in Badger, one session, medians of %d runs of %v\n", comparedBytes>>20, rounds, loadTime)
	fmt.Printf("%-33s %8s %8s %6s %10s %10s\n", "", "vvsim/s", "gotgt/s", "ratio", "vvsim CPU", "gotgt CPU")
	for i, l := range loads() {
		o, g := median(ours[:], i), median(theirs[:], i)
		fmt.Printf("%-33s %8.0f %8.0f %6.1f %10v %10v\n", l.name, o.perSecond, g.perSecond, o.perSecond/g.perSecond, o.cpu, g.cpu)
	}
}

// median of one load over the rounds, each figure by itself.
func median(all [][]measured, load int) (m measured) {
	var speeds []float64
	var cpu []time.Duration
	for _, r := range all {
		speeds, cpu = append(speeds, r[load].perSecond), append(cpu, r[load].cpu)
	}
	slices.Sort(speeds)
	slices.Sort(cpu)
	return measured{speeds[len(speeds)/2], cpu[len(cpu)/2].Round(time.Microsecond)}
}

// ready takes the unit attentions of a new session.
func (c *client) ready() {
	c.t.Helper()
	const attentions = 8
	for range attentions {
		if c.do(scsi.LUN{}, make([]byte, 6), nil, 0).status == scsi.StatusGood {
			return
		}
	}
	require.Fail(c.t, "LUN 0 is not ready")
}

func (c *client) measureAll(pid int) (all []measured) {
	c.t.Helper()
	for _, l := range loads() {
		require.NoError(c.t, c.c.NetConn().SetDeadline(time.Now().Add(waitLimit)))
		before := cpuTime(c.t, pid)
		commands, took := c.run(l)
		used := cpuTime(c.t, pid) - before
		require.NotZero(c.t, commands, l.name)
		all = append(all, measured{float64(commands) / took.Seconds(), used / time.Duration(commands)})
	}
	require.NoError(c.t, c.c.NetConn().SetDeadline(time.Now().Add(waitLimit)))
	return all
}

// run keeps l.depth commands in flight until loadTime is over. One goroutine sends
// what there is to send in one piece, this one receives.
func (c *client) run(l load) (commands int, took time.Duration) {
	c.t.Helper()
	free := make(chan uint32, l.depth) // tags to use again
	for tag := range l.depth {
		free <- uint32(tag)
	}
	var expStatSN atomic.Uint32
	expStatSN.Store(c.expStatSN)
	failed := make(chan error, 1)
	go func() { failed <- c.issue(l, free, &expStatSN) }()

	begin := time.Now()
	for inFlight := l.depth; inFlight > 0; {
		p, err := c.c.Receive()
		require.NoError(c.t, err, l.name)
		var status scsi.Status
		var w pdu.Window
		switch p.Header.OpCode() {
		case pdu.OpDataIn:
			var d pdu.DataIn
			if d.Parse(p.Header); !d.HasStatus {
				continue
			}
			status, w = d.Status, d.Window
		case pdu.OpSCSIResponse:
			var r pdu.SCSIResponse
			r.Parse(p.Header)
			status, w = r.Status, r.Window
		default:
			require.Fail(c.t, "unexpected PDU", "%v", p.Header.OpCode())
		}
		require.Equal(c.t, scsi.StatusGood, status, l.name)
		commands++
		expStatSN.Store(w.StatSN + 1)
		if took = time.Since(begin); took < loadTime {
			free <- p.Header.TaskTag()
		} else {
			inFlight--
		}
	}
	close(free)
	require.NoError(c.t, <-failed)
	c.expStatSN = expStatSN.Load()
	return commands, took
}

// issue sends a command for every tag that comes, as many at a time as there are.
func (c *client) issue(l load, free <-chan uint32, expStatSN *atomic.Uint32) error {
	blocks := uint64(l.bytes / blockBytes)
	slots := comparedBytes / uint64(l.bytes)
	data := make([]byte, l.bytes)
	random := rand.New(rand.NewPCG(1, uint64(l.op)))
	var next uint64
	var b []byte
	for tag := range free {
		b = b[:0]
		for more := true; more; {
			slot := next % slots
			if next++; !l.sequential {
				slot = random.Uint64N(slots)
			}
			q := &pdu.SCSICommand{Final: true, Read: l.op == scsi.OpRead10, Write: l.op == scsi.OpWrite10, TaskTag: tag,
				ExpectedDataLength: uint32(l.bytes), CmdSN: c.cmdSN, ExpStatSN: expStatSN.Load()}
			copy(q.CDB[:], block(l.op, slot*blocks, uint32(blocks)))
			c.cmdSN++
			if q.Write {
				b = c.c.Append(b, q, nil, data)
			} else {
				b = c.c.Append(b, q, nil, nil)
			}
			select {
			case tag, more = <-free:
			default:
				more = false
			}
		}
		if _, err := c.c.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// cpuTime is what a process has used, user and system.
func cpuTime(t testing.TB, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	_, after, _ := strings.Cut(string(b), ") ") // the name may hold blanks
	f := strings.Fields(after)
	require.Greater(t, len(f), 12)
	var ticks int
	for _, v := range f[11:13] { // utime and stime, fields 14 and 15
		n, err := strconv.Atoi(v)
		require.NoError(t, err)
		ticks += n
	}
	return time.Duration(ticks) * time.Second / clockTicks
}
