package soak

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"vvsim/api"
	"vvsim/array"
	"vvsim/test/process"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"), goleak.IgnoreAnyFunction("go.opencensus.io/stats/view.(*worker).start"))
}

const (
	shortRun     = 15 * time.Second // without SOAK
	linesShown   = 60               // of samples, for a whole run
	calmLimit    = time.Minute      // until space has come back
	leastBetween = 4 * time.Second  // lines
)

// TestInProcess is the soak of an array in this process, so that the race detector sees
// it: small volumes, so that everything meets everything.
func TestInProcess(t *testing.T) {
	c := array.DefaultConfig()
	c.Data, c.API.Addr, c.VASA.Addr = place(t), "127.0.0.1:0", "127.0.0.1:0"
	c.ISCSI.Portals = []string{"127.0.0.1:0", "127.0.0.1:0"}
	c.Store.JournalMiB = 16
	var a *array.Array
	start := func() Array {
		var err error
		a, err = array.Open(t.Context(), c, "test", zap.NewNop())
		require.NoError(t, err)
		require.NoError(t, a.Start(t.Context()))
		r := a.Ready()
		return Array{API: client(r.API), Portals: r.ISCSI, IQN: r.IQN, PID: os.Getpid(), Data: c.Data}
	}
	end := func() { require.NoError(t, a.Close(context.Background())) }
	soak(t, subject{start: start, end: end,
		scale:  Scale{Volumes: 4, Size: 16 << 20, Forks: 12, Hosts: 3, Workers: 16, Pause: 150 * time.Millisecond},
		bounds: Bounds{Journal: 16 << 20, Disk: 300, CalmDisk: 160, DiskSlack: 512 << 20, MemoryGrowth: 48 << 20, Goroutines: 16, JudgeGrowth: 5 * time.Minute}})
}

// TestProgram is the soak of the program with 4 GiB. It is killed at the end, started
// again, and everything is there.
func TestProgram(t *testing.T) {
	if process.Program() == "" || os.Getenv("SOAK") == "" {
		t.Skip("needs the program at VVSIM_BIN and a time in SOAK: run make soak")
	}
	dir := place(t)
	const memory = (300 + 4*4) << 20 // with 4 GiB of volumes, and up to 4 GiB of what their forks hold by themselves
	var p *process.Array
	start := func() Array {
		p = process.Start(t, dir)
		return Array{API: client(p.Variable("VVSIM_API")), Portals: strings.Split(p.Variable("VVSIM_ISCSI"), ","), IQN: p.Variable("VVSIM_IQN"),
			PID: p.PID(), Data: filepath.Join(dir, "data")}
	}
	end := func() { require.Error(t, p.End(syscall.SIGKILL)) }
	soak(t, subject{start: start, end: end,
		scale: Scale{Volumes: 8, Size: 512 << 20, Forks: 16, Hosts: 4, Workers: 32, Pause: 2 * time.Second},
		bounds: Bounds{Journal: 256 << 20, Disk: 300, CalmDisk: 160, DiskSlack: 0, Memory: memory, MemoryGrowth: 24 << 20, Goroutines: 16,
			JudgeGrowth: 5 * time.Minute}})
}

// subject is an array with what is done to it and asked of it.
type subject struct {
	start  func() Array
	end    func() // in any way that loses nothing
	scale  Scale
	bounds Bounds
}

// place is where the data go: in SOAK_DIR, where they stay, or in a directory of the test's own.
func place(t *testing.T) string {
	dir := os.Getenv("SOAK_DIR")
	if dir == "" {
		return t.TempDir()
	}
	dir = filepath.Join(dir, t.Name())
	require.NoError(t, os.MkdirAll(filepath.Dir(dir), 0o700))
	require.NoError(t, os.Mkdir(dir, 0o700), "SOAK_DIR is for one run")
	return dir
}

func client(url string) *api.Client {
	return &api.Client{Base: url, HTTP: &http.Client{Transport: &http.Transport{}}}
}

