package prefetch

import (
	"math/rand/v2"
	"testing"
	"unsafe"
)

// Whatever address is given, where memory is and where none is, nothing happens.
func TestLines(t *testing.T) {
	b := make([]byte, 1<<20)
	for i := range b {
		b[i] = byte(i)
	}
	start := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	for _, n := range []uintptr{0, 1, Line, Line + 1, 4096, 1 << 20} {
		Lines(start, n)
		Lines(start+1, n)
		Lines(0, n)
		Lines(^uintptr(0)-n, n)
		Lines(1<<63, n)
	}
	Lines(^uintptr(0), 4096) // wraps
	Lines(start, ^uintptr(0))
	for i := range b {
		if b[i] != byte(i) {
			t.Fatalf("byte %d has changed", i)
		}
	}
}

// Copies of random pages from more memory than caches hold, as they are and asked for just before.
func BenchmarkCopyCold(b *testing.B) {
	const size, page = 512 << 20, 4096
	memory := make([]byte, size)
	for i := 0; i < size; i += page {
		memory[i] = 1
	}
	start := uintptr(unsafe.Pointer(unsafe.SliceData(memory)))
	to := make([]byte, page)
	for name, ask := range map[string]bool{"cold": false, "asked for": true} {
		b.Run(name, func(b *testing.B) {
			random := rand.New(rand.NewPCG(1, 2))
			b.SetBytes(page)
			for b.Loop() {
				at := random.IntN(size/page-1)*page + 100
				if ask {
					Lines(start+uintptr(at), page)
				}
				copy(to, memory[at:])
			}
		})
	}
}
