package storetest

import (
	"errors"
	"fmt"
	"slices"

	"vvsim/vvol/store"
)

// demand wants an error of a kind.
func demand(err, kind error) error {
	if errors.Is(err, kind) {
		return nil
	}
	return fmt.Errorf("got %w, want %w", errOrNone(err), kind)
}

var errNone = errors.New("no error")

func errOrNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

// target draws a volume that may be written, an object of it and a range.
func (w *walk) target() (v *volume, o store.Object, off, n uint64, err error) {
	if v = w.pick(writable); v == nil {
		return nil, nil, 0, 0, nil
	}
	o, err = w.object(v)
	off, n = w.span(v)
	return v, o, off, n, err
}

func (w *walk) write() error {
	v, o, off, n, err := w.target()
	if v == nil || err != nil {
		return err
	}
	p := w.data(n)
	if w.r.IntN(12) == 0 {
		clear(p) // zeros, which an engine may or may not keep
	}
	w.note("write %s %d+%d tag %d", w.name(v.id), off, n, w.tag)
	if err := o.WriteAt(w.ctx, p, off, w.options()); err != nil {
		return err
	}
	w.m.write(v, off, p)
	return nil
}

func (w *walk) read() error {
	v := w.pick(anyVolume)
	if v == nil {
		return nil
	}
	o, err := w.object(v)
	if err != nil {
		return err
	}
	off, n := w.span(v)
	w.note("read %s %d+%d", w.name(v.id), off, n)
	p := pattern(n, 0xdead) // dirty
	if err := o.ReadAt(w.ctx, p, off); err != nil {
		return err
	}
	return compare(p, w.m.read(v, off, n), off)
}

func (w *walk) unmap() error {
	v, o, off, n, err := w.target()
	if v == nil || err != nil {
		return err
	}
	w.note("unmap %s %d+%d", w.name(v.id), off, n)
	if err := o.Unmap(w.ctx, off, n, w.options()); err != nil {
		return err
	}
	w.m.unmap(v, off, n)
	return nil
}

func (w *walk) zero() error {
	v, o, off, n, err := w.target()
	if v == nil || err != nil {
		return err
	}
	w.note("zero %s %d+%d", w.name(v.id), off, n)
	if err := o.Zero(w.ctx, off, n, w.options()); err != nil {
		return err
	}
	w.m.write(v, off, make([]byte, n))
	return nil
}

func (w *walk) compareAndWrite() error {
	v, o, off, n, err := w.target()
	if v == nil || err != nil {
		return err
	}
	p, present := w.data(n), w.m.read(v, off, n)
	if w.r.IntN(3) > 0 {
		w.note("compare and write %s %d+%d tag %d", w.name(v.id), off, n, w.tag)
		if err := o.CompareAndWrite(w.ctx, present, p, off, w.options()); err != nil {
			return err
		}
		w.m.write(v, off, p)
		return nil
	}
	at := w.r.Uint64N(n)
	present[at]++
	w.note("compare and write %s %d+%d with a wrong byte %d", w.name(v.id), off, n, at)
	err = o.CompareAndWrite(w.ctx, present, p, off, w.options())
	var m *store.MiscompareError
	if !errors.As(err, &m) || m.Offset != at {
		return fmt.Errorf("got %w, want a miscompare at %d", errOrNone(err), at)
	}
	return nil
}

func (w *walk) copy() error {
	v, o, off, n, err := w.target()
	if v == nil || err != nil {
		return err
	}
	src := w.pick(func(s *volume) bool { return w.m.size(s) >= n })
	s, err := w.object(src)
	if err != nil {
		return err
	}
	if src == v {
		o = s
	}
	srcOff := off
	if srcOff+n > w.m.size(src) || w.r.IntN(3) > 0 {
		unit := w.m.bs
		if w.r.IntN(3) == 0 {
			unit = sector
		}
		srcOff = w.r.Uint64N((w.m.size(src)-n)/unit+1) * unit
	}
	w.note("copy %s %d+%d from %s %d", w.name(v.id), off, n, w.name(src.id), srcOff)
	if err := o.CopyFrom(w.ctx, off, s, srcOff, n); err != nil {
		return err
	}
	w.m.copyFrom(v, off, src, srcOff, n)
	return nil
}

func (w *walk) create() error {
	if len(w.m.volumes) >= maxVolumes {
		return w.delete()
	}
	id, blocks, pool := w.id(), 1+w.r.Uint64N(maxBlocks), w.pools[w.r.IntN(2)]
	w.note("create %s of %d blocks", w.name(id), blocks)
	if err := w.e.Create(w.ctx, id, store.CreateOptions{Size: blocks * w.m.bs, Pool: pool}); err != nil {
		return err
	}
	w.m.create(id, blocks, pool)
	return nil
}

func (w *walk) delete() error {
	if len(w.m.volumes) < 3 {
		return nil
	}
	return w.remove(w.pick(anyVolume))
}

// tooDeep tells whether an error is ErrTooDeep with reason.
func (w *walk) tooDeep(err error, id store.ID) bool {
	if !errors.Is(err, store.ErrTooDeep) {
		return false
	}
	info, statErr := w.e.Stat(w.ctx, id)
	return statErr == nil && info.Depth >= w.e.Limits().MaxDepth-1
}

