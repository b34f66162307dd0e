package work

import (
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/scsi/latency"
)

// sockets returns the two ends of a TCP connection.
func sockets(t *testing.T) (a, b net.Conn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	a, err = net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	b, err = ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// With and without polling, on a socket and on what is none, a poller reads what a
// net.Conn would: bytes that are there, bytes that come later, the end, a deadline that
// has passed, and a connection that was closed meanwhile.
func TestPoller(t *testing.T) {
	for name, poll := range map[string]bool{"asleep": false, "polling": true} {
		for _, socket := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				a, b := sockets(t)
				if !socket {
					a, b = net.Pipe()
				}
				r := NewPoller(b)
				require.Equal(t, socket, r.raw != nil)
				p := make([]byte, 8)
				read := func() (string, error) {
					n, err := r.Read(p, latency.Now(), poll)
					return string(p[:n]), err
				}
				wrote := make(chan error, 1)
				for _, late := range []bool{false, true} {
					if socket && !late {
						_, err := a.Write([]byte("abc"))
						wrote <- err
					} else {
						go func() {
							_, err := a.Write([]byte("abc"))
							wrote <- err
						}()
					}
					got, err := read()
					require.NoError(t, err)
					require.Equal(t, "abc", got)
					require.NoError(t, <-wrote)
				}
				require.NoError(t, b.SetReadDeadline(time.Now().Add(time.Millisecond)))
				_, err := read()
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
				require.NoError(t, b.SetReadDeadline(time.Time{}))
				require.NoError(t, a.Close())
				_, err = read()
				require.ErrorIs(t, err, io.EOF)
				closed := make(chan error, 1)
				go func() { closed <- b.Close() }()
				require.NoError(t, <-closed)
				_, err = read()
				require.Error(t, err)
				require.NotErrorIs(t, err, io.EOF)
			})
		}
	}
}

// A reader that sleeps is woken by the closing of its connection.
func TestPollerWokenByClose(t *testing.T) {
	_, b := sockets(t)
	ended := make(chan error)
	go func() {
		_, err := NewPoller(b).Read(make([]byte, 8), latency.Now(), true)
		ended <- err
	}()
	require.NoError(t, b.Close())
	require.ErrorIs(t, <-ended, net.ErrClosed)
}
