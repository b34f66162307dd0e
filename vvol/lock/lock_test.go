package lock

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// A lock is dropped when nobody holds or awaits it, and a waiter that leaves
// leaves nothing.
func TestTable(t *testing.T) {
	lt := &Table{}
	unlock, err := lt.Acquire(t.Context(), "b", "a", "b")
	require.NoError(t, err)
	require.Len(t, lt.locks, 2)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = lt.Acquire(gone, "0", "a")
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, lt.locks, 2)
	unlock()
	require.Empty(t, lt.locks)
}
