package e2e

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const imageSize = "256M"

// program is the array as a process.
type program struct {
	t    *testing.T
	dir  string
	cmd  *exec.Cmd
	vars []string // of the env file
}

func (p *program) start() {
	env := filepath.Join(p.dir, "env")
	p.cmd = exec.Command(os.Getenv("VVSIM_BIN"), "serve", "--data", filepath.Join(p.dir, "data"), "--iscsi", "127.0.0.1:0",
		"--api", "127.0.0.1:0", "-E", env, "--log-level", "error")
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	require.NoError(p.t, err)
	require.NoError(p.t, p.cmd.Start())
	watchdog := time.AfterFunc(30*time.Second, func() { _ = p.cmd.Process.Kill() })
	lines := bufio.NewScanner(out)
	require.True(p.t, lines.Scan(), "the array did not start")
	watchdog.Stop()
	b, err := os.ReadFile(env)
	require.NoError(p.t, err)
	p.vars = nil
	for line := range strings.Lines(string(b)) {
		p.vars = append(p.vars, strings.TrimPrefix(strings.TrimSpace(line), "export "))
	}
}

// end sends a signal and waits.
func (p *program) end(s os.Signal) error {
	require.NoError(p.t, p.cmd.Process.Signal(s))
	return p.cmd.Wait()
}

func (p *program) variable(name string) string {
	for _, kv := range p.vars {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	p.t.Fatalf("the env file has no %s", name)
	return ""
}

// run executes a command line of the program and returns what it printed.
func (p *program) run(args ...string) string {
	cmd := exec.Command(os.Getenv("VVSIM_BIN"), args...)
	cmd.Env = append(os.Environ(), p.vars...)
	out, err := cmd.CombinedOutput()
	require.NoError(p.t, err, "vvsim %v: %s", args, out)
	return strings.TrimSpace(string(out))
}

func command(t *testing.T, name string, args ...string) {
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(t, err, "%s %v: %s", name, args, out)
}

// TestImage copies an ext4 image onto a flat alias and back with qemu-img, reads
// it through the volume's subsidiary LUN, a snapshot and a clone of that, and all
// of it again after kill -9.
func TestImage(t *testing.T) {
	for _, tool := range []string{"qemu-img", "mke2fs"} {
		if _, err := exec.LookPath(tool); err != nil || os.Getenv("VVSIM_BIN") == "" {
			t.Skip("needs qemu-img with its iSCSI driver, mke2fs, and the program at VVSIM_BIN: run make e2e")
		}
	}
	dir := t.TempDir()
	image := filepath.Join(dir, "image")
	files := filepath.Join(dir, "files")
	require.NoError(t, os.MkdirAll(files, 0o700))
	program1, err := os.ReadFile(os.Getenv("VVSIM_BIN"))
	require.NoError(t, err)
	for _, name := range []string{"one", "two", "three"} {
		require.NoError(t, os.WriteFile(filepath.Join(files, name), program1, 0o600))
	}
	command(t, "mke2fs", "-q", "-t", "ext4", "-d", files, image, imageSize)
	want, err := os.ReadFile(image)
	require.NoError(t, err)

	p := &program{t: t, dir: dir}
	p.start()
	p.run("vvol", "create", "--size", "256MiB", "--name", "disk")
	p.run("lun", "map", "disk")
	url := func(lun string) string {
		return "iscsi://" + p.variable("VVSIM_ISCSI") + "/" + p.variable("VVSIM_IQN") + "/" + lun
	}
	command(t, "qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", image, url("0"))
	p.run("vvol", "snapshot", "disk", "--name", "snapshot")
	p.run("vvol", "clone", "snapshot", "--name", "clone")
	p.run("lun", "map", "clone", "--lun", "7")

	check := func(when string) {
		for _, lun := range []string{"0", "7"} {
			back := filepath.Join(dir, "back")
			command(t, "qemu-img", "convert", "-f", "raw", "-O", "raw", url(lun), back)
			got, err := os.ReadFile(back)
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, got), "%s: LUN %s differs", when, lun)
		}
		for _, volume := range []string{"disk", "snapshot", "clone"} {
			require.Contains(t, p.run("io", "verify", "--vvol", volume, "--file", image), "bytes are equal", when)
		}
	}
	check("first")
	require.Error(t, p.end(syscall.SIGKILL))
	p.start()
	check("after kill -9")
	require.NoError(t, p.end(syscall.SIGTERM), "a clean end is exit 0")
}
