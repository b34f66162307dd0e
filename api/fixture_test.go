package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vvsim/vasa/trust"
	"vvsim/vvol"
	"vvsim/vvol/store/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testToken = "open, sesame"

// endpoints stand in for the data path: everything attaches.
type endpoints struct{}

func (endpoints) Attach(context.Context, vvol.Binding, vvol.VirtualVolume, []string) error {
	return nil
}
func (endpoints) Detach(context.Context, vvol.Binding) error                     { return nil }
func (endpoints) Map(context.Context, vvol.LUNMapping, vvol.VirtualVolume) error { return nil }
func (endpoints) Unmap(context.Context, vvol.LUNMapping) error                   { return nil }
func (endpoints) Changed(vvol.VirtualVolume, bool, bool)                         {}
func (endpoints) SetQuality(vvol.VirtualVolume)                                  {}
func (endpoints) Quality(vvol.ID) (vvol.Quality, bool)                           { return vvol.Quality{}, false }
func (endpoints) Busy(n uint16) bool                                             { return n == 256 }
func (endpoints) List() []vvol.ProtocolEndpoint {
	return []vvol.ProtocolEndpoint{{ID: "naa.6027676000000000000000000000100", Name: "pe0", LUN: 256}}
}

// sessionList is one session that can be dropped.
type sessionList struct {
	mu   sync.Mutex // guards gone
	gone bool
}

func (s *sessionList) Sessions() []Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return nil
	}
	return []Session{{ID: "7", Initiator: "iqn.2026-01.test:a", TSIH: 1, Portal: "127.0.0.1:3260", PortalGroup: 1}}
}

func (s *sessionList) Drop(id uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := id == 7 && !s.gone
	s.gone = s.gone || known
	return known
}

// knobs are one setting.
type knobs struct {
	mu    sync.Mutex // guards value
	value any
}

func (k *knobs) Get() map[string]any {
	k.mu.Lock()
	defer k.mu.Unlock()
	return map[string]any{"pe_media": k.value}
}

func (k *knobs) Set(patch map[string]any) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for key, v := range patch {
		if s, ok := v.(string); key != "pe_media" || !ok || s == "" {
			return fmt.Errorf("%w: esxi.%s", vvol.ErrInvalid, key)
		}
		k.value = v
	}
	return nil
}

// newOptions are those of an API over an empty array in memory.
func newOptions(t testing.TB) Options {
	engine := mem.New()
	s, err := vvol.Open(context.Background(), vvol.Options{Engine: engine, Endpoints: endpoints{}})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.NoError(t, engine.Close())
	})
	require.NoError(t, s.EnsureDefaults(context.Background()))
	require.NoError(t, s.Start(context.Background()))
	store, err := trust.Open("", trust.Options{Addresses: []string{"127.0.0.1"}})
	require.NoError(t, err)
	return Options{Service: s, Sessions: &sessionList{}, Provider: fakeProvider{store}, Knobs: &knobs{value: "refuse"}, Ready: func() error { return nil },
		Gatherer: prometheus.NewRegistry(), Version: "test", Token: testToken,
		LUN: func(pe uint16, secondary uint64) [8]byte {
			return [8]byte{byte(pe >> 8), byte(pe), 0xe2, 4: byte(secondary >> 24), 5: byte(secondary >> 16), 6: byte(secondary >> 8), 7: byte(secondary)}
		}}
}

// caller sends requests to a handler.
type caller struct {
	t       testing.TB
	handler http.Handler
}

func newCaller(t testing.TB, o Options) *caller {
	h, err := New(o)
	require.NoError(t, err)
	return &caller{t, h}
}

// send sends a request with the token; edit changes it first.
func (c *caller) send(method, path, body string, edit func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+testToken)
	r.Header.Set("Content-Type", "application/json")
	if edit != nil {
		edit(r)
	}
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	return w
}

// problem sends a request that has to fail, and returns its problem.
func (c *caller) problem(status int, method, path, body string, edit func(*http.Request)) Problem {
	c.t.Helper()
	w := c.send(method, path, body, edit)
	require.Equal(c.t, status, w.Code, "%s %s: %s", method, path, w.Body)
	return requireProblem(c.t, w)
}

// requireProblem checks that an answer is a whole problem (RFC 9457).
func requireProblem(t testing.TB, w *httptest.ResponseRecorder) (p Problem) {
	t.Helper()
	require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"), "%s", w.Body)
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p), "%s", w.Body)
	require.Regexp(t, `^urn:vvsim:[a-z-]+$`, p.Type, "%s", w.Body)
	require.NotEmpty(t, p.Title, "%s", w.Body)
	require.NotEmpty(t, p.Detail, "%s", w.Body)
	require.Equal(t, w.Code, p.Status)
	return p
}

// Problem is an error as it stands in a body.
type Problem struct {
	Type, Title, Detail string
	Status              int
}

// ok sends a request that has to succeed and decodes the answer.
func ok[T any](c *caller, method, path, body string) (v T) {
	c.t.Helper()
	w := c.send(method, path, body, nil)
	require.Less(c.t, w.Code, 300, "%s %s: %s", method, path, w.Body)
	if w.Code != http.StatusNoContent {
		require.NoError(c.t, json.Unmarshal(w.Body.Bytes(), &v), "%s", w.Body)
	}
	_, err := io.Copy(io.Discard, w.Body)
	require.NoError(c.t, err)
	return v
}
