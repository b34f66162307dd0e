package badger

import (
	"context"
	"fmt"
	"slices"

	"vvsim/vvol/store"
	"vvsim/vvol/store/badger/index"
)

// CopyFrom implements store.Object in pieces of at most maxTransfer, each one group.
// What neither of the two volumes knows anything of is passed over, so that the time
// depends on data, not on size.
func (o *object) CopyFrom(ctx context.Context, off uint64, src store.Object, srcOff, n uint64) error {
	s, ok := src.(*object)
	if !ok || s.e != o.e {
		return fmt.Errorf("%w: source belongs to another engine", store.ErrInvalid)
	}
	for _, at := range []uint64{off, srcOff} {
		if err := o.usable(ctx, at, n, maxSize); err != nil {
			return err
		}
	}
	if size := o.Size(); off > size || n > size-off {
		return fmt.Errorf("%w: %d bytes at %d of %d", store.ErrOutOfRange, n, off, size)
	}
	if size := s.Size(); srcOff > size || n > size-srcOff {
		return fmt.Errorf("%w: %d bytes at %d of %d", store.ErrOutOfRange, n, srcOff, size)
	}
	pieces := o.pieces(off, s, srcOff, n)
	if s.v == o.v && srcOff < off {
		slices.Reverse(pieces) // they may overlap
	}
	var longest uint64
	for _, p := range pieces {
		longest = max(longest, p.Last-p.First)
	}
	buf := make([]byte, longest)
	for _, p := range pieces {
		if err := o.copyPiece(ctx, off+p.First, s, srcOff+p.First, buf[:p.Last-p.First]); err != nil {
			return err
		}
	}
	return nil
}

// pieces divides a copy into ranges of bytes from its start.
func (o *object) pieces(off uint64, s *object, srcOff, n uint64) []index.Span {
	if n <= maxTransfer {
		return []index.Span{{First: 0, Last: n}}
	}
	o.e.index.RLock()
	defer o.e.index.RUnlock()
	return index.Pieces(o.v.Head, off, s.v.Head, srcOff, n, maxTransfer)
}

// copyPiece copies one range. Holes of the source become holes where blocks of the
// two lie alike; elsewhere only a range that is all hole does.
func (o *object) copyPiece(ctx context.Context, off uint64, s *object, srcOff uint64, buf []byte) error {
	n := uint64(len(buf))
	alike := off%blockSize == srcOff%blockSize
	data := false
	var holes []index.Span
	s.e.index.RLock()
	for b := srcOff / blockSize; b*blockSize < srcOff+n; b++ {
		if s.v.Head.Find(b).Data() {
			data = true
		} else if alike && b*blockSize >= srcOff && (b+1)*blockSize <= srcOff+n {
			holes = index.AppendBlock(holes, 0, b+off/blockSize-srcOff/blockSize)
		}
	}
	s.e.index.RUnlock()
	if !data {
		return o.Unmap(ctx, off, n, store.WriteOptions{})
	}
	if err := s.ReadAt(ctx, buf, srcOff); err != nil {
		return err
	}
	if err := o.begin(ctx, off, n, maxTransfer); err != nil {
		return err
	}
	defer o.uses.End()
	return o.submit(&op{kind: opCopy, volume: o.v, off: off, data: buf, holes: holes, from: newCaller()}, false)
}
