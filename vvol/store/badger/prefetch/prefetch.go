//go:build amd64 || arm64

package prefetch

// Lines brings the lines that hold n bytes from address on into the cache, without
// waiting. Any address may be given: where no memory is, nothing happens.
//
//go:noescape
func Lines(address, n uintptr)
