package badger

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	bdb "github.com/dgraph-io/badger/v4"

	"vvsim/vvol/store"
	"vvsim/vvol/store/badger/index"
	"vvsim/vvol/store/badger/journal"
	"vvsim/vvol/store/badger/rows"
	"vvsim/vvol/store/badger/values"
)

// recover opens checkpoint and journal, and fills memory. What Badger holds beyond
// the checkpoint is dropped, as it may be there in part after a power cut; the
// journal brings it again:
//
//  1. rows of the journal are written to Badger in order,
//  2. values that were being moved are looked for where they were; layers, volumes, and records up
//     to the checkpoint's id are loaded,
//  3. the journal's groups are applied and wait for draining.
//
// The end of a process and the end of the power take the same way.
func (e *Engine) recover(ctx context.Context) error {
	if err := e.openFiles(); err != nil {
		return err
	}
	groups, err := e.journal.Recover()
	if err != nil {
		return err
	}
	if err := e.resizeJournal(len(groups) == 0); err != nil {
		return err
	}
	// What an ended process appended may be in the page cache only, and Badger holds no
	// row that a power cut takes from the journal.
	if err := e.journal.Flush(); err != nil {
		return err
	}
	made, err := e.replayRows(groups)
	if err != nil {
		return err
	}
	if err := e.restoreValues(); err != nil {
		return err
	}
	e.index.Rebuilding = true
	e.seen(e.checkpoints.Last().Records)
	if err := e.load(ctx); err != nil {
		return err
	}
	for id, page := range made {
		if l := e.index.Layers[id]; l != nil {
			l.RowPage = page
		}
	}
	// Records beyond the checkpoint go before a later one counts them in.
	if err := e.deleteDead(e.index.Counts().Dead, math.MaxUint64); err != nil {
		return err
	}
	for _, found := range groups {
		g := group{Group: found, layers: make([]*index.Layer, len(found.Runs))}
		for i := range found.Runs {
			if r := &found.Runs[i]; r.Kind == journal.Write || r.Kind == journal.Zero {
				g.layers[i] = e.index.Layers[r.Layer] // nil: deleted since
			}
		}
		e.apply(&g)
		e.pending.push(g)
	}
	e.index.Rebuilt()
	e.index.RowsSet = e.journal.Head()
	c := e.checkpoints.Last()
	e.drainer.init(e, mark{c.Position, c.Sequence, c.Before})
	e.drainer.durable.Store(c.Records)
	c.Epoch, c.Stable, c.Closed = e.journal.Epoch(), e.journal.Stable(), 0
	return errors.Join(e.files.Sync(), e.checkpoints.Save(c))
}

// restoreValues brings back records that a collection was moving when the power went.
func (e *Engine) restoreValues() error {
	durable := e.checkpoints.Last().Records
	r, err := e.values.Restore(e.files.Synced(), func(key []byte) bool {
		return key[0] != keyRecord || len(key) == 9 && binary.BigEndian.Uint64(key[1:]) <= durable
	}, e.step)
	for _, key := range r.Lost {
		if key[0] != keyZeros { // of which those that were not on stable storage are not missed
			e.o.Warn(fmt.Sprintf("%s: the value of %q is damaged and in no other file", e.o.Dir, key))
		}
	}
	return err
}

// openFiles opens the checkpoint and the journal that it names. They are made on the
// first start; a directory that has volumes and lacks them is damaged.
func (e *Engine) openFiles() (err error) {
	state, known, err := e.readState()
	if err != nil {
		return err
	}
	if known && state.Format != format {
		return fmt.Errorf("format %d; this version reads %d", state.Format, format)
	}
	var fresh bool
	if e.checkpoints, fresh, err = journal.OpenCheckpoints(e.o.Dir); err != nil {
		return err
	}
	if known && fresh {
		return fmt.Errorf("%s %w", e.checkpoints.Name(), journal.ErrNoCheckpoint)
	}
	if fresh {
		err = e.newJournal(journal.Checkpoint{Sequence: 1})
	} else {
		e.journal, err = journal.Open(e.o.Dir, e.checkpoints.Last(), false)
	}
	if err != nil || known {
		return err
	}
	return e.write(func(tx *bdb.Txn) error { return tx.Set([]byte{keyState}, index.EncodeRow(stateRow{Format: format})) })
}

