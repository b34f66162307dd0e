package badger

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"vvsim/vvol/store"
	"vvsim/vvol/store/badger/index"
	"vvsim/vvol/store/badger/journal"
	"vvsim/vvol/store/badger/pace"
)

// opKind is what a caller asks of the committer.
type opKind uint8

const (
	opWrite opKind = iota
	opCompareAndWrite
	opUnmap
	opCopy
	opControl // runs between groups
)

// op is one change. Pooled.
type op struct {
	kind    opKind
	volume  *index.Volume
	off, n  uint64 // n of opUnmap
	data    []byte
	compare []byte
	holes   []index.Span // of opCopy: blocks of the volume that are unallocated in the source
	control func() error
	err     error
	from    *caller
}

// caller waits for ops that it has put into the queue together.
type caller struct {
	turn chan bool // capacity 1; true: lead, false: done
	left int       // ops that have not ended; of whoever leads
}

func newCaller() *caller { return &caller{turn: make(chan bool, 1)} }

// committer changes volumes, one caller at a time: whoever finds nobody at work
// leads, appends to the journal what has gathered, and hands on. So a lone writer
// needs no other goroutine, and many share one append.
type committer struct {
	e       *Engine
	mu      sync.Mutex
	queue   []*op
	spare   []*op
	leading bool
	closed  bool
	idle    sync.Cond // nobody leads
	ops     sync.Pool // of *op, with a caller each; an engine's own, as each op has a channel

	batch    batch
	checked  int  // bytes appended since the last look at free space
	starving bool // the file system is full

	holds, held, longestHold atomic.Int64 // number, sum and greatest of the times that writes stood still, ns
}

// freeCheckEvery is how many bytes may be written between two looks at free space;
// a batch at most comes on top, and minFree holds both.
const freeCheckEvery = 32 << 20

func (c *committer) init(e *Engine) {
	c.e = e
	c.idle.L = &c.mu
	c.ops.New = func() any { return &op{from: newCaller()} }
	c.checked = freeCheckEvery
	c.batch.fresh = map[store.Pool]uint64{}
}

// do carries an op out, together with what else waits.
func (c *committer) do(o *op) error {
	if err := c.doAll(o.from, o); err != nil {
		return err
	}
	return o.err
}

// doAll carries out ops of one caller, which get their errors, in their order. It fails
// when the committer is closed.
func (c *committer) doAll(from *caller, ops ...*op) error {
	from.left = len(ops)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return store.ErrUnavailable
	}
	c.queue = append(c.queue, ops...)
	if c.leading {
		c.mu.Unlock()
		if lead := <-from.turn; !lead {
			return nil
		}
		c.mu.Lock()
	}
	c.leading = true
	taken := c.queue
	c.queue = c.spare[:0]
	c.mu.Unlock()

	c.process(taken, from)
	clear(taken)

	c.mu.Lock()
	c.spare = taken[:0]
	if len(c.queue) > 0 {
		c.queue[0].from.turn <- true // whose ops are all queued, and will be taken with the rest
	} else {
		c.leading = false
		c.idle.Broadcast()
	}
	c.mu.Unlock()
	return nil
}

// call runs f between groups, where volumes and layers stand still.
func (c *committer) call(f func() error) error {
	return c.do(&op{kind: opControl, control: f, from: newCaller()})
}

// close refuses new ops and returns when the last one has ended.
func (c *committer) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for c.leading {
		c.idle.Wait()
	}
}

// process carries out what was waiting, in order, and tells everybody but own.
func (c *committer) process(ops []*op, own *caller) {
	c.batch.own = own
	for _, o := range ops {
		if o.kind == opControl {
			c.flush()
			c.hold(o)
			c.batch.tell(o)
			continue
		}
		if c.batch.full() {
			c.flush()
		}
		if o.err = c.stage(o); o.err != nil {
			c.batch.tell(o)
			continue
		}
		c.batch.ops = append(c.batch.ops, o)
	}
	c.flush()
}

// hold runs a control and takes its time: no write of any volume begins meanwhile.
func (c *committer) hold(o *op) {
	begun := time.Now()
	o.err = o.control()
	took := int64(time.Since(begun))
	c.holds.Add(1)
	c.held.Add(took)
	c.longestHold.Store(max(c.longestHold.Load(), took)) // only who leads stores
}

