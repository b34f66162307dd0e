package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Sizes of the logs under test.
const (
	valueBytes = 16 << 20
	tableBytes = 4 << 20
)

// small mounts a file system of so many bytes.
func small(t *testing.T, bytes int) string {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Skipf("needs root, to mount a file system that can be filled: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// begin makes a log as Badger does: sparse, twice its size, and mapped.
func begin(t *testing.T, dir, name string, bytes int) []byte {
	f, err := os.Create(filepath.Join(dir, name))
	require.NoError(t, err)
	require.NoError(t, f.Truncate(int64(2*bytes)))
	mapping, err := unix.Mmap(int(f.Fd()), 0, 2*bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	t.Cleanup(func() { require.NoError(t, unix.Munmap(mapping)) })
	return mapping
}

// put writes through a mapping; ok is false where that would end the process.
func put(mapping []byte, from, to int) (ok bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { ok = recover() == nil }()
	for i := from; i < to; i += 512 {
		mapping[i] = 1
	}
	return true
}

// eat takes all space of a file system; left bytes of it come back.
func eat(t *testing.T, dir string, left int64) {
	f, err := os.Create(filepath.Join(dir, "eater"))
	require.NoError(t, err)
	size := int64(0)
	for step := int64(1 << 30); step >= 4096; {
		if unix.Fallocate(int(f.Fd()), 0, size, step) != nil {
			step /= 2
			continue
		}
		size += step
	}
	require.NoError(t, f.Truncate(size-left))
	require.NoError(t, f.Close())
}

func held(t *testing.T, name string) uint64 {
	info, err := os.Stat(name)
	require.NoError(t, err)
	return occupied(info)
}

// TestAhead fills a file system after room was made for a transaction: that finds room in
// its mapped logs, and what was allocated for it is not counted as theirs. It was seen to
// fail with unix.Fallocate left out of reserve.extend.
func TestAhead(t *testing.T) {
	dir := small(t, 128<<20)
	d := New(dir, valueBytes, tableBytes)
	defer func() { require.NoError(t, d.GiveUp()) }()
	values, table := begin(t, dir, "000001.vlog", valueBytes), begin(t, dir, "00001.mem", tableBytes)
	require.True(t, put(values, 0, 1<<20))
	require.NoError(t, d.Begin(2<<20))
	_, n := d.Sizes()
	require.EqualValues(t, 1<<20, n)
	require.EqualValues(t, 5<<20, held(t, d.values.name(1)), "what is written, and twice the need")
	eat(t, dir, 0)
	require.NoError(t, errors.Join(d.spare.release(), d.last.release()), "so that they help nobody")
	require.True(t, put(values, 1<<20, 3<<20))
	require.True(t, put(table, 0, memTableAhead))
	require.False(t, put(values, 8<<20, 9<<20), "the file system is not full: nothing is tested")
	d.End()
	require.NoError(t, d.Begin(2<<20), "which was allocated with the first")
	d.End()
	require.NoError(t, errors.Join(d.spare.release(), d.last.release()))
	require.True(t, put(values, 3<<20, 5<<20))
	err := d.Begin(2 << 20)
	require.ErrorIs(t, err, unix.ENOSPC)
	require.ErrorContains(t, err, d.values.name(1))
}

// TestCut makes room while Badger cuts the log to what it holds, before it begins the next:
// that is no error, and nothing is allocated behind the end. It was seen to fail without
// ENXIO and without the look at the size in reserve.extend.
func TestCut(t *testing.T) {
	for _, cut := range []int64{3 << 20, 4 << 20, 8 << 20} {
		dir := small(t, 128<<20)
		d := New(dir, valueBytes, tableBytes)
		defer func() { require.NoError(t, d.GiveUp()) }()
		values := begin(t, dir, "000001.vlog", valueBytes)
		require.True(t, put(values, 0, 4<<20))
		require.NoError(t, d.Begin(1<<20))
		d.End()
		require.True(t, put(values, 4<<20, int(cut)))
		require.NoError(t, os.Truncate(d.values.name(1), cut))
		require.NoError(t, d.Begin(1<<20))
		d.End()
		require.EqualValues(t, cut, held(t, d.values.name(1)))
	}
}

// TestNextLog has a transaction come to the end of a log when others have taken all space:
// what that is cut off, or the spare gives up, is enough for the first pages of the next log.
// It was seen to fail with s.take left out of spare.begin, and with os.Truncate left out of it.
func TestNextLog(t *testing.T) {
	for ext, bytes := range map[string]int{".vlog": valueBytes, ".mem": tableBytes} {
		t.Run(ext, func(t *testing.T) {
			dir := small(t, 192<<20)
			d := New(dir, valueBytes, tableBytes)
			logs := map[string][]byte{".vlog": begin(t, dir, "000001.vlog", valueBytes), ".mem": begin(t, dir, "00001.mem", tableBytes)}
			require.NoError(t, d.Begin(1<<20))
			require.EqualValues(t, spareBytes, held(t, d.spare.name))
			d.End()
			require.True(t, put(logs[ext], 0, bytes-1<<20))
			require.NoError(t, d.values.ahead(1<<20))
			require.NoError(t, d.tables.ahead(memTableAhead))
			require.Equal(t, ext == ".vlog", d.NextLog(1<<20))
			require.False(t, d.NextLog(1<<20-1))
			eat(t, dir, 0)

			require.NoError(t, d.Begin(1<<20))
			require.True(t, put(logs[ext], bytes-1<<20, bytes))
			next := map[string]string{".vlog": "000002.vlog", ".mem": "00002.mem"}[ext]
			if ext == ".vlog" {
				require.NoError(t, os.Truncate(d.values.name(1), int64(bytes)))
			}
			require.True(t, put(begin(t, dir, next, bytes), 0, 64<<10), "the first pages of a new log")
			d.End()

			if ext == ".vlog" {
				require.ErrorIs(t, d.Begin(1<<20), unix.ENOSPC, "what follows waits for room")
			}
			require.NoError(t, os.Remove(filepath.Join(dir, "eater")))
			require.NoError(t, d.Begin(1<<20))
			d.End()
			if ext == ".mem" {
				require.Zero(t, held(t, d.spare.name), "the table of the log before is not written yet")
				require.NoError(t, os.Remove(filepath.Join(dir, "00001.mem")))
				require.NoError(t, d.Begin(1<<20))
				d.End()
			}
			require.EqualValues(t, spareBytes, held(t, d.spare.name))
			require.NoError(t, d.GiveUp())
			require.NoFileExists(t, d.spare.name)
			require.NoError(t, d.GiveUp())
		})
	}
}

// TestNextLogEaten has others take also what a value log that was cut gave back, before the
// first page of the next is written to, and what the larger spare held, had it been given up
// for a table: the spares have room for it, and are taken back as soon as there is some. It was
// seen to end in a fault with sigbus.Hold left out of spare.take, and with d.last.begin left out
// of Begin; and to go on without room with Spent left out of spare.held, and
// with wanted left out of spare.begin.
func TestNextLogEaten(t *testing.T) {
	for _, givenUp := range []bool{true, false} {
		dir := small(t, 192<<20)
		d := New(dir, valueBytes, tableBytes)
		values, table := begin(t, dir, "000001.vlog", valueBytes), begin(t, dir, "00001.mem", tableBytes)
		require.True(t, put(values, 0, valueBytes-1<<20))
		if givenUp {
			require.True(t, put(table, 0, tableBytes-1<<10))
		}
		require.NoError(t, d.Begin(1<<20))
		require.Equal(t, !givenUp, held(t, d.spare.name) > 0)
		require.True(t, put(values, valueBytes-1<<20, valueBytes))
		require.NoError(t, os.Truncate(d.values.name(1), valueBytes))
		eat(t, dir, 0)
		next := begin(t, dir, "000002.vlog", valueBytes)
		require.True(t, put(next, 0, 64<<10), "the first pages of a new log")
		require.Zero(t, held(t, d.spare.name)+held(t, d.last.name))
		require.ErrorIs(t, d.Begin(1<<20), unix.ENOSPC, "also beside what runs")
		d.End()
		require.ErrorIs(t, d.Begin(1<<20), unix.ENOSPC, "what follows waits for room")
		require.NoError(t, os.Remove(filepath.Join(dir, "eater")))
		require.NoError(t, d.Begin(1<<20))
		require.EqualValues(t, lastBytes, held(t, d.last.name))
		d.End()
		require.NoError(t, d.GiveUp())
	}
}

// TestRoomy keeps the spare while there is room without it.
func TestRoomy(t *testing.T) {
	dir := small(t, roomyBytes+64<<20)
	s := spare{name: filepath.Join(dir, "spare"), bytes: spareBytes}
	defer func() { require.NoError(t, s.giveUp()) }()
	require.NoError(t, s.begin(true, false))
	require.True(t, s.held())
	s.end(false)
	eat(t, dir, roomyBytes-1)
	require.NoError(t, s.begin(true, false))
	require.False(t, s.held())
	s.end(false)
}

// TestSpareOfMany keeps the spare given up until the last of the transactions has ended
// that run at a time.
func TestSpareOfMany(t *testing.T) {
	s := spare{name: filepath.Join(small(t, 64<<20), "spare"), bytes: spareBytes}
	defer func() { require.NoError(t, s.giveUp()) }()
	require.NoError(t, s.begin(false, false))
	require.True(t, s.held())
	require.NoError(t, s.begin(true, false))
	require.NoError(t, s.begin(false, false))
	s.end(false)
	s.end(false)
	require.False(t, s.held())
	s.end(false)
	require.True(t, s.held())
}

// TestNewest follows the logs that Badger begins.
func TestNewest(t *testing.T) {
	dir := t.TempDir()
	d := New(dir, valueBytes, tableBytes)
	newest := func() uint64 {
		n, err := d.NewestValueLog()
		require.NoError(t, err)
		return n
	}
	require.Zero(t, newest())
	require.NoError(t, d.Begin(1<<20), "where there is nothing yet")
	d.End()
	for _, name := range []string{"000003.vlog", "000004.vlog", "other.vlog", "00009.mem"} {
		begin(t, dir, name, valueBytes)
	}
	require.EqualValues(t, 4, newest())
	require.NoError(t, d.Begin(1<<20))
	d.End()
	for n := 5; n < 8; n++ {
		begin(t, dir, fmt.Sprintf("%06d.vlog", n), valueBytes)
	}
	require.EqualValues(t, 7, newest())
	require.Zero(t, d.values.unwritten("000004.vlog"))
	require.NoError(t, d.Begin(1<<20))
	d.End()
	require.EqualValues(t, 2<<20, d.values.unwritten("000007.vlog"))
	require.NoError(t, os.Remove(filepath.Join(dir, "00009.mem")), "it became a table")
	require.NoError(t, d.Begin(1<<20))
	d.End()
}

// TestRemoveUnborn takes away logs without a byte, and nothing else. It was seen to fail without the look at
// the size, and at the name, in Directory.RemoveUnborn.
func TestRemoveUnborn(t *testing.T) {
	dir := t.TempDir()
	for name, bytes := range map[string]int{"000001.vlog": 20, "000002.vlog": 0, "00001.mem": 1, "00002.mem": 0, "MANIFEST": 0, "000003.sst": 0} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), make([]byte, bytes), 0o600))
	}
	require.NoError(t, New(dir, valueBytes, tableBytes).RemoveUnborn())
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	require.ElementsMatch(t, []string{"000001.vlog", "00001.mem", "MANIFEST", "000003.sst"}, left)
}

