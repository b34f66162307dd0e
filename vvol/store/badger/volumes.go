package badger

import (
	"context"
	"fmt"
	"slices"

	bdb "github.com/dgraph-io/badger/v4"

	"vvsim/vvol/store"
)

// change runs f in the committer, where volumes stand still, and returns when
// what it committed is on stable storage.
func (e *Engine) change(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := e.committer.call(f); err != nil {
		return err
	}
	return e.sync.sync()
}

func checkSize(size uint64) error {
	if size == 0 || size%blockSize != 0 || size > maxSize {
		return fmt.Errorf("%w: size %d is not a multiple of %d up to %d", store.ErrInvalid, size, blockSize, uint64(maxSize))
	}
	return nil
}

// Create implements store.Engine.
func (e *Engine) Create(ctx context.Context, id store.ID, o store.CreateOptions) error {
	if err := checkSize(o.Size); err != nil {
		return err
	}
	return e.change(ctx, func() error {
		if old := e.volumes[id]; old != nil {
			if old.origin == (store.ID{}) && old.size == o.Size && old.pool == o.Pool {
				return nil
			}
			return fmt.Errorf("%w: %v", store.ErrExists, id)
		}
		if err := e.room(); err != nil {
			return err
		}
		var p plan
		v := &volume{id: id, size: o.Size, pool: o.Pool}
		l := p.layer(e, nil, o.Pool)
		v.family = l.id
		p.head(v, l)
		return p.commit(e)
	})
}

// plan collects the rows of one change of volumes and layers; memory changes
// after they are committed. Committer only.
type plan struct {
	layers  []*layer
	parents []*layer // of layers, in the same order
	heads   []newHead
	removed *volume
}

type newHead struct {
	v *volume
	l *layer
}

// layer plans a new layer above parent.
func (p *plan) layer(e *Engine, parent *layer, pool store.Pool) *layer {
	l := newLayer(e.nextID.Add(1), nil, pool)
	p.layers, p.parents = append(p.layers, l), append(p.parents, parent)
	return l
}

// head plans that l becomes the head of v, whose row is written.
func (p *plan) head(v *volume, l *layer) { p.heads = append(p.heads, newHead{v, l}) }

func (v *volume) row(head *layer) []byte {
	r := volumeRow{Head: head.id, Size: v.size, Pool: store.ID(v.pool).String(), ReadOnly: v.readOnly, Family: v.family}
	if v.origin != (store.ID{}) {
		r.Origin = v.origin.String()
	}
	return encodeRow(r)
}

func layerRowOf(parent *layer, pool store.Pool) []byte {
	r := layerRow{Pool: store.ID(pool).String()}
	if parent != nil {
		r.Parent = parent.id
	}
	return encodeRow(r)
}

// commit writes the rows, then changes memory.
func (p *plan) commit(e *Engine) error {
	err := e.write(func(tx *bdb.Txn) error {
		for i, l := range p.layers {
			if err := tx.Set(numberKey(keyLayer, l.id), layerRowOf(p.parents[i], l.pool)); err != nil {
				return err
			}
		}
		for _, h := range p.heads {
			if err := tx.Set(volumeKey(h.v.id), h.v.row(h.l)); err != nil {
				return err
			}
		}
		if p.removed != nil {
			return tx.Delete(volumeKey(p.removed.id))
		}
		return nil
	})
	if err != nil {
		return err
	}
	e.maps.Lock()
	defer e.maps.Unlock()
	for i, l := range p.layers {
		if l.parent = p.parents[i]; l.parent != nil {
			l.parent.children++
		}
		e.layers[l.id] = l
	}
	for _, h := range p.heads {
		if h.v.head != nil && h.v.head != h.l {
			h.v.head.volume = nil
		}
		h.v.head, h.l.volume = h.l, h.v
		e.volumes[h.v.id] = h.v
	}
	if v := p.removed; v != nil {
		v.gone, v.head.volume = true, nil
		delete(e.volumes, v.id)
	}
	return nil
}

// Delete implements store.Engine; the collector takes the layers.
func (e *Engine) Delete(ctx context.Context, id store.ID) error {
	return e.change(ctx, func() error {
		v := e.volumes[id]
		if v == nil {
			return nil
		}
		p := plan{removed: v}
		return p.commit(e)
	})
}

