package badger

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	bdb "github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
	"vvsim/vvol/store/badger/index"
	"vvsim/vvol/store/badger/journal"
)

// requireRefused opens a directory that has lost what was on stable storage, and sees the
// error that names the file; nothing is changed, so that a second start says the same.
func requireRefused(t *testing.T, dir, name, what string) {
	for range 2 {
		e, err := Open(t.Context(), small(dir))
		if err == nil {
			require.NoError(t, e.Close())
		}
		require.Error(t, err)
		require.ErrorContains(t, err, name)
		require.ErrorContains(t, err, what)
	}
}

// TestDamagedJournal flips a bit of a flushed write in the journal, behind which others
// were flushed: all of them would be gone. It was seen to fail without the comparison in
// journal.Ring.Recover.
func TestDamagedJournal(t *testing.T) {
	e := still(t, t.TempDir())
	a := store.ID{1}
	require.NoError(t, e.Create(t.Context(), a, store.CreateOptions{Size: 1 << 20}))
	o, err := e.Open(t.Context(), a)
	require.NoError(t, err)
	for i := range uint64(3) {
		write(t, e, a, i, byte(0x31+i))
		require.NoError(t, o.Flush(t.Context()))
	}
	dir := killed(t, e)
	whole := still(t, killed(t, e))
	for i := range uint64(3) {
		requireBlock(t, whole, a, i, byte(0x31+i))
	}
	pattern := make([]byte, blockSize)
	for i := range pattern {
		pattern[i] = 0x32
	}
	flip(t, dir, "journal-*", pattern, 99)
	requireRefused(t, dir, filepath.Join(dir, "journal-"+journalSuffix(t, dir)), "is damaged at byte")
}

// TestDamagedCheckpoint damages either copy of the checkpoint: the other holds, and no
// older one does, behind which records may be deleted. It was seen to fail with one
// copy written at a time, in turn.
func TestDamagedCheckpoint(t *testing.T) {
	e := still(t, t.TempDir())
	a := store.ID{1}
	require.NoError(t, e.Create(t.Context(), a, store.CreateOptions{Size: 1 << 20}))
	write(t, e, a, 0, 0x31)
	require.NoError(t, e.drainer.drainTo(e.journal.Head()))
	for slot := range int64(2) {
		dir := killed(t, e)
		f, err := os.OpenFile(journal.CheckpointName(dir), os.O_RDWR, 0)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte{0xff}, slot*journal.PageSize+30)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		again := still(t, dir)
		require.Equal(t, e.checkpoints.Last().Position, again.checkpoints.Last().Position)
		requireBlock(t, again, a, 0, 0x31)
	}
}

// TestOlderFormat tells of the format of the directory, and not that files of a format that
// it does not know are damaged.
func TestOlderFormat(t *testing.T) {
	o := small(t.TempDir())
	e, err := Open(t.Context(), o)
	require.NoError(t, err)
	require.NoError(t, e.write(func(tx *bdb.Txn) error {
		return tx.Set([]byte{keyState}, index.EncodeRow(stateRow{Format: format - 1}))
	}))
	require.NoError(t, e.Close())
	require.NoError(t, os.WriteFile(journal.CheckpointName(o.Dir), make([]byte, 2*journal.PageSize), 0o600))
	requireRefused(t, o.Dir, o.Dir, fmt.Sprintf("format %d; this version reads %d", format-1, format))
}

