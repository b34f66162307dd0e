package trace

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestHeaders tells those that are unusual, or all, and no secret.
func TestHeaders(t *testing.T) {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/vasa/version.xml?x=1", nil)
	r.Header = http.Header{"Accept": {"*/*"}, "Cookie": {"s=1"}, "Authorization": {"Basic x"}, "Proxy-Authorization": {"Basic y"}}
	require.Empty(t, Headers(r, false))
	require.Equal(t, "GET /vasa/version.xml?x=1 HTTP/1.1\nAccept: */*", Headers(r, true))
	r.Header.Set("X-B", "2")
	r.Header["X-A"] = []string{"1", "3"}
	require.Equal(t, "GET /vasa/version.xml?x=1 HTTP/1.1\nX-A: 1, 3\nX-B: 2", Headers(r, false))
	r.Header = http.Header{"Cookie": {"s=1"}}
	require.Equal(t, "GET /vasa/version.xml?x=1 HTTP/1.1", Headers(r, true))
}

// TestMediaType leaves out the action.
func TestMediaType(t *testing.T) {
	for given, want := range map[string]string{
		"": "", "text/xml": "text/xml", "text/xml; charset=utf-8": "text/xml; charset=utf-8", "text/xml;;": "text/xml",
		`application/soap+xml; charset=UTF-8; action="urn:x"`: "application/soap+xml; charset=UTF-8",
	} {
		require.Equal(t, want, MediaType(&http.Request{Header: http.Header{"Content-Type": {given}}}), given)
	}
}
