package mem

import (
	"testing"

	"vvsim/vvol/store"
	"vvsim/vvol/store/storetest"
)

func TestEngine(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Engine { return New() })
}

func BenchmarkEngine(b *testing.B) {
	storetest.Bench(b, func(*testing.B) store.Engine { return New() })
}
