package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/test/process"
)

const (
	volumeSize = "256MiB"
	busySize   = "1GiB"
	busyBytes  = 8 << 20 // written to the busy volume before the array is killed
	busyLimit  = time.Minute
)

// image is the file system under test, and what is in it.
type image struct {
	path  string
	bytes []byte
	files map[string][]byte
}

// TestImage copies an ext4 image onto a flat alias and back with qemu-img, reads
// it through the volume's subsidiary LUN, through those of a snapshot and of a
// clone of that, and all of it again after kill -9 under writes.
func TestImage(t *testing.T) {
	if process.Program() == "" {
		t.Skip("needs the program at VVSIM_BIN: run make e2e")
	}
	for _, tool := range []string{"qemu-img", "mke2fs", "e2fsck", "debugfs"} {
		_, err := exec.LookPath(tool)
		require.NoError(t, err, "Debian has it in qemu-utils, qemu-block-extra or e2fsprogs: run make deps")
	}
	dir := t.TempDir()
	im := makeImage(t, dir)

	a := process.Start(t, dir)
	a.Run("vvol", "create", "--size", volumeSize, "--name", "disk")
	a.Run("lun", "map", "disk", "--lun", "0")
	process.Output(t, "qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", im.path, a.URL("0"))
	a.Run("vvol", "snapshot", "disk", "--name", "snapshot")
	a.Run("vvol", "clone", "snapshot", "--name", "clone")
	im.check(t, a, dir, "at first")

	killUnderWrites(t, a)
	a = process.Start(t, dir)
	a.Run("doctor")
	im.check(t, a, dir, "after kill -9")

	// The snapshot and the clone are volumes of their own: they keep what the disk loses.
	zeros := filepath.Join(dir, "zeros")
	require.NoError(t, os.WriteFile(zeros, make([]byte, len(im.bytes)), 0o600))
	a.Run("io", "write", "--vvol", "disk", "--file", zeros)
	require.Equal(t, make([]byte, len(im.bytes)), throughSubsidiaryLUN(t, a, dir, "disk"))
	for _, volume := range []string{"snapshot", "clone"} {
		require.True(t, bytes.Equal(im.bytes, throughSubsidiaryLUN(t, a, dir, volume)), "%s changed with the disk", volume)
	}
	require.NoError(t, a.End(syscall.SIGTERM), "a clean end is exit 0")
}

// makeImage builds an ext4 file system with the program itself in it, small
// files in a folder, and a hole.
func makeImage(t *testing.T, dir string) *image {
	program, err := os.ReadFile(process.Program())
	require.NoError(t, err)
	im := &image{path: filepath.Join(dir, "image"), files: map[string][]byte{
		"program": program, "folder/small": []byte("hello, array\n"), "folder/empty": {},
		"holes": append(make([]byte, 8<<20), program[:1<<20]...),
	}}
	root := filepath.Join(dir, "files")
	require.NoError(t, os.MkdirAll(filepath.Join(root, "folder"), 0o700))
	for name, content := range im.files {
		require.NoError(t, os.WriteFile(filepath.Join(root, name), content, 0o600))
	}
	process.Output(t, "mke2fs", "-q", "-t", "ext4", "-d", root, im.path, strings.TrimSuffix(volumeSize, "iB"))
	im.bytes, err = os.ReadFile(im.path)
	require.NoError(t, err)
	return im
}

// check reads the image back on every way there is.
func (im *image) check(t *testing.T, a *process.Array, dir, when string) {
	back := filepath.Join(dir, "back")
	process.Output(t, "qemu-img", "convert", "-f", "raw", "-O", "raw", a.URL("0"), back)
	got, err := os.ReadFile(back)
	require.NoError(t, err)
	require.True(t, bytes.Equal(im.bytes, got), "%s: the alias gives other bytes back", when)
	im.mounts(t, back, dir)

	for _, volume := range []string{"disk", "snapshot", "clone"} {
		got := throughSubsidiaryLUN(t, a, dir, volume)
		require.True(t, bytes.Equal(im.bytes, got), "%s: %s differs through its subsidiary LUN", when, volume)
		require.Contains(t, a.Run("io", "verify", "--vvol", volume, "--file", im.path), "bytes are equal", when)
	}
}

// mounts is what others say of the file system at path: e2fsck finds it clean,
// debugfs finds its files.
func (im *image) mounts(t *testing.T, path, dir string) {
	process.Output(t, "e2fsck", "-fn", path)
	for name, content := range im.files {
		out := filepath.Join(dir, "dumped")
		process.Output(t, "debugfs", "-R", "dump /"+name+" "+out, path)
		got, err := os.ReadFile(out)
		require.NoError(t, err)
		require.True(t, bytes.Equal(content, got), "file %s of the returned image", name)
		require.NoError(t, os.Remove(out))
	}
}

// throughSubsidiaryLUN reads a whole volume with vvsim io, and sees to it that
// this went through the volume's binding behind the protocol endpoint.
func throughSubsidiaryLUN(t *testing.T, a *process.Array, dir, volume string) []byte {
	const reader = "iqn.2026-11.dev.vvsim:e2e"
	out := filepath.Join(dir, "read")
	a.Run("io", "read", "--vvol", volume, "--initiator", reader, "--file", out)
	got, err := os.ReadFile(out)
	require.NoError(t, err)
	require.NoError(t, os.Remove(out))

	id := field(t, a, volume, "id")
	var bindings []struct{ VVol, Initiator, LUN string }
	require.NoError(t, json.Unmarshal([]byte(a.Run("binding", "list", "-o", "json")), &bindings))
	bound := 0
	for _, b := range bindings {
		if b.VVol == id && b.Initiator == reader {
			require.Regexp(t, "^0100e2[0-9a-f]{10}$", b.LUN, "a subsidiary LUN of PE LUN 256")
			bound++
		}
	}
	require.Equal(t, 1, bound, "bindings of %s for %s", volume, reader)
	return got
}

// field is one of `vvol show`.
func field(t *testing.T, a *process.Array, volume, name string) string {
	var v map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(a.Run("vvol", "show", volume, "-o", "json")), &v))
	return strings.Trim(string(v[name]), `"`)
}

// killUnderWrites kills the array with -9 while another volume is being written.
func killUnderWrites(t *testing.T, a *process.Array) {
	a.Run("vvol", "create", "--size", busySize, "--name", "busy")
	ctx, cancel := context.WithTimeout(t.Context(), busyLimit)
	defer cancel()
	writer := a.Command(ctx, "io", "bench", "--vvol", "busy", "--reads", "0", "--flush-every", "64", "--time", "1h")
	var said bytes.Buffer
	writer.Stdout, writer.Stderr = &said, &said
	require.NoError(t, writer.Start())

	var allocated uint64
	for allocated < busyBytes {
		require.NoError(t, ctx.Err(), "only %d bytes were written", allocated)
		require.NoError(t, json.Unmarshal([]byte(field(t, a, "busy", "allocatedBytes")), &allocated))
	}
	require.Error(t, a.End(syscall.SIGKILL))
	// The writer had an hour: that it ends with an error tells that it was writing.
	require.Error(t, writer.Wait(), "%s", &said)
	require.NoError(t, ctx.Err(), "the writer did not notice: %s", &said)
	t.Logf("killed with %d MiB of another volume written; the writer said: %s", allocated>>20, bytes.TrimSpace(said.Bytes()))
}
