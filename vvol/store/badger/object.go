package badger

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"

	bdb "github.com/dgraph-io/badger/v4"

	"vvsim/vvol/store"
)

// object implements store.Object.
type object struct {
	e      *Engine
	v      *volume
	closed atomic.Bool
}

func (o *object) ID() store.ID { return o.v.id }

func (o *object) Size() uint64 {
	o.e.maps.RLock()
	defer o.e.maps.RUnlock()
	return o.v.size
}

func (o *object) ReadOnly() bool { return o.v.readOnly }

// usable is the part of the checks that needs no lock.
func (o *object) usable(ctx context.Context, off, n uint64, limit uint64) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case o.closed.Load() || o.e.closed.Load():
		return store.ErrUnavailable
	case off%512 != 0 || n%512 != 0 || n > limit:
		return fmt.Errorf("%w: offset %d, length %d", store.ErrInvalid, off, n)
	}
	return nil
}

// ReadAt implements store.Object.
func (o *object) ReadAt(ctx context.Context, p []byte, off uint64) error {
	if err := o.usable(ctx, off, uint64(len(p)), maxTransfer); err != nil {
		return err
	}
	o.e.counts.reads.Add(1)
	o.e.counts.readBytes.Add(uint64(len(p)))
	for try := 0; ; try++ {
		o.e.maps.RLock()
		v := o.v
		head, size, gone := v.head, v.size, v.gone
		o.e.maps.RUnlock()
		switch {
		case gone:
			return store.ErrGone
		case off > size || uint64(len(p)) > size-off:
			return fmt.Errorf("%w: %d bytes at %d of %d", store.ErrOutOfRange, len(p), off, size)
		}
		err := o.e.read(head, off, p)
		// The head may have been frozen and merged away between the two steps.
		if err == nil || try == headTries || !errors.Is(err, bdb.ErrKeyNotFound) {
			return err
		}
	}
}

// headTries is how often a read starts again because its head was merged away.
const headTries = 3

// read fills p from a chain, block by block at unaligned ends.
func (e *Engine) read(l *layer, off uint64, p []byte) error {
	if in := off % blockSize; in != 0 {
		var whole [blockSize]byte
		if err := e.readBlocks(l, off/blockSize, whole[:]); err != nil {
			return err
		}
		n := copy(p, whole[in:])
		off, p = off+uint64(n), p[n:]
	}
	if whole := len(p) / blockSize * blockSize; whole > 0 {
		if err := e.readBlocks(l, off/blockSize, p[:whole]); err != nil {
			return err
		}
		off, p = off+uint64(whole), p[whole:]
	}
	if len(p) > 0 {
		var whole [blockSize]byte
		if err := e.readBlocks(l, off/blockSize, whole[:]); err != nil {
			return err
		}
		copy(p, whole[:])
	}
	return nil
}

// readBlocks fills p, whole blocks, from block first on. A record that the
// collector moved between look-up and read is looked up again.
func (e *Engine) readBlocks(l *layer, first uint64, p []byte) error {
	var few [recordBlocks]location
	locs := few[:]
	n := len(p) / blockSize
	if n > len(locs) {
		locs = make([]location, n)
	}
	locs = locs[:n]
	var err error
	for range readTries {
		e.maps.RLock()
		for i := range locs {
			locs[i] = l.find(first + uint64(i))
		}
		e.maps.RUnlock()
		if err = e.fetch(locs, p); !errors.Is(err, bdb.ErrKeyNotFound) {
			break
		}
	}
	if err != nil {
		return &store.MediumError{Offset: first * blockSize, Err: err}
	}
	return nil
}

