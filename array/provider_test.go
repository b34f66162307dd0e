package array

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"vvsim/vasa"
)

// versionOf asks the provider's door for version.xml, with a header.
func versionOf(t testing.TB, a *Array) string {
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.Ready().VASA.URL, nil)
	require.NoError(t, err)
	r.Header.Set("X-Novelty", "of a client")
	resp, err := transport.RoundTrip(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	return string(b)
}

// TestVersionFile is served as it is; one that is not there or too large keeps the array
// from opening, with an error that names the key.
func TestVersionFile(t *testing.T) {
	require.Contains(t, versionOf(t, start(t)), `serviceLocation="`+vasa.ServicePath+`"`)
	require.Contains(t, versionOf(t, start(t, func(c *Config) { c.VASA.VersionForm = "B" })), "<serviceLocation>"+vasa.ServicePath+"</serviceLocation>")
	body := "<supportedVersions>\r\n<!-- of the lab --></supportedVersions>" + strings.Repeat(" ", maxVersionFile-100)
	a := start(t, func(c *Config) { c.VASA.VersionFile, c.VASA.VersionForm = write(t, body), "B" })
	require.Equal(t, body, versionOf(t, a))

	for file, want := range map[string]string{
		filepath.Join(t.TempDir(), "absent"):            "no such file",
		write(t, strings.Repeat("x", maxVersionFile+1)): "is larger than 65536 bytes",
		t.TempDir(): "is a directory",
	} {
		c := DefaultConfig()
		c.Data, c.API.Addr, c.VASA.Addr, c.ISCSI.Portals = InMemory, "127.0.0.1:0", "127.0.0.1:0", []string{"127.0.0.1:0"}
		c.VASA.VersionFile = file
		require.NoError(t, c.Validate())
		a, err := Open(t.Context(), c, "test", zap.NewNop())
		if err == nil {
			err = a.Start(t.Context())
			require.NoError(t, a.Close(context.Background()))
		}
		require.ErrorIs(t, err, ErrConfig, file)
		require.ErrorContains(t, err, "vasa.version_file: ")
		require.ErrorContains(t, err, want)
	}
}
