package iscsi

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Polling is for initiators with few commands at a time while few connections are
// active; one that had many takes a while until it counts as one of those.
func TestWorthPolling(t *testing.T) {
	c := &connection{server: &Server{pollers: 0}}
	c.served = 1
	require.True(t, c.worthPolling())
	c.served = pollDepth + 1
	require.False(t, c.worthPolling())
	n := 0
	for c.served = 1; !c.worthPolling(); c.served = 1 {
		n++
	}
	require.Zero(t, n, "one above falls at once")
	c.served = 32
	require.False(t, c.worthPolling())
	for c.served = 1; !c.worthPolling(); c.served = 1 {
		n++
	}
	require.Greater(t, n, 8)
	c.server.pollers = -1
	require.False(t, c.worthPolling())
}
