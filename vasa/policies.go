package vasa

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"vvsim/vasa/policy"
	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// policyOperations are the operations of vasa.md 2.4.
func (p *Provider) policyOperations() map[string]handler {
	return map[string]handler{
		"queryCapabilityMetadata":                answers(p.queryCapabilityMetadata),
		"queryCapabilityProfile":                 answers(p.queryCapabilityProfile),
		"queryCapabilityProfileForResource":      answers(p.queryCapabilityProfileForResource),
		"queryDefaultProfileForStorageContainer": answers(p.queryDefaultProfileForStorageContainer),
		"queryComplianceResult":                  answers(p.queryComplianceResult),
		"updateStorageProfileForVirtualVolume":   answers(p.updateStorageProfileForVirtualVolume),
	}
}

// policySpec is what a profile asks for in a container: the first of its rule sets that
// the container offers. What cannot be had is InvalidProfile.
func (p *Provider) policySpec(profile wire.AnyProfile, k vvol.StorageContainer) (vvol.PolicySpec, error) {
	specs, err := policy.Read(profile, k)
	if err != nil {
		return vvol.PolicySpec{}, refuse(&wire.InvalidProfile{}, "%v", err)
	}
	for _, spec := range specs {
		if err = p.o.Service.Offers(k.ID.String(), spec); err == nil {
			return spec, nil
		}
	}
	if errors.Is(err, vvol.ErrNotFound) || errors.Is(err, vvol.ErrInvalid) {
		return vvol.PolicySpec{}, refuse(&wire.InvalidProfile{}, "%v", err)
	}
	return vvol.PolicySpec{}, err
}

// placed is policySpec in the container of a volume.
func (p *Provider) placed(profile wire.AnyProfile, v vvol.VirtualVolume) (vvol.PolicySpec, error) {
	k, err := p.o.Service.Container(v.Container.String())
	if err != nil {
		return vvol.PolicySpec{}, err
	}
	return p.policySpec(profile, k)
}

// withProfile adds the key that names a volume's policy and its generation (vasa.md 6),
// unless the client has set it, or there is no policy.
func withProfile(metadata map[string]string, of vvol.Policy) {
	if _, has := metadata[keyProfile]; !has && of.ProfileID != "" {
		metadata[keyProfile] = profileText(of)
	}
}

func profileText(of vvol.Policy) string {
	return of.ProfileID + ":" + strconv.FormatInt(of.Generation, 10)
}

func (p *Provider) queryCapabilityMetadata(_ context.Context, _ *caller, q *wire.QueryCapabilityMetadata) (*wire.QueryCapabilityMetadataResponse, error) {
	for _, id := range q.SchemaID {
		if id != policy.SchemaID {
			return nil, refuse(&wire.NotFound{}, "no schema %q", id)
		}
	}
	return &wire.QueryCapabilityMetadataResponse{Return: []wire.CapabilitySchema{policy.Schema(p.o.Array.Firmware)}}, nil
}

// queryCapabilityProfile passes over unknown ids; when none is known it is NotFound.
func (p *Provider) queryCapabilityProfile(_ context.Context, _ *caller, q *wire.QueryCapabilityProfile) (*wire.QueryCapabilityProfileResponse, error) {
	r := &wire.QueryCapabilityProfileResponse{}
	for _, k := range p.o.Service.Containers() {
		for _, l := range k.ServiceLevels {
			if len(q.ProfileID) == 0 || slices.Contains(q.ProfileID, policy.ProfileID(k.ID, l.Name)) {
				r.Return = append(r.Return, policy.Profile(k, l))
			}
		}
	}
	if len(q.ProfileID) > 0 && len(r.Return) == 0 {
		return nil, refuse(&wire.NotFound{}, "none of the %d profiles exists", len(q.ProfileID))
	}
	return r, nil
}

func (p *Provider) queryCapabilityProfileForResource(_ context.Context, _ *caller, q *wire.QueryCapabilityProfileForResource) (*wire.QueryCapabilityProfileForResourceResponse, error) {
	r := &wire.QueryCapabilityProfileForResourceResponse{}
	all := p.o.Service.Containers()
	if len(q.ResourceID) > 0 {
		all = nil
		for _, id := range q.ResourceID {
			if k, err := p.container(id); err == nil {
				all = append(all, k)
			} else if !errors.Is(err, vvol.ErrNotFound) {
				return nil, err
			}
		}
		if len(all) == 0 {
			return nil, refuse(&wire.NotFound{}, "none of the %d resources exists", len(q.ResourceID))
		}
	}
	for _, k := range all {
		for _, l := range k.ServiceLevels {
			r.Return = append(r.Return, wire.ResourceAssociation{ProfileID: policy.ProfileID(k.ID, l.Name), ResourceID: k.ID.String()})
		}
	}
	return r, nil
}

