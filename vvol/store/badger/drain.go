package badger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	bdb "github.com/dgraph-io/badger/v4"

	"vvsim/vvol/store"
	"vvsim/vvol/store/badger/index"
	"vvsim/vvol/store/badger/journal"
	"vvsim/vvol/store/badger/pace"
)

// drainer is the goroutine that owns what Badger holds of volumes: it moves groups
// from the journal into records, makes checkpoints, and does the collector's work.
// As it alone numbers records, the order of their ids is that of their commits.
type drainer struct {
	e    *Engine
	wake chan struct{} // capacity 1

	mu      sync.Mutex
	changed sync.Cond // room was made, or will not be
	stuck   error     // why nothing drains

	rounds uint64 // of the collector that have ended

	collectNow atomic.Bool // somebody waits for a round of the collector

	urgent  atomic.Bool   // writers are braked: drain now
	waiting atomic.Int32  // writers that wait for room in the journal
	drained mark          // groups before it are in Badger; drainer only
	reached atomic.Uint64 // drained.page, for others
	durable atomic.Uint64
	rest    pace.Lull
	values  []byte // gathered records; drainer only

	checkpointing bool       // a checkpoint is being made; drainer only
	made          chan error // its outcome, capacity 1
}

// mark is a place between two groups; before is the epoch of the first of them.
type mark struct{ page, sequence, before uint64 }

// group is a group of the journal with the layers of its runs: nil of rows and
// padding, and of layers that are gone.
type group struct {
	journal.Group
	layers []*index.Layer

	number uint64 // among the groups of rows; 0 of others
}

// pendingGroups are the groups that are not in Badger yet. Guarded by Engine.index.
type pendingGroups struct{ all []group }

func (p *pendingGroups) push(g group) { p.all = append(p.all, g) }

// end is the page behind the last group, or drained when there is none.
func (p *pendingGroups) end(drained uint64) uint64 {
	if len(p.all) == 0 {
		return drained
	}
	return p.all[len(p.all)-1].End
}

func (p *pendingGroups) pop(n int) {
	for _, g := range p.all[:n] {
		clear(g.layers) // others share their memory
	}
	clear(p.all[:n])
	if p.all = p.all[n:]; len(p.all) == 0 {
		p.all = nil
	}
}

func (d *drainer) init(e *Engine, at mark) {
	d.e, d.drained = e, at
	d.reached.Store(at.page)
	d.wake, d.made = make(chan struct{}, 1), make(chan error, 1)
	d.changed.L = &d.mu
}

// hurry asks for draining now.
func (d *drainer) hurry() {
	d.urgent.Store(true)
	d.nudge()
}

func (d *drainer) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// awaitRoom blocks until enough says yes. It fails when nothing drains.
func (d *drainer) awaitRoom(enough func() bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting.Add(1)
	defer d.waiting.Add(-1)
	for !enough() {
		if d.stuck != nil {
			return d.stuck
		}
		d.hurry()
		d.changed.Wait()
	}
	return nil
}

// awaitCollection returns after a round of the collector.
func (d *drainer) awaitCollection(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		d.mu.Lock()
		d.changed.Broadcast()
		d.mu.Unlock()
	})
	defer stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	for begun := d.rounds; d.rounds == begun; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if d.e.closed.Load() {
			return store.ErrUnavailable
		}
		d.collectNow.Store(true)
		d.nudge()
		d.changed.Wait()
	}
	return nil
}

// report tells waiting writers that there is room, or why there is none.
func (d *drainer) report(err error) {
	d.mu.Lock()
	d.stuck = err
	d.changed.Broadcast()
	d.mu.Unlock()
}

// Shares of the journal that may wait.
const (
	backlogShare    = 8 // of groups for draining: an overwritten block is drained once
	checkpointShare = 8 // of drained groups for a checkpoint
)

