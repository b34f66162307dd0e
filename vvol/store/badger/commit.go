package badger

import (
	"bytes"
	"cmp"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"
	"syscall"

	bdb "github.com/dgraph-io/badger/v4"

	"vvsim/vvol/store"
)

// opKind is what a caller asks of the committer.
type opKind uint8

const (
	opWrite opKind = iota
	opCompareAndWrite
	opUnmap
	opControl // runs between transactions
)

// op is one change. Pooled.
type op struct {
	kind    opKind
	volume  *volume
	off, n  uint64
	data    []byte
	compare []byte
	control func() error
	err     error
	done    chan struct{} // capacity 1
}

var opPool = sync.Pool{New: func() any { return &op{done: make(chan struct{}, 1)} }}

// committer is the one goroutine that changes volumes.
type committer struct {
	e      *Engine
	mu     sync.Mutex
	wake   sync.Cond
	queue  []*op
	spare  []*op
	closed bool

	batch    batch
	checked  int  // bytes committed since the last look at free space
	starving bool // the file system is full
}

// freeCheckEvery is how many bytes may be written between two looks at free space;
// a batch at most comes on top, and minFree holds both.
const freeCheckEvery = 32 << 20

func (c *committer) init(e *Engine) {
	c.e = e
	c.wake.L = &c.mu
	c.checked = freeCheckEvery
	c.batch.slots, c.batch.fresh = map[slotKey]int{}, map[store.Pool]uint64{}
}

// do hands an op over and waits for it.
func (c *committer) do(o *op) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return store.ErrUnavailable
	}
	c.queue = append(c.queue, o)
	c.wake.Signal()
	c.mu.Unlock()
	<-o.done
	return o.err
}

// call runs f in the committer, between transactions.
func (c *committer) call(f func() error) error {
	return c.do(&op{kind: opControl, control: f, done: make(chan struct{}, 1)})
}

func (c *committer) close() {
	c.mu.Lock()
	c.closed = true
	c.wake.Signal()
	c.mu.Unlock()
}

func (c *committer) run() {
	for {
		c.mu.Lock()
		for len(c.queue) == 0 && !c.closed {
			c.wake.Wait()
		}
		ops := c.queue
		c.queue = c.spare[:0]
		c.mu.Unlock()
		if len(ops) == 0 {
			return
		}
		c.process(ops)
		clear(ops)
		c.spare = ops[:0]
	}
}

// process carries out what was waiting, in order.
func (c *committer) process(ops []*op) {
	for _, o := range ops {
		switch o.kind {
		case opControl:
			c.flush()
			o.err = o.control()
			o.done <- struct{}{}
			continue
		case opUnmap:
			c.flush()
			o.err = c.unmap(o)
			o.done <- struct{}{}
			continue
		}
		if c.batch.bytes()+len(o.data)+2*blockSize > batchBytes {
			c.flush()
		}
		if o.err = c.stage(o); o.err != nil {
			o.done <- struct{}{}
			continue
		}
		c.batch.ops = append(c.batch.ops, o)
	}
	c.flush()
}

// slotKey names a block that a batch writes.
type slotKey struct {
	layer *layer
	block uint64
}

// batch is what one transaction will write.
type batch struct {
	ops   []*op
	slots map[slotKey]int // index in data, in blocks
	order []slotKey
	data  []byte
	fresh map[store.Pool]uint64 // bytes that the batch allocates
}

func (b *batch) bytes() int { return len(b.data) }

// slot returns the place of a block in the batch, new or not.
func (b *batch) slot(k slotKey) (p []byte, fresh bool) {
	i, ok := b.slots[k]
	if !ok {
		i = len(b.order)
		b.slots[k] = i
		b.order = append(b.order, k)
		b.data = slices.Grow(b.data, blockSize)[:len(b.data)+blockSize]
	}
	return b.data[i*blockSize : (i+1)*blockSize], !ok
}

func (b *batch) reset() {
	clear(b.slots)
	clear(b.ops)
	clear(b.fresh)
	b.ops, b.order, b.data = b.ops[:0], b.order[:0], b.data[:0]
}

// check is what every change of a volume has to pass. Only the committer changes
// volumes, so that it reads them without the lock.
func check(v *volume, off, n uint64) error {
	switch {
	case v.gone:
		return store.ErrGone
	case v.readOnly:
		return store.ErrReadOnly
	case off > v.size || n > v.size-off:
		return fmt.Errorf("%w: %d bytes at %d of %d", store.ErrOutOfRange, n, off, v.size)
	}
	return nil
}

