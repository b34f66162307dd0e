package main

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/api"
	"vvsim/vasa/trust"
)

// TestProviderFinding names what keeps a vCenter from the provider.
func TestProviderFinding(t *testing.T) {
	store, err := trust.Open("", trust.Options{Addresses: []string{"127.0.0.1"}, HostName: "lab"})
	require.NoError(t, err)
	other, err := trust.Open("", trust.Options{Addresses: []string{"127.0.0.1"}, HostName: "other"})
	require.NoError(t, err)
	anchors := func(s *trust.Store) []*x509.Certificate {
		list, err := trust.ParseCertificates(string(s.CAPEM()))
		require.NoError(t, err)
		return list
	}
	served := append([]*x509.Certificate{store.Certificate()}, anchors(store)...)
	now := time.Now()
	look := func(url string, status int, clock time.Time, anchors []*x509.Certificate, now time.Time) finding {
		return providerFinding(url, &http.Response{StatusCode: status, Status: http.StatusText(status), Header: http.Header{"Date": {clock.UTC().Format(http.TimeFormat)}},
			TLS: &tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: served}}, anchors, now)
	}
	const url = "https://127.0.0.1:8443/vasa/version.xml"
	for _, own := range [][]*x509.Certificate{anchors(store), nil} {
		f := look(url, http.StatusOK, now, own, now)
		require.NoError(t, f.err)
		require.False(t, f.warn, f.detail)
	}
	later, soon := store.Certificate().NotAfter.Add(time.Hour), store.Certificate().NotAfter.Add(-time.Hour)
	for want, f := range map[string]finding{
		"not trusted":      look(url, http.StatusOK, now, anchors(other), now),
		"not for \"vcsa":   look("https://vcsa.lab:8443/", http.StatusOK, now, anchors(store), now),
		"clock is ":        look(url, http.StatusOK, now.Add(time.Hour), anchors(store), now),
		"expired":          look(url, http.StatusOK, later, anchors(store), later),
		"Internal Server":  look(url, http.StatusInternalServerError, now, anchors(store), now),
		"not valid before": look(url, http.StatusOK, now.Add(-48*time.Hour), anchors(store), now.Add(-48*time.Hour)),
	} {
		require.ErrorContains(t, f.err, want)
	}
	require.True(t, look(url, http.StatusOK, soon, anchors(store), soon).warn, "expires soon")
}

// TestCertificateFinding is wrong for what ends the provider's use, and warns of what will.
func TestCertificateFinding(t *testing.T) {
	warned := func(code string) finding {
		return certificateFinding(trust.Report{Warnings: []trust.Warning{{Code: code, Text: "text"}}})
	}
	for _, code := range []string{trust.WarnExpired, trust.WarnEarly, trust.WarnName} {
		require.ErrorContains(t, warned(code).err, "text")
	}
	require.True(t, warned(trust.WarnExpiring).warn)
	require.NoError(t, warned(trust.WarnExpiring).err)
	require.Equal(t, finding{name: "certificate", detail: certificateFinding(trust.Report{}).detail}, warned(trust.WarnNobody))
}

// TestAlarmsFinding: Yellow is worth a look, Red is wrong, whichever comes first.
func TestAlarmsFinding(t *testing.T) {
	yellow := api.Alarm{Kind: "container.threshold", Object: "a", Status: "Yellow", Message: "half full"}
	red := api.Alarm{Kind: "host.conflict", Object: "b", Status: "Red", Message: "hosts look alike"}
	require.Equal(t, finding{name: "alarms", detail: "none"}, alarmsFinding(nil))
	f := alarmsFinding([]api.Alarm{yellow})
	require.True(t, f.warn)
	require.NoError(t, f.err)
	require.Contains(t, f.detail, "half full")
	require.ErrorContains(t, alarmsFinding([]api.Alarm{yellow, red}).err, "2, see vvsim alarm list: Red host.conflict b: hosts look alike")
}
