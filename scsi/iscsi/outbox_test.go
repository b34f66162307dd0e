package iscsi

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/scsi/iscsi/line"
	"vvsim/scsi/iscsi/pdu"
)

// An outbox is worth a call when it holds so much, until it is flushed.
func TestLoaded(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	go func() { _, _ = io.Copy(io.Discard, far) }()
	o := newOutbox(near, line.New(near, make(chan struct{})), time.Minute, func(err error) { t.Error(err) }, func(int64) {})
	data := make([]byte, 64<<10)
	put := func() {
		o.mu.Lock()
		o.putLocked(&pdu.DataIn{}, data)
		o.mu.Unlock()
	}
	for range 2 {
		for range loadBytes/len(data) - 1 {
			put()
			require.False(t, o.loaded())
		}
		put()
		require.True(t, o.loaded())
		o.flush()
		require.True(t, o.empty())
		require.False(t, o.loaded())
	}
	require.NoError(t, near.Close())
}
