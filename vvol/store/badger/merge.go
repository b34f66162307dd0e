package badger

import (
	"cmp"
	"errors"
	"slices"

	bdb "github.com/dgraph-io/badger/v4"

	"vvsim/vvol/store/badger/index"
	"vvsim/vvol/store/badger/places"
)

// mergeLayers goes on with the merge that runs, or begins one, and changes the layer
// of at most n records. Drainer only.
//
// A frozen layer with one child and no volume is merged into the child: its records
// change their layer, in several transactions. Its row says so first, so that it
// gets no other child, also after a crash. It and the child's zeros are on stable
// storage before, so that no block of it is given up for one that a power cut takes.
func (d *drainer) mergeLayers(n int) error {
	for n > 0 {
		l, err := d.mergeable()
		if l == nil || err != nil {
			return err
		}
		if ready, page := d.ready(l); !ready {
			if err := d.drainTo(page); err != nil {
				return err
			}
		}
		done, err := d.retag(l, min(n, mergeBatch))
		if errors.Is(err, errUnsettled) {
			return nil // another time
		}
		if err != nil {
			return err
		}
		if n -= max(done, 1); done > 0 {
			continue
		}
		if finished, err := d.finishMerge(l); err != nil || !finished {
			return err
		}
	}
	return nil
}

// mergeable returns the layer that is being merged, or one whose row now says so. It gets
// no other child from when it is chosen, so that changes of volumes need not wait for its
// row.
func (d *drainer) mergeable() (*index.Layer, error) {
	e := d.e
	victim, begun := d.chooseMerge()
	if victim == nil || !begun {
		return victim, nil
	}
	err := e.write(func(tx *bdb.Txn) error {
		return tx.Set(numberKey(keyLayer, victim.ID), index.EncodeLayer(victim.Parent, victim.Pool, true))
	})
	if err != nil {
		e.structure.Lock()
		defer e.structure.Unlock()
		e.index.Lock()
		defer e.index.Unlock()
		victim.Merging = false
		return nil, err
	}
	return victim, nil
}

// chooseMerge tells whether the merge of the layer that it returns has just begun.
func (d *drainer) chooseMerge() (victim *index.Layer, begun bool) {
	e := d.e
	e.structure.Lock()
	defer e.structure.Unlock()
	e.index.Lock()
	defer e.index.Unlock()
	victim = e.index.Mergeable(e.journal.Tail())
	if begun = victim != nil && !victim.Merging; begun {
		victim.Merging = true
	}
	return victim, begun
}

// errUnsettled is a child that was zeroed while its parent was merged into it.
var errUnsettled = errors.New("zeros are not on stable storage yet")

// ready tells whether a layer and its child's zeros are on stable storage, and the page
// of the journal before which they lie.
func (d *drainer) ready(l *index.Layer) (ready bool, page uint64) {
	d.e.index.RLock()
	defer d.e.index.RUnlock()
	return d.settled(l) && d.zerosSettled(l.Child()), max(l.LastPage, l.Child().ZeroPage)
}

