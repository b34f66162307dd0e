package fault

import (
	"context"
	"errors"

	"vvsim/fault/command"
	"vvsim/vvol"
	"vvsim/vvol/store"
)

// Engine is a store.Engine whose I/O rules of layer engine break. Only the Objects that
// it opens are broken; what changes volumes as a whole is not. Safe for concurrent use.
type Engine struct {
	store.Engine
	i *Injector
}

// NewEngine decorates e.
func (i *Injector) NewEngine(e store.Engine) *Engine { return &Engine{e, i} }

// Open implements store.Engine.
func (e *Engine) Open(ctx context.Context, id store.ID) (store.Object, error) {
	o, err := e.Engine.Open(ctx, id)
	if err != nil {
		return nil, err
	}
	return &object{o, e.i}, nil
}

// object is one open volume.
type object struct {
	store.Object
	i *Injector
}

// errInjected is the cause of a medium error that a rule made.
var errInjected = errors.New("a fault rule says so")

// meet finds the first rule that breaks an access, waits as long as it delays and returns
// its error, or the rule when it corrupts.
func (o *object) meet(ctx context.Context, c command.Class, off, n uint64) (spoils *Rule, err error) {
	rules := o.i.engines.Load()
	if rules == nil {
		return nil, nil
	}
	for _, e := range *rules {
		if !e.breaks(c) || !e.reaches(off, n) || !o.i.concerns(e.Rule, vvol.ID(o.ID())) {
			continue
		}
		at := off
		if e.bad != nil {
			bad, ok := e.bad.First(blocksAt(off, n))
			if !ok {
				continue
			}
			at = max(off, bad*blockLength)
		}
		if o.i.strike(e) {
			return e.strike(ctx, c, at)
		}
	}
	return nil, nil
}

// blocksAt are the blocks of n bytes at off.
func blocksAt(off, n uint64) (lba, blocks uint64) {
	lba = off / blockLength
	return lba, (off+n+blockLength-1)/blockLength - lba
}

// reaches tells whether a rule means one of the blocks of n bytes at off.
func (r *Rule) reaches(off, n uint64) bool {
	if r.blocks == nil {
		return true
	}
	lba, blocks := blocksAt(off, n)
	return blocks > 0 && lba <= r.blocks.Last && lba+blocks > r.blocks.First
}

// written heals what was bad of n bytes at off.
func (o *object) written(off, n uint64) {
	rules := o.i.engines.Load()
	if rules == nil {
		return
	}
	for _, e := range *rules {
		if e.bad != nil && o.i.concerns(e.Rule, vvol.ID(o.ID())) {
			e.bad.Heal(blocksAt(off, n))
		}
	}
}

// breaks tells whether a rule means a class of accesses, and its action can happen there.
func (e *entry) breaks(c command.Class) bool {
	named := c
	if c == command.Empty || c == command.Free {
		named = command.Write
	}
	if e.op.Class != command.Any && e.op.Class != named {
		return false
	}
	switch e.action.kind {
	case mediumError:
		return e.bad == nil || c == command.Read
	case noSpace:
		return named == command.Write && c != command.Free
	case corrupt:
		return c == command.Read || c == command.Write
	}
	return true
}

func (e *entry) strike(ctx context.Context, c command.Class, off uint64) (*Rule, error) {
	switch e.action.kind {
	case mediumError:
		return nil, &store.MediumError{Offset: off, Write: c != command.Read, Err: errInjected}
	case noSpace:
		return nil, errors.Join(store.ErrNoSpace, errInjected)
	case delay:
		if !e.wait(ctx.Done()) {
			return nil, ctx.Err()
		}
	case corrupt:
		return e.Rule, nil
	}
	return nil, nil
}

// spoilt is p as a rule corrupts it, p itself without one.
func spoilt(r *Rule, p []byte, off uint64) []byte {
	if r == nil {
		return p
	}
	p = append([]byte(nil), p...)
	r.spoil(p, off/blockLength)
	return p
}

func (o *object) ReadAt(ctx context.Context, p []byte, off uint64) error {
	r, err := o.meet(ctx, command.Read, off, uint64(len(p)))
	if err != nil {
		return err
	}
	if err := o.Object.ReadAt(ctx, p, off); err != nil {
		return err
	}
	if r != nil {
		r.spoil(p, off/blockLength)
	}
	return nil
}

func (o *object) WriteAt(ctx context.Context, p []byte, off uint64, w store.WriteOptions) error {
	r, err := o.meet(ctx, command.Write, off, uint64(len(p)))
	if err != nil {
		return err
	}
	if err = o.Object.WriteAt(ctx, spoilt(r, p, off), off, w); err == nil {
		o.written(off, uint64(len(p)))
	}
	return err
}

// WriteAll is one write after the other while there are rules: each fails by itself.
func (o *object) WriteAll(ctx context.Context, writes []store.Write, w store.WriteOptions) {
	if o.i.engines.Load() == nil {
		o.Object.WriteAll(ctx, writes, w)
		return
	}
	for k := range writes {
		writes[k].Err = o.WriteAt(ctx, writes[k].Data, writes[k].Offset, w)
	}
}

func (o *object) CompareAndWrite(ctx context.Context, compare, data []byte, off uint64, w store.WriteOptions) error {
	r, err := o.meet(ctx, command.Write, off, uint64(len(data)))
	if err == nil {
		err = o.readable(off, uint64(len(data)))
	}
	if err != nil {
		return err
	}
	return o.Object.CompareAndWrite(ctx, compare, spoilt(r, data, off), off, w)
}

// readable fails where a rule says that blocks can't be read, for operations that read
// beside what they write.
func (o *object) readable(off, n uint64) error {
	rules := o.i.engines.Load()
	if rules == nil {
		return nil
	}
	for _, e := range *rules {
		if e.bad == nil || !o.i.concerns(e.Rule, vvol.ID(o.ID())) {
			continue
		}
		if bad, ok := e.bad.First(blocksAt(off, n)); ok && o.i.strike(e) {
			return &store.MediumError{Offset: max(off, bad*blockLength), Err: errInjected}
		}
	}
	return nil
}

// change does a write that carries no data.
func (o *object) change(ctx context.Context, c command.Class, off, n uint64, do func() error) error {
	if _, err := o.meet(ctx, c, off, n); err != nil {
		return err
	}
	err := do()
	if err == nil {
		o.written(off, n)
	}
	return err
}

func (o *object) Zero(ctx context.Context, off, n uint64, w store.WriteOptions) error {
	return o.change(ctx, command.Empty, off, n, func() error { return o.Object.Zero(ctx, off, n, w) })
}

func (o *object) Unmap(ctx context.Context, off, n uint64, w store.WriteOptions) error {
	return o.change(ctx, command.Free, off, n, func() error { return o.Object.Unmap(ctx, off, n, w) })
}

func (o *object) CopyFrom(ctx context.Context, off uint64, src store.Object, srcOff, n uint64) error {
	return o.change(ctx, command.Empty, off, n, func() error {
		if s, ok := src.(*object); ok {
			if err := s.readable(srcOff, n); err != nil {
				return err
			}
			src = s.Object // belongs to the engine behind, as ours does
		}
		return o.Object.CopyFrom(ctx, off, src, srcOff, n)
	})
}

func (o *object) Flush(ctx context.Context) error {
	if _, err := o.meet(ctx, command.Flush, 0, 0); err != nil {
		return err
	}
	return o.Object.Flush(ctx)
}

var (
	_ store.Engine = (*Engine)(nil)
	_ store.Object = (*object)(nil)
)
