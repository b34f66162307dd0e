package vcenter

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	sms "github.com/vmware/govmomi/sms/methods"
	smstypes "github.com/vmware/govmomi/sms/types"
	"github.com/vmware/govmomi/vim25/types"

	"vvsim/vasa/trust"
)

// MaxField bounds name, URL, user and password of a provider, in bytes (vasa.md 1.1).
const MaxField = 255

// Provider is a VASA provider as vCenter sees it. Times are as vCenter writes them.
type Provider struct {
	UID             string      `json:"uid"` // vCenter's name for it
	Name            string      `json:"name"`
	Description     string      `json:"description,omitempty"`
	Version         string      `json:"version,omitempty"` // of the provider's program
	URL             string      `json:"url"`
	ServiceLocation string      `json:"serviceLocation,omitempty"` // of the SOAP service, as version.xml told it
	VASAVersion     string      `json:"vasaVersion,omitempty"`     // that vCenter chose
	State           string      `json:"state"`
	StateMeans      string      `json:"stateMeans"`
	Fault           string      `json:"fault,omitempty"` // why the state is as it is
	LastSync        string      `json:"lastSync,omitempty"`
	Certificate     Certificate `json:"certificate"`
	ProviderID      string      `json:"providerId,omitempty"` // the provider's name for itself
	Arrays          []string    `json:"arrays"`               // ids of its arrays
}

// Certificate of a provider, as vCenter sees it.
type Certificate struct {
	State      string `json:"state,omitempty"`
	StateMeans string `json:"stateMeans,omitempty"`
	Expires    string `json:"expires,omitempty"`
	// Retained: the provider keeps its own; otherwise vCenter signs and renews it.
	Retained bool `json:"retained"`
}

// Is tells whether a provider goes by an id: its own, or one of its arrays.
func (p Provider) Is(uid string) bool {
	same := func(other string) bool { return uid != "" && strings.EqualFold(uid, other) }
	return same(p.UID) || same(p.ProviderID) || slices.ContainsFunc(p.Arrays, same)
}

// At tells whether a provider was registered with a URL.
func (p Provider) At(rawURL string) bool {
	a, err := url.Parse(p.URL)
	b, err2 := url.Parse(rawURL)
	return err == nil && err2 == nil && b.Host != "" && strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Host, b.Host) && a.Path == b.Path
}

// Spec is a registration.
type Spec struct {
	Name, Description, URL, User, Password string
	// Certificate that a person confirmed; nil leaves it to vCenter's trust store.
	Certificate *x509.Certificate
}

// Validate checks what can be checked without vCenter. Errors are ErrInvalid.
func (s Spec) Validate() error {
	for _, f := range []struct{ what, value string }{{"name", s.Name}, {"URL", s.URL}, {"user", s.User}, {"password", s.Password}} {
		if f.value == "" {
			return fmt.Errorf("%w: a provider's %s is needed", ErrInvalid, f.what)
		}
		if len(f.value) > MaxField {
			return fmt.Errorf("%w: a provider's %s may have %d bytes, not %d", ErrInvalid, f.what, MaxField, len(f.value))
		}
	}
	u, err := url.Parse(s.URL)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return fmt.Errorf("%w: %q is no URL of a provider, such as https://array.example:8443/vasa/version.xml", ErrInvalid, s.URL)
	}
	return nil
}

// Register registers a provider and gives it as vCenter sees it then.
func (s *Session) Register(ctx context.Context, spec Spec) (Provider, error) {
	if err := spec.Validate(); err != nil {
		return Provider{}, err
	}
	certificate := ""
	if spec.Certificate != nil {
		certificate = pemOf(spec.Certificate)
	}
	result, err := s.register(ctx, spec, certificate)
	fault, isFault := errors.AsType[*FaultError](err)
	if seen := notTrusted(fault); isFault && seen != "" && spec.Certificate != nil {
		if err := confirmed(spec, seen); err != nil {
			return Provider{}, errors.Join(err, fault)
		}
		if seen != certificate {
			result, err = s.register(ctx, spec, seen)
		}
	}
	if err != nil {
		return Provider{}, err
	}
	if ref, ok := result.(types.ManagedObjectReference); ok {
		return s.provider(ctx, ref)
	}
	return s.Find(ctx, spec.URL)
}

func (s *Session) register(ctx context.Context, spec Spec, certificate string) (types.AnyType, error) {
	r, err := sms.RegisterProvider_Task(ctx, s.sms, &smstypes.RegisterProvider_Task{This: s.storage, ProviderSpec: &smstypes.VasaProviderSpec{
		SmsProviderSpec: smstypes.SmsProviderSpec{Name: spec.Name, Description: spec.Description},
		Username:        spec.User, Password: spec.Password, Url: spec.URL, Certificate: certificate}})
	if err != nil {
		return nil, explained(err)
	}
	return s.wait(ctx, r.Returnval)
}

