package process

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	startLimit   = 30 * time.Second // from exec to the ready line
	stopLimit    = 30 * time.Second // from a signal to the end
	commandLimit = 2 * time.Minute  // of one command
)

// Program is the path of the built vvsim in the environment of `make`, or "".
func Program() string { return os.Getenv("VVSIM_BIN") }

// Child makes a command that dies with the test binary.
func Child(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Output runs a command to its end within commandLimit and returns what it
// printed. It must end with exit 0.
func Output(t testing.TB, name string, args ...string) string {
	t.Helper()
	return output(t, nil, name, args...)
}

func output(t testing.TB, variables []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	cmd := Child(ctx, name, args...)
	cmd.Env = append(os.Environ(), variables...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s %v: %s", name, args, out)
	return strings.TrimSpace(string(out))
}

// Array is a running `vvsim serve`. It is used from one goroutine.
type Array struct {
	t         testing.TB
	cmd       *exec.Cmd
	variables []string // of the env file, NAME=value
	log       said
	ended     bool
}

// said keeps what a process writes to its log, and passes it on. Safe for concurrent use.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	return os.Stderr.Write(p)
}

// Log is what the array has written to its log.
func (a *Array) Log() string {
	a.log.mu.Lock()
	defer a.log.mu.Unlock()
	return a.log.text.String()
}

// Start serves the data directory dir/data on free ports of the loopback, with
// more arguments of serve behind, and returns when the array is ready. The array
// is killed at the end of the test unless End was called.
func Start(t testing.TB, dir string, args ...string) *Array {
	t.Helper()
	env := filepath.Join(dir, "env")
	serve := []string{"serve", "--data", filepath.Join(dir, "data"), "--iscsi", "127.0.0.1:0", "--vasa", "127.0.0.1:0",
		"--api", "127.0.0.1:0", "--log-level", "error", "-E", env}
	a := &Array{t: t, cmd: Child(context.Background(), Program(), append(serve, args...)...)}
	a.cmd.Stderr = &a.log
	out, err := a.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, a.cmd.Start())
	t.Cleanup(func() {
		if !a.ended {
			_ = a.cmd.Process.Kill()
			_ = a.cmd.Wait()
		}
	})
	watchdog := time.AfterFunc(startLimit, func() { _ = a.cmd.Process.Kill() })
	lines := bufio.NewReader(out)
	ready, err := lines.ReadString('\n')
	watchdog.Stop()
	require.NoError(t, err, "the array did not start")
	require.Contains(t, ready, "vvsim ready in ")
	go func() { _, _ = io.Copy(io.Discard, lines) }() // ends with the process
	b, err := os.ReadFile(env)
	require.NoError(t, err)
	for line := range bytes.Lines(b) {
		a.variables = append(a.variables, strings.TrimPrefix(strings.TrimSpace(string(line)), "export "))
	}
	return a
}

// Variable is one of the env file.
func (a *Array) Variable(name string) string {
	a.t.Helper()
	for _, kv := range a.variables {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	a.t.Fatalf("the env file has no %s", name)
	return ""
}

// Portal is the address of the first one.
func (a *Array) Portal() string {
	a.t.Helper()
	portal, _, _ := strings.Cut(a.Variable("VVSIM_ISCSI"), ",")
	return portal
}

// URL names a flat LUN as libiscsi wants it, through the first portal.
func (a *Array) URL(lun string) string {
	a.t.Helper()
	return "iscsi://" + a.Portal() + "/" + a.Variable("VVSIM_IQN") + "/" + lun
}

// Run executes a command line of vvsim against the array and returns what it
// printed; it must end with exit 0.
func (a *Array) Run(args ...string) string {
	a.t.Helper()
	return output(a.t, a.variables, Program(), args...)
}

// Command is a command line of vvsim against the array, not started yet.
func (a *Array) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := Child(ctx, Program(), args...)
	cmd.Env = append(os.Environ(), a.variables...)
	return cmd
}

// PID of the array.
func (a *Array) PID() int { return a.cmd.Process.Pid }

// End sends a signal and waits; the error is the process's own.
func (a *Array) End(s os.Signal) error {
	a.t.Helper()
	a.ended = true
	require.NoError(a.t, a.cmd.Process.Signal(s))
	watchdog := time.AfterFunc(stopLimit, func() { _ = a.cmd.Process.Kill() })
	defer watchdog.Stop()
	return a.cmd.Wait()
}