func (d *drainer) run() {
	tick := time.NewTicker(d.e.o.CollectEvery)
	defer tick.Stop()
	for {
		quiet := false
		var err error
		select {
		case <-d.e.stop:
			return
		case err = <-d.made:
			d.checkpointing = false
		case <-d.wake:
		case now := <-tick.C:
			d.e.places.Expire(now)
			quiet = d.e.lull(&d.rest)
			d.collectNow.Store(true)
			d.e.views.Renew(d.e.db) // an old one keeps old versions of rows
		}
		if d.collectNow.Swap(false) {
			if err := d.collect(); err != nil {
				d.e.o.Warn(fmt.Sprintf("collection: %v", err))
			}
			d.mu.Lock()
			d.rounds++
			d.changed.Broadcast()
			d.mu.Unlock()
		}
		if err == nil {
			err = d.work(quiet)
		}
		d.report(err)
		if err != nil {
			d.e.o.Warn(fmt.Sprintf("the journal cannot be drained: %v", err))
		}
	}
}

// work drains until little enough waits; everything when nothing comes in.
func (d *drainer) work(quiet bool) error {
	j := d.e.journal
	for {
		backlog := d.backlog()
		urgent := d.urgent.Swap(false) || d.waiting.Load() > 0
		due := backlog > j.Pages()/backlogShare || backlog > 0 && (quiet || urgent)
		if due {
			if err := d.makeSpace(); err != nil {
				return err
			}
			if err := d.drain(); err != nil {
				if errors.Is(err, store.ErrNoSpace) && d.next().dead > 0 {
					d.beginCheckpoint() // what is dead may give back what is missing
				}
				return err
			}
		}
		cleaned, err := false, error(nil)
		if due {
			cleaned, err = d.clean(pace.Clean(d.e.crowding()))
		} else if quiet {
			cleaned, err = d.clean(pace.CleanCalm)
		}
		if err != nil {
			return err
		}
		held := d.drained.page - j.Tail()
		if held > j.Pages()/checkpointShare || held > 0 && urgent && j.Used() > j.Pages()/2 ||
			quiet && !due && !cleaned && (held > 0 || d.next().dead > 0) ||
			d.next().dead >= deadAtOnce {
			d.beginCheckpoint()
		}
		if !due && !cleaned && quiet {
			return j.Flush() // which takes long after many writes: the next snapshot finds it done
		}
		if !due && !cleaned {
			return nil
		}
		select {
		case <-d.e.stop:
			return nil
		case err := <-d.made: // there may be work for long, and reason for the next
			d.checkpointing = false
			if err != nil {
				return err
			}
		default:
		}
		quiet = quiet && d.e.journal.Head() == d.rest.Head
	}
}

// drainTo drains what lies before a page of the journal, and makes a checkpoint. Padding
// whose group could not be appended is no group, and stays.
func (d *drainer) drainTo(page uint64) error {
	for d.drained.page < page && d.backlog() > 0 {
		if err := d.drain(); err != nil {
			return err
		}
	}
	return d.checkpoint()
}

// backlog is the number of pages of the groups that are not in Badger yet.
func (d *drainer) backlog() uint64 {
	d.e.index.RLock()
	defer d.e.index.RUnlock()
	return d.e.pending.end(d.drained.page) - d.drained.page
}

// drainPages is how much of the journal becomes one transaction.
const drainPages = 2048

// drain moves some groups into records. Of a block that was written several times
// only what is needed goes: the last copy, and an older one whose successor in the
// journal is not on stable storage yet.
func (d *drainer) drain() error {
	e := d.e
	// After a failed sync the kernel may have read a page anew, as it was before: it must
	// not become a record whose checksum holds.
	if err := errors.Join(e.journal.Err(), e.room(minFree)); err != nil {
		return err
	}
	groups, err := d.take()
	if len(groups) == 0 || err != nil {
		return err
	}
	end := groups[len(groups)-1]
	blocks, zeros := collectRuns(groups)
	entries := d.zeroEntries(zeros) // their ids come before those of the records
	d.values = d.values[:0]
	if err := d.commit(d.wanted(blocks), d.journaled, entries); err != nil {
		return err
	}
	e.index.Lock()
	e.pending.pop(len(groups))
	e.index.Unlock()
	d.drained = mark{end.End, end.Sequence + 1, end.Epoch}
	d.reached.Store(end.End)
	return nil
}

