package badger

// A checkpoint puts Badger on stable storage, notes how far that reaches, and frees
// the journal up to there; then dead records may be deleted. The drainer decides from
// where to where, and goes on while another goroutine waits for the disk: what it
// commits meanwhile is beyond the checkpoint.
type checkpoint struct {
	at   mark
	ids  uint64 // records and zero entries up to this id are committed
	dead int    // records that are buried
}

// beginCheckpoint starts one unless one is being made. Its outcome comes through
// d.made. Drainer only.
func (d *drainer) beginCheckpoint() {
	if d.checkpointing {
		return
	}
	d.checkpointing = true
	c := d.next()
	d.e.wait.Go(func() { d.made <- d.make(c) })
}

// checkpoint makes one and returns when it is made. Drainer only.
func (d *drainer) checkpoint() error {
	if err := d.awaitCheckpoint(); err != nil {
		return err
	}
	return d.make(d.next())
}

// awaitCheckpoint waits for the one that is being made. Drainer only.
func (d *drainer) awaitCheckpoint() error {
	if !d.checkpointing {
		return nil
	}
	d.checkpointing = false
	return <-d.made
}

// finish drains everything and notes that nothing stands behind, so that the next start
// need not look for it. Close only.
func (d *drainer) finish() error {
	head := d.e.journal.Head()
	if err := d.drainTo(head); err != nil {
		return err
	}
	last := d.e.checkpoints.Last()
	if last.Position != head { // padding whose group could not be appended
		return nil
	}
	last.Closed = 1
	return d.e.checkpoints.Save(last)
}

func (d *drainer) next() checkpoint {
	d.e.index.RLock()
	defer d.e.index.RUnlock()
	return checkpoint{at: d.drained, ids: d.e.nextID.Load(), dead: d.e.index.Counts().Dead}
}

func (d *drainer) make(c checkpoint) error {
	e := d.e
	if err := e.files.Sync(); err != nil {
		return err
	}
	next := e.checkpoints.Last()
	next.Position, next.Sequence, next.Before = c.at.page, c.at.sequence, c.at.before
	next.Records, next.Epoch, next.Stable = c.ids, e.journal.Epoch(), e.journal.Stable()
	if err := e.checkpoints.Save(next); err != nil {
		return err
	}
	d.durable.Store(c.ids)
	e.journal.Free(c.at.page)
	d.report(nil)
	return e.deleteDead(c.dead, max(c.at.page, e.journal.Stable()))
}
