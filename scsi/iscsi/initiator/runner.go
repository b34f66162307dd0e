package initiator

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"vvsim/scsi"
	"vvsim/scsi/cdb"
)

// runner is the load on one unit. Operations go on from the callbacks of those
// that end, so that no goroutine is in the way.
type runner struct {
	l      Load
	unit   *Unit
	blocks uint32 // logical blocks of an operation
	first  uint64 // LBA of the span
	slots  int64  // operations that fit the span

	mu       sync.Mutex
	stats    Stats
	random   *rand.Rand
	ops      []*operation
	inFlight int
	started  uint64
	next     int64 // of the sequential pattern and of the recheck
	unsynced int   // writes since the last flush
	stopped  bool
	recheck  bool
	idle     chan struct{} // closed when nothing is in flight and nothing will be

	// With Verify, by slot: what the last acknowledged write left there, and
	// whether an operation is in flight. 0 is unknown content.
	version []uint32
	busy    []bool
}

// operation is one place in the queue.
type operation struct {
	call    Call
	r       *runner
	kind    int
	slot    int64
	version uint32 // that a write leaves
	start   time.Time
	flying  bool
	data    []byte // payload of writes, and room for reads
	cdb     [16]byte
}

func newRunner(l Load, u *Unit, g *Geometry, index int) *runner {
	r := &runner{l: l, unit: u, blocks: uint32(l.BlockSize / g.BlockSize), first: uint64(l.Offset) / uint64(g.BlockSize),
		slots: l.Span / int64(l.BlockSize), random: rand.New(rand.NewPCG(l.Seed, uint64(index)))}
	if l.Verify {
		r.version = make([]uint32, r.slots)
		r.busy = make([]bool, r.slots)
	}
	r.ops = make([]*operation, l.QueueDepth)
	for i := range r.ops {
		o := &operation{r: r, data: make([]byte, l.BlockSize)}
		stamp(o.data, l.Seed, int64(i), 1) // random enough not to be deduplicated
		o.call.Done = func(*Call) { o.done() }
		r.ops[i] = o
	}
	return r
}

// begin fills the queue.
func (r *runner) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.idle = make(chan struct{})
	now := time.Now()
	for _, o := range r.ops {
		r.issue(o, now)
	}
	r.rest()
}

// beginRecheck makes the next begin read what was written.
func (r *runner) beginRecheck() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recheck, r.stopped, r.next = true, false, 0
}

// stop starts nothing any more.
func (r *runner) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	r.rest()
}

// rest closes idle when nothing is in flight and nothing will be. Called with mu
// held.
func (r *runner) rest() {
	if r.inFlight > 0 {
		return
	}
	select {
	case <-r.idle:
	default:
		close(r.idle)
	}
}

// abort takes back what is in flight.
func (r *runner) abort() {
	for _, o := range r.ops {
		// Cancel takes locks of the session, which calls done without them.
		if !r.unit.path.Cancel(&o.call) {
			continue // about to end by itself
		}
		r.mu.Lock()
		o.flying = false
		r.inFlight--
		r.stats.Aborted++
		r.vacate(o, false)
		r.rest()
		r.mu.Unlock()
	}
}

// choose picks what o does next; false when there is nothing left.
func (r *runner) choose(o *operation) bool {
	switch {
	case r.recheck:
		for r.next < r.slots && r.version[r.next] == 0 {
			r.next++
		}
		if r.next >= r.slots {
			return false
		}
		o.kind, o.slot = opRead, r.next
		r.next++
		return true
	case r.l.Count > 0 && r.started >= r.l.Count:
		return false
	case r.l.FlushEvery > 0 && r.unsynced >= r.l.FlushEvery:
		r.unsynced = 0
		o.kind = opFlush
		return true
	}
	o.kind = opWrite
	if r.l.ReadPercent == 100 || r.l.ReadPercent > 0 && r.random.IntN(100) < r.l.ReadPercent {
		o.kind = opRead
	}
	if r.l.Pattern == Sequential {
		o.slot = r.next
		r.next = (r.next + 1) % r.slots
	} else {
		o.slot = r.random.Int64N(r.slots)
	}
	if r.busy != nil {
		for r.busy[o.slot] { // there are twice as many slots as operations
			o.slot = (o.slot + 1) % r.slots
		}
		r.busy[o.slot] = true
	}
	if o.kind == opWrite {
		r.unsynced++
	}
	r.started++
	return true
}

