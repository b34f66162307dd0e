package vvol

import (
	"context"
	"fmt"
	"sync"
)

// eventQueue bounds the events that wait for one subscriber.
const eventQueue = 256

// GapEvent is the kind of the event that stands for events a slow subscriber
// lost; its serial is that of the last one lost.
const GapEvent = "events.gap"

// Events returns up to max of the events that are kept, with serials from from
// on, oldest first. At most Options.EventsKept are kept, over restarts too.
func (s *Service) Events(from uint64, max int) []Event {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	rows := s.catalog.events.From(from, max)
	list := make([]Event, len(rows))
	for i, r := range rows {
		list[i] = r.Event
	}
	return list
}

// NextEvent is the serial that the next event will have.
func (s *Service) NextEvent() uint64 {
	s.catalog.mu.RLock()
	defer s.catalog.mu.RUnlock()
	return s.catalog.counters.Event + 1
}

// subscribers of events. Publishing never waits for them.
type subscribers struct {
	mu     sync.Mutex // guards all below, and every send
	max    int
	closed bool
	list   map[*subscriber]struct{}
}

type subscriber struct {
	events chan Event
	lost   uint64 // events since the queue was full
	last   Event  // the last of them
	stop   func() bool
}

// Subscribe returns the events from now on, in order. The channel is closed when
// ctx ends or the service closes; at once when there are Options.MaxSubscribers
// already. A reader that is too slow loses events and finds a GapEvent in their place.
func (s *Service) Subscribe(ctx context.Context) <-chan Event {
	l := &s.subscribers
	sub := &subscriber{events: make(chan Event, eventQueue)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.list) >= l.max || ctx.Err() != nil {
		close(sub.events)
		return sub.events
	}
	if l.list == nil {
		l.list = map[*subscriber]struct{}{}
	}
	l.list[sub] = struct{}{}
	sub.stop = context.AfterFunc(ctx, func() { l.remove(sub) })
	return sub.events
}

func (l *subscribers) remove(sub *subscriber) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, has := l.list[sub]; has {
		delete(l.list, sub)
		close(sub.events)
	}
}

func (l *subscribers) publish(events []Event) {
	if len(events) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for sub := range l.list {
		for _, e := range events {
			sub.offer(e)
		}
	}
}

// offer queues e, after the marker of what was lost before it.
func (sub *subscriber) offer(e Event) {
	if sub.lost > 0 && len(sub.events)+2 <= cap(sub.events) {
		gap := Event{Serial: sub.last.Serial, Time: sub.last.Time, Kind: GapEvent, Message: fmt.Sprintf("%d events lost", sub.lost)}
		sub.events <- gap
		sub.lost = 0
	}
	if sub.lost > 0 || len(sub.events) == cap(sub.events) {
		sub.lost, sub.last = sub.lost+1, e
		return
	}
	sub.events <- e
}

func (l *subscribers) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for sub := range l.list {
		sub.stop()
		delete(l.list, sub)
		close(sub.events)
	}
}