// notTrusted is the certificate that vCenter did not trust, as it wrote it; "" for another
// fault.
func notTrusted(e *FaultError) string {
	if e != nil {
		if f, ok := e.Fault.(*smstypes.CertificateNotTrusted); ok {
			return f.Certificate
		}
	}
	return ""
}

// confirmed finds out whether vCenter saw the certificate that was confirmed.
func confirmed(spec Spec, seen string) error {
	certs, err := trust.ParseCertificates(seen)
	if err != nil || len(certs) == 0 {
		return fmt.Errorf("vCenter tells a certificate of the provider that cannot be read: %w", err)
	}
	if !certs[0].Equal(spec.Certificate) {
		return fmt.Errorf("vCenter sees another certificate at %s than the one that was confirmed: %q with serial number %x; "+
			"something between vCenter and the provider answers in its place, or the certificate was replaced in this moment", spec.URL, certs[0].Subject, certs[0].SerialNumber)
	}
	return nil
}

// Unregister takes a provider, by vCenter's id, out of vCenter.
func (s *Session) Unregister(ctx context.Context, uid string) error {
	r, err := sms.UnregisterProvider_Task(ctx, s.sms, &smstypes.UnregisterProvider_Task{This: s.storage, ProviderId: uid})
	if err != nil {
		return notFound(explained(err))
	}
	_, err = s.wait(ctx, r.Returnval)
	return notFound(err)
}

func notFound(err error) error {
	if f, ok := errors.AsType[*FaultError](err); ok && f.Name == "ProviderNotFound" {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return err
}

// Providers lists the providers, by name.
func (s *Session) Providers(ctx context.Context) ([]Provider, error) {
	r, err := sms.QueryProvider(ctx, s.sms, &smstypes.QueryProvider{This: s.storage})
	if err != nil {
		return nil, explained(err)
	}
	all := []Provider{}
	for _, ref := range r.Returnval {
		p, err := s.provider(ctx, ref)
		if f, ok := errors.AsType[*FaultError](err); ok && f.Name == "ManagedObjectNotFound" {
			continue // unregistered meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	slices.SortStableFunc(all, func(a, b Provider) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Find is the provider with a uid, URL or name, in this order. None is ErrNotFound, more
// than one of a name ErrInvalid.
func (s *Session) Find(ctx context.Context, key string) (Provider, error) {
	all, err := s.Providers(ctx)
	if err != nil {
		return Provider{}, err
	}
	for _, by := range []func(Provider) bool{
		func(p Provider) bool { return strings.EqualFold(p.UID, key) },
		func(p Provider) bool { return p.URL == key || p.At(key) },
		func(p Provider) bool { return p.Name == key },
	} {
		var uids []string
		var found Provider
		for _, p := range all {
			if by(p) {
				found, uids = p, append(uids, p.UID)
			}
		}
		if len(uids) > 1 {
			return Provider{}, fmt.Errorf("%w: %d providers go by %q; name one by its uid: %s", ErrInvalid, len(uids), key, strings.Join(uids, ", "))
		}
		if len(uids) == 1 {
			return found, nil
		}
	}
	return Provider{}, fmt.Errorf("%w: vCenter has no provider with name, URL or uid %q", ErrNotFound, key)
}

// provider reads one provider.
func (s *Session) provider(ctx context.Context, ref types.ManagedObjectReference) (Provider, error) {
	r, err := sms.QueryProviderInfo(ctx, s.sms, &smstypes.QueryProviderInfo{This: ref})
	if err != nil {
		return Provider{}, explained(err)
	}
	if r.Returnval == nil {
		return Provider{}, fmt.Errorf("vCenter tells nothing about its provider %s", ref.Value)
	}
	b := r.Returnval.GetSmsProviderInfo()
	p := Provider{UID: b.Uid, Name: b.Name, Description: b.Description, Version: b.Version, Arrays: []string{}}
	v, ok := r.Returnval.(*smstypes.VasaProviderInfo)
	if !ok {
		p.StateMeans = "no VASA provider"
		return p, nil
	}
	p.URL, p.ServiceLocation, p.VASAVersion, p.State, p.StateMeans = v.Url, v.ServiceLocation, v.VasaVersion, v.Status, StateMeans(v.Status)
	p.LastSync, p.ProviderID = v.LastSyncTime, v.ProviderId
	if v.StatusFault != nil {
		p.Fault = localized(*v.StatusFault).Error()
	}
	p.Certificate = Certificate{State: v.CertificateStatus, Expires: v.CertificateExpiryDate, Retained: v.RetainVasaProviderCertificate != nil && *v.RetainVasaProviderCertificate}
	if v.CertificateStatus != "" {
		p.Certificate.StateMeans = CertificateStateMeans(v.CertificateStatus)
	}
	for _, a := range v.RelatedStorageArray {
		p.Arrays = append(p.Arrays, a.ArrayId)
	}
	return p, nil
}
