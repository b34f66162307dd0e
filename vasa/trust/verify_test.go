package trust_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/trust"
)

func TestBrokenLinks(t *testing.T) {
	c := newClock()
	s := open(t, "", options(c))
	root := newCA(t, "root")
	namesake := newCA(t, "root")
	register(t, s, "vc", []*party{root})
	sub := subCA(t, root, "sub")
	leaf := newLeaf(t, sub, "esx1")
	notCA := newLeaf(t, root, "not a CA")
	dated := func(issuer *party, from, to time.Time, template x509.Certificate) *party {
		template.NotBefore, template.NotAfter = from, to
		return certify(t, issuer, newKey(t), template)
	}
	expired := dated(root, start.Add(-time.Hour), start.Add(-time.Minute), leafTemplate("expired"))
	early := dated(root, start.Add(150*time.Second), start.AddDate(1, 0, 0), leafTemplate("early"))
	expiredSub := dated(root, start.Add(-time.Hour), start.Add(-time.Minute), caTemplate("expired sub"))
	deep := []*party{sub}
	for i := range trust.MaxChain {
		deep = append(deep, subCA(t, deep[i], fmt.Sprint("deep ", i)))
	}
	constrained := caTemplate("constrained")
	constrained.PermittedDNSDomains, constrained.PermittedDNSDomainsCritical = []string{"lab"}, true
	narrow := certify(t, root, newKey(t), constrained)
	outside := leafTemplate("outside")
	outside.DNSNames = []string{"esx.example.com"}

	for _, test := range []struct {
		name    string
		chain   []*x509.Certificate
		kind    trust.Break
		subject string
		text    string
	}{
		{"none", nil, trust.NoCertificate, "", "presented no certificate"},
		{"missing intermediate", leaf.chain(), trust.UnknownIssuer, "CN=esx1", `issued by "CN=sub", which is not among the 1 trusted roots`},
		{"unknown root", newLeaf(t, subCA(t, newCA(t, "elsewhere"), "between"), "x").chain(), trust.UnknownIssuer, "CN=x", `"CN=between"`},
		{"self-signed", newLeaf(t, nil, "me").chain(), trust.UnknownIssuer, "CN=me", "self-signed and not trusted"},
		{"renewed root", newLeaf(t, namesake, "old").chain(), trust.WrongKey, "CN=old", "another key"},
		{"expired", expired.chain(), trust.Expired, "CN=expired", "expired at 2030-06-01T11:59:00Z"},
		{"early", early.chain(), trust.NotYetValid, "CN=early", "the clock here is 2m30s behind"},
		{"expired intermediate", newLeaf(t, expiredSub, "x").chain(expiredSub), trust.Expired, "CN=expired sub", "expired at"},
		{"issued by a leaf", newLeaf(t, notCA, "x").chain(notCA), trust.NotCA, "CN=x", `"CN=not a CA", which may not issue`},
		{"too many", newLeaf(t, deep[len(deep)-1], "x").chain(deep...), trust.Unusable, "CN=x", "more than 10"},
		{"name constraint", certify(t, narrow, newKey(t), outside).chain(narrow), trust.Unusable, "CN=outside", "not permitted"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for range 2 { // the second is remembered
				_, err := s.Verify(test.chain)
				e := broken(t, err, test.kind)
				require.Equal(t, test.subject, e.Subject)
				require.Contains(t, e.Text, test.text)
			}
		})
	}
	_, err := s.Verify(leaf.chain(sub))
	require.NoError(t, err, "a refusal without the intermediate must not count with it")
	_, err = s.Verify(leaf.chain())
	broken(t, err, trust.UnknownIssuer)
	_, err = s.Verify(leaf.chain(notCA, namesake, sub, root))
	require.NoError(t, err, "any order, and more than needed")
}

