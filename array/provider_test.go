package array

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"vvsim/vasa"
	"vvsim/vasa/vasatest"
	"vvsim/vasa/wire"
)

// TestRequestsLogged: each request is in the log with operation, client, duration, outcome and
// an id, that of its fault's text too; what only looks is at debug, and no password is there.
func TestRequestsLogged(t *testing.T) {
	core, seen := observer.New(zap.DebugLevel)
	a := startLogged(t, zap.New(core))
	ca, err := vasatest.NewAuthority("VMCA")
	require.NoError(t, err)
	cert, err := ca.Issue("host", nil)
	require.NoError(t, err)
	url := strings.TrimSuffix(a.Ready().VASA.URL, vasa.VersionPath) + vasa.ServicePath
	client := func(cert *tls.Certificate) *vasatest.Client {
		c, err := vasatest.New(vasatest.Options{URL: url, Certificate: cert})
		require.NoError(t, err)
		t.Cleanup(c.Close)
		return c
	}
	stranger, host := client(nil), client(cert)
	password := a.Ready().VASA.Password
	require.NotEmpty(t, password)
	guid := "564de1a4-9a99-da0f-8b7c-000000000001"
	ids := map[string]bool{}
	for _, x := range []struct {
		c                                *vasatest.Client
		request                          any
		operation, client, outcome, text string
		level                            zapcore.Level
	}{
		{stranger, &wire.RegisterCACertificatesAndCRLs{ProviderUserName: "vasa", ProviderPassword: "wrong " + password, CARootCert: []string{ca.PEM()}},
			"registerCACertificatesAndCRLs", "", "InvalidLogin", "VASA fault", zap.InfoLevel},
		{stranger, &wire.RegisterCACertificatesAndCRLs{ProviderUserName: "vasa", ProviderPassword: password, CARootCert: []string{ca.PEM()}},
			"registerCACertificatesAndCRLs", "", "ok", "VASA call", zap.InfoLevel},
		{host, &wire.QueryArrays{}, "queryArrays", "", "InvalidSession", "VASA fault", zap.InfoLevel},
		{host, &wire.SetContext{UsageContext: &wire.UsageContext{HostGUID: &guid, HostInitiator: []wire.HostInitiatorInfo{{ISCSIIdentifier: new("iqn.2026-01.test:host")}}}},
			"setContext", "host " + guid, "ok", "VASA call", zap.InfoLevel},
		{host, &wire.QueryArrays{}, "queryArrays", "host " + guid, "ok", "VASA call", zap.DebugLevel},
		{host, &wire.GetTaskUpdate{TaskID: "nothing:1"}, "getTaskUpdate", "host " + guid, "NotFound", "VASA fault", zap.InfoLevel},
	} {
		seen.TakeAll()
		_, err := x.c.Call(t.Context(), x.request)
		var logged []observer.LoggedEntry
		require.Eventually(t, func() bool { // the answer is there before its line
			logged = seen.FilterMessage(x.text).All()
			return len(logged) > 0
		}, waitLimit, tick)
		require.Len(t, logged, 1)
		fields := logged[0].ContextMap()
		require.Equal(t, x.level, logged[0].Level, x.operation)
		require.Equal(t, x.operation, fields["operation"])
		require.Equal(t, x.client, fields["client"])
		require.Equal(t, x.outcome, fields["outcome"])
		require.Regexp(t, `^127\.0\.0\.1:\d+$`, fields["remote"])
		require.Positive(t, fields["took"])
		id := fields["request"].(string)
		require.NotContains(t, ids, id)
		ids[id] = true
		if x.outcome == "ok" {
			require.NoError(t, err)
			continue
		}
		require.Equal(t, x.outcome, vasatest.Fault(err))
		require.ErrorContains(t, err, "(request "+id+")")
		require.NotEmpty(t, fields["detail"])
		require.NotContains(t, fmt.Sprint(fields), password)
	}

	seen.TakeAll()
	for range 3 {
		versionOf(t, a)
	}
	require.Eventually(t, func() bool {
		return seen.FilterMessage("VASA call").FilterField(zap.String("operation", "GET "+vasa.VersionPath)).Len() == 3
	}, waitLimit, tick)
	fresh := seen.FilterMessage("VASA client unlike the reference").All()
	require.Len(t, fresh, 1, "once")
	require.Equal(t, zap.InfoLevel, fresh[0].Level)
	require.Equal(t, "version.xml", fresh[0].ContextMap()["kind"])
	require.Equal(t, true, fresh[0].ContextMap()["stranger"])
	require.Contains(t, fresh[0].ContextMap()["text"], "X-Novelty: of a client")
}

// TestAddressForAll warns of a URL that nobody can use, unless another one is told.
func TestAddressForAll(t *testing.T) {
	for url, warnings := range map[string]int{"": 1, "https://array.example:8443/vasa/version.xml": 0} {
		core, seen := observer.New(zap.WarnLevel)
		a := startLogged(t, zap.New(core), func(c *Config) { c.VASA.Addr, c.VASA.PublicURL = "0.0.0.0:0", url })
		require.Len(t, seen.FilterMessageSnippet("vasa.public_url").All(), warnings)
		if url != "" {
			require.Equal(t, url, a.Ready().VASA.URL)
		}
	}
}

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
