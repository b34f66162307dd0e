package vasa

import (
	"slices"
	"sync"

	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// Limits of the feed.
const (
	maxFeed   = 1024 // events that are kept for clients
	feedBatch = 512  // of the domain's events that are read at once
	// A request reads on when so many of the domain's events wait: well below what the
	// domain keeps, so that a storm of volumes does not bury what clients want to know.
	feedBehind = 512
)

// feed has those of the domain's events that clients are told, numbered anew. Most of
// what happens in the domain happens to volumes, of which clients are not told; if each
// client looked for itself, thousands of those between two polls would make it lose the
// few that matter.
type feed struct {
	mu     sync.Mutex // guards all below
	read   uint64     // serial of the next of the domain's events
	events []*wire.StorageEvent
	first  uint64 // number of the first of events
}

// feedBegins makes the feed go on from what happens next.
func (p *Provider) feedBegins() { p.feed.read, p.feed.first = p.o.Service.NextEvent(), 1 }

// catchUp reads what happened since the last time. Events that the domain keeps no more
// leave a gap in the numbers.
func (p *Provider) catchUp() {
	f := &p.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	for next := p.o.Service.NextEvent(); f.read < next; {
		events := p.o.Service.Events(f.read, feedBatch)
		if len(events) == 0 || events[0].Serial > f.read {
			f.drop(len(f.events))
			f.first++ // stands for what nobody knows
		}
		if len(events) == 0 {
			f.read = next
			return
		}
		for _, e := range events {
			f.events = append(f.events, p.translate(e)...)
		}
		f.drop(max(len(f.events)-maxFeed, 0))
		f.read = events[len(events)-1].Serial + 1
	}
}

func (f *feed) drop(n int) {
	f.events, f.first = slices.Clone(f.events[n:]), f.first+uint64(n)
}

// keepUp catches up when much has happened.
func (p *Provider) keepUp() {
	p.feed.mu.Lock()
	read := p.feed.read
	p.feed.mu.Unlock()
	if p.o.Service.NextEvent() > read+feedBehind {
		p.catchUp()
	}
}

// nextSerial is where the feed goes on for a client that is new.
func (p *Provider) nextSerial() uint64 {
	p.catchUp()
	p.feed.mu.Lock()
	defer p.feed.mu.Unlock()
	return p.feed.first + uint64(len(p.feed.events))
}

// since are the events from a number on, the next number, and whether some in between
// are not kept any more.
func (p *Provider) since(next uint64) (events []*wire.StorageEvent, then uint64, lost bool) {
	p.catchUp()
	f := &p.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	then = f.first + uint64(len(f.events))
	if next < f.first {
		next, lost = f.first, true
	}
	return slices.Clone(f.events[next-f.first:]), then, lost
}

// story is what clients are told of one kind of the domain's events.
type story struct {
	change  wire.EventConfigType
	message string // key of the event catalog
	offers  string // the same for the profiles that come or go with it; "": they stay
}

// stories are about containers. Other things have clients that know (binding, volumes)
// or follow their own way (endpoints, alarms).
var stories = map[string]story{
	"container.created": {wire.EventConfigTypeNew, "dev.vvsim.event.container.new", "dev.vvsim.event.profiles.new"},
	"container.resized": {wire.EventConfigTypeUpdate, "dev.vvsim.event.container.update", ""},
	"container.deleted": {wire.EventConfigTypeDelete, "dev.vvsim.event.container.delete", "dev.vvsim.event.profiles.delete"},
}

// translate makes of one of the domain's events what clients are told. A container that
// comes or goes takes its capability profiles with it: that is an event of type Policy
// about the Resource (PolicyEnum), which vasa.md 1.6 does not tell more of.
func (p *Provider) translate(e vvol.Event) []*wire.StorageEvent {
	s, known := stories[e.Kind]
	if !known {
		return nil
	}
	event := func(t wire.EventType, about wire.EntityType, message string) *wire.StorageEvent {
		return &wire.StorageEvent{ArrayID: new(p.arrayID()), EventConfigType: &s.change, EventObjType: &about, EventTimeStamp: new(e.Time.UTC()),
			EventType: &t, MessageID: &message, ObjectID: new(e.Object), ParameterList: []wire.NameValuePair{pair("container", e.Message)}}
	}
	all := []*wire.StorageEvent{event(wire.EventTypeConfig, wire.EntityTypeStorageContainer, s.message)}
	if s.offers != "" {
		all = append(all, event(wire.EventTypePolicy, wire.EntityType(wire.PolicyObjectResource), s.offers))
	}
	return all
}