// take returns the oldest groups, whose rows are in Badger.
func (d *drainer) take() ([]group, error) {
	d.e.index.RLock()
	all := d.e.pending.all
	n, rows := 0, uint64(0)
	for n < len(all) && (n == 0 || all[n].End-all[0].Position <= drainPages) {
		rows = max(rows, all[n].number)
		n++
	}
	d.e.index.RUnlock()
	return all[:n:n], d.e.finish(rows)
}

// collectRuns lists the blocks of groups, each once with its last copy, sorted, less
// those that the groups zero later; and the zeros.
func collectRuns(groups []group) (blocks []index.Move, zeros []journal.Run) {
	for i := range groups {
		for k, l := range groups[i].layers {
			if l == nil {
				continue
			}
			switch r := groups[i].Runs[k]; r.Kind {
			case journal.Write:
				for n := range uint64(r.Count) {
					blocks = append(blocks, index.Move{Layer: l, Block: r.First + n, From: index.Journaled(r.Page + n)})
				}
			case journal.Zero:
				zeros = append(zeros, r)
			}
		}
	}
	slices.SortFunc(blocks, index.CompareMoves)
	blocks = slices.CompactFunc(blocks, func(a, b index.Move) bool { return a.Layer == b.Layer && a.Block == b.Block })
	if len(zeros) == 0 {
		return blocks, nil
	}
	for _, z := range zeros {
		i := sort.Search(len(blocks), func(i int) bool {
			b := &blocks[i]
			return b.Layer.ID > z.Layer || b.Layer.ID == z.Layer && b.Block >= z.First
		})
		for ; i < len(blocks) && blocks[i].Layer.ID == z.Layer && blocks[i].Block-z.First < uint64(z.Count); i++ {
			if blocks[i].From < index.Journaled(z.Page) {
				blocks[i].From = index.Absent
			}
		}
	}
	return slices.DeleteFunc(blocks, func(b index.Move) bool { return b.From == index.Absent }), zeros
}

// wanted leaves out what something newer behind the groups makes needless.
func (d *drainer) wanted(blocks []index.Move) []index.Move {
	stable := d.e.journal.Stable()
	d.e.index.RLock()
	defer d.e.index.RUnlock()
	return d.e.index.Wanted(blocks, stable)
}

// commit writes zero entries, and records of sorted blocks, and lets
// the maps lead to the records where they are still wanted. Several transactions do no harm:
// what a crash leaves half done lies behind the checkpoint.
func (d *drainer) commit(blocks []index.Move, content index.Content, entries []index.ZeroEntry) error {
	if err := d.commitZeros(entries); err != nil {
		return err
	}
	for len(blocks) > 0 {
		err := d.e.room(minFree)
		if err == nil {
			err = d.e.begin(valuesAhead)
		}
		if err != nil {
			return err
		}
		part := blocks
		if d.e.files.NextLog(int64(len(blocks)) * blockSize) {
			part = index.Leading(blocks, commitBlocks) // the new log gets room before the next
		}
		records, err := d.writeRecords(part, content)
		d.e.files.End()
		if err == nil {
			err = d.settle(records)
		}
		if err != nil {
			return err
		}
		blocks = blocks[len(part):]
	}
	return nil
}

