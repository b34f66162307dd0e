package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"vvsim/api"
	"vvsim/vasa/trust"
)

// Limits of the doctor's look at the provider from outside.
const (
	vasaLook = 5 * time.Second // one request
	maxSkew  = time.Minute     // between the provider's clock and the one here
)

func checkCertificate(ctx context.Context) finding {
	r, err := call[trust.Report](ctx, http.MethodGet, "/provider/certificate", nil)
	if err != nil {
		return finding{name: "certificate", err: err}
	}
	return certificateFinding(r)
}

// certificateFinding is what the provider says of its certificate: what is wrong, or will
// be.
func certificateFinding(r trust.Report) finding {
	f := finding{name: "certificate", detail: fmt.Sprintf("%s until %s, trusts %d roots and %d certificates", r.Served.Subject,
		r.Served.NotAfter.Format(time.DateOnly), len(r.Roots), len(r.Clients))}
	var wrong []string
	for _, w := range r.Warnings {
		switch w.Code {
		case trust.WarnNobody:
		case trust.WarnExpired, trust.WarnEarly, trust.WarnName:
			wrong = append(wrong, w.Text)
		default:
			f.warn = true
			f.detail += "; " + w.Text
		}
	}
	if len(wrong) > 0 {
		f.err = errors.New(strings.Join(wrong, "; "))
	}
	return f
}

// checkProvider goes to the provider as vCenter does: whether its certificate leads to
// the CA that VVSIM_CA names, if it does, fits the URL and is within its dates, and
// whether its clock is ours.
func checkProvider(ctx context.Context) finding {
	f := finding{name: "provider"}
	p, err := call[api.Provider](ctx, http.MethodGet, "/provider", nil)
	if err != nil {
		f.err = err
		return f
	}
	anchors, err := anchorsOf(os.Getenv("VVSIM_CA"))
	if err != nil {
		f.err = err
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, vasaLook)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL, nil)
	if err != nil {
		f.err = err
		return f
	}
	// The certificate is judged below, with the reasons why not.
	t := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	resp, err := t.RoundTrip(r)
	if err != nil {
		f.err = err
		return f
	}
	defer resp.Body.Close()
	return providerFinding(p.URL, resp, anchors, time.Now())
}

// anchorsOf reads a file of CA certificates; no path means none is known.
func anchorsOf(path string) ([]*x509.Certificate, error) {
	if path == "" {
		return nil, nil
	}
	text, err := readPEM(path)
	if err != nil {
		return nil, fmt.Errorf("VVSIM_CA: %w", err)
	}
	anchors, err := trust.ParseCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("VVSIM_CA: %s: %w", path, err)
	}
	return anchors, nil
}

// providerFinding judges an answer of the provider. Without anchors the certificate
// vouches for itself, as when vCenter asks whether to trust its thumbprint.
func providerFinding(url string, resp *http.Response, anchors []*x509.Certificate, now time.Time) finding {
	f := finding{name: "provider", detail: url + " answers"}
	if len(anchors) == 0 {
		f.detail += ", its CA is not checked without VVSIM_CA"
		anchors = resp.TLS.PeerCertificates[len(resp.TLS.PeerCertificates)-1:]
	}
	d := trust.CheckServer(*resp.TLS, url, anchors, now)
	problems := d.Problems
	if resp.StatusCode != http.StatusOK {
		problems = append(problems, "version.xml: "+resp.Status)
	}
	if there, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		if skew := there.Sub(now); skew.Abs() > maxSkew {
			problems = append(problems, fmt.Sprintf("its clock is %v off: certificates may be not yet valid for one side", skew.Round(time.Second)))
		}
	}
	for _, w := range d.Warnings {
		f.warn = true
		f.detail += "; " + w.Text
	}
	if len(problems) > 0 {
		f.err = errors.New(strings.Join(problems, "; "))
	}
	return f
}
