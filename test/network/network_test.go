package network

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// pair is a connection, with its listener.
func pair(t *testing.T) (near, far net.Conn, l net.Listener, n *Network) {
	n = New()
	l, err := n.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	near, err = n.Dial(t.Context(), l.Addr().String())
	require.NoError(t, err)
	far, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() {
		near.Close()
		far.Close()
		l.Close()
	})
	return near, far, l, n
}

// TestConversation shows bytes both ways, more than a connection holds, and its end.
func TestConversation(t *testing.T) {
	near, far, _, _ := pair(t)
	const size = 5*capacity + 7
	sent := make(chan error, 1)
	go func() {
		_, err := near.Write(make([]byte, size))
		sent <- errors.Join(err, near.Close())
	}()
	n, err := io.Copy(io.Discard, far)
	require.NoError(t, err)
	require.EqualValues(t, size, n)
	require.NoError(t, <-sent)
	_, err = far.Write([]byte{1})
	require.ErrorIs(t, err, syscall.EPIPE)
	_, err = near.Write([]byte{1})
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = near.Read(make([]byte, 1))
	require.ErrorIs(t, err, net.ErrClosed)
	require.NoError(t, near.Close(), "again")
}

// TestDeadlines shows reads and writes that end by the clock, and one that is lifted.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far, _, _ := pair(t)
		began := time.Now()
		require.NoError(t, near.SetReadDeadline(began.Add(time.Second)))
		_, err := near.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, time.Second, time.Since(began))

		require.NoError(t, near.SetWriteDeadline(began.Add(3*time.Second)))
		n, err := near.Write(make([]byte, 2*capacity))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, capacity, n)
		require.Equal(t, 3*time.Second, time.Since(began))

		require.NoError(t, near.SetDeadline(time.Time{}))
		go func() {
			time.Sleep(time.Hour)
			_, _ = far.Write([]byte{1, 2})
		}()
		n, err = near.Read(make([]byte, 8))
		require.NoError(t, err)
		require.Equal(t, 2, n)
		go func() {
			time.Sleep(time.Hour)
			_ = near.SetReadDeadline(time.Unix(1, 0))
		}()
		_, err = near.Read(make([]byte, 8))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "set while it waits")
	})
}

// TestListeners shows addresses that are free, taken and closed.
func TestListeners(t *testing.T) {
	near, far, l, n := pair(t)
	address := l.Addr().String()
	require.Equal(t, address, far.LocalAddr().String())
	require.Equal(t, address, near.RemoteAddr().String())
	_, err := n.Listen(t.Context(), "tcp", address)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	waiting, err := n.DialNetwork(t.Context(), "tcp", address)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.Error(t, l.Close())
	_, err = waiting.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "nobody has accepted it")
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = n.Dial(t.Context(), address)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	_, err = n.Listen(t.Context(), "tcp", address)
	require.NoError(t, err, "it is free again")

	for range backlog {
		_, err = n.Dial(t.Context(), address)
		require.NoError(t, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = n.Dial(ctx, address)
	require.ErrorIs(t, err, context.DeadlineExceeded, "nobody accepts")
}

// TestCut shows the death of who listens: both ends know at once, what was under way is
// lost, and another may listen there while the dead one is cleared away.
func TestCut(t *testing.T) {
	near, far, l, n := pair(t)
	_, err := near.Write([]byte{1})
	require.NoError(t, err)
	n.Cut()
	_, err = far.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
	_, err = near.Write([]byte{1})
	require.ErrorIs(t, err, syscall.ECONNRESET)
	address := l.Addr().String()
	_, err = n.Dial(t.Context(), address)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	again, err := n.Listen(t.Context(), "tcp", address)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, err = n.Dial(t.Context(), address)
	require.NoError(t, err)
	require.NoError(t, again.Close())
}

// TestDelays shows what either end does come to the other later, in order: bytes, the end of
// them, and the death of who listens.
func TestDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const there, back = 3 * time.Second, 5 * time.Second
		n, began := New(), time.Now()
		l, err := n.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		address := l.Addr().String()
		open := func() (near, far net.Conn) {
			near, err := n.DialOver(t.Context(), address, there, back)
			require.NoError(t, err)
			far, err = l.Accept()
			require.NoError(t, err)
			began = time.Now()
			return near, far
		}
		near, far := open()
		passed := func(want time.Duration) {
			t.Helper()
			require.Equal(t, want, time.Since(began))
		}
		p := make([]byte, capacity)
		for _, b := range []string{"a", "b"} { // at one instant, and so they come
			_, err = near.Write([]byte(b))
			require.NoError(t, err)
		}
		time.Sleep(time.Second)
		_, err = near.Write([]byte("c"))
		require.NoError(t, err)
		require.NoError(t, near.Close())
		for want, text := range []string{"ab", "c"} {
			k, err := far.Read(p)
			require.NoError(t, err)
			require.Equal(t, text, string(p[:k]))
			passed(there + time.Duration(want)*time.Second)
		}
		_, err = far.Read(p)
		require.ErrorIs(t, err, io.EOF)
		_, err = far.Write(p[:1])
		require.NoError(t, err, "it knows of no close before 6 s")
		time.Sleep(back)
		_, err = far.Write(p[:1])
		require.ErrorIs(t, err, syscall.EPIPE)

		near, far = open()
		_, err = far.Write(make([]byte, capacity))
		require.NoError(t, err)
		require.NoError(t, far.SetWriteDeadline(began.Add(time.Second)))
		_, err = far.Write(p[:1])
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "what is under way counts")
		n.Cut()
		_, err = near.Write(p[:1])
		require.NoError(t, err)
		_, err = near.Read(p)
		require.ErrorIs(t, err, syscall.ECONNRESET)
		passed(1*time.Second + back)
		_, err = near.Write(p[:1])
		require.ErrorIs(t, err, syscall.ECONNRESET)

		began = time.Now()
		_, err = n.DialOver(t.Context(), address, there, back)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		passed(there + back)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = n.DialOver(ctx, address, there, back)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		passed(there + back + time.Second)
		require.NoError(t, l.Close())
	})
}