// batch is what one group will hold.
type batch struct {
	ops    []*op
	own    *caller // the leader, who needs no telling
	runs   []journal.Run
	layers []*index.Layer // of runs
	data   [][]byte
	pages  int
	blocks []byte // for partial blocks, filled up: what is left of it
	arena  []byte // where blocks begins in each batch
	fresh  map[store.Pool]uint64
}

// A batch takes no more operations beyond these. One of the largest size on top, and
// as much padding, still fit in the smallest journal.
const (
	maxBatchPages = 800
	maxBatchRuns  = 500
)

// arenaBlocks is how many blocks that are written in part a batch has memory for that the
// next one uses again; more are allocated as they come.
const arenaBlocks = 64

func (b *batch) full() bool { return b.pages > maxBatchPages || len(b.runs) > maxBatchRuns }

// tell counts an op as ended, and tells its caller after the last.
func (b *batch) tell(o *op) {
	if o.from.left--; o.from.left == 0 && o.from != b.own {
		o.from.turn <- false
	}
}

// touches tells whether the batch changes a block.
func (b *batch) touches(l *index.Layer, block uint64) bool {
	for i := range b.runs {
		if r := &b.runs[i]; b.layers[i] == l && block >= r.First && block-r.First < uint64(r.Count) {
			return true
		}
	}
	return false
}

// write adds whole blocks. p is borrowed until the batch is flushed.
func (b *batch) write(l *index.Layer, first uint64, p []byte) {
	n := len(p) / blockSize
	b.data = append(b.data, p)
	b.pages += n
	if k := len(b.runs) - 1; k >= 0 {
		if r := &b.runs[k]; r.Kind == journal.Write && b.layers[k] == l && r.First+uint64(r.Count) == first {
			r.Count += uint32(n)
			return
		}
	}
	b.add(l, journal.Run{Kind: journal.Write, Layer: l.ID, First: first, Count: uint32(n)})
}

func (b *batch) add(l *index.Layer, r journal.Run) {
	b.runs, b.layers = append(roomy(b.runs), r), append(roomy(b.layers), l)
}

// roomy makes room for many more where there is none for one: groups keep what they have of it until they
// are drained, and the next batch goes on behind.
func roomy[E any](s []E) []E {
	if len(s) < cap(s) {
		return s
	}
	return slices.Grow(s, maxBatchRuns)
}

// zero adds blocks that read as zeros.
func (b *batch) zero(l *index.Layer, first, last uint64) {
	for first < last {
		n := min(last-first, 1<<31)
		b.add(l, journal.Run{Kind: journal.Zero, Layer: l.ID, First: first, Count: uint32(n)})
		first += n
	}
}

func (b *batch) reset() {
	clear(b.ops)
	clear(b.data)
	clear(b.fresh)
	b.ops, b.data, b.blocks, b.pages = b.ops[:0], b.data[:0], b.arena, 0
	b.runs, b.layers = b.runs[len(b.runs):], b.layers[len(b.layers):]
}

// check is what every change of a volume has to pass. Only the committer changes
// volumes, so that it reads them without the lock.
func check(v *index.Volume, off, n uint64) error {
	if v.ReadOnly && !v.Gone {
		return store.ErrReadOnly
	}
	return v.Holds(off, n)
}

// stage puts a change into the batch.
func (c *committer) stage(o *op) error {
	switch o.kind {
	case opUnmap:
		return c.stageUnmap(o)
	case opCopy:
		return c.stageCopy(o)
	}
	v := o.volume
	if err := check(v, o.off, uint64(len(o.data))); err != nil {
		return err
	}
	if o.kind == opCompareAndWrite {
		if err := c.compare(o); err != nil {
			return err
		}
	}
	c.settleEdges(v.Head, o.off, uint64(len(o.data)))
	if err := c.reserve(v, o.off, len(o.data)); err != nil {
		return err
	}
	return c.stageWrite(v, o.off, o.data)
}