// newJournal makes an empty journal of the size that the options ask for, and the
// checkpoint that names it.
func (e *Engine) newJournal(c journal.Checkpoint) (err error) {
	c.ID, c.Pages, c.Position, c.Stable, c.Closed = rand.Uint64(), uint64(e.o.JournalBytes/journal.PageSize), 0, 0, 0
	if e.journal, err = journal.Open(e.o.Dir, c, true); err != nil {
		return err
	}
	return e.checkpoints.Save(c)
}

// resizeJournal replaces an empty journal that has another size than the options
// ask for, and removes what a crash at that left behind.
func (e *Engine) resizeJournal(empty bool) error {
	c := e.checkpoints.Last()
	if empty && c.Pages != uint64(e.o.JournalBytes/journal.PageSize) {
		old := e.journal
		if err := errors.Join(e.newJournal(c), old.Close()); err != nil {
			return err
		}
	}
	return e.journal.RemoveOthers(e.o.Dir)
}

func (e *Engine) readState() (s stateRow, known bool, err error) {
	err = e.db.View(func(tx *bdb.Txn) error {
		item, err := tx.Get([]byte{keyState})
		if errors.Is(err, bdb.ErrKeyNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		known = true
		return rows.Decode(item, &s)
	})
	return s, known, err
}

// replayRows writes the rows of groups to Badger again. It returns the layers among
// them, with the end of their group.
func (e *Engine) replayRows(groups []journal.Group) (layers map[uint64]uint64, err error) {
	layers = map[uint64]uint64{}
	for _, g := range groups {
		for _, r := range g.Runs {
			if r.Kind != journal.Rows {
				continue
			}
			blob := e.journal.Page(r.Page, uint64(r.Count))
			if r.First > uint64(len(blob)) {
				return nil, fmt.Errorf("%w: %d bytes of rows on %d pages", index.ErrCorrupt, r.First, r.Count)
			}
			all, err := journal.DecodeRows(blob[:r.First])
			if err != nil {
				return nil, err
			}
			for _, row := range all {
				if row.Key[0] == keyLayer && len(row.Key) == 9 {
					layers[binary.BigEndian.Uint64(row.Key[1:])] = g.End
				}
			}
			if err := e.write(func(tx *bdb.Txn) error { return rows.Write(tx, all) }); err != nil {
				return nil, err
			}
		}
	}
	return layers, nil
}

func (e *Engine) load(ctx context.Context) error {
	return e.db.View(func(tx *bdb.Txn) error {
		returned, err := e.loadLayers(tx)
		if err != nil {
			return err
		}
		if err := e.loadVolumes(tx); err != nil {
			return err
		}
		if err := e.dropReturned(returned); err != nil {
			return err
		}
		e.index.Classify()
		return e.loadEntries(ctx, tx)
	})
}

// seen keeps ids from being used again.
func (e *Engine) seen(id uint64) {
	if id > e.nextID.Load() {
		e.nextID.Store(id)
	}
}

// loadLayers reads the layers, and tells of those that do not count.
func (e *Engine) loadLayers(tx *bdb.Txn) (returned []uint64, err error) {
	parents := map[uint64]uint64{}
	err = rows.Scan(tx, keyLayer, func(item *bdb.Item) error {
		id, err := rows.Number(item)
		if err != nil {
			return err
		}
		e.seen(id)
		return item.Value(func(b []byte) (err error) { parents[id], err = e.index.LoadLayer(id, b); return err })
	})
	if err != nil {
		return nil, err
	}
	return e.index.LinkLayers(parents), nil
}

// dropReturned deletes the rows of layers.
func (e *Engine) dropReturned(ids []uint64) error {
	return e.write(func(tx *bdb.Txn) error {
		for _, id := range ids {
			if err := tx.Delete(numberKey(keyLayer, id)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (e *Engine) loadVolumes(tx *bdb.Txn) error {
	return rows.Scan(tx, keyVolume, func(item *bdb.Item) error {
		k := item.Key()
		if len(k) != 17 {
			return fmt.Errorf("%w: key %q", index.ErrCorrupt, k)
		}
		return item.Value(func(b []byte) error { return e.index.LoadVolume(store.ID(k[1:]), b) })
	})
}

// loadEntries applies records and zeros up to the checkpoint's id in order of their
// ids.
func (e *Engine) loadEntries(ctx context.Context, tx *bdb.Txn) error {
	durable := e.checkpoints.Last().Records
	zeros, err := e.loadZeros(tx, durable)
	if err != nil {
		return err
	}
	applyZeros := func(before uint64) {
		for len(zeros) > 0 && zeros[0].ID < before {
			z := zeros[0]
			zeros = zeros[1:]
			e.index.Zero(e.index.Layers[z.layer], z.First, z.Last)
		}
	}
	records := tx.NewIterator(bdb.IteratorOptions{Prefix: []byte{keyRecord}}) // values are not read
	defer records.Close()
	records.Rewind()
	err = rows.Scan(tx, keyEntry, func(item *bdb.Item) error {
		id, err := rows.Number(item)
		if err != nil {
			return err
		}
		e.seen(id)
		if err := e.buryBefore(records, id); err != nil {
			return err
		}
		if id > durable {
			e.index.Bury(id)
			return nil
		}
		applyZeros(id)
		var t index.Entry
		if err := item.Value(func(b []byte) (err error) { t, err = index.DecodeEntry(b); return err }); err != nil {
			return err
		}
		e.index.Load(id, &t)
		return ctx.Err()
	})
	if err != nil {
		return err // entries that were not seen are not missing
	}
	applyZeros(math.MaxUint64)
	return e.buryBefore(records, math.MaxUint64)
}

// buryBefore buries records without an entry up to an id, which has one. Collections of Badger
// have brought back records that were deleted while they ran (package values).
func (e *Engine) buryBefore(records *bdb.Iterator, id uint64) error {
	for ; records.Valid(); records.Next() {
		n, err := rows.Number(records.Item())
		if err != nil || n > id {
			return err
		}
		if n < id {
			e.index.Bury(n)
		}
	}
	return nil
}

// layerSpan is a span of a layer.
type layerSpan struct {
	index.Span
	layer uint64
}

// loadZeros lists the spans of all layers in order of their ids.
func (e *Engine) loadZeros(tx *bdb.Txn, durable uint64) (all []layerSpan, err error) {
	var stale []uint64
	err = rows.Scan(tx, keyZeros, func(item *bdb.Item) error {
		id, err := rows.Number(item)
		if err != nil {
			return err
		}
		var t index.ZeroEntry
		b, err := e.values.Row(item)
		if err == nil {
			t, err = index.DecodeZeros(id, b)
		}
		// Behind the checkpoint the end of a value log may be missing: what the row was to replace is there.
		if err != nil && !(errors.Is(err, values.ErrDamaged) && id > durable) {
			return err
		}
		e.seen(id)
		l := e.index.Layers[t.Layer]
		if l == nil || id > durable && !t.Kept {
			stale = append(stale, id)
			return nil
		}
		for _, s := range t.Spans {
			all = append(all, layerSpan{s, t.Layer})
		}
		e.index.AddZeros(l, &t)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b layerSpan) int { return cmp.Compare(a.ID, b.ID) })
	return all, e.write(func(tx *bdb.Txn) error {
		for _, id := range stale {
			if err := tx.Delete(numberKey(keyZeros, id)); err != nil {
				return err
			}
		}
		return nil
	})
}
