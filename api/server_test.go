package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vvol"
)

// TestEveryErrorIsProblem walks the ways in which a request can be wrong.
func TestEveryErrorIsProblem(t *testing.T) {
	c := newCaller(t, newOptions(t))
	ok[VVol](c, "POST", "/api/v1/vvols", `{"container":"default","sizeBytes":1048576,"name":"twin"}`)
	ok[VVol](c, "POST", "/api/v1/vvols", `{"container":"default","sizeBytes":1048576,"name":"twin"}`)
	big := `{"name":"` + strings.Repeat("x", maxBody) + `"}`
	noToken := func(r *http.Request) { r.Header.Del("Authorization") }
	wrongToken := func(r *http.Request) { r.Header.Set("Authorization", "Bearer sesame") }
	foreign := func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }
	text := func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }
	for _, x := range []struct {
		method, path, body string
		edit               func(*http.Request)
		status             int
		kind, detail       string
	}{
		{"GET", "/api/v1/nothing", "", nil, 404, "not-found", "nothing is served at /api/v1/nothing"},
		{"GET", "/nothing", "", nil, 404, "not-found", "nothing is served"},
		{"PUT", "/api/v1/vvols", "{}", nil, 405, "method-not-allowed", "GET, HEAD, POST"},
		{"POST", "/healthz", "", nil, 405, "method-not-allowed", "POST is not served at /healthz"},
		{"GET", "/api/v1/vvols/none", "", nil, 404, "not-found", `vvol "none"`},
		{"GET", "/api/v1/vvols/twin", "", nil, 400, "invalid-argument", `2 vvols have the name "twin"`},
		{"GET", "/api/v1/containers/none", "", nil, 404, "not-found", `container "none"`},
		{"DELETE", "/api/v1/bindings/x", "", nil, 404, "not-found", `binding "x"`},
		{"DELETE", "/api/v1/bindings/9", "", nil, 404, "not-found", "binding 9"},
		{"DELETE", "/api/v1/luns/70000", "", nil, 404, "not-found", `LUN "70000"`},
		{"DELETE", "/api/v1/sessions/9", "", nil, 404, "not-found", `session "9"`},
		{"GET", "/api/v1/hosts/none", "", nil, 404, "not-found", `host "none"`},
		{"POST", "/api/v1/vvols", "{bad", nil, 400, "invalid-request", "invalid character"},
		{"POST", "/api/v1/vvols", "", nil, 400, "invalid-request", "body"},
		{"POST", "/api/v1/vvols", `{"container":1,"sizeBytes":-4}`, nil, 422, "invalid-request", "body.container: expected string; body.sizeBytes: expected number >= 0"},
		{"POST", "/api/v1/vvols", `{"container":"default","sizeBytes":4096,"colour":"red"}`, nil, 422, "invalid-request", "body.colour: unexpected property"},
		{"POST", "/api/v1/vvols", `{"container":"default","sizeBytes":4096,"type":"Red"}`, nil, 422, "invalid-request", "body.type: expected value to be one of"},
		{"POST", "/api/v1/vvols", `{"container":"default","sizeBytes":1}`, nil, 400, "invalid-argument", "multiple of 4096"},
		{"POST", "/api/v1/vvols", `{"container":"none","sizeBytes":4096}`, nil, 404, "not-found", `container "none"`},
		{"POST", "/api/v1/vvols", `{"container":"default","sizeBytes":18446744073709547520}`, nil, 400, "invalid-argument", "at most"},
		{"POST", "/api/v1/vvols", `{}`, text, 415, "unsupported-media-type", "text/plain"},
		{"POST", "/api/v1/containers", big, nil, 413, "too-large", "more than 1048576 bytes"},
		{"POST", "/api/v1/containers", `{"name":"default","sizeBytes":1073741824}`, nil, 409, "exists", "default"},
		{"POST", "/api/v1/bindings", `{"vvol":"none","initiator":"iqn.2026-01.test:a"}`, nil, 404, "not-found", `vvol "none"`},
		{"POST", "/api/v1/luns", `{"vvol":"none","lun":16384}`, nil, 422, "invalid-request", "body.lun: expected number <= 16383"},
		{"POST", "/api/v1/snapshots", `{"items":[]}`, nil, 400, "invalid-argument", ""},
		{"PATCH", "/api/v1/knobs", `{"colour":"red"}`, nil, 400, "invalid-argument", "esxi.colour"},
		{"GET", "/api/v1/events?limit=x", "", nil, 422, "invalid-request", "query.limit: invalid integer"},
		{"GET", "/api/v1/vvols?limit=-1", "", nil, 422, "invalid-request", "query.limit: expected number >= 0"},
		{"GET", "/api/v1/vvols", "", noToken, 401, "unauthorized", "token"},
		{"GET", "/api/v1/vvols", "", wrongToken, 401, "unauthorized", "token"},
		{"GET", "/debug/pprof/heap", "", noToken, 401, "unauthorized", "token"},
		{"GET", "/nothing", "", noToken, 401, "unauthorized", "token"},
		{"GET", "/debug/pprof/none", "", nil, 404, "not-found", `profile "none"`},
		{"POST", "/api/v1/vvols", `{}`, foreign, 403, "forbidden", "cross-origin"},
	} {
		p := c.problem(x.status, x.method, x.path, x.body, x.edit)
		require.Equal(t, "urn:vvsim:"+x.kind, p.Type, "%s %s", x.method, x.path)
		require.Contains(t, p.Detail, x.detail, "%s %s", x.method, x.path)
	}
}