// stage puts a write into the batch.
func (c *committer) stage(o *op) error {
	v := o.volume
	if err := check(v, o.off, uint64(len(o.data))); err != nil {
		return err
	}
	if o.kind == opCompareAndWrite {
		if err := c.compare(o); err != nil {
			return err
		}
	}
	if err := c.reserve(v, o.off, len(o.data)); err != nil {
		return err
	}
	for done := 0; done < len(o.data); {
		pos := o.off + uint64(done)
		in := int(pos % blockSize)
		n := min(blockSize-in, len(o.data)-done)
		k := slotKey{v.head, pos / blockSize}
		_, staged := c.batch.slots[k]
		var old [blockSize]byte
		if n < blockSize && !staged {
			if err := c.e.readBlocks(v.head, k.block, old[:]); err != nil {
				return err
			}
		}
		p, fresh := c.batch.slot(k)
		if fresh && n < blockSize {
			copy(p, old[:])
		}
		copy(p[in:], o.data[done:done+n])
		done += n
	}
	return nil
}

// compare checks the precondition of COMPARE AND WRITE against the volume and
// what the batch already holds.
func (c *committer) compare(o *op) error {
	present := make([]byte, len(o.compare))
	if err := c.present(o.volume.head, o.off, present); err != nil {
		return err
	}
	if bytes.Equal(present, o.compare) {
		return nil
	}
	i := 0
	for present[i] == o.compare[i] {
		i++
	}
	return &store.MiscompareError{Offset: uint64(i)}
}

// present reads bytes as they are after the batch.
func (c *committer) present(l *layer, off uint64, p []byte) error {
	var whole [blockSize]byte
	for done := 0; done < len(p); {
		pos := off + uint64(done)
		in := int(pos % blockSize)
		k := slotKey{l, pos / blockSize}
		if i, ok := c.batch.slots[k]; ok {
			copy(whole[:], c.batch.data[i*blockSize:])
		} else if err := c.e.readBlocks(l, k.block, whole[:]); err != nil {
			return err
		}
		done += copy(p[done:], whole[in:])
	}
	return nil
}

// reserve checks that the pool and the file system have room for what a write
// allocates.
func (c *committer) reserve(v *volume, off uint64, n int) error {
	if c.checked >= freeCheckEvery || c.starving {
		c.checked = 0
		c.starving = c.e.room() != nil
	}
	if c.starving {
		return fmt.Errorf("%w: less than %d MiB are left in the file system of %s", store.ErrNoSpace, minFree>>20, c.e.o.Dir)
	}
	e := c.e
	e.maps.RLock()
	defer e.maps.RUnlock()
	var fresh uint64
	for b := off / blockSize; b*blockSize < off+uint64(n); b++ {
		if _, staged := c.batch.slots[slotKey{v.head, b}]; !staged && !v.head.get(b).data() {
			fresh += blockSize
		}
	}
	used, limit := e.pools[v.pool]+c.batch.fresh[v.pool], e.limits[v.pool]
	if limit > 0 && fresh > 0 && used+fresh > limit {
		return fmt.Errorf("%w: pool holds %d of %d bytes", store.ErrNoSpace, used, limit)
	}
	c.batch.fresh[v.pool] += fresh
	return nil
}

// room tells whether the file system can take another batch. Badger writes through
// mapped files, where a full file system would end the process.
func (e *Engine) room() error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(e.dir, &s); err != nil {
		return fmt.Errorf("badger: %s: %w", e.dir, err)
	}
	if s.Bavail*uint64(s.Bsize) < minFree {
		return fmt.Errorf("%w: less than %d MiB are left in the file system of %s", store.ErrNoSpace, minFree>>20, e.o.Dir)
	}
	return nil
}

// flush commits the batch and answers its ops.
func (c *committer) flush() {
	b := &c.batch
	if len(b.ops) == 0 && len(b.order) == 0 {
		return
	}
	err := c.e.commitBlocks(b.order, b.data)
	c.checked += len(b.data)
	for _, o := range b.ops {
		if o.err = err; err != nil {
			o.err = &store.MediumError{Offset: o.off, Write: true, Err: err}
		}
		o.done <- struct{}{}
	}
	b.reset()
}

// packed is one record about to be written.
type packed struct {
	id    uint64
	layer *layer
	entry entry
	value []byte
}

