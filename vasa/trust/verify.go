package trust

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"slices"
	"sync"
	"time"
)

// Identity is a trusted client certificate. Its slices are shared: read only.
type Identity struct {
	Subject     string
	Fingerprint string    // SHA-256, as Report shows it
	Owners      []string  // of the registrations that trust it, in order of registration
	Root        string    // subject of the root it was issued below; empty if registered itself
	NotAfter    time.Time // of the certificate
	Notes       []string  // what was let pass
}

// view is an unchanging state, prepared for verification, with the verdicts that were
// found under it: a change makes a new view, and so forgets them.
type view struct {
	pool    *x509.CertPool
	roots   []*x509.Certificate
	owners  map[fingerprint][]string // of roots
	clients map[fingerprint]*client
	crls    map[string][]*list // by issuer

	mu       sync.Mutex
	trusted  map[fingerprint]verdict // by chain
	refused  map[fingerprint]verdict
	verified map[[2]fingerprint]bool // CRL and issuer: is the signature good
}

// verdict holds from the first time to the second: a clock may also be set back.
type verdict struct {
	identity    Identity
	err         error
	from, until time.Time
}

func newView(s *state) *view {
	v := &view{pool: x509.NewCertPool(), owners: map[fingerprint][]string{}, clients: map[fingerprint]*client{}, crls: map[string][]*list{},
		trusted: map[fingerprint]verdict{}, refused: map[fingerprint]verdict{}, verified: map[[2]fingerprint]bool{}}
	for _, r := range s.registrations {
		for _, k := range r.roots {
			if k.cert == nil {
				continue
			}
			if v.owners[k.print] == nil {
				v.pool.AddCert(k.cert)
				v.roots = append(v.roots, k.cert)
			}
			v.owners[k.print] = append(v.owners[k.print], r.owner)
		}
		for _, l := range r.crls {
			if l.crl != nil {
				v.crls[string(l.crl.RawIssuer)] = append(v.crls[string(l.crl.RawIssuer)], l)
			}
		}
	}
	for _, c := range s.clients {
		if c.cert != nil {
			v.clients[c.print] = c
		}
	}
	return v
}

// Verify tells whether a client that presents chain, its own certificate first, is
// trusted now, and who it is. The error is an UntrustedError that names the broken link.
func (s *Store) Verify(chain []*x509.Certificate) (Identity, error) {
	if len(chain) == 0 {
		return Identity{}, untrusted(NoCertificate, "", "the client presented no certificate")
	}
	if len(chain) > MaxChain {
		return Identity{}, untrusted(Unusable, subject(chain[0]), "the client presented %d certificates, more than %d", len(chain), MaxChain)
	}
	v, now, key := s.view.Load(), s.options.Clock(), chainPrint(chain)
	if found, ok := v.remembered(key, now); ok {
		return found.identity, found.err
	}
	found := v.judge(chain, now)
	v.remember(key, found)
	return found.identity, found.err
}

// chainPrint hashes what was presented.
func chainPrint(chain []*x509.Certificate) (print fingerprint) {
	h := sha256.New()
	var size [8]byte
	for _, cert := range chain {
		binary.BigEndian.PutUint64(size[:], uint64(len(cert.Raw)))
		h.Write(size[:])
		h.Write(cert.Raw)
	}
	h.Sum(print[:0])
	return print
}

func (v *view) remembered(key fingerprint, now time.Time) (verdict, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	found, ok := v.trusted[key]
	if !ok {
		found, ok = v.refused[key]
	}
	return found, ok && !now.Before(found.from) && !now.After(found.until)
}

// remember keeps a verdict. A full memory is emptied: those in use come back at once,
// and the refused cannot push out the trusted.
func (v *view) remember(key fingerprint, found verdict) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.trusted, key)
	delete(v.refused, key)
	memory, limit := v.trusted, maxTrusted
	if found.err != nil {
		memory, limit = v.refused, maxRefused
	}
	if len(memory) >= limit {
		clear(memory)
	}
	memory[key] = found
}

func (v *view) judge(chain []*x509.Certificate, now time.Time) verdict {
	leaf := chain[0]
	found := verdict{identity: Identity{Subject: subject(leaf), Fingerprint: colons(leaf.Raw), NotAfter: leaf.NotAfter},
		from: leaf.NotBefore, until: leaf.NotAfter}
	err := v.judgeClient(&found, chain, now)
	if e := v.judgeIssued(&found, chain, now); e == nil || err == nil {
		found.identity.Notes = notes(leaf)
		return found
	} else if err.Break == UnknownIssuer {
		err = e // not registered itself: the chain says more
	}
	return verdict{err: err, from: now, until: now.Add(refusedFor)}
}