// TestSeal ends a log at its last data, also behind a hole, and leaves one without an entry
// the newest. It was seen to fail without the look for zeros, the way over holes and the Truncate
// in cutHole, and with the empty log, or the comparison with LogHeader, left out of Directory.Seal.
func TestSeal(t *testing.T) {
	size := func(name string) int64 {
		info, err := os.Stat(name)
		require.NoError(t, err)
		return info.Size()
	}
	dir := t.TempDir()
	require.NoError(t, New(dir, valueBytes, tableBytes).Seal(), "where there is none")
	log := begin(t, dir, "000001.vlog", valueBytes)
	require.True(t, put(log, 0, LogHeader))
	require.NoError(t, New(dir, valueBytes, tableBytes).Seal())
	require.EqualValues(t, LogHeader, size(filepath.Join(dir, "000001.vlog")))
	require.NoFileExists(t, filepath.Join(dir, "000002.vlog"))

	log = begin(t, dir, "000002.vlog", valueBytes)
	log[LogHeader] = 1
	require.True(t, put(log, 1<<20, 2<<20))
	for range 2 {
		require.NoError(t, New(dir, valueBytes, tableBytes).Seal())
		require.EqualValues(t, 2<<20, size(filepath.Join(dir, "000002.vlog")))
		require.EqualValues(t, LogHeader, size(filepath.Join(dir, "000003.vlog")))
		require.NoFileExists(t, filepath.Join(dir, "000004.vlog"))
	}

	damaged := make([]byte, 1<<20)
	damaged[len(damaged)-1] = 1
	log3 := filepath.Join(dir, "000003.vlog")
	require.NoError(t, os.WriteFile(log3, damaged, 0o600))
	require.NoError(t, New(dir, valueBytes, tableBytes).Seal())
	require.EqualValues(t, len(damaged), size(log3), "its first bytes are zeros, others not")
	require.EqualValues(t, LogHeader, size(filepath.Join(dir, "000004.vlog")))
}

// TestSyncFails when it cannot look at the directory; files that vanish are no error.
func TestSyncFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	d := New(dir, valueBytes, tableBytes)
	require.ErrorContains(t, d.Sync(), dir)
	require.NoError(t, os.Mkdir(dir, 0o700))
	begin(t, dir, "000001.vlog", valueBytes)
	require.NoError(t, d.Sync())
	require.NoError(t, os.Remove(filepath.Join(dir, "000001.vlog")))
	require.NoError(t, d.Sync())
}

// TestLock refuses a directory that is in use, and names it.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	f, err := Lock(dir)
	require.NoError(t, err)
	_, err = Lock(dir)
	require.ErrorContains(t, err, dir)
	require.NoError(t, f.Close())
	f, err = Lock(dir)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}
