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

// BenchmarkEngine puts the suite's loads on the engine with a journal of usual size.
func BenchmarkEngine(b *testing.B) {
	storetest.Bench(b, func(b *testing.B) store.Engine {
		e, err := Open(b.Context(), Options{Dir: b.TempDir()})
		require.NoError(b, err)
		return e
	})
}
