package door

import (
	"errors"
	"fmt"
	"io"
)

// Errors of Body.Read.
var (
	// ErrLarge is a body that is longer than it may be.
	ErrLarge = errors.New("the body is too long")
	// ErrBusy is a body for which the quota has no bytes now.
	ErrBusy = errors.New("too many bytes of requests are held")
)

// firstBytes is what a body is given at first; most requests fit.
const firstBytes = 8 << 10

// Body is a body in memory whose bytes are a quota's. The zero value is empty.
type Body struct {
	Bytes  []byte
	quota  *Quota
	holder string
	held   int64
}

// ReadBody reads all of r, up to limit bytes. Bytes are taken from the quota as they come,
// not as they are announced: who sends slowly holds little. The body is to be released,
// also after an error. Errors: ErrLarge, ErrBusy, and those of r.
func ReadBody(r io.Reader, limit int64, q *Quota, holder string) (*Body, error) {
	b := &Body{quota: q, holder: holder}
	for {
		if int64(len(b.Bytes)) == b.held {
			if err := b.grow(limit); err != nil {
				return b, err
			}
		}
		n, err := r.Read(b.Bytes[len(b.Bytes):b.held])
		b.Bytes = b.Bytes[:len(b.Bytes)+n]
		switch {
		case int64(len(b.Bytes)) > limit:
			return b, fmt.Errorf("%w: more than %d bytes", ErrLarge, limit)
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			return b, err
		}
	}
}

// grow makes room for twice as much, and for one byte more than the limit at most: it
// shows that a body is too long.
func (b *Body) grow(limit int64) error {
	size := min(max(firstBytes, 2*b.held), limit+1)
	if !b.quota.Take(b.holder, size-b.held) {
		return ErrBusy
	}
	b.held = size
	b.Bytes = append(make([]byte, 0, size), b.Bytes...)
	return nil
}

// Release gives the bytes back: nobody may use them any more. Idempotent.
func (b *Body) Release() {
	if b.held > 0 {
		b.quota.Give(b.holder, b.held)
	}
	b.Bytes, b.held = nil, 0
}