// fetch copies located blocks; blocks of one record in a row take one look-up.
func (e *Engine) fetch(locs []location, p []byte) error {
	var tx *bdb.Txn
	defer func() {
		if tx != nil {
			tx.Discard()
		}
	}()
	for i := 0; i < len(locs); {
		loc := locs[i]
		if !loc.data() {
			clear(p[i*blockSize : (i+1)*blockSize])
			i++
			continue
		}
		j := i + 1
		for j < len(locs) && locs[j].data() && locs[j].record() == loc.record() {
			j++
		}
		if tx == nil {
			tx = e.db.NewTransaction(false)
		}
		if err := fetchRecord(tx, locs[i:j], p[i*blockSize:j*blockSize]); err != nil {
			return err
		}
		i = j
	}
	return nil
}

var errShortRecord = errors.New("record is shorter than its entry says")

// fetchRecord copies blocks of one record.
func fetchRecord(tx *bdb.Txn, locs []location, p []byte) error {
	item, err := tx.Get(numberKey(keyRecord, locs[0].record()))
	if err != nil {
		return err
	}
	return item.Value(func(value []byte) error {
		for k, loc := range locs {
			start := loc.index() * blockSize
			if start+blockSize > len(value) {
				return errShortRecord
			}
			copy(p[k*blockSize:(k+1)*blockSize], value[start:])
		}
		return nil
	})
}

// submit hands a change to the committer and, where asked for, waits for stable storage.
func (o *object) submit(w *op, fua bool) error {
	err := o.e.committer.do(w)
	if err == nil && (fua || o.e.o.Sync) {
		err = o.e.sync.sync()
	}
	return err
}

// WriteAt implements store.Object.
func (o *object) WriteAt(ctx context.Context, p []byte, off uint64, w store.WriteOptions) error {
	return o.change(ctx, opWrite, nil, p, off, w)
}

// CompareAndWrite implements store.Object.
func (o *object) CompareAndWrite(ctx context.Context, compare, data []byte, off uint64, w store.WriteOptions) error {
	if len(compare) != len(data) {
		return fmt.Errorf("%w: %d bytes to compare, %d to write", store.ErrInvalid, len(compare), len(data))
	}
	return o.change(ctx, opCompareAndWrite, compare, data, off, w)
}

func (o *object) change(ctx context.Context, kind opKind, compare, p []byte, off uint64, w store.WriteOptions) error {
	if err := o.usable(ctx, off, uint64(len(p)), maxTransfer); err != nil {
		return err
	}
	c := opPool.Get().(*op)
	c.kind, c.volume, c.off, c.data, c.compare = kind, o.v, off, p, compare
	err := o.submit(c, w.FUA)
	c.volume, c.data, c.compare, c.err = nil, nil, nil, nil
	opPool.Put(c)
	if err == nil {
		o.e.counts.writes.Add(1)
		o.e.counts.writtenBytes.Add(uint64(len(p)))
	}
	return err
}

// Zero implements store.Object: zeros need no space, so that it is Unmap.
func (o *object) Zero(ctx context.Context, off, n uint64, w store.WriteOptions) error {
	return o.Unmap(ctx, off, n, w)
}

// Unmap implements store.Object.
func (o *object) Unmap(ctx context.Context, off, n uint64, w store.WriteOptions) error {
	if err := o.usable(ctx, off, n, maxUnmap); err != nil {
		return err
	}
	return o.submit(&op{kind: opUnmap, volume: o.v, off: off, n: n, done: make(chan struct{}, 1)}, w.FUA)
}

// copyPiece is how much one step of CopyFrom moves.
const copyPiece = 1 << 20

// CopyFrom implements store.Object in steps of copyPiece; unallocated blocks are
// unmapped, data goes from record to record without leaving the engine.
func (o *object) CopyFrom(ctx context.Context, off uint64, src store.Object, srcOff, n uint64) error {
	s, ok := src.(*object)
	if !ok || s.e != o.e {
		return fmt.Errorf("%w: source belongs to another engine", store.ErrInvalid)
	}
	if err := o.usable(ctx, off, n, maxSize); err != nil {
		return err
	}
	if size := o.Size(); off > size || n > size-off {
		return fmt.Errorf("%w: %d bytes at %d of %d", store.ErrOutOfRange, n, off, size)
	}
	if size := s.Size(); srcOff > size || n > size-srcOff {
		return fmt.Errorf("%w: %d bytes at %d of %d", store.ErrOutOfRange, n, srcOff, size)
	}
	buf := make([]byte, min(n, copyPiece))
	backwards := s.v == o.v && srcOff < off // overlapping within one volume
	for done := uint64(0); done < n; {
		k := min(n-done, copyPiece)
		at := done
		if backwards {
			at = n - done - k
		}
		if err := o.copyPiece(ctx, off+at, s, srcOff+at, buf[:k]); err != nil {
			return err
		}
		done += k
	}
	return nil
}