// TestDamagedFileCollected has Badger collect a value log one of whose records is damaged.
// Badger takes the damage for the end of the file and would delete what is behind it; every
// block is there afterwards but the damaged one, whose readers get a medium error. It was
// seen to fail with rescue taken out of values.Log.rewriteFile.
func TestDamagedFileCollected(t *testing.T) {
	e := still(t, t.TempDir())
	a, b := store.ID{1}, store.ID{2}
	const count, damaged = 1024, 100
	fill := func(id store.ID, tag byte) {
		for i := range uint64(count) {
			write(t, e, id, i, byte(i)&0x3f+tag)
			if i%64 == 63 { // before the drainer wakes by itself
				require.NoError(t, e.drainer.drainTo(e.journal.Head()))
			}
		}
	}
	for _, id := range []store.ID{a, b} {
		require.NoError(t, e.Create(t.Context(), id, store.CreateOptions{Size: 4 << 20}))
		fill(id, id[0]<<6)
	}
	o, err := e.Open(t.Context(), a)
	require.NoError(t, err)
	marked := bytes.Repeat([]byte{0xff}, blockSize)
	require.NoError(t, o.WriteAt(t.Context(), marked, damaged*blockSize, store.WriteOptions{}))
	for range 4 { // dead records, so that the file is worth it
		fill(b, 0x80)
	}
	require.NoError(t, e.drainer.drainTo(e.journal.Head()))
	first := e.files.ValueLog(1)
	flip(t, e.dir, filepath.Base(first), marked, 99)
	for tries := 0; ; tries++ {
		require.Less(t, tries, 100)
		e.collectSomeFiles(0.05, filesAtOnce)
		if _, err := os.Stat(first); err != nil {
			break
		}
	}
	require.Positive(t, e.Metrics().Extra["rescued_values"])
	requireDamaged(t, e, a, damaged)
	for i := range uint64(count) {
		if i != damaged {
			requireBlock(t, e, a, i, byte(i)&0x3f+0x40)
		}
		requireBlock(t, e, b, i, byte(i)&0x3f+0x80)
	}
}

// TestSyncOption: with Options.Sync every kind of change is on stable storage when it
// returns, and without it a write is not. It was seen to fail with o.e.o.Sync left out of submit
// and of WriteAll.
func TestSyncOption(t *testing.T) {
	for _, sync := range []bool{true, false} {
		o := small(t.TempDir())
		o.Sync, o.CollectEvery = sync, time.Hour // whose rounds flush, too
		e, err := Open(t.Context(), o)
		require.NoError(t, err)
		id, size := store.ID{1}, uint64(1<<20)
		require.NoError(t, e.Create(t.Context(), id, store.CreateOptions{Size: size}))
		v, err := e.Open(t.Context(), id)
		require.NoError(t, err)
		block, other := bytes.Repeat([]byte{1}, blockSize), bytes.Repeat([]byte{2}, blockSize)
		for _, change := range []struct {
			name string
			do   func() error
		}{
			{"write", func() error { return v.WriteAt(t.Context(), block, 0, store.WriteOptions{}) }},
			{"write of a sector", func() error { return v.WriteAt(t.Context(), other[:512], 512, store.WriteOptions{}) }},
			{"writes", func() error {
				writes := []store.Write{{Offset: 4 * blockSize, Data: block}, {Offset: 9 * blockSize, Data: block}}
				v.WriteAll(t.Context(), writes, store.WriteOptions{})
				return errors.Join(writes[0].Err, writes[1].Err)
			}},
			{"compare and write", func() error {
				return v.CompareAndWrite(t.Context(), block, other, 4*blockSize, store.WriteOptions{})
			}},
			{"copy", func() error { return v.CopyFrom(t.Context(), 32*blockSize, v, 4*blockSize, blockSize) }},
			{"zero", func() error { return v.Zero(t.Context(), 9*blockSize, blockSize, store.WriteOptions{}) }},
			{"unmap", func() error { return v.Unmap(t.Context(), 0, 2*blockSize, store.WriteOptions{}) }},
		} {
			before := e.journal.Head()
			require.NoError(t, change.do(), change.name)
			require.Greater(t, e.journal.Head(), before, change.name)
			if stable := e.journal.Stable() == e.journal.Head(); sync {
				require.True(t, stable, change.name)
			} else {
				require.False(t, stable, "%s: nobody asked for it", change.name)
			}
		}
		require.NoError(t, e.Close())
	}
}
