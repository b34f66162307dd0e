package mem

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"sync/atomic"

	"vvsim/vvol/store"
)

// counters of Metrics.
type counters struct{ reads, readBytes, writes, writtenBytes, flushes atomic.Uint64 }

func (c *counters) metrics() store.Metrics {
	return store.Metrics{Reads: c.reads.Load(), ReadBytes: c.readBytes.Load(), Writes: c.writes.Load(),
		WrittenBytes: c.writtenBytes.Load(), Flushes: c.flushes.Load()}
}

// object implements store.Object.
type object struct {
	e      *Engine
	v      *volume
	closed atomic.Bool
}

func (o *object) ID() store.ID { return o.v.id }

func (o *object) Size() uint64 {
	o.e.mu.RLock()
	defer o.e.mu.RUnlock()
	return o.v.size
}

func (o *object) ReadOnly() bool { return o.v.readOnly }

// check is called with mu held.
func (o *object) check(ctx context.Context, off, n uint64, write bool) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case o.e.closed || o.closed.Load():
		return store.ErrUnavailable
	case o.v.gone:
		return store.ErrGone
	case off%512 != 0 || n%512 != 0:
		return fmt.Errorf("%w: offset %d, length %d", store.ErrInvalid, off, n)
	case off > o.v.size || n > o.v.size-off:
		return fmt.Errorf("%w: %d bytes at %d of %d", store.ErrOutOfRange, n, off, o.v.size)
	case write && o.v.readOnly:
		return store.ErrReadOnly
	}
	return nil
}

func tooLong(n int) error {
	if n > maxTransfer {
		return fmt.Errorf("%w: %d bytes in one transfer", store.ErrInvalid, n)
	}
	return nil
}

// pieces yields the parts of [off, off+n) by block: block number, offset in the
// block, offset in the range, length.
func pieces(off, n uint64) iter.Seq2[uint64, [3]uint64] {
	return func(yield func(uint64, [3]uint64) bool) {
		for done := uint64(0); done < n; {
			in := (off + done) % blockSize
			k := min(blockSize-in, n-done)
			if !yield((off+done)/blockSize, [3]uint64{in, done, k}) {
				return
			}
			done += k
		}
	}
}

// ReadAt implements store.Object.
func (o *object) ReadAt(ctx context.Context, p []byte, off uint64) error {
	if err := tooLong(len(p)); err != nil {
		return err
	}
	o.e.mu.RLock()
	defer o.e.mu.RUnlock()
	if err := o.check(ctx, off, uint64(len(p)), false); err != nil {
		return err
	}
	o.read(p, off)
	o.e.counts.reads.Add(1)
	o.e.counts.readBytes.Add(uint64(len(p)))
	return nil
}

func (o *object) read(p []byte, off uint64) {
	for n, part := range pieces(off, uint64(len(p))) {
		dst := p[part[1] : part[1]+part[2]]
		if b := o.v.head.find(n); b != nil {
			copy(dst, b[part[0]:])
		} else {
			clear(dst)
		}
	}
}

// WriteAt implements store.Object.
func (o *object) WriteAt(ctx context.Context, p []byte, off uint64, _ store.WriteOptions) error {
	if err := tooLong(len(p)); err != nil {
		return err
	}
	o.e.mu.Lock()
	defer o.e.mu.Unlock()
	if err := o.check(ctx, off, uint64(len(p)), true); err != nil {
		return err
	}
	return o.write(p, off)
}

// WriteAll implements store.Object.
func (o *object) WriteAll(ctx context.Context, writes []store.Write, w store.WriteOptions) {
	for i := range writes {
		writes[i].Err = o.WriteAt(ctx, writes[i].Data, writes[i].Offset, w)
	}
}

// write stores p; space for all of it is taken first. Called with mu held.
func (o *object) write(p []byte, off uint64) error {
	if len(p) == 0 {
		return nil
	}
	head := o.v.head
	first, last := off/blockSize, (off+uint64(len(p))-1)/blockSize
	var fresh uint64
	for n := first; n <= last; n++ {
		if head.blocks[n] == nil {
			fresh += blockSize
		}
	}
	if err := o.room(fresh); err != nil {
		return err
	}
	o.e.pools[o.v.pool] += fresh
	for n, part := range pieces(off, uint64(len(p))) {
		b := head.blocks[n]
		if b == nil {
			b = &block{}
			if old := head.find(n); old != nil {
				*b = *old
			}
			head.blocks[n] = b
		}
		copy(b[part[0]:], p[part[1]:part[1]+part[2]])
	}
	o.e.counts.writes.Add(1)
	o.e.counts.writtenBytes.Add(uint64(len(p)))
	return nil
}

