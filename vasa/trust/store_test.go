package trust_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/trust"
)

func TestFirstStart(t *testing.T) {
	for _, memory := range []bool{false, true} {
		c := newClock()
		o := options(c)
		o.Addresses = []string{"127.0.0.1:8443", "[fd00::5]:8443", "192.0.2.7", "Portal.LAB:9", ":8443"}
		_, n1, _ := net.ParseCIDR("198.51.100.9/24")
		n1.IP = net.ParseIP("198.51.100.9")
		_, n2, _ := net.ParseCIDR("fe80::1/64")
		o.Interfaces = func() ([]net.Addr, error) { return []net.Addr{n1, n2}, nil }
		dir := ""
		if !memory {
			dir = filepath.Join(t.TempDir(), "data", "vasa")
		}
		s := open(t, dir, o)

		cert := s.Certificate()
		require.Equal(t, "array.lab", cert.Subject.CommonName)
		require.ElementsMatch(t, []string{"array.lab", "array", "portal.lab", "localhost"}, cert.DNSNames)
		var ips []string
		for _, ip := range cert.IPAddresses {
			ips = append(ips, ip.String())
		}
		require.ElementsMatch(t, []string{"127.0.0.1", "::1", "fd00::5", "192.0.2.7", "198.51.100.9"}, ips)
		require.Equal(t, start.AddDate(10, 0, 0), cert.NotAfter)
		require.True(t, cert.NotBefore.Before(start.Add(-time.Hour)), "clients whose clock is behind must take it")

		ca, err := trust.ParseCertificates(string(s.CAPEM()))
		require.NoError(t, err)
		require.Len(t, ca, 1)
		require.Equal(t, start.AddDate(10, 0, 0), ca[0].NotAfter)
		require.NoError(t, verifyAs(cert, ca, "array.lab", start))
		require.NoError(t, verifyAs(cert, ca, "198.51.100.9", start.AddDate(9, 11, 0)))
		require.GreaterOrEqual(t, len(s.Password()), 20)
		require.Equal(t, "vasa", s.User())
		if memory {
			require.Empty(t, s.CAFile())
			continue
		}
		file, err := os.ReadFile(s.CAFile())
		require.NoError(t, err)
		require.Equal(t, s.CAPEM(), file)
		private(t, dir)
	}
}

// private demands that nobody else can read anything.
func private(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		require.Zero(t, info.Mode().Perm()&0o077, "%s is %v", path, info.Mode())
		require.NotContains(t, path, ".tmp-")
		return nil
	}))
}

func verifyAs(cert *x509.Certificate, roots []*x509.Certificate, host string, at time.Time) error {
	pool := x509.NewCertPool()
	for _, r := range roots {
		pool.AddCert(r)
	}
	_, err := cert.Verify(x509.VerifyOptions{Roots: pool, DNSName: host, CurrentTime: at})
	return err
}

func TestRestart(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	o := options(c)
	s := open(t, dir, o)
	vmca, other := newCA(t, "VMCA"), newLeaf(t, nil, "sms")
	host := newLeaf(t, vmca, "esx1")
	gone := newLeaf(t, vmca, "esx2")
	register(t, s, "vc1", []*party{vmca}, revoke(t, vmca, 1, nil, gone))
	_, err := s.RegisterCertificate("vc2", other.pem())
	require.NoError(t, err)

	again := open(t, dir, o)
	require.True(t, s.Certificate().Equal(again.Certificate()), "a start without reason must not change the certificate")
	require.Equal(t, s.CAPEM(), again.CAPEM())
	require.Equal(t, s.Password(), again.Password())
	require.Equal(t, s.Roots(), again.Roots())
	require.Equal(t, s.CRLs(), again.CRLs())
	require.Equal(t, s.Report(), again.Report())
	id, err := again.Verify(host.chain())
	require.NoError(t, err)
	require.Equal(t, []string{"vc1"}, id.Owners)
	_, err = again.Verify(gone.chain())
	broken(t, err, trust.Revoked)
	id, err = again.Verify(other.chain())
	require.NoError(t, err)
	require.Equal(t, []string{"vc2"}, id.Owners)
}

