package vasa

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"vvsim/vasa/wire"
)

// inventoryOperations are the operations of vasa.md 2.2 about the array, its controllers
// and its ports. All the lists of chapter 2.2 follow one rule where the contract is
// silent: no id means all, a malformed id is InvalidArgument, and the id of something
// that is not there is passed over, unless the operation declares NotFound.
func (p *Provider) inventoryOperations() map[string]handler {
	return map[string]handler{
		"queryArrays":                       answers(p.queryArrays),
		"queryUniqueIdentifiersForEntity":   answers(p.queryUniqueIdentifiersForEntity),
		"getNumberOfEntities":               answers(p.getNumberOfEntities),
		"queryAssociatedProcessorsForArray": answers(p.queryAssociatedProcessorsForArray),
		"queryStorageProcessors":            answers(p.queryStorageProcessors),
		"queryAssociatedPortsForProcessor":  answers(p.queryAssociatedPortsForProcessor),
		"queryStoragePorts":                 answers(p.queryStoragePorts),
	}
}

// Priorities of the array (vasa.md 7.1 and 8.4).
const (
	priorityOnline  = 100
	priorityOffline = 10
)

// objectID is the id of an object of the inventory (vasa.md 5): the array, the type, and
// what tells it apart from others of the type.
func (p *Provider) objectID(t wire.EntityType, key any) string {
	if t == wire.EntityTypeStorageArray {
		return p.arrayID()
	}
	return fmt.Sprintf("%s:%s:%v", p.o.Service.ArrayID(), t, key)
}

// checkID refuses what cannot be the id of an object of a type.
func (p *Provider) checkID(t wire.EntityType, id string) error {
	prefix := p.objectID(t, "")
	if t == wire.EntityTypeStorageArray {
		prefix = string(t) + ":"
	}
	if rest, ok := strings.CutPrefix(id, prefix); !ok || rest == "" {
		return invalid("%q is no id of a %s", id, t)
	}
	return nil
}

// chosen are those of all that ids name, in their order, and all if none is named.
func chosen[T any](p *Provider, t wire.EntityType, ids []string, all []T, idOf func(T) string) ([]T, error) {
	if len(ids) == 0 {
		return all, nil
	}
	if err := p.checkLength(len(ids)); err != nil {
		return nil, err
	}
	byID := make(map[string]T, len(all))
	for _, x := range all {
		byID[idOf(x)] = x
	}
	var list []T
	for _, id := range ids {
		if err := p.checkID(t, id); err != nil {
			return nil, err
		}
		if x, has := byID[id]; has {
			list = append(list, x)
		}
	}
	return list, nil
}

// entity is a reference to an object.
func entity(id string) wire.AnyEntity { return &wire.BaseStorageEntity{UniqueIdentifier: &id} }

// association says that an object has others.
func association(id string, others []string) wire.VasaAssociationObject {
	a := wire.VasaAssociationObject{EntityID: []wire.AnyEntity{entity(id)}}
	for _, o := range others {
		a.AssociatedID = append(a.AssociatedID, entity(o))
	}
	return a
}

// port is a portal by its number, as given to serve: from 1.
type port struct {
	Portal
	id     string
	number int
}

func (p *Provider) ports() (list []port) {
	for i, portal := range p.o.Portals() {
		list = append(list, port{portal, p.objectID(wire.EntityTypeStoragePort, i+1), i + 1})
	}
	return list
}

func portID(x port) string { return x.id }

// processor is a controller: there is one for each target portal group, as a session is
// with the portals of one group, and with them alone (RFC 7143 4.3). A walk from the
// array to its ports (vasa.md 7.1) meets each port once.
type processor struct {
	id    string
	group uint16
	ports []string // ids
}

