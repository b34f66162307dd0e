package fault

import (
	"context"
	"errors"

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
func (o *object) meet(ctx context.Context, c class, off uint64) (spoils *Rule, err error) {
	rules := o.i.engines.Load()
	if rules == nil {
		return nil, nil
	}
	for _, e := range *rules {
		if e.breaks(c) && o.i.concerns(e.Rule, vvol.ID(o.ID())) && o.i.strike(e) {
			return e.strike(ctx, c, off)
		}
	}
	return nil, nil
}

// breaks tells whether a rule means a class of accesses, and its action can happen there.
func (e *entry) breaks(c class) bool {
	named := c
	if c == emptyClass {
		named = writeClass
	}
	if e.op.class != anyClass && e.op.class != named {
		return false
	}
	switch e.action.kind {
	case noSpace:
		return named == writeClass
	case corrupt:
		return c == readClass || c == writeClass
	}
	return true
}

func (e *entry) strike(ctx context.Context, c class, off uint64) (*Rule, error) {
	switch e.action.kind {
	case mediumError:
		return nil, &store.MediumError{Offset: off, Write: c != readClass, Err: errInjected}
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
	r, err := o.meet(ctx, readClass, off)
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
	r, err := o.meet(ctx, writeClass, off)
	if err != nil {
		return err
	}
	return o.Object.WriteAt(ctx, spoilt(r, p, off), off, w)
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
	r, err := o.meet(ctx, writeClass, off)
	if err != nil {
		return err
	}
	return o.Object.CompareAndWrite(ctx, compare, spoilt(r, data, off), off, w)
}

// change is meet of writes that carry no data.
func (o *object) change(ctx context.Context, off uint64) error {
	_, err := o.meet(ctx, emptyClass, off)
	return err
}

func (o *object) Zero(ctx context.Context, off, n uint64, w store.WriteOptions) error {
	if err := o.change(ctx, off); err != nil {
		return err
	}
	return o.Object.Zero(ctx, off, n, w)
}

func (o *object) Unmap(ctx context.Context, off, n uint64, w store.WriteOptions) error {
	if err := o.change(ctx, off); err != nil {
		return err
	}
	return o.Object.Unmap(ctx, off, n, w)
}

func (o *object) CopyFrom(ctx context.Context, off uint64, src store.Object, srcOff, n uint64) error {
	if err := o.change(ctx, off); err != nil {
		return err
	}
	if s, ok := src.(*object); ok {
		src = s.Object // belongs to the engine behind, as ours does
	}
	return o.Object.CopyFrom(ctx, off, src, srcOff, n)
}

func (o *object) Flush(ctx context.Context) error {
	if _, err := o.meet(ctx, flushClass, 0); err != nil {
		return err
	}
	return o.Object.Flush(ctx)
}

var (
	_ store.Engine = (*Engine)(nil)
	_ store.Object = (*object)(nil)
)
