package badger

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	bdb "github.com/dgraph-io/badger/v4"
)

// collect is the collector's loop. Its errors are told and tried again: space
// comes back later, nothing is lost.
func (e *Engine) collect() {
	tick := time.NewTicker(e.o.CollectEvery)
	defer tick.Stop()
	for {
		select {
		case <-e.stop:
			return
		case <-tick.C:
		}
		for _, step := range []func() error{e.dropLayers, e.mergeLayers, e.clean, e.deleteDead, e.collectValueLog} {
			if err := step(); err != nil && !e.closed.Load() {
				e.o.Warn(fmt.Sprintf("collection: %v", err))
			}
			if e.closed.Load() {
				return
			}
		}
	}
}

// dropLayers removes layers that nothing stands on, from the top down.
func (e *Engine) dropLayers() error {
	for {
		var victim *layer
		err := e.committer.call(func() error {
			for _, l := range e.layers {
				if l.volume == nil && l.children == 0 {
					victim = l
					break
				}
			}
			if victim == nil {
				return nil
			}
			return e.dropLayer(victim)
		})
		if err != nil || victim == nil {
			return err
		}
	}
}

// dropLayer removes one layer; its records are buried. Committer only.
func (e *Engine) dropLayer(l *layer) error {
	err := e.write(func(tx *bdb.Txn) error {
		for _, z := range l.zeros {
			if err := tx.Delete(numberKey(keyZeros, z)); err != nil {
				return err
			}
		}
		return tx.Delete(numberKey(keyLayer, l.id))
	})
	if err != nil {
		return err
	}
	e.maps.Lock()
	defer e.maps.Unlock()
	for _, r := range l.records {
		e.live -= uint64(r.live)
		e.bury(r)
	}
	e.pools[l.pool] -= l.mapped * blockSize
	delete(e.layers, l.id)
	if l.parent != nil {
		l.parent.children--
	}
	return nil
}

// mergeLayers merges frozen layers that have one child and no volume.
func (e *Engine) mergeLayers() error {
	for {
		e.maps.RLock()
		var victim, child *layer
		for _, l := range e.layers {
			if l.volume == nil && l.children == 1 {
				victim = l
				break
			}
		}
		for _, l := range e.layers {
			if victim != nil && l.parent == victim {
				child = l
			}
		}
		e.maps.RUnlock()
		if victim == nil || child == nil || e.closed.Load() {
			return nil
		}
		if err := e.merge(victim, child); err != nil {
			return err
		}
	}
}

// mergeBatch is how many records change their layer in one transaction.
const mergeBatch = 1024