func (p *Provider) processors() (list []processor) {
	at := map[uint16]int{}
	for _, x := range p.ports() {
		i, has := at[x.Group]
		if !has {
			i, at[x.Group] = len(list), len(list)
			list = append(list, processor{id: p.objectID(wire.EntityTypeStorageProcessor, x.Group), group: x.Group})
		}
		list[i].ports = append(list[i].ports, x.id)
	}
	slices.SortFunc(list, func(a, b processor) int { return int(a.group) - int(b.group) })
	return list
}

func processorID(x processor) string { return x.id }

func ids[T any](list []T, idOf func(T) string) []string {
	all := make([]string, 0, len(list))
	for _, x := range list {
		all = append(all, idOf(x))
	}
	return all
}

// array is what the array is now; an array that cannot be managed has a lower priority
// (vasa.md 8.4).
func (p *Provider) array() wire.StorageArray {
	a := wire.StorageArray{
		BaseStorageEntity: wire.BaseStorageEntity{UniqueIdentifier: new(p.arrayID())},
		ArrayName:         new(p.o.Array.Name), Firmware: new(p.o.Array.Firmware), ModelID: new(p.o.Array.Model), VendorID: new(p.o.Array.Vendor),
		Priority: priorityOnline, SupportedBlock: []wire.BlockProtocol{wire.BlockProtocolISCSI},
		SupportedProfile: []wire.ArrayProfile{wire.ArrayProfileVirtualVolume, wire.ArrayProfileBlockDevice, wire.ArrayProfileCapability},
	}
	for _, x := range p.ports() {
		if !slices.Contains(a.AlternateName, x.TargetName) {
			a.AlternateName = append(a.AlternateName, x.TargetName)
		}
	}
	if p.o.Statistics.offered() {
		a.SupportedProfile = append(a.SupportedProfile, wire.ArrayProfileStatistics)
	}
	if p.unmanageable() != nil {
		a.Priority = priorityOffline
	}
	return a
}

// unmanageable tells why the array cannot be managed, nil if it can.
func (p *Provider) unmanageable() error {
	if p.o.Health == nil {
		return nil
	}
	return p.o.Health()
}

func (p *Provider) queryArrays(_ context.Context, _ *caller, q *wire.QueryArrays) (*wire.QueryArraysResponse, error) {
	list, err := chosen(p, wire.EntityTypeStorageArray, q.ArrayUniqueID, []wire.StorageArray{p.array()}, func(a wire.StorageArray) string { return *a.UniqueIdentifier })
	if err != nil {
		return nil, err
	}
	return &wire.QueryArraysResponse{Return: list}, nil
}

// entityLists has a function for each type of object that has ids; it lists them.
func (p *Provider) entityLists(c *caller) map[wire.EntityType]func() []string {
	return map[wire.EntityType]func() []string{
		wire.EntityTypeStorageArray:       func() []string { return []string{p.arrayID()} },
		wire.EntityTypeStorageProcessor:   func() []string { return ids(p.processors(), processorID) },
		wire.EntityTypeStoragePort:        func() []string { return ids(p.ports(), portID) },
		wire.EntityTypeStorageLun:         func() []string { return ids(p.luns(c), lunID) },
		wire.EntityTypeStorageFileSystem:  func() []string { return nil }, // a block array has none
		wire.EntityTypeStorageCapability:  func() []string { return ids(p.capabilities(), capabilityID) },
		wire.EntityTypeStorageContainer:   func() []string { return ids(p.o.Service.Containers(), containerID) },
		wire.EntityTypeCapabilityProfile:  p.profileIDs,
		wire.EntityTypeProtocolEndpoint:   func() []string { return ids(p.endpoints(), endpointID) },
		wire.EntityTypeBackingStoragePool: func() []string { return ids(p.o.Service.Containers(), p.poolID) },
		wire.EntityTypeVirtualVolumeInfo:  p.volumeIDs,
	}
}

// listEntities lists the ids of a type; one that has none is InvalidArgument.
func (p *Provider) listEntities(c *caller, t *wire.EntityType) ([]string, error) {
	if t == nil || *t == "" {
		return nil, invalid("entityType is missing")
	}
	list, known := p.entityLists(c)[*t]
	if !known {
		return nil, invalid("entityType %q has no ids", *t)
	}
	return list(), nil
}

