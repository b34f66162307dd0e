package badger

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
)

// The child of TestKill writes with one goroutine per region and tells of every
// acknowledged write on standard output. Its parent kills it without warning,
// opens the directory, and finds each region's last acknowledged generation or a
// newer one, whole.
const (
	childVariable = "VVSIM_ENGINE_CHILD"
	flushVariable = "VVSIM_ENGINE_FLUSH" // set: the child tells of flushed writes only
	killsVariable = "VVSIM_KILLS"
	regions       = 8
	regionBlocks  = 16 // one write: whole or absent
)

var crashVolume = store.ID{1}

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		var err error
		if role := os.Getenv(roleVariable); role != "" {
			err = playRole(dir, role)
		} else {
			err = crashChild(dir, os.Getenv(flushVariable) != "")
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// regionData is one generation of a region: every 8 bytes tell which.
func regionData(region, generation uint64) []byte {
	p := make([]byte, regionBlocks*blockSize)
	for i := 0; i < len(p); i += 8 {
		binary.BigEndian.PutUint64(p[i:], region<<48|generation)
	}
	return p
}

// crashChild writes until it is killed. With flushed it tells of a write when a
// flush behind it has returned, and the data is on its way through the journal, a
// record and the cleaning while snapshots come and go.
func crashChild(dir string, flushed bool) error {
	ctx := context.Background()
	e, err := Open(ctx, small(dir))
	if err != nil {
		return err
	}
	o, err := e.Open(ctx, crashVolume)
	if err != nil {
		return err
	}
	start, err := strconv.ParseUint(os.Getenv("VVSIM_ENGINE_GENERATION"), 10, 64)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	tell := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format, args...) // one write call each: a line is whole or absent
	}
	tell("ready\n")
	var wait sync.WaitGroup
	for r := range uint64(regions) {
		wait.Go(func() {
			for g := start; ; g++ {
				if err := o.WriteAt(ctx, regionData(r, g), r*regionBlocks*blockSize, store.WriteOptions{FUA: g%64 == 0}); err != nil {
					tell("error %v\n", err)
					return
				}
				if flushed && g%5 == r%5 {
					if err := o.Flush(ctx); err != nil {
						tell("error %v\n", err)
						return
					}
				}
				if !flushed || g%5 == r%5 {
					tell("w %d %d\n", r, g)
				}
			}
		})
	}
	wait.Go(func() {
		for n := start; ; n++ { // snapshots that come and go, so that layers are merged and dropped
			id := store.ID{2, byte(n >> 8), byte(n)}
			if err := e.Snapshot(ctx, []store.SnapshotSpec{{Source: crashVolume, Snapshot: id}}); err != nil {
				tell("error %v\n", err)
				return
			}
			tell("s %d\n", n)
			victim := n
			if n%3 == 0 { // every third stays until the next one is there, so that chains stay short
				victim = n - 3
			}
			if victim >= start {
				if err := e.Delete(ctx, store.ID{2, byte(victim >> 8), byte(victim)}); err != nil {
					tell("error %v\n", err)
					return
				}
			}
		}
	})
	wait.Wait()
	return nil
}

func small(dir string) Options {
	return Options{Dir: dir, JournalBytes: 8 << 20, ValueLogBytes: 16 << 20, CollectEvery: 5 * time.Millisecond}
}

// TestKill was seen to fail with the answer of an op moved before the commit in
// committer.flush.
func TestKill(t *testing.T) {
	kills := 10
	if n, err := strconv.Atoi(os.Getenv(killsVariable)); err == nil {
		kills = n
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d kills (%s=N for more)", seed, kills, killsVariable)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	e, err := Open(t.Context(), small(dir))
	require.NoError(t, err)
	require.NoError(t, e.Create(t.Context(), crashVolume, store.CreateOptions{Size: 64 << 20}))
	require.NoError(t, e.Close())
	acknowledged := make([]uint64, regions)
	next := uint64(1)
	for range kills {
		c := startChild(t, dir, next, false)
		killer := time.AfterFunc(time.Duration(20+random.IntN(300))*time.Millisecond, func() { _ = c.cmd.Process.Kill() })
		snapshots := c.follow(acknowledged)
		killer.Stop()
		next = verifyAfterKill(t, dir, acknowledged, snapshots) + 1
	}
}

// child is the process that is going to be killed.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

func startChild(t *testing.T, dir string, generation uint64, flushed bool) *child {
	c := &child{t: t, cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), childVariable+"="+dir, fmt.Sprintf("VVSIM_ENGINE_GENERATION=%d", generation))
	if flushed {
		c.cmd.Env = append(c.cmd.Env, flushVariable+"=1")
	}
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.cmd.Start())
	c.lines = bufio.NewScanner(out)
	require.True(t, c.lines.Scan(), "the child did not start")
	require.Equal(t, "ready", c.lines.Text())
	return c
}

// follow reads what the child tells until it is dead; acknowledged is brought up to
// date, and the last snapshot that was told of is returned.
func (c *child) follow(acknowledged []uint64) (snapshot uint64) {
	for c.lines.Scan() {
		var r, g uint64
		if n, _ := fmt.Sscanf(c.lines.Text(), "w %d %d", &r, &g); n == 2 {
			acknowledged[r] = g
			continue
		}
		if n, _ := fmt.Sscanf(c.lines.Text(), "s %d", &g); n == 1 {
			snapshot = g
			continue
		}
		require.NotContains(c.t, c.lines.Text(), "error")
	}
	require.Error(c.t, c.cmd.Wait(), "the child was to be killed")
	return snapshot
}

// verifyAfterKill opens the directory and returns the highest generation found.
func verifyAfterKill(t *testing.T, dir string, acknowledged []uint64, snapshot uint64) (highest uint64) {
	e, err := Open(t.Context(), small(dir))
	require.NoError(t, err)
	o, err := e.Open(t.Context(), crashVolume)
	require.NoError(t, err)
	for r := range uint64(regions) {
		p := make([]byte, regionBlocks*blockSize)
		require.NoError(t, o.ReadAt(t.Context(), p, r*regionBlocks*blockSize))
		word := binary.BigEndian.Uint64(p)
		if word == 0 {
			require.Zero(t, acknowledged[r], "region %d lost everything", r)
			continue
		}
		g := word & (1<<48 - 1)
		require.GreaterOrEqual(t, g, acknowledged[r], "region %d lost an acknowledged write", r)
		require.True(t, bytes.Equal(regionData(r, g), p), "region %d holds a torn write", r)
		highest = max(highest, g, snapshot)
	}
	if snapshot%3 == 0 && snapshot > 0 {
		_, err := e.Stat(t.Context(), store.ID{2, byte(snapshot >> 8), byte(snapshot)})
		require.NoError(t, err, "an acknowledged snapshot is missing")
	}
	ids, err := e.Volumes(t.Context())
	require.NoError(t, err)
	for _, id := range ids { // chains stay short enough to go on
		if id != crashVolume {
			require.NoError(t, e.Delete(t.Context(), id))
		}
	}
	require.NoError(t, o.Close())
	require.NoError(t, e.Close())
	return max(highest, snapshot)
}
