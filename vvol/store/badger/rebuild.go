package badger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"

	bdb "github.com/dgraph-io/badger/v4"

	"vvsim/vvol/store"
)

// rebuild fills memory from the rows: layers, volumes, then entries and zeros in
// order of their ids.
func (e *Engine) rebuild(ctx context.Context) error {
	var state stateRow
	err := e.db.View(func(tx *bdb.Txn) error {
		if err := readState(tx, &state); err != nil {
			return err
		}
		if err := e.loadLayers(tx); err != nil {
			return err
		}
		if err := e.loadVolumes(tx); err != nil {
			return err
		}
		return e.loadEntries(ctx, tx, &state)
	})
	if err != nil {
		return err
	}
	e.sync.written = e.nextID.Load()
	if err := e.sync.sync(); err != nil {
		return err
	}
	return e.saveState(false)
}

func readState(tx *bdb.Txn, s *stateRow) error {
	item, err := tx.Get([]byte{keyState})
	if errors.Is(err, bdb.ErrKeyNotFound) {
		s.Format = format
		return nil
	}
	if err != nil {
		return err
	}
	if err := decodeItem(item, s); err != nil {
		return err
	}
	if s.Format != format {
		return fmt.Errorf("format %d; this version reads %d", s.Format, format)
	}
	return nil
}

func decodeItem(item *bdb.Item, to any) error {
	err := item.Value(func(b []byte) error { return json.Unmarshal(b, to) })
	if err != nil {
		return fmt.Errorf("row %q: %w", item.Key(), err)
	}
	return nil
}

// scan calls f for every row of a kind, in order of key.
func scan(tx *bdb.Txn, kind byte, values bool, f func(item *bdb.Item) error) error {
	o := bdb.DefaultIteratorOptions
	o.Prefix, o.PrefetchValues = []byte{kind}, values
	it := tx.NewIterator(o)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if err := f(it.Item()); err != nil {
			return err
		}
	}
	return nil
}

func number(item *bdb.Item) (uint64, error) {
	k := item.Key()
	if len(k) != 9 {
		return 0, fmt.Errorf("%w: key %q", errCorrupt, k)
	}
	return be64(k[1:]), nil
}

// seen keeps ids from being used again.
func (e *Engine) seen(id uint64) {
	if id > e.nextID.Load() {
		e.nextID.Store(id)
	}
}

func (e *Engine) loadLayers(tx *bdb.Txn) error {
	parents := map[uint64]uint64{}
	err := scan(tx, keyLayer, true, func(item *bdb.Item) error {
		id, err := number(item)
		if err != nil {
			return err
		}
		var row layerRow
		if err := decodeItem(item, &row); err != nil {
			return err
		}
		pool, err := store.ParseID(row.Pool)
		if err != nil {
			return err
		}
		e.seen(id)
		e.layers[id] = newLayer(id, nil, store.Pool(pool))
		parents[id] = row.Parent
		return nil
	})
	if err != nil {
		return err
	}
	for id, parent := range parents {
		if parent == 0 {
			continue
		}
		p := e.layers[parent]
		if p == nil {
			return fmt.Errorf("%w: layer %d stands on layer %d, which is missing", errCorrupt, id, parent)
		}
		e.layers[id].parent = p
		p.children++
	}
	return nil
}

func (e *Engine) loadVolumes(tx *bdb.Txn) error {
	return scan(tx, keyVolume, true, func(item *bdb.Item) error {
		k := item.Key()
		if len(k) != 17 {
			return fmt.Errorf("%w: key %q", errCorrupt, k)
		}
		var row volumeRow
		if err := decodeItem(item, &row); err != nil {
			return err
		}
		pool, err := store.ParseID(row.Pool)
		if err != nil {
			return err
		}
		v := &volume{id: store.ID(k[1:]), size: row.Size, head: e.layers[row.Head], pool: store.Pool(pool), readOnly: row.ReadOnly, family: row.Family}
		if row.Origin != "" {
			if v.origin, err = store.ParseID(row.Origin); err != nil {
				return err
			}
		}
		if v.head == nil {
			return fmt.Errorf("%w: volume %v has no layer %d", errCorrupt, v.id, row.Head)
		}
		v.head.volume = v
		e.volumes[v.id] = v
		return nil
	})
}

// loadEntries merges two sequences in order of id. After a power cut, records
// above the last known sync are verified: a pointer may have been kept and what it
// points to lost; such a record never was. The end of the process alone loses
// nothing of what the kernel has.
func (e *Engine) loadEntries(ctx context.Context, tx *bdb.Txn, state *stateRow) error {
	doubtful := !state.Clean && (state.Boot == "" || state.Boot != bootID())
	zeros := map[uint64]zeroEntry{}
	var order []uint64
	err := scan(tx, keyZeros, true, func(item *bdb.Item) error {
		id, err := number(item)
		if err != nil {
			return err
		}
		var t zeroEntry
		err = item.Value(func(b []byte) (err error) { t, err = decodeZeros(b); return err })
		if err != nil {
			return err
		}
		zeros[id] = t
		order = append(order, id)
		return nil
	})
	if err != nil {
		return err
	}
	applyZeros := func(before uint64) {
		for len(order) > 0 && order[0] < before {
			id := order[0]
			order = order[1:]
			e.seen(id)
			l := e.layers[zeros[id].layer]
			if l == nil {
				continue // its layer was deleted; the collector's rows go with it
			}
			for _, s := range zeros[id].spans {
				e.zero(l, s.first, s.last, true)
			}
			l.zeros = append(l.zeros, id)
		}
	}
	err = scan(tx, keyEntry, true, func(item *bdb.Item) error {
		id, err := number(item)
		if err != nil {
			return err
		}
		applyZeros(id)
		e.seen(id)
		var t entry
		if err := item.Value(func(b []byte) (err error) { t, err = decodeEntry(b); return err }); err != nil {
			return err
		}
		if doubtful && id > state.Synced {
			if err := verify(tx, id, &t); err != nil {
				e.o.Warn(fmt.Sprintf("record %d did not survive an unclean end: %v", id, err))
				e.dead = append(e.dead, id)
				return nil
			}
		}
		e.loadEntry(id, &t)
		return ctx.Err()
	})
	applyZeros(1<<64 - 1)
	return err
}

// verify reads a record and compares its checksum.
func verify(tx *bdb.Txn, id uint64, t *entry) error {
	item, err := tx.Get(numberKey(keyRecord, id))
	if err != nil {
		return err
	}
	return item.Value(func(value []byte) error {
		if crc32.Checksum(value, castagnoli) != t.crc {
			return fmt.Errorf("%w: checksum", errCorrupt)
		}
		return nil
	})
}

// loadEntry lets the maps lead to a record.
func (e *Engine) loadEntry(id uint64, t *entry) {
	l := e.layers[t.layer]
	if l == nil {
		e.dead = append(e.dead, id)
		return
	}
	e.adopt(l, id, len(t.blocks))
	for i, block := range t.blocks {
		if block == deadIndex {
			e.lose(id)
			continue
		}
		e.point(l, block, at(id, i))
	}
}
