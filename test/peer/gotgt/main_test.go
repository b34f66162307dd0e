package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	childVariable = "GOTGT_PEER_IS_CHILD" // tells the test binary to be the command
	listenTries   = 5                     // ports that somebody may take before gotgt does
	waitLimit     = 20 * time.Second      // for anything of a peer
	volumeBytes   = 16 << 20
)

// TestMain is the command itself when a test starts it as a child: gotgt keeps its
// state in the process, and some tests end that process.
func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// peer is a running gotgt with one volume.
type peer struct {
	t       *testing.T
	cmd     *exec.Cmd
	address string
	stdin   io.WriteCloser
	stdout  *bufio.Reader
	stderr  bytes.Buffer // to be read after ended
	ended   chan error   // closed after the only value
}

// start runs the command with an empty volume in memory, or as args say.
func start(t *testing.T, args ...string) *peer {
	t.Helper()
	for range listenTries {
		if p := tryStart(t, args); p != nil {
			return p
		}
	}
	t.Fatalf("gotgt got no port in %d tries", listenTries)
	return nil
}

// tryStart is nil when somebody else got the port first: gotgt cannot take port 0.
func tryStart(t *testing.T, args []string) *peer {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := free.Addr().(*net.TCPAddr).Port
	require.NoError(t, free.Close())

	p := &peer{t: t, address: fmt.Sprintf("127.0.0.1:%d", port), ended: make(chan error, 1)}
	p.cmd = exec.Command(os.Args[0], append([]string{"--port", strconv.Itoa(port), "--size", strconv.Itoa(volumeBytes)}, args...)...)
	p.cmd.Env = append(os.Environ(), childVariable+"=1")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Stderr = &p.stderr
	p.stdin, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	// A pipe of the test's own: Wait closes the one that StdoutPipe makes.
	r, w, err := os.Pipe()
	require.NoError(t, err)
	p.cmd.Stdout, p.stdout = w, bufio.NewReader(r)
	require.NoError(t, p.cmd.Start())
	require.NoError(t, w.Close())
	require.NoError(t, r.SetReadDeadline(time.Now().Add(waitLimit)))
	go func() {
		p.ended <- p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		r.Close()
	})
	if !p.listening() {
		t.Logf("gotgt ended: %s", &p.stderr)
		return nil
	}
	line := p.line()
	require.Contains(t, line, "gotgt serves ")
	return p
}

// listening waits until connections are taken, and is false when the process ends first.
func (p *peer) listening() bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(waitLimit)
	for {
		if c, err := net.Dial("tcp", p.address); err == nil {
			c.Close()
			return true
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return false
		case <-limit:
			p.t.Fatal("gotgt does not listen")
		}
	}
}

// line is the next line that the process printed.
func (p *peer) line() string {
	p.t.Helper()
	s, err := p.stdout.ReadString('\n')
	require.NoError(p.t, err)
	return s[:len(s)-1]
}

// stop ends the process as a user does.
func (p *peer) stop() {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-p.ended:
		require.NoError(p.t, err, "%s", &p.stderr)
	case <-time.After(waitLimit):
		p.t.Fatal("gotgt does not stop")
	}
}

// death waits for the process to end by itself and returns what it left on
// standard error.
func (p *peer) death() (last string, err error) {
	select {
	case err := <-p.ended:
		return p.stderr.String(), err
	case <-time.After(waitLimit):
		p.t.Fatal("gotgt lives")
		return "", nil
	}
}
