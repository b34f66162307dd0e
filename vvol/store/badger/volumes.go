package badger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"vvsim/vvol/store"
	"vvsim/vvol/store/badger/index"
	"vvsim/vvol/store/badger/journal"
)

// change runs f in the committer, where volumes stand still. What f committed, or found
// that another had, is on stable storage when it returns; others write meanwhile.
func (e *Engine) change(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := e.committer.call(func() error {
		if err := e.awaitRowRoom(); err != nil {
			return err
		}
		e.structure.Lock()
		defer e.structure.Unlock()
		return f()
	})
	if err != nil {
		return err
	}
	return e.settle()
}

// awaitRowRoom waits until the journal has room for the rows of any change, or, while the
// file system is full and nothing drains, for those of a small one: volumes can be deleted,
// and the catalog be told of it. Committer only.
func (e *Engine) awaitRowRoom() error {
	err := e.committer.awaitRoom(maxRowPages)
	if errors.Is(err, store.ErrNoSpace) {
		err = e.committer.awaitRoom(fewRowPages)
	}
	return err
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
		if old := e.index.Volumes[id]; old != nil {
			if old.Origin == (store.ID{}) && old.Size == o.Size && old.Pool == o.Pool {
				return nil
			}
			return fmt.Errorf("%w: %v", store.ErrExists, id)
		}
		if err := e.room(minFree); err != nil {
			return err
		}
		var p index.Change
		v := &index.Volume{ID: id, Size: o.Size, Pool: o.Pool}
		l := p.Layer(e.newID(), nil, o.Pool)
		v.Family = l.ID
		p.Head(v, l, v.Size)
		return e.commit(&p)
	})
}

// commit appends the rows of a change, then changes memory. Committer only.
func (e *Engine) commit(p *index.Change) error {
	var rows []journal.Row
	for i, l := range p.Layers {
		rows = append(rows, journal.Row{Key: numberKey(keyLayer, l.ID), Value: index.EncodeLayer(p.Parents[i], l.Pool, false)})
	}
	for _, h := range p.Heads {
		rows = append(rows, journal.Row{Key: volumeKey(h.Volume.ID), Value: h.Encode()})
	}
	_, err := e.appendRows(rowChange{rows: rows, zeros: p, install: func(end uint64) { e.index.Install(p, end) }})
	return err
}

// forget takes a head that lost its volume out of what is counted of its relatives, in
// steps, so that I/O goes on.
func (e *Engine) forget(l *index.Layer) {
	for done := false; !done; {
		e.index.Lock()
		done = e.index.Forget(l, forgetAtOnce)
		e.index.Unlock()
	}
}

// deletion is the row of a volume that is deleted.
func deletion(id store.ID) []journal.Row { return []journal.Row{{Key: volumeKey(id)}} }

// Delete implements store.Engine; the collector takes the layers, once Badger has its row.
func (e *Engine) Delete(ctx context.Context, id store.ID) error {
	var head *index.Layer
	err := e.change(ctx, func() error {
		v := e.index.Volumes[id]
		if v == nil {
			return nil
		}
		_, err := e.appendRows(rowChange{rows: deletion(id), install: func(end uint64) { head = e.index.Remove(v, end) }})
		return err
	})
	if err == nil && head != nil {
		e.forget(head)
	}
	return err
}

// fork checks one source and destination of Snapshot or Clone; exists tells that
// the destination is there with this origin. Committer only.
func (e *Engine) fork(src, dst store.ID) (v *index.Volume, exists bool, err error) {
	if v, err = e.index.Lookup(src); err != nil {
		return nil, false, err
	}
	if old := e.index.Volumes[dst]; old != nil {
		if old.Origin == src {
			return v, true, nil
		}
		return nil, false, fmt.Errorf("%w: %v", store.ErrExists, dst)
	}
	if d := v.Head.Depth(); d >= maxDepth {
		return nil, false, fmt.Errorf("%w: %v has %d layers", store.ErrTooDeep, src, d)
	}
	return v, false, nil
}

// deepened runs a change that makes chains longer. Where one is too long and has
// layers that are about to be merged, it waits for them.
func (e *Engine) deepened(ctx context.Context, f func() error) error {
	deadline := time.Now().Add(maxMergeWait)
	for {
		err := e.change(ctx, f)
		if !errors.Is(err, store.ErrTooDeep) || !e.shrinking() || time.Now().After(deadline) {
			return err
		}
		if err := e.drainer.awaitCollection(ctx); err != nil {
			return err
		}
	}
}

