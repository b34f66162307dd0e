package badger

import (
	"crypto/sha256"
	"encoding/binary"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	bdb "github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
	"vvsim/vvol/store/badger/files"
)

// digests tells what the files of a directory hold.
func digests(t *testing.T, dir string) map[string][32]byte {
	all := map[string][32]byte{}
	require.NoError(t, filepath.WalkDir(dir, func(name string, f fs.DirEntry, err error) error {
		if err != nil || f.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		all[name] = sha256.Sum256(b)
		return err
	}))
	return all
}

// requireTableLogRefused flips bits of a log of a memory table, one after the other, and
// sees the start refused with its name and nothing changed.
func requireTableLogRefused(t *testing.T, dir, name string) {
	whole, err := os.ReadFile(name)
	require.NoError(t, err)
	end := len(whole)
	for whole[end-1] == 0 {
		end--
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %s of %d bytes", seed, filepath.Base(name), end)
	random := rand.New(rand.NewPCG(seed, 0))
	places := []int{files.LogHeader, files.LogHeader + 2, end - 1}
	for range 3 {
		places = append(places, files.LogHeader+random.IntN(end-files.LogHeader))
	}
	for _, at := range places {
		damaged := append([]byte(nil), whole...)
		damaged[at] ^= 1 << random.IntN(8)
		require.NoError(t, os.WriteFile(name, damaged, 0o600))
		before := digests(t, dir)
		requireRefused(t, dir, name, "is damaged at byte")
		require.Equal(t, before, digests(t, dir), "something was changed")
	}
	require.NoError(t, os.WriteFile(name, whole, 0o600))
}

// TestDamagedTableLog flips a bit of the log of a memory table after the end of the process:
// Badger would cut it there, and what a checkpoint had covered would read as zeros. It was
// seen to fail with Check left out of Engine.inspectFiles, and with marks.save left out of
// files.Directory.sync.
func TestDamagedTableLog(t *testing.T) {
	e := still(t, t.TempDir())
	id := store.ID{1}
	require.NoError(t, e.Create(t.Context(), id, store.CreateOptions{Size: 4 << 20}))
	for i := range uint64(200) {
		write(t, e, id, i, byte(i+1))
	}
	require.NoError(t, e.drainer.drainTo(e.journal.Head()))
	dir := killed(t, e)
	names, err := filepath.Glob(filepath.Join(dir, "badger", "*.mem"))
	require.NoError(t, err)
	require.Len(t, names, 1)
	requireTableLogRefused(t, dir, names[0])
	for range 2 {
		again := still(t, dir)
		for i := range uint64(200) {
			requireBlock(t, again, id, i, byte(i+1))
		}
		dir = killed(t, again)
	}
}

// TestDamagedOlderTableLog does the same to a log that is not the newest: it was full, and is
// still there, as an iterator of Badger that is open keeps it. It was seen to fail with the
// newest log alone marked in files.Directory.sync.
func TestDamagedOlderTableLog(t *testing.T) {
	e := still(t, t.TempDir())
	tx := e.db.NewTransaction(false)
	defer tx.Discard()
	it := tx.NewIterator(bdb.DefaultIteratorOptions)
	defer it.Close()
	first := filepath.Join("badger", "00001.mem")
	second := filepath.Join("badger", "00002.mem")
	for row := uint64(0); ; row++ {
		require.NoError(t, e.write(func(tx *bdb.Txn) error {
			return tx.Set(binary.BigEndian.AppendUint64([]byte{keyMeta}, row), make([]byte, valueThreshold-1))
		}))
		if _, err := os.Stat(filepath.Join(e.o.Dir, second)); err == nil {
			break
		}
	}
	require.NoError(t, e.drainer.drainTo(e.journal.Head()))
	dir := killed(t, e)
	for _, name := range []string{first, second} {
		requireTableLogRefused(t, dir, filepath.Join(dir, name))
	}
	require.NoError(t, still(t, dir).drainer.checkpoint())
}

// TestDamagedManifest flips every bit of Badger's list of tables: Check refuses it, which has
// nothing against a list that is torn; the bits of the header Badger refuses. Some would be
// taken for torn by Badger, which was seen to let the list be shorter without checkManifest
// in Check.
func TestDamagedManifest(t *testing.T) {
	e := still(t, t.TempDir())
	for row := range uint64(4 << 10) {
		require.NoError(t, e.write(func(tx *bdb.Txn) error {
			return tx.Set(binary.BigEndian.AppendUint64([]byte{keyMeta}, row), make([]byte, valueThreshold-1))
		}))
	}
	var whole []byte
	require.Eventually(t, func() (written bool) { // Badger writes tables out beside us
		var err error
		whole, err = os.ReadFile(filepath.Join(e.dir, bdb.ManifestFilename))
		return err == nil && len(whole) > 60
	}, time.Minute, time.Millisecond)
	dir := t.TempDir()
	d, name := files.New(dir, 1, 1), filepath.Join(dir, bdb.ManifestFilename)
	replay := func(b []byte) error {
		require.NoError(t, os.WriteFile(name, b, 0o600))
		f, err := os.Open(name)
		require.NoError(t, err)
		defer f.Close()
		_, _, err = bdb.ReplayManifestFile(f, 0, e.badgerOptions())
		return err
	}
	believed := 0
	for bit := range 8 * len(whole) {
		b := append([]byte(nil), whole...)
		b[bit/8] ^= 1 << (bit % 8)
		err := replay(b)
		if bit/8 < 8 {
			require.Error(t, err, "bit %d", bit)
			continue
		}
		require.ErrorIs(t, d.Check(), files.ErrDamaged, "bit %d", bit)
		if err == nil {
			believed++
		}
	}
	require.Positive(t, believed)
	for n := range whole {
		if replay(whole[:n]) == nil {
			require.NoError(t, d.Check(), "torn at %d", n)
		}
	}
}
