package trust

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// removeFromCRL is a reason code (RFC 5280 5.3.1).
const removeFromCRL = 8

func oidDelta() asn1.ObjectIdentifier             { return asn1.ObjectIdentifier{2, 5, 29, 27} }
func oidDistributionPoint() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 5, 29, 28} }

func isCertificateIssuer(x pkix.Extension) bool {
	return x.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 29})
}

// Registered is what a registration did.
type Registered struct {
	Owner   string // whose it is now
	Changed bool   // false: all of it was trusted before
}

// Register trusts all certificates issued below roots, less those that are on a CRL, on
// behalf of owner; the login is checked before (Login). Texts are PEM or bare base64. An
// empty owner stands for the registration that shares a root, or names a new one after
// its first root. The owner's earlier roots stay trusted until Refresh. Errors:
// InvalidError, LimitError.
func (s *Store) Register(owner string, roots, crls []string) (Registered, error) {
	return s.registerSet(owner, roots, crls, false)
}

// Refresh replaces the roots and CRLs of an owner. An owner that is not registered, such
// as one that is trusted by a single certificate, becomes so.
func (s *Store) Refresh(owner string, roots, crls []string) (Registered, error) {
	return s.registerSet(owner, roots, crls, true)
}

func (s *Store) registerSet(owner string, rootTexts, crlTexts []string, replace bool) (Registered, error) {
	if err := validOwner(owner); err != nil {
		return Registered{}, err
	}
	now := s.options.Clock()
	bad := &InvalidError{}
	roots, err := s.readRoots(bad, rootTexts, now)
	if err != nil {
		return Registered{}, err
	}
	crls, texts, err := s.readCRLs(bad, crlTexts, now)
	if err != nil {
		return Registered{}, err
	}
	if err := bad.err(); err != nil {
		return Registered{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if owner == "" {
		owner = s.state.ownerOf(roots)
	}
	old := s.state.registration(owner)
	next := &registration{owner: owner, at: now, changed: now}
	if old != nil {
		next.at = old.at
	}
	if old != nil && !replace {
		// Expired roots go when others come: nothing else removes them.
		next.roots = slices.DeleteFunc(slices.Clone(old.roots), func(k *known) bool { return k.cert == nil || now.After(k.cert.NotAfter) })
		next.crls = slices.Clone(old.crls)
	}
	next.addRoots(roots)
	next.addCRLs(crls)
	if old != nil && old.same(next) && (s.options.Retain || len(s.state.registrations) == 1) {
		return Registered{Owner: owner}, nil
	}
	if err := s.state.signed(crls, texts, next); err != nil {
		return Registered{}, err
	}
	changed, err := s.state.with(next, s.options.Retain)
	if err != nil {
		return Registered{}, err
	}
	if err := s.change(changed); err != nil {
		return Registered{}, err
	}
	return Registered{Owner: owner, Changed: true}, nil
}

func validOwner(owner string) error {
	if len(owner) > MaxOwner || !utf8.ValidString(owner) {
		return fmt.Errorf("owner %.40q: more than %d bytes, or no UTF-8", owner, MaxOwner)
	}
	return nil
}

// readRoots parses and checks roots; what is wrong with the texts goes into bad.
func (s *Store) readRoots(bad *InvalidError, texts []string, now time.Time) (roots []*known, _ error) {
	if len(texts) > MaxRoots {
		return nil, &LimitError{"roots of one registration", MaxRoots}
	}
	skipped := &InvalidError{}
	for _, text := range texts {
		certs, err := ParseCertificates(text)
		if err != nil {
			bad.certificate(text, "root: "+err.Error())
			continue
		}
		for _, cert := range certs {
			if e := dated(cert, now); e != nil && s.options.SkipExpiredRoots {
				skipped.certificate(text, "root: "+e.Text)
			} else if e != nil {
				bad.certificate(text, "root: "+e.Text)
			} else if !anchor(cert) && !selfSigned(cert) {
				bad.certificate(text, fmt.Sprintf("root: %q is neither a CA nor self-signed", subject(cert)))
			} else {
				roots = append(roots, newKnown(cert))
			}
		}
	}
	if len(roots) == 0 && len(bad.Reasons) == 0 {
		*bad = *skipped
		if len(texts) == 0 {
			bad.Reasons = append(bad.Reasons, "no root certificate")
		}
	}
	return roots, nil
}

// anchor tells whether cert may issue others. X.509 version 1 knows no CAs: there a
// self-signed certificate is one.
func anchor(cert *x509.Certificate) bool {
	if cert.Version < 3 {
		return selfSigned(cert)
	}
	return cert.BasicConstraintsValid && cert.IsCA
}

// readCRLs parses CRLs, and returns with each the text that it came in.
func (s *Store) readCRLs(bad *InvalidError, texts []string, now time.Time) (lists []*list, from []string, _ error) {
	if len(texts) > MaxCRLs {
		return nil, nil, &LimitError{"CRLs of one registration", MaxCRLs}
	}
	for _, text := range texts {
		crls, err := ParseCRLs(text)
		if err != nil {
			bad.crl(text, "CRL: "+err.Error())
			continue
		}
		for _, crl := range crls {
			l := newList(crl)
			if why := l.outdated(now); why != "" && s.options.StrictCRLDates {
				bad.crl(text, why)
				continue
			}
			lists, from = append(lists, l), append(from, text)
		}
	}
	return lists, from, nil
}

// outdated tells what is wrong with the dates of a CRL, or "".
func (l *list) outdated(now time.Time) string {
	issuer := l.crl.Issuer.String()
	if skew := l.crl.ThisUpdate.Sub(now); skew > 0 {
		return fmt.Sprintf("CRL of %q is not valid before %s: the clock here is %s behind it", issuer, stamp(l.crl.ThisUpdate), skew.Round(time.Second))
	}
	if !l.crl.NextUpdate.IsZero() && now.After(l.crl.NextUpdate) {
		return fmt.Sprintf("CRL of %q is out of date since %s", issuer, stamp(l.crl.NextUpdate))
	}
	return ""
}

// ownerOf finds the registration that shares a root, or names a new one.
func (s *state) ownerOf(roots []*known) string {
	for _, r := range s.registrations {
		if slices.ContainsFunc(roots, func(k *known) bool { return r.has(k.print) }) {
			return r.owner
		}
	}
	return "root:" + hex.EncodeToString(roots[0].print[:8])
}

func (r *registration) addRoots(roots []*known) {
	for _, k := range roots {
		if !r.has(k.print) {
			r.roots = append(r.roots, k)
		}
	}
}

// addCRLs adds CRLs; of one scope the newest stays.
func (r *registration) addCRLs(crls []*list) {
	for _, l := range crls {
		i := slices.IndexFunc(r.crls, func(o *list) bool { return o.crl != nil && o.scope == l.scope })
		if i < 0 {
			r.crls = append(r.crls, l)
		} else if l.newer(r.crls[i]) {
			r.crls[i] = l
		}
	}
}

func (r *registration) same(as *registration) bool {
	return slices.EqualFunc(r.roots, as.roots, func(a, b *known) bool { return a.print == b.print }) &&
		slices.EqualFunc(r.crls, as.crls, func(a, b *list) bool { return a.print == b.print })
}

// signed refuses CRLs whose issuer is a root, of next or of another registration, that
// did not sign them.
func (s *state) signed(crls []*list, texts []string, next *registration) error {
	bad := &InvalidError{}
	for i, l := range crls {
		found, good := false, false
		for _, r := range append(slices.Clone(s.registrations), next) {
			for _, k := range r.roots {
				if k.cert != nil && bytes.Equal(k.cert.RawSubject, l.crl.RawIssuer) {
					found = true
					good = good || l.crl.CheckSignatureFrom(k.cert) == nil
				}
			}
		}
		if found && !good {
			bad.crl(texts[i], fmt.Sprintf("CRL: its signature is not that of its issuer %q", l.crl.Issuer.String()))
		}
	}
	return bad.err()
}

// with is the state with one registration replaced or added. Unless several are
// retained it is the only one.
func (s *state) with(next *registration, several bool) (state, error) {
	changed := state{clients: s.clients}
	placed := false
	for _, r := range s.registrations {
		if r.owner == next.owner {
			r, placed = next, true
		} else if !several {
			continue
		}
		changed.registrations = append(changed.registrations, r)
	}
	if !placed {
		changed.registrations = append(changed.registrations, next)
	}
	total := 0
	for _, r := range changed.registrations {
		for _, l := range r.crls {
			total += len(l.der)
		}
	}
	switch {
	case len(changed.registrations) > MaxRegistrations:
		return state{}, &LimitError{"registrations", MaxRegistrations}
	case len(next.roots) > MaxRoots:
		return state{}, &LimitError{"roots of one registration", MaxRoots}
	case len(next.crls) > MaxCRLs:
		return state{}, &LimitError{"CRLs of one registration", MaxCRLs}
	case total > MaxCRLBytes:
		return state{}, &LimitError{"bytes of CRLs", MaxCRLBytes}
	}
	return changed, nil
}

// RegisterCertificate trusts one client certificate, the first in text (others are its
// chain), on behalf of owner; an empty owner is named after the certificate. Errors as of
// Register.
func (s *Store) RegisterCertificate(owner, text string) (Registered, error) {
	if err := validOwner(owner); err != nil {
		return Registered{}, err
	}
	certs, err := ParseCertificates(text)
	if err != nil {
		return Registered{}, invalidCertificate(text, "%v", err)
	}
	now := s.options.Clock()
	if e := dated(certs[0], now); e != nil {
		return Registered{}, invalidCertificate(text, "%s", e.Text)
	}
	k := newKnown(certs[0])
	if owner == "" {
		owner = "certificate:" + hex.EncodeToString(k.print[:8])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.state.client(k.print); i >= 0 {
		return Registered{Owner: s.state.clients[i].owner}, nil
	}
	if len(s.state.clients) >= MaxClients {
		return Registered{}, &LimitError{"registered certificates", MaxClients}
	}
	next := s.state
	next.clients = append(slices.Clone(next.clients), &client{known: *k, owner: owner, at: now})
	return Registered{Owner: owner, Changed: true}, s.change(next)
}

func (s *state) client(print fingerprint) int {
	return slices.IndexFunc(s.clients, func(c *client) bool { return c.print == print })
}

// Unregister takes back the trust in a certificate that was registered by itself, or as
// a root of one of owners, which are the caller's (Identity.Owners): one vCenter's hosts do not
// end the trust in another vCenter. Any other is ErrNotRegistered, also one that was issued below
// a root: it stays trusted as long as its root is (Forget).
func (s *Store) Unregister(text string, owners []string) error {
	certs, err := ParseCertificates(text)
	if err != nil {
		return invalidCertificate(text, "%v", err)
	}
	print := newKnown(certs[0]).print
	s.mu.Lock()
	defer s.mu.Unlock()
	next := state{}
	found := false
	for _, c := range s.state.clients {
		if c.print == print {
			found = true
			continue
		}
		next.clients = append(next.clients, c)
	}
	for _, r := range s.state.registrations {
		if r.has(print) && slices.Contains(owners, r.owner) {
			found = true
			r = r.without(print, s.options.Clock())
		}
		if len(r.roots) > 0 {
			next.registrations = append(next.registrations, r)
		}
	}
	if !found {
		return ErrNotRegistered
	}
	return s.change(next)
}

func (r *registration) without(print fingerprint, now time.Time) *registration {
	next := *r
	next.changed = now
	next.roots = slices.DeleteFunc(slices.Clone(r.roots), func(k *known) bool { return k.print == print })
	return &next
}

// Forget ends all that an owner registered: roots, CRLs and single certificates.
func (s *Store) Forget(owner string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := state{}
	for _, r := range s.state.registrations {
		if r.owner != owner {
			next.registrations = append(next.registrations, r)
		}
	}
	for _, c := range s.state.clients {
		if c.owner != owner {
			next.clients = append(next.clients, c)
		}
	}
	if len(next.registrations) == len(s.state.registrations) && len(next.clients) == len(s.state.clients) {
		return ErrNotRegistered
	}
	return s.change(next)
}

// Roots are the trusted roots, each once, as PEM. The caller owns the list.
func (s *Store) Roots() (all []string) {
	seen := map[fingerprint]bool{}
	for _, r := range s.snapshot().registrations {
		for _, k := range r.roots {
			if !seen[k.print] {
				seen[k.print] = true
				all = append(all, armour(typeCertificate, k.der))
			}
		}
	}
	return all
}

// CRLs are the revocation lists, each once, as PEM. The caller owns the list.
func (s *Store) CRLs() (all []string) {
	seen := map[fingerprint]bool{}
	for _, r := range s.snapshot().registrations {
		for _, l := range r.crls {
			if !seen[l.print] {
				seen[l.print] = true
				all = append(all, armour(typeCRL, l.der))
			}
		}
	}
	return all
}

func (s *Store) snapshot() state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}