// commitBlocks writes blocks as records in one transaction and lets the maps lead
// to them. Committer only.
func (e *Engine) commitBlocks(keys []slotKey, data []byte) error {
	records := e.pack(keys, data)
	err := e.write(func(tx *bdb.Txn) error {
		for i := range records {
			r := &records[i]
			if err := tx.Set(numberKey(keyRecord, r.id), r.value); err != nil {
				return err
			}
			if err := tx.Set(numberKey(keyEntry, r.id), r.entry.encode()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	e.maps.Lock()
	for i := range records {
		r := &records[i]
		e.adopt(r.layer, r.id, len(r.entry.blocks))
		for j, block := range r.entry.blocks {
			e.point(r.layer, block, at(r.id, j))
		}
	}
	e.maps.Unlock()
	if len(records) > 0 {
		e.sync.committed(records[len(records)-1].id)
	}
	return nil
}

// pack sorts blocks into records of one layer each.
func (e *Engine) pack(keys []slotKey, data []byte) (all []packed) {
	order := make([]int, len(keys))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(keys[a].layer.id, keys[b].layer.id), cmp.Compare(keys[a].block, keys[b].block))
	})
	sorted := make([]byte, 0, len(data))
	for len(order) > 0 {
		l := keys[order[0]].layer
		n := 0
		for n < len(order) && n < recordBlocks && keys[order[n]].layer == l {
			n++
		}
		r := packed{id: e.nextID.Add(1), layer: l, entry: entry{layer: l.id, blocks: make([]uint64, n)}}
		start := len(sorted)
		for j, i := range order[:n] {
			r.entry.blocks[j] = keys[i].block
			sorted = append(sorted, data[i*blockSize:(i+1)*blockSize]...)
		}
		r.value = sorted[start:len(sorted):len(sorted)]
		r.entry.crc = crc32.Checksum(r.value, castagnoli)
		all = append(all, r)
		order = order[n:]
	}
	return all
}

// unmap deallocates a range: the partial blocks at its ends are written with
// zeros where they hold data, the rest becomes a zero entry.
func (c *committer) unmap(o *op) error {
	v := o.volume
	if err := check(v, o.off, o.n); err != nil {
		return err
	}
	end := o.off + o.n
	first, last := (o.off+blockSize-1)/blockSize, end/blockSize
	edges := [][2]uint64{{o.off, min(first*blockSize, end)}, {max(last*blockSize, o.off), end}}
	if first > last {
		edges = edges[:1]
		edges[0][1] = end
	}
	for _, edge := range edges {
		if edge[0] >= edge[1] || !c.e.holds(v.head, edge[0]/blockSize) {
			continue
		}
		w := &op{kind: opWrite, volume: v, off: edge[0], data: make([]byte, edge[1]-edge[0])}
		if err := c.stage(w); err != nil {
			c.batch.reset()
			return err
		}
	}
	if len(c.batch.order) > 0 {
		if err := c.e.commitBlocks(c.batch.order, c.batch.data); err != nil {
			c.batch.reset()
			return err
		}
		c.batch.reset()
	}
	if first < last {
		return c.e.zeroRange(v.head, first, last)
	}
	return nil
}

// holds tells whether a block of a chain has data.
func (e *Engine) holds(l *layer, block uint64) bool {
	e.maps.RLock()
	defer e.maps.RUnlock()
	return l.find(block).data()
}

// known tells whether any layer of the chain says something in a range.
func (l *layer) known(first, last uint64) bool {
	for p := l; p != nil; p = p.parent {
		if uint64(len(p.leaves)) < (last-first)/leafBlocks {
			for number := range p.leaves {
				if number >= first/leafBlocks && number <= (last-1)/leafBlocks {
					return true
				}
			}
			continue
		}
		for number := first / leafBlocks; number <= (last-1)/leafBlocks; number++ {
			if p.leaves[number] != nil {
				return true
			}
		}
	}
	return false
}

// zeroRange writes a zero entry. Committer only.
func (e *Engine) zeroRange(l *layer, first, last uint64) error {
	e.maps.RLock()
	needed := l.known(first, last)
	e.maps.RUnlock()
	if !needed {
		return nil
	}
	id := e.nextID.Add(1)
	t := zeroEntry{layer: l.id, spans: []span{{first, last}}}
	if err := e.write(func(tx *bdb.Txn) error { return tx.Set(numberKey(keyZeros, id), t.encode()) }); err != nil {
		return err
	}
	e.maps.Lock()
	e.zero(l, first, last, false)
	l.zeros = append(l.zeros, id)
	many := len(l.zeros) > mergeZeros
	e.maps.Unlock()
	e.sync.committed(id)
	if many {
		return e.mergeZeroEntries(l)
	}
	return nil
}

// mergeZeroEntries replaces the zero entries of a layer by one with what is still
// zeroed. Committer only.
func (e *Engine) mergeZeroEntries(l *layer) error {
	e.maps.RLock()
	t := zeroEntry{layer: l.id, spans: l.zeroSpans()}
	old := slices.Clone(l.zeros)
	e.maps.RUnlock()
	id := e.nextID.Add(1)
	err := e.write(func(tx *bdb.Txn) error {
		for _, z := range old {
			if err := tx.Delete(numberKey(keyZeros, z)); err != nil {
				return err
			}
		}
		return tx.Set(numberKey(keyZeros, id), t.encode())
	})
	if err != nil {
		return err
	}
	e.maps.Lock()
	l.zeros = []uint64{id}
	e.maps.Unlock()
	return nil
}

// zeroSpans lists what is zeroed in a layer. Called with maps held.
func (l *layer) zeroSpans() (all []span) {
	numbers := make([]uint64, 0, len(l.leaves))
	for n := range l.leaves {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for _, number := range numbers {
		for i, loc := range l.leaves[number] {
			if loc != zeroed {
				continue
			}
			b := number*leafBlocks + uint64(i)
			if k := len(all); k > 0 && all[k-1].last == b {
				all[k-1].last++
			} else {
				all = append(all, span{b, b + 1})
			}
		}
	}
	return all
}
