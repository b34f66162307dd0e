package vcenter_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/simulator"
	sms "github.com/vmware/govmomi/sms/types"

	"vvsim/test/schema"
	"vvsim/vasa/trust"
	"vvsim/vasa/vasatest"
	"vvsim/vasa/vcenter"
	"vvsim/vasa/vcenter/smstest"
)

const password = "secret of the array"

func newVCenter(t *testing.T, o smstest.Options) *smstest.VCenter {
	if o.User == "" {
		o.User, o.Password = "administrator@vsphere.local", "secret of vCenter"
	}
	answers := schema.New(t)
	o.Seen = func(x vasatest.Exchange) { answers.Add(x.Operation, x.Response) }
	v, err := smstest.New(o)
	require.NoError(t, err)
	t.Cleanup(v.Close)
	return v
}

func newArray(t *testing.T, o trust.Options) *smstest.Array {
	o.Password = password
	a, err := smstest.NewArray(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	return a
}

func target(v *smstest.VCenter) vcenter.Target {
	return vcenter.Target{URL: v.URL, User: "administrator@vsphere.local", Password: "secret of vCenter", Insecure: true}
}

func connect(t *testing.T, v *smstest.VCenter) *vcenter.Session {
	s, err := vcenter.Connect(t.Context(), target(v))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// spec registers an array with the certificate that it presents.
func spec(t *testing.T, a *smstest.Array) vcenter.Spec {
	p, err := vcenter.Present(t.Context(), a.URL, nil, time.Now())
	require.NoError(t, err)
	return vcenter.Spec{Name: "array", URL: a.URL, User: "vasa", Password: password, Certificate: p.Leaf}
}

func faultName(err error) string {
	if f, ok := errors.AsType[*vcenter.FaultError](err); ok {
		return f.Name
	}
	return ""
}

// TestLife registers a provider, looks at it and unregisters it: one that keeps its
// certificate, one whose certificate vCenter signs, and both ways to write certificates.
func TestLife(t *testing.T) {
	for name, c := range map[string]struct{ retain, bare bool }{"retained": {true, false}, "signed": {false, false}, "bare base64": {true, true}} {
		t.Run(name, func(t *testing.T) {
			ctx, v, a := t.Context(), newVCenter(t, smstest.Options{Bare: c.bare}), newArray(t, trust.Options{Retain: c.retain})
			s := connect(t, v)
			none, err := s.Providers(ctx)
			require.NoError(t, err)
			require.Empty(t, none)
			p, err := s.Register(ctx, spec(t, a))
			require.NoError(t, err)
			require.Equal(t, "connected", p.State)
			require.Contains(t, p.StateMeans, "not read its inventory yet")
			require.Equal(t, "2.0", p.VASAVersion)
			require.Equal(t, a.URL, p.URL)
			require.Equal(t, strings.Replace(a.URL, "version.xml", "services/vasaService", 1), p.ServiceLocation)
			require.Equal(t, "valid", p.Certificate.State)
			require.Equal(t, c.retain, p.Certificate.Retained)
			require.True(t, p.Is(a.UID))
			require.True(t, p.Is(strings.ToUpper(a.UID)))
			require.False(t, p.Is(""))
			after, err := vcenter.Present(ctx, a.URL, nil, time.Now())
			require.NoError(t, err)
			require.Equal(t, !c.retain, after.Leaf.CheckSignatureFrom(v.Authority.Certificate) == nil, "signed by VMCA")
			require.Equal(t, after.Leaf.NotAfter.UTC().Format(time.RFC3339), p.Certificate.Expires)

			_, err = s.Register(ctx, spec(t, a))
			require.Equal(t, "DuplicateEntry", faultName(err), "%v", err)
			for _, key := range []string{p.UID, a.URL, strings.Replace(a.URL, "https", "HTTPS", 1), "array"} {
				found, err := s.Find(ctx, key)
				require.NoError(t, err, key)
				require.Equal(t, p.UID, found.UID)
			}
			require.NoError(t, s.Unregister(ctx, p.UID))
			require.ErrorIs(t, s.Unregister(ctx, p.UID), vcenter.ErrNotFound)
			_, err = s.Find(ctx, "array")
			require.ErrorIs(t, err, vcenter.ErrNotFound)
		})
	}
}

// TestRefusals ends in the faults of what is wrong, and says what to do.
func TestRefusals(t *testing.T) {
	ctx, v := t.Context(), newVCenter(t, smstest.Options{RequireImport: true})
	s := connect(t, v)
	good := newArray(t, trust.Options{Retain: false})
	kept := newArray(t, trust.Options{Retain: true})
	gone := newArray(t, trust.Options{})
	elsewhere := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(elsewhere.Close)
	lost := spec(t, gone)
	require.NoError(t, gone.Close())
	for name, c := range map[string]struct {
		spec   vcenter.Spec
		fault  string
		advice string
	}{
		"wrong password":  {with(spec(t, good), func(s *vcenter.Spec) { s.Password = "wrong" }), "IncorrectUsernamePassword", "VVSIM_VASA_PASSWORD"},
		"not confirmed":   {with(spec(t, good), func(s *vcenter.Spec) { s.Certificate = nil }), "CertificateNotTrusted", "confirm"},
		"another one":     {with(spec(t, good), func(s *vcenter.Spec) { s.Certificate = v.Authority.Certificate }), "CertificateNotTrusted", "another certificate"},
		"CA not imported": {spec(t, kept), "CertificateNotImported", "trusted root"},
		"wrong name": {with(spec(t, good), func(s *vcenter.Spec) {
			s.URL, s.Certificate = strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1), elsewhere.Certificate()
		}), "InvalidCertificate", "register the URL with a name"},
		"nobody there": {lost, "ProviderConnectionFailed", "can reach"},
		"no provider":  {with(spec(t, good), func(s *vcenter.Spec) { s.URL, s.Certificate = elsewhere.URL+"/version.xml", elsewhere.Certificate() }), "InvalidUrl", "/vasa/version.xml"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Register(ctx, c.spec)
			require.Equal(t, c.fault, faultName(err), "%v", err)
			require.ErrorContains(t, err, c.advice)
			require.NotContains(t, err.Error(), password)
		})
	}
	none, err := s.Providers(ctx)
	require.NoError(t, err)
	require.Empty(t, none)
	_, err = s.Register(ctx, spec(t, good))
	require.NoError(t, err, "after all that, it still can be registered")
}

