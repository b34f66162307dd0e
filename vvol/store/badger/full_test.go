package badger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"vvsim/vvol/store"
)

// otherVolume is a volume that is written before the file system is full.
var otherVolume = store.ID{9}

// fullChunk is one write of fillDisk, fullChunks their places.
const (
	fullChunk  = 64 << 10
	fullChunks = 8192
)

// chunk is what write n holds.
func chunk(n uint64) []byte {
	p := make([]byte, fullChunk)
	for i := 0; i < len(p); i += 8 {
		binary.BigEndian.PutUint64(p[i:], n)
	}
	return p
}

// fillDisk is the child of TestEatenDisk. It writes until a write finds no space, tells
// how many were acknowledged, waits, and goes on.
func fillDisk(dir string, tell func(string), await func()) error {
	ctx := context.Background()
	e, err := Open(ctx, small(dir))
	if err != nil {
		return err
	}
	v, err := e.Open(ctx, crashVolume)
	if err != nil {
		return err
	}
	other, err := e.Open(ctx, otherVolume)
	if err != nil {
		return err
	}
	tell("ready")
	n := uint64(1)
	put := func() (err error) {
		for ; err == nil; n++ {
			err = v.WriteAt(ctx, chunk(n), n%fullChunks*fullChunk, store.WriteOptions{})
		}
		n-- // which is the one that was refused
		return err
	}
	if err := expect("write", put(), store.ErrNoSpace); err != nil {
		return err
	}
	p := make([]byte, fullChunk)
	if err := errors.Join(other.ReadAt(ctx, p, 0), v.ReadAt(ctx, p, (n-1)%fullChunks*fullChunk), v.Flush(ctx)); err != nil {
		return err
	}
	if !bytes.Equal(p, chunk(n-1)) {
		return fmt.Errorf("write %d does not read as it was acknowledged", n-1)
	}
	tell(fmt.Sprintf("acknowledged %d", n-1))
	tell("full")
	await()
	return nil
}

// eat takes all space of a file system at once, whatever an engine thinks that it has: a call
// for more than there is takes what there is before it fails.
func eat(t *testing.T, mount string) {
	f, err := os.Create(filepath.Join(mount, "eater"))
	require.NoError(t, err)
	var s unix.Statfs_t
	require.NoError(t, unix.Fstatfs(int(f.Fd()), &s))
	require.ErrorIs(t, unix.Fallocate(int(f.Fd()), 0, 0, int64(s.Bavail)*s.Bsize+1<<30), unix.ENOSPC)
	require.NoError(t, unix.Fstatfs(int(f.Fd()), &s))
	require.Zero(t, s.Bavail)
	require.NoError(t, f.Close())
}

// TestEatenDisk has another process take all space of the file system while the engine
// writes at full speed, kills the engine, and opens the directory, full and then with
// room: the process did not end by itself, nothing acknowledged is lost, other volumes
// are read. It was seen to end by SIGBUS in its first round, in Badger's mapped value log,
// with files.Begin left out of Engine.begin. The last rounds take the space between two value
// logs (betweenLogs); they ended by SIGBUS each time with sigbus.Hold left out of the spare.
func TestEatenDisk(t *testing.T) {
	for round := range 6 {
		v := newVolatile(t)
		dir := filepath.Join(v.mount, "data")
		e, err := Open(t.Context(), small(dir))
		require.NoError(t, err)
		for _, id := range []store.ID{crashVolume, otherVolume} {
			require.NoError(t, e.Create(t.Context(), id, store.CreateOptions{Size: fullChunks * fullChunk}))
		}
		write(t, e, otherVolume, 0, 7)
		require.NoError(t, e.Close())
		a := startActor(t, "fill", dir)
		a.await("ready")
		if round < 4 {
			<-time.After(time.Duration(100+150*round) * time.Millisecond) // of writing
			eat(t, v.mount)
		} else {
			for a.pause(); !betweenLogs(t, dir); a.pause() {
				a.goOn()
			}
			eat(t, v.mount)
			a.goOn()
		}
		told := strings.Join(a.await("full"), " ")
		acknowledged, err := strconv.ParseUint(strings.TrimPrefix(told, "acknowledged "), 10, 64)
		require.NoError(t, err, told)
		a.kill()

		e, err = Open(t.Context(), small(dir))
		if err != nil { // it may say that it cannot; it may not lose anything
			require.ErrorIs(t, err, store.ErrNoSpace)
			require.ErrorContains(t, err, dir)
			require.NoError(t, os.Remove(filepath.Join(v.mount, "eater")))
			e, err = Open(t.Context(), small(dir))
		}
		require.NoError(t, err)
		requireChunks(t, e, acknowledged)
		requireBlock(t, e, otherVolume, 0, 7)
		_ = os.Remove(filepath.Join(v.mount, "eater"))
		require.NoError(t, e.Close())
	}
}