// TestPublic asks for what needs no token.
func TestPublic(t *testing.T) {
	o := newOptions(t)
	var sick error
	o.Health = []Check{{"engine", func(context.Context) error { return sick }}}
	o.Ready = func() error { return sick }
	c := newCaller(t, o)
	get := func(path string) *httptest.ResponseRecorder {
		return c.send("GET", path, "", func(r *http.Request) { r.Header.Del("Authorization") })
	}
	for _, path := range []string{"/", "/healthz", "/readyz", "/version", "/metrics", "/openapi.json"} {
		require.Equal(t, http.StatusOK, get(path).Code, path)
	}
	sick = errors.New("no pulse")
	for path, want := range map[string]Problem{
		"/healthz": {"urn:vvsim:unhealthy", "Service Unavailable", "engine: no pulse", 503},
		"/readyz":  {"urn:vvsim:not-ready", "Service Unavailable", "no pulse", 503},
	} {
		require.Equal(t, want, requireProblem(t, get(path)))
	}
}

// TestHangingProbe asks again and again for a part that hangs: each answer comes
// in time and names the part, and only one probe is out at a time.
func TestHangingProbe(t *testing.T) {
	o := newOptions(t)
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		hang := make(chan struct{})
		o.Health = []Check{{"engine", func(context.Context) error { asked.Add(1); <-hang; return nil }}}
		c := newCaller(t, o)
		for range 3 {
			p := c.problem(503, "GET", "/healthz", "", nil)
			require.Equal(t, "engine: no answer within 5s", p.Detail)
		}
		require.EqualValues(t, 1, asked.Load())
		close(hang)
		synctest.Wait()
		require.Equal(t, http.StatusOK, c.send("GET", "/healthz", "", nil).Code)
		require.EqualValues(t, 2, asked.Load())
	})
}

func TestPanicIsProblem(t *testing.T) {
	o := newOptions(t)
	var told string
	o.Ready = func() error { panic("out of order") }
	o.Panic = func(request string, value any, stack []byte) {
		told = fmt.Sprint(request, ": ", value, strings.Contains(string(stack), "TestPanicIsProblem"))
	}
	c := newCaller(t, o)
	require.Equal(t, "urn:vvsim:internal", c.problem(500, "GET", "/readyz", "", nil).Type)
	require.Equal(t, "GET /readyz: out of ordertrue", told)
}