// TestImported needs no confirmation of what vCenter's trust store knows.
func TestImported(t *testing.T) {
	a := newArray(t, trust.Options{Retain: true})
	ca, err := trust.ParseCertificates(string(a.Trust.CAPEM()))
	require.NoError(t, err)
	s := connect(t, newVCenter(t, smstest.Options{Imported: ca, RequireImport: true}))
	p, err := s.Register(t.Context(), with(spec(t, a), func(s *vcenter.Spec) { s.Certificate = nil }))
	require.NoError(t, err)
	require.True(t, p.Certificate.Retained)
}

func with(s vcenter.Spec, change func(*vcenter.Spec)) vcenter.Spec {
	change(&s)
	return s
}

// TestArguments are refused before vCenter is asked.
func TestArguments(t *testing.T) {
	good := vcenter.Spec{Name: "array", URL: "https://array.example:8443/vasa/version.xml", User: "vasa", Password: "x"}
	require.NoError(t, good.Validate())
	long := strings.Repeat("x", vcenter.MaxField+1)
	for name, change := range map[string]func(*vcenter.Spec){
		"no name": func(s *vcenter.Spec) { s.Name = "" }, "no user": func(s *vcenter.Spec) { s.User = "" }, "no password": func(s *vcenter.Spec) { s.Password = "" },
		"no URL": func(s *vcenter.Spec) { s.URL = "" }, "http": func(s *vcenter.Spec) { s.URL = "http://a/vasa/version.xml" }, "no host": func(s *vcenter.Spec) { s.URL = "https:///vasa" },
		"long name": func(s *vcenter.Spec) { s.Name = long }, "long password": func(s *vcenter.Spec) { s.Password = long }, "malformed": func(s *vcenter.Spec) { s.URL = "https://[::1/x" },
	} {
		err := with(good, change).Validate()
		require.ErrorIs(t, err, vcenter.ErrInvalid, name)
		require.NotContains(t, err.Error(), long, name)
	}
}