// setting reads SOAK and SOAK_SEED.
func setting(t *testing.T) (d time.Duration, seed uint64) {
	d, seed = shortRun, uint64(time.Now().UnixNano())
	var err error
	if s := os.Getenv("SOAK"); s != "" {
		d, err = time.ParseDuration(s)
		require.NoError(t, err, "SOAK")
		require.Positive(t, d, "SOAK")
	}
	if s := os.Getenv("SOAK_SEED"); s != "" {
		seed, err = strconv.ParseUint(s, 0, 64)
		require.NoError(t, err, "SOAK_SEED")
	}
	return d, seed
}

func soak(t *testing.T, a subject) {
	ctx := t.Context()
	d, seed := setting(t)
	a.scale.Seed = seed
	t.Logf("%v, SOAK_SEED=%d, %d volumes of %s, %d hosts, %d commands in flight", d, seed, a.scale.Volumes, mib(a.scale.Size), a.scale.Hosts, a.scale.Workers)
	s, err := New(ctx, a.scale, a.start())
	t.Cleanup(func() { s.Disconnect() })
	require.NoError(t, err)
	require.NoError(t, s.Fill(ctx))

	var all []Sample
	lines := table{every: max(d/linesShown, leastBetween), tell: func(line string) { t.Log(line) }}
	err = s.Run(ctx, d, func(x Sample) {
		all = append(all, x)
		lines.add(x)
	})
	require.NoError(t, err)
	require.NoError(t, s.Verify(ctx))
	require.NoError(t, s.Check(ctx))
	calm, spaceErr := s.Calm(ctx, calmLimit, a.bounds.InCalm)
	if !errors.Is(spaceErr, errSpace) { // which is told when all else has been looked at
		require.NoError(t, spaceErr)
	}
	s.Disconnect()
	a.end()
	require.NoError(t, s.Reconnect(ctx, a.start()))
	require.NoError(t, s.Verify(ctx), "after the array was started again")
	require.NoError(t, s.Check(ctx))
	s.Disconnect()
	a.end()

	c := &s.counts
	t.Logf("%d commands: read %s, wrote %s, read whole volumes: %s; %d snapshots, %d clones, %d reverts, %d deletions, %d refused as too deep", c.commands.Load(),
		mib(c.read.Load()), mib(c.written.Load()), mib(c.verified.Load()), c.snapshots.Load(), c.clones.Load(), c.reverts.Load(), c.drops.Load(), c.refused.Load())
	t.Logf("calm after %v: %s on disk for %s live", calm.At.Round(time.Millisecond), mib(calm.Disk), mib(calm.Live))
	require.NotEmpty(t, all)
	if d < a.bounds.JudgeGrowth {
		t.Logf("growth is not judged: that takes %v", a.bounds.JudgeGrowth)
	} else {
		require.NotZero(t, all[len(all)-1].Reclaimed, "collection went on")
	}
	require.NotZero(t, c.snapshots.Load())
	require.NotZero(t, c.drops.Load())
	require.Empty(t, a.bounds.Judge(all))
	require.NoError(t, spaceErr)
	t.Log("every byte is as written, and everything within its bounds")
}

// table shows some of the samples, each as a line.
type table struct {
	every time.Duration
	tell  func(string)
	last  Sample
	begun bool
	slow  time.Duration
}

func (l *table) add(x Sample) {
	if !l.begun {
		l.begun, l.last = true, x
		l.tell("   time commands/s MiB/s written  RssAnon  Go MiB goroutines  disk  live garbage MiB  reclaimed MiB/s forks slowest")
	}
	l.slow = max(l.slow, x.Slowest)
	span := (x.At - l.last.At).Seconds()
	if x.At-l.last.At < l.every {
		return
	}
	rate := func(now, before uint64) float64 { return float64(now-before) / (1 << 20) / span }
	l.tell(fmt.Sprintf("%7v %10.0f %13.1f %8d %7d %10d %5d %5d %11d %16.1f %5d %7v", x.At.Round(time.Second), float64(x.Commands-l.last.Commands)/span,
		rate(x.Written, l.last.Written), x.Anonymous>>20, x.Held>>20, x.Goroutines, x.Disk>>20, x.Live>>20, x.Garbage>>20, rate(x.Reclaimed, l.last.Reclaimed),
		x.Forks, l.slow.Round(time.Millisecond)))
	l.last, l.slow = x, 0
}