// stageWrite adds a write; partial blocks at its ends are filled up with what is
// there. Nothing is added when that cannot be read.
func (c *committer) stageWrite(v *index.Volume, off uint64, p []byte) error {
	first := off / blockSize
	in := int(off % blockSize)
	if len(p) == 0 {
		return nil
	}
	if in+len(p) <= blockSize && len(p) < blockSize {
		whole, err := c.fillUp(v.Head, first, in, p)
		if err == nil {
			c.batch.write(v.Head, first, whole)
		}
		return err
	}
	var head, tail []byte
	var err error
	if in > 0 {
		if head, err = c.fillUp(v.Head, first, in, p[:blockSize-in]); err != nil {
			return err
		}
		first, p = first+1, p[blockSize-in:]
	}
	body := p[:len(p)/blockSize*blockSize]
	last := first + uint64(len(body)/blockSize)
	if rest := p[len(body):]; len(rest) > 0 {
		if tail, err = c.fillUp(v.Head, last, 0, rest); err != nil {
			return err
		}
	}
	if head != nil {
		c.batch.write(v.Head, first-1, head)
	}
	if len(body) > 0 {
		c.batch.write(v.Head, first, body)
	}
	if tail != nil {
		c.batch.write(v.Head, last, tail)
	}
	return nil
}

// settleEdges flushes the batch when it changes a block that a range covers in part,
// which is read to be filled up.
func (c *committer) settleEdges(l *index.Layer, off, n uint64) {
	end := off + n
	if off%blockSize != 0 && c.batch.touches(l, off/blockSize) || end%blockSize != 0 && c.batch.touches(l, end/blockSize) {
		c.flush()
	}
}

// fillUp returns a block, which the batch does not touch, as it is with p at byte in
// of it.
func (c *committer) fillUp(l *index.Layer, block uint64, in int, p []byte) ([]byte, error) {
	if len(c.batch.blocks) < blockSize {
		c.batch.blocks = make([]byte, arenaBlocks*blockSize)
		if c.batch.arena == nil {
			c.batch.arena = c.batch.blocks
		}
	}
	whole := c.batch.blocks[:blockSize:blockSize]
	c.batch.blocks = c.batch.blocks[blockSize:]
	if err := c.e.readBlocks(l, block, whole); err != nil {
		return nil, err
	}
	copy(whole[in:], p)
	return whole, nil
}

