package vvol_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vvol"
)

const guid = "4c4c4544-0042-3510-8052-b4c04f4e4d31"

func (l *lab) bind(v vvol.VirtualVolume, initiator string) vvol.Binding {
	l.t.Helper()
	b, err := l.Bind(l.t.Context(), v.ID, initiator)
	require.NoError(l.t, err)
	return b
}

func (l *lab) eventKinds() (kinds []string) {
	for _, e := range l.Events(0, 10_000) {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// The rows of a host's initiators become one; bindings keep number and handle, and reach
// further initiators; binds by the GUID and by any initiator are the same.
func TestDeclareHost(t *testing.T) {
	ctx := t.Context()
	l := newLab(t, 2)
	a, b, c := l.create("a", 1), l.create("b", 1), l.create("c", 1)
	first := l.bind(a, iqn+"1")
	second := l.bind(b, iqn+"1")
	l.clock.advance(time.Hour)
	h, err := l.DeclareHost(ctx, guid, []string{iqn + "2", iqn + "1", iqn + "2"}, false)
	require.NoError(t, err)
	require.Equal(t, vvol.Host{ID: guid, GUID: guid, Initiators: []string{iqn + "1", iqn + "2"}, FirstSeen: first.Created}, h)
	require.Equal(t, []vvol.Host{h}, l.Hosts())
	first.Host, second.Host = guid, guid
	require.Equal(t, []vvol.Binding{first, second}, l.Bindings(vvol.BindingFilter{Host: guid}))
	require.Equal(t, h.Initiators, l.BindingInitiators(first))
	l.verify()
	require.NoError(t, l.SawInitiator(ctx, iqn+"2"))
	require.Equal(t, first, l.bind(a, iqn+"2"), "the same host")
	third, err := l.BindHost(ctx, c.ID, guid)
	require.NoError(t, err)
	require.Equal(t, third, l.bind(c, iqn+"1"))
	_, err = l.BindHost(ctx, c.ID, "other")
	require.ErrorIs(t, err, vvol.ErrNotFound)
	_, err = l.BindHost(ctx, c.ID, iqn+"1")
	require.ErrorIs(t, err, vvol.ErrNotFound, "is no host any more")

	events := len(l.Events(0, 1000))
	for range 3 {
		_, err = l.DeclareHost(ctx, guid, []string{iqn + "1"}, true)
		require.NoError(t, err)
	}
	require.Len(t, l.Events(0, 1000), events, "nothing new")
	h, err = l.DeclareHost(ctx, guid, []string{iqn + "1", iqn + "3"}, true)
	require.NoError(t, err)
	require.Equal(t, []string{iqn + "1", iqn + "2", iqn + "3"}, h.Initiators)
	l.restart()
	l.verify()
	require.Equal(t, []vvol.Binding{first, second, third}, l.Bindings(vvol.BindingFilter{Host: guid}))
	require.NoError(t, l.UnbindHost(ctx, guid))
	require.NoError(t, l.Check(ctx))
	require.Empty(t, l.Bindings(vvol.BindingFilter{}))
}

// A volume that two initiators were bound to under one handle is bound once then.
func TestDeclareHostMergesBindings(t *testing.T) {
	ctx := t.Context()
	for _, declared := range []bool{false, true} { // whether one of them had the GUID
		l := newLab(t, 1)
		a, b := l.create("a", 1), l.create("b", 1)
		if declared {
			_, err := l.DeclareHost(ctx, guid, []string{iqn + "2"}, false)
			require.NoError(t, err)
		}
		first, newer := l.bind(a, iqn+"1"), l.bind(a, iqn+"2")
		require.Equal(t, first.Secondary, newer.Secondary)
		_, err := l.DeclareHost(ctx, guid, []string{iqn + "1", iqn + "2"}, true)
		require.NoError(t, err)
		first.Host = guid
		require.Equal(t, []vvol.Binding{first}, l.Bindings(vvol.BindingFilter{}))
		l.verify()
		next := l.bind(b, iqn+"2")
		require.Equal(t, first.Secondary+1, next.Secondary, "the handle of the first is taken")
		l.verify()
		l.restart()
		l.verify()
	}
}

// Declarations that cannot be true together change nothing and are reported, loudly and
// not again and again.
func TestDeclareHostConflicts(t *testing.T) {
	ctx := t.Context()
	l := newLab(t, 1)
	a, b := l.create("a", 1), l.create("b", 1)
	conflict := func(guid string, live bool, initiators ...string) {
		t.Helper()
		hosts, bindings := l.Hosts(), l.Bindings(vvol.BindingFilter{})
		for range 2 {
			_, err := l.DeclareHost(ctx, guid, initiators, live)
			require.ErrorIs(t, err, vvol.ErrInUse)
		}
		require.Equal(t, hosts, l.Hosts())
		require.Equal(t, bindings, l.Bindings(vvol.BindingFilter{}))
		events := l.Events(0, 1000)
		require.Equal(t, "host.conflict", events[len(events)-1].Kind)
		require.Equal(t, vvol.Red, events[len(events)-1].Status)
		require.NotEqual(t, "host.conflict", events[len(events)-2].Kind, "told once")
		l.clock.advance(time.Minute)
		_, err := l.DeclareHost(ctx, guid, initiators, live)
		require.ErrorIs(t, err, vvol.ErrInUse)
		require.Len(t, l.Events(0, 1000), len(events)+1, "told again later")
		require.True(t, slices.ContainsFunc(l.Alarms(), func(a vvol.Alarm) bool {
			return a.Kind == vvol.HostConflict && a.Object == guid && a.Status == vvol.Red
		}))
		require.NoError(t, l.SawInitiator(ctx, fmt.Sprint(iqn, "x", len(events)))) // an event between
		l.verify()
	}
	_, err := l.DeclareHost(ctx, guid, []string{iqn + "1"}, false)
	require.NoError(t, err)
	conflict(guid, true, iqn+"2") // both are there
	l.bind(a, iqn+"1")
	conflict(guid, false, iqn+"2")         // bindings would go to the other
	conflict("other", false, iqn+"1")      // whose initiator is it
	l.bind(b, iqn+"3")                     // the handle that a has for iqn1
	conflict(guid, true, iqn+"1", iqn+"3") // one handle for two volumes

	l.clock.advance(time.Hour - time.Minute)
	l.tend()
	require.NotEmpty(t, l.Alarms())
	l.clock.advance(time.Minute)
	l.tend()
	require.Empty(t, l.Alarms(), "not seen for an hour")

	require.NoError(t, l.UnbindHost(ctx, guid))
	h, err := l.DeclareHost(ctx, "other", []string{iqn + "1", iqn + "4"}, false)
	require.NoError(t, err)
	require.Equal(t, []string{iqn + "1", iqn + "4"}, h.Initiators)
	_, err = l.Host(guid)
	require.ErrorIs(t, err, vvol.ErrNotFound, "which had no other")
	h, err = l.DeclareHost(ctx, "other", []string{iqn + "5"}, false)
	require.NoError(t, err)
	require.Equal(t, []string{iqn + "5"}, h.Initiators, "nothing was bound, and nobody is there")
	h, err = l.DeclareHost(ctx, guid, []string{iqn + "3", iqn + "4"}, false)
	require.NoError(t, err)
	require.Equal(t, []string{iqn + "3", iqn + "4"}, h.Initiators)
	_, err = l.DeclareHost(ctx, "third", []string{iqn + "5"}, false)
	require.NoError(t, err)
	l.verify()
	require.Contains(t, l.eventKinds(), "host.changed")
}

func TestDeclareHostRefuses(t *testing.T) {
	l := newLab(t, 1)
	many := []string{}
	for i := range 65 {
		many = append(many, fmt.Sprint(iqn, i))
	}
	for _, x := range []struct {
		guid       string
		initiators []string
	}{
		{"", []string{iqn}}, {"a b", []string{iqn}}, {"a\x01", []string{iqn}}, {string(make([]byte, 65)), []string{iqn}}, {iqn, []string{iqn}},
		{guid, nil}, {guid, many}, {guid, []string{"esx1"}}, {guid, []string{iqn, ""}},
	} {
		_, err := l.DeclareHost(t.Context(), x.guid, x.initiators, false)
		require.ErrorIs(t, err, vvol.ErrInvalid, "%q %d", x.guid, len(x.initiators))
	}
	_, err := l.DeclareHost(t.Context(), guid, many[:40], false)
	require.NoError(t, err)
	_, err = l.DeclareHost(t.Context(), guid, append(many[40:], many[0]), false)
	require.ErrorIs(t, err, vvol.ErrTooMany)
	require.Len(t, l.Hosts(), 1)
	l.verify()
}

// Hosts declare themselves, log in, bind and unbind at the same time, with initiators
// that they share: whatever comes out, it is consistent.
func TestDeclareHostConcurrently(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	l := newLab(t, 2)
	var volumes []vvol.VirtualVolume
	for i := range 6 {
		volumes = append(volumes, l.create(fmt.Sprint(i), 1))
	}
	var side sync.WaitGroup
	for worker := range 8 {
		side.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(worker)))
			name := func() string { return fmt.Sprint(iqn, r.IntN(6)) }
			for range 150 {
				v := volumes[r.IntN(len(volumes))]
				var err error
				switch r.IntN(6) {
				case 0:
					_, err = l.DeclareHost(t.Context(), fmt.Sprint("guid", r.IntN(3)), []string{name(), name()}, r.IntN(4) == 0)
				case 1:
					err = l.SawInitiator(t.Context(), name())
				case 2, 3:
					_, err = l.Bind(t.Context(), v.ID, name())
				case 4:
					err = l.Unbind(t.Context(), v.ID, name())
				case 5:
					_, err = l.BindHost(t.Context(), v.ID, vvol.HostID(fmt.Sprint("guid", r.IntN(3))))
				}
				known := slices.ContainsFunc([]error{vvol.ErrInUse, vvol.ErrBusy, vvol.ErrNotFound}, func(e error) bool { return errors.Is(err, e) })
				if err != nil && !known {
					t.Errorf("worker %d: %v", worker, err)
				}
			}
		})
	}
	side.Wait()
	l.verify()
	for _, h := range l.Hosts() {
		for _, name := range h.Initiators {
			of, err := l.Host(name)
			require.NoError(t, err)
			require.Equal(t, h.ID, of.ID)
		}
	}
	l.restart()
	l.verify()
	for _, v := range volumes {
		require.NoError(t, l.UnbindAll(context.Background(), v.ID))
	}
	l.verify()
}