// merge moves what is visible of a frozen layer into its only child. Records are
// retagged newest first, in several transactions: in between and after a crash, of
// two copies of a block the newer one is always the one nearer to the head. Blocks
// that the child overrides are taken out of the entries, so that a record of the
// layer that has a higher id than one of the child hides nothing.
func (e *Engine) merge(l, child *layer) error {
	l.merging = true
	var ids []uint64
	err := e.committer.call(func() error {
		for id := range l.records {
			ids = append(ids, id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(ids, func(a, b uint64) int { return cmp.Compare(b, a) })
	for len(ids) > 0 {
		part := ids[:min(len(ids), mergeBatch)]
		ids = ids[len(part):]
		last := len(ids) == 0
		if err := e.committer.call(func() error { return e.retag(part, l, child) }); err != nil || last {
			if err != nil {
				return err
			}
		}
		if e.closed.Load() {
			return nil
		}
	}
	return e.committer.call(func() error { return e.finishMerge(l, child) })
}

// retag makes records of a layer records of its child, on disk and in memory.
// Committer only.
func (e *Engine) retag(ids []uint64, l, child *layer) error {
	entries := make([]entry, len(ids))
	err := e.write(func(tx *bdb.Txn) error {
		for i, id := range ids {
			if l.records[id] == nil {
				continue // died meanwhile
			}
			if err := readEntry(tx, id, &entries[i]); err != nil {
				return err
			}
			t := &entries[i]
			for j, block := range t.blocks {
				if block != deadIndex && (l.get(block) != at(id, j) || child.get(block) != absent) {
					t.blocks[j] = deadIndex
				}
			}
			t.layer = child.id
			if err := tx.Set(numberKey(keyEntry, id), t.encode()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	e.maps.Lock()
	defer e.maps.Unlock()
	for i, id := range ids {
		r := l.records[id]
		if r == nil {
			continue
		}
		delete(l.records, id)
		child.records[id] = r
		r.layer = child
		e.moveBlocks(id, &entries[i], l, child)
	}
	return nil
}

// moveBlocks moves what the maps say of one record's blocks up into the child.
// The record loses the blocks that the child overrides.
func (e *Engine) moveBlocks(id uint64, t *entry, l, child *layer) {
	for j, block := range t.blocks {
		if block == deadIndex {
			continue
		}
		l.leaves[block/leafBlocks][block%leafBlocks] = absent
		l.mapped--
		e.pools[l.pool] -= blockSize
		child.set(block, at(id, j))
		child.mapped++
		e.pools[child.pool] += blockSize
	}
	// What is left of the record in l is hidden by the child.
	r := e.records[id]
	kept := uint8(0)
	for _, block := range t.blocks {
		if block != deadIndex {
			kept++
		}
	}
	if r.live > kept {
		e.live -= uint64(r.live - kept)
		r.live = kept
		if kept == 0 {
			e.bury(r)
		}
	}
}

func readEntry(tx *bdb.Txn, id uint64, t *entry) error {
	item, err := tx.Get(numberKey(keyEntry, id))
	if err != nil {
		return err
	}
	return item.Value(func(b []byte) (err error) { *t, err = decodeEntry(b); return err })
}

// finishMerge takes over the zeros of the layer that the child does not override,
// hands the child the layer's parent, and drops the layer. Committer only.
func (e *Engine) finishMerge(l, child *layer) error {
	if len(l.records) > 0 {
		// Records came while it was merged; they are retagged in the next round.
		return fmt.Errorf("layer %d has %d records left", l.id, len(l.records))
	}
	var spans []span
	if l.parent != nil {
		for _, s := range l.zeroSpans() {
			for b := s.first; b < s.last; b++ {
				if child.get(b) != absent {
					continue
				}
				if k := len(spans); k > 0 && spans[k-1].last == b {
					spans[k-1].last++
				} else {
					spans = append(spans, span{b, b + 1})
				}
			}
		}
	}
	id := e.nextID.Add(1)
	err := e.write(func(tx *bdb.Txn) error {
		if len(spans) > 0 {
			t := zeroEntry{layer: child.id, spans: spans}
			if err := tx.Set(numberKey(keyZeros, id), t.encode()); err != nil {
				return err
			}
		}
		for _, z := range l.zeros {
			if err := tx.Delete(numberKey(keyZeros, z)); err != nil {
				return err
			}
		}
		if err := tx.Set(numberKey(keyLayer, child.id), layerRowOf(l.parent, child.pool)); err != nil {
			return err
		}
		return tx.Delete(numberKey(keyLayer, l.id))
	})
	if err != nil {
		return err
	}
	e.maps.Lock()
	defer e.maps.Unlock()
	e.pools[l.pool] -= l.mapped * blockSize
	child.parent = l.parent // l.parent keeps its number of children
	if len(spans) > 0 {
		child.zeros = append(child.zeros, id)
		for _, s := range spans {
			e.zero(child, s.first, s.last, true)
		}
	}
	delete(e.layers, l.id)
	return nil
}

// clean moves the live blocks out of the emptiest records while too much of what
// records hold is dead; the records then die as a whole.
func (e *Engine) clean() error {
	for !e.closed.Load() {
		e.maps.RLock()
		excess := (e.held-e.live)*blockSize > e.live*blockSize/2+garbageSlack
		e.maps.RUnlock()
		if !excess {
			return nil
		}
		moved := 0
		err := e.committer.call(func() (err error) {
			moved, err = e.moveSurvivors()
			return err
		})
		if err != nil || moved == 0 {
			return err
		}
		if err := e.deleteDead(); err != nil {
			return err
		}
	}
	return nil
}

// moveSurvivors rewrites the live blocks of some sparse records. Committer only.
func (e *Engine) moveSurvivors() (moved int, err error) {
	if err := e.room(); err != nil {
		return 0, err
	}
	var victims []*record
	for _, r := range e.records {
		if r.live < r.n && int(r.live)*4 <= int(r.n)*3 && !r.layer.merging {
			if victims = append(victims, r); len(victims) == cleanRecords {
				break
			}
		}
	}
	var b batch
	b.slots = map[slotKey]int{}
	err = e.db.View(func(tx *bdb.Txn) error {
		for _, r := range victims {
			if b.bytes() > batchBytes-recordBlocks*blockSize {
				return nil
			}
			if err := e.stageSurvivors(tx, r, &b); err != nil {
				return err
			}
			moved++
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	e.counts.moved.Add(uint64(len(b.order)))
	return moved, e.commitBlocks(b.order, b.data)
}

func (e *Engine) stageSurvivors(tx *bdb.Txn, r *record, b *batch) error {
	var t entry
	if err := readEntry(tx, r.id, &t); err != nil {
		return err
	}
	item, err := tx.Get(numberKey(keyRecord, r.id))
	if err != nil {
		return err
	}
	return item.Value(func(value []byte) error {
		for j, block := range t.blocks {
			if block == deadIndex || r.layer.get(block) != at(r.id, j) {
				continue
			}
			if (j+1)*blockSize > len(value) {
				return errShortRecord
			}
			p, _ := b.slot(slotKey{r.layer, block})
			copy(p, value[j*blockSize:])
		}
		return nil
	})
}

// deleteDead deletes buried records once what took their place is on stable
// storage.
func (e *Engine) deleteDead() error {
	e.maps.Lock()
	dead := e.dead
	e.dead = nil
	e.maps.Unlock()
	if len(dead) == 0 {
		return nil
	}
	err := e.sync.sync()
	for err == nil && len(dead) > 0 {
		part := dead[:min(len(dead), deleteBatch)]
		err = e.write(func(tx *bdb.Txn) error {
			for _, id := range part {
				if err := errors.Join(tx.Delete(numberKey(keyEntry, id)), tx.Delete(numberKey(keyRecord, id))); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			dead = dead[len(part):]
		}
	}
	if err == nil {
		return e.saveState(false)
	}
	e.maps.Lock()
	e.dead = append(e.dead, dead...)
	e.maps.Unlock()
	return err
}

// collectValueLog lets Badger rewrite value log files that are mostly dead.
// Discard statistics follow compaction, not deletion, so that the tree is
// compacted first.
func (e *Engine) collectValueLog() error {
	_, before := e.files()
	e.maps.RLock()
	live := e.live * blockSize
	e.maps.RUnlock()
	if before < live+live/2+valueLogSlack {
		return nil
	}
	if err := e.db.Flatten(1); err != nil {
		return err
	}
	for !e.closed.Load() {
		err := e.db.RunValueLogGC(0.4)
		if errors.Is(err, bdb.ErrNoRewrite) {
			break
		}
		if err != nil {
			return err
		}
		e.counts.collected.Add(1)
	}
	if _, after := e.files(); after < before {
		e.counts.reclaimed.Add(before - after)
	}
	return nil
}

// files tells the bytes on disk of Badger's tree and of its value logs.
func (e *Engine) files() (tree, values uint64) {
	entries, err := os.ReadDir(e.dir)
	if err != nil {
		return 0, 0 // a gauge; whoever needs the directory meets the error
	}
	for _, f := range entries {
		info, err := f.Info()
		if errors.Is(err, fs.ErrNotExist) || err != nil {
			continue
		}
		if strings.HasSuffix(f.Name(), ".vlog") {
			values += occupied(info)
		} else {
			tree += occupied(info)
		}
	}
	return tree, values
}
