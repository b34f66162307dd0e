package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/scsi/iscsi/initiator"
	"vvsim/test/loads"
	"vvsim/test/process"
)

const (
	compareSize     = 2 * loads.Span // bytes of either volume
	compareSessions = 8              // the most that a load has
	tgtdLimit       = 10 * time.Second
	ticksPerSecond  = 100 // of the kernel's accounting of processors (USER_HZ)
)

// contender is a program that has the loads put on it.
type contender struct {
	name  string
	pid   int
	units []*initiator.Unit // of one volume, each of a session of its own
}

// round is what a contender did in one.
type round struct {
	iops, p99 float64 // per second; µs
	ops       uint64
	from      int64   // ticks of the contender when it began
	cpu       float64 // µs for one operation, see charge
}

// BenchmarkAgainstTgtd puts the loads of docs/performance.md on the program and on tgtd with a
// file on the same file system, in turn, and each first in every second round: make compare. It
// tells medians of the rounds, x-tgtd of the rounds' ratios. A round takes VVSIM_COMPARE_FOR.
// What either has left to do afterwards it does beside the other; to the CPU of a round belongs
// all until the next one begins.
func BenchmarkAgainstTgtd(b *testing.B) {
	if process.Program() == "" {
		b.Skip("needs the program at VVSIM_BIN: run make compare")
	}
	if _, err := exec.LookPath("tgtd"); err != nil || os.Geteuid() != 0 {
		b.Fatal("needs tgtd, from Debian's package tgt, and to be root, as tgtd does")
	}
	length := time.Second
	if s := os.Getenv("VVSIM_COMPARE_FOR"); s != "" {
		var err error
		length, err = time.ParseDuration(s)
		require.NoError(b, err, "VVSIM_COMPARE_FOR")
	}
	both := [2]*contender{startOurs(b), startTgtd(b)}
	for _, l := range loads.All() {
		l.Duration = length
		b.Run(l.Name, func(b *testing.B) {
			for _, c := range both {
				require.NoError(b, loads.Fill(b.Context(), c.units[0]))
				if l.Overwritten {
					require.NoError(b, loads.Overwrite(b.Context(), c.units[0]))
				}
			}
			var all [len(both)][]round
			for n := 0; b.Loop(); n++ {
				l.Seed = uint64(n + 1) // other blocks in each round, or the program's journal would hold them all
				for i := range both {
					k := (i + n) % len(both)
					all[k] = append(all[k], both[k].measure(b, &l))
				}
			}
			for k, c := range both {
				c.charge(b, all[k])
			}
			reportRounds(b, both, all)
		})
	}
}

// reportRounds tells the medians, and in place of the time of a round their ratio.
func reportRounds(b *testing.B, both [2]*contender, all [2][]round) {
	b.ReportMetric(0, "ns/op")
	for k, c := range both {
		b.ReportMetric(median(all[k], func(r round) float64 { return r.iops }), c.name+"-IOPS")
		b.ReportMetric(median(all[k], func(r round) float64 { return r.cpu }), c.name+"-CPU-µs")
		b.ReportMetric(median(all[k], func(r round) float64 { return r.p99 }), c.name+"-p99-µs")
	}
	var ratios []float64
	for i := range all[0] {
		ratios = append(ratios, all[0][i].iops/all[1][i].iops)
	}
	b.ReportMetric(median(ratios, func(r float64) float64 { return r }), "x-tgtd")
}

// median of a figure of some rounds.
func median[E any](all []E, figure func(E) float64) float64 {
	var s []float64
	for _, r := range all {
		s = append(s, figure(r))
	}
	slices.Sort(s)
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// measure puts a load on a contender for one round.
func (c *contender) measure(b *testing.B, l *loads.Load) round {
	from := c.ticks(b)
	s, err := l.Run(b.Context(), c.units[:l.Sessions]...)
	require.NoError(b, err, c.name)
	require.NoError(b, s.FirstError, c.name)
	return round{iops: s.IOPS(), p99: microseconds(s.Latency().Quantile(0.99)), ops: s.Reads + s.Writes, from: from}
}

// charge gives each round the CPU that the contender used until the next one, or until now.
func (c *contender) charge(b *testing.B, all []round) {
	until := c.ticks(b)
	for i := len(all) - 1; i >= 0; i-- {
		r := &all[i]
		r.cpu = microseconds(time.Duration(until-r.from)*time.Second/ticksPerSecond) / float64(r.ops)
		until = r.from
	}
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// ticks is the time of processors that a contender has used (proc_pid_stat(5): utime, stime).
func (c *contender) ticks(b *testing.B) (n int64) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.pid))
	require.NoError(b, err)
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	for _, f := range fields[11:13] {
		ticks, err := strconv.ParseInt(string(f), 10, 64)
		require.NoError(b, err)
		n += ticks
	}
	return n
}

// open logs in as often as a load may need.
func (c *contender) open(b *testing.B, portal, target string, lun int) {
	for i := range compareSessions {
		c.units = append(c.units, openUnit(b, portal, target, fmt.Sprintf("%s-%d", c.name, i), lun))
	}
}

func startOurs(b *testing.B) *contender {
	a := process.Start(b, b.TempDir())
	makeDisks(a, strconv.Itoa(compareSize), "disk")
	c := &contender{name: "vvsim", pid: a.PID()}
	c.open(b, a.Portal(), a.Variable("VVSIM_IQN"), 0)
	return c
}

// startTgtd starts tgtd with a file that has all its blocks, so that it allocates none under
// load, and with what it takes of the bursts that vvsim offers by itself. Its LUN 0 is no disk.
func startTgtd(b *testing.B) *contender {
	const target, tid = "iqn.2026-11.dev.vvsim:tgtd", "1"
	file := filepath.Join(b.TempDir(), "disk")
	process.Output(b, "fallocate", "-l", strconv.Itoa(compareSize), file)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	portal := l.Addr().String()
	require.NoError(b, l.Close())
	control := strconv.Itoa(1 + l.Addr().(*net.TCPAddr).Port%(1<<15-1)) // names tgtd's socket, as a short; 0 is Debian's own
	tgtd := process.Child(context.Background(), "tgtd", "-f", "-C", control, "--iscsi", "portal="+portal)
	require.NoError(b, tgtd.Start())
	b.Cleanup(func() { _ = tgtd.Process.Kill(); _ = tgtd.Wait() })
	administer := func(args ...string) []string { return append([]string{"-C", control, "--lld", "iscsi"}, args...) }
	require.Eventually(b, func() bool {
		return exec.Command("tgtadm", administer("--mode", "target", "--op", "show")...).Run() == nil
	}, tgtdLimit, 50*time.Millisecond, "tgtd did not start")
	commands := [][]string{{"--mode", "target", "--op", "new", "--tid", tid, "--targetname", target}}
	for name, value := range map[string]string{"InitialR2T": "No", "ImmediateData": "Yes", "MaxOutstandingR2T": "8",
		"FirstBurstLength": "262144", "MaxBurstLength": "1048576"} {
		commands = append(commands, []string{"--mode", "target", "--op", "update", "--tid", tid, "--name", name, "--value", value})
	}
	commands = append(commands, []string{"--mode", "logicalunit", "--op", "new", "--tid", tid, "--lun", "1", "--backing-store", file},
		[]string{"--mode", "target", "--op", "bind", "--tid", tid, "--initiator-address", "ALL"})
	for _, args := range commands {
		process.Output(b, "tgtadm", administer(args...)...)
	}
	c := &contender{name: "tgtd", pid: tgtd.Process.Pid}
	c.open(b, portal, target, 1)
	return c
}
