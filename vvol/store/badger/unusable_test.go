package badger

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestUnusableDirectory opens where nothing can be made: the error names the place. It was
// seen to fail with the errors of MkdirAll and files.Lock passed over in Open.
func TestUnusableDirectory(t *testing.T) {
	fails := func(t *testing.T, dir string, want error) {
		_, err := Open(t.Context(), small(dir))
		require.ErrorIs(t, err, want)
		require.ErrorContains(t, err, dir)
	}
	t.Run("a file in its place", func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "data")
		require.NoError(t, os.WriteFile(name, nil, 0o600))
		fails(t, name, unix.ENOTDIR)
	})
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", unix.MS_RDONLY, ""); err != nil {
		t.Skipf("needs to mount a read-only file system: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, 0)) })
	t.Run("read-only and empty", func(t *testing.T) { fails(t, dir, unix.EROFS) })
	t.Run("missing on a read-only file system", func(t *testing.T) { fails(t, filepath.Join(dir, "data"), unix.EROFS) })

	used := t.TempDir()
	e, err := Open(t.Context(), small(used))
	require.NoError(t, err)
	require.NoError(t, e.Close())
	require.NoError(t, unix.Mount(used, used, "", unix.MS_BIND, ""))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(used, 0)) })
	require.NoError(t, unix.Mount("", used, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	t.Run("read-only and used before", func(t *testing.T) { fails(t, used, unix.EROFS) })
}