// commitZeros writes zero entries, less those of layers that were dropped.
func (d *drainer) commitZeros(entries []index.ZeroEntry) error {
	e := d.e
	e.index.RLock()
	entries = slices.DeleteFunc(entries, func(t index.ZeroEntry) bool { return e.index.Layers[t.Layer] == nil })
	e.index.RUnlock()
	if len(entries) == 0 {
		return nil
	}
	err := e.write(func(tx *bdb.Txn) error {
		for i := range entries {
			if err := tx.Set(numberKey(keyZeros, entries[i].ID), entries[i].Encode()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	e.index.Lock()
	defer e.index.Unlock()
	for i := range entries {
		e.index.AddZeros(e.index.Layers[entries[i].Layer], &entries[i])
	}
	return nil
}

// writeRecords makes records of blocks and writes them, in transactions of which Badger
// writes one while the next is packed.
func (d *drainer) writeRecords(blocks []index.Move, content index.Content) (all []index.Packed, err error) {
	// All transactions now: whoever begins one waits for those that are being written.
	d.e.writing.RLock()
	defer d.e.writing.RUnlock()
	transactions := make([]*bdb.Txn, (len(blocks)+commitBlocks-1)/commitBlocks)
	for i := range transactions {
		transactions[i] = d.e.db.NewTransaction(true)
	}
	written, running := make(chan error, len(transactions)), 0
	for len(blocks) > 0 && err == nil {
		part := index.Leading(blocks, commitBlocks)
		records := index.Pack(part, d.e.newID, content)
		if err = setRecords(transactions[running], records); err == nil {
			transactions[running].CommitWith(func(err error) { written <- err })
			running++
		}
		all, blocks = append(all, records...), blocks[len(part):]
	}
	for _, tx := range transactions[running:] {
		tx.Discard()
	}
	for range running {
		err = errors.Join(err, translate(<-written))
	}
	return all, err
}

func setRecords(tx *bdb.Txn, records []index.Packed) error {
	for i := range records {
		r := &records[i]
		if err := errors.Join(tx.Set(numberKey(keyRecord, r.ID), r.Value), tx.Set(numberKey(keyEntry, r.ID), r.Entry.Encode())); err != nil {
			return translate(err)
		}
	}
	return nil
}

// settle lets the maps lead to records that have been written.
func (d *drainer) settle(records []index.Packed) error {
	e := d.e
	if err := e.begin(valuesAhead); err != nil { // of a file that may be new
		return err
	}
	err := e.values.Prepare()
	e.files.End()
	if err != nil {
		return err
	}
	e.views.Renew(e.db)
	e.index.Lock()
	defer e.index.Unlock()
	for i := range records {
		e.index.Settle(records[i].ID, records[i].Blocks)
	}
	return nil
}

// zeroEntries makes one entry per layer, older than the records of the transaction.
func (d *drainer) zeroEntries(zeros []journal.Run) (all []index.ZeroEntry) {
	for _, z := range zeros {
		s := index.Span{First: z.First, Last: z.First + uint64(z.Count)}
		i := slices.IndexFunc(all, func(t index.ZeroEntry) bool { return t.Layer == z.Layer })
		if i < 0 {
			i = len(all)
			all = append(all, index.ZeroEntry{ID: d.e.newID(), Layer: z.Layer})
		}
		s.ID = all[i].ID
		all[i].Spans = append(all[i].Spans, s)
	}
	return all
}

// journaled is the content of blocks of the journal: where they lie, if they follow each other
// there, else gathered in d.values.
func (d *drainer) journaled(blocks []index.Move) (value []byte, sums []uint32) {
	j := d.e.journal
	first := blocks[0].From.Page()
	whole := first%j.Pages()+uint64(len(blocks)) <= j.Pages()
	sums = make([]uint32, 0, len(blocks))
	for i, m := range blocks {
		whole = whole && m.From.Page() == first+uint64(i)
		sums = append(sums, index.Sum(m.Block, j.Sum(m.From.Page())))
	}
	if whole {
		return j.Page(first, uint64(len(blocks))), sums
	}
	start := len(d.values)
	for _, m := range blocks {
		d.values = append(d.values, j.Page(m.From.Page(), 1)...)
	}
	return d.values[start:len(d.values):len(d.values)], sums
}

// settled tells whether all of a layer is in Badger and on stable storage. Called with
// the index held for reading.
func (d *drainer) settled(l *index.Layer) bool {
	return l.LastPage <= d.e.journal.Tail() && l.LastID <= d.durable.Load() && d.zerosSettled(l)
}

func (d *drainer) zerosSettled(l *index.Layer) bool {
	return l.ZeroPage <= d.e.journal.Tail() && l.ZeroID <= d.durable.Load()
}