// TestOpenAPI checks that the document describes every route, with a schema of
// each body and of errors, and no list that may be null.
func TestOpenAPI(t *testing.T) {
	c := newCaller(t, newOptions(t))
	d := ok[struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID string
			Security    []map[string][]string
			RequestBody *struct {
				Content map[string]struct{ Schema map[string]any }
			}
			Responses map[string]struct {
				Content map[string]struct{ Schema map[string]any }
			}
		}
		Components struct{ Schemas map[string]any }
	}](c, "GET", "/openapi.json", "")
	require.Equal(t, "3.1.0", d.OpenAPI)
	seen := map[string]bool{}
	for path, item := range d.Paths {
		for method, op := range item {
			at := method + " " + path
			require.False(t, seen[op.OperationID], "%s: operation %s stands twice", at, op.OperationID)
			seen[op.OperationID] = true
			require.Contains(t, op.Responses["default"].Content["application/problem+json"].Schema["$ref"], "ErrorModel", at)
			require.Equal(t, strings.HasPrefix(path, "/api/"), len(op.Security) > 0, at)
			for status, r := range op.Responses {
				require.Equal(t, status != "204", len(r.Content) > 0, "%s answers %s without a body", at, status)
				for _, m := range r.Content {
					require.NotEmpty(t, m.Schema, "%s answers %s without a schema", at, status)
				}
			}
			if op.RequestBody != nil {
				require.NotEmpty(t, op.RequestBody.Content["application/json"].Schema, at)
			}
		}
	}
	for _, id := range []string{"list-containers", "create-vvol", "snapshot-vvol", "clone-vvol", "fast-clone-vvol", "revert-vvol", "resize-vvol",
		"ranges-vvol", "list-pes", "bind", "unbind", "map-lun", "unmap-lun", "list-hosts", "list-sessions", "drop-session", "list-tasks",
		"list-events", "healthz", "readyz", "version", "metrics", "show-knobs", "set-knobs"} {
		require.True(t, seen[id], "%s is not described", id)
	}
	require.Contains(t, d.Paths["/api/v1/events"]["get"].Responses["200"].Content, "text/event-stream")
	b, err := json.Marshal(d)
	require.NoError(t, err)
	require.NotContains(t, string(b), `["array","null"]`)
}

// TestStream reads events as they happen, and again from a serial on.
func TestStream(t *testing.T) {
	o := newOptions(t)
	h, err := New(o)
	require.NoError(t, err)
	server := httptest.NewServer(h)
	defer server.Close()
	open := func(path, last string) (*bufio.Scanner, func()) {
		ctx, cancel := context.WithCancel(context.Background())
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+path, nil)
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+testToken)
		r.Header.Set("Accept", "text/event-stream")
		if last != "" {
			r.Header.Set("Last-Event-ID", last)
		}
		resp, err := server.Client().Do(r)
		require.NoError(t, err)
		require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
		return bufio.NewScanner(resp.Body), func() { cancel(); resp.Body.Close() }
	}
	next := func(s *bufio.Scanner) (e Event) {
		for s.Scan() {
			if data, ok := strings.CutPrefix(s.Text(), "data: "); ok {
				require.NoError(t, json.Unmarshal([]byte(data), &e))
				return e
			}
		}
		t.Fatal("the stream ended: ", s.Err())
		return e
	}
	live, stop := open("/api/v1/events", "")
	defer stop()
	v, err := o.Service.Create(t.Context(), vvol.CreateSpec{Container: "default", Size: 1 << 20, Type: vvol.Data, Name: "a"})
	require.NoError(t, err)
	made := next(live)
	require.Equal(t, "vvol.created", made.Kind)
	require.Equal(t, v.ID.String(), made.Object)

	past, stopPast := open("/api/v1/events", fmt.Sprint(made.Serial-1))
	defer stopPast()
	require.Equal(t, made, next(past))
	all, stopAll := open("/api/v1/events?from=1", "")
	defer stopAll()
	require.Equal(t, uint64(1), next(all).Serial)
	require.NoError(t, o.Service.Delete(t.Context(), v.ID))
	require.Equal(t, "vvol.deleted", next(past).Kind)

	c := newCaller(t, o)
	stream := func(r *http.Request) { r.Header.Set("Accept", "text/event-stream") }
	c.problem(400, "GET", "/api/v1/events?from=x", "", stream)
	require.NoError(t, o.Service.Close())
	require.Equal(t, "urn:vvsim:busy", c.problem(503, "GET", "/api/v1/events", "", stream).Type)
}

