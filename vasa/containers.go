package vasa

import (
	"context"
	"strings"

	"vvsim/vasa/policy"
	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// containerOperations are the operations of vasa.md 2.5.
func (p *Provider) containerOperations() map[string]handler {
	return map[string]handler{
		"queryStorageContainerForArray": answers(p.queryStorageContainerForArray),
		"queryStorageContainer":         answers(p.queryStorageContainer),
		"spaceStatsForStorageContainer": answers(p.spaceStatsForStorageContainer),
		"setPEContext":                  obeys(p.setPEContext),
		"queryProtocolEndpointForArray": answers(p.queryProtocolEndpointForArray),
		"queryProtocolEndpoint":         answers(p.queryProtocolEndpoint),
	}
}

func containerID(k vvol.StorageContainer) string { return k.ID.String() }

// profileIDs lists the capability profiles of all containers.
func (p *Provider) profileIDs() (list []string) {
	for _, k := range p.o.Service.Containers() {
		for _, l := range k.ServiceLevels {
			list = append(list, policy.ProfileID(k.ID, l.Name))
		}
	}
	return list
}

// volumeIDs lists all VVols.
func (p *Provider) volumeIDs() []string {
	return ids(p.o.Service.VVols(vvol.Filter{}), func(v vvol.VirtualVolume) string { return v.ID.String() })
}

func (p *Provider) queryStorageContainerForArray(_ context.Context, _ *caller, q *wire.QueryStorageContainerForArray) (*wire.QueryStorageContainerForArrayResponse, error) {
	if err := p.checkArray(q.ArrayID); err != nil {
		return nil, err
	}
	return &wire.QueryStorageContainerForArrayResponse{Return: ids(p.o.Service.Containers(), containerID)}, nil
}

// queryStorageContainer passes over what it does not know, and what is no id: it
// declares no fault for it.
func (p *Provider) queryStorageContainer(_ context.Context, _ *caller, q *wire.QueryStorageContainer) (*wire.QueryStorageContainerResponse, error) {
	if err := p.checkLength(len(q.ContainerID)); err != nil {
		return nil, err
	}
	all := p.o.Service.Containers()
	if len(q.ContainerID) > 0 {
		byID := map[string]vvol.StorageContainer{}
		for _, k := range all {
			byID[k.ID.String()] = k
		}
		all = nil
		for _, id := range q.ContainerID {
			if k, has := byID[strings.ToLower(id)]; has {
				all = append(all, k)
			}
		}
	}
	largest := p.o.Knobs().MaxVVolSizeMB
	if largest == 0 {
		largest = DefaultMaxVVolSizeMB
	}
	r := &wire.QueryStorageContainerResponse{}
	for _, k := range all {
		r.Return = append(r.Return, wire.StorageContainer{BaseStorageEntity: wire.BaseStorageEntity{UniqueIdentifier: new(k.ID.String())},
			MaxVVolSizeMB: largest, Name: k.Name, ProtocolEndPointType: new(wire.ProtocolEndpointTypeSCSI)})
	}
	return r, nil
}

// containerSpace measures a container, in MB, so that free and used always are the
// whole. Physical is what the container holds and reserves, shared data once. Logical
// is what its volumes hold, as if nothing were shared; as every byte that is written
// takes one of the container, what is free is the same, and the limit is both together:
// the container's size while nothing is shared. (vasa.md 3.1 has the names only.)
func (p *Provider) containerSpace(ctx context.Context, k vvol.StorageContainer) (wire.ContainerSpaceStats, error) {
	u, err := p.o.Service.ContainerUsage(ctx, k.ID.String())
	if err != nil {
		return wire.ContainerSpaceStats{}, err
	}
	s := wire.ContainerSpaceStats{ObjectID: k.ID.String(), PhysicalTotal: int64(k.Size / mib), LogicalUsed: megabytes(u.Logical + u.Reserved)}
	s.PhysicalUsed = min(megabytes(u.Used), s.PhysicalTotal)
	s.PhysicalFree = s.PhysicalTotal - s.PhysicalUsed
	s.LogicalFree = s.PhysicalFree
	s.LogicalLimit = s.LogicalUsed + s.LogicalFree
	return s, nil
}

// spaceStatsForStorageContainer has a row for each profile that is named. They draw on
// one pool: each row is the container's, under the id of the profile.
func (p *Provider) spaceStatsForStorageContainer(ctx context.Context, _ *caller, q *wire.SpaceStatsForStorageContainer) (*wire.SpaceStatsForStorageContainerResponse, error) {
	k, err := p.container(q.ContainerID)
	if err != nil {
		return nil, err
	}
	if err := p.checkLength(len(q.CapabilityProfileID)); err != nil {
		return nil, err
	}
	offered := map[string]bool{}
	for _, l := range k.ServiceLevels {
		offered[policy.ProfileID(k.ID, l.Name)] = true
	}
	for _, id := range q.CapabilityProfileID {
		switch {
		case id == "":
			return nil, invalid("capabilityProfileId is empty")
		case !offered[strings.ToLower(id)]:
			return nil, refuse(&wire.NotFound{}, "container %s has no profile %q", k.ID, id)
		}
	}
	s, err := p.containerSpace(ctx, k)
	if err != nil {
		return nil, err
	}
	r := &wire.SpaceStatsForStorageContainerResponse{}
	for _, id := range q.CapabilityProfileID {
		s.ObjectID = id
		r.Return = append(r.Return, s)
	}
	if len(r.Return) == 0 {
		r.Return = append(r.Return, s)
	}
	return r, nil
}
