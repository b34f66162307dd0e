package network

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vvsim/scsi/iscsi/line"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A lane lets no more on than its rate, and all that use it share it.
func TestLane(t *testing.T) {
	l := NewLane(1<<20, line.Wall{})
	require.Equal(t, 52428, l.Piece())
	require.Equal(t, 512, NewLane(1024, line.Wall{}).Piece())
	require.Equal(t, 64<<10, NewLane(1<<40, line.Wall{}).Piece())
	now := time.Now()
	require.False(t, l.Due(0).Before(now))
	var last time.Time
	for range 16 {
		at := l.Due(64 << 10)
		require.True(t, at.After(last))
		last = at
	}
	require.GreaterOrEqual(t, last.Sub(now), time.Second-laneBurst)
	require.Less(t, time.Until(last), time.Second)
}

// A portal that is shut refuses, keeps its port, and is back when it is opened, for every
// kind of address.
func TestListener(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0", ":0"} {
		inner, err := net.Listen("tcp", address)
		if err != nil && (errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)) {
			continue // no IPv6 here
		}
		require.NoError(t, err)
		left := 0
		l := NewListener(inner, net.Listen, func() { left++ })
		require.Equal(t, inner.Addr(), l.Addr())
		accepted := make(chan error, 8)
		go func() {
			for {
				nc, err := l.Accept()
				accepted <- err
				if err != nil {
					return
				}
				nc.Close()
			}
		}()
		connect := func() error {
			nc, err := net.Dial("tcp", l.Addr().String())
			if err == nil {
				err = nc.Close()
			}
			return err
		}
		for range 3 {
			require.NoError(t, connect())
			require.NoError(t, <-accepted)
			l.Shut(true)
			require.ErrorIs(t, connect(), syscall.ECONNREFUSED, address)
			l.Shut(false)
			require.NoError(t, connect())
			require.NoError(t, <-accepted)
		}
		l.Shut(true)
		require.NoError(t, l.Close())
		require.NoError(t, l.Close())
		require.ErrorIs(t, <-accepted, net.ErrClosed)
		l.Shut(false)
		require.ErrorIs(t, connect(), syscall.ECONNREFUSED)
		require.Positive(t, left)
	}
}
