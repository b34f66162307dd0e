package e2e

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/initiator"
	"vvsim/test/process"
)

// Sizes of TestFullDisk.
const (
	diskSize    = 1536 << 20 // of the file system
	chunkSize   = 1 << 20    // of one write
	otherChunks = 16
	roomLimit   = time.Minute // until a deleted volume's room can be written
)

// disk is a volume as an initiator has it.
type disk struct {
	t *testing.T
	u *initiator.Unit
}

// makeDisks creates volumes and maps them from LUN 0 on: all before the first session, which
// would hear of others.
func makeDisks(a *process.Array, size string, names ...string) {
	for lun, name := range names {
		a.Run("vvol", "create", "--size", size, "--name", name)
		a.Run("lun", "map", name, "--lun", fmt.Sprint(lun))
	}
}

// attach logs in for a LUN.
func attach(t *testing.T, a *process.Array, lun int) *disk {
	return &disk{t, openUnit(t, a.Portal(), a.Variable("VVSIM_IQN"), fmt.Sprint(lun), lun)}
}

// openUnit logs in to a target as a host of its own for a LUN.
func openUnit(t testing.TB, portal, target, host string, lun int) *initiator.Unit {
	s, err := initiator.Dial(t.Context(), initiator.Options{Address: portal, TargetName: target,
		InitiatorName: "iqn.2026-11.dev.vvsim:e2e-" + host})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	parsed, err := scsi.ParseLUN(fmt.Sprintf("%04x000000000000", lun))
	require.NoError(t, err)
	u := s.Unit(parsed)
	_, err = u.ClearAttentions(t.Context())
	require.NoError(t, err)
	return u
}

// content is what chunk i of a volume holds: no two blocks are alike.
func content(tag byte, i int) []byte {
	p := make([]byte, chunkSize)
	for k := 0; k < len(p); k += 8 {
		binary.BigEndian.PutUint64(p[k:], uint64(tag)<<56|uint64(i)<<24|uint64(k))
	}
	return p
}

// write writes chunks from first to before last; it returns how many, and why it ended.
func (d *disk) write(tag byte, first, last int) (n int, err error) {
	for i := first; i < last; i++ {
		if _, err = d.u.WriteAt(d.t.Context(), content(tag, i), int64(i)*chunkSize, false); err != nil {
			return i - first, err
		}
	}
	return last - first, nil
}

// holds finds the chunks before last.
func (d *disk) holds(tag byte, last int) {
	d.t.Helper()
	p := make([]byte, chunkSize)
	for i := range last {
		_, err := d.u.ReadAt(d.t.Context(), p, int64(i)*chunkSize)
		require.NoError(d.t, err)
		require.True(d.t, bytes.Equal(content(tag, i), p), "chunk %d of %d is not as it was acknowledged", i, last)
	}
}

// sense is the sense of a command that failed, as "7/27/07".
func sense(t *testing.T, err error) string {
	t.Helper()
	s := initiator.SenseOf(err)
	require.NotNil(t, s, "%v", err)
	return fmt.Sprintf("%x/%v", uint8(s.Key), s.Code)
}

// problem is a refusal of the API.
type problem struct {
	Status              int
	Type, Title, Detail string
}

// request sends a request to the API; p is empty when it was not refused.
func request(t *testing.T, a *process.Array, method, path string, body any) (p problem) {
	t.Helper()
	var b []byte
	var err error
	if body != nil {
		b, err = json.Marshal(body)
		require.NoError(t, err)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, a.Variable("VVSIM_API")+"/api/v1/"+path, bytes.NewReader(b))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	got, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	b, err = io.ReadAll(got.Body)
	require.NoError(t, errors.Join(err, got.Body.Close()))
	if got.StatusCode < 300 {
		return p
	}
	require.Equal(t, "application/problem+json", got.Header.Get("Content-Type"), "%s", b)
	require.NoError(t, json.Unmarshal(b, &p), "%s", b)
	require.Equal(t, got.StatusCode, p.Status)
	return p
}

// requireNoSpace is a refusal for want of space, that names the place.
func requireNoSpace(t *testing.T, p problem, dir string) {
	t.Helper()
	require.Equal(t, http.StatusInsufficientStorage, p.Status, "%+v", p)
	require.Contains(t, p.Detail, "left in the file system of "+dir)
}

