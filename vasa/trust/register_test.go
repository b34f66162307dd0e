package trust_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/trust"
)

func TestSeveralVCenters(t *testing.T) {
	c := newClock()
	s := open(t, "", options(c))
	a, b := newCA(t, "VMCA a"), newCA(t, "VMCA b")
	hostA, hostB := newLeaf(t, a, "esx-a"), newLeaf(t, b, "esx-b")
	require.Equal(t, trust.Registered{Owner: "vc-a", Changed: true}, register(t, s, "vc-a", []*party{a}))
	require.Equal(t, trust.Registered{Owner: "vc-b", Changed: true}, register(t, s, "vc-b", []*party{b}))
	require.Equal(t, trust.Registered{Owner: "vc-b"}, register(t, s, "vc-b", []*party{b}), "already trusted")
	require.Equal(t, pems([]*party{a, b}), s.Roots())
	for _, test := range []struct {
		host  *party
		owner string
	}{{hostA, "vc-a"}, {hostB, "vc-b"}} {
		id, err := s.Verify(test.host.chain())
		require.NoError(t, err)
		require.Equal(t, []string{test.owner}, id.Owners)
		require.False(t, id.NotAfter.IsZero())
		require.Empty(t, id.Notes)
	}

	b2 := newCA(t, "VMCA b2")
	r, err := s.Refresh("vc-b", pems([]*party{b2}), nil)
	require.NoError(t, err)
	require.True(t, r.Changed)
	_, err = s.Verify(hostB.chain())
	broken(t, err, trust.UnknownIssuer)
	_, err = s.Verify(hostA.chain())
	require.NoError(t, err, "the other vCenter's set is untouched")
	r, err = s.Refresh("vc-b", pems([]*party{b2}), nil)
	require.NoError(t, err)
	require.False(t, r.Changed)

	register(t, s, "vc-b", []*party{a})
	id, err := s.Verify(hostA.chain())
	require.NoError(t, err)
	require.Equal(t, []string{"vc-a", "vc-b"}, id.Owners, "a root of both")
	require.Equal(t, pems([]*party{a, b2}), s.Roots(), "each once; a registration adds")

	require.NoError(t, s.Forget("vc-a"))
	id, err = s.Verify(hostA.chain())
	require.NoError(t, err)
	require.Equal(t, []string{"vc-b"}, id.Owners)
	require.ErrorIs(t, s.Forget("vc-a"), trust.ErrNotRegistered)
}

func TestOneVCenterWhenTheCertificateIsNotRetained(t *testing.T) {
	c := newClock()
	o := options(c)
	o.Retain = false
	s := open(t, "", o)
	a, b := newCA(t, "VMCA a"), newCA(t, "VMCA b")
	register(t, s, "vc-a", []*party{a})
	single := newLeaf(t, nil, "sms")
	_, err := s.RegisterCertificate("vc-a", single.pem())
	require.NoError(t, err)
	register(t, s, "vc-b", []*party{b})
	require.Equal(t, pems([]*party{b}), s.Roots())
	_, err = s.Verify(newLeaf(t, a, "esx").chain())
	broken(t, err, trust.UnknownIssuer)
	_, err = s.Verify(single.chain())
	require.NoError(t, err, "single certificates are not the CA's business")
}

func TestRetainedSetsGoWhenNoLongerRetained(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	o := options(c)
	a, b := newCA(t, "VMCA a"), newCA(t, "VMCA b")
	s := open(t, dir, o)
	register(t, s, "vc-a", []*party{a})
	register(t, s, "vc-b", []*party{b})
	o.Retain = false
	s = open(t, dir, o)
	require.Len(t, s.Roots(), 2)
	require.True(t, register(t, s, "vc-a", []*party{a}).Changed)
	require.Equal(t, pems([]*party{a}), s.Roots())
}