func (o *object) copyPiece(ctx context.Context, off uint64, s *object, srcOff uint64, buf []byte) error {
	s.e.maps.RLock()
	head := s.v.head
	empty := true
	for b := srcOff / blockSize; b*blockSize < srcOff+uint64(len(buf)) && empty; b++ {
		empty = !head.find(b).data()
	}
	s.e.maps.RUnlock()
	if empty {
		return o.Unmap(ctx, off, uint64(len(buf)), store.WriteOptions{})
	}
	if err := s.ReadAt(ctx, buf, srcOff); err != nil {
		return err
	}
	if err := o.WriteAt(ctx, buf, off, store.WriteOptions{}); err != nil {
		return err
	}
	return o.unmapHoles(ctx, off, s, srcOff, uint64(len(buf)))
}

// unmapHoles deallocates what is unallocated in the source, where the two are
// aligned to each other.
func (o *object) unmapHoles(ctx context.Context, off uint64, s *object, srcOff, n uint64) error {
	if off%blockSize != srcOff%blockSize || s.v == o.v {
		return nil
	}
	var holes []span
	first, last := (srcOff+blockSize-1)/blockSize, (srcOff+n)/blockSize
	s.e.maps.RLock()
	for b := first; b < last; b++ {
		if s.v.head.find(b).data() {
			continue
		}
		if k := len(holes); k > 0 && holes[k-1].last == b {
			holes[k-1].last++
		} else {
			holes = append(holes, span{b, b + 1})
		}
	}
	s.e.maps.RUnlock()
	for _, h := range holes {
		if err := o.Unmap(ctx, off+h.first*blockSize-srcOff, (h.last-h.first)*blockSize, store.WriteOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// Flush implements store.Object.
func (o *object) Flush(ctx context.Context) error {
	if err := o.usable(ctx, 0, 0, 0); err != nil {
		return err
	}
	o.e.maps.RLock()
	gone := o.v.gone
	o.e.maps.RUnlock()
	if gone {
		return store.ErrGone
	}
	o.e.counts.flushes.Add(1)
	return o.e.sync.sync()
}

// Close implements store.Object.
func (o *object) Close() error {
	o.closed.Store(true)
	return nil
}

// Ranges implements store.Object.
func (o *object) Ranges(ctx context.Context, kind store.RangeKind, base store.ID, from uint64) iter.Seq2[store.Range, error] {
	return func(yield func(store.Range, error) bool) {
		if err := o.usable(ctx, 0, 0, 0); err != nil {
			yield(store.Range{}, err)
			return
		}
		other, err := o.base(kind, base)
		if err == nil {
			more := true
			err = o.e.walk(ctx, o.v, other, kind, from, func(r store.Range) bool {
				more = yield(r, nil)
				return more
			})
			if !more {
				return
			}
		}
		if err != nil {
			yield(store.Range{}, err)
		}
	}
}

// base finds the volume that Different compares with.
func (o *object) base(kind store.RangeKind, id store.ID) (*volume, error) {
	if kind != store.Different {
		return nil, nil
	}
	o.e.maps.RLock()
	defer o.e.maps.RUnlock()
	other, err := o.e.lookup(id)
	if err != nil {
		return nil, err
	}
	if other.family != o.v.family {
		return nil, fmt.Errorf("%w: %v is no relative of %v", store.ErrInvalid, id, o.v.id)
	}
	return other, nil
}
