package vasa

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"vvsim/vasa/policy"
	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// lunOperations are the operations of vasa.md 2.2 about flat LUNs, VASA 1 capabilities,
// Storage DRS, pools and message catalogs.
//
// What is about LUNs answers an empty list to a session whose usage context names no
// iSCSI initiator, before it looks at anything else (vasa.md 7.1 and 10): a vCenter
// without hosts goes the same way and must not end in a fault.
func (p *Provider) lunOperations() map[string]handler {
	return map[string]handler{
		"queryAssociatedLunsForPort":                  answers(p.queryAssociatedLunsForPort),
		"queryUniqueIdentifiersForLuns":               answers(p.queryUniqueIdentifiersForLuns),
		"queryStorageLuns":                            answers(p.queryStorageLuns),
		"queryUniqueIdentifiersForFileSystems":        answers(noFileSystems[wire.QueryUniqueIdentifiersForFileSystems, wire.QueryUniqueIdentifiersForFileSystemsResponse]),
		"queryStorageFileSystems":                     answers(noFileSystems[wire.QueryStorageFileSystems, wire.QueryStorageFileSystemsResponse]),
		"queryAssociatedCapabilityForFileSystem":      answers(noFileSystems[wire.QueryAssociatedCapabilityForFileSystem, wire.QueryAssociatedCapabilityForFileSystemResponse]),
		"queryStorageCapabilities":                    answers(p.queryStorageCapabilities),
		"queryAssociatedCapabilityForLun":             answers(p.queryAssociatedCapabilityForLun),
		"queryDRSMigrationCapabilityForPerformance":   answers(p.queryDRSMigrationCapabilityForPerformance),
		"queryDrsMigrationCapabilityForPerformanceEx": answers(p.queryDrsMigrationCapabilityForPerformanceEx),
		"queryBackingStoragePools":                    answers(p.queryBackingStoragePools),
		"queryCatalog":                                answers(p.queryCatalog),
	}
}

// noFileSystems answers for what a block array has not: its FileSystemProfile is not
// announced (vasa.md 2.2 and 12).
func noFileSystems[Q, R any](context.Context, *caller, *Q) (*R, error) {
	return nil, refuse(&wire.NotImplemented{}, "a block array has no file systems")
}

// lun is a flat alias of a volume.
type lun struct {
	id     string
	volume vvol.VirtualVolume
}

func lunID(x lun) string { return x.id }

// luns are those that the session's initiators see: all, as an alias is an ordinary LUN
// of every host, or none if there is no initiator.
func (p *Provider) luns(c *caller) (list []lun) {
	if !seesLUNs(c) {
		return nil
	}
	for _, m := range p.o.Service.LUNMappings() {
		// A volume that is being deleted has its alias for a moment still.
		if v, err := p.o.Service.VVol(m.VVol); err == nil {
			list = append(list, lun{p.objectID(wire.EntityTypeStorageLun, m.LUN), v})
		}
	}
	return list
}

func seesLUNs(c *caller) bool { return len(c.client().Initiators()) > 0 }

func (p *Provider) queryAssociatedLunsForPort(_ context.Context, c *caller, q *wire.QueryAssociatedLunsForPort) (*wire.QueryAssociatedLunsForPortResponse, error) {
	r := &wire.QueryAssociatedLunsForPortResponse{}
	if !seesLUNs(c) {
		return r, nil
	}
	ports, err := chosen(p, wire.EntityTypeStoragePort, q.PortUniqueID, p.ports(), portID)
	if err != nil {
		return nil, err
	}
	luns := ids(p.luns(c), lunID)
	for _, x := range ports {
		r.Return = append(r.Return, association(x.id, luns))
	}
	return r, nil
}

func (p *Provider) queryUniqueIdentifiersForLuns(_ context.Context, c *caller, q *wire.QueryUniqueIdentifiersForLuns) (*wire.QueryUniqueIdentifiersForLunsResponse, error) {
	if !seesLUNs(c) {
		return &wire.QueryUniqueIdentifiersForLunsResponse{}, nil
	}
	if err := p.checkArray(value(q.ArrayUniqueID)); err != nil {
		return nil, err
	}
	return &wire.QueryUniqueIdentifiersForLunsResponse{Return: ids(p.luns(c), lunID)}, nil
}

