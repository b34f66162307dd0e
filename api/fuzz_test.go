package api

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzAPI sends any method, path and body to an array in memory: no panic, no
// fault of the array, and every error is a problem.
func FuzzAPI(f *testing.F) {
	for _, seed := range [][3]string{
		{"GET", "/api/v1/vvols?limit=1&offset=-1", ""},
		{"POST", "/api/v1/vvols", `{"container":"default","sizeBytes":1048576,"name":"disk1","metadata":{"a":"b"}}`},
		{"PATCH", "/api/v1/vvols/disk1", `{"name":null,"metadata":{"a":null}}`},
		{"POST", "/api/v1/vvols/disk1/snapshot", `{"name":"s1"}`},
		{"POST", "/api/v1/vvols/disk1/fast-clone", `null`},
		{"POST", "/api/v1/vvols/disk1/revert", `{"snapshot":"s1"}`},
		{"POST", "/api/v1/vvols/disk1/resize", `{"sizeBytes":1e300}`},
		{"GET", "/api/v1/vvols/disk1/ranges?base=s1&kind=unshared", ""},
		{"POST", "/api/v1/snapshots", `{"items":[{"vvol":"disk1"},{"vvol":"disk1"}]}`},
		{"POST", "/api/v1/bindings", `{"vvol":"disk1","initiator":"iqn.2026-01.test:a"}`},
		{"DELETE", "/api/v1/bindings/1", ""},
		{"POST", "/api/v1/luns", `{"vvol":"disk1","lun":0}`},
		{"POST", "/api/v1/containers", `{"name":"gold","sizeBytes":1073741824,"serviceLevels":[{"name":"x","thin":true}]}`},
		{"PATCH", "/api/v1/containers/gold", `{"sizeBytes":0}`},
		{"PATCH", "/api/v1/knobs", `{"pe_media":{"deep":[[[]]]}}`},
		{"GET", "/api/v1/events?from=18446744073709551615&limit=10000", ""},
		{"DELETE", "/api/v1/sessions/7", ""},
		{"BREW", "//api/../%2e%2e/healthz", "\x00\xff"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	c := newCaller(f, newOptions(f))
	f.Fuzz(func(t *testing.T, method, path, body string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "/debug/pprof/") {
			return // never reaches the handler; profiles take their time
		}
		r, err := http.NewRequestWithContext(t.Context(), method, "http://array"+path, strings.NewReader(body))
		if err != nil {
			return
		}
		r.Header.Set("Authorization", "Bearer "+testToken)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		c.handler.ServeHTTP(w, r)
		require.NotEqual(t, http.StatusInternalServerError, w.Code, "%s", w.Body)
		if w.Code >= 400 {
			requireProblem(t, w)
		}
	})
}
