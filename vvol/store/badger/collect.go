package badger

import (
	"errors"
	"fmt"
	"slices"

	bdb "github.com/dgraph-io/badger/v4"

	"vvsim/vvol/store/badger/index"
	"vvsim/vvol/store/badger/places"
)

// collect does a bounded part of what waits in the background: layers that nothing
// stands on go, frozen layers with one child are merged into it, scattered zero
// entries become one. Drainer only.
func (d *drainer) collect() error {
	if err := d.e.finish(d.e.rows.Newest()); err != nil {
		return err
	}
	if err := d.dropLayers(dropsAtOnce); err != nil {
		return err
	}
	if err := d.mergeLayers(mergeBatch); err != nil {
		return err
	}
	return d.packZeros()
}

// dropLayers removes up to n layers that nothing stands on, those among them that stood
// on each other.
func (d *drainer) dropLayers(n int) error {
	e := d.e
	for n > 0 {
		e.index.RLock()
		victims := e.index.Orphans(n)
		e.index.RUnlock()
		if len(victims) == 0 {
			return nil
		}
		n -= len(victims)
		for _, l := range victims {
			e.forget(l)
			for done := false; !done; {
				e.index.Lock()
				done = e.index.Unload(l, unloadAtOnce)
				e.index.Unlock()
			}
		}
		if err := e.dropAll(victims); err != nil {
			return err
		}
	}
	return nil
}

// dropAll takes layers away whose records are buried. As nothing stands on them nothing can
// come to, so that changes of volumes need not wait for Badger meanwhile. A layer without its
// zeros, as a crash may leave it, is dropped again.
func (e *Engine) dropAll(layers []*index.Layer) error {
	var keys [][]byte
	for _, l := range layers {
		for _, z := range l.Zeros {
			keys = append(keys, numberKey(keyZeros, z.ID))
		}
		keys = append(keys, numberKey(keyLayer, l.ID))
	}
	for part := range slices.Chunk(keys, deleteBatch) {
		err := e.write(func(tx *bdb.Txn) (err error) {
			for i := 0; i < len(part) && err == nil; i++ {
				err = tx.Delete(part[i])
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	e.structure.Lock()
	defer e.structure.Unlock()
	e.index.Lock()
	defer e.index.Unlock()
	for _, l := range layers {
		e.index.Drop(l)
	}
	return nil
}

// tooDead tells whether records hold so many dead blocks for each live one that they are
// cleaned.
func tooDead(n index.Counts, from float64) bool {
	return (n.Held-n.Live)*blockSize > uint64(float64(n.Live*blockSize)*from)+garbageSlack
}

// clean moves the live blocks out of the emptiest segment while too much of what
// records hold is dead; its records then die as a whole, and with them the part of
// the value log that holds them. One step for each transaction of the drainer, and as
// many as it takes when nothing comes in.
func (d *drainer) clean(from float64) (moved bool, err error) {
	e := d.e
	e.index.RLock()
	n := e.index.Counts()
	var victims []*index.Record
	if tooDead(n, from) {
		victims = e.index.Survivors(e.nextID.Load(), drainPages)
	}
	e.index.RUnlock()
	if len(victims) == 0 {
		return false, nil
	}
	return true, d.move(victims)
}

// move rewrites the live blocks of records. One that cannot be read stays where it
// is: its readers meet the error, the others are not held up.
func (d *drainer) move(records []*index.Record) error {
	e := d.e
	if err := e.room(minFree); err != nil {
		return err
	}
	var blocks []index.Move
	var sums []uint32 // of blocks
	d.values = d.values[:0]
	for _, r := range records {
		if len(blocks) > drainPages-index.RecordBlocks {
			break
		}
		live, of, err := d.loadSurvivors(r)
		if err != nil { // a record that is moved while it is read may read as empty
			live, of, err = d.loadSurvivors(r)
		}
		if err != nil {
			e.index.Lock()
			r.Damaged = true
			e.index.Unlock()
			e.o.Warn(fmt.Sprintf("record %d in %s cannot be read: %v", r.ID, e.dir, err))
		}
		blocks, sums = append(blocks, live...), append(sums, of...)
	}
	e.counts.moved.Add(uint64(len(blocks)))
	loaded := make(map[index.Location]int, len(blocks))
	for i := range blocks {
		loaded[blocks[i].From] = i
	}
	slices.SortFunc(blocks, index.CompareMoves)
	return d.commit(blocks, func(part []index.Move) (value []byte, of []uint32) {
		value, of = make([]byte, 0, len(part)*blockSize), make([]uint32, 0, len(part))
		for _, m := range part {
			i := loaded[m.From]
			value, of = append(value, d.values[i*blockSize:(i+1)*blockSize]...), append(of, sums[i])
		}
		return value, of
	}, nil)
}

// loadSurvivors appends the live blocks of a record to d.values and verifies them, all or
// none, and returns their sums as well.
func (d *drainer) loadSurvivors(r *index.Record) (live []index.Move, sums []uint32, err error) {
	err = d.e.db.View(func(tx *bdb.Txn) error {
		t, err := places.Entry(tx, numberKey(keyEntry, r.ID))
		if err != nil {
			return err
		}
		item, err := tx.Get(numberKey(keyRecord, r.ID))
		if err != nil {
			return err
		}
		d.e.index.RLock()
		for j, block := range t.Blocks {
			if block != index.DeadIndex && r.Layer.Get(block) == index.At(r.ID, j) {
				live, sums = append(live, index.Move{Layer: r.Layer, Block: block, From: index.At(r.ID, j)}), append(sums, t.Sums[j])
			}
		}
		d.e.index.RUnlock()
		d.values, err = places.Append(d.values, item, &t, live)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return live, sums, nil
}

// deleteDead deletes the first n buried records as far as what took their place is
// on stable storage: in Badger by the checkpoint, or in the journal before page.
func (e *Engine) deleteDead(n int, page uint64) error {
	e.index.RLock()
	dead := e.index.Buried(n, page)
	e.index.RUnlock()
	for len(dead) > 0 {
		part := dead[:min(len(dead), deleteBatch)]
		if err := e.deleteRecords(part); err != nil {
			return err
		}
		e.index.Lock()
		e.index.Delete(len(part))
		e.index.Unlock()
		dead = dead[len(part):]
	}
	return nil
}

func (e *Engine) deleteRecords(dead []index.Burial) error {
	for _, b := range dead {
		e.places.Forget(b.ID)
	}
	return e.write(func(tx *bdb.Txn) error {
		for _, b := range dead {
			if err := errors.Join(tx.Delete(numberKey(keyEntry, b.ID)), tx.Delete(numberKey(keyRecord, b.ID))); err != nil {
				return err
			}
		}
		return nil
	})
}