// TestPage checks that the page asks this array alone, for lists that there are.
func TestPage(t *testing.T) {
	c := newCaller(t, newOptions(t))
	page := c.send("GET", "/", "", nil).Body.String()
	require.NotRegexp(t, `(src|href|url|import)\s*[=(]`, page)
	require.NotContains(t, page, "://")
	names := regexp.MustCompile(`(?m)^  (\w+): \[`).FindAllStringSubmatch(page, -1)
	require.Len(t, names, 6)
	for _, n := range names {
		ok[[]json.RawMessage](c, "GET", "/api/v1/"+n[1]+"?limit=200", "")
	}
}

// TestSlowBody sends half a body and then nothing: the request is refused in time,
// and an operation that takes longer than a body may is not cut off.
func TestSlowBody(t *testing.T) {
	o := newOptions(t)
	synctest.Test(t, func(t *testing.T) {
		slow := make(chan struct{})
		o.Ready = func() error { <-slow; return nil }
		h, err := New(o)
		require.NoError(t, err)
		ln := &pipeListener{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
		near := ln.dial()
		server := &http.Server{Handler: h}
		go func() { _ = server.Serve(ln) }()
		defer server.Close()
		answers := bufio.NewReader(near)

		_, err = io.WriteString(near, "GET /readyz HTTP/1.1\r\nHost: array\r\nContent-Length: 2\r\n\r\n{}")
		require.NoError(t, err)
		go func() { time.Sleep(2 * bodyTimeout); close(slow) }()
		resp, err := http.ReadResponse(answers, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		_, err = io.ReadAll(resp.Body)
		require.NoError(t, err)

		began := time.Now()
		_, err = io.WriteString(near, "POST /api/v1/vvols HTTP/1.1\r\nHost: array\r\nAuthorization: Bearer "+testToken+"\r\nContent-Length: 9\r\n\r\nhalf")
		require.NoError(t, err)
		resp, err = http.ReadResponse(answers, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusRequestTimeout, resp.StatusCode)
		require.Equal(t, bodyTimeout, time.Since(began))
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Contains(t, string(b), "urn:vvsim:timed-out")

		stranger, began := ln.dial(), time.Now()
		_, err = io.WriteString(stranger, "POST /api/v1/vvols HTTP/1.1\r\nHost: array\r\nContent-Length: 9\r\n\r\nhalf")
		require.NoError(t, err)
		resp, err = http.ReadResponse(bufio.NewReader(stranger), nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
		require.Zero(t, time.Since(began), "nobody waits for the body of a stranger")
	})
}

// TestStuckReader takes nothing of a long answer: its request ends.
func TestStuckReader(t *testing.T) {
	o := newOptions(t)
	synctest.Test(t, func(t *testing.T) {
		h, err := New(o)
		require.NoError(t, err)
		ln := &pipeListener{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
		near := ln.dial()
		server := &http.Server{Handler: h}
		go func() { _ = server.Serve(ln) }()
		defer server.Close()
		_, err = io.WriteString(near, "GET / HTTP/1.1\r\nHost: array\r\n\r\n")
		require.NoError(t, err)
		time.Sleep(writeTimeout + time.Second)
		_, err = io.ReadAll(near)
		require.NoError(t, err, "the array has closed the connection")
	})
}

// pipeListener accepts the connections that are put into it.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// dial returns the client's end of a new connection.
func (l *pipeListener) dial() net.Conn {
	near, far := net.Pipe()
	l.conns <- far
	return near
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.IPAddr{} }

// TestPolicies changes levels and qualities, and asks whether they hold.
func TestPolicies(t *testing.T) {
	c := newCaller(t, newOptions(t))
	k := ok[Container](c, "PATCH", "/api/v1/containers/default", `{"serviceLevels":[{"name":"gold","thin":true,"maxIops":1000,"warnPercentUsed":80},{"name":"thick","thin":false}]}`)
	require.Equal(t, []vvol.ServiceLevel{{Name: "gold", Thin: true, MaxIOPS: 1000, WarnPercentUsed: 80}, {Name: "thick"}}, k.ServiceLevels)
	v := ok[VVol](c, "POST", "/api/v1/vvols", `{"container":"default","sizeBytes":1048576,"name":"v","quality":{"maxIops":10,"durability":"sync"}}`)
	require.Equal(t, vvol.Quality{MaxIOPS: 10, Durability: "sync"}, v.Quality)
	v = ok[VVol](c, "POST", "/api/v1/vvols/v/policy", `{"serviceLevel":"thick"}`)
	require.Equal(t, vvol.Quality{Thick: true, MaxIOPS: 10, Durability: "sync"}, v.Quality)
	require.Equal(t, "thick", v.ServiceLevel)
	v = ok[VVol](c, "POST", "/api/v1/vvols/v/policy", `{"quality":{"maxIops":0}}`)
	require.Equal(t, vvol.Quality{Thick: true, Durability: "sync"}, v.Quality)
	require.True(t, ok[Compliance](c, "GET", "/api/v1/vvols/v/compliance", "").Compliant)
	ok[Container](c, "PATCH", "/api/v1/containers/default", `{"serviceLevels":[{"name":"gold","thin":true}]}`)
	got := ok[Compliance](c, "GET", "/api/v1/vvols/v/compliance", "")
	require.False(t, got.Compliant)
	require.Equal(t, []vvol.Violation{{What: "serviceLevel", Expected: "thick", Current: "not offered"}}, got.Violations)
	require.Empty(t, ok[[]Alarm](c, "GET", "/api/v1/alarms", ""))
	for _, x := range []struct {
		method, path, body string
		status             int
		detail             string
	}{
		{"PATCH", "/api/v1/containers/default", `{}`, 400, "neither sizeBytes nor serviceLevels"},
		{"PATCH", "/api/v1/containers/default", `{"serviceLevels":[]}`, 400, "0 service levels"},
		{"PATCH", "/api/v1/containers/default", `{"serviceLevels":[{"name":"x","thin":true,"durability":"never"}]}`, 400, "never"},
		{"PATCH", "/api/v1/containers/default", `{"sizeBytes":1000}`, 400, "multiple"},
		{"POST", "/api/v1/vvols/v/policy", `{"serviceLevel":"lead"}`, 400, `no service level "lead"`},
		{"POST", "/api/v1/vvols/v/policy", `{"quality":{"durability":"never"}}`, 422, "body.quality.durability"},
		{"POST", "/api/v1/vvols/v/policy", `{"quality":{"maxIops":-1}}`, 422, "body.quality.maxIops"},
		{"POST", "/api/v1/vvols/none/policy", `{}`, 404, "none"},
		{"GET", "/api/v1/vvols/none/compliance", "", 404, "none"},
	} {
		require.Contains(t, c.problem(x.status, x.method, x.path, x.body, nil).Detail, x.detail, "%s %s", x.path, x.body)
	}
}
