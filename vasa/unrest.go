package vasa

import (
	"context"

	"vvsim/vasa/wire"
)

// What follows is for Invokers that simulate failures: what they do to the caller of an
// operation, whose context they got, if it has a session.

// withSession is the caller of an operation if it has a session, else nil.
func withSession(ctx context.Context) *caller {
	if c, ok := ctx.Value(callerKey{}).(*caller); ok && c.session != nil {
		return c
	}
	return nil
}

// HasSession tells whether the caller has one.
func (p *Provider) HasSession(ctx context.Context) bool { return withSession(ctx) != nil }

// EndSession ends the caller's session and returns what the client is told: InvalidSession.
func (p *Provider) EndSession(ctx context.Context) error {
	if c := withSession(ctx); c != nil {
		p.sessions.End(c.session.ID)
		c.cookie = nil
	}
	return refuse(&wire.InvalidSession{}, "the session was dropped, as it was asked to be")
}

// LoseEvents drops the events that the caller was not told yet, and has it start over.
func (p *Provider) LoseEvents(ctx context.Context) {
	if c := withSession(ctx); c != nil {
		c.client().Events.Lose()
	}
}

// Storm queues n events for the caller, as of changes of the array's description.
func (p *Provider) Storm(ctx context.Context, n int) {
	if c := withSession(ctx); c != nil {
		for range n {
			c.client().Events.Put("", p.arrayEvent())
		}
	}
}
