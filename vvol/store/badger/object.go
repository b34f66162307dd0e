package badger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	bdb "github.com/dgraph-io/badger/v4"

	"vvsim/vvol/store"
	"vvsim/vvol/store/badger/index"
	"vvsim/vvol/store/badger/inuse"
	"vvsim/vvol/store/badger/places"
)

// object implements store.Object.
type object struct {
	e      *Engine
	v      *index.Volume
	uses   *inuse.Calls
	closed atomic.Bool
	warned atomic.Int64 // when damage was last told of, in nanoseconds
}

func (o *object) ID() store.ID { return o.v.ID }

func (o *object) Size() uint64 {
	o.e.index.RLock()
	defer o.e.index.RUnlock()
	return o.v.Size
}

func (o *object) ReadOnly() bool { return o.v.ReadOnly }

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

// begin is usable for a call that Close waits for; uses.End ends it.
func (o *object) begin(ctx context.Context, off, n uint64, limit uint64) error {
	err := o.usable(ctx, off, n, limit)
	if err == nil && !o.uses.Begin() {
		err = store.ErrUnavailable
	}
	return err
}

// ReadAt implements store.Object.
func (o *object) ReadAt(ctx context.Context, p []byte, off uint64) error {
	if err := o.begin(ctx, off, uint64(len(p)), maxTransfer); err != nil {
		return err
	}
	defer o.uses.End()
	if err := o.e.enter(); err != nil {
		return err
	}
	defer o.e.use.RUnlock()
	o.e.counts.reads.Add(1)
	o.e.counts.readBytes.Add(uint64(len(p)))
	err := o.readLocated(p, off)
	for try := 0; moved(err) && try <= headTries; try++ {
		var head *index.Layer
		if head, err = o.head(off, len(p)); err == nil {
			err = o.e.readHead(head, off, p)
		}
	}
	if err != nil {
		o.warn(err)
	}
	return err
}

// damageEvery is the least time between two warnings of one open volume: a disk that fails
// as a whole would fill the log else.
const damageEvery = time.Second

// warn tells the operator what a reader meets on the medium, who gets no more than a sense
// code.
func (o *object) warn(err error) {
	last, now := o.warned.Load(), time.Now().UnixNano()
	if errors.Is(err, store.ErrMedium) && now-last >= int64(damageEvery) && o.warned.CompareAndSwap(last, now) {
		o.e.o.Warn(fmt.Sprintf("volume %v in %s: %v", o.v.ID, o.e.o.Dir, err))
	}
}

// readLocated is the usual way of a read: whole blocks of one record or few, which are
// found together with the head that leads to them. errNotLocated leaves others, and
// what was moved meanwhile, to be read step by step.
func (o *object) readLocated(p []byte, off uint64) error {
	n := len(p) / blockSize
	if off%blockSize != 0 || len(p)%blockSize != 0 || n > maxLocated {
		return errNotLocated
	}
	var few [maxLocated]index.Location
	locs, first := few[:n], off/blockSize
	o.e.index.RLock()
	err := o.v.Holds(off, uint64(len(p)))
	if err == nil {
		for i := range locs {
			locs[i] = o.v.Head.Find(first + uint64(i))
		}
	}
	o.e.index.RUnlock()
	if err != nil {
		return err
	}
	return mediumError(first, o.e.fetch(first, locs, p))
}

// maxLocated is how many blocks readLocated takes.
const maxLocated = 16

var errNotLocated = errors.New("not found with the head")

// head returns the head of the volume, which holds n bytes at off.
func (o *object) head(off uint64, n int) (*index.Layer, error) {
	o.e.index.RLock()
	defer o.e.index.RUnlock()
	return o.v.Head, o.v.Holds(off, uint64(n))
}

// headTries is how often a read starts again because its head was merged away.
const headTries = 3

// readHead fills p from a chain whose first layer was a head. While it read, that may
// have been frozen and its blocks moved up into its child: errMerged.
func (e *Engine) readHead(l *index.Layer, off uint64, p []byte) error {
	err := e.read(l, off, p)
	e.index.RLock()
	defer e.index.RUnlock()
	if l.Merging {
		return errMerged
	}
	return err
}

