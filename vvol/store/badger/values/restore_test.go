package values

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	bdb "github.com/dgraph-io/badger/v4"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"vvsim/vvol/store/badger/files"
)

// written is the newest log and where what is written in it ends, in whole pages.
func written(t *testing.T, d *files.Directory) (newest uint64, end int64) {
	newest, err := d.NewestValueLog()
	require.NoError(t, err)
	f, err := os.Open(d.ValueLog(newest))
	require.NoError(t, err)
	defer f.Close()
	end, err = unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE)
	require.NoError(t, err)
	return newest, end
}

// movers move what lives in the first file, and do not sync it; they tell whether there was
// anything to move.
var movers = map[string]func(t *testing.T, l *Log) bool{
	"badger": func(_ *testing.T, l *Log) bool { return l.rewrite(0.1) == nil },
	"us": func(t *testing.T, l *Log) bool {
		s, err := l.survey(0.1)
		require.NoError(t, err)
		if len(s[1]) == 0 {
			return false
		}
		f, err := os.Open(l.files.ValueLog(1))
		require.NoError(t, err)
		defer f.Close()
		m, err := l.moveAll(f, s[1])
		require.NoError(t, err)
		return m.values > 0
	},
}

// TestRestore takes what a collection has moved, and not synced, from the value logs, as a
// power cut may that leaves the tree's logs: once the end of the file, once some pages of
// it. Everything is there after Restore, which finds something to set anew; with nothing set by
// restoreOne it was seen to fail.
func TestRestore(t *testing.T) {
	for who, move := range movers {
		t.Run("moved by "+who, func(t *testing.T) { restore(t, move) })
	}
}

func restore(t *testing.T, move func(*testing.T, *Log) bool) {
	for name, harm := range map[string]func(t *testing.T, name string, from int64){
		"cut off": cutOff,
		"zeros": func(t *testing.T, name string, from int64) {
			info, err := os.Stat(name)
			require.NoError(t, err)
			require.NoError(t, os.Truncate(name, from))
			require.NoError(t, os.Truncate(name, info.Size()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			db, l, d, _ := openHeard(t, dir)
			mixed(t, db)
			require.NoError(t, d.Sync())
			marked := reread(t, dir).Synced()
			newest, end := written(t, d)
			require.Equal(t, newest, marked.File)
			for tries := 0; !move(t, l); tries++ {
				require.Less(t, tries, 100)
				require.NoError(t, l.fillTable(atOnce, false))
				require.NoError(t, db.Flatten(1))
			}
			cut := atRest(t, dir)
			if l.keep != nil {
				l.letGo()
			}
			harmBehind(t, cut, d, newest, end, harm)
			require.NoError(t, reread(t, cut).Seal())
			again, m, _, _ := openHeard(t, cut)
			r, err := m.Restore(marked, func([]byte) bool { return true }, atOnce)
			require.NoError(t, err)
			require.Positive(t, r.Values)
			require.Empty(t, r.Lost)
			requireValues(t, again, -1)
			r, err = m.Restore(marked, func([]byte) bool { return true }, atOnce)
			require.NoError(t, err)
			require.Zero(t, r, "all is whole now")
		})
	}
}

func cutOff(t *testing.T, name string, from int64) { require.NoError(t, os.Truncate(name, from)) }

// harmBehind harms the logs of a copy behind a place.
func harmBehind(t *testing.T, cut string, d *files.Directory, log uint64, from int64, harm func(t *testing.T, name string, from int64)) {
	for ; ; log++ {
		name := filepath.Join(cut, filepath.Base(d.ValueLog(log)))
		if _, err := os.Stat(name); err != nil {
			return
		}
		harm(t, name, from)
		from = files.LogHeader
	}
}

// TestRestoreVersion loses the moved value of a key of which an older version stands before the last
// in the old file: the last comes back. It was seen to fail with the first version taken that
// stands there.
func TestRestoreVersion(t *testing.T) {
	for _, deleted := range []bool{false, true} {
		dir := t.TempDir()
		db, l, d, _ := openHeard(t, dir)
		key := []byte("x")
		for n := range byte(4) {
			if n == 2 && deleted {
				require.NoError(t, db.Update(func(tx *bdb.Txn) error { return tx.Delete(key) }))
			}
			require.NoError(t, db.Update(func(tx *bdb.Txn) error { return tx.Set(key, bytes.Repeat([]byte{n}, 5000)) }))
		}
		mixed(t, db)
		require.NoError(t, d.Sync())
		marked := reread(t, dir).Synced()
		newest, end := written(t, d)
		for tries := 0; !movers["us"](t, l); tries++ {
			require.Less(t, tries, 100)
			require.NoError(t, l.fillTable(atOnce, false))
			require.NoError(t, db.Flatten(1))
		}
		cut := atRest(t, dir)
		harmBehind(t, cut, d, newest, end, cutOff)
		require.NoError(t, reread(t, cut).Seal())
		again, m, _, _ := openHeard(t, cut)
		r, err := m.Restore(marked, func([]byte) bool { return true }, atOnce)
		require.NoError(t, err)
		require.Empty(t, r.Lost)
		require.NoError(t, again.View(func(tx *bdb.Txn) error {
			item, err := tx.Get(key)
			require.NoError(t, err)
			return item.Value(func(v []byte) error { require.Equal(t, bytes.Repeat([]byte{3}, 5000), v); return nil })
		}))
	}
}

// reread looks at a directory as one who opens it.
func reread(t *testing.T, dir string) *files.Directory {
	d := files.New(dir, fileBytes, 4<<20)
	require.NoError(t, d.Check())
	return d
}

// atRest copies a directory when Badger writes no table out beside, less logs that it is about to
// delete, and has cut to nothing.
func atRest(t *testing.T, dir string) string {
	manifest := func() []byte {
		b, err := os.ReadFile(filepath.Join(dir, bdb.ManifestFilename))
		require.NoError(t, err)
		return b
	}
	for range 100 {
		before, to := manifest(), t.TempDir()
		if err := os.CopyFS(to, os.DirFS(dir)); err == nil && bytes.Equal(before, manifest()) {
			require.NoError(t, files.New(to, fileBytes, 4<<20).RemoveUnborn())
			return to
		}
	}
	t.Fatal("the directory does not come to rest")
	return ""
}
