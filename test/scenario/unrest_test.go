package scenario

import (
	"crypto/x509"
	"errors"
	"io"
	"net/http"
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
	f := l.addFault("vasa op=getEvents count=1 -> event-storm 99")
	expect(host, 0, 99, "")
	expect(other, 0, 0, "")
	l.removeFault(f)
	f = l.addFault("vasa -> event-storm 2000")
	expect(host, 99, 0, "LostEvent")
	l.removeFault(f)
	expect(host, -1, 100, "")
	f = l.addFault("vasa count=1 -> lose-events")
	expect(host, 100, 0, "LostEvent")
	expect(host, -1, 0, "")
	l.removeFault(f)
	f = l.addFault("vasa op=queryArrays count=1 -> drop-session")
	_, err := host.Call(l.ctx, &wire.QueryArrays{})
	require.ErrorContains(t, err, "the session was dropped")
	_, err = host.Call(l.ctx, &wire.QueryArrays{})
	require.ErrorContains(t, err, "no session")
	_, err = other.Call(l.ctx, &wire.QueryArrays{})
	require.NoError(t, err)
	l.removeFault(f)
	again := s.host("esx1")
	_, err = again.Call(l.ctx, &wire.QueryArrays{})
	require.NoError(t, err)
	f = l.addFault("vasa -> fault InactiveProvider")
	_, err = vasatest.Do[wire.BindVirtualVolumeResponse](l.ctx, again, &wire.BindVirtualVolume{VVolID: []string{"any"}, BindContext: wire.BindContextNormal})
	require.ErrorContains(t, err, "InactiveProvider")
	l.removeFault(f)
}

// TestProviderSilence shows a client calls that are not answered, or late, while other
// operations and other clients are served, and that they go on when the rule goes.
func TestProviderSilence(t *testing.T) {
	c := frozen{clock.New(0)}
	l := newLabAt(c, nil, t, ":memory:", nil)
	s := newSite(l)
	host, other := s.host("esx1"), s.host("esx2")
	f := l.addFault("vasa op=queryArrays count=1 -> drop")
	_, err := host.Call(l.ctx, &wire.QueryArrays{})
	require.ErrorIs(t, err, io.EOF)
	_, err = host.Call(l.ctx, &wire.QueryArrays{})
	require.NoError(t, err)
	l.removeFault(f)
	for action, end := range map[string]func(f api.Fault){
		"hang":     l.removeFault,
		"delay 1m": func(api.Fault) { c.Step(time.Minute) },
		"delay 1h": l.removeFault,
	} {
		f := l.addFault("vasa op=queryArrays count=1 -> " + action)
		done := make(chan error, 1)
		go func() {
			_, err := host.Call(l.ctx, &wire.QueryArrays{})
			done <- err
		}()
		l.awaitHits(f, 1)
		for _, client := range []*vasatest.Client{other, host} {
			_, err := client.Call(l.ctx, &wire.QueryStorageContainer{})
			require.NoError(t, err)
		}
		_, err := other.Call(l.ctx, &wire.QueryArrays{})
		require.NoError(t, err)
		select {
		case err := <-done:
			t.Fatalf("%s: it was answered: %v", action, err)
		default:
		}
		end(f)
		require.NoError(t, <-done, action)
		call[any](l, "DELETE", "/api/v1/faults", nil, http.StatusNoContent)
	}
}
