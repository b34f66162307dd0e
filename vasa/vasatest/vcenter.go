package vasatest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"vvsim/vasa/wire"
)

// VCenter plays vCenter's storage monitoring service: it has an authority of its own, as
// VMCA, which issues its certificate and those of its hosts.
type VCenter struct {
	*Session
	GUID      string
	Authority *Authority

	o    Options
	wait Patience
}

// NewVCenter makes a vCenter that is known to no provider yet. o.Certificate is set by it.
func NewVCenter(o Options, wait Patience) (*VCenter, error) {
	v := &VCenter{GUID: newUUID(), o: o, wait: wait}
	var err error
	if v.Authority, err = NewAuthority("vCenter " + v.GUID[:8]); err != nil {
		return nil, err
	}
	if v.o.Certificate, err = v.Authority.Issue("sps-extension", nil); err != nil {
		return nil, err
	}
	v.Session, err = newSession(v.o, wire.UsageContext{VCGUID: &v.GUID}, wait)
	return v, err
}

// Register tells the provider to trust what the authority issues (vasa.md 8.1, step 2).
func (v *VCenter) Register(ctx context.Context, user, password string) (*wire.VasaProviderInfo, error) {
	r, err := v.try(ctx, &wire.RegisterCACertificatesAndCRLs{ProviderUserName: user, ProviderPassword: password, CARootCert: []string{v.Authority.PEM()}})
	if err != nil {
		return nil, err
	}
	answer, ok := r.(*wire.RegisterCACertificatesAndCRLsResponse)
	if !ok {
		return nil, fmt.Errorf("the response is a %T", r)
	}
	return &answer.Return, nil
}

// Unregister asks the provider to trust no longer what the authority issues, as VASA 2.0 has a
// call for single certificates and none for authorities. Providers may refuse it: gone tells
// whether the vCenter's certificate is worth nothing afterwards, why is the fault if there was one.
func (v *VCenter) Unregister(ctx context.Context) (gone bool, why string, err error) {
	if _, err = v.try(ctx, &wire.UnregisterVASACertificate{ExistingCertificate: new(v.Authority.PEM())}); err != nil {
		if why = Fault(err); why == "" {
			return false, "", err
		}
	}
	switch _, err = v.try(ctx, &wire.SetContext{UsageContext: &v.usage}); {
	case err == nil:
		return false, why, nil
	case Fault(err) == "InvalidSession":
		return true, "", nil
	}
	return false, why, err
}

// ReplaceCertificate signs the provider's request and installs the result (8.1, step 3).
// From then on the vCenter takes no other certificate than one of its authority.
func (v *VCenter) ReplaceCertificate(ctx context.Context) error {
	r, err := v.try(ctx, &wire.RequestCSR{})
	if err != nil {
		return err
	}
	csr, ok := r.(*wire.RequestCSRResponse)
	if !ok {
		return fmt.Errorf("the response is a %T", r)
	}
	if err := CheckCSR(csr.Return); err != nil {
		return err
	}
	cert, err := v.Authority.Sign(csr.Return)
	if err != nil {
		return fmt.Errorf("the signing request: %w", err)
	}
	if _, err := v.try(ctx, &wire.RegisterCASignedProviderCertificate{ProviderCert: cert, ForceApply: true}); err != nil {
		return err
	}
	v.o.Roots = x509.NewCertPool()
	v.o.Roots.AddCert(v.Authority.Certificate)
	next, err := newSession(v.o, v.usage, v.wait)
	if err != nil {
		return err
	}
	v.client.Close()
	v.client = next.client
	return nil
}

// Inventory is what vCenter learns of a provider when it synchronizes.
type Inventory struct {
	Arrays     []wire.StorageArray
	Containers []wire.StorageContainer
	Endpoints  []wire.ProtocolEndpoint
	Schemas    []wire.CapabilitySchema
	Profiles   []wire.AnyProfile
}

// Container finds a container by its id or name; the first one when ref is empty.
func (i *Inventory) Container(ref string) (wire.StorageContainer, error) {
	for _, k := range i.Containers {
		if ref == "" || k.Name == ref || k.UniqueIdentifier != nil && *k.UniqueIdentifier == ref {
			return k, nil
		}
	}
	return wire.StorageContainer{}, fmt.Errorf("no container %q among %d", ref, len(i.Containers))
}

// missing notes an operation that a provider may leave out, and tells whether it did.
func (s *Session) missing(err error, operation string) bool {
	if Fault(err) != "NotImplemented" {
		return false
	}
	s.note("%s: NotImplemented", operation)
	return true
}

