package vasa

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/session"
	"vvsim/vasa/vasatest"
	"vvsim/vasa/wire"
)

// unrest is an Invoker that does something before each operation.
type unrest struct {
	next   Invoker
	before func(ctx context.Context) error
}

func (u unrest) Invoke(ctx context.Context, op string, req any) (any, error) {
	if err := u.before(ctx); err != nil {
		return nil, err
	}
	return u.next.Invoke(ctx, op, req)
}

// Sessions that end, events that are lost, and a storm of events: of the client that calls,
// and of no other.
func TestUnrest(t *testing.T) {
	l := newLab(t, nil)
	next := l.invoker
	meanwhile := func(f func(ctx context.Context) error) {
		l.Decorate(func(Invoker) Invoker { return unrest{next, f} })
	}
	calm := func() { l.Decorate(func(Invoker) Invoker { return next }) }
	a, b := l.vcenter("11111111-1111-1111-1111-111111111111"), l.vcenter("22222222-2222-2222-2222-222222222222")
	events := func(c *vasatest.Client, last int64) []wire.AnyEvent {
		t.Helper()
		r, err := vasatest.Do[wire.GetEventsResponse](t.Context(), c, &wire.GetEvents{LastEventID: &last})
		require.NoError(t, err)
		return r.Return
	}
	for _, c := range []*vasatest.Client{a, b} {
		require.Empty(t, events(c, session.StartOver))
	}
	storm := func(n int) func(context.Context) error {
		return func(ctx context.Context) error {
			require.True(t, l.HasSession(ctx))
			l.Storm(ctx, n)
			return nil
		}
	}
	meanwhile(storm(3))
	got := events(a, 0)
	require.Len(t, got, 3)
	for i, e := range got {
		require.EqualValues(t, i+1, *e.Base().EventID)
		require.Equal(t, wire.EntityTypeStorageArray, *e.Base().EventObjType)
	}
	calm()
	require.Empty(t, events(b, 0), "another client")
	meanwhile(storm(session.MaxQueued + 1))
	l.fault(a, "LostEvent", &wire.GetEvents{LastEventID: new(int64(3))})
	meanwhile(func(ctx context.Context) error {
		l.LoseEvents(ctx)
		return nil
	})
	require.Empty(t, events(a, session.StartOver))
	l.fault(a, "LostEvent", &wire.GetEvents{LastEventID: new(int64(0))})
	calm()
	require.Empty(t, events(a, session.StartOver))
	require.Empty(t, events(b, 0))

	meanwhile(l.EndSession)
	l.fault(a, "InvalidSession", &wire.QueryArrays{})
	calm()
	l.fault(a, "InvalidSession", &wire.QueryArrays{})
	_, err := b.Call(t.Context(), &wire.QueryArrays{})
	require.NoError(t, err)
	require.False(t, l.HasSession(t.Context()), "nobody calls")
	l.LoseEvents(t.Context())
	l.Storm(t.Context(), 1)
	require.ErrorContains(t, l.EndSession(t.Context()), "dropped")
}