func TestVerifyMovesWithTheClock(t *testing.T) {
	c := newClock()
	s := open(t, "", options(c))
	template := caTemplate("root")
	template.NotAfter = start.Add(time.Hour)
	root := certify(t, nil, newKey(t), template)
	register(t, s, "vc", []*party{root})
	client := newLeaf(t, root, "esx")
	early := leafTemplate("early")
	early.NotBefore = start.Add(time.Minute)
	later := certify(t, root, newKey(t), early)
	single := leafTemplate("single")
	single.NotAfter = start.Add(2 * time.Hour)
	alone := certify(t, nil, newKey(t), single)
	_, err := s.RegisterCertificate("vc", alone.pem())
	require.NoError(t, err)

	check := func(p *party, kind trust.Break) {
		t.Helper()
		_, err := s.Verify(p.chain())
		if kind == "" {
			require.NoError(t, err)
		} else {
			broken(t, err, kind)
		}
	}
	check(client, "")
	check(later, trust.NotYetValid)
	check(alone, "")
	c.add(time.Minute + 20*time.Second)
	check(later, "")
	c.add(-time.Minute)
	check(later, trust.NotYetValid)
	c.set(start.Add(time.Hour))
	check(client, "")
	c.add(time.Second)
	check(client, trust.Expired) // its root
	check(alone, "")
	c.add(time.Hour)
	check(alone, trust.Expired)
	c.set(start)
	check(client, "")
	check(alone, "")
}

// An expired root beside its successor, and one that is no CA, do no harm (vasa.md 10).
func TestOddRoots(t *testing.T) {
	c := newClock()
	s := open(t, "", options(c))
	key := newKey(t)
	old := caTemplate("VMCA")
	old.NotAfter = start.Add(time.Hour)
	first, second := certify(t, nil, key, old), certify(t, nil, key, caTemplate("VMCA"))
	self := newLeaf(t, nil, "self-signed")
	register(t, s, "vc", []*party{first, self})
	c.add(30 * time.Minute)
	register(t, s, "vc", []*party{second})
	c.add(time.Hour)
	_, err := s.Verify(newLeaf(t, first, "esx").chain())
	require.NoError(t, err)
	id, err := s.Verify(self.chain())
	require.NoError(t, err)
	require.Equal(t, "CN=self-signed", id.Root)
	forged := certify(t, self, newKey(t), leafTemplate("forged"))
	_, err = s.Verify(forged.chain())
	broken(t, err, trust.NotCA)

	register(t, s, "vc", []*party{newCA(t, "new")})
	require.NotContains(t, s.Roots(), first.pem(), "expired roots go when others come")

	sub := subCA(t, newCA(t, "enterprise"), "VMCA as subordinate")
	register(t, s, "vc2", []*party{sub})
	_, err = s.Verify(newLeaf(t, sub, "esx").chain())
	require.NoError(t, err, "a subordinate CA is an anchor of its own")
}

// What an earlier build took and this one cannot read is skipped, reported and kept.
func TestUnreadableEntries(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	s := open(t, dir, options(c))
	root, client := newCA(t, "root"), newLeaf(t, nil, "client")
	register(t, s, "vc", []*party{root}, revoke(t, root, 1, nil))
	_, err := s.RegisterCertificate("vc", client.pem())
	require.NoError(t, err)
	path := filepath.Join(dir, "clients")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, trust.WithOddEntries(t, content), 0o600))

	s = open(t, dir, options(c))
	_, err = s.Verify(newLeaf(t, root, "esx").chain())
	require.NoError(t, err)
	_, err = s.Verify(client.chain())
	require.NoError(t, err)
	require.Len(t, s.Roots(), 2)
	require.Len(t, s.CRLs(), 2)
	codes := map[string]int{}
	for _, w := range s.Report().Warnings {
		codes[w.Code]++
	}
	require.Equal(t, 3, codes[trust.WarnUnreadable])
	register(t, s, "vc", []*party{newCA(t, "another")}, revoke(t, root, 2, nil))
}

func TestLenientUsage(t *testing.T) {
	s := open(t, "", options(newClock()))
	root := newCA(t, "root")
	register(t, s, "vc", []*party{root})
	for usage, noted := range map[x509.ExtKeyUsage]bool{x509.ExtKeyUsageServerAuth: true, x509.ExtKeyUsageClientAuth: false, x509.ExtKeyUsageAny: false} {
		template := leafTemplate("esx")
		template.ExtKeyUsage = []x509.ExtKeyUsage{usage}
		id, err := s.Verify(certify(t, root, newKey(t), template).chain())
		require.NoError(t, err)
		require.Equal(t, noted, len(id.Notes) == 1, "%v", usage)
	}
	plain := leafTemplate("esx")
	plain.ExtKeyUsage = nil
	id, err := s.Verify(certify(t, root, newKey(t), plain).chain())
	require.NoError(t, err)
	require.Empty(t, id.Notes)
}

