package badger

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
)

// A process that is killed while Badger begins a file leaves an empty one, beside
// which Badger does not open. It was seen to fail with RemoveUnborn left out of
// Engine.inspectFiles.
func TestUnbornFiles(t *testing.T) {
	dir := t.TempDir()
	e, err := Open(t.Context(), small(dir))
	require.NoError(t, err)
	require.NoError(t, e.Create(t.Context(), crashVolume, store.CreateOptions{Size: 1 << 20}))
	require.NoError(t, e.Close())
	for _, name := range []string{"000099.vlog", "00099.mem"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "badger", name), nil, 0o600))
	}
	e, err = Open(t.Context(), small(dir))
	require.NoError(t, err)
	_, err = e.Stat(t.Context(), crashVolume)
	require.NoError(t, err)
	require.NoError(t, e.Close())
}

// What a start misses or cannot read is named, and nothing is changed. It was seen to fail
// without the look for the checkpoint in Engine.inspectFiles (a MANIFEST that is missing),
// and without the case of a directory in use that has no checkpoint in Engine.openFiles.
func TestDamagedFiles(t *testing.T) {
	dir := t.TempDir()
	e, err := Open(t.Context(), small(dir))
	require.NoError(t, err)
	require.NoError(t, e.Create(t.Context(), crashVolume, store.CreateOptions{Size: 1 << 20}))
	require.NoError(t, e.Close())
	journals, err := filepath.Glob(filepath.Join(dir, "journal-*"))
	require.NoError(t, err)
	require.Len(t, journals, 1)
	for _, name := range []string{journals[0], filepath.Join(dir, "checkpoint"), filepath.Join(dir, "badger", "MANIFEST")} {
		kept := name + ".kept"
		for what, damage := range map[string]func() error{
			"missing": func() error { return nil },
			"garbage": func() error { return os.WriteFile(name, []byte("no such thing"), 0o600) },
		} {
			require.NoError(t, os.Rename(name, kept))
			require.NoError(t, damage())
			_, err := Open(t.Context(), small(dir))
			require.Error(t, err, "%s %s", what, name)
			require.Contains(t, strings.ToLower(err.Error()), strings.ToLower(filepath.Base(name)), what)
			require.NoError(t, os.Rename(kept, name))
		}
	}
	e, err = Open(t.Context(), small(dir))
	require.NoError(t, err)
	_, err = e.Stat(t.Context(), crashVolume)
	require.NoError(t, err)
	require.NoError(t, e.Close())
}
