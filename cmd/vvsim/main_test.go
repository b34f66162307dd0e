package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary be vvsim where a script or a test calls it.
func TestMain(m *testing.M) {
	if os.Getenv("GORACE") == "" { // else every command waits a second at its end under the race detector
		if err := os.Setenv("GORACE", noExitWait); err != nil {
			panic(err)
		}
	}
	testscript.Main(m, map[string]func(){"vvsim": main})
}

const noExitWait = "atexit_sleep_ms=0"

// readyLimit is how long an array may take to start on a busy machine.
const readyLimit = 30 * time.Second

// TestScripts runs the stories of testdata/script: each against arrays of its own,
// started by `vvsim serve` on free ports.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready":     readyCommand,
			"status":    statusCommand,
			"let":       letCommand,
			"term":      termCommand,
			"vcenter":   vcenterCommand,
			"authority": authorityCommand,
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("VVSIM_CONFIG", "")
			e.Setenv("GORACE", os.Getenv("GORACE"))
			e.Values[vcenterKey] = &playedVCenter{}
			e.Values[authorityKey] = &playedAuthority{}
			return nil
		},
	})
}

// readyCommand waits for an env file and takes its variables: ready FILE.
func readyCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ready FILE")
	}
	text, err := awaitFile(ts.MkAbs(args[0]))
	ts.Check(err)
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		name, value, ok := strings.Cut(strings.TrimPrefix(lines.Text(), "export "), "=")
		if !ok || !strings.HasPrefix(lines.Text(), "export VVSIM_") {
			ts.Fatalf("%q is no export line", lines.Text())
		}
		ts.Setenv(name, value)
	}
}

// awaitFile reads a file that appears as a whole.
func awaitFile(path string) (string, error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(readyLimit); time.Now().Before(deadline); <-tick.C {
		if b, err := os.ReadFile(path); err == nil {
			return string(b), nil
		}
	}
	return "", fmt.Errorf("%s is not there after %v", path, readyLimit)
}

// statusCommand runs a command that has to end with an exit code: status N COMMAND...
func statusCommand(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if neg || len(args) < 2 || err != nil {
		ts.Fatalf("usage: status N COMMAND ARGS...")
	}
	have := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		have = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if have != want {
		ts.Fatalf("%v ended with %d, not %d", args[1:], have, want)
	}
	if stderr := ts.ReadFile("stderr"); want != 0 && want != exitCheck && strings.Count(stderr, "\n") != 1 {
		ts.Fatalf("an error is one line, not %q", stderr)
	}
}

// termCommand sends SIGTERM to the array whose env file was taken last.
func termCommand(ts *testscript.TestScript, neg bool, args []string) {
	pid, err := strconv.Atoi(ts.Getenv("VVSIM_PID"))
	if neg || len(args) != 0 || err != nil {
		ts.Fatalf("usage: term, after ready")
	}
	ts.Check(syscall.Kill(pid, syscall.SIGTERM))
}

// letCommand keeps the last command's output in a variable: let NAME.
func letCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: let NAME")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}