func TestRevocation(t *testing.T) {
	c := newClock()
	root := newCA(t, "root")
	sub := subCA(t, root, "sub")
	good, bad := newLeaf(t, root, "good"), newLeaf(t, root, "bad")
	deep := newLeaf(t, sub, "deep")
	delta := func(l *x509.RevocationList) {
		l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}}
	}
	type set struct{ trusted, revoked []*party }
	for _, test := range []struct {
		name string
		crls []string
		want set
	}{
		{"none", nil, set{trusted: []*party{good, bad, deep}}},
		{"empty", []string{revoke(t, root, 1, nil)}, set{trusted: []*party{good, bad, deep}}},
		{"leaf", []string{revoke(t, root, 1, nil, bad)}, set{[]*party{good, deep}, []*party{bad}}},
		{"intermediate", []string{revoke(t, root, 1, nil, sub)}, set{[]*party{good, bad}, []*party{deep}}},
		{"by the intermediate", []string{revoke(t, sub, 1, nil, deep)}, set{[]*party{good, bad}, []*party{deep}}},
		{"out of date", []string{revoke(t, root, 1, func(l *x509.RevocationList) { l.NextUpdate = start.Add(-time.Second) }, bad)}, set{[]*party{good, deep}, []*party{bad}}},
		{"newest counts", []string{revoke(t, root, 3, nil, good), revoke(t, root, 4, nil, bad), revoke(t, root, 2, nil, good, deep)}, set{[]*party{good, deep}, []*party{bad}}},
		{"delta beside base", []string{revoke(t, root, 3, nil, bad), revoke(t, root, 4, delta, good)}, set{[]*party{deep}, []*party{bad, good}}},
		{"taken off", []string{revoke(t, root, 3, func(l *x509.RevocationList) {
			l.RevokedCertificateEntries[0].ReasonCode = 8
		}, bad)}, set{trusted: []*party{good, bad, deep}}},
		{"on hold", []string{revoke(t, root, 3, func(l *x509.RevocationList) {
			l.RevokedCertificateEntries[0].ReasonCode = 6
		}, bad)}, set{[]*party{good, deep}, []*party{bad}}},
		{"indirect", []string{revoke(t, root, 3, func(l *x509.RevocationList) {
			l.RevokedCertificateEntries[0].ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0}}}
		}, bad)}, set{trusted: []*party{good, bad, deep}}},
		{"of a namesake of the intermediate", []string{revoke(t, newCA(t, "sub"), 1, nil, deep)}, set{trusted: []*party{good, bad, deep}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := open(t, "", options(c))
			register(t, s, "vc", []*party{root}, test.crls...)
			for _, p := range test.want.trusted {
				_, err := s.Verify(p.chain(sub))
				require.NoError(t, err)
			}
			for _, p := range test.want.revoked {
				_, err := s.Verify(p.chain(sub))
				require.Contains(t, broken(t, err, trust.Revoked).Text, "CRL of")
			}
		})
	}
	t.Run("takes effect at once, and of another vCenter", func(t *testing.T) {
		s := open(t, "", options(c))
		register(t, s, "vc", []*party{root})
		_, err := s.RegisterCertificate("vc", bad.pem())
		require.NoError(t, err)
		_, err = s.Verify(bad.chain())
		require.NoError(t, err)
		register(t, s, "vc2", []*party{root}, revoke(t, root, 1, nil, bad))
		_, err = s.Verify(bad.chain())
		broken(t, err, trust.Revoked)
		_, err = s.Refresh("vc2", pems([]*party{root}), nil)
		require.NoError(t, err)
		_, err = s.Verify(bad.chain())
		require.NoError(t, err)
	})
	t.Run("of a registered certificate alone", func(t *testing.T) {
		s := open(t, "", options(c))
		_, err := s.RegisterCertificate("old", deep.pem())
		require.NoError(t, err)
		register(t, s, "vc", []*party{newCA(t, "x")}, revoke(t, sub, 1, nil, deep))
		_, err = s.Verify(deep.chain())
		require.NoError(t, err, "nobody knows the CRL's issuer")
		_, err = s.Verify(deep.chain(sub))
		broken(t, err, trust.Revoked)
	})
	t.Run("strict dates", func(t *testing.T) {
		o := options(c)
		o.StrictCRLDates = true
		s := open(t, "", o)
		for what, change := range map[string]func(*x509.RevocationList){
			"out of date":      func(l *x509.RevocationList) { l.NextUpdate = start.Add(-time.Second) },
			"not valid before": func(l *x509.RevocationList) { l.ThisUpdate = start.Add(time.Minute) },
		} {
			crl := revoke(t, root, 1, change)
			_, err := s.Register("vc", pems([]*party{root}), []string{crl})
			var invalid *trust.InvalidError
			require.ErrorAs(t, err, &invalid)
			require.ErrorContains(t, err, what)
			require.Equal(t, []string{crl}, invalid.CRLs)
		}
	})
	t.Run("an older one changes nothing", func(t *testing.T) {
		s := open(t, "", options(c))
		register(t, s, "vc", []*party{root}, revoke(t, root, 5, nil, bad))
		require.False(t, register(t, s, "vc", []*party{root}, revoke(t, root, 4, nil)).Changed)
		untold := func(l *x509.RevocationList) { l.Number = big.NewInt(5); l.ThisUpdate = start }
		require.True(t, register(t, s, "vc", []*party{root}, revoke(t, root, 5, untold)).Changed, "same number, later")
		_, err := s.Verify(bad.chain())
		require.NoError(t, err)
	})
}

