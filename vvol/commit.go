package vvol

import (
	"context"
	"errors"
	"sync"

	"vvsim/vvol/store"
)

// Limits of one transaction of the catalog: what waits is committed together up
// to these.
const (
	groupBatches = 256
	groupBytes   = 4 << 20
)

// change is one row to write or remove.
type change struct {
	row  record
	gone bool
}

// batch is what one step of an operation writes, all or nothing.
type batch struct {
	// guard, when set, decides with all earlier groups in the catalog whether the
	// batch still applies. It runs with the catalog's lock held for reading.
	guard   func(c *catalog) error
	changes []change
	events  []Event // serial and time are given at commit

	values [][]byte // encoded changes
	bytes  int
	done   bool // owned by the leader until it lets go of lead
	err    error
}

func (b *batch) put(rows ...record) *batch {
	for _, r := range rows {
		b.changes = append(b.changes, change{row: r})
	}
	return b
}

func (b *batch) drop(rows ...record) *batch {
	for _, r := range rows {
		b.changes = append(b.changes, change{row: r, gone: true})
	}
	return b
}

func (b *batch) event(kind, object, message string) *batch {
	b.events = append(b.events, Event{Kind: kind, Object: object, Message: message})
	return b
}

func (b *batch) encode() error {
	for _, ch := range b.changes {
		var v []byte
		if !ch.gone {
			var err error
			if v, err = ch.row.encode(); err != nil {
				return err
			}
		}
		b.values = append(b.values, v)
		b.bytes += len(v)
	}
	return nil
}

// committer groups the batches of concurrent operations into transactions.
type committer struct {
	lead  sync.Mutex // held by the one that writes; commit order is the order of holding it
	mu    sync.Mutex // guards queue
	queue []*batch
}

// commit writes b, alone or with others, and brings it into the catalog. When it
// returns nil, b is on stable storage and queries see it; otherwise nothing of
// it has happened. It runs to its end even when ctx is cancelled, because half
// of an operation helps nobody.
func (s *Service) commit(ctx context.Context, b *batch) error {
	if err := b.encode(); err != nil {
		return translate(err)
	}
	c := &s.committer
	c.mu.Lock()
	c.queue = append(c.queue, b)
	c.mu.Unlock()
	c.lead.Lock()
	defer c.lead.Unlock()
	for !b.done {
		s.writeGroup(context.WithoutCancel(ctx), c.next())
	}
	return b.err
}

// next takes the oldest batches that fit one transaction.
func (c *committer) next() []*batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, size := 0, 0
	for n < len(c.queue) && n < groupBatches && (n == 0 || size+c.queue[n].bytes <= groupBytes) {
		size += c.queue[n].bytes
		n++
	}
	group := c.queue[:n:n]
	if c.queue = c.queue[n:]; len(c.queue) == 0 {
		c.queue = nil
	}
	return group
}

// writeGroup commits a group and finishes its batches. When several together are
// too big or fail, each is tried alone, so that one cannot fail another.
func (s *Service) writeGroup(ctx context.Context, group []*batch) {
	live := s.guarded(group)
	if len(live) == 0 {
		return
	}
	err := s.writeRows(ctx, live)
	if err != nil && len(live) > 1 && !errors.Is(err, store.ErrUnavailable) {
		for _, b := range live {
			s.writeGroup(ctx, []*batch{b})
		}
		return
	}
	for _, b := range live {
		b.err, b.done = translate(err), true
	}
}

func (s *Service) guarded(group []*batch) []*batch {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	live := group[:0:0]
	for _, b := range group {
		if b.guard != nil {
			b.err = b.guard(s.catalog)
		}
		if b.err != nil {
			b.done = true
			continue
		}
		live = append(live, b)
	}
	return live
}

// writeRows writes the rows of a group with their events, drops what the bounded
// lists no longer hold, and brings all of it into the catalog.
func (s *Service) writeRows(ctx context.Context, group []*batch) error {
	all := &batch{}
	for _, b := range group {
		all.changes = append(all.changes, b.changes...)
		all.values = append(all.values, b.values...)
	}
	extra, events := s.bookkeeping(group)
	if err := extra.encode(); err != nil {
		return err
	}
	all.changes = append(all.changes, extra.changes...)
	all.values = append(all.values, extra.values...)
	err := s.options.Engine.Meta().Update(ctx, func(tx store.MetaTx) error {
		for i, ch := range all.changes {
			if err := writeRow(tx, ch, all.values[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.catalog.mu.Lock()
	for _, ch := range all.changes {
		if ch.gone {
			ch.row.drop(s.catalog)
		} else {
			ch.row.put(s.catalog)
		}
	}
	s.catalog.mu.Unlock()
	s.subscribers.publish(events)
	return nil
}

func writeRow(tx store.MetaTx, ch change, value []byte) error {
	key := []byte(ch.row.key())
	if ch.gone {
		if err := tx.Delete(key); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return nil
	}
	return tx.Set(key, value)
}

// bookkeeping makes the rows that follow from a group: its events with their
// serials, the oldest events and the tasks that ended first removed, and the counters.
func (s *Service) bookkeeping(group []*batch) (*batch, []Event) {
	extra, events := &batch{}, []Event{}
	c := s.catalog
	c.mu.RLock()
	defer c.mu.RUnlock()
	count, now := c.counters, s.now()
	ending := 0
	for _, b := range group {
		for _, e := range b.events {
			count.Event++
			e.Serial, e.Time = count.Event, now
			events = append(events, e)
			extra.put(&eventRow{e})
		}
		for _, ch := range b.changes {
			if t, ok := ch.row.(*taskRow); ok && !ch.gone && t.finished() {
				ending++
			}
		}
	}
	for _, e := range c.events.From(0, c.events.Len()+len(events)-s.options.EventsKept) {
		extra.drop(e)
	}
	for _, n := range c.ended.Due(now, ending, s.taskLimits()) {
		extra.drop(c.tasks.Get(n))
	}
	extra.put(&count)
	return extra, events
}
