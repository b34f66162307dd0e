package badger

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// roleVariable names what the test binary does instead of running tests, in the directory
// of childVariable: a test whose engine may hang or take its process with it plays its
// part in a child.
const roleVariable = "VVSIM_ENGINE_ROLE"

// play is the part of a child. It tells lines and waits for those of its parent; an error
// ends it.
type play func(dir string, tell func(string), await func()) error

func roles() map[string]play {
	return map[string]play{"sync": failedSync, "fill": fillDisk, "rotate": rotate}
}

// playRole plays the part that the environment names.
func playRole(dir, role string) error {
	part := roles()[role]
	if part == nil {
		return fmt.Errorf("no role %q", role)
	}
	lines := bufio.NewScanner(os.Stdin)
	return part(dir, func(line string) { fmt.Println(line) }, func() { lines.Scan() })
}

// actor is a child with a part.
type actor struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Scanner
	in    io.WriteCloser
}

func startActor(t *testing.T, role, dir string) *actor {
	a := &actor{t: t, cmd: exec.Command(os.Args[0])}
	a.cmd.Env = append(os.Environ(), childVariable+"="+dir, roleVariable+"="+role)
	a.cmd.Stderr = os.Stderr
	out, err := a.cmd.StdoutPipe()
	require.NoError(t, err)
	a.in, err = a.cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, a.cmd.Start())
	t.Cleanup(func() { _ = a.cmd.Process.Kill() })
	a.lines = bufio.NewScanner(out)
	return a
}

// await reads up to a line, and returns what was told before it.
func (a *actor) await(line string) (told []string) {
	for a.lines.Scan() {
		if a.lines.Text() == line {
			return told
		}
		told = append(told, a.lines.Text())
	}
	a.t.Fatalf("the child ended before it told %q: %v; %s", line, a.cmd.Wait(), strings.Join(told, ", "))
	return nil
}

// prompt lets the child go on.
func (a *actor) prompt() {
	_, err := io.WriteString(a.in, "go on\n")
	require.NoError(a.t, err)
}

// pause stops the child wherever it is, until goOn.
func (a *actor) pause() {
	require.NoError(a.t, a.cmd.Process.Signal(unix.SIGSTOP))
	var s unix.WaitStatus
	_, err := unix.Wait4(a.cmd.Process.Pid, &s, unix.WUNTRACED, nil)
	require.NoError(a.t, err)
	require.True(a.t, s.Stopped(), "the child has ended: %v", s)
}

func (a *actor) goOn() { require.NoError(a.t, a.cmd.Process.Signal(unix.SIGCONT)) }

// end waits for the child, which is to end well.
func (a *actor) end() {
	require.False(a.t, a.lines.Scan(), a.lines.Text())
	require.NoError(a.t, a.cmd.Wait())
}

// kill ends the child.
func (a *actor) kill() {
	require.NoError(a.t, a.cmd.Process.Kill())
	require.Error(a.t, a.cmd.Wait())
}

// expect returns nil when an error is one of a kind, and tells what it is else.
func expect(what string, err, kind error) error {
	if errors.Is(err, kind) {
		return nil
	}
	if err == nil {
		return fmt.Errorf("%s: no error, not %w", what, kind)
	}
	return fmt.Errorf("%s: %w; not %w", what, err, kind)
}