// queryDefaultProfileForStorageContainer tells what a volume gets without a policy: the
// first service level, and of Config volumes the first thin one, as the domain has it.
func (p *Provider) queryDefaultProfileForStorageContainer(_ context.Context, _ *caller, q *wire.QueryDefaultProfileForStorageContainer) (*wire.QueryDefaultProfileForStorageContainerResponse, error) {
	k, err := p.container(q.ContainerID)
	if err != nil {
		return nil, err
	}
	types := q.EntityType
	if len(types) == 0 {
		types = wire.VirtualVolumeType("").Values()
	}
	byLevel := map[string][]wire.VirtualVolumeType{}
	for _, t := range types {
		if !wire.Valid(t) {
			return nil, invalid("entityType %q is no type of virtual volumes", t)
		}
		l, err := p.o.Service.DefaultLevel(k.ID.String(), vvol.Type(t))
		if err != nil {
			return nil, err
		}
		byLevel[l.Name] = append(byLevel[l.Name], t)
	}
	r := &wire.QueryDefaultProfileForStorageContainerResponse{}
	for _, l := range k.ServiceLevels {
		if types := byLevel[l.Name]; len(types) > 0 {
			r.Return = append(r.Return, policy.Default(k, l, types))
		}
	}
	return r, nil
}

// queryComplianceResult follows vasa.md 7.3.
func (p *Provider) queryComplianceResult(ctx context.Context, _ *caller, q *wire.QueryComplianceResult) (*wire.QueryComplianceResultResponse, error) {
	r := &wire.QueryComplianceResultResponse{}
	for _, subject := range q.Compliance {
		if len(subject.ObjectID) == 0 {
			return nil, invalid("a subject names no object")
		}
		for _, id := range subject.ObjectID {
			v, err := p.volume(id)
			if err != nil {
				return nil, err
			}
			if v.Policy == (vvol.Policy{}) {
				continue // it has no profile to comply with
			}
			result, err := p.compliance(ctx, v, subject)
			if err != nil {
				return nil, err
			}
			r.Return = append(r.Return, result)
		}
	}
	return r, nil
}

func (p *Provider) compliance(ctx context.Context, v vvol.VirtualVolume, asked wire.ComplianceSubject) (wire.ComplianceResult, error) {
	c, err := p.o.Service.Compliance(ctx, v.ID)
	if err != nil {
		return wire.ComplianceResult{}, err
	}
	r := policy.Result(v, c, p.o.Clock())
	if asked.ProfileID != nil && (*asked.ProfileID != v.Policy.ProfileID || asked.GenerationID != nil && *asked.GenerationID != v.Policy.Generation) {
		r.ProfileMismatch, r.ComplianceStatus, r.ViolatedPolicy = true, wire.ComplianceStatusUnknown, nil
	}
	return r, nil
}

// updateStorageProfileForVirtualVolume takes effect at once. The profile that the volume
// has already, in the same generation, changes nothing.
func (p *Provider) updateStorageProfileForVirtualVolume(ctx context.Context, _ *caller, q *wire.UpdateStorageProfileForVirtualVolume) (*wire.UpdateStorageProfileForVirtualVolumeResponse, error) {
	v, err := p.volume(q.VVolID)
	if err != nil {
		return nil, err
	}
	if q.NewStorageProfile == nil {
		return nil, refuse(&wire.InvalidProfile{}, "newStorageProfile is missing")
	}
	spec, err := p.placed(q.NewStorageProfile, v)
	if err != nil {
		return nil, err
	}
	t, err := p.watched(ctx, "updateStorageProfileForVirtualVolume", v.ID, func(ctx context.Context) error {
		if v.Policy.ProfileID == spec.Policy.ProfileID && v.Policy.Generation == spec.Policy.Generation {
			return nil
		}
		_, err := p.o.Service.SetPolicy(ctx, v.ID, spec, map[string]*string{keyProfile: new(profileText(spec.Policy))})
		return err
	})
	if err != nil {
		return nil, err
	}
	return &wire.UpdateStorageProfileForVirtualVolumeResponse{Return: t}, nil
}