func TestOtherAddresses(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	o := options(c)
	first := open(t, dir, o).Certificate()

	o.Addresses = []string{"192.0.2.1:8443"}
	s := open(t, dir, o)
	second := s.Certificate()
	require.False(t, first.Equal(second))
	require.Equal(t, first.PublicKey, second.PublicKey, "same key")
	require.NoError(t, second.VerifyHostname("192.0.2.1"))
	ca, err := trust.ParseCertificates(string(s.CAPEM()))
	require.NoError(t, err)
	require.NoError(t, verifyAs(second, ca, "192.0.2.1", start))

	o.Addresses = nil
	require.True(t, open(t, dir, o).Certificate().Equal(second), "fewer names are no reason")
}

func TestExpiredOwnCertificateIsReissued(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	o := options(c)
	s := open(t, dir, o)
	old, oldCA := s.Certificate(), s.CAPEM()
	c.set(start.AddDate(10, 0, 1))
	require.Equal(t, trust.HasExpired, s.Report().Served.State)

	s = open(t, dir, o)
	require.Equal(t, trust.Valid, s.Report().Served.State)
	require.Equal(t, trust.Valid, s.Report().CA.State)
	require.NotEqual(t, oldCA, s.CAPEM())
	require.Equal(t, old.Issuer.String(), s.Certificate().Issuer.String())
}

// A CA is renewed with its key and name: what clients hold stays good.
func TestRenewedAuthority(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	o := options(c)
	s := open(t, dir, o)
	oldCA, err := trust.ParseCertificates(string(s.CAPEM()))
	require.NoError(t, err)
	oldCert := s.Certificate()
	c.set(start.AddDate(9, 6, 0))
	require.NoError(t, s.Renew())
	newCA, err := trust.ParseCertificates(string(s.CAPEM()))
	require.NoError(t, err)
	require.False(t, newCA[0].Equal(oldCA[0]))
	require.NotEqual(t, oldCert.PublicKey, s.Certificate().PublicKey)
	require.Equal(t, start.AddDate(19, 6, 0), s.Certificate().NotAfter)
	require.NoError(t, verifyAs(s.Certificate(), oldCA, "array.lab", c.Now()), "new certificate, old file")
	require.NoError(t, verifyAs(oldCert, newCA, "array.lab", c.Now()), "old certificate, new file")
	require.True(t, open(t, dir, o).Certificate().Equal(s.Certificate()))

	// A crash between the CA and its copy for clients.
	require.NoError(t, os.WriteFile(s.CAFile(), []byte(pemOf(oldCA[0])), 0o600))
	require.Equal(t, s.CAPEM(), open(t, dir, o).CAPEM())
	file, err := os.ReadFile(s.CAFile())
	require.NoError(t, err)
	require.Equal(t, s.CAPEM(), file)
}

func pemOf(cert *x509.Certificate) string { return (&party{cert: cert}).pem() }

// What a crash can leave: each file is written after the ones before it.
func TestCrashOfFirstStart(t *testing.T) {
	order := []string{"vasa-password", "authority.pem", "ca.pem", "server.pem"}
	for written := range order {
		c, dir := newClock(), t.TempDir()
		s := open(t, dir, options(c))
		for _, name := range order[written:] {
			require.NoError(t, os.Remove(filepath.Join(dir, name)))
		}
		half := filepath.Join(dir, ".tmp-"+order[written]+"-1")
		require.NoError(t, os.WriteFile(half, []byte("half"), 0o600))
		again := open(t, dir, options(c))
		require.NoFileExists(t, half)
		require.Equal(t, written > 0, s.Password() == again.Password())
		require.Equal(t, written > 1, bytes.Equal(s.CAPEM(), again.CAPEM()))
		require.Len(t, tree(t, dir), len(order))
	}
}