// queryStorageLuns wants ids (vasa.md 2.2).
func (p *Provider) queryStorageLuns(ctx context.Context, c *caller, q *wire.QueryStorageLuns) (*wire.QueryStorageLunsResponse, error) {
	r := &wire.QueryStorageLunsResponse{}
	if !seesLUNs(c) {
		return r, nil
	}
	if len(q.LUNUniqueID) == 0 {
		return nil, invalid("lunUniqueId is missing")
	}
	list, err := chosen(p, wire.EntityTypeStorageLun, q.LUNUniqueID, p.luns(c), lunID)
	if err != nil {
		return nil, err
	}
	for _, x := range list {
		l, err := p.storageLun(ctx, x)
		if errors.Is(err, vvol.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		r.Return = append(r.Return, l)
	}
	return r, nil
}

func (p *Provider) storageLun(ctx context.Context, x lun) (wire.StorageLun, error) {
	u, err := p.o.Service.Usage(ctx, x.volume.ID)
	if err != nil {
		return wire.StorageLun{}, err
	}
	size := megabytes(x.volume.Size)
	l := wire.StorageLun{BaseStorageEntity: wire.BaseStorageEntity{UniqueIdentifier: &x.id}, AlternateIdentifier: []string{x.volume.ID.String()},
		BackingConfig: &wire.BackingConfig{AutoTieringEnabled: new(false)}, CapacityInMB: &size, DisplayName: new(x.volume.Name),
		DrsManagementPermitted: new(true), ThinProvisioned: new(!x.volume.Quality.Thick), UsedSpaceInMB: new(min(megabytes(u.Allocated), size))}
	if *l.ThinProvisioned {
		l.BackingConfig.ThinProvisionBackingIdentifier = new(p.objectID(wire.EntityTypeBackingStoragePool, x.volume.Container))
	}
	if p.o.Designator != nil {
		l.EsxLunIdentifier = new(p.o.Designator(x.volume))
	}
	return l, nil
}

// storageCapability is a service level of a container as VASA 1 has capabilities: a
// name and a text. vSphere shows them beside each other, so that the name has both.
type storageCapability struct {
	id, name, detail string
}

func capabilityID(x storageCapability) string { return x.id }

func (p *Provider) capabilities() (list []storageCapability) {
	for _, k := range p.o.Service.Containers() {
		for _, l := range k.ServiceLevels {
			list = append(list, storageCapability{p.objectID(wire.EntityTypeStorageCapability, policy.ProfileID(k.ID, l.Name)), k.Name + ": " + l.Name, describeLevel(l)})
		}
	}
	return list
}

// describeLevel says in words what a service level gives.
func describeLevel(l vvol.ServiceLevel) string {
	words := []string{"Thick: space is reserved"}
	if l.Thin {
		words[0] = "Thin: space is taken as it is written"
	}
	if l.MaxIOPS > 0 {
		words = append(words, fmt.Sprintf("at most %d I/O operations a second", l.MaxIOPS))
	}
	if l.MaxBytesPerSec > 0 {
		words = append(words, fmt.Sprintf("at most %d bytes a second", l.MaxBytesPerSec))
	}
	if l.SnapshotLimit > 0 {
		words = append(words, fmt.Sprintf("at most %d snapshots", l.SnapshotLimit))
	}
	if l.Durability != "" {
		words = append(words, "durability "+l.Durability)
	}
	if l.WarnPercentUsed > 0 {
		words = append(words, fmt.Sprintf("warns when %d %% of the container are used", l.WarnPercentUsed))
	}
	return strings.Join(words, "; ")
}

func (p *Provider) queryStorageCapabilities(_ context.Context, _ *caller, q *wire.QueryStorageCapabilities) (*wire.QueryStorageCapabilitiesResponse, error) {
	list, err := chosen(p, wire.EntityTypeStorageCapability, q.CapabilityUniqueID, p.capabilities(), capabilityID)
	if err != nil {
		return nil, err
	}
	r := &wire.QueryStorageCapabilitiesResponse{}
	for _, x := range list {
		r.Return = append(r.Return, wire.StorageCapability{BaseStorageEntity: wire.BaseStorageEntity{UniqueIdentifier: &x.id}, CapabilityName: &x.name, CapabilityDetail: &x.detail})
	}
	return r, nil
}

func (p *Provider) queryAssociatedCapabilityForLun(_ context.Context, c *caller, q *wire.QueryAssociatedCapabilityForLun) (*wire.QueryAssociatedCapabilityForLunResponse, error) {
	r := &wire.QueryAssociatedCapabilityForLunResponse{}
	if !seesLUNs(c) {
		return r, nil
	}
	list, err := chosen(p, wire.EntityTypeStorageLun, q.LUNUniqueID, p.luns(c), lunID)
	if err != nil {
		return nil, err
	}
	all := ids(p.capabilities(), capabilityID)
	for _, x := range list {
		id := p.objectID(wire.EntityTypeStorageCapability, policy.ProfileID(x.volume.Container, x.volume.ServiceLevel))
		if slices.Contains(all, id) { // the container may have given up the level
			r.Return = append(r.Return, association(x.id, []string{id}))
		}
	}
	return r, nil
}

// queryDRSMigrationCapabilityForPerformance says yes (vasa.md 12), if both exist.
func (p *Provider) queryDRSMigrationCapabilityForPerformance(_ context.Context, c *caller, q *wire.QueryDRSMigrationCapabilityForPerformance) (*wire.QueryDRSMigrationCapabilityForPerformanceResponse, error) {
	if q.EntityType == nil || *q.EntityType != wire.EntityTypeStorageLun && *q.EntityType != wire.EntityTypeStorageFileSystem {
		return nil, invalid("entityType must be %s or %s", wire.EntityTypeStorageLun, wire.EntityTypeStorageFileSystem)
	}
	for _, id := range []*string{q.SrcUniqueID, q.DstUniqueID} {
		if err := p.checkID(*q.EntityType, value(id)); err != nil {
			return nil, err
		}
		if list, err := chosen(p, *q.EntityType, []string{*id}, p.movable(c, *q.EntityType), func(id string) string { return id }); err != nil {
			return nil, err
		} else if len(list) == 0 {
			return nil, refuse(&wire.NotFound{}, "no %s %q", *q.EntityType, *id)
		}
	}
	return &wire.QueryDRSMigrationCapabilityForPerformanceResponse{Return: new(true)}, nil
}

// movable are the ids of what Storage DRS moves between: LUNs; there are no file systems.
func (p *Provider) movable(c *caller, t wire.EntityType) []string {
	if t == wire.EntityTypeStorageLun {
		return ids(p.luns(c), lunID)
	}
	return nil
}

// queryDrsMigrationCapabilityForPerformanceEx advises against nothing, as the older
// call does. NotFound is not declared: an entity that is not there is InvalidArgument.
func (p *Provider) queryDrsMigrationCapabilityForPerformanceEx(_ context.Context, c *caller, q *wire.QueryDrsMigrationCapabilityForPerformanceEx) (*wire.QueryDrsMigrationCapabilityForPerformanceExResponse, error) {
	if err := p.checkBatch(len(q.EntityID)); err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, id := range append(ids(p.luns(c), lunID), ids(p.o.Service.Containers(), containerID)...) {
		known[id] = true
	}
	for _, id := range q.EntityID {
		if !known[id] {
			return nil, invalid("entity %q is neither a LUN nor a container", id)
		}
	}
	return &wire.QueryDrsMigrationCapabilityForPerformanceExResponse{}, nil
}

// poolID is the id of a container as the thin pool behind LUNs.
func (p *Provider) poolID(k vvol.StorageContainer) string {
	return p.objectID(wire.EntityTypeBackingStoragePool, k.ID)
}

// queryBackingStoragePools tells of containers as what they are for LUNs: thin pools.
func (p *Provider) queryBackingStoragePools(ctx context.Context, _ *caller, q *wire.QueryBackingStoragePools) (*wire.QueryBackingStoragePoolsResponse, error) {
	list, err := chosen(p, wire.EntityTypeBackingStoragePool, q.StoragePoolUniqueID, p.o.Service.Containers(), p.poolID)
	if err != nil {
		return nil, err
	}
	r := &wire.QueryBackingStoragePoolsResponse{}
	for _, k := range list {
		s, err := p.containerSpace(ctx, k)
		if errors.Is(err, vvol.ErrNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		r.Return = append(r.Return, wire.BackingStoragePool{BaseStorageEntity: wire.BaseStorageEntity{UniqueIdentifier: new(p.poolID(k))},
			CapacityInMB: s.PhysicalTotal, Type: wire.BackingStoragePoolTypeThinProvisioning, UsedSpaceInMB: s.PhysicalUsed})
	}
	return r, nil
}