func TestOwnerWithoutName(t *testing.T) {
	s := open(t, "", options(newClock()))
	a, b, shared := newCA(t, "a"), newCA(t, "b"), newCA(t, "shared")
	first := register(t, s, "", []*party{a, shared})
	require.True(t, strings.HasPrefix(first.Owner, "root:"))
	require.Equal(t, trust.Registered{Owner: first.Owner, Changed: true}, register(t, s, "", []*party{b, shared}))
	require.Equal(t, pems([]*party{a, shared, b}), s.Roots())
	require.NotEqual(t, first.Owner, register(t, s, "", []*party{newCA(t, "c")}).Owner)

	client := newLeaf(t, nil, "sms")
	r, err := s.RegisterCertificate("", client.pem())
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(r.Owner, "certificate:"))
	again, err := s.RegisterCertificate("another", client.pem())
	require.NoError(t, err)
	require.Equal(t, trust.Registered{Owner: r.Owner}, again)

	for _, owner := range []string{strings.Repeat("x", 256), "\xff"} {
		_, err = s.Register(owner, pems([]*party{a}), nil)
		require.ErrorContains(t, err, "owner")
		_, err = s.RegisterCertificate(owner, a.pem())
		require.ErrorContains(t, err, "owner")
	}
}

func TestForms(t *testing.T) {
	ca := newCA(t, "VMCA")
	other := newCA(t, "other")
	der := base64.StdEncoding.EncodeToString(ca.cert.Raw)
	crl := revoke(t, ca, 1, nil)
	lists, err := trust.ParseCRLs(crl)
	require.NoError(t, err)
	for what, text := range map[string]string{
		"PEM":           ca.pem(),
		"CRLF":          strings.ReplaceAll(ca.pem(), "\n", "\r\n"),
		"one line":      strings.ReplaceAll(ca.pem(), "\n", " "),
		"no line ends":  strings.ReplaceAll(ca.pem(), "\n", ""),
		"bare":          der,
		"bare lines":    der[:60] + "\r\n" + der[60:120] + "\n\t" + der[120:] + "\n",
		"text around":   "Certificate:\n  Data: x\n" + ca.pem() + "bye\n",
		"X509":          strings.ReplaceAll(ca.pem(), "CERTIFICATE", "X509 CERTIFICATE"),
		"leading space": "\n\n  " + ca.pem(),
	} {
		t.Run(what, func(t *testing.T) {
			s := open(t, "", options(newClock()))
			_, err := s.Register("vc", []string{text}, []string{base64.StdEncoding.EncodeToString(lists[0].Raw)})
			require.NoError(t, err)
			require.Equal(t, []string{ca.pem()}, s.Roots())
			require.Equal(t, []string{crl}, s.CRLs())
		})
	}
	s := open(t, "", options(newClock()))
	_, err = s.Register("vc", []string{ca.pem() + other.pem()}, nil)
	require.NoError(t, err)
	require.Equal(t, pems([]*party{ca, other}), s.Roots())
}

