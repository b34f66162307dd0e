package trust_test

import (
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/trust"
)

func TestReport(t *testing.T) {
	c := newClock()
	s := open(t, "", options(c))
	r := s.Report()
	require.Equal(t, []trust.Warning{{Code: trust.WarnNobody, Text: "no vCenter is registered: no client is trusted"}}, r.Warnings)
	require.Equal(t, "CN=array.lab,O=vvsim", r.Served.Subject)
	require.Equal(t, r.CA.Subject, r.Served.Issuer)
	require.Equal(t, "ECDSA P-256", r.Served.Key)
	require.False(t, r.Served.CA)
	require.True(t, r.CA.CA)
	require.Contains(t, r.Served.Names, "127.0.0.1")
	sum := sha1.Sum(s.Certificate().Raw)
	require.Equal(t, fmt.Sprintf("%X", sum[:]), strings.ReplaceAll(r.Served.SHA1, ":", ""))
	require.Len(t, r.Served.SHA1, 20*3-1)
	require.Len(t, r.Served.SHA256, 32*3-1)

	root, other := newCA(t, "VMCA"), newCA(t, "other")
	soon := leafTemplate("soon")
	soon.NotAfter = start.Add(10*24*time.Hour + time.Hour)
	client := certify(t, nil, newKey(t), soon)
	register(t, s, "vc", []*party{root}, revoke(t, root, 7, nil, client), revoke(t, other, 1, nil))
	c.add(time.Hour)
	_, err := s.RegisterCertificate("sms", client.pem())
	require.NoError(t, err)
	c.add(24 * time.Hour)
	r = s.Report()
	require.Len(t, r.Roots, 1)
	require.Equal(t, "vc", r.Roots[0].Owner)
	require.Equal(t, start, r.Roots[0].Registered)
	require.Equal(t, trust.Valid, r.Roots[0].State)
	require.Len(t, r.Clients, 1)
	require.Equal(t, start.Add(time.Hour), r.Clients[0].Registered)
	require.Equal(t, trust.Expiring, r.Clients[0].State)
	require.Equal(t, []trust.CRL{
		{Issuer: "CN=VMCA", Number: "7", ThisUpdate: start.Add(-time.Minute), NextUpdate: start.Add(24 * time.Hour), Revoked: 1, Owner: "vc", Verified: true},
		{Issuer: "CN=other", Number: "1", ThisUpdate: start.Add(-time.Minute), NextUpdate: start.Add(24 * time.Hour), Owner: "vc"},
	}, r.CRLs)
	var codes []string
	for _, w := range r.Warnings {
		codes = append(codes, w.Code)
	}
	require.Equal(t, []string{trust.WarnCRL, trust.WarnCRL, trust.WarnUnverified, trust.WarnExpiring}, codes)
	require.Contains(t, r.Warnings[3].Text, "expires in 9 days")

	c.set(start.Add(-48 * time.Hour))
	early := s.Report()
	require.Equal(t, trust.Early, early.Served.State)
	require.Equal(t, trust.WarnEarly, early.Warnings[0].Code)
	require.Contains(t, early.Warnings[0].Text, "the clock here is 24h0m0s behind")
	c.set(start.AddDate(11, 0, 0))
	require.Equal(t, trust.WarnExpired, s.Report().Warnings[0].Code)
}

// Neither the report nor an error holds a secret.
func TestReportHoldsNoSecret(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	s := open(t, dir, managed(c))
	_, err := s.RequestCSR()
	require.NoError(t, err)
	text, err := json.Marshal(s.Report())
	require.NoError(t, err)
	require.NotContains(t, string(text), s.Password())
	require.NotContains(t, string(text), "PRIVATE")
	err = s.Login("vasa", s.Password()+"x")
	require.NotContains(t, err.Error(), s.Password())
}

