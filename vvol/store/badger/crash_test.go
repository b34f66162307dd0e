package badger

import (
	"bufio"
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

// The child of TestKill writes with one goroutine per region, while others snapshot,
// clone, write, revert and delete (family_test.go), and tells of everything that was
// acknowledged on standard output. Its parent kills it without warning, opens the
// directory, and finds each region's last acknowledged generation or a newer one, whole,
// and the families exactly as the child told.
const (
	childVariable = "VVSIM_ENGINE_CHILD"
	flushVariable = "VVSIM_ENGINE_FLUSH" // set: the child tells of flushed writes only
	startVariable = "VVSIM_ENGINE_START" // generation,round
	killsVariable = "VVSIM_KILLS"
	regions       = 8
	regionBlocks  = 16 // one write: whole or absent
	crashSize     = 64 << 20
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
func regionData(region, generation uint64) []byte { return filled(region<<48 | generation) }

// filled is the content of a region of one word.
func filled(word uint64) []byte {
	p := make([]byte, regionBlocks*blockSize)
	for i := 0; i < len(p); i += 8 {
		binary.BigEndian.PutUint64(p[i:], word)
	}
	return p
}

// load is what a child does, and how it tells of that.
type load struct {
	e       *Engine
	base    store.Object
	flushed bool // told of when a flush behind it has returned
	first   uint64
	round   uint32
	mu      sync.Mutex
}

// tell prints a line, with one call, so that it is there as a whole or not at all.
func (l *load) tell(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Printf(format+"\n", args...)
}

// crashChild writes until it is killed. With flushed it tells of a write when a
// flush behind it has returned, and the data is on its way through the journal, a
// record and the cleaning while snapshots and clones come and go.
func crashChild(dir string, flushed bool) (err error) {
	l := &load{flushed: flushed}
	if _, err := fmt.Sscanf(os.Getenv(startVariable), "%d,%d", &l.first, &l.round); err != nil {
		return err
	}
	ctx := context.Background()
	if l.e, err = Open(ctx, small(dir)); err != nil {
		return err
	}
	if l.base, err = l.e.Open(ctx, crashVolume); err != nil {
		return err
	}
	l.tell("ready")
	var wait sync.WaitGroup
	try := func(f func() error) {
		wait.Go(func() {
			if err := f(); err != nil {
				l.tell("error %v", err)
			}
		})
	}
	for r := range uint64(regions) {
		try(func() error { return l.overwrite(ctx, r) })
	}
	for number := range byte(keepers) {
		try((&keeper{load: l, number: number}).run)
	}
	wait.Wait()
	return nil
}

// overwrite writes one generation of a region of the base after the other.
func (l *load) overwrite(ctx context.Context, r uint64) error {
	for g := l.first; ; g++ {
		if err := l.base.WriteAt(ctx, regionData(r, g), r*regionBlocks*blockSize, store.WriteOptions{FUA: g%64 == 0}); err != nil {
			return err
		}
		if l.flushed && g%5 != r%5 {
			continue
		}
		if l.flushed {
			if err := l.base.Flush(ctx); err != nil {
				return err
			}
		}
		l.tell("w %d %d", r, g)
	}
}

func small(dir string) Options {
	return Options{Dir: dir, JournalBytes: 8 << 20, ValueLogBytes: 16 << 20, CollectEvery: 5 * time.Millisecond}
}

// TestKill was seen to fail with the answer of an op moved before the commit in
// committer.flush, and with journal.Zero left out of what Engine.recover applies: an
// unmapped region of a clone came back.
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
	require.NoError(t, e.Create(t.Context(), crashVolume, store.CreateOptions{Size: crashSize}))
	require.NoError(t, e.Close())
	o := newOracle(t)
	for range kills {
		c := startChild(t, dir, o, false)
		killer := time.AfterFunc(time.Duration(20+random.IntN(500))*time.Millisecond, func() { _ = c.cmd.Process.Kill() })
		c.follow(o)
		killer.Stop()
		o.verify(dir)
	}
	t.Log(o)
}

// child is the process that is going to be killed.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

// startChild starts the next round of an oracle.
func startChild(t *testing.T, dir string, o *oracle, flushed bool) *child {
	c := &child{t: t, cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), childVariable+"="+dir, o.start())
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

// follow has the oracle hear what the child tells until it is dead.
func (c *child) follow(o *oracle) {
	for c.lines.Scan() {
		o.hear(c.lines.Text())
	}
	require.Error(c.t, c.cmd.Wait(), "the child was to be killed")
}