func TestDamagedFiles(t *testing.T) {
	c := newClock()
	make := func(t *testing.T) string {
		dir := t.TempDir()
		o := options(c)
		o.Retain = false
		s := open(t, dir, o)
		register(t, s, "vc", []*party{newCA(t, "VMCA")})
		_, err := s.RequestCSR()
		require.NoError(t, err)
		return dir
	}
	foreign := newLeaf(t, nil, "foreign")
	flip := func(b []byte) []byte {
		b = bytes.Clone(b)
		i := bytes.LastIndexByte(b[:len(b)-40], 'A')
		b[i] = 'B'
		return b
	}
	for _, test := range []struct {
		file, what string
		damage     func(*testing.T, []byte) []byte
	}{
		{"authority.pem", "empty", func(*testing.T, []byte) []byte { return nil }},
		{"authority.pem", "cut", func(_ *testing.T, b []byte) []byte { return b[:len(b)/2] }},
		{"authority.pem", "bit", func(_ *testing.T, b []byte) []byte { return flip(b) }},
		{"authority.pem", "foreign", func(t *testing.T, _ []byte) []byte { return []byte(foreign.keyPEM(t) + foreign.pem()) }},
		{"server.pem", "cut", func(_ *testing.T, b []byte) []byte { return b[:len(b)/2] }},
		{"server.pem", "text", func(*testing.T, []byte) []byte { return []byte("hello\n") }},
		{"server.pem", "other key", func(t *testing.T, b []byte) []byte {
			_, certs, _ := bytes.Cut(b, []byte("-----END PRIVATE KEY-----\n"))
			return append([]byte(foreign.keyPEM(t)), certs...)
		}},
		{"ca.pem", "text", func(*testing.T, []byte) []byte { return []byte("hello\n") }},
		{"ca.pem", "foreign", func(*testing.T, []byte) []byte { return []byte(foreign.pem()) }},
		{"clients", "cut", func(_ *testing.T, b []byte) []byte { return b[:len(b)-1] }},
		{"clients", "bit", func(_ *testing.T, b []byte) []byte { return flip(b) }},
		{"clients", "foreign", func(*testing.T, []byte) []byte { return []byte("{}\n") }},
		{"pending.pem", "cut", func(_ *testing.T, b []byte) []byte { return b[:len(b)/2] }},
		{"pending.pem", "undated", func(t *testing.T, _ []byte) []byte { return []byte(foreign.keyPEM(t)) }},
		{"vasa-password", "empty", func(*testing.T, []byte) []byte { return []byte{} }},
		{"vasa-password", "blank", func(*testing.T, []byte) []byte { return []byte("\n") }},
		{"vasa-password", "binary", func(*testing.T, []byte) []byte { return []byte{1, 2, 0xff} }},
	} {
		t.Run(test.file+" "+test.what, func(t *testing.T) {
			dir := make(t)
			path := filepath.Join(dir, test.file)
			content, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, test.damage(t, content), 0o600))
			before := tree(t, dir)
			_, err = trust.Open(dir, options(c))
			var damaged *trust.DamagedError
			require.ErrorAs(t, err, &damaged)
			require.Equal(t, path, damaged.Path)
			require.Contains(t, err.Error(), path)
			require.NotContains(t, err.Error(), "PRIVATE KEY-----")
			require.Equal(t, before, tree(t, dir), "nothing may be overwritten")

			if test.file == "authority.pem" {
				return
			}
			require.NoError(t, os.Remove(path))
			open(t, dir, options(c))
		})
	}
	t.Run("lost authority", func(t *testing.T) {
		dir := make(t)
		require.NoError(t, os.Remove(filepath.Join(dir, "authority.pem")))
		before := tree(t, dir)
		_, err := trust.Open(dir, options(c))
		require.ErrorContains(t, err, "authority.pem")
		require.Equal(t, before, tree(t, dir))
	})
	t.Run("symbolic link", func(t *testing.T) {
		dir := make(t)
		path := filepath.Join(dir, "clients")
		require.NoError(t, os.Rename(path, path+"2"))
		require.NoError(t, os.Symlink(path+"2", path))
		_, err := trust.Open(dir, options(c))
		require.ErrorContains(t, err, "no regular file")
	})
	t.Run("no directory", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		_, err := trust.Open(file, options(c))
		require.ErrorContains(t, err, file)
	})
}