// TestStates tells what vCenter thinks of a provider, and why.
func TestStates(t *testing.T) {
	ctx, v, a := t.Context(), newVCenter(t, smstest.Options{}), newArray(t, trust.Options{Retain: true})
	s := connect(t, v)
	p, err := s.Register(ctx, spec(t, a))
	require.NoError(t, err)
	for _, state := range sms.VasaProviderStatus("").Values() {
		for _, certificate := range sms.VasaProviderCertificateStatus("").Values() {
			require.NoError(t, v.SetState(p.UID, state, certificate))
			p, err = s.Find(ctx, p.UID)
			require.NoError(t, err)
			require.Equal(t, string(state), p.State)
			require.Equal(t, string(certificate), p.Certificate.State)
			require.NotContains(t, p.StateMeans+p.Certificate.StateMeans, "no words")
		}
	}
	require.Contains(t, vcenter.StateMeans("new"), "no words")
	require.Contains(t, vcenter.CertificateStateMeans("new"), "no words")

	require.NoError(t, a.Close())
	require.NoError(t, v.Sync(ctx, p.UID))
	p, err = s.Find(ctx, p.UID)
	require.NoError(t, err)
	require.Equal(t, "offline", p.State)
	require.Contains(t, p.Fault, "ProviderUnavailable")
	require.Contains(t, p.Fault, "/vasa/services/vasaService", "and why")
}

// TestNames are no keys: two providers may share one only on other vCenters, but a name
// may be another's URL. What is ambiguous is refused.
func TestNames(t *testing.T) {
	ctx, v := t.Context(), newVCenter(t, smstest.Options{})
	s := connect(t, v)
	a, b := newArray(t, trust.Options{}), newArray(t, trust.Options{})
	first, err := s.Register(ctx, spec(t, a))
	require.NoError(t, err)
	second, err := s.Register(ctx, with(spec(t, b), func(s *vcenter.Spec) { s.Name = a.URL }))
	require.NoError(t, err)
	all, err := s.Providers(ctx)
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, "array", all[0].Name)
	found, err := s.Find(ctx, a.URL)
	require.NoError(t, err)
	require.Equal(t, first.UID, found.UID, "a URL goes before a name")
	require.NotEqual(t, first.UID, second.UID)
}

// TestDeadline ends the wait and not the task.
func TestDeadline(t *testing.T) {
	v := newVCenter(t, smstest.Options{})
	s := connect(t, v)
	hold := make(chan struct{})
	slow := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hold }))
	t.Cleanup(slow.Close)
	t.Cleanup(func() { close(hold) })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := s.Register(ctx, vcenter.Spec{Name: "slow", URL: slow.URL + "/vasa/version.xml", User: "vasa", Password: password, Certificate: slow.Certificate()})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "goes on in vCenter")
}

// TestLogin explains why there is no session.
func TestLogin(t *testing.T) {
	ctx, v := t.Context(), newVCenter(t, smstest.Options{})
	wrong := target(v)
	wrong.Password = "not it"
	_, err := vcenter.Connect(ctx, wrong)
	require.Equal(t, "InvalidLogin", faultName(err), "%v", err)
	require.NotContains(t, err.Error(), "not it")

	untrusted := target(v)
	untrusted.Insecure = false
	_, err = vcenter.Connect(ctx, untrusted)
	require.ErrorContains(t, err, "GOVC_TLS_CA_CERTS")
	p, presentErr := vcenter.Present(ctx, v.URL.String(), nil, time.Now())
	require.NoError(t, presentErr)
	require.ErrorContains(t, err, p.Certificate.SHA256)

	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: v.Certificate().Raw}), 0o600))
	known := filepath.Join(t.TempDir(), "hosts")
	require.NoError(t, os.WriteFile(known, []byte(v.URL.Host+" "+p.Certificate.SHA256+"\n"), 0o600))
	for name, change := range map[string]func(*vcenter.Target){"CA": func(x *vcenter.Target) { x.CAs = file }, "thumbprint": func(x *vcenter.Target) { x.KnownHosts = known }} {
		trusted := untrusted
		change(&trusted)
		s, err := vcenter.Connect(ctx, trusted)
		require.NoError(t, err, name)
		require.NoError(t, s.Close())
		require.NoError(t, s.Close())
	}
	other, err := vasatest.NewAuthority("other")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, []byte(other.PEM()), 0o600))
	untrusted.CAs = file
	_, err = vcenter.Connect(ctx, untrusted)
	require.ErrorContains(t, err, "not trusted")

	gone := target(v)
	gone.URL = &url.URL{Scheme: "https", Host: "127.0.0.1:1", Path: "/sdk"}
	_, err = vcenter.Connect(ctx, gone)
	require.ErrorContains(t, err, "127.0.0.1:1")
	require.ErrorContains(t, err, "refused")
}