func (w *walk) snapshot() error {
	var specs []store.SnapshotSpec
	for range 1 + w.r.IntN(3) {
		if len(w.m.volumes)+len(specs) >= maxVolumes {
			break
		}
		v := w.pick(anyVolume)
		specs = append(specs, store.SnapshotSpec{Source: v.id, Snapshot: w.id(), Writable: w.r.IntN(4) == 0})
		w.note("snapshot %s as %s, writable %v", w.name(v.id), w.name(specs[len(specs)-1].Snapshot), specs[len(specs)-1].Writable)
	}
	if len(specs) == 0 {
		return w.delete()
	}
	if w.r.IntN(8) == 0 {
		w.note("… with one that is not there")
		bad := append(slices.Clone(specs), store.SnapshotSpec{Source: w.id(), Snapshot: w.id()})
		return demand(w.e.Snapshot(w.ctx, bad), store.ErrNotFound)
	}
	if err := w.e.Snapshot(w.ctx, specs); err != nil {
		if slices.ContainsFunc(specs, func(s store.SnapshotSpec) bool { return w.tooDeep(err, s.Source) }) {
			return nil
		}
		return err
	}
	for _, s := range specs {
		v := w.m.volumes[s.Source]
		w.m.fork(v, s.Snapshot, v.pool, !s.Writable)
	}
	return nil
}

func (w *walk) clone() error {
	if len(w.m.volumes) >= maxVolumes {
		return w.delete()
	}
	v, id, pool := w.pick(anyVolume), w.id(), w.pools[w.r.IntN(2)]
	w.note("clone %s as %s", w.name(v.id), w.name(id))
	if err := w.e.Clone(w.ctx, v.id, id, pool); err != nil {
		if w.tooDeep(err, v.id) {
			return nil
		}
		return err
	}
	w.m.fork(v, id, pool, false)
	return nil
}

func (w *walk) revert() error {
	v := w.pick(writable)
	if v == nil {
		return nil
	}
	s := w.pick(func(s *volume) bool { return s.family == v.family || w.r.IntN(8) == 0 })
	w.note("revert %s to %s", w.name(v.id), w.name(s.id))
	err := w.e.Revert(w.ctx, v.id, s.id)
	switch {
	case s.family != v.family:
		return demand(err, store.ErrInvalid)
	case err != nil && w.tooDeep(err, s.id):
		return nil
	case err != nil:
		return err
	}
	v.cells = slices.Clone(s.cells)
	return nil
}

func (w *walk) resize() error {
	v := w.pick(writable)
	if v == nil {
		return nil
	}
	blocks := 1 + w.r.Uint64N(maxBlocks)
	w.note("resize %s to %d blocks", w.name(v.id), blocks)
	if err := w.e.Resize(w.ctx, v.id, blocks*w.m.bs); err != nil {
		return err
	}
	w.m.resize(v, blocks)
	return nil
}

// setPool moves a volume to one of the pools, and what it holds in place with it.
func (w *walk) setPool() error {
	v, to := w.pick(anyVolume), w.r.IntN(2)
	w.note("set pool %d of %s", to, w.name(v.id))
	before, err := w.e.Stat(w.ctx, v.id)
	if err != nil {
		return err
	}
	if err := w.e.SetPool(w.ctx, v.id, w.pools[to]); err != nil {
		return err
	}
	v.pool = w.pools[to]
	if used := w.e.PoolUsage(v.pool); used < before.InPlace {
		return fmt.Errorf("pool holds %d bytes after %d came", used, before.InPlace)
	}
	return nil
}

func (w *walk) checkOne() error {
	v := w.pick(anyVolume)
	w.note("check %s", w.name(v.id))
	return w.check(v)
}

func (w *walk) flush() error {
	v := w.pick(anyVolume)
	o, err := w.object(v)
	if err != nil {
		return err
	}
	return o.Flush(w.ctx)
}

// repeat makes a change that was made before: it succeeds and changes nothing. Or
// one that differs in its origin, which is refused.
func (w *walk) repeat() error {
	v := w.pick(forked)
	if v == nil {
		return w.e.Delete(w.ctx, w.id())
	}
	src := w.m.volumes[v.origin]
	if src == nil || w.r.IntN(3) == 0 {
		w.note("create where %s is", w.name(v.id))
		return demand(w.e.Create(w.ctx, v.id, store.CreateOptions{Size: w.m.size(v), Pool: v.pool}), store.ErrExists)
	}
	w.note("make %s again", w.name(v.id))
	if v.readOnly {
		return w.e.Snapshot(w.ctx, []store.SnapshotSpec{{Source: v.origin, Snapshot: v.id}})
	}
	return w.e.Clone(w.ctx, v.origin, v.id, v.pool)
}

// readOnly tries to change a read-only snapshot.
func (w *walk) readOnly() error {
	v := w.pick(protected)
	if v == nil {
		return nil
	}
	o, err := w.object(v)
	if err != nil {
		return err
	}
	off, n := w.span(v)
	w.note("change %s, which is read-only", w.name(v.id))
	for _, c := range changes() {
		if err := demand(c.call(w.ctx, o, off, n), store.ErrReadOnly); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

func (w *walk) outOfRange() error {
	v := w.pick(writable)
	if v == nil {
		return nil
	}
	o, err := w.object(v)
	if err != nil {
		return err
	}
	off := w.r.Uint64N(w.m.size(v)/sector) * sector
	n := w.m.size(v) - off + (1+w.r.Uint64N(8))*sector
	w.note("go beyond the end of %s: %d+%d", w.name(v.id), off, n)
	for _, c := range changes() {
		if err := demand(c.call(w.ctx, o, off, n), store.ErrOutOfRange); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return demand(o.ReadAt(w.ctx, make([]byte, n), off), store.ErrOutOfRange)
}
