package badger

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"vvsim/vvol/store"
)

const cutsVariable = "VVSIM_POWER_CUTS"

// volatile is a file system that can lose what is not on stable storage: ext4 in a
// file, shut down by EXT4_IOC_SHUTDOWN without writing its journal or any dirty page,
// as the "godown" tool of xfstests does. After the next mount it holds what had been
// synced, and of the rest whatever the kernel had happened to write out.
type volatile struct {
	t            *testing.T
	image, mount string
}

func newVolatile(t *testing.T) *volatile {
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount a file system that can lose its page cache")
	}
	dir := t.TempDir()
	v := &volatile{t: t, image: filepath.Join(dir, "image"), mount: filepath.Join(dir, "mount")}
	require.NoError(t, os.Mkdir(v.mount, 0o700))
	f, err := os.Create(v.image)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(2<<30))
	require.NoError(t, f.Close())
	if out, err := exec.Command("mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=0,nodiscard", v.image).CombinedOutput(); err != nil {
		t.Skipf("needs mke2fs: %v: %s", err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop", v.image, v.mount).CombinedOutput(); err != nil {
		t.Skipf("needs loop mounts, which this machine refuses: %v: %s", err, strings.TrimSpace(string(out)))
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", v.mount).Run() })
	return v
}

// cut takes the power away.
func (v *volatile) cut() {
	const shutdown = 0x8004587d // EXT4_IOC_SHUTDOWN
	const withoutFlush = 2      // EXT4_GOING_FLAGS_NOLOGFLUSH
	f, err := os.Open(v.mount)
	if err == nil {
		err = errors.Join(unix.IoctlSetPointerInt(int(f.Fd()), shutdown, withoutFlush), f.Close())
	}
	if err != nil {
		v.t.Errorf("power cut: %v", err)
	}
}

// back gives it back: all that is left is on stable storage.
func (v *volatile) back() {
	out, err := exec.Command("umount", v.mount).CombinedOutput()
	require.NoError(v.t, err, "%s", out)
	out, err = exec.Command("mount", "-o", "loop", v.image, v.mount).CombinedOutput()
	require.NoError(v.t, err, "%s", out)
}

// stop halts the child, and returns when it has halted. A power cut takes those who
// wait for the disk with it; the ioctl does not: ext4 may answer an fdatasync that it
// meets with success, though the extents that hold the data are lost.
func (c *child) stop() {
	err := c.cmd.Process.Signal(unix.SIGSTOP)
	if err == nil {
		_, err = unix.Wait4(c.cmd.Process.Pid, nil, unix.WUNTRACED, nil)
	}
	if err != nil {
		c.t.Errorf("stopping the child: %v", err)
	}
}

// TestPowerCut loses the page cache under a child that writes, flushes, snapshots, clones,
// reverts and deletes: what a flush or a change of the catalog covered is there, every write
// is whole, the engine opens. It was seen to fail with fdatasync taken out of
// journal.Ring.sync, with the syncs taken out of files.Directory.sync, and, as a deleted
// volume was there, with the rows not set in Engine.replayRows. It does not see the order of
// checkpoint and tail, as the journal does not come round in its short lives:
// TestTailWaitsForSync does.
func TestPowerCut(t *testing.T) {
	cuts := 4
	if n, err := strconv.Atoi(os.Getenv(cutsVariable)); err == nil {
		cuts = n
	}
	v := newVolatile(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d cuts (%s=N for more)", seed, cuts, cutsVariable)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := filepath.Join(v.mount, "data")
	e, err := Open(t.Context(), small(dir))
	require.NoError(t, err)
	require.NoError(t, e.Create(t.Context(), crashVolume, store.CreateOptions{Size: crashSize}))
	require.NoError(t, e.Close())
	o := newOracle(t)
	for range cuts {
		c := startChild(t, dir, o, true)
		cut := make(chan struct{})
		time.AfterFunc(time.Duration(50+random.IntN(1500))*time.Millisecond, func() {
			defer close(cut)
			c.stop()
			v.cut()
			_ = c.cmd.Process.Kill()
		})
		c.follow(o)
		<-cut
		v.back()
		o.verify(dir)
	}
	t.Log(o)
}