// room tells whether the pool has so many bytes left.
func (o *object) room(fresh uint64) error {
	if limit := o.e.limits[o.v.pool]; limit > 0 && fresh > 0 && o.e.pools[o.v.pool]+fresh > limit {
		return fmt.Errorf("%w: pool holds %d of %d bytes", store.ErrNoSpace, o.e.pools[o.v.pool], limit)
	}
	return nil
}

// CompareAndWrite implements store.Object.
func (o *object) CompareAndWrite(ctx context.Context, compare, data []byte, off uint64, _ store.WriteOptions) error {
	if len(compare) != len(data) {
		return fmt.Errorf("%w: %d bytes to compare, %d to write", store.ErrInvalid, len(compare), len(data))
	}
	if err := tooLong(len(data)); err != nil {
		return err
	}
	o.e.mu.Lock()
	defer o.e.mu.Unlock()
	if err := o.check(ctx, off, uint64(len(data)), true); err != nil {
		return err
	}
	present := make([]byte, len(data))
	o.read(present, off)
	if !bytes.Equal(present, compare) {
		i := 0
		for present[i] == compare[i] {
			i++
		}
		return &store.MiscompareError{Offset: uint64(i)}
	}
	return o.write(data, off)
}

// Zero implements store.Object; zeros are not kept.
func (o *object) Zero(ctx context.Context, off, n uint64, w store.WriteOptions) error {
	return o.Unmap(ctx, off, n, w)
}

// Unmap implements store.Object.
func (o *object) Unmap(ctx context.Context, off, n uint64, _ store.WriteOptions) error {
	o.e.mu.Lock()
	defer o.e.mu.Unlock()
	if err := o.check(ctx, off, n, true); err != nil {
		return err
	}
	return o.unmap(off, n)
}

// unmap is called with mu held.
func (o *object) unmap(off, n uint64) error {
	end := off + n
	first, last := (off+blockSize-1)/blockSize, end/blockSize
	edges := [][2]uint64{{off, first * blockSize}, {last * blockSize, end}}
	if first > last { // within one block
		first, edges = last, [][2]uint64{{off, end}}
	}
	for _, edge := range edges {
		if o.v.head.find(edge[0]/blockSize) != nil {
			if err := o.write(make([]byte, edge[1]-edge[0]), edge[0]); err != nil {
				return err
			}
		}
	}
	o.e.discard(o.v, first, last)
	return nil
}

// discard unmaps blocks first to last-1 of v. Called with mu held.
func (e *Engine) discard(v *volume, first, last uint64) {
	for _, n := range e.mapped(v, first, last) {
		if v.head.blocks[n] != nil {
			e.pools[v.pool] -= blockSize
		}
		delete(v.head.blocks, n)
		if v.head.find(n) != nil {
			v.head.blocks[n] = nil
		}
	}
}

// mapped lists the blocks from first to last-1 that hold data, and maybe others.
func (e *Engine) mapped(v *volume, first, last uint64) (all []uint64) {
	if last-first > 1<<16 {
		for _, n := range e.numbers(v) {
			if n >= first && n < last {
				all = append(all, n)
			}
		}
		return all
	}
	for n := first; n < last; n++ {
		if v.head.find(n) != nil {
			all = append(all, n)
		}
	}
	return all
}

// piece is bytes to be written at an offset.
type piece struct {
	off  uint64
	data []byte
}

// CopyFrom implements store.Object: it reads all that src holds, empties the
// range, and writes.
func (o *object) CopyFrom(ctx context.Context, off uint64, src store.Object, srcOff, n uint64) error {
	s, ok := src.(*object)
	if !ok || s.e != o.e {
		return fmt.Errorf("%w: source belongs to another engine", store.ErrInvalid)
	}
	o.e.mu.Lock()
	defer o.e.mu.Unlock()
	if err := o.check(ctx, off, n, true); err != nil {
		return err
	}
	if err := s.check(ctx, srcOff, n, false); err != nil {
		return err
	}
	var pieces []piece
	for _, b := range o.e.mapped(s.v, srcOff/blockSize, (srcOff+n+blockSize-1)/blockSize) {
		from, to := max(b*blockSize, srcOff), min((b+1)*blockSize, srcOff+n)
		data := make([]byte, to-from)
		s.read(data, from)
		if len(bytes.Trim(data, "\x00")) > 0 {
			pieces = append(pieces, piece{off + from - srcOff, data})
		}
	}
	if err := o.room(o.needed(off, n, pieces)); err != nil {
		return err
	}
	if err := o.unmap(off, n); err != nil {
		return err
	}
	for _, p := range pieces {
		if err := o.write(p.data, p.off); err != nil {
			return err
		}
	}
	return nil
}