func (p *Provider) queryUniqueIdentifiersForEntity(_ context.Context, c *caller, q *wire.QueryUniqueIdentifiersForEntity) (*wire.QueryUniqueIdentifiersForEntityResponse, error) {
	list, err := p.listEntities(c, q.EntityType)
	if err != nil {
		return nil, err
	}
	return &wire.QueryUniqueIdentifiersForEntityResponse{Return: list}, nil
}

func (p *Provider) getNumberOfEntities(_ context.Context, c *caller, q *wire.GetNumberOfEntities) (*wire.GetNumberOfEntitiesResponse, error) {
	list, err := p.listEntities(c, q.EntityType)
	if err != nil {
		return nil, err
	}
	return &wire.GetNumberOfEntitiesResponse{Return: new(int32(len(list)))}, nil
}

func (p *Provider) queryAssociatedProcessorsForArray(_ context.Context, _ *caller, q *wire.QueryAssociatedProcessorsForArray) (*wire.QueryAssociatedProcessorsForArrayResponse, error) {
	arrays, err := chosen(p, wire.EntityTypeStorageArray, q.ArrayUniqueID, []string{p.arrayID()}, func(id string) string { return id })
	if err != nil {
		return nil, err
	}
	r := &wire.QueryAssociatedProcessorsForArrayResponse{}
	for _, a := range arrays {
		r.Return = append(r.Return, association(a, ids(p.processors(), processorID)))
	}
	return r, nil
}

func (p *Provider) queryStorageProcessors(_ context.Context, _ *caller, q *wire.QueryStorageProcessors) (*wire.QueryStorageProcessorsResponse, error) {
	list, err := chosen(p, wire.EntityTypeStorageProcessor, q.SPUniqueID, p.processors(), processorID)
	if err != nil {
		return nil, err
	}
	r := &wire.QueryStorageProcessorsResponse{}
	for _, x := range list {
		r.Return = append(r.Return, wire.StorageProcessor{BaseStorageEntity: wire.BaseStorageEntity{UniqueIdentifier: &x.id},
			SPIdentifier: []string{"target portal group " + strconv.Itoa(int(x.group))}})
	}
	return r, nil
}

func (p *Provider) queryAssociatedPortsForProcessor(_ context.Context, _ *caller, q *wire.QueryAssociatedPortsForProcessor) (*wire.QueryAssociatedPortsForProcessorResponse, error) {
	list, err := chosen(p, wire.EntityTypeStorageProcessor, q.SPUniqueID, p.processors(), processorID)
	if err != nil {
		return nil, err
	}
	r := &wire.QueryAssociatedPortsForProcessorResponse{}
	for _, x := range list {
		r.Return = append(r.Return, association(x.id, x.ports))
	}
	return r, nil
}

// queryStoragePorts names a port by its target, and besides as SCSI does (RFC 7143 4.4.4)
// and by its address. portType is a word of BlockEnum: vasa.md knows no list of its own.
func (p *Provider) queryStoragePorts(_ context.Context, _ *caller, q *wire.QueryStoragePorts) (*wire.QueryStoragePortsResponse, error) {
	list, err := chosen(p, wire.EntityTypeStoragePort, q.PortUniqueID, p.ports(), portID)
	if err != nil {
		return nil, err
	}
	r := &wire.QueryStoragePortsResponse{}
	for _, x := range list {
		r.Return = append(r.Return, wire.StoragePort{BaseStorageEntity: wire.BaseStorageEntity{UniqueIdentifier: &x.id},
			AlternateName:   []string{fmt.Sprintf("%s,t,0x%04x", x.TargetName, x.Group), x.Address},
			ISCSIIdentifier: &x.TargetName, PortType: new(string(wire.BlockProtocolISCSI))})
	}
	return r, nil
}