// Sync asks for all that vCenter wants to know (8.1, step 5). A fault is an error, but for
// NotImplemented where the contract declares it: that makes a note.
func (v *VCenter) Sync(ctx context.Context) (*Inventory, error) {
	i := &Inventory{}
	arrays, err := ask[wire.QueryArraysResponse](ctx, v.Session, &wire.QueryArrays{})
	if err != nil {
		return nil, err
	}
	i.Arrays = arrays.Return
	if _, err := v.Call(ctx, &wire.QueryCatalog{}); err != nil {
		return nil, err
	}
	schemas, err := ask[wire.QueryCapabilityMetadataResponse](ctx, v.Session, &wire.QueryCapabilityMetadata{})
	if err != nil {
		return nil, err
	}
	i.Schemas = schemas.Return
	for _, a := range i.Arrays {
		if a.UniqueIdentifier == nil || *a.UniqueIdentifier == "" {
			return nil, errors.New("an array has no uniqueIdentifier")
		}
		if err := v.syncArray(ctx, *a.UniqueIdentifier, i); err != nil {
			return nil, err
		}
	}
	profiles, err := ask[wire.QueryCapabilityProfileResponse](ctx, v.Session, &wire.QueryCapabilityProfile{})
	if err != nil {
		return nil, err
	}
	i.Profiles = profiles.Return
	if _, err := v.Call(ctx, &wire.QueryCapabilityProfileForResource{}); err != nil {
		return nil, err
	}
	for _, k := range i.Containers {
		if _, err := v.Call(ctx, &wire.QueryDefaultProfileForStorageContainer{ContainerID: *k.UniqueIdentifier}); err != nil {
			return nil, err
		}
	}
	return i, nil
}

// syncArray adds the containers and endpoints of an array.
func (v *VCenter) syncArray(ctx context.Context, array string, i *Inventory) error {
	ids, err := ask[wire.QueryStorageContainerForArrayResponse](ctx, v.Session, &wire.QueryStorageContainerForArray{ArrayID: array})
	if err == nil && len(ids.Return) > 0 {
		var list *wire.QueryStorageContainerResponse
		if list, err = ask[wire.QueryStorageContainerResponse](ctx, v.Session, &wire.QueryStorageContainer{ContainerID: ids.Return}); err == nil {
			for _, k := range list.Return {
				if k.UniqueIdentifier == nil || !slices.Contains(ids.Return, *k.UniqueIdentifier) {
					return fmt.Errorf("queryStorageContainer answered a container that was not asked for: %q", k.Name)
				}
			}
			i.Containers = append(i.Containers, list.Return...)
		}
	}
	if err != nil {
		return err
	}
	pes, err := ask[wire.QueryProtocolEndpointForArrayResponse](ctx, v.Session, &wire.QueryProtocolEndpointForArray{ArrayID: array})
	if err != nil || len(pes.Return) == 0 {
		return err
	}
	list, err := ask[wire.QueryProtocolEndpointResponse](ctx, v.Session, &wire.QueryProtocolEndpoint{PEID: pes.Return})
	if err == nil {
		i.Endpoints = append(i.Endpoints, list.Return...)
	}
	return err
}

// Poll asks for the events and alarms after the last ones seen, -1 for all, and returns
// the ids to go on from (vasa.md 1.6).
func (s *Session) Poll(ctx context.Context, lastEvent, lastAlarm int64) (events []wire.AnyEvent, event, alarm int64, err error) {
	event, alarm = lastEvent, lastAlarm
	e, err := ask[wire.GetEventsResponse](ctx, s, &wire.GetEvents{LastEventID: &lastEvent})
	if err != nil {
		return nil, event, alarm, err
	}
	for _, x := range e.Return {
		id := x.Base().EventID
		if id == nil || event >= 0 && *id != event+1 {
			return nil, event, alarm, errors.New("the ids of events are not consecutive")
		}
		event = *id
	}
	a, err := ask[wire.GetAlarmsResponse](ctx, s, &wire.GetAlarms{LastAlarmID: &lastAlarm})
	if err != nil {
		return nil, event, alarm, err
	}
	for _, x := range a.Return {
		if id := x.Base().AlarmID; id != nil {
			alarm = *id
		}
	}
	return e.Return, event, alarm, nil
}

// clientFor has a certificate issued, for a host.
func (v *VCenter) clientFor(name string) (Options, error) {
	o := v.o
	var cert *tls.Certificate
	cert, err := v.Authority.Issue(name, nil)
	o.Certificate = cert
	return o, err
}