// judgeClient looks among certificates that were registered themselves.
func (v *view) judgeClient(found *verdict, chain []*x509.Certificate, now time.Time) *UntrustedError {
	leaf := chain[0]
	c := v.clients[sha256.Sum256(leaf.Raw)]
	if c == nil {
		return untrusted(UnknownIssuer, subject(leaf), "certificate %q is not registered", subject(leaf))
	}
	if e := dated(leaf, now); e != nil {
		return e
	}
	for _, issuer := range slices.Concat(v.roots, chain) {
		if bytes.Equal(issuer.RawSubject, leaf.RawIssuer) && leaf.CheckSignatureFrom(issuer) == nil {
			if e := v.revocation(leaf, issuer); e != nil {
				return e
			}
		}
	}
	found.identity.Owners = append(found.identity.Owners, c.owner)
	return nil
}

// judgeIssued looks for a way from the certificate to a root. A revoked one that is
// also registered itself has been refused before.
func (v *view) judgeIssued(found *verdict, chain []*x509.Certificate, now time.Time) *UntrustedError {
	ways, err := v.ways(chain, now)
	if err != nil {
		return explain(err, chain, v.roots, now)
	}
	var refused *UntrustedError
	trusted := false
	for _, way := range ways {
		if e := v.revokedOn(way); e != nil {
			refused = e
			continue
		}
		root := way[len(way)-1]
		if !trusted {
			found.identity.Root = subject(root)
		}
		trusted = true
		for _, owner := range v.owners[sha256.Sum256(root.Raw)] {
			if !slices.Contains(found.identity.Owners, owner) {
				found.identity.Owners = append(found.identity.Owners, owner)
			}
		}
		for _, cert := range way {
			if cert.NotAfter.Before(found.until) {
				found.until = cert.NotAfter
			}
			if cert.NotBefore.After(found.from) {
				found.from = cert.NotBefore
			}
		}
	}
	if !trusted {
		return refused
	}
	return nil
}

// ways are the valid chains from a certificate to roots. Extended key usage is left
// open, revocation is for the caller.
func (v *view) ways(chain []*x509.Certificate, now time.Time) ([][]*x509.Certificate, error) {
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	return chain[0].Verify(x509.VerifyOptions{Roots: v.pool, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
}

// revokedOn finds the first revoked certificate of a way to a root.
func (v *view) revokedOn(way []*x509.Certificate) *UntrustedError {
	for i, cert := range way[:len(way)-1] {
		if e := v.revocation(cert, way[i+1]); e != nil {
			return e
		}
	}
	return nil
}

// revocation looks cert up in the CRLs that issuer signed, the newest of each scope.
func (v *view) revocation(cert, issuer *x509.Certificate) *UntrustedError {
	var newest []*list
	for _, l := range v.crls[string(cert.RawIssuer)] {
		if !v.signedBy(l, issuer) {
			continue
		}
		i := slices.IndexFunc(newest, func(o *list) bool { return o.scope == l.scope })
		if i < 0 {
			newest = append(newest, l)
		} else if l.newer(newest[i]) {
			newest[i] = l
		}
	}
	serial := number(cert.SerialNumber)
	for _, l := range newest {
		if l.revoked[serial] {
			return untrusted(Revoked, subject(cert), "certificate %q, serial %s, is revoked by the CRL of %q of %s",
				subject(cert), serial, subject(issuer), stamp(l.crl.ThisUpdate))
		}
	}
	return nil
}

func (v *view) signedBy(l *list, issuer *x509.Certificate) bool {
	key := [2]fingerprint{l.print, sha256.Sum256(issuer.Raw)}
	v.mu.Lock()
	good, ok := v.verified[key]
	v.mu.Unlock()
	if ok {
		return good
	}
	good = l.crl.CheckSignatureFrom(issuer) == nil
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.verified) >= maxTrusted {
		clear(v.verified)
	}
	v.verified[key] = good
	return good
}

// notes tells what was let pass.
func notes(leaf *x509.Certificate) []string {
	if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) == 0 || slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) ||
		slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		return nil
	}
	return []string{"the certificate is not meant for client authentication; accepted, as VMCA issues such"}
}