// read fills p from a chain, block by block at unaligned ends.
func (e *Engine) read(l *index.Layer, off uint64, p []byte) error {
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
func (e *Engine) readBlocks(l *index.Layer, first uint64, p []byte) error {
	var few [index.RecordBlocks]index.Location
	locs := few[:]
	n := len(p) / blockSize
	if n > len(locs) {
		locs = make([]index.Location, n)
	}
	locs = locs[:n]
	var err error
	for range readTries {
		e.index.RLock()
		l.FindAll(first, locs)
		e.index.RUnlock()
		if err = e.fetch(first, locs, p); !moved(err) {
			break
		}
	}
	if moved(err) {
		return &store.MediumError{Offset: first * blockSize, Err: err}
	}
	return mediumError(first, err)
}

// mediumError is err as one of the medium at a block, if it is none yet. What moved
// looks for stays as it is.
func mediumError(block uint64, err error) error {
	if err == nil || moved(err) || errors.Is(err, store.ErrMedium) {
		return err
	}
	return &store.MediumError{Offset: block * blockSize, Err: err}
}

// errOverwritten tells that a page of the journal went to another group meanwhile.
var errOverwritten = errors.New("page was overwritten")

// fetch copies located blocks, from first on; blocks of one record in a row take one
// look-up.
func (e *Engine) fetch(first uint64, locs []index.Location, p []byte) error {
	for i := 0; i < len(locs); {
		loc := locs[i]
		if loc.Journaled() {
			if !e.journal.CopyPage(p[i*blockSize:(i+1)*blockSize], loc.Page()) {
				return errOverwritten
			}
			if err := e.journal.Lost(); err != nil {
				return err
			}
			i++
			continue
		}
		if !loc.Data() {
			clear(p[i*blockSize : (i+1)*blockSize])
			i++
			continue
		}
		j := i + 1
		for j < len(locs) && locs[j].Recorded() && locs[j].Record() == loc.Record() {
			j++
		}
		if err := e.fetchRecord(first+uint64(i), locs[i:j], p[i*blockSize:j*blockSize]); err != nil {
			return err
		}
		i = j
	}
	return nil
}

var errMerged = errors.New("layer was merged into its child")

// moved tells whether a block has to be looked up (again): it went from the journal
// into a record, from one record to another, or into another layer.
func moved(err error) bool {
	return err != nil && (errors.Is(err, bdb.ErrKeyNotFound) || errors.Is(err, errOverwritten) || errors.Is(err, errMerged) ||
		errors.Is(err, errNotLocated))
}

// fetchRecord copies blocks of one record, and verifies them.
func (e *Engine) fetchRecord(first uint64, locs []index.Location, p []byte) error {
	id := locs[0].Record()
	if at := e.places.Get(id); at != nil {
		at.Expect(locs)
		if at.CopyBlocks(first, locs, p) == nil {
			return nil
		}
		e.places.Forget(id)
	}
	err := e.locateRecord(first, locs, p)
	if errors.Is(err, store.ErrMedium) { // what is collected between look-up and copy reads as empty
		err = e.locateRecord(first, locs, p)
	}
	return err
}

// locateRecord looks the record up, copies its blocks, and remembers where it is.
func (e *Engine) locateRecord(first uint64, locs []index.Location, p []byte) error {
	id := locs[0].Record()
	v := e.views.Acquire()
	defer v.Release()
	at, err := places.Locate(v.Tx, numberKey(keyEntry, id), numberKey(keyRecord, id))
	if err != nil {
		return err
	}
	if err := at.CopyBlocks(first, locs, p); err != nil {
		return err
	}
	e.places.Put(id, at)
	return nil
}

// submit hands a change to the committer and, where asked for, waits for stable storage.
func (o *object) submit(w *op, fua bool) error {
	err := o.e.committer.do(w)
	if err == nil && (fua || o.e.o.Sync) {
		err = o.e.journal.Flush()
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
	if err := o.begin(ctx, off, uint64(len(p)), maxTransfer); err != nil {
		return err
	}
	defer o.uses.End()
	c := o.e.committer.ops.Get().(*op)
	c.kind, c.volume, c.off, c.data, c.compare = kind, o.v, off, p, compare
	err := o.submit(c, w.FUA)
	c.volume, c.data, c.compare, c.err = nil, nil, nil, nil
	o.e.committer.ops.Put(c)
	if err == nil {
		o.e.counts.writes.Add(1)
		o.e.counts.writtenBytes.Add(uint64(len(p)))
	}
	return err
}

// joined are the ops of WriteAll. Pooled by the engine.
type joined struct {
	from   *caller
	ops    []*op // kept between uses
	writes []*store.Write
}

// add makes an op of a write to v.
func (j *joined) add(v *index.Volume, w *store.Write) {
	n := len(j.writes)
	if n == len(j.ops) {
		j.ops = append(j.ops, &op{from: j.from})
	}
	o := j.ops[n]
	o.kind, o.volume, o.off, o.data = opWrite, v, w.Offset, w.Data
	j.writes = append(j.writes, w)
}

func (e *Engine) recycle(j *joined) {
	for n := range j.writes {
		*j.ops[n] = op{from: j.from}
	}
	clear(j.writes)
	j.writes = j.writes[:0]
	e.joined.Put(j)
}

// WriteAll implements store.Object.
func (o *object) WriteAll(ctx context.Context, writes []store.Write, w store.WriteOptions) {
	j := o.e.joined.Get().(*joined)
	defer o.e.recycle(j)
	open := o.uses.Begin()
	if open {
		defer o.uses.End()
	}
	for i := range writes {
		one := &writes[i]
		if one.Err = store.ErrUnavailable; !open {
			continue
		}
		if one.Err = o.usable(ctx, one.Offset, uint64(len(one.Data)), maxTransfer); one.Err == nil {
			j.add(o.v, one)
		}
	}
	if len(j.writes) == 0 {
		return
	}
	err := o.e.committer.doAll(j.from, j.ops[:len(j.writes)]...)
	if err == nil && (w.FUA || o.e.o.Sync) {
		err = o.e.journal.Flush()
	}
	for n, one := range j.writes {
		if one.Err = cmp.Or(j.ops[n].err, err); one.Err == nil {
			o.e.counts.writes.Add(1)
			o.e.counts.writtenBytes.Add(uint64(len(one.Data)))
		}
	}
}

// Zero implements store.Object: zeros need no space, so that it is Unmap.
func (o *object) Zero(ctx context.Context, off, n uint64, w store.WriteOptions) error {
	return o.Unmap(ctx, off, n, w)
}

// Unmap implements store.Object.
func (o *object) Unmap(ctx context.Context, off, n uint64, w store.WriteOptions) error {
	if err := o.begin(ctx, off, n, maxUnmap); err != nil {
		return err
	}
	defer o.uses.End()
	return o.submit(&op{kind: opUnmap, volume: o.v, off: off, n: n, from: newCaller()}, w.FUA)
}

// holds tells whether a block of a chain has data.
func (e *Engine) holds(l *index.Layer, block uint64) bool {
	e.index.RLock()
	defer e.index.RUnlock()
	return l.Find(block).Data()
}

// Flush implements store.Object.
func (o *object) Flush(ctx context.Context) error {
	if err := o.begin(ctx, 0, 0, 0); err != nil {
		return err
	}
	defer o.uses.End()
	o.e.index.RLock()
	gone := o.v.Gone
	o.e.index.RUnlock()
	if gone {
		return store.ErrGone
	}
	o.e.counts.flushes.Add(1)
	return o.e.journal.Flush()
}

// Close implements store.Object.
func (o *object) Close() error {
	o.closed.Store(true)
	o.uses.Close()
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
			err = o.e.index.Walk(ctx, o.v, other, kind, from, func(r store.Range) bool {
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
func (o *object) base(kind store.RangeKind, id store.ID) (*index.Volume, error) {
	if kind != store.Different {
		return nil, nil
	}
	o.e.index.RLock()
	defer o.e.index.RUnlock()
	other, err := o.e.index.Lookup(id)
	if err != nil {
		return nil, err
	}
	if other.Family != o.v.Family {
		return nil, fmt.Errorf("%w: %v is no relative of %v", store.ErrInvalid, id, o.v.ID)
	}
	return other, nil
}
