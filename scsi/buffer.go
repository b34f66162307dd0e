package scsi

import (
	"math/bits"
	"sync"
)

// Buffers come in powers of two from minBuffer to maxBuffer; larger ones are
// allocated and left to the garbage collector.
const (
	minBufferShift = 9  // 512 bytes: one logical block
	maxBufferShift = 24 // 16 MiB
)

// Buffer is a byte slice with an owner. Whoever holds it calls Release exactly
// once, after which neither the Buffer nor its bytes may be touched. A Buffer is
// not safe for concurrent use.
type Buffer struct {
	b     []byte
	whole []byte
	class int
}

// bufferPools recycle memory between commands; they hold no meaning of their
// own, so that several arrays in one process may share them.
var bufferPools [maxBufferShift - minBufferShift + 1]sync.Pool

// NewBuffer returns a Buffer of n bytes with unspecified content.
func NewBuffer(n int) *Buffer {
	class := 0
	if n > 1<<minBufferShift {
		class = bits.Len(uint(n-1)) - minBufferShift
	}
	if class >= len(bufferPools) {
		return &Buffer{b: make([]byte, n), class: -1}
	}
	if b, _ := bufferPools[class].Get().(*Buffer); b != nil {
		b.b = b.whole[:n]
		return b
	}
	whole := make([]byte, 1<<(class+minBufferShift))
	return &Buffer{b: whole[:n], whole: whole, class: class}
}

// ZeroBuffer returns a Buffer of n zero bytes.
func ZeroBuffer(n int) *Buffer {
	b := NewBuffer(n)
	clear(b.b)
	return b
}

// BufferOf returns a Buffer with a copy of p.
func BufferOf(p []byte) *Buffer {
	b := NewBuffer(len(p))
	copy(b.b, p)
	return b
}

// Bytes returns the content; nil for a nil Buffer. The slice is valid until Release.
func (b *Buffer) Bytes() []byte {
	if b == nil {
		return nil
	}
	return b.b
}

// Len returns the number of bytes; 0 for a nil Buffer.
func (b *Buffer) Len() int {
	if b == nil {
		return 0
	}
	return len(b.b)
}

// Truncate keeps the first n bytes.
func (b *Buffer) Truncate(n int) { b.b = b.b[:n] }

// Release gives the memory back. A nil Buffer is allowed.
func (b *Buffer) Release() {
	if b == nil || b.class < 0 {
		return
	}
	b.b = nil
	bufferPools[b.class].Put(b)
}