func TestInvalidRegistrationsChangeNothing(t *testing.T) {
	c := newClock()
	ca, stranger := newCA(t, "VMCA"), newCA(t, "VMCA")
	leaf := newLeaf(t, ca, "leaf")
	dates := func(from, to time.Time) *party {
		template := caTemplate("dated")
		template.NotBefore, template.NotAfter = from, to
		return certify(t, nil, newKey(t), template)
	}
	expired := dates(start.AddDate(-2, 0, 0), start.Add(-time.Second))
	early := dates(start.Add(90*time.Second), start.AddDate(1, 0, 0))
	good := revoke(t, ca, 1, nil)
	for what, test := range map[string]struct {
		roots, crls []string // the last of each is at fault
		badRoot     bool
		badCRL      bool
	}{
		"no root certificate":          {},
		"empty":                        {roots: []string{ca.pem(), ""}, badRoot: true},
		"neither PEM nor base64":       {roots: []string{ca.pem(), "&&&&"}, badRoot: true},
		"no X.509":                     {roots: []string{ca.pem(), "AAAA"}, badRoot: true},
		"without its end":              {roots: []string{ca.pem(), ca.pem()[:200]}, badRoot: true},
		"is expected":                  {roots: []string{ca.pem(), leaf.keyPEM(t)}, badRoot: true},
		"expired at":                   {roots: []string{ca.pem(), expired.pem()}, badRoot: true},
		"the clock here is 1m30s":      {roots: []string{ca.pem(), early.pem()}, badRoot: true},
		"neither a CA nor self-signed": {roots: []string{ca.pem(), leaf.pem()}, badRoot: true},
		"CRL: neither PEM":             {roots: []string{ca.pem()}, crls: []string{good, "?"}, badCRL: true},
		"no X.509 CRL":                 {roots: []string{ca.pem()}, crls: []string{good, "AAAA"}, badCRL: true},
		"where X509 CRL":               {roots: []string{ca.pem()}, crls: []string{good, ca.pem()}, badCRL: true},
		"not that of its issuer":       {roots: []string{ca.pem()}, crls: []string{good, revoke(t, stranger, 1, nil)}, badCRL: true},
		"more than 8388608":            {roots: []string{strings.Repeat("A", 9<<20)}, badRoot: true},
		"more than 65536":              {roots: []string{strings.Repeat("A", 1<<20)}, badRoot: true},
		"more than 64 PEM":             {roots: []string{strings.Repeat(ca.pem(), 65)}, badRoot: true},
	} {
		t.Run(what, func(t *testing.T) {
			s := open(t, "", options(c))
			before := newCA(t, "before")
			register(t, s, "vc", []*party{before})
			report := s.Report()
			for _, do := range []func(string, []string, []string) (trust.Registered, error){s.Register, s.Refresh} {
				_, err := do("vc", test.roots, test.crls)
				var invalid *trust.InvalidError
				require.ErrorAs(t, err, &invalid)
				require.ErrorContains(t, err, what)
				var certs, crls []string
				if test.badRoot {
					certs = test.roots[len(test.roots)-1:]
				}
				if test.badCRL {
					crls = test.crls[len(test.crls)-1:]
				}
				require.Equal(t, certs, invalid.Certificates)
				require.Equal(t, crls, invalid.CRLs)
				require.Equal(t, report, s.Report())
			}
		})
	}
	t.Run("all that is wrong", func(t *testing.T) {
		s := open(t, "", options(c))
		_, err := s.Register("vc", []string{"?", ca.pem(), expired.pem()}, []string{"!"})
		var invalid *trust.InvalidError
		require.ErrorAs(t, err, &invalid)
		require.Equal(t, []string{"?", expired.pem()}, invalid.Certificates)
		require.Equal(t, []string{"!"}, invalid.CRLs)
		require.Len(t, invalid.Reasons, 3)
		require.Empty(t, s.Roots())
	})
	t.Run("skip expired", func(t *testing.T) {
		o := options(c)
		o.SkipExpiredRoots = true
		s := open(t, "", o)
		_, err := s.Register("vc", []string{expired.pem(), ca.pem(), early.pem()}, nil)
		require.NoError(t, err)
		require.Equal(t, []string{ca.pem()}, s.Roots())
		_, err = s.Register("vc2", []string{expired.pem(), early.pem()}, nil)
		require.ErrorContains(t, err, "expired at")
		require.ErrorContains(t, err, "not valid before")
	})
	t.Run("single", func(t *testing.T) {
		s := open(t, "", options(c))
		for what, text := range map[string]string{"empty": "", "neither": "?", "expired at": expired.pem(), "not valid before": early.pem()} {
			_, err := s.RegisterCertificate("vc", text)
			var invalid *trust.InvalidError
			require.ErrorAs(t, err, &invalid)
			require.ErrorContains(t, err, what)
			require.Equal(t, []string{text}, invalid.Certificates)
		}
		require.Empty(t, s.Report().Clients)
	})
}

