package scenario

import (
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/api"
	"vvsim/scsi/iscsi/host/clock"
	"vvsim/vasa"
	"vvsim/vasa/vasatest"
	"vvsim/vasa/wire"
)

// TestProviderConnections shows a provider whose certificate clients have to refuse, and
// one that is down; both heal for clients that had given up, and data go on meanwhile.
func TestProviderConnections(t *testing.T) {
	s := newStage(t)
	site := newSite(s.lab)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(s.a.Ready().VASA.CA))
	identity, err := site.vmca.Issue("careful", nil)
	require.NoError(t, err)
	careful, err := vasatest.New(vasatest.Options{URL: strings.TrimSuffix(s.a.Ready().VASA.URL, vasa.VersionPath) + vasa.ServicePath,
		Certificate: identity, Roots: roots})
	require.NoError(t, err)
	t.Cleanup(careful.Close)
	get := func() error {
		_, _, err := careful.Get(s.ctx, vasa.VersionPath)
		return err
	}
	require.NoError(t, get(), "a connection that stays open")
	for action, want := range map[string]func(err error) bool{
		"certificate expired": func(err error) bool {
			bad, ok := errors.AsType[x509.CertificateInvalidError](err)
			return ok && bad.Reason == x509.Expired
		},
		"certificate wrong-name": func(err error) bool { _, ok := errors.AsType[x509.HostnameError](err); return ok },
		"certificate untrusted":  func(err error) bool { _, ok := errors.AsType[x509.UnknownAuthorityError](err); return ok },
		"down":                   func(err error) bool { return err != nil },
	} {
		f := s.addFault("vasa -> " + action)
		err := get()
		require.True(t, want(err), "%s: %v", action, err)
		require.NotZero(t, s.hits(f))
		want := http.StatusOK
		if action == "down" {
			want = http.StatusServiceUnavailable
		}
		require.Equal(t, want, s.status("/healthz"), action)
		s.othersUnharmed()
		s.healed()
		s.removeFault(f)
		require.NoError(t, get(), action)
		require.Equal(t, http.StatusOK, s.status("/healthz"))
	}
}

// TestProviderReconnects shows that a client whose request is under way when connections have to be
// made anew is told so with its answer: its next request goes over another one.
func TestProviderReconnects(t *testing.T) {
	l := newLab(t, ":memory:", nil)
	host := newSite(l).host("esx1")
	reused := func() (is bool) {
		trace := &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { is = c.Reused }}
		_, err := host.Call(httptrace.WithClientTrace(l.ctx, trace), &wire.QueryArrays{})
		require.NoError(t, err)
		return is
	}
	require.True(t, reused())
	for range 10 {
		hang := l.addFault("vasa op=queryStorageContainer -> hang")
		done := make(chan error, 1)
		go func() {
			_, err := host.Call(l.ctx, &wire.QueryStorageContainer{})
			done <- err
		}()
		l.awaitHits(hang, 1)
		flaw := l.addFault("vasa count=1 -> certificate expired")
		l.removeFault(hang)
		require.NoError(t, <-done)
		require.False(t, reused())
		l.removeFault(flaw)
		host.Close() // an idle connection has ended, which a client may not have heard yet
		require.False(t, reused())
		require.True(t, reused())
	}
}

