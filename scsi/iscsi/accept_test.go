package iscsi

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// poor is a listener that is out of descriptors for a while, then broken.
type poor struct {
	net.Listener
	accepts atomic.Int32
	closed  chan struct{}
}

var errBroken = errors.New("broken")

func (p *poor) Accept() (net.Conn, error) {
	if p.accepts.Add(1) <= 3 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return nil, errBroken
}

func (p *poor) Close() error   { close(p.closed); return nil }
func (p *poor) Addr() net.Addr { return &net.TCPAddr{} }

// A portal outlives a shortage of descriptors, and tells of what does not pass.
func TestAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &poor{closed: make(chan struct{})}
		require.ErrorIs(t, newQuietServer(t).Serve(context.Background(), p, 1), errBroken)
		require.Equal(t, int32(4), p.accepts.Load())
		<-p.closed
	})
}

func newQuietServer(t *testing.T) *Server {
	s, err := NewServer(Options{TargetName: testTarget, Target: newDisk(0), Access: open{}, Portals: func() []PortalAddress { return nil }})
	require.NoError(t, err)
	return s
}
