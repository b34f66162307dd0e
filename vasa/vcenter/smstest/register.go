package smstest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	sms "github.com/vmware/govmomi/sms/types"
	"github.com/vmware/govmomi/vim25/types"

	"vvsim/vasa/trust"
	"vvsim/vasa/vasatest"
	"vvsim/vasa/wire"
)

// register goes the way of vasa.md 8.1.
func (v *VCenter) register(ctx context.Context, spec sms.VasaProviderSpec) (types.AnyType, error) {
	u, err := url.Parse(spec.Url)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, refusal{&sms.InvalidUrl{Url: spec.Url}, "the URL is malformed"}
	}
	if v.taken(spec.Name, spec.Url) {
		return nil, refusal{&sms.DuplicateEntry{}, "a provider with this name or URL exists"}
	}
	leaf, err := v.trusted(ctx, u, spec.Certificate)
	if err != nil {
		return nil, err
	}
	service, version, err := v.negotiate(ctx, u)
	if err != nil {
		return nil, err
	}
	client, err := v.connect(service)
	if err != nil {
		return nil, err
	}
	info, leaf, err := v.bootstrap(ctx, client, u, spec, leaf)
	if err != nil {
		client.Close()
		return nil, err
	}
	p := &provider{ManagedObjectReference: types.ManagedObjectReference{Type: string(sms.ManagedObjectTypeVasaProvider), Value: "provider-" + rand.Text()}, v: v, client: client}
	p.info = sms.VasaProviderInfo{SmsProviderInfo: sms.SmsProviderInfo{Uid: rand.Text(), Name: spec.Name, Description: spec.Description, Version: text(info.VasaProviderVersion)},
		Url: spec.Url, Certificate: v.written(leaf), Status: string(sms.VasaProviderStatusConnected), VasaVersion: version, Namespace: text(info.DefaultNamespace),
		ProviderId: info.UID, CertificateExpiryDate: leaf.NotAfter.UTC().Format(time.RFC3339), CertificateStatus: string(sms.VasaProviderCertificateStatusValid),
		ServiceLocation: service.String(), RetainVasaProviderCertificate: info.RetainVasaProviderCertificate}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.registry.Put(p)
	v.providers = append(v.providers, p)
	return p.ManagedObjectReference, nil
}

// trusted connects to a provider and decides on its certificate.
func (v *VCenter) trusted(ctx context.Context, u *url.URL, given string) (*x509.Certificate, error) {
	chain, err := presented(ctx, u)
	if err != nil {
		return nil, refusal{&sms.ProviderConnectionFailed{}, err.Error()}
	}
	leaf := chain[0]
	if given != "" {
		certs, err := trust.ParseCertificates(given)
		if err != nil || len(certs) != 1 || v.o.Bare && strings.HasPrefix(given, "-----") {
			// With Bare: the form is not documented, and this is the stricter guess.
			if err == nil && len(certs) == 1 {
				return nil, refusal{&sms.CertificateNotTrusted{Certificate: v.written(leaf)}, "the certificate is not trusted"}
			}
			return nil, refusal{&sms.InvalidCertificate{Certificate: given}, "the certificate is malformed"}
		}
		if !certs[0].Equal(leaf) {
			return nil, refusal{&sms.CertificateNotTrusted{Certificate: v.written(leaf)}, "the provider presents another certificate"}
		}
	} else if !v.verified(chain) {
		return nil, refusal{&sms.CertificateNotTrusted{Certificate: v.written(leaf)}, "the certificate is not trusted"}
	}
	if now := time.Now(); now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
		return nil, refusal{&sms.InvalidCertificate{Certificate: v.written(leaf)}, "the certificate is out of its dates"}
	}
	if err := leaf.VerifyHostname(u.Hostname()); err != nil {
		return nil, refusal{&sms.InvalidCertificate{Certificate: v.written(leaf)}, err.Error()}
	}
	return leaf, nil
}

// verified tells whether a chain ends in the trust store.
func (v *VCenter) verified(chain []*x509.Certificate) bool {
	d := trust.DiagnoseChain(chain, slices.Concat(v.o.Imported, []*x509.Certificate{v.Authority.Certificate}), time.Now())
	return d.Trusted
}

// written is a certificate as this vCenter tells it.
func (v *VCenter) written(c *x509.Certificate) string {
	if v.o.Bare {
		return base64.StdEncoding.EncodeToString(c.Raw)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

func presented(ctx context.Context, u *url.URL) ([]*x509.Certificate, error) {
	host := u.Host
	if u.Port() == "" {
		host += ":443"
	}
	d := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}}
	conn, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	c, ok := conn.(*tls.Conn)
	if !ok {
		return nil, errors.New("no TLS")
	}
	return c.ConnectionState().PeerCertificates, nil
}

