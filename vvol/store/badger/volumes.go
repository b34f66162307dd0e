package badger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	bdb "github.com/dgraph-io/badger/v4"

	"vvsim/vvol/store"
	"vvsim/vvol/store/badger/index"
	"vvsim/vvol/store/badger/journal"
)

// change runs f in the committer, where volumes stand still. What f committed is on
// stable storage then.
func (e *Engine) change(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return e.committer.call(func() error {
		if err := e.committer.awaitRoom(maxRowPages); err != nil {
			return err
		}
		e.structure.Lock()
		defer e.structure.Unlock()
		return f()
	})
}

// writeRows puts rows first on stable storage in the journal and then into Badger,
// so that Badger never holds one that a power cut takes from the journal. The caller
// has waited for room of maxRowPages. It returns the end of the group. Committer only.
func (e *Engine) writeRows(rows []journal.Row) (page uint64, err error) {
	if err := e.room(minFreeForRows); err != nil {
		return 0, err
	}
	blob := journal.EncodeRows(rows)
	length := uint64(len(blob))
	if length > maxRows {
		return 0, fmt.Errorf("%w: %d bytes of rows", store.ErrTooBig, length)
	}
	blob = append(blob, make([]byte, -length%journal.PageSize)...)
	pages := uint64(len(blob)) / journal.PageSize
	found, err := e.journal.Append([]journal.Run{{Kind: journal.Rows, First: length, Count: uint32(pages)}}, [][]byte{blob})
	if err != nil {
		return 0, err
	}
	if err := e.journal.Flush(); err != nil {
		return 0, err
	}
	err = e.write(func(tx *bdb.Txn) error { return setRows(tx, rows) })
	if err != nil {
		return 0, e.journal.Fail(err) // the journal says otherwise: only a restart makes them agree
	}
	e.index.Lock()
	e.pending.push(group{Group: found})
	e.index.Unlock()
	return found.End, nil
}

func setRows(tx *bdb.Txn, rows []journal.Row) error {
	for _, r := range rows {
		if r.Value == nil {
			if err := tx.Delete(r.Key); err != nil {
				return err
			}
			continue
		}
		if err := tx.Set(r.Key, r.Value); err != nil {
			return err
		}
	}
	return nil
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
		p.Head(v, l)
		return e.commit(&p)
	})
}

func volumeRowOf(v *index.Volume, head *index.Layer) []byte {
	r := volumeRow{Head: head.ID, Size: v.Size, Pool: store.ID(v.Pool).String(), ReadOnly: v.ReadOnly, Family: v.Family}
	if v.Origin != (store.ID{}) {
		r.Origin = v.Origin.String()
	}
	return encodeRow(r)
}

func layerRowOf(parent *index.Layer, pool store.Pool, merging bool) []byte {
	r := layerRow{Pool: store.ID(pool).String(), Merging: merging}
	if parent != nil {
		r.Parent = parent.ID
	}
	return encodeRow(r)
}

// commit writes the rows of a change, then changes memory. Committer only.
func (e *Engine) commit(p *index.Change) error {
	var rows []journal.Row
	for i, l := range p.Layers {
		rows = append(rows, journal.Row{Key: numberKey(keyLayer, l.ID), Value: layerRowOf(p.Parents[i], l.Pool, false)})
	}
	for _, h := range p.Heads {
		rows = append(rows, journal.Row{Key: volumeKey(h.Volume.ID), Value: volumeRowOf(h.Volume, h.Layer)})
	}
	if p.Removed != nil {
		rows = append(rows, journal.Row{Key: volumeKey(p.Removed.ID)})
	}
	page, err := e.writeRows(rows)
	if err != nil {
		return err
	}
	e.index.Lock()
	defer e.index.Unlock()
	e.index.Install(p, page)
	return nil
}

// Delete implements store.Engine; the collector takes the layers.
func (e *Engine) Delete(ctx context.Context, id store.ID) error {
	return e.change(ctx, func() error {
		v := e.index.Volumes[id]
		if v == nil {
			return nil
		}
		p := index.Change{Removed: v}
		return e.commit(&p)
	})
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
			p.Head(snapshot, p.Layer(e.newID(), frozen, v.Pool))
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
		p.Head(&index.Volume{ID: dst, Size: v.Size, Pool: pool, Origin: src, Family: v.Family}, p.Layer(e.newID(), frozen, pool))
		return e.commit(&p)
	})
}

// Revert implements store.Engine.
func (e *Engine) Revert(ctx context.Context, id, snapshot store.ID) error {
	return e.deepened(ctx, func() error {
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
		size := v.Size
		e.setSize(v, s.Size)
		p.Head(v, p.Layer(e.newID(), frozen, v.Pool))
		if err := e.commit(&p); err != nil {
			e.setSize(v, size)
			return err
		}
		return nil
	})
}

func (e *Engine) setSize(v *index.Volume, size uint64) {
	e.index.Lock()
	v.Size = size
	e.index.Unlock()
}

// Resize implements store.Engine. What a smaller size cuts off never comes back.
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
		old := v.Size
		// What lies between the sizes is zeroed before it can be seen, and after it
		// cannot be seen any more.
		if size > old {
			if err := e.committer.zeroNow(v.Head, old/blockSize, size/blockSize); err != nil {
				return err
			}
		}
		e.setSize(v, size)
		var p index.Change
		p.Head(v, v.Head)
		if err := e.commit(&p); err != nil {
			e.setSize(v, old)
			return err
		}
		if size < old {
			// The size has changed, come what may: growth zeros what this leaves.
			_ = e.committer.zeroNow(v.Head, size/blockSize, old/blockSize)
		}
		return nil
	})
}
