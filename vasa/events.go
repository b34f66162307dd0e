package vasa

import (
	"context"

	"vvsim/vasa/session"
	"vvsim/vasa/wire"
)

// eventOperations are the operations of vasa.md 2.3.
func (p *Provider) eventOperations() map[string]handler {
	return map[string]handler{
		"getEvents": answers(p.getEvents),
		"getAlarms": answers(p.getAlarms),
	}
}

// getEvents tells a client what it does not know yet. Events that it did not subscribe
// to are dropped, not kept (vasa.md 10).
func (p *Provider) getEvents(_ context.Context, c *caller, q *wire.GetEvents) (*wire.GetEventsResponse, error) {
	if q.LastEventID == nil {
		return nil, invalid("lastEventId is missing")
	}
	client := c.client()
	client.Advance(func(next uint64) uint64 {
		events, then, lost := p.since(next)
		if lost {
			client.Events.Lost()
		}
		for _, e := range events {
			if client.Wants(*e.EventType) {
				client.Events.Put(eventKey(e), e)
			}
		}
		return then
	})
	list, err := client.Events.After(*q.LastEventID, nil)
	if err != nil {
		return nil, err
	}
	return &wire.GetEventsResponse{Return: numberedEvents(list)}, nil
}

// eventKey lets a newer Update take the place of an older one that waits. New and Delete
// stay: the client may not know the object, or must forget what it knew.
func eventKey(e *wire.StorageEvent) string {
	if *e.EventConfigType != wire.EventConfigTypeUpdate {
		return ""
	}
	return string(*e.EventObjType) + " " + *e.ObjectID
}

// numberedEvents gives events their ids; other clients have them with other ids.
func numberedEvents(list []session.Numbered[wire.AnyEvent]) []wire.AnyEvent {
	all := make([]wire.AnyEvent, 0, len(list))
	for _, n := range list {
		switch e := n.Value.(type) {
		case *wire.RebindEvent:
			e = new(*e)
			e.EventID = &n.ID
			all = append(all, e)
		default:
			b := new(*e.Base())
			b.EventID = &n.ID
			all = append(all, b)
		}
	}
	return all
}
