package trust

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"time"
)

// Link is one certificate on the way from a peer to an anchor.
type Link struct {
	Certificate Certificate `json:"certificate"`
	Anchor      bool        `json:"anchor"`            // trusted by itself
	Problem     string      `json:"problem,omitempty"` // what breaks the chain here
}

// Diagnosis of a chain.
type Diagnosis struct {
	Trusted  bool      `json:"trusted"`
	Links    []Link    `json:"links"`    // the peer's certificate first, as far as the chain could be followed
	Problems []string  `json:"problems"` // all that keeps it from being trusted, the first broken link first
	Warnings []Warning `json:"warnings"`

	// Broken is the first problem; nil when trusted.
	Broken *UntrustedError `json:"-"`
}

func (d *Diagnosis) fail(e *UntrustedError) {
	if d.Broken == nil {
		d.Broken = e
	}
	d.Trusted = false
	d.Problems = append(d.Problems, e.Text)
}

// DiagnoseChain follows a presented chain, its leaf first, to one of the anchors, and
// names the links that are broken. It looks at no CRL.
func DiagnoseChain(chain, anchors []*x509.Certificate, now time.Time) Diagnosis {
	d := Diagnosis{Trusted: true}
	if len(chain) == 0 {
		d.fail(untrusted(NoCertificate, "", "no certificate was presented"))
		return d
	}
	v := &view{pool: x509.NewCertPool()}
	for _, a := range anchors {
		v.pool.AddCert(a)
	}
	var steps []step
	ways, err := v.ways(chain, now)
	if err != nil {
		steps = follow(chain, anchors, now)
	} else {
		for i, cert := range ways[0] {
			steps = append(steps, step{cert: cert, anchor: i == len(ways[0])-1})
		}
	}
	for _, step := range steps {
		link := Link{Certificate: describe(step.cert, now, DefaultExpiryWarning), Anchor: step.anchor}
		for _, e := range step.problems {
			d.fail(e)
			link.Problem = strings.TrimPrefix(link.Problem+"; "+e.Text, "; ")
		}
		d.Links = append(d.Links, link)
		if w, ok := ending(step.cert, now, DefaultExpiryWarning); ok {
			d.Warnings = append(d.Warnings, w)
		}
	}
	if err != nil && d.Trusted {
		d.fail(explain(err, chain, anchors, now)) // what only the whole path shows, such as constraints on names
	}
	return d
}

// CheckServer judges a provider as a client that trusts anchors sees it: the TLS
// connection (made without verification) to the host of rawURL.
func CheckServer(state tls.ConnectionState, rawURL string, anchors []*x509.Certificate, now time.Time) Diagnosis {
	d := DiagnoseChain(state.PeerCertificates, anchors, now)
	host, err := hostOf(rawURL)
	if err == nil && host == "" {
		err = errors.New("no URL")
	}
	if err != nil {
		d.fail(untrusted(WrongName, "", "%v", err))
	} else if len(state.PeerCertificates) > 0 {
		if leaf := state.PeerCertificates[0]; leaf.VerifyHostname(host) != nil {
			d.fail(untrusted(WrongName, subject(leaf), "certificate %q is for %s, not for %q of the URL", subject(leaf), forNames(leaf), host))
		}
	}
	if state.Version < tls.VersionTLS12 {
		d.fail(untrusted(Unusable, "", "the connection is %s; vSphere wants TLS 1.2 or 1.3", tls.VersionName(state.Version)))
	}
	return d
}

// forNames lists the subject alternative names for people.
func forNames(cert *x509.Certificate) string {
	all := alternatives(cert)
	if len(all) == 0 {
		return "no name at all (it has no subjectAltName)"
	}
	return strings.Join(all, ", ")
}

// step is a certificate that follow came by.
type step struct {
	cert     *x509.Certificate
	anchor   bool
	problems []*UntrustedError
}

// follow walks from the first certificate of chain towards anchors.
func follow(chain, anchors []*x509.Certificate, now time.Time) (steps []step) {
	cert := chain[0]
	for {
		at := step{cert: cert, anchor: among(anchors, cert)}
		if e := dated(cert, now); e != nil {
			at.problems = append(at.problems, e)
		}
		if at.anchor {
			return append(steps, at)
		}
		issuer, e := issuerOf(cert, chain, anchors, now)
		if e == nil && len(steps) > MaxChain {
			e = untrusted(Unusable, subject(cert), "the chain does not end within %d certificates", MaxChain)
		}
		if e != nil {
			at.problems = append(at.problems, e)
			return append(steps, at)
		}
		steps, cert = append(steps, at), issuer
	}
}

func among(certs []*x509.Certificate, cert *x509.Certificate) bool {
	for _, c := range certs {
		if c.Equal(cert) {
			return true
		}
	}
	return false
}

// issuerOf finds the certificate that signed cert: an anchor within its dates, or else
// any anchor, or else one of the chain.
func issuerOf(cert *x509.Certificate, chain, anchors []*x509.Certificate, now time.Time) (best *x509.Certificate, _ *UntrustedError) {
	name := subject(cert)
	var wrong error
	var namesake *x509.Certificate
	for _, c := range append(append([]*x509.Certificate{}, anchors...), chain...) {
		if !bytes.Equal(c.RawSubject, cert.RawIssuer) || c.Equal(cert) {
			continue
		}
		if err := cert.CheckSignatureFrom(c); err != nil {
			wrong, namesake = err, c
			continue
		}
		if best == nil || (dated(best, now) != nil && dated(c, now) == nil) {
			best = c
		}
	}
	var constraint x509.ConstraintViolationError
	var weak x509.InsecureAlgorithmError
	switch {
	case best != nil:
		return best, nil
	case namesake == nil && bytes.Equal(cert.RawSubject, cert.RawIssuer):
		return nil, untrusted(UnknownIssuer, name, "certificate %q is self-signed and not trusted", name)
	case namesake == nil:
		return nil, untrusted(UnknownIssuer, name, "certificate %q was issued by %q, which is not among the %d trusted roots and was not presented",
			name, cert.Issuer.String(), len(anchors))
	case errors.As(wrong, &constraint):
		return nil, untrusted(NotCA, name, "certificate %q was issued by %q, which may not issue certificates", name, subject(namesake))
	case errors.As(wrong, &weak):
		return nil, untrusted(Unusable, name, "certificate %q: %v", name, weak)
	}
	return nil, untrusted(WrongKey, name, "certificate %q was issued by %q with another key than the one known by that name: the issuer was renewed or replaced", name, subject(namesake))
}

// explain names the link that made x509 refuse a chain with err.
func explain(err error, chain, anchors []*x509.Certificate, now time.Time) *UntrustedError {
	for _, at := range follow(chain, anchors, now) {
		if len(at.problems) > 0 {
			return at.problems[0]
		}
	}
	name := subject(chain[0])
	return untrusted(Unusable, name, "certificate %q: %s", name, err.Error())
}
