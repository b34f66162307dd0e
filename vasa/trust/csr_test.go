package trust_test

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/trust"
)

// managed are the options of a provider whose certificate a vCenter manages.
func managed(c *clock) trust.Options {
	o := options(c)
	o.Retain = false
	o.Addresses = []string{"192.0.2.7:8443"}
	return o
}

func request(t *testing.T, s *trust.Store) (string, *x509.CertificateRequest) {
	t.Helper()
	text, err := s.RequestCSR()
	require.NoError(t, err)
	block, rest := pem.Decode([]byte(text))
	require.Empty(t, rest)
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	require.NoError(t, err)
	require.NoError(t, csr.CheckSignature())
	return text, csr
}

// answer signs what was requested, as VMCA does.
func answer(t *testing.T, ca *party, csr *x509.CertificateRequest, change func(*x509.Certificate)) string {
	t.Helper()
	template := x509.Certificate{Subject: csr.Subject, DNSNames: csr.DNSNames, IPAddresses: csr.IPAddresses, KeyUsage: x509.KeyUsageDigitalSignature}
	if change != nil {
		change(&template)
	}
	return certify(t, ca, publicOnly{newKey(t), csr.PublicKey}, template).pem()
}

func TestRequestCSR(t *testing.T) {
	c := newClock()
	s := open(t, "", managed(c))
	text, csr := request(t, s)
	require.True(t, strings.HasPrefix(text, "-----BEGIN CERTIFICATE REQUEST-----\n"))
	require.NotContains(t, text, "\r")
	require.Equal(t, "array.lab", csr.Subject.CommonName)
	require.Equal(t, []string{"array.lab", "array"}, csr.DNSNames)
	require.Len(t, csr.IPAddresses, 1)
	require.Equal(t, "192.0.2.7", csr.IPAddresses[0].String())

	_, soon := request(t, s)
	require.Equal(t, csr.PublicKey, soon.PublicKey, "no key for every call of a stranger")
	c.add(10*time.Minute - time.Second)
	_, soon = request(t, s)
	require.Equal(t, csr.PublicKey, soon.PublicKey, "strangers who ask all the time do not make it forget a key while a vCenter signs it")
	c.add(time.Second)
	_, later := request(t, s)
	require.NotEqual(t, csr.PublicKey, later.PublicKey, "fresh")

	o := managed(c)
	o.CSRKey = trust.RSA3072
	_, csr = request(t, open(t, "", o))
	require.Equal(t, 3072, csr.PublicKey.(*rsa.PublicKey).N.BitLen())

	o.URL, o.HostName, o.Addresses = "", "no name!", nil
	_, err := open(t, "", o).RequestCSR()
	require.ErrorContains(t, err, "no address")
	o.URL = "https://" + strings.Repeat("a.", 40) + "lab/"
	o.CSRKey = trust.ECDSAP256
	_, csr = request(t, open(t, "", o))
	require.Equal(t, "vvsim", csr.Subject.CommonName, "longer than a common name may be")
	require.Len(t, csr.DNSNames, 1)
}

func TestRetainedCertificateIsNotReplaced(t *testing.T) {
	c := newClock()
	s := open(t, "", options(c))
	require.True(t, s.Retain())
	_, err := s.RequestCSR()
	require.ErrorIs(t, err, trust.ErrRetained)
	require.ErrorIs(t, s.InstallSigned(newCA(t, "x").pem(), true), trust.ErrRetained)
	require.False(t, open(t, "", managed(c)).Retain())
}

func TestInstallSigned(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	s := open(t, dir, managed(c))
	vmca := newCA(t, "VMCA")
	sub := subCA(t, vmca, "sub")
	register(t, s, "vc", []*party{vmca})
	_, first := request(t, s)
	c.add(time.Hour)
	_, second := request(t, s)
	require.Len(t, s.Report().Pending, 2)

	s = open(t, dir, managed(c)) // pending keys outlive a restart
	text := answer(t, sub, first, nil)
	require.NoError(t, s.InstallSigned(vmca.pem()+sub.pem()+strings.ReplaceAll(text, "\n", "\r\n"), false))
	require.Len(t, s.Report().Pending, 1, "the older request was answered, the newer waits")
	require.Equal(t, trust.FromRegistered, s.Report().Source)
	require.Equal(t, text, pemOf(s.Certificate()))
	served, err := s.ServerConfig().GetCertificate(nil)
	require.NoError(t, err)
	require.Equal(t, [][]byte{s.Certificate().Raw, sub.cert.Raw, vmca.cert.Raw}, served.Certificate)
	bundle, err := trust.ParseCertificates(string(s.CAPEM()))
	require.NoError(t, err)
	require.True(t, bundle[1].Equal(vmca.cert))
	require.Empty(t, s.Report().Warnings)

	s = open(t, dir, managed(c))
	require.Equal(t, text, pemOf(s.Certificate()), "kept by a start")
	require.NoError(t, s.InstallSigned(answer(t, vmca, second, nil), false))
	require.NoFileExists(t, filepath.Join(dir, "pending.pem"))
	require.NoError(t, s.InstallSigned(answer(t, vmca, second, nil), false), "a new one for the present key")
	require.NoError(t, s.Renew())
	require.Equal(t, trust.FromOwnCA, s.Report().Source)
}