// TestProviderSessions shows sessions that are dropped, events that are lost and a storm of
// them, to a host that calls the provider and to one that does not.
func TestProviderSessions(t *testing.T) {
	l := newLab(t, ":memory:", nil)
	s := newSite(l)
	host, other := s.host("esx1"), s.host("esx2")
	events := func(c *vasatest.Client, last int64) (int, string) {
		r, err := vasatest.Do[wire.GetEventsResponse](l.ctx, c, &wire.GetEvents{LastEventID: &last})
		var f *wire.SOAPFault
		if errors.As(err, &f) {
			return 0, wire.FaultName(f.Detail)
		}
		require.NoError(t, err)
		return len(r.Return), ""
	}
	expect := func(c *vasatest.Client, last int64, n int, fault string) {
		t.Helper()
		got, name := events(c, last)
		require.Equal(t, fault, name)
		require.Equal(t, n, got)
	}
	expect(host, -1, 0, "")
	expect(other, -1, 0, "")
	mine := "vasa host=" + iqn("esx1") + " "
	told, theirs := int64(0), l.addFault("vasa host="+iqn("esx2")+" -> event-storm 3")
	otherHears := func() {
		t.Helper()
		expect(other, told, 3, "")
		told += 3
	}
	otherHears()
	expect(host, 0, 0, "")
	f := l.addFault(mine + "op=getEvents -> event-storm 99")
	expect(host, 0, 99, "")
	otherHears()
	l.removeFault(f)
	expect(host, 99, 0, "")
	f = l.addFault(mine + "-> event-storm 2000")
	expect(host, 99, 0, "LostEvent")
	otherHears()
	l.removeFault(f)
	expect(host, -1, 100, "")
	f = l.addFault(mine + "-> lose-events")
	expect(host, 100, 0, "LostEvent")
	otherHears()
	expect(host, -1, 0, "")
	expect(host, 0, 0, "LostEvent")
	require.EqualValues(t, 3, l.hits(f))
	l.removeFault(f)
	expect(host, -1, 0, "")
	expect(host, 0, 0, "")
	f = l.addFault(mine + "op=queryArrays -> drop-session")
	arrays := func(c *vasatest.Client) error {
		_, err := c.Call(l.ctx, &wire.QueryArrays{})
		return err
	}
	for range 2 { // and again when it has a new one
		require.ErrorContains(t, arrays(host), "the session was dropped")
		require.ErrorContains(t, arrays(host), "no session")
		require.NoError(t, arrays(other))
		host = s.host("esx1")
	}
	l.removeFault(f)
	require.NoError(t, arrays(host))
	otherHears()
	l.removeFault(theirs)
	expect(other, told, 0, "")
}

// TestProviderInactive shows a provider that is inactive for one host, in all operations that
// can say so, and what it is for the others; and that it is active when the rule goes.
func TestProviderInactive(t *testing.T) {
	l := newLab(t, ":memory:", nil)
	s := newSite(l)
	host, other := s.host("esx1"), s.host("esx2")
	id, err := s.create(l.ctx, other, 1, "VMW_VVolName", "volume")
	require.NoError(t, err)
	works := func(c *vasatest.Client) {
		t.Helper()
		_, err := s.bind(l.ctx, c, id)
		require.NoError(t, err)
		_, err = c.Call(l.ctx, &wire.QueryProtocolEndpoint{})
		require.NoError(t, err)
	}
	f := l.addFault("vasa host=" + iqn("esx1") + " -> fault InactiveProvider")
	for n := range 2 {
		_, err := s.bind(l.ctx, host, id)
		require.Equal(t, "InactiveProvider", vasatest.Fault(err))
		_, err = host.Call(l.ctx, &wire.QueryProtocolEndpoint{})
		require.Equal(t, "InactiveProvider", vasatest.Fault(err))
		works(other)
		require.EqualValues(t, 2*(n+1), l.hits(f))
	}
	l.removeFault(f)
	works(host)
	works(other)
}

