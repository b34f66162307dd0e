package badger

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
	"vvsim/vvol/store/badger/files"
	"vvsim/vvol/store/badger/index"
	"vvsim/vvol/store/badger/values"
)

// flip changes one bit of a file of the directory that holds a pattern: the one at byte
// into of it.
func flip(t *testing.T, dir, glob string, pattern []byte, into int) {
	overwrite(t, dir, glob, pattern, into, []byte{pattern[into] ^ 0x10})
}

// overwrite puts bytes into a file of the directory that holds a pattern, so many behind its
// beginning.
func overwrite(t *testing.T, dir, glob string, pattern []byte, into int, with []byte) {
	names, err := filepath.Glob(filepath.Join(dir, glob))
	require.NoError(t, err)
	for _, name := range names {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		at := bytes.Index(b, pattern)
		if at < 0 {
			continue
		}
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		require.NoError(t, err)
		_, err = f.WriteAt(with, int64(at+into))
		require.NoError(t, err)
		require.NoError(t, f.Close())
		return
	}
	t.Fatalf("no %s holds the pattern", glob)
}

// requireDamaged reads a block that is damaged, alone and with its neighbours.
func requireDamaged(t *testing.T, e *Engine, id store.ID, block uint64) {
	o, err := e.Open(t.Context(), id)
	require.NoError(t, err)
	p := make([]byte, 3*blockSize)
	for _, err := range []error{o.ReadAt(t.Context(), p[:blockSize], block*blockSize), o.ReadAt(t.Context(), p, (block-1)*blockSize)} {
		var m *store.MediumError
		require.ErrorAs(t, err, &m)
		require.Equal(t, block*blockSize, m.Offset)
	}
}