// retag makes some records of a layer records of its child, on disk and in memory. It
// fails with errUnsettled, and changes nothing, when the layer is not ready.
func (d *drainer) retag(l *index.Layer, n int) (int, error) {
	e := d.e
	if ready, _ := d.ready(l); !ready {
		return 0, errUnsettled
	}
	e.index.RLock()
	ids := l.Records(n)
	e.index.RUnlock()
	if len(ids) == 0 {
		return 0, nil
	}
	slices.SortFunc(ids, cmp.Compare)
	blocks := make([][]uint64, len(ids))
	err := e.write(func(tx *bdb.Txn) error {
		for i, id := range ids {
			t, err := places.Entry(tx, numberKey(keyEntry, id))
			if err != nil {
				return err
			}
			blocks[i] = slices.Clone(t.Blocks)
			e.index.RLock()
			settled := d.zerosSettled(l.Child()) // what Dismiss relies on
			l.Dismiss(id, &t)
			e.index.RUnlock()
			if !settled {
				return errUnsettled
			}
			t.Layer = l.Child().ID
			if err := tx.Set(numberKey(keyEntry, id), t.Encode()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for i := 0; i < len(ids); {
		e.index.Lock()
		for range min(moveUpAtOnce, len(ids)-i) {
			e.index.MoveUp(l, ids[i], blocks[i])
			i++
		}
		e.index.Unlock()
	}
	return len(ids), nil
}

// finishMerge takes over the zeros of the layer that no record of the child
// overrides, hands the child the layer's parent, and drops the layer. All records of
// the child are on stable storage then.
func (d *drainer) finishMerge(l *index.Layer) (finished bool, err error) {
	e := d.e
	child := l.Child()
	// The sync of drainTo also keeps the layer's row until its records' new entries are on
	// stable storage: Badger's logs may lose an older transaction and keep a newer one.
	e.index.RLock()
	page := child.RowPage
	e.index.RUnlock()
	if err := d.drainTo(page); err != nil {
		return false, err
	}
	ready := func() bool { // else a row is in the journal, and would come back
		return child.RowPage <= e.journal.Tail() && l.Children() == 1
	}
	t := index.ZeroEntry{ID: e.newID(), Layer: child.ID, Kept: true}
	e.index.RLock()
	if finished = ready(); finished && l.Parent != nil {
		// Older than the records of the child, one of which may be what a block falls back
		// to when a power cut takes its newer copy from the journal. What the child is given
		// from here on hides them.
		t.Spans = l.ZeroSpans(l.ID, func(b uint64) bool { return !child.Get(b).Recorded() })
	}
	e.index.RUnlock()
	if !finished {
		return false, nil
	}
	early, err := e.keepEarly(&t)
	if err != nil {
		return false, err
	}
	e.structure.Lock()
	defer e.structure.Unlock()
	if !ready() {
		return false, nil
	}
	err = e.write(func(tx *bdb.Txn) error {
		if len(t.Spans) > 0 && !early {
			if err := tx.Set(numberKey(keyZeros, t.ID), t.Encode()); err != nil {
				return err
			}
		}
		for _, z := range l.Zeros {
			if err := tx.Delete(numberKey(keyZeros, z.ID)); err != nil {
				return err
			}
		}
		if err := tx.Set(numberKey(keyLayer, child.ID), index.EncodeLayer(l.Parent, child.Pool, child.Merging)); err != nil {
			return err
		}
		return tx.Delete(numberKey(keyLayer, l.ID))
	})
	if err != nil {
		return false, err
	}
	e.index.Lock()
	defer e.index.Unlock()
	e.index.FinishMerge(l, &t)
	return true, nil
}

// packZeros puts zero entries of a layer that has many into one row, less the spans
// that newer records hide. Only what is on stable storage is touched.
func (d *drainer) packZeros() error {
	e := d.e
	e.index.RLock()
	crowded := e.index.Crowded(d.zerosSettled)
	e.index.RUnlock()
	if crowded == nil {
		return nil
	}
	old := crowded.Scattered()
	packed := index.ZeroEntry{ID: old[len(old)-1].ID, Layer: crowded.ID, Kept: true}
	end := e.meta.reads.Begin() // rows stay where they are
	err := e.db.View(func(tx *bdb.Txn) error {
		for _, z := range old {
			t, err := e.readZeros(tx, z.ID)
			if err != nil {
				return err
			}
			packed.Spans = append(packed.Spans, t.Spans...)
		}
		return nil
	})
	end()
	if err != nil {
		return err
	}
	e.index.RLock()
	packed.Spans = crowded.Needed(packed.Spans, d.durable.Load())
	e.index.RUnlock()
	early, err := e.keepEarly(&packed)
	if err != nil {
		return err
	}
	err = e.write(func(tx *bdb.Txn) error {
		for _, z := range old {
			if err := tx.Delete(numberKey(keyZeros, z.ID)); err != nil {
				return err
			}
		}
		if early || len(packed.Spans) == 0 {
			return nil
		}
		return tx.Set(numberKey(keyZeros, packed.ID), packed.Encode())
	})
	if err != nil {
		return err
	}
	e.index.Lock()
	defer e.index.Unlock()
	e.index.Packed(crowded, len(old), &packed)
	return nil
}

// keepEarly puts a kept row that is large on stable storage, under an id of its own,
// before the rows go that it takes the place of. It lies in a value log, whose end a power cut
// may take while the tree's log has all of the transaction; a small one is in the tree. Until
// the others go it says what they say.
func (e *Engine) keepEarly(t *index.ZeroEntry) (early bool, err error) {
	value := t.Encode()
	if len(value) < valueThreshold {
		return false, nil
	}
	t.ID = e.newID()
	if err := e.write(func(tx *bdb.Txn) error { return tx.Set(numberKey(keyZeros, t.ID), value) }); err != nil {
		return false, err
	}
	return true, e.files.Sync()
}

func (e *Engine) readZeros(tx *bdb.Txn, id uint64) (t index.ZeroEntry, err error) {
	b, err := e.values.Get(tx, numberKey(keyZeros, id))
	if errors.Is(err, bdb.ErrKeyNotFound) {
		return t, nil
	}
	if err != nil {
		return t, err
	}
	return index.DecodeZeros(id, b)
}