// fork checks one source and destination of Snapshot or Clone; exists tells that
// the destination is there with this origin. Committer only.
func (e *Engine) fork(src, dst store.ID) (v *volume, exists bool, err error) {
	if v, err = e.lookup(src); err != nil {
		return nil, false, err
	}
	if old := e.volumes[dst]; old != nil {
		if old.origin == src {
			return v, true, nil
		}
		return nil, false, fmt.Errorf("%w: %v", store.ErrExists, dst)
	}
	if d := v.head.depth(); d >= maxDepth {
		return nil, false, fmt.Errorf("%w: %v has %d layers", store.ErrTooDeep, src, d)
	}
	return v, false, nil
}

// freeze plans a new head for v and returns the layer that is frozen by it. An
// empty head is passed over: it would only make chains longer.
func (p *plan) freeze(e *Engine, v *volume) *layer {
	for _, h := range p.heads {
		if h.v == v {
			return p.parents[slices.Index(p.layers, h.l)] // frozen by this plan already
		}
	}
	if len(v.head.leaves) == 0 && v.head.parent != nil {
		return v.head.parent
	}
	p.head(v, p.layer(e, v.head, v.pool))
	return v.head
}

// Snapshot implements store.Engine: all in one transaction.
func (e *Engine) Snapshot(ctx context.Context, specs []store.SnapshotSpec) error {
	if len(specs) == 0 || len(specs) > maxSnapshot {
		return fmt.Errorf("%w: %d snapshots at once", store.ErrInvalid, len(specs))
	}
	return e.change(ctx, func() error {
		var p plan
		for i, s := range specs {
			v, exists, err := e.fork(s.Source, s.Snapshot)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(specs[:i], func(o store.SnapshotSpec) bool { return o.Snapshot == s.Snapshot }) {
				return fmt.Errorf("%w: %v stands twice", store.ErrInvalid, s.Snapshot)
			}
			if exists {
				continue
			}
			frozen := p.freeze(e, v)
			snapshot := &volume{id: s.Snapshot, size: v.size, pool: v.pool, readOnly: !s.Writable, origin: s.Source, family: v.family}
			p.head(snapshot, p.layer(e, frozen, v.pool))
		}
		return p.commit(e)
	})
}

// Clone implements store.Engine.
func (e *Engine) Clone(ctx context.Context, src, dst store.ID, pool store.Pool) error {
	return e.change(ctx, func() error {
		v, exists, err := e.fork(src, dst)
		if err != nil || exists {
			return err
		}
		var p plan
		frozen := p.freeze(e, v)
		p.head(&volume{id: dst, size: v.size, pool: pool, origin: src, family: v.family}, p.layer(e, frozen, pool))
		return p.commit(e)
	})
}

// Revert implements store.Engine.
func (e *Engine) Revert(ctx context.Context, id, snapshot store.ID) error {
	return e.change(ctx, func() error {
		v, err := e.lookup(id)
		if err != nil {
			return err
		}
		s, err := e.lookup(snapshot)
		if err != nil {
			return err
		}
		switch d := s.head.depth(); {
		case v.family != s.family:
			return fmt.Errorf("%w: %v is no relative of %v", store.ErrInvalid, snapshot, id)
		case v == s:
			return nil
		case d >= maxDepth:
			return fmt.Errorf("%w: %v has %d layers", store.ErrTooDeep, snapshot, d)
		}
		var p plan
		frozen := p.freeze(e, s)
		size := v.size
		e.setSize(v, s.size)
		p.head(v, p.layer(e, frozen, v.pool))
		if err := p.commit(e); err != nil {
			e.setSize(v, size)
			return err
		}
		return nil
	})
}

func (e *Engine) setSize(v *volume, size uint64) {
	e.maps.Lock()
	v.size = size
	e.maps.Unlock()
}

// Resize implements store.Engine. What a smaller size cuts off is zeroed first, so
// that it never comes back.
func (e *Engine) Resize(ctx context.Context, id store.ID, size uint64) error {
	if err := checkSize(size); err != nil {
		return err
	}
	return e.change(ctx, func() error {
		v, err := e.lookup(id)
		if err != nil {
			return err
		}
		if v.readOnly && size != v.size {
			return store.ErrReadOnly
		}
		old := v.size
		e.setSize(v, size)
		var p plan
		p.head(v, v.head)
		if err := p.commit(e); err != nil {
			e.setSize(v, old)
			return err
		}
		if size < old {
			return e.zeroRange(v.head, size/blockSize, old/blockSize)
		}
		return nil
	})
}