func TestInstallSignedRefuses(t *testing.T) {
	c := newClock()
	vmca := newCA(t, "VMCA")
	for what, test := range map[string]struct {
		answer func(*testing.T, *x509.CertificateRequest) string
		forced bool // force helps
	}{
		"neither PEM":           {answer: func(*testing.T, *x509.CertificateRequest) string { return "?" }},
		"no signing request":    {answer: func(t *testing.T, _ *x509.CertificateRequest) string { return newLeaf(t, vmca, "x").pem() }},
		"among the 1 trusted":   {answer: func(t *testing.T, csr *x509.CertificateRequest) string { return answer(t, newCA(t, "evil"), csr, nil) }},
		"another key":           {answer: func(t *testing.T, csr *x509.CertificateRequest) string { return answer(t, newCA(t, "VMCA"), csr, nil) }},
		"certificate of a CA":   {answer: signed(vmca, func(x *x509.Certificate) { x.IsCA, x.BasicConstraintsValid = true, true })},
		"expired at":            {answer: signed(vmca, func(x *x509.Certificate) { x.NotAfter = start.Add(-time.Second) })},
		"not valid before":      {answer: signed(vmca, func(x *x509.Certificate) { x.NotBefore = start.Add(time.Minute) })},
		"is revoked by the CRL": {answer: signed(vmca, func(x *x509.Certificate) { x.SerialNumber = revokedSerial() })},
		`not for "array.lab"`: {forced: true, answer: signed(vmca, func(x *x509.Certificate) {
			x.Subject.CommonName, x.DNSNames = "other", []string{"other"}
		})},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, managed(c))
			gone := &party{cert: &x509.Certificate{SerialNumber: revokedSerial()}}
			register(t, s, "vc", []*party{vmca}, revoke(t, vmca, 1, nil, gone))
			_, csr := request(t, s)
			before, files := s.Report(), tree(t, dir)
			text := test.answer(t, csr)
			for _, force := range []bool{false, true} {
				if force && test.forced {
					require.NoError(t, s.InstallSigned(text, true))
					codes := []string{}
					for _, w := range s.Report().Warnings {
						codes = append(codes, w.Code)
					}
					require.Equal(t, []string{trust.WarnName}, codes)
					continue
				}
				err := s.InstallSigned(text, force)
				var invalid *trust.InvalidError
				require.ErrorAs(t, err, &invalid)
				require.ErrorContains(t, err, what)
				require.Equal(t, []string{text}, invalid.Certificates)
				require.Equal(t, before, s.Report())
				require.Equal(t, files, tree(t, dir))
			}
		})
	}
}

// Only the host name in the common name, as older CAs do it, passes with a warning.
func TestInstallSignedWithoutSAN(t *testing.T) {
	c := newClock()
	s := open(t, "", managed(c))
	vmca := newCA(t, "VMCA")
	register(t, s, "vc", []*party{vmca})
	_, csr := request(t, s)
	require.NoError(t, s.InstallSigned(answer(t, vmca, csr, func(x *x509.Certificate) { x.DNSNames, x.IPAddresses = nil, nil }), false))
	require.Len(t, s.Report().Warnings, 1)
	require.Contains(t, s.Report().Warnings[0].Text, "no subjectAltName")
}

func TestPendingKeysAreBounded(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	s := open(t, dir, managed(c))
	vmca := newCA(t, "VMCA")
	register(t, s, "vc", []*party{vmca})
	var all []*x509.CertificateRequest
	for range trust.MaxPending + 1 {
		_, csr := request(t, s)
		all = append(all, csr)
		c.add(time.Hour)
	}
	s = open(t, dir, managed(c))
	require.Len(t, s.Report().Pending, trust.MaxPending)
	require.ErrorContains(t, s.InstallSigned(answer(t, vmca, all[0], nil), false), "no signing request")
	require.NoError(t, s.InstallSigned(answer(t, vmca, all[1], nil), false))
}

// A crash after the certificate is in place and before its key is no longer pending.
func TestCrashOfInstallSigned(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	s := open(t, dir, managed(c))
	vmca := newCA(t, "VMCA")
	register(t, s, "vc", []*party{vmca})
	_, csr := request(t, s)
	pending := filepath.Join(dir, "pending.pem")
	content, err := os.ReadFile(pending)
	require.NoError(t, err)
	require.NoError(t, s.InstallSigned(answer(t, vmca, csr, nil), false))
	require.NoError(t, os.WriteFile(pending, content, 0o600))
	again := open(t, dir, managed(c))
	require.Empty(t, again.Report().Pending)
	require.True(t, again.Certificate().Equal(s.Certificate()))
}

// TestImportSigned: who administers the provider has any CA answer its signing request, also
// while the provider keeps its certificate.
func TestImportSigned(t *testing.T) {
	for _, retain := range []bool{true, false} {
		c, dir := newClock(), t.TempDir()
		o := managed(c)
		o.Retain = retain
		s := open(t, dir, o)
		before := s.Certificate()
		text, err := s.SigningRequest()
		require.NoError(t, err)
		block, _ := pem.Decode([]byte(text))
		csr, err := x509.ParseCertificateRequest(block.Bytes)
		require.NoError(t, err)
		ca := newCA(t, "enterprise")
		cert := answer(t, ca, csr, nil)
		var invalid *trust.InvalidError
		require.ErrorAs(t, s.Import(ca.pem()+cert, ""), &invalid, "the certificate comes first")
		require.ErrorAs(t, s.Import(newLeaf(t, ca, "x").pem(), ""), &invalid, "a key that is not here")
		require.Error(t, s.InstallSigned(cert, true), "strangers may not")
		require.Equal(t, before, s.Certificate())
		require.NoError(t, s.Import(cert+ca.pem(), ""))
		require.Equal(t, csr.PublicKey, s.Certificate().PublicKey)
		require.Equal(t, s.Certificate(), open(t, dir, o).Certificate(), "over a restart")
	}
}
