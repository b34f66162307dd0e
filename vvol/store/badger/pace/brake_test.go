package pace

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBrake is gentle at first, and the longer the fuller the journal.
func TestBrake(t *testing.T) {
	require.Zero(t, Brake(0, 0))
	require.Zero(t, Brake(brakeBacklog, brakeUsed))
	require.Zero(t, Brake(brakeBacklog+0.01, 0), "not worth a timer")
	require.Equal(t, brakeMost/4, Brake(0.7, 0).Round(brakeLeast))
	require.Equal(t, brakeMost/4, Brake(0.5, 0.9).Round(brakeLeast))
	require.Equal(t, brakeMost, Brake(1, 0.9))
}