// TestOthers are no vCenter with a storage monitoring service.
func TestOthers(t *testing.T) {
	for name, c := range map[string]struct {
		model *simulator.Model
		want  string
	}{"without SMS": {simulator.VPX(), "no storage monitoring service at /sms/sdk"}, "a host": {simulator.ESX(), "not a vCenter"}} {
		t.Run(name, func(t *testing.T) {
			c.model.Datacenter, c.model.Machine = 0, 0
			require.NoError(t, c.model.Create())
			t.Cleanup(c.model.Remove)
			c.model.Service.TLS = new(tls.Config)
			server := c.model.Service.NewServer()
			t.Cleanup(server.Close)
			u := *server.URL
			u.User = nil
			_, err := vcenter.Connect(t.Context(), vcenter.Target{URL: &u, User: "user", Password: "pass", Insecure: true})
			require.ErrorContains(t, err, c.want)
		})
	}
}

// TestPresent judges certificates and compares thumbprints.
func TestPresent(t *testing.T) {
	ctx, a := t.Context(), newArray(t, trust.Options{})
	p, err := vcenter.Present(ctx, a.URL, nil, time.Now())
	require.NoError(t, err)
	require.True(t, p.Diagnosis.Trusted, "%v", p.Diagnosis.Problems)
	require.Equal(t, a.Trust.Report().Served.SHA1, p.Certificate.SHA1)
	for _, thumbprint := range []string{p.Certificate.SHA1, p.Certificate.SHA256, strings.ToLower(p.Certificate.SHA256), strings.ReplaceAll(p.Certificate.SHA1, ":", "")} {
		ok, err := p.Matches(thumbprint)
		require.NoError(t, err)
		require.True(t, ok, thumbprint)
	}
	other := strings.Repeat("AB:", 31) + "AB"
	ok, err := p.Matches(other)
	require.NoError(t, err)
	require.False(t, ok)
	for _, bad := range []string{"", "AB", "nonsense", other + ":AB"} {
		_, err := p.Matches(bad)
		require.ErrorIs(t, err, vcenter.ErrInvalid, bad)
	}
	ca, err := trust.ParseCertificates(string(a.Trust.CAPEM()))
	require.NoError(t, err)
	p, err = vcenter.Present(ctx, a.URL, ca, time.Now())
	require.NoError(t, err)
	require.True(t, p.Diagnosis.Trusted)
	b := newArray(t, trust.Options{})
	p, err = vcenter.Present(ctx, b.URL, ca, time.Now())
	require.NoError(t, err)
	require.False(t, p.Diagnosis.Trusted, "another array's CA")
	p, err = vcenter.Present(ctx, b.URL, nil, time.Now().AddDate(50, 0, 0))
	require.NoError(t, err)
	require.Equal(t, trust.Expired, p.Diagnosis.Broken.Break)

	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.TLS = &tls.Config{MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11}
	old.StartTLS()
	t.Cleanup(old.Close)
	p, err = vcenter.Present(ctx, old.URL, nil, time.Now())
	require.NoError(t, err)
	require.ErrorContains(t, p.Diagnosis.Broken, "TLS 1.1")
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	_, err = vcenter.Present(ctx, strings.Replace(plain.URL, "http:", "https:", 1), nil, time.Now())
	require.ErrorContains(t, err, "no TLS connection")
	_, err = vcenter.Present(ctx, plain.URL, nil, time.Now())
	require.ErrorIs(t, err, vcenter.ErrInvalid)
}