// TestDamagedRecord flips a bit of a block in a value log under an open engine. Whoever
// shares the block gets a medium error, other blocks of the same record and other volumes
// are read as before, and a block that is written again is healthy. It was seen to fail
// with the comparison taken out of index.VerifyBlock, and without places.Expire.
func TestDamagedRecord(t *testing.T) {
	var told []string
	o := small(t.TempDir())
	o.CollectEvery, o.Warn = time.Hour, func(w string) { told = append(told, w) }
	e, err := Open(t.Context(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	a, b, s := store.ID{1}, store.ID{2}, store.ID{3}
	for _, id := range []store.ID{a, b} {
		require.NoError(t, e.Create(t.Context(), id, store.CreateOptions{Size: 1 << 20}))
	}
	for i := range uint64(5) {
		write(t, e, a, i, byte(0x31+i))
		write(t, e, b, i, byte(0x41+i))
	}
	require.NoError(t, e.Snapshot(t.Context(), []store.SnapshotSpec{{Source: a, Snapshot: s}}))
	require.NoError(t, e.drainer.drainTo(e.journal.Head()))
	requireBlock(t, e, a, 2, 0x33) // is verified, and not again at once
	flip(t, e.dir, "*.vlog", bytes.Repeat([]byte{0x33}, blockSize), 1234)

	others := func(e *Engine) {
		for i := range uint64(5) {
			requireBlock(t, e, b, i, byte(0x41+i))
			if i != 2 {
				requireBlock(t, e, a, i, byte(0x31+i))
				requireBlock(t, e, s, i, byte(0x31+i))
			}
		}
	}
	requireBlock(t, e, a, 3, 0x34) // of the same record
	e.places.Expire(time.Now())
	requireDamaged(t, e, a, 2)
	require.Len(t, told, 1, "not with every read")
	require.Contains(t, told[0], a.String())
	require.Contains(t, told[0], e.o.Dir)
	requireDamaged(t, e, s, 2)
	require.Len(t, told, 2)
	others(e)
	disk, err := e.Open(t.Context(), a)
	require.NoError(t, err)
	require.ErrorIs(t, disk.WriteAt(t.Context(), make([]byte, 512), 2*blockSize, store.WriteOptions{}), store.ErrMedium,
		"the rest of the block is not known")

	write(t, e, a, 2, 0x77)
	requireBlock(t, e, a, 2, 0x77)
	requireDamaged(t, e, s, 2)
	require.NoError(t, e.drainer.drainTo(e.journal.Head()))
	requireBlock(t, e, a, 2, 0x77)
	others(e)
}

// TestDamagedInJournal flips a bit of a write in the journal before it is drained, which may be
// a good while later: its checksum is that of what came in, and not of what the journal made of
// it. It was seen to fail with the checksums of pages taken anew in drainer.journaled.
func TestDamagedInJournal(t *testing.T) {
	e := still(t, t.TempDir())
	a := store.ID{1}
	require.NoError(t, e.Create(t.Context(), a, store.CreateOptions{Size: 1 << 20}))
	for i := range uint64(3) {
		write(t, e, a, i, byte(0x31+i))
	}
	flip(t, e.o.Dir, "journal-*", bytes.Repeat([]byte{0x32}, blockSize), 99)
	require.NoError(t, e.drainer.drainTo(e.journal.Head()))
	requireDamaged(t, e, a, 1)
	requireBlock(t, e, a, 0, 0x31)
	requireBlock(t, e, a, 2, 0x33)
	write(t, e, a, 1, 0x77)
	requireBlock(t, e, a, 1, 0x77)
}

// TestDamagedRecordStays has records moved, one of which is damaged: that stays where it
// is, as its blocks would get new checksums elsewhere, and does not come up again. It was
// seen to fail with the comparison taken out of index.VerifyBlock.
func TestDamagedRecordStays(t *testing.T) {
	var warnings []string
	o := small(t.TempDir())
	o.CollectEvery, o.Warn = time.Hour, func(w string) { warnings = append(warnings, w) }
	e, err := Open(t.Context(), o)
	require.NoError(t, err)
	a, b := store.ID{1}, store.ID{2}
	for _, id := range []store.ID{a, b} {
		require.NoError(t, e.Create(t.Context(), id, store.CreateOptions{Size: 1 << 20}))
		for i := range uint64(4) {
			write(t, e, id, i, 0x30+id[0]<<4+byte(i))
		}
	}
	require.NoError(t, e.drainer.drainTo(e.journal.Head()))
	for _, id := range []store.ID{a, b} {
		write(t, e, id, 3, 0x77)
	}
	require.NoError(t, e.drainer.drainTo(e.journal.Head()))
	flip(t, e.dir, "*.vlog", bytes.Repeat([]byte{0x42}, blockSize), 77)
	survivors := func() []*index.Record {
		e.index.RLock()
		defer e.index.RUnlock()
		return e.index.Survivors(1<<20, 64)
	}
	moved := survivors()
	require.Len(t, moved, 4)
	require.NoError(t, e.drainer.move(moved))
	require.Len(t, warnings, 1)
	require.Contains(t, warnings[0], "checksum of block 2")
	for i := range uint64(3) {
		requireBlock(t, e, b, i, byte(0x50+i))
	}
	requireBlock(t, e, a, 0, 0x40)
	requireBlock(t, e, a, 1, 0x41)
	requireDamaged(t, e, a, 2)
	for _, r := range survivors() {
		require.False(t, r.Damaged)
	}
	require.NoError(t, e.Close())
}

// TestDamagedNewestLog flips a bit in the value log that was written last while the engine
// is down, after a stop and after the end of its process: the blocks behind that one are
// read. It was seen to fail with Seal left out of Engine.inspectFiles, as Badger cut the log
// off there.
func TestDamagedNewestLog(t *testing.T) {
	id := store.ID{1}
	fill := func(e *Engine) {
		require.NoError(t, e.Create(t.Context(), id, store.CreateOptions{Size: 4 << 20}))
		for i := range uint64(200) {
			write(t, e, id, i, byte(i+1))
		}
		require.NoError(t, e.drainer.drainTo(e.journal.Head()))
	}
	for name, end := range map[string]func(e *Engine) string{
		"stopped": func(e *Engine) string { require.NoError(t, e.Close()); return e.o.Dir },
		"killed":  func(e *Engine) string { return killed(t, e) },
	} {
		t.Run(name, func(t *testing.T) {
			e := still(t, t.TempDir())
			fill(e)
			dir := end(e)
			flip(t, filepath.Join(dir, "badger"), "*.vlog", bytes.Repeat([]byte{4}, blockSize), 99)
			for range 3 { // nor at a later start
				e = still(t, dir)
				for i := range uint64(200) {
					if i != 3 {
						requireBlock(t, e, id, i, byte(i+1))
					}
				}
				requireDamaged(t, e, id, 3)
				require.NoError(t, e.Close())
			}
		})
	}
}

// TestDamagedFirstPage overwrites the first page of the value log that was written last while the
// engine is down: what lies there is medium errors, the rest of the log is read. It was seen to fail, with
// the whole log cut off, when Seal looked at the first header only to see whether there is an entry.
func TestDamagedFirstPage(t *testing.T) {
	id := store.ID{1}
	for name, with := range map[string]byte{"zeros": 0, "ones": 0xff} {
		t.Run(name, func(t *testing.T) {
			e := still(t, t.TempDir())
			require.NoError(t, e.Create(t.Context(), id, store.CreateOptions{Size: 4 << 20}))
			for i := range uint64(200) {
				write(t, e, id, i, byte(i+1))
			}
			require.NoError(t, e.drainer.drainTo(e.journal.Head()))
			dir := killed(t, e)
			b, err := os.ReadFile(files.New(filepath.Join(dir, "badger"), 0, 0).ValueLog(1))
			require.NoError(t, err)
			page := b[files.LogHeader:4096]
			overwrite(t, filepath.Join(dir, "badger"), "*.vlog", page, 0, bytes.Repeat([]byte{with}, len(page)))
			for range 3 {
				e = still(t, dir)
				o, err := e.Open(t.Context(), id)
				require.NoError(t, err)
				var damaged int
				p := make([]byte, blockSize)
				for i := range uint64(200) {
					var m *store.MediumError
					if err := o.ReadAt(t.Context(), p, i*blockSize); errors.As(err, &m) {
						require.Equal(t, i*blockSize, m.Offset)
						damaged++
						continue
					}
					requireBlock(t, e, id, i, byte(i+1))
				}
				require.Positive(t, damaged)
				require.LessOrEqual(t, damaged, index.RecordBlocks)
				require.NoError(t, e.Close())
			}
		})
	}
}

// TestDamagedLengths damages the lengths in front of a record in a value log under an open engine,
// so that Badger cannot read it. Its blocks are medium errors, once it is cleaned too; other records
// and volumes are read, the value log is collected and the engine closes. It was seen to
// hang with the call of unlock taken out of values.Locks.Errorf, and out of values.Value.
func TestDamagedLengths(t *testing.T) {
	for name, lengths := range map[string][]byte{
		"too long":  {17, 0xff, 0xff, 0x7f},
		"no number": bytes.Repeat([]byte{0xff}, 30),
	} {
		t.Run(name, func(t *testing.T) {
			e := still(t, t.TempDir())
			a, b := store.ID{1}, store.ID{2}
			for _, id := range []store.ID{a, b} {
				require.NoError(t, e.Create(t.Context(), id, store.CreateOptions{Size: 64 << 20}))
				for i := range uint64(3) {
					write(t, e, id, i, byte(0x30+i)+id[0]<<4)
				}
				require.NoError(t, e.drainer.drainTo(e.journal.Head()))
			}
			overwrite(t, e.dir, "*.vlog", bytes.Repeat([]byte{0x40}, blockSize), -(recordHeader - 2), lengths)
			disk, err := e.Open(t.Context(), a)
			require.NoError(t, err)
			requireAll := func() {
				for i := range uint64(3) {
					requireBlock(t, e, b, i, byte(0x50+i))
					var m *store.MediumError
					require.ErrorAs(t, disk.ReadAt(t.Context(), make([]byte, blockSize), i*blockSize), &m)
					require.Equal(t, i*blockSize, m.Offset)
				}
				var m *store.MediumError
				require.ErrorAs(t, disk.ReadAt(t.Context(), make([]byte, 3*blockSize), 0), &m)
				require.Zero(t, m.Offset)
			}
			requireAll()
			other, err := e.Open(t.Context(), b)
			require.NoError(t, err)
			churn(t, e, other)
			collectUntil(t, e, 1, func() {})
			requireBlock(t, e, b, 0, 0x50)
			write(t, e, a, 1, 0x77)
			requireBlock(t, e, a, 1, 0x77)
			require.NoError(t, e.Close())
		})
	}
}

// TestDamagedRow flips a bit of a row that is long enough to lie in a value log: whoever reads it is
// told the file, also after a start and when it was moved; other rows are read. It was seen to
// fail, with the wrong row and no error, with values read as they are in metaTx.Get.
func TestDamagedRow(t *testing.T) {
	e := still(t, t.TempDir())
	row := func(b byte) []byte { return bytes.Repeat([]byte{b}, 2*valueThreshold) }
	require.NoError(t, e.Meta().Update(t.Context(), func(tx store.MetaTx) error {
		return errors.Join(tx.Set([]byte("a"), row('a')), tx.Set([]byte("b"), row('b')))
	}))
	require.NoError(t, e.finish(e.rows.Newest()))
	flip(t, e.dir, "*.vlog", row('a'), 999)
	requireRows := func() {
		require.NoError(t, e.Meta().View(t.Context(), func(tx store.MetaTx) error {
			got, err := tx.Get([]byte("b"))
			require.NoError(t, err)
			require.Equal(t, row('b'), got)
			_, err = tx.Get([]byte("a"))
			require.ErrorIs(t, err, values.ErrDamaged)
			require.ErrorContains(t, err, e.dir)
			return nil
		}))
		err := e.Meta().View(t.Context(), func(tx store.MetaTx) error {
			for range tx.Scan([]byte("a")) {
				t.Fatal("a damaged row")
			}
			return nil
		})
		require.ErrorIs(t, err, values.ErrDamaged)
	}
	requireRows()
	require.NoError(t, e.Create(t.Context(), crashVolume, store.CreateOptions{Size: 64 << 20}))
	o, err := e.Open(t.Context(), crashVolume)
	require.NoError(t, err)
	churn(t, e, o)
	collectUntil(t, e, 1, func() {})
	requireRows()
	require.NoError(t, e.Close())
	e = still(t, e.o.Dir)
	requireRows()
	require.NoError(t, e.Close())
}

// recordHeader is the length of what stands in front of the value of a record of a few blocks.
const recordHeader = 2 + 1 + 2 + 1 + 17

// closedWith is a directory with a volume of so many blocks, each with content of its own.
func closedWith(t *testing.T, id store.ID, blocks uint64) (dir string) {
	e := still(t, t.TempDir())
	require.NoError(t, e.Create(t.Context(), id, store.CreateOptions{Size: 64 << 20}))
	for i := range blocks {
		write(t, e, id, i, byte(i%250+1))
	}
	require.NoError(t, e.Close())
	return e.o.Dir
}

// TestDamagedTable flips bits of a table of Badger's tree, wherever they are, or takes it away: the
// start fails and names it. It was seen to fail with tables not verified when they are opened
// (options.NoVerification), and to end the process without files.checkTables.
func TestDamagedTable(t *testing.T) {
	dir := closedWith(t, store.ID{1}, 8000)
	names, err := filepath.Glob(filepath.Join(dir, "badger", "*.sst"))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	table := names[0]
	sound, err := os.ReadFile(table)
	require.NoError(t, err)
	refused := func(what string, names string) {
		_, err := Open(t.Context(), small(dir))
		require.Error(t, err, what)
		require.Contains(t, err.Error(), names, what)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	places := make([]int, 0, 100)
	for len(places) < 60 {
		places = append(places, r.IntN(len(sound)))
	}
	for behind := range 40 { // where checksums, lengths and the index of blocks are
		places = append(places, len(sound)-1-behind)
	}
	for _, at := range places {
		b := bytes.Clone(sound)
		b[at] ^= 1 << r.IntN(8)
		require.NoError(t, os.WriteFile(table, b, 0o600))
		refused(fmt.Sprintf("byte %d of %d", at, len(b)), filepath.Base(table))
	}
	require.NoError(t, os.Remove(table))
	refused("missing", "table 1")
	require.NoError(t, os.WriteFile(table, sound, 0o600))
	e := still(t, dir)
	for i := range uint64(8000) {
		requireBlock(t, e, store.ID{1}, i, byte(i%250+1))
	}
	require.NoError(t, e.Close())
}

// TestMissingValueLog takes a value log away: what it held is a medium error, which is told, and
// all else is read. It was seen to fail with ErrShort of index.CopyBlock and the comparison in index.VerifyBlock
// both taken out, when zeros were read, without the MediumErrors of both Place.CopyBlocks and mediumError, and
// with nothing told by object.ReadAt and complaints.Log.Errorf.
func TestMissingValueLog(t *testing.T) {
	id := store.ID{1}
	const blocks = 8000
	dir := closedWith(t, id, blocks)
	logs, err := filepath.Glob(filepath.Join(dir, "badger", "*.vlog"))
	require.NoError(t, err)
	require.Greater(t, len(logs), 1)
	for _, gone := range logs[:2] {
		copied := t.TempDir()
		require.NoError(t, os.CopyFS(copied, os.DirFS(dir)))
		require.NoError(t, os.Remove(filepath.Join(copied, "badger", filepath.Base(gone))))
		var told []string
		o := small(copied)
		o.Warn = func(w string) { told = append(told, w) }
		e, err := Open(t.Context(), o)
		require.NoError(t, err)
		disk, err := e.Open(t.Context(), id)
		require.NoError(t, err)
		p, missing := make([]byte, blockSize), 0
		for i := range uint64(blocks) {
			err := disk.ReadAt(t.Context(), p, i*blockSize)
			if err == nil {
				require.Equal(t, bytes.Repeat([]byte{byte(i%250 + 1)}, blockSize), p, "block %d", i)
				continue
			}
			var m *store.MediumError
			require.ErrorAs(t, err, &m)
			require.Equal(t, i*blockSize, m.Offset)
			missing++
		}
		require.Positive(t, missing)
		require.Less(t, missing, blocks)
		require.NoError(t, e.Close())
		require.NotEmpty(t, told)
	}
}