func TestDiagnoseChain(t *testing.T) {
	root := newCA(t, "root")
	sub := subCA(t, root, "sub")
	leaf := newLeaf(t, sub, "leaf")
	d := trust.DiagnoseChain(leaf.chain(sub), root.chain(), start)
	require.True(t, d.Trusted)
	require.Nil(t, d.Broken)
	require.Len(t, d.Links, 3)
	require.True(t, d.Links[2].Anchor)
	require.Empty(t, d.Problems)

	d = trust.DiagnoseChain(leaf.chain(sub), newCA(t, "x").chain(), start)
	require.False(t, d.Trusted)
	require.Equal(t, trust.UnknownIssuer, d.Broken.Break)
	require.Len(t, d.Links, 2)
	require.Empty(t, d.Links[0].Problem)
	require.Contains(t, d.Links[1].Problem, `"CN=root"`)

	d = trust.DiagnoseChain(leaf.chain(sub), root.chain(), start.AddDate(2, 0, 0))
	require.Len(t, d.Problems, 3, "every expired link")
	require.Equal(t, trust.Expired, d.Broken.Break)
	d = trust.DiagnoseChain(leaf.chain(sub), root.chain(), start.Add(-24*time.Hour))
	require.Equal(t, trust.NotYetValid, d.Broken.Break)
	require.Equal(t, 23*time.Hour, d.Broken.Skew)
	d = trust.DiagnoseChain(leaf.chain(sub), root.chain(), start.AddDate(1, 0, -1))
	require.True(t, d.Trusted)
	require.Len(t, d.Warnings, 3)
	d = trust.DiagnoseChain(nil, root.chain(), start)
	require.Equal(t, trust.NoCertificate, d.Broken.Break)

	// Two CAs that signed each other, and nothing else.
	a, b := newCA(t, "a"), newCA(t, "b")
	ab, ba := certify(t, b, a.key, caTemplate("a")), certify(t, a, b.key, caTemplate("b"))
	d = trust.DiagnoseChain(newLeaf(t, a, "x").chain(ab, ba), root.chain(), start)
	require.False(t, d.Trusted)
	require.Equal(t, trust.Unusable, d.Broken.Break)

	narrow := caTemplate("narrow")
	narrow.PermittedDNSDomains, narrow.PermittedDNSDomainsCritical = []string{"lab"}, true
	template := leafTemplate("wide")
	template.DNSNames = []string{"a.example"}
	ca := certify(t, root, newKey(t), narrow)
	d = trust.DiagnoseChain(certify(t, ca, newKey(t), template).chain(ca), root.chain(), start)
	require.Equal(t, trust.Unusable, d.Broken.Break)
}

func TestCheckServer(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	s := open(t, dir, options(c))
	_, state, err := shake(t, s.ServerConfig(), &tls.Config{InsecureSkipVerify: true})
	require.NoError(t, err)
	text, err := os.ReadFile(s.CAFile())
	require.NoError(t, err)
	anchors, err := trust.ParseCertificates(string(text))
	require.NoError(t, err)
	check := func(url string, anchors []*x509.Certificate) trust.Diagnosis {
		return trust.CheckServer(state, url, anchors, c.Now())
	}
	require.True(t, check("https://array.lab:8443/vasa/version.xml", anchors).Trusted)
	require.True(t, check("https://[::1]:8443/", anchors).Trusted)

	d := check("https://10.0.0.1:8443/", anchors)
	require.Equal(t, trust.WrongName, d.Broken.Break)
	require.Contains(t, d.Problems[0], `not for "10.0.0.1" of the URL`)
	require.Contains(t, d.Problems[0], "array.lab")
	require.Equal(t, trust.UnknownIssuer, check("https://array.lab/", newCA(t, "x").chain()).Broken.Break)
	other := open(t, filepath.Join(dir, "other"), options(c))
	foreign, err := trust.ParseCertificates(string(other.CAPEM()))
	require.NoError(t, err)
	require.False(t, check("https://array.lab/", foreign).Trusted)
	for _, url := range []string{"", "array.lab", "http://array.lab/", "https:///", "%"} {
		require.False(t, check(url, anchors).Trusted, url)
	}
	state.Version = tls.VersionTLS11
	require.Contains(t, check("https://array.lab/", anchors).Problems[0], "TLS 1.1")
	state.PeerCertificates = nil
	require.Equal(t, trust.NoCertificate, check("https://array.lab/", anchors).Broken.Break)
}