// needed bounds the bytes of new blocks that pieces written to [off, off+n) take,
// with the blocks at its ends, which keep their other parts.
func (o *object) needed(off, n uint64, pieces []piece) uint64 {
	fresh := map[uint64]struct{}{}
	for _, end := range []uint64{off, off + n} {
		if b := end / blockSize; end%blockSize != 0 && o.v.head.find(b) != nil {
			fresh[b] = struct{}{}
		}
	}
	for _, p := range pieces {
		for b := p.off / blockSize; b*blockSize < p.off+uint64(len(p.data)); b++ {
			fresh[b] = struct{}{}
		}
	}
	maps.DeleteFunc(fresh, func(b uint64, _ struct{}) bool { return o.v.head.blocks[b] != nil })
	return uint64(len(fresh)) * blockSize
}

// Flush implements store.Object: memory has no more stable storage than itself.
func (o *object) Flush(ctx context.Context) error {
	o.e.mu.RLock()
	defer o.e.mu.RUnlock()
	o.e.counts.flushes.Add(1)
	return o.check(ctx, 0, 0, false)
}

// Close implements store.Object.
func (o *object) Close() error {
	o.e.mu.Lock() // which calls hold while they run
	defer o.e.mu.Unlock()
	o.closed.Store(true)
	return nil
}

// Ranges implements store.Object.
func (o *object) Ranges(ctx context.Context, kind store.RangeKind, base store.ID, from uint64) iter.Seq2[store.Range, error] {
	return func(yield func(store.Range, error) bool) {
		all, err := o.ranges(ctx, kind, base, from)
		for _, r := range all {
			if !yield(r, nil) {
				return
			}
		}
		if err != nil {
			yield(store.Range{}, err)
		}
	}
}

func (o *object) ranges(ctx context.Context, kind store.RangeKind, base store.ID, from uint64) (all []store.Range, err error) {
	o.e.mu.RLock()
	defer o.e.mu.RUnlock()
	if err := o.check(ctx, 0, 0, false); err != nil {
		return nil, err
	}
	numbers := o.e.numbers(o.v)
	var other *volume
	if kind == store.Different {
		if other, err = o.e.lookup(base); err != nil {
			return nil, err
		}
		if other.family != o.v.family {
			return nil, fmt.Errorf("%w: %v is no relative", store.ErrInvalid, base)
		}
		numbers = merge(numbers, o.e.numbers(other))
	}
	for _, n := range numbers {
		b := o.v.head.find(n)
		var in bool
		switch kind {
		case store.Allocated:
			in = b != nil
		case store.Unshared:
			in = b != nil && !o.e.shared(o.v, n, b)
		case store.Different:
			var theirs *block
			if n < other.size/blockSize {
				theirs = other.head.find(n)
			}
			in = b != theirs
		}
		if at := n * blockSize; in && at < o.v.size {
			all = appendRange(all, at, from)
		}
	}
	return all, nil
}

// appendRange adds the block at offset at, clipped to from, joining neighbours.
func appendRange(all []store.Range, at, from uint64) []store.Range {
	end := at + blockSize
	if end <= from {
		return all
	}
	at = max(at, from)
	if k := len(all); k > 0 && all[k-1].Offset+all[k-1].Length == at {
		all[k-1].Length += end - at
		return all
	}
	return append(all, store.Range{Offset: at, Length: end - at})
}

// merge unites two sorted lists.
func merge(a, b []uint64) []uint64 {
	out := make([]uint64, 0, len(a)+len(b))
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0] < b[0]:
			out, a = append(out, a[0]), a[1:]
		case len(a) == 0 || b[0] < a[0]:
			out, b = append(out, b[0]), b[1:]
		default:
			out, a, b = append(out, a[0]), a[1:], b[1:]
		}
	}
	return out
}