// negotiate reads version.xml, in either form of vasa.md 1.1.
func (v *VCenter) negotiate(ctx context.Context, u *url.URL) (service *url.URL, version string, err error) {
	c, err := v.connect(u)
	if err != nil {
		return nil, "", err
	}
	defer c.Close()
	body, _, err := c.Get(ctx, u.String())
	if err != nil {
		return nil, "", refusal{&sms.InvalidUrl{Url: u.String()}, err.Error()}
	}
	var doc struct {
		Versions []struct {
			ID        string `xml:"id,attr"`
			Attribute string `xml:"serviceLocation,attr"`
			Element   string `xml:"serviceLocation"`
		} `xml:"version"`
	}
	if err := xml.Unmarshal(body, &doc); err != nil {
		return nil, "", refusal{&sms.ProviderRegistrationFault{}, "version.xml: " + err.Error()}
	}
	for _, x := range doc.Versions {
		if x.ID == "2.0" {
			service, err := u.Parse(strings.TrimSpace(x.Attribute + x.Element))
			return service, x.ID, err
		}
	}
	return nil, "", refusal{&sms.ProviderRegistrationFault{}, "version.xml names no version that is known"}
}

func (v *VCenter) connect(u *url.URL) (*vasatest.Client, error) {
	return vasatest.New(vasatest.Options{URL: u.String(), Certificate: v.identity, Seen: v.o.Seen})
}

// bootstrap logs in, has the certificate of a provider signed that does not keep its own,
// and opens a session.
func (v *VCenter) bootstrap(ctx context.Context, c *vasatest.Client, u *url.URL, spec sms.VasaProviderSpec, leaf *x509.Certificate) (*wire.VasaProviderInfo, *x509.Certificate, error) {
	r, err := vasatest.Do[wire.RegisterCACertificatesAndCRLsResponse](ctx, c,
		&wire.RegisterCACertificatesAndCRLs{ProviderUserName: spec.Username, ProviderPassword: spec.Password, CARootCert: []string{v.Authority.PEM()}})
	if vasatest.Fault(err) == "InvalidLogin" {
		return nil, nil, refusal{&sms.IncorrectUsernamePassword{}, "the provider refused the login"}
	}
	if err != nil {
		return nil, nil, failed("registerCACertificatesAndCRLs", err)
	}
	retained := r.Return.RetainVasaProviderCertificate != nil && *r.Return.RetainVasaProviderCertificate
	if retained && v.o.RequireImport && leaf.CheckSignatureFrom(leaf) != nil {
		if chain, err := presented(ctx, u); err != nil || !v.verified(chain) {
			return nil, nil, refusal{&sms.CertificateNotImported{}, "the issuer of the certificate is not imported"}
		}
	}
	if !retained {
		if leaf, err = v.sign(ctx, c, u); err != nil {
			return nil, nil, err
		}
	}
	set, err := vasatest.Do[wire.SetContextResponse](ctx, c, &wire.SetContext{UsageContext: &wire.UsageContext{VCGUID: &v.guid}})
	if err != nil {
		return nil, nil, failed("setContext", err)
	}
	return set.Return, leaf, nil
}

// sign replaces the provider's certificate by one of VMCA (vasa.md 1.5).
func (v *VCenter) sign(ctx context.Context, c *vasatest.Client, u *url.URL) (*x509.Certificate, error) {
	csr, err := vasatest.Do[wire.RequestCSRResponse](ctx, c, &wire.RequestCSR{})
	if err != nil {
		return nil, failed("requestCSR", err)
	}
	signed, err := v.Authority.Sign(csr.Return)
	if err != nil {
		return nil, refusal{&sms.CertificateAuthorityFault{}, err.Error()}
	}
	if _, err := c.Call(ctx, &wire.RegisterCASignedProviderCertificate{ProviderCert: signed, ForceApply: true}); err != nil {
		return nil, failed("registerCASignedProviderCertificate", err)
	}
	c.Close() // the next call sees the new certificate
	chain, err := presented(ctx, u)
	if err != nil {
		return nil, refusal{&sms.ProviderConnectionFailed{}, err.Error()}
	}
	if !v.verified(chain) {
		return nil, refusal{&sms.CertificateNotTrusted{Certificate: v.written(chain[0])}, "the provider does not serve the certificate that was signed"}
	}
	return chain[0], nil
}

// failed is a call of the provider that failed, with its fault as the cause.
func failed(operation string, err error) error {
	f := &sms.ProviderRegistrationFault{}
	f.FaultCause = &types.LocalizedMethodFault{Fault: &types.SystemError{Reason: operation}, LocalizedMessage: err.Error()}
	return refusal{f, fmt.Sprintf("%s failed: %v", operation, err)}
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