// limited mounts an ext4 file system of diskSize.
func limited(t *testing.T) string {
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount a file system that can be filled")
	}
	dir := t.TempDir()
	image, mount := filepath.Join(dir, "image"), filepath.Join(dir, "mount")
	require.NoError(t, os.Mkdir(mount, 0o700))
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, diskSize))
	process.Output(t, "mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=0,nodiscard", image)
	if out, err := exec.Command("mount", "-o", "loop", image, mount).CombinedOutput(); err != nil {
		t.Skipf("needs loop mounts, which this machine refuses: %v: %s", err, bytes.TrimSpace(out))
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", mount).Run() })
	return mount
}

// TestFullDisk has initiators fill the array's file system until a write is refused with
// 07/27/07. The API refuses too, and says why; other volumes are read, snapshots are made
// until another process takes the rest; the same after kill -9 and a restart on the full
// disk. A volume that is deleted makes room without a restart, and nothing acknowledged is
// lost meanwhile. It failed in one run of three, as the catalog refused the snapshot, before
// Engine.awaitRowRoom was what rows of the catalog wait for, too.
func TestFullDisk(t *testing.T) {
	if process.Program() == "" {
		t.Skip("needs the program at VVSIM_BIN: run make e2e")
	}
	dir := limited(t)
	t.Setenv("VVSIM_STORE_JOURNAL_MIB", "32")
	data := filepath.Join(dir, "data")
	a := process.Start(t, dir)
	makeDisks(a, "4GiB", "other", "victim", "disk")
	other, victim, big := attach(t, a, 0), attach(t, a, 1), attach(t, a, 2)
	_, err := other.write('o', 0, otherChunks)
	require.NoError(t, err)
	_, err = victim.write('v', 0, diskSize/2/chunkSize)
	require.NoError(t, err)
	n := 0
	for tries := 0; ; tries++ { // some room comes back while Badger merges tables and cuts logs to what they hold
		require.Less(t, tries, 20)
		got, err := big.write('d', n, diskSize/chunkSize)
		require.Equal(t, "7/27/07", sense(t, err))
		n += got
		big.holds('d', n)
		if _, err = other.write('x', otherChunks, otherChunks+1); err != nil {
			break
		}
	}
	require.Greater(t, n, otherChunks)
	t.Logf("full after %d MiB", otherChunks+diskSize/2/chunkSize+n)

	full := func() {
		t.Helper()
		other.holds('o', otherChunks)
		big.holds('d', n)
		_, err := other.write('x', otherChunks, otherChunks+1)
		require.Equal(t, "7/27/07", sense(t, err))
		requireNoSpace(t, request(t, a, http.MethodPost, "vvols", map[string]any{"container": "default", "sizeBytes": 1 << 20}), data)
	}
	full()
	require.Empty(t, request(t, a, http.MethodPost, "vvols/"+field(t, a, "other", "id")+"/snapshot", map[string]any{}), "which needs a row")
	left := eat(t, dir, 32<<20)
	requireNoSpace(t, request(t, a, http.MethodPost, "vvols/"+field(t, a, "other", "id")+"/snapshot", map[string]any{}), data)
	full()

	require.Error(t, a.End(syscall.SIGKILL))
	a = process.Start(t, dir)
	other, big = attach(t, a, 0), attach(t, a, 2)
	full()
	require.NoError(t, os.Remove(left))

	a.Run("lun", "unmap", "victim")
	for _, d := range []*disk{big, other} {
		_, err := d.u.ClearAttentions(t.Context()) // they hear of it
		require.NoError(t, err)
	}
	require.Empty(t, request(t, a, http.MethodDelete, "vvols/"+field(t, a, "victim", "id"), nil))
	deadline := time.Now().Add(roomLimit)
	for more := 0; more < 2*otherChunks; {
		got, err := big.write('d', n, n+2*otherChunks-more)
		n, more = n+got, more+got
		if err != nil {
			require.Equal(t, "7/27/07", sense(t, err))
			require.True(t, time.Now().Before(deadline), "%d MiB could be written since the volume was deleted", more)
		}
	}
	big.holds('d', n)
	other.holds('o', otherChunks)
	require.Empty(t, request(t, a, http.MethodPost, "vvols", map[string]any{"container": "default", "sizeBytes": 1 << 20}))
	require.NoError(t, a.End(syscall.SIGTERM), "a clean end is exit 0")
}