// compare checks the precondition of COMPARE AND WRITE.
func (c *committer) compare(o *op) error {
	l := o.volume.Head
	for b := o.off / blockSize; b*blockSize < o.off+uint64(len(o.compare)); b++ {
		if c.batch.touches(l, b) {
			c.flush()
			break
		}
	}
	present := make([]byte, len(o.compare))
	if err := c.e.read(l, o.off, present); err != nil {
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

// stageUnmap deallocates a range: the partial blocks at its ends are written with
// zeros where they hold data, the rest becomes a zero entry.
func (c *committer) stageUnmap(o *op) error {
	v := o.volume
	if err := check(v, o.off, o.n); err != nil {
		return err
	}
	c.settleEdges(v.Head, o.off, o.n)
	end := o.off + o.n
	first, last := (o.off+blockSize-1)/blockSize, end/blockSize
	edges := [][2]uint64{{o.off, min(first*blockSize, end)}, {max(last*blockSize, o.off), end}}
	if first > last {
		edges = edges[:1]
		edges[0][1] = end
	}
	var whole [2][]byte
	for i, edge := range edges {
		block := edge[0] / blockSize
		if edge[0] >= edge[1] || !c.e.holds(v.Head, block) {
			continue
		}
		var err error
		if whole[i], err = c.fillUp(v.Head, block, int(edge[0]%blockSize), make([]byte, edge[1]-edge[0])); err != nil {
			return err
		}
	}
	for i, p := range whole {
		if p != nil {
			c.batch.write(v.Head, edges[i][0]/blockSize, p)
		}
	}
	c.stageZero(v.Head, first, last)
	return nil
}

// stageCopy writes data but where the source has holes, which become holes. It is a
// group's first change, so that it can be taken back as a whole.
func (c *committer) stageCopy(o *op) error {
	c.flush()
	err := c.stagePieces(o)
	if err != nil {
		c.batch.reset()
	}
	return err
}

func (c *committer) stagePieces(o *op) error {
	v, off, p := o.volume, o.off, o.data
	if err := check(v, off, uint64(len(p))); err != nil {
		return err
	}
	for _, h := range append(o.holes, index.Span{First: index.MaxBlocks, Last: index.MaxBlocks}) {
		end := min(o.off+uint64(len(o.data)), h.First*blockSize)
		part := p[:end-off]
		if err := c.reserve(v, off, len(part)); err != nil {
			return err
		}
		if err := c.stageWrite(v, off, part); err != nil {
			return err
		}
		if h.Last > h.First {
			c.stageZero(v.Head, h.First, h.Last)
			off = h.Last * blockSize
			p = o.data[off-o.off:]
		}
	}
	return nil
}

// stageZero adds a range of blocks that reads as zeros; where nothing is known of
// it, it does already.
func (c *committer) stageZero(l *index.Layer, first, last uint64) {
	if first >= last {
		return
	}
	needed := slices.Contains(c.batch.layers, l)
	if !needed {
		c.e.index.RLock()
		needed = l.Known(first, last)
		c.e.index.RUnlock()
	}
	if needed {
		c.batch.zero(l, first, last)
	}
}

// reserve checks that the pool and the file system have room for what a write
// allocates.
func (c *committer) reserve(v *index.Volume, off uint64, n int) error {
	if c.checked >= freeCheckEvery || c.starving {
		c.checked = 0
		c.starving = c.e.room(minFree) != nil
	}
	if c.starving {
		return c.e.room(minFree)
	}
	e := c.e
	e.index.RLock()
	limit := e.index.Limits[v.Pool]
	if limit == 0 {
		e.index.RUnlock()
		return nil
	}
	fresh := v.Head.Fresh(off/blockSize, (off+uint64(n)+blockSize-1)/blockSize) * blockSize
	used := e.index.PoolUsage(v.Pool) + c.batch.fresh[v.Pool]
	e.index.RUnlock()
	if fresh == 0 {
		return nil
	}
	if used+fresh > limit {
		if len(c.batch.ops) > 0 {
			c.flush() // a block that was staged twice was counted twice
			return c.reserve(v, off, n)
		}
		return fmt.Errorf("%w: pool holds %d of %d bytes", store.ErrNoSpace, used, limit)
	}
	c.batch.fresh[v.Pool] += fresh
	return nil
}

// flush appends the batch to the journal, lets the maps lead to it, and tells its
// callers.
func (c *committer) flush() {
	b := &c.batch
	if len(b.ops) == 0 && len(b.runs) == 0 {
		return
	}
	var err error
	if len(b.runs) > 0 {
		err = c.append()
	}
	c.checked += b.pages * blockSize
	for _, o := range b.ops {
		if o.err = err; err != nil {
			o.err = &store.MediumError{Offset: o.off, Write: true, Err: err}
		}
		b.tell(o)
	}
	b.reset()
}

// append writes the batch as one group and applies it to the maps. Runs and layers
// belong to the group from then on.
func (c *committer) append() error {
	e, b := c.e, &c.batch
	c.brake()
	if err := c.awaitRoom(uint64(journal.HeaderPages(len(b.runs))+b.pages) + keptRowPages); err != nil {
		return err
	}
	found, err := e.journal.Append(b.runs, b.data)
	if err != nil {
		return err
	}
	g := group{Group: found, layers: b.layers}
	e.index.Lock()
	e.apply(&g)
	e.pending.push(g)
	e.index.Unlock()
	return nil
}

// apply lets the maps lead to a group. Called with maps held for writing.
func (e *Engine) apply(g *group) {
	for i, l := range g.layers {
		if l == nil {
			continue
		}
		switch r := &g.Runs[i]; r.Kind {
		case journal.Write:
			e.index.Write(l, r.First, uint64(r.Count), r.Page, g.End)
		case journal.Zero:
			e.index.ZeroGroup(l, r.First, r.First+uint64(r.Count), g.End)
		}
	}
}

// brake pauses whoever writes to volumes. Rows are few, and do not wait for it.
func (c *committer) brake() {
	j, d := c.e.journal, &c.e.drainer
	size := float64(j.Pages())
	backlog := float64(j.Head()-d.reached.Load()) / size
	if backlog > 1.0/backlogShare {
		d.nudge()
	}
	time.Sleep(pace.Brake(backlog, float64(j.Used())/size))
}

// awaitRoom waits until the journal has room for a group. It gives up when the file
// system is full, as nothing drains then.
func (c *committer) awaitRoom(pages uint64) error {
	j := c.e.journal
	enough := func() bool { return j.Used()+j.Needs(pages) <= j.Pages() }
	if enough() {
		return nil
	}
	return c.e.drainer.awaitRoom(enough)
}