func TestUnregister(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	s := open(t, dir, options(c))
	ca, client := newCA(t, "VMCA"), newLeaf(t, nil, "sms")
	issued := newLeaf(t, ca, "esx")
	register(t, s, "vc", []*party{ca})
	_, err := s.RegisterCertificate("vc", client.pem()+ca.pem())
	require.NoError(t, err)
	require.Len(t, s.Report().Clients, 1)

	require.ErrorIs(t, s.Unregister(issued.pem(), nil), trust.ErrNotRegistered)
	require.ErrorIs(t, s.Unregister(newLeaf(t, nil, "x").pem(), nil), trust.ErrNotRegistered)
	var invalid *trust.InvalidError
	require.ErrorAs(t, s.Unregister("?", nil), &invalid)
	_, err = s.Verify(issued.chain())
	require.NoError(t, err)

	require.NoError(t, s.Unregister(client.pem(), nil))
	_, err = s.Verify(client.chain())
	broken(t, err, trust.UnknownIssuer)
	require.ErrorIs(t, s.Unregister(client.pem(), nil), trust.ErrNotRegistered)
	require.ErrorIs(t, s.Unregister(ca.pem(), []string{"another"}), trust.ErrNotRegistered)
	require.NoError(t, s.Unregister(ca.pem(), []string{"vc"}))
	_, err = s.Verify(issued.chain())
	broken(t, err, trust.UnknownIssuer)
	require.Empty(t, open(t, dir, options(c)).Report().Roots)
}

func TestLimits(t *testing.T) {
	s := open(t, "", options(newClock()))
	var limit *trust.LimitError
	ca := newCA(t, "ca")
	var roots []*party
	for i := range trust.MaxRoots + 1 {
		roots = append(roots, newCA(t, fmt.Sprint("ca ", i)))
	}
	_, err := s.Register("vc", pems(roots), nil)
	require.ErrorAs(t, err, &limit)
	register(t, s, "vc", roots[1:])
	_, err = s.Register("vc", pems(roots[:1]), nil)
	require.ErrorAs(t, err, &limit)
	require.Len(t, s.Roots(), trust.MaxRoots)
	_, err = s.Register("crls", pems([]*party{ca}), make([]string, trust.MaxCRLs+1))
	require.ErrorAs(t, err, &limit)
	for i := range trust.MaxRegistrations - 1 {
		register(t, s, fmt.Sprint("vc", i), []*party{ca})
	}
	_, err = s.Register("one more", pems([]*party{ca}), nil)
	require.ErrorAs(t, err, &limit)
	require.ErrorContains(t, err, "more than 32 registrations")

	s.FillClients(trust.MaxClients - 1)
	_, err = s.RegisterCertificate("", newLeaf(t, nil, "last").pem())
	require.NoError(t, err)
	_, err = s.RegisterCertificate("", newLeaf(t, nil, "more").pem())
	require.ErrorAs(t, err, &limit)
}

func TestCRLSize(t *testing.T) {
	s := open(t, "", options(newClock()))
	ca := newCA(t, "ca")
	large := func(number int64, entries int) string {
		return revoke(t, ca, number, func(l *x509.RevocationList) {
			filler := bytes.Repeat([]byte{1}, 64<<10)
			for range entries {
				l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial(t), RevocationTime: start,
					ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: filler}}})
			}
			// A scope of its own.
			l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Value: []byte(fmt.Sprint(number))}}
		})
	}
	_, err := s.Register("vc", pems([]*party{ca}), []string{large(1, 65)})
	var invalid *trust.InvalidError
	require.ErrorAs(t, err, &invalid)
	require.ErrorContains(t, err, "more than 4194304")
	var crls []string
	for i := range 8 {
		crls = append(crls, large(int64(i), 60))
	}
	register(t, s, "vc", []*party{ca}, crls...)
	_, err = s.Register("vc", pems([]*party{ca}), []string{large(9, 60)})
	var limit *trust.LimitError
	require.ErrorAs(t, err, &limit)
	require.Equal(t, trust.MaxCRLBytes, limit.Limit)
}

func serial(t *testing.T) *big.Int {
	n, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	return n
}