func TestConcurrentUse(t *testing.T) {
	c := newClock()
	o := options(c)
	o.Retain = false
	s := open(t, t.TempDir(), o)
	root, other := newCA(t, "root"), newCA(t, "other")
	register(t, s, "vc", []*party{root})
	var clients []*party
	for i := range 8 {
		clients = append(clients, newLeaf(t, root, fmt.Sprint("esx", i)))
	}
	stranger, single := newLeaf(t, nil, "stranger"), newLeaf(t, nil, "single")
	crl := revoke(t, root, 1, nil, clients[0])
	var group sync.WaitGroup
	do := func(f func(int) error) {
		group.Go(func() {
			for i := range 20 {
				if err := f(i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, p := range clients[1:] {
		do(func(int) error { _, err := s.Verify(p.chain()); return err })
	}
	do(func(int) error {
		if _, err := s.Verify(stranger.chain()); err == nil {
			return fmt.Errorf("a stranger is trusted")
		}
		return nil
	})
	do(func(i int) error {
		_, err := s.Refresh("vc", pems([]*party{root, other}[:1+i%2]), []string{crl}[:i%2])
		return err
	})
	do(func(int) error {
		if _, err := s.RegisterCertificate("x", single.pem()); err != nil {
			return err
		}
		return s.Unregister(single.pem(), nil)
	})
	do(func(int) error { return s.Renew() })
	do(func(int) error { _, err := s.RequestCSR(); return err })
	do(func(int) error { return s.Login("vasa", s.Password()) })
	do(func(int) error {
		s.Report()
		s.Roots()
		s.CRLs()
		s.CAPEM()
		s.Certificate()
		c.add(time.Millisecond)
		return nil
	})
	do(func(int) error { _, err := s.ServerConfig().GetCertificate(nil); return err })
	group.Wait()
	require.Equal(t, s.CAPEM(), open(t, filepath.Dir(s.CAFile()), o).CAPEM())
}

func BenchmarkVerify(b *testing.B) {
	for _, size := range []int{1, 200} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			t := &testing.T{}
			s, err := trust.Open("", options(newClock()))
			if err != nil {
				b.Fatal(err)
			}
			root := newCA(t, "root")
			register(t, s, "vc", []*party{root})
			var chains [][]*x509.Certificate
			for i := range size {
				chains = append(chains, newLeaf(t, root, fmt.Sprint(i)).chain(root))
			}
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if _, err := s.Verify(chains[i%size]); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

func TestVerdictsAreBounded(t *testing.T) {
	c := newClock()
	s := open(t, "", options(c))
	root := newCA(t, "root")
	register(t, s, "vc", []*party{root})
	client := newLeaf(t, root, "esx")
	_, err := s.Verify(client.chain())
	require.NoError(t, err)
	stranger := newLeaf(t, nil, "stranger")
	for i := range 1500 {
		more := *stranger.cert
		more.Raw = append(append([]byte{}, more.Raw...), byte(i), byte(i>>8))
		_, err := s.Verify([]*x509.Certificate{&more})
		require.Error(t, err)
	}
	trusted, refused := s.Remembered()
	require.Equal(t, 1, trusted, "strangers do not push out clients")
	require.Equal(t, 1500-1024, refused)
	register(t, s, "vc", []*party{newCA(t, "another")})
	trusted, refused = s.Remembered()
	require.Zero(t, trusted+refused)
}