// eat takes the space of a file system but so many bytes, and returns the file that has it.
func eat(t *testing.T, dir string, but uint64) string {
	var s syscall.Statfs_t
	require.NoError(t, syscall.Statfs(dir, &s))
	name := filepath.Join(dir, "eater")
	f, err := os.Create(name)
	require.NoError(t, err)
	free := s.Bavail * uint64(s.Bsize)
	require.Greater(t, free, but)
	require.NoError(t, syscall.Fallocate(int(f.Fd()), 0, 0, int64(free-but)))
	require.NoError(t, f.Close())
	return name
}

// TestDamagedBlock flips a bit of a stored block while the array is down. Its readers get
// 03/11/00 at its address, through a snapshot, too; other blocks and volumes are read; the log
// names the volume and the directory; the block is healthy when it has been written again. It
// was seen to fail with the comparison taken out of index.VerifyBlock, with the warning taken
// out of object.warn, and, in all blocks that followed, before files.Directory.Seal.
func TestDamagedBlock(t *testing.T) {
	if process.Program() == "" {
		t.Skip("needs the program at VVSIM_BIN: run make e2e")
	}
	const chunks, block, chunk = 4, 4096, 2
	dir := t.TempDir()
	a := process.Start(t, dir)
	makeDisks(a, "64MiB", "disk", "other")
	for lun, tag := range []byte("do") {
		_, err := attach(t, a, lun).write(tag, 0, chunks)
		require.NoError(t, err)
	}
	a.Run("vvol", "snapshot", "disk", "--name", "snapshot")
	a.Run("lun", "map", "snapshot", "--lun", "2")
	require.NoError(t, a.End(syscall.SIGTERM))
	bad := int64(chunk*chunkSize + 5*block)
	flip(t, filepath.Join(dir, "data", "badger", "*.vlog"), content('d', chunk)[5*block:6*block])

	a = process.Start(t, dir, "--log-level", "warn")
	id := strings.TrimPrefix(field(t, a, "disk", "id"), "rfc4122.")
	damaged, other, snapshot := attach(t, a, 0), attach(t, a, 1), attach(t, a, 2)
	p := make([]byte, block)
	for _, d := range []*disk{damaged, snapshot} {
		for off := int64(0); off < chunks*chunkSize; off += block {
			_, err := d.u.ReadAt(t.Context(), p, off)
			if off == bad {
				require.Equal(t, "3/11/00", sense(t, err))
				continue
			}
			require.NoError(t, err, "at %d", off)
			require.True(t, bytes.Equal(content('d', int(off/chunkSize))[off%chunkSize:][:block], p), "at %d", off)
		}
		_, err := d.u.ReadAt(t.Context(), make([]byte, chunkSize), chunk*chunkSize)
		require.Equal(t, "3/11/00", sense(t, err))
	}
	other.holds('o', chunks)
	require.Contains(t, a.Log(), "volume "+id+" in "+filepath.Join(dir, "data"))
	require.NotContains(t, a.Log(), strings.TrimPrefix(field(t, a, "other", "id"), "rfc4122."))

	_, err := damaged.u.WriteAt(t.Context(), content('d', chunk)[5*block:6*block], bad, true)
	require.NoError(t, err)
	damaged.holds('d', chunks)
	_, err = snapshot.u.ReadAt(t.Context(), p, bad)
	require.Equal(t, "3/11/00", sense(t, err))
	require.NoError(t, a.End(syscall.SIGTERM), "a clean end is exit 0")
}

// flip changes a bit of the one file that holds a pattern.
func flip(t *testing.T, glob string, pattern []byte) {
	names, err := filepath.Glob(glob)
	require.NoError(t, err)
	for _, name := range names {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		if at := bytes.Index(b, pattern); at >= 0 {
			f, err := os.OpenFile(name, os.O_RDWR, 0)
			require.NoError(t, err)
			_, err = f.WriteAt([]byte{b[at+100] ^ 4}, int64(at+100))
			require.NoError(t, errors.Join(err, f.Close()))
			return
		}
	}
	t.Fatalf("no %s holds the pattern", glob)
}