// betweenLogs tells whether Badger has cut a value log and has not written to the next yet.
// What the cut gave back is anybody's.
func betweenLogs(t *testing.T, dir string) bool {
	logs, err := filepath.Glob(filepath.Join(dir, "badger", "*.vlog"))
	require.NoError(t, err)
	require.NotEmpty(t, logs)
	var s unix.Stat_t
	require.NoError(t, unix.Stat(slices.Max(logs), &s))
	return s.Blocks == 0 || s.Size < 2*small(dir).ValueLogBytes
}

// requireChunks finds the last of fillDisk's writes at each place, up to write n.
func requireChunks(t *testing.T, e *Engine, n uint64) {
	v, err := e.Open(t.Context(), crashVolume)
	require.NoError(t, err)
	p := make([]byte, fullChunk)
	for i := uint64(0); i < fullChunks && n > i; i++ {
		require.NoError(t, v.ReadAt(t.Context(), p, (n-i)%fullChunks*fullChunk))
		require.True(t, bytes.Equal(chunk(n-i), p), "write %d of %d is not there", n-i, n)
	}
}

// TestFullDisk fills a file system by writes until they find no space. Reads go on,
// nothing acknowledged is lost, and what deleted volumes give back is enough to write
// again, without a restart. It failed, as nothing could be deleted, before writes left
// keptRowPages of the journal, Engine.change was content with fewRowPages, and
// drainer.work made a checkpoint for what is dead.
func TestFullDisk(t *testing.T) {
	v := newVolatile(t)
	var warnings atomic.Int64
	o := small(filepath.Join(v.mount, "data"))
	o.Warn = func(string) { warnings.Add(1) }
	e, err := Open(t.Context(), o)
	require.NoError(t, err)
	for _, id := range []store.ID{crashVolume, otherVolume} {
		require.NoError(t, e.Create(t.Context(), id, store.CreateOptions{Size: 4 << 30}))
	}
	put := func(id store.ID, first uint64) (n uint64, err error) {
		disk, err := e.Open(t.Context(), id)
		require.NoError(t, err)
		for n = first; err == nil && n < first+4<<30/fullChunk; n++ {
			err = disk.WriteAt(t.Context(), chunk(n), n%(4<<30/fullChunk)*fullChunk, store.WriteOptions{})
		}
		return n - 2, err
	}
	_, err = put(otherVolume, 4<<30/fullChunk-fullChunks) // and a little more than the half of the other
	require.ErrorIs(t, err, store.ErrNoSpace)
	require.NoError(t, e.Delete(t.Context(), otherVolume))
	var last uint64
	// Room comes back in pieces, which a try that begins early uses up; the last one may take longer.
	for until := time.Now().Add(5 * time.Minute); last <= 100; last, err = put(crashVolume, 1) {
		require.True(t, time.Now().Before(until), "%v", err)
	}
	require.ErrorIs(t, err, store.ErrNoSpace)
	require.LessOrEqual(t, warnings.Load(), int64(4), "the same warning again and again")
	requireFilled(t, e, last)
	if err := e.Close(); err != nil { // the journal cannot be drained, and is kept
		require.ErrorIs(t, err, store.ErrNoSpace)
	}
	e, err = Open(t.Context(), o)
	require.NoError(t, err)
	requireFilled(t, e, last)
	require.NoError(t, e.Delete(t.Context(), crashVolume))
	_ = e.Close()
}

// requireFilled finds writes 1 to n of TestFullDisk.
func requireFilled(t *testing.T, e *Engine, n uint64) {
	v, err := e.Open(t.Context(), crashVolume)
	require.NoError(t, err)
	p := make([]byte, fullChunk)
	for i := uint64(1); i <= n; i++ {
		require.NoError(t, v.ReadAt(t.Context(), p, i*fullChunk))
		require.True(t, bytes.Equal(chunk(i), p), "write %d of %d is not there", i, n)
	}
}