// issue starts the next operation of o, if there is one. Called with mu held.
func (r *runner) issue(o *operation, now time.Time) {
	if r.stopped || !r.choose(o) {
		return
	}
	b := cdb.Block{LBA: r.first + uint64(o.slot)*uint64(r.blocks), Blocks: r.blocks}
	c := &o.call.Command
	*c = Command{LUN: r.unit.lun, Attribute: scsi.Simple}
	switch o.kind {
	case opRead:
		b.Op = scsi.OpRead16
		c.DataIn = o.data
	case opWrite:
		b.Op = scsi.OpWrite16
		if r.l.FUA {
			b.Flags = cdb.FUA
		}
		if r.version != nil {
			o.version = max(1, r.version[o.slot]+1)
			stamp(o.data, r.l.Seed, o.slot, o.version)
		}
		c.DataOut = o.data
	case opFlush:
		b = cdb.Block{Op: scsi.OpSynchronizeCache16}
	}
	c.CDB = b.AppendTo(o.cdb[:0])
	o.start, o.flying = now, true
	r.inFlight++
	if err := r.unit.path.Start(&o.call); err != nil {
		o.flying = false
		r.inFlight--
		r.settle(o, err)
		r.stopped = true // the path is gone, or too narrow for the queue depth
	}
}

// done takes the end of an operation and starts the next.
func (o *operation) done() {
	r := o.r
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	o.flying = false
	r.inFlight--
	want := 0
	if o.kind == opRead {
		want = len(o.data)
	}
	err := statusError(&o.call, want)
	if err == nil && o.kind == opRead && r.version != nil {
		err = r.compare(o)
	}
	if err == nil {
		r.count(o, now.Sub(o.start))
	}
	r.settle(o, err)
	r.issue(o, now)
	r.rest()
}

// count adds an operation that succeeded.
func (r *runner) count(o *operation, took time.Duration) {
	s := &r.stats
	switch {
	case r.recheck: // not part of what is measured
	case o.kind == opRead:
		s.Reads++
		s.Bytes += uint64(len(o.data))
		s.Read.Add(took)
	case o.kind == opWrite:
		s.Writes++
		s.Bytes += uint64(len(o.data))
		s.Write.Add(took)
	default:
		s.Flushes++
		s.Flush.Add(took)
	}
}

// settle gives the slot free and counts errors.
func (r *runner) settle(o *operation, err error) {
	r.vacate(o, err == nil)
	if err == nil {
		return
	}
	s := &r.stats
	if s.Errors++; s.FirstError == nil {
		s.FirstError = fmt.Errorf("LUN %v: %w", r.unit.lun, err)
	}
	var gone bool
	select {
	case <-pathDone(r.unit.path):
		gone = true
	default:
	}
	if gone || s.Errors >= r.l.MaxErrors || errors.Is(err, ErrClosed) {
		r.stopped = true
	}
}

// vacate gives the slot of an operation free and keeps what a write left there.
func (r *runner) vacate(o *operation, good bool) {
	if r.busy == nil || o.kind == opFlush {
		return
	}
	r.busy[o.slot] = false
	switch {
	case o.kind == opWrite && good:
		r.version[o.slot] = o.version
	case o.kind == opWrite:
		r.version[o.slot] = 0 // it may have been written, or not, or in part
	}
}

// pathDone is closed when a path has ended, if it tells.
func pathDone(p Path) <-chan struct{} {
	if d, ok := p.(interface{ Done() <-chan struct{} }); ok {
		return d.Done()
	}
	return nil
}

// compare checks a block that this run wrote.
func (r *runner) compare(o *operation) error {
	v := r.version[o.slot]
	if v == 0 {
		return nil
	}
	r.stats.Verified++
	at := unlike(o.data, r.l.Seed, o.slot, v)
	if at < 0 {
		return nil
	}
	lba := r.first + uint64(o.slot)*uint64(r.blocks)
	return fmt.Errorf("%w: LBA %d, byte %d of %d, version %d", ErrVerify, lba, at, len(o.data), v)
}

// content is a stream of words that only this slot and version have.
type content uint64

func contentOf(seed uint64, slot int64, version uint32) content {
	return content(seed*0x9e3779b97f4a7c15 ^ uint64(slot)<<32 ^ uint64(version))
}

// next is SplitMix64.
func (c *content) next() uint64 {
	*c += 0x9e3779b97f4a7c15
	z := uint64(*c)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// stamp fills b, whose length is a multiple of 8.
func stamp(b []byte, seed uint64, slot int64, version uint32) {
	c := contentOf(seed, slot, version)
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, c.next())
	}
}

// unlike returns the offset of the first word that stamp would not have put
// there, -1 when there is none.
func unlike(b []byte, seed uint64, slot int64, version uint32) int {
	c := contentOf(seed, slot, version)
	for i := 0; i+8 <= len(b); i += 8 {
		if binary.LittleEndian.Uint64(b[i:]) != c.next() {
			return i
		}
	}
	return -1
}
