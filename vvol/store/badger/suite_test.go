package badger

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
	"vvsim/vvol/store/storetest"
)

func openSmall(t *testing.T, dir string) store.Engine {
	e, err := Open(t.Context(), small(dir))
	require.NoError(t, err)
	return e
}

// TestContract is the suite that every engine passes.
func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Engine { return openSmall(t, t.TempDir()) })
}

// TestDurable reopens the directory between steps.
func TestDurable(t *testing.T) { storetest.RunDurable(t, openSmall) }