// shrinking tells whether layers wait for the collector.
func (e *Engine) shrinking() bool {
	e.index.RLock()
	defer e.index.RUnlock()
	return e.index.Shrinking()
}

// Snapshot implements store.Engine: all in one transaction.
func (e *Engine) Snapshot(ctx context.Context, specs []store.SnapshotSpec) error {
	if len(specs) == 0 || len(specs) > maxSnapshot {
		return fmt.Errorf("%w: %d snapshots at once", store.ErrInvalid, len(specs))
	}
	return e.deepened(ctx, func() error {
		var p index.Change
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
			frozen := p.Freeze(v, e.newID)
			snapshot := &index.Volume{ID: s.Snapshot, Size: v.Size, Pool: v.Pool, ReadOnly: !s.Writable, Origin: s.Source, Family: v.Family}
			p.Head(snapshot, p.Layer(e.newID(), frozen, v.Pool), v.Size)
		}
		return e.commit(&p)
	})
}

// Clone implements store.Engine.
func (e *Engine) Clone(ctx context.Context, src, dst store.ID, pool store.Pool) error {
	return e.deepened(ctx, func() error {
		v, exists, err := e.fork(src, dst)
		if err != nil || exists {
			return err
		}
		var p index.Change
		frozen := p.Freeze(v, e.newID)
		clone := &index.Volume{ID: dst, Size: v.Size, Pool: pool, Origin: src, Family: v.Family}
		p.Head(clone, p.Layer(e.newID(), frozen, pool), v.Size)
		return e.commit(&p)
	})
}

// Revert implements store.Engine.
func (e *Engine) Revert(ctx context.Context, id, snapshot store.ID) error {
	var left *index.Layer
	err := e.deepened(ctx, func() error {
		v, err := e.index.Lookup(id)
		if err != nil {
			return err
		}
		s, err := e.index.Lookup(snapshot)
		if err != nil {
			return err
		}
		switch d := s.Head.Depth(); {
		case v.Family != s.Family:
			return fmt.Errorf("%w: %v is no relative of %v", store.ErrInvalid, snapshot, id)
		case v == s:
			return nil
		case d >= maxDepth:
			return fmt.Errorf("%w: %v has %d layers", store.ErrTooDeep, snapshot, d)
		}
		var p index.Change
		frozen := p.Freeze(s, e.newID)
		left = v.Head
		p.Head(v, p.Layer(e.newID(), frozen, v.Pool), s.Size)
		return e.commit(&p)
	})
	if err == nil && left != nil {
		e.forget(left)
	}
	return err
}

// SetPool implements store.Engine.
func (e *Engine) SetPool(ctx context.Context, id store.ID, pool store.Pool) error {
	return e.change(ctx, func() error {
		v, err := e.index.Lookup(id)
		if err != nil || v.Pool == pool {
			return err
		}
		moved := *v
		moved.Pool = pool
		head := index.NewHead{Volume: &moved, Layer: v.Head, Size: v.Size}
		_, err = e.appendRows(rowChange{rows: []journal.Row{
			{Key: numberKey(keyLayer, v.Head.ID), Value: index.EncodeLayer(v.Head.Parent, pool, v.Head.Merging)},
			{Key: volumeKey(id), Value: head.Encode()},
		}, install: func(end uint64) { e.index.SetPool(v, pool, end) }})
		return err
	})
}

// Resize implements store.Engine. What lies between the sizes is zeroed with the change,
// so that what a smaller size cuts off never comes back.
func (e *Engine) Resize(ctx context.Context, id store.ID, size uint64) error {
	if err := checkSize(size); err != nil {
		return err
	}
	return e.change(ctx, func() error {
		v, err := e.index.Lookup(id)
		if err != nil {
			return err
		}
		if v.ReadOnly && size != v.Size {
			return store.ErrReadOnly
		}
		p := index.Change{Zero: index.Span{First: min(size, v.Size) / blockSize, Last: max(size, v.Size) / blockSize}}
		p.Head(v, v.Head, size)
		return e.commit(&p)
	})
}