func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		all[e.Name()] = string(b)
	}
	return all
}

func TestOpenFilesAreMadePrivate(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	open(t, dir, options(c))
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.Chmod(filepath.Join(dir, "server.pem"), 0o644))
	require.NoError(t, os.Chmod(filepath.Join(dir, "vasa-password"), 0o664))
	open(t, dir, options(c))
	private(t, dir)
}

// A change that cannot be written is none. A directory that is gone stops even root.
func TestUnwritableDirectory(t *testing.T) {
	c, dir := newClock(), filepath.Join(t.TempDir(), "vasa")
	o := options(c)
	o.Retain = false
	s := open(t, dir, o)
	before, cert := s.Report(), s.Certificate()
	require.NoError(t, os.RemoveAll(dir))
	ca := newCA(t, "VMCA")
	_, err := s.Register("vc", pems([]*party{ca}), nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorIs(t, s.Renew(), fs.ErrNotExist)
	_, err = s.RequestCSR()
	require.ErrorIs(t, err, fs.ErrNotExist)
	imported := newLeaf(t, nil, "x")
	require.ErrorIs(t, s.Import(imported.pem(), imported.keyPEM(t)), fs.ErrNotExist)
	require.Equal(t, before, s.Report())
	require.True(t, cert.Equal(s.Certificate()))
	_, err = s.Verify(newLeaf(t, ca, "esx").chain())
	broken(t, err, trust.UnknownIssuer)
}

func TestOptionsAreChecked(t *testing.T) {
	for what, change := range map[string]func(*trust.Options){
		"is no host name":    func(o *trust.Options) { o.Addresses = []string{"bad name:1"} },
		"no host name":       func(o *trust.Options) { o.URL = "https://a..b/" },
		"is not https":       func(o *trust.Options) { o.URL = "http://a/" },
		"more than 255":      func(o *trust.Options) { o.URL = "https://" + string(bytes.Repeat([]byte("a"), 255)) },
		"password of more":   func(o *trust.Options) { o.Password = string(bytes.Repeat([]byte("a"), 256)) },
		"cannot be typed":    func(o *trust.Options) { o.User = "a\nb" },
		"unknown kind":       func(o *trust.Options) { o.CSRKey = 7 },
		"cannot be negative": func(o *trust.Options) { o.LockTime = -1 },
		"more than 128 names": func(o *trust.Options) {
			for i := range 200 {
				o.Addresses = append(o.Addresses, net.IPv4(192, 0, 2, byte(i)).String())
			}
		},
		"no interfaces": func(o *trust.Options) {
			o.Addresses = []string{"[::]:1"}
			o.Interfaces = func() ([]net.Addr, error) { return nil, errors.New("no interfaces") }
		},
	} {
		t.Run(what, func(t *testing.T) {
			o, dir := options(newClock()), filepath.Join(t.TempDir(), "new")
			change(&o)
			_, err := trust.Open(dir, o)
			require.ErrorContains(t, err, what)
			require.NoDirExists(t, dir, "nothing may be made of bad options")
		})
	}
	o := options(newClock())
	o.HostName = "no dns name!"
	require.NotContains(t, open(t, "", o).Certificate().DNSNames, o.HostName, "a machine may be called anything")
}

// TestImportedNames: a certificate that lacks the host which clients are told is served with
// a warning. Of several places, or all addresses, none is what they are told.
func TestImportedNames(t *testing.T) {
	for what, test := range map[string]struct {
		url       string
		addresses []string
		lacks     string
	}{
		"url":             {"https://array.lab/vasa/version.xml", []string{"192.0.2.1:8443"}, "array.lab"},
		"has it":          {"https://other.lab/vasa/version.xml", []string{"192.0.2.1:8443"}, ""},
		"address":         {"", []string{"192.0.2.1:8443"}, "192.0.2.1"},
		"IPv6":            {"", []string{"[2001:db8::1]:0"}, "2001:db8::1"},
		"has the address": {"", []string{"other.lab:8443"}, ""},
		"all addresses":   {"", []string{"0.0.0.0:8443"}, ""},
		"no host":         {"", []string{":8443"}, ""},
		"several":         {"", []string{"192.0.2.1:8443", "192.0.2.2:8443"}, ""},
	} {
		o := options(newClock())
		o.URL, o.Addresses = test.url, test.addresses
		s := open(t, "", o)
		template := leafTemplate("other.lab")
		template.DNSNames = []string{"other.lab"}
		cert := certify(t, newCA(t, "Enterprise"), newKey(t), template)
		require.NoError(t, s.Import(cert.pem(), cert.keyPEM(t)), what)
		var warned []string
		for _, w := range s.Report().Warnings {
			if w.Code == trust.WarnName {
				warned = append(warned, w.Text)
			}
		}
		if test.lacks == "" {
			require.Empty(t, warned, what)
			continue
		}
		require.Equal(t, []string{fmt.Sprintf("the provider's certificate is for other.lab, not for %q of its URL", test.lacks)}, warned, what)
	}
}

func TestImport(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	o := options(c)
	s := open(t, dir, o)
	ca := newCA(t, "Enterprise")
	sub := subCA(t, ca, "Issuing")
	template := leafTemplate("array.lab")
	template.DNSNames = []string{"array.lab"}
	cert := certify(t, sub, newKey(t), template)
	require.NoError(t, s.Import(cert.pem()+sub.pem()+ca.pem(), cert.keyPEM(t)))
	for _, s := range []*trust.Store{s, open(t, dir, o)} {
		require.True(t, s.Certificate().Equal(cert.cert), "kept by a start although localhost is missing")
		bundle, err := trust.ParseCertificates(string(s.CAPEM()))
		require.NoError(t, err)
		require.Len(t, bundle, 2)
		require.True(t, bundle[1].Equal(ca.cert))
		require.Equal(t, trust.FromOutside, s.Report().Source)
		require.Len(t, s.Report().Chain, 2)
	}
	require.NoError(t, s.Renew())
	require.Equal(t, trust.FromOwnCA, s.Report().Source)

	old, early := leafTemplate("old"), leafTemplate("early")
	old.NotAfter = start.Add(-time.Minute)
	early.NotBefore = start.Add(time.Hour)
	expired, tomorrow := certify(t, sub, newKey(t), old), certify(t, sub, newKey(t), early)
	for what, try := range map[string][2]string{
		"does not belong": {cert.pem(), sub.keyPEM(t)},
		"expired":         {expired.pem(), expired.keyPEM(t)},
		"not valid":       {tomorrow.pem(), tomorrow.keyPEM(t)},
		"CA":              {sub.pem(), sub.keyPEM(t)},
		"not issued by":   {cert.pem() + ca.pem(), cert.keyPEM(t)},
		"PEM":             {"?", cert.keyPEM(t)},
		"no PEM":          {cert.pem(), "?"},
		"damaged":         {cert.pem(), "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----"},
		"no private key":  {cert.pem(), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"},
		"encrypted":       {cert.pem(), "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----"},
	} {
		t.Run(what, func(t *testing.T) {
			require.ErrorContains(t, s.Import(try[0], try[1]), what)
			require.Equal(t, trust.FromOwnCA, s.Report().Source)
		})
	}
}

// shake connects, sends a byte so that TLS 1.3 completes, and returns both sides.
func shake(t *testing.T, config, client *tls.Config) (serverSide, clientSide tls.ConnectionState, err error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	server, peer := tls.Server(a, config), tls.Client(b, client)
	done := make(chan error, 1)
	go func() {
		err := server.Handshake()
		if err == nil {
			_, err = server.Write([]byte{1})
		}
		if err != nil {
			a.Close()
		}
		done <- err
	}()
	_, err = peer.Read(make([]byte, 1))
	if err != nil {
		b.Close()
	}
	err = errors.Join(err, <-done)
	return server.ConnectionState(), peer.ConnectionState(), err
}

func TestServerConfig(t *testing.T) {
	c := newClock()
	s := open(t, "", options(c))
	vmca := newCA(t, "VMCA")
	register(t, s, "vc", []*party{vmca})
	host, stranger := newLeaf(t, vmca, "esx1"), newLeaf(t, nil, "stranger")
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(s.CAPEM()))
	server := s.ServerConfig()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := &tls.Config{RootCAs: pool, ServerName: "array.lab", Time: c.Now, MinVersion: version, MaxVersion: version,
			ClientSessionCache: tls.NewLRUClientSessionCache(4)}
		for range 2 {
			state, _, err := shake(t, server, config)
			require.NoError(t, err, "no certificate")
			_, err = s.Verify(state.PeerCertificates)
			broken(t, err, trust.NoCertificate)
			require.False(t, state.DidResume)
		}
		for _, p := range []*party{host, stranger} {
			config := config.Clone()
			config.Certificates = []tls.Certificate{{Certificate: [][]byte{p.cert.Raw}, PrivateKey: p.key}}
			state, _, err := shake(t, server, config)
			require.NoError(t, err)
			_, err = s.Verify(state.PeerCertificates)
			if p == host {
				require.NoError(t, err)
			} else {
				broken(t, err, trust.UnknownIssuer)
			}
		}
		// A certificate without its key is nobody's.
		config = config.Clone()
		config.Certificates = []tls.Certificate{{Certificate: [][]byte{host.cert.Raw}, PrivateKey: stranger.key}}
		_, _, err := shake(t, server, config)
		require.Error(t, err)
	}
	old := &tls.Config{RootCAs: pool, ServerName: "array.lab", Time: c.Now, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	_, _, err := shake(t, server, old)
	require.Error(t, err, "TLS 1.1")
}

func TestChangedCertificateIsServedAtOnce(t *testing.T) {
	s := open(t, "", options(newClock()))
	config := s.ServerConfig()
	before, err := config.GetCertificate(nil)
	require.NoError(t, err)
	require.NoError(t, s.Renew())
	after, err := config.GetCertificate(nil)
	require.NoError(t, err)
	require.NotEqual(t, before.Certificate[0], after.Certificate[0])
	require.Equal(t, s.Certificate().Raw, after.Certificate[0])
}

func TestKindsOfKeys(t *testing.T) {
	block := func(label string, der []byte, err error) string {
		require.NoError(t, err)
		return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	ecKey := newKey(t).(*ecdsa.PrivateKey)
	ecDER, err := x509.MarshalECPrivateKey(ecKey)
	exchange, err2 := ecdh.X25519().GenerateKey(rand.Reader)
	require.NoError(t, errors.Join(err, err2))
	exchangeDER, err := x509.MarshalPKCS8PrivateKey(exchange)
	dir, o := t.TempDir(), options(newClock())
	s := open(t, dir, o)
	for _, test := range []struct {
		key  crypto.Signer
		text string
		kind string
	}{
		{rsaKey, block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey), nil), "RSA 2048"},
		{ecKey, "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + block("EC PRIVATE KEY", ecDER, err), "ECDSA P-256"},
		{edKey, (&party{key: edKey}).keyPEM(t), "Ed25519"},
	} {
		cert := certify(t, nil, test.key, leafTemplate("array.lab"))
		require.NoError(t, s.Import(cert.pem(), test.text))
		require.Equal(t, test.kind, s.Report().Served.Key)
		require.Equal(t, test.kind, open(t, dir, o).Report().Served.Key)
		_, state, err := shake(t, s.ServerConfig(), &tls.Config{InsecureSkipVerify: true})
		require.NoError(t, err)
		require.True(t, state.PeerCertificates[0].Equal(cert.cert))
	}
	require.ErrorContains(t, s.Import(newCA(t, "x").pem(), block("PRIVATE KEY", exchangeDER, err)), "of a kind that TLS cannot serve")
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	require.ErrorContains(t, s.Import(newCA(t, "x").pem(), block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(weak), nil)), "RSA key of 1024 bits")
}
