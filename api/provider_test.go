package api

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/trust"
)

// fakeProvider has a certificate store and no clients.
type fakeProvider struct{ *trust.Store }

func (fakeProvider) Show() Provider {
	return Provider{URL: "https://127.0.0.1:8443/vasa/version.xml", UID: "uid", User: "vasa", Sessions: []ProviderSession{{Client: "host a", Initiators: []string{"iqn.a"}}}}
}

func (fakeProvider) Trace() []TraceEntry {
	return []TraceEntry{{Kind: "SOAP", Text: "SOAP 1.1", Count: 2}, {Kind: "order", Text: "a → b", Count: 1}}
}

func (f fakeProvider) Certificates() trust.Report { return f.Report() }

func (f fakeProvider) Import(certificates, key string) error {
	if key == "" {
		return f.InstallSigned(certificates, true)
	}
	return f.Store.Import(certificates, key)
}

// TestProvider shows the provider and changes its certificate.
func TestProvider(t *testing.T) {
	c := newCaller(t, newOptions(t))
	get := func(path string) string {
		w := c.send(http.MethodGet, path, "", nil)
		require.Equal(t, http.StatusOK, w.Code, "%s", w.Body)
		return w.Body.String()
	}
	require.JSONEq(t, `{"url":"https://127.0.0.1:8443/vasa/version.xml","uid":"uid","user":"vasa","sessions":[{"client":"host a","remote":"",
		"openedAt":"0001-01-01T00:00:00Z","timeoutSeconds":0,"initiators":["iqn.a"]}]}`, get("/api/v1/provider"))
	require.Contains(t, get("/api/v1/provider/trace?limit=1&offset=1"), "a → b")
	before := get("/api/v1/provider/certificate")
	require.NotContains(t, before, "PRIVATE")
	for path, want := range map[string]int{"csr": http.StatusOK, "renew": http.StatusOK} {
		require.Equal(t, want, c.send(http.MethodPost, "/api/v1/provider/certificate/"+path, "", nil).Code, path)
	}
	require.NotEqual(t, before, get("/api/v1/provider/certificate"), "renewed")
	for _, body := range []string{`{"certificate":"nonsense"}`, `{"certificate":"nonsense","key":"nonsense"}`, `{"certificate":""}`} {
		require.Equal(t, http.StatusBadRequest, c.send(http.MethodPost, "/api/v1/provider/certificate/import", body, nil).Code, body)
	}
}