// TestProviderScopes shows operations that fail for a container, for a volume and for a host,
// while others of the same kind are answered as ever; and that they are when the rule goes.
func TestProviderScopes(t *testing.T) {
	l := newLab(t, ":memory:", nil)
	s := newSite(l)
	esx1, esx2 := s.host("esx1"), s.host("esx2")
	pool := call[api.Container](l, "POST", "/api/v1/containers", map[string]any{"name": "my pool", "sizeBytes": 1 << 30}, http.StatusCreated)
	makes := func(container string) error {
		_, err := s.createIn(l.ctx, esx1, container, 1, "VMW_VVolName", "new")
		return err
	}
	a, err := s.createIn(l.ctx, esx1, pool.ID, 1, "VMW_VVolName", "a")
	require.NoError(t, err)
	b, err := s.create(l.ctx, esx1, 1, "VMW_VVolName", "b")
	require.NoError(t, err)
	clones := func(id string, to *string) error {
		_, err := esx1.Call(l.ctx, &wire.CloneVirtualVolume{VVolID: id, NewContainerID: to, Metadata: pairs([]string{"VMW_VVolName", "clone"})})
		return err
	}
	binds := func(c *vasatest.Client, ids ...string) error {
		_, err := s.bind(l.ctx, c, ids...)
		return err
	}
	grows := func(id string) error {
		_, err := esx1.Call(l.ctx, &wire.ResizeVirtualVolume{VVolID: id, SizeInMB: 2})
		return err
	}
	for _, name := range []string{`"my pool"`, pool.ID} {
		f := l.addFault("vasa container=" + name + " -> fault OutOfResource")
		for i, err := range []error{makes(pool.ID), makes(strings.ToUpper(pool.ID)), clones(b, &pool.ID), clones(a, nil), grows(a)} {
			require.ErrorContains(t, err, "OutOfResource", i)
		}
		require.EqualValues(t, 5, l.hits(f))
		for i, err := range []error{makes(s.container), clones(b, nil), grows(b), binds(esx1, a), binds(esx2, a, a), binds(esx1, b)} {
			require.NoError(t, err, i)
		}
		require.EqualValues(t, 5, l.hits(f), "a bind needs no space, as it has no such fault")
		l.removeFault(f)
		for i, err := range []error{makes(pool.ID), clones(b, &pool.ID), clones(a, nil), grows(a)} {
			require.NoError(t, err, i)
		}
	}

	f := l.addFault("vasa vvol=" + a + " op=bindVirtualVolume -> fault InactiveProvider")
	require.ErrorContains(t, binds(esx1, a), "InactiveProvider")
	require.ErrorContains(t, binds(esx2, a), "InactiveProvider")
	require.NoError(t, binds(esx1, b))
	require.NoError(t, grows(a))
	l.removeFault(f)
	require.NoError(t, binds(esx2, a))

	f = l.addFault("vasa host=" + iqn("esx1") + " op=bindVirtualVolume -> fault InactiveProvider")
	require.ErrorContains(t, binds(esx1, a), "InactiveProvider")
	require.ErrorContains(t, binds(esx1, b), "InactiveProvider")
	require.NoError(t, binds(esx2, a))
	require.NoError(t, grows(a))
	require.EqualValues(t, 2, l.hits(f))
	l.removeFault(f)
	require.NoError(t, binds(esx1, a, a))

	f = l.addFault("vasa host=" + iqn("esx1") + " -> drop-session")
	require.NoError(t, binds(esx2, b))
	require.ErrorContains(t, binds(esx1, b), "InvalidSession")
	l.removeFault(f)
	esx1 = s.host("esx1")
	require.NoError(t, binds(esx1, b))

	handles, err := s.bind(l.ctx, esx1, a)
	require.NoError(t, err)
	sister, err := s.bind(l.ctx, esx1, b)
	require.NoError(t, err)
	handles[0].UniqueIdentifier = nil
	f = l.addFault("vasa vvol=a op=unbindVirtualVolume -> fault NotFound")
	require.ErrorContains(t, s.unbind(l.ctx, esx1, handles[0]), "NotFound", "a handle that does not say whose it is")
	require.NoError(t, s.unbind(l.ctx, esx1, sister...))
	l.removeFault(f)
	require.NoError(t, s.unbind(l.ctx, esx1, handles[0]))
}

// TestProviderSilence shows a client calls that are not answered, or late, while other
// operations and other clients are served, and that they go on when the rule goes.
func TestProviderSilence(t *testing.T) {
	c := frozen{clock.New(0)}
	l := newLabAt(c, nil, t, ":memory:", nil)
	s := newSite(l)
	host, other := s.host("esx1"), s.host("esx2")
	served := func(c *vasatest.Client, request any) {
		t.Helper()
		_, err := c.Call(l.ctx, request)
		require.NoError(t, err)
	}
	mine := "vasa op=queryArrays host=" + iqn("esx1") + " -> "
	f := l.addFault(mine + "drop")
	for range 2 {
		_, err := host.Call(l.ctx, &wire.QueryArrays{})
		require.ErrorIs(t, err, io.EOF)
		served(other, &wire.QueryArrays{})
		served(host, &wire.QueryStorageContainer{})
	}
	require.EqualValues(t, 2, l.hits(f))
	l.removeFault(f)
	served(host, &wire.QueryArrays{})
	for action, end := range map[string]func(f api.Fault){
		"hang":     l.removeFault,
		"delay 1m": func(api.Fault) { c.Step(time.Minute) },
		"delay 1h": l.removeFault,
	} {
		f := l.addFault(mine + action)
		done := make(chan error, 1)
		go func() {
			_, err := host.Call(l.ctx, &wire.QueryArrays{})
			done <- err
		}()
		l.awaitHits(f, 1)
		for _, client := range []*vasatest.Client{other, host} {
			served(client, &wire.QueryStorageContainer{})
		}
		served(other, &wire.QueryArrays{})
		select {
		case err := <-done:
			t.Fatalf("%s: it was answered: %v", action, err)
		default:
		}
		end(f)
		require.NoError(t, <-done, action)
		call[any](l, "DELETE", "/api/v1/faults", nil, http.StatusNoContent)
		served(host, &wire.QueryArrays{})
	}
}
