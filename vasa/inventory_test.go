package vasa

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/vasatest"
	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// withNames gives the lab designators.
func withNames(o *Options) {
	o.Designator = func(v vvol.VirtualVolume) string {
		return "naa.6" + strings.Repeat("0", 30) + string(rune('0'+v.Serial))
	}
}

// names are the ids of what entities refer to.
func names(list []wire.AnyEntity) (all []string) {
	for _, e := range list {
		all = append(all, *e.Base().UniqueIdentifier)
	}
	return all
}

func do[R any](l *lab, c *vasatest.Client, request any) *R {
	l.t.Helper()
	r, err := vasatest.Do[R](l.t.Context(), c, request)
	require.NoError(l.t, err)
	return r
}

func (l *lab) mapped(name string, mb int64) (vvol.VirtualVolume, vvol.LUNMapping) {
	v := l.create(name, mb)
	m, err := l.service.MapLUN(l.t.Context(), v.ID, nil)
	require.NoError(l.t, err)
	return v, m
}

func TestArrays(t *testing.T) {
	broken := false
	l := newLab(t, func(o *Options) {
		o.Health = func() error {
			if broken {
				return errors.New("the engine does not answer")
			}
			return nil
		}
	})
	c, array := l.vcenter("one"), l.arrayID()
	a := do[wire.QueryArraysResponse](l, c, &wire.QueryArrays{}).Return
	require.Len(t, a, 1)
	require.Equal(t, array, *a[0].UniqueIdentifier)
	require.Equal(t, "lab", *a[0].ArrayName)
	require.EqualValues(t, 100, a[0].Priority)
	require.Equal(t, []wire.BlockProtocol{wire.BlockProtocolISCSI}, a[0].SupportedBlock)
	require.Equal(t, []wire.ArrayProfile{wire.ArrayProfileVirtualVolume, wire.ArrayProfileBlockDevice, wire.ArrayProfileCapability}, a[0].SupportedProfile)
	require.Equal(t, []string{"iqn.2026-11.dev.vvsim:lab"}, a[0].AlternateName)
	require.Len(t, do[wire.QueryArraysResponse](l, c, &wire.QueryArrays{ArrayUniqueID: []string{array}}).Return, 1)
	require.Empty(t, do[wire.QueryArraysResponse](l, c, &wire.QueryArrays{ArrayUniqueID: []string{"StorageArray:other"}}).Return)
	l.fault(c, "InvalidArgument", &wire.QueryArrays{ArrayUniqueID: []string{""}})
	l.fault(c, "InvalidArgument", &wire.QueryArrays{ArrayUniqueID: []string{"nonsense"}})
	l.fault(c, "InvalidArgument", &wire.QueryArrays{ArrayUniqueID: make([]string, DefaultBatch+1)})
	broken = true
	require.EqualValues(t, 10, do[wire.QueryArraysResponse](l, c, &wire.QueryArrays{}).Return[0].Priority)
	l.fault(l.issued("nobody"), "InvalidSession", &wire.QueryArrays{})
}

// TestWalk goes from the array to its processors and ports, as vCenter does.
func TestWalk(t *testing.T) {
	portals := []Portal{{"10.0.0.1:3260", 1, "iqn.2026-11.dev.vvsim:lab"}, {"10.0.0.2:3260", 2, "iqn.2026-11.dev.vvsim:lab"}, {"10.0.0.3:3260", 1, "iqn.2026-11.dev.vvsim:lab"}}
	l := newLab(t, func(o *Options) { o.Portals = func() []Portal { return portals } })
	c, prefix := l.vcenter("one"), l.service.ArrayID()
	of := do[wire.QueryAssociatedProcessorsForArrayResponse](l, c, &wire.QueryAssociatedProcessorsForArray{}).Return
	require.Len(t, of, 1)
	require.Equal(t, []string{l.arrayID()}, names(of[0].EntityID))
	processors := names(of[0].AssociatedID)
	require.Equal(t, []string{prefix + ":StorageProcessor:1", prefix + ":StorageProcessor:2"}, processors)
	require.Len(t, do[wire.QueryStorageProcessorsResponse](l, c, &wire.QueryStorageProcessors{SPUniqueID: processors}).Return, 2)
	var ports []string
	for _, x := range do[wire.QueryAssociatedPortsForProcessorResponse](l, c, &wire.QueryAssociatedPortsForProcessor{SPUniqueID: processors}).Return {
		ports = append(ports, names(x.AssociatedID)...)
	}
	require.Equal(t, []string{prefix + ":StoragePort:1", prefix + ":StoragePort:3", prefix + ":StoragePort:2"}, ports)
	all := do[wire.QueryStoragePortsResponse](l, c, &wire.QueryStoragePorts{PortUniqueID: ports}).Return
	require.Len(t, all, 3)
	require.Equal(t, "iqn.2026-11.dev.vvsim:lab", *all[2].ISCSIIdentifier)
	require.Equal(t, []string{"iqn.2026-11.dev.vvsim:lab,t,0x0002", "10.0.0.2:3260"}, all[2].AlternateName)
	require.Nil(t, all[2].PortWWN)

	for _, bad := range []string{"", "nonsense", prefix + ":StorageLun:1", prefix + ":StoragePort:", "x" + prefix + ":StoragePort:1"} {
		l.fault(c, "InvalidArgument", &wire.QueryStoragePorts{PortUniqueID: []string{bad}})
		l.fault(c, "InvalidArgument", &wire.QueryStorageProcessors{SPUniqueID: []string{bad}})
		l.fault(c, "InvalidArgument", &wire.QueryAssociatedPortsForProcessor{SPUniqueID: []string{bad}})
		l.fault(c, "InvalidArgument", &wire.QueryAssociatedProcessorsForArray{ArrayUniqueID: []string{bad}})
	}
	require.Empty(t, do[wire.QueryStoragePortsResponse](l, c, &wire.QueryStoragePorts{PortUniqueID: []string{prefix + ":StoragePort:-4", prefix + ":StoragePort:99999999999999999999"}}).Return)
	require.Empty(t, do[wire.QueryAssociatedPortsForProcessorResponse](l, c, &wire.QueryAssociatedPortsForProcessor{SPUniqueID: []string{prefix + ":StorageProcessor:7"}}).Return)
}

func TestEntities(t *testing.T) {
	l := newLab(t, nil)
	host, vc := l.host("a"), l.vcenter("one")
	v, _ := l.mapped("disk", 16)
	levels := len(vvol.DefaultServiceLevels())
	for of, want := range map[wire.EntityType]int{
		wire.EntityTypeStorageArray: 1, wire.EntityTypeStorageProcessor: 2, wire.EntityTypeStoragePort: 2, wire.EntityTypeStorageLun: 1,
		wire.EntityTypeStorageFileSystem: 0, wire.EntityTypeStorageCapability: levels, wire.EntityTypeStorageContainer: 1, wire.EntityTypeCapabilityProfile: levels,
		wire.EntityTypeProtocolEndpoint: 2, wire.EntityTypeBackingStoragePool: 1, wire.EntityTypeVirtualVolumeInfo: 1,
	} {
		list := do[wire.QueryUniqueIdentifiersForEntityResponse](l, host, &wire.QueryUniqueIdentifiersForEntity{EntityType: &of}).Return
		require.Len(t, list, want, "%s", of)
		require.EqualValues(t, want, *do[wire.GetNumberOfEntitiesResponse](l, host, &wire.GetNumberOfEntities{EntityType: &of}).Return, "%s", of)
	}
	require.Equal(t, []string{v.ID.String()}, do[wire.QueryUniqueIdentifiersForEntityResponse](l, host, &wire.QueryUniqueIdentifiersForEntity{EntityType: new(wire.EntityTypeVirtualVolumeInfo)}).Return)
	require.Empty(t, do[wire.QueryUniqueIdentifiersForEntityResponse](l, vc, &wire.QueryUniqueIdentifiersForEntity{EntityType: new(wire.EntityTypeStorageLun)}).Return, "without initiators")
	for _, bad := range []*wire.EntityType{nil, new(wire.EntityType("")), new(wire.EntityType("Nonsense")), new(wire.EntityTypeStorageObject), new(wire.EntityTypeMessageCatalog)} {
		l.fault(host, "InvalidArgument", &wire.QueryUniqueIdentifiersForEntity{EntityType: bad})
		l.fault(host, "InvalidArgument", &wire.GetNumberOfEntities{EntityType: bad})
	}
}

func TestLuns(t *testing.T) {
	l := newLab(t, withNames)
	c, prefix := l.host("a"), l.service.ArrayID()
	v, m := l.mapped("disk", 16)
	l.write(v.ID, 0, 7)
	thick, err := l.service.Create(t.Context(), vvol.CreateSpec{Container: "default", Size: 8 * mib, PolicySpec: vvol.PolicySpec{ServiceLevel: "thick"}})
	require.NoError(t, err)
	n, err := l.service.MapLUN(t.Context(), thick.ID, nil)
	require.NoError(t, err)
	id, thickID := l.objectID(wire.EntityTypeStorageLun, m.LUN), l.objectID(wire.EntityTypeStorageLun, n.LUN)

	require.Equal(t, []string{id, thickID}, do[wire.QueryUniqueIdentifiersForLunsResponse](l, c, &wire.QueryUniqueIdentifiersForLuns{ArrayUniqueID: new(l.arrayID())}).Return)
	for _, x := range do[wire.QueryAssociatedLunsForPortResponse](l, c, &wire.QueryAssociatedLunsForPort{}).Return {
		require.Equal(t, []string{id, thickID}, names(x.AssociatedID))
	}
	list := do[wire.QueryStorageLunsResponse](l, c, &wire.QueryStorageLuns{LUNUniqueID: []string{id, prefix + ":StorageLun:77", thickID}}).Return
	require.Len(t, list, 2)
	pool := l.objectID(wire.EntityTypeBackingStoragePool, v.Container)
	require.Equal(t, wire.StorageLun{BaseStorageEntity: wire.BaseStorageEntity{UniqueIdentifier: &id}, AlternateIdentifier: []string{v.ID.String()},
		BackingConfig: &wire.BackingConfig{AutoTieringEnabled: new(false), ThinProvisionBackingIdentifier: &pool},
		CapacityInMB:  new(int64(16)), DisplayName: new("disk"), DrsManagementPermitted: new(true), EsxLunIdentifier: new(l.o.Designator(v)),
		ThinProvisioned: new(true), UsedSpaceInMB: new(int64(1))}, list[0])
	require.False(t, *list[1].ThinProvisioned)
	require.Nil(t, list[1].BackingConfig.ThinProvisionBackingIdentifier)
	pools := do[wire.QueryBackingStoragePoolsResponse](l, c, &wire.QueryBackingStoragePools{StoragePoolUniqueID: []string{pool}}).Return
	require.Equal(t, []wire.BackingStoragePool{{BaseStorageEntity: wire.BaseStorageEntity{UniqueIdentifier: &pool}, CapacityInMB: 1 << 20,
		Type: wire.BackingStoragePoolTypeThinProvisioning, UsedSpaceInMB: 9}}, pools)
	require.Equal(t, pools, do[wire.QueryBackingStoragePoolsResponse](l, c, &wire.QueryBackingStoragePools{}).Return)

	of := do[wire.QueryAssociatedCapabilityForLunResponse](l, c, &wire.QueryAssociatedCapabilityForLun{LUNUniqueID: []string{thickID}}).Return
	require.Len(t, of, 1)
	capability := do[wire.QueryStorageCapabilitiesResponse](l, c, &wire.QueryStorageCapabilities{CapabilityUniqueID: names(of[0].AssociatedID)}).Return
	require.Len(t, capability, 1)
	require.Equal(t, "default: thick", *capability[0].CapabilityName)
	require.Contains(t, *capability[0].CapabilityDetail, "Thick")
	require.Len(t, do[wire.QueryStorageCapabilitiesResponse](l, c, &wire.QueryStorageCapabilities{}).Return, len(vvol.DefaultServiceLevels()))

	l.fault(c, "InvalidArgument", &wire.QueryStorageLuns{})
	l.fault(c, "InvalidArgument", &wire.QueryUniqueIdentifiersForLuns{})
	l.fault(c, "NotFound", &wire.QueryUniqueIdentifiersForLuns{ArrayUniqueID: new("StorageArray:other")})
	for _, bad := range []string{"", "nonsense", prefix + ":StoragePort"} {
		l.fault(c, "InvalidArgument", &wire.QueryStorageLuns{LUNUniqueID: []string{bad}})
		l.fault(c, "InvalidArgument", &wire.QueryAssociatedLunsForPort{PortUniqueID: []string{bad}})
		l.fault(c, "InvalidArgument", &wire.QueryAssociatedCapabilityForLun{LUNUniqueID: []string{bad}})
		l.fault(c, "InvalidArgument", &wire.QueryStorageCapabilities{CapabilityUniqueID: []string{bad}})
		l.fault(c, "InvalidArgument", &wire.QueryBackingStoragePools{StoragePoolUniqueID: []string{bad}})
	}
	require.NoError(t, l.service.UnmapLUN(t.Context(), m.LUN))
	require.Empty(t, do[wire.QueryStorageLunsResponse](l, c, &wire.QueryStorageLuns{LUNUniqueID: []string{id}}).Return)
}

// TestNoInitiators: a vCenter without hosts sees no LUNs, and no faults.
func TestNoInitiators(t *testing.T) {
	l := newLab(t, nil)
	l.mapped("disk", 16)
	c := l.vcenter("one")
	require.Empty(t, do[wire.QueryUniqueIdentifiersForLunsResponse](l, c, &wire.QueryUniqueIdentifiersForLuns{}).Return)
	require.Empty(t, do[wire.QueryStorageLunsResponse](l, c, &wire.QueryStorageLuns{}).Return)
	require.Empty(t, do[wire.QueryAssociatedLunsForPortResponse](l, c, &wire.QueryAssociatedLunsForPort{PortUniqueID: []string{"nonsense"}}).Return)
	require.Empty(t, do[wire.QueryAssociatedCapabilityForLunResponse](l, c, &wire.QueryAssociatedCapabilityForLun{}).Return)
	require.Len(t, do[wire.QueryStoragePortsResponse](l, c, &wire.QueryStoragePorts{}).Return, 2)
}

func TestNoFileSystems(t *testing.T) {
	l := newLab(t, nil)
	c := l.host("a")
	l.fault(c, "NotImplemented", &wire.QueryUniqueIdentifiersForFileSystems{FSUniqueID: new(l.arrayID())})
	l.fault(c, "NotImplemented", &wire.QueryStorageFileSystems{})
	l.fault(c, "NotImplemented", &wire.QueryAssociatedCapabilityForFileSystem{})
}

func TestStorageDRS(t *testing.T) {
	l := newLab(t, nil)
	c := l.host("a")
	_, m := l.mapped("disk", 16)
	_, n := l.mapped("other", 16)
	a, b := l.objectID(wire.EntityTypeStorageLun, m.LUN), l.objectID(wire.EntityTypeStorageLun, n.LUN)
	ask := func(src, dst *string, of wire.EntityType) *wire.QueryDRSMigrationCapabilityForPerformance {
		return &wire.QueryDRSMigrationCapabilityForPerformance{SrcUniqueID: src, DstUniqueID: dst, EntityType: &of}
	}
	require.True(t, *do[wire.QueryDRSMigrationCapabilityForPerformanceResponse](l, c, ask(&a, &b, wire.EntityTypeStorageLun)).Return)
	l.fault(c, "InvalidArgument", &wire.QueryDRSMigrationCapabilityForPerformance{SrcUniqueID: &a, DstUniqueID: &b})
	l.fault(c, "InvalidArgument", ask(&a, &b, wire.EntityTypeStorageArray))
	l.fault(c, "InvalidArgument", ask(nil, &b, wire.EntityTypeStorageLun))
	l.fault(c, "InvalidArgument", ask(&a, new(""), wire.EntityTypeStorageLun))
	l.fault(c, "InvalidArgument", ask(&a, new("nonsense"), wire.EntityTypeStorageLun))
	l.fault(c, "NotFound", ask(&a, new(l.objectID(wire.EntityTypeStorageLun, 99)), wire.EntityTypeStorageLun))
	fs := l.objectID(wire.EntityTypeStorageFileSystem, 1)
	l.fault(c, "NotFound", ask(&fs, &fs, wire.EntityTypeStorageFileSystem))
	require.NoError(t, l.service.UnmapLUN(t.Context(), n.LUN))
	l.fault(c, "NotFound", ask(&a, &b, wire.EntityTypeStorageLun))

	ex := &wire.QueryDrsMigrationCapabilityForPerformanceEx{EntityID: []string{a, l.service.Containers()[0].ID.String()}}
	require.Empty(t, do[wire.QueryDrsMigrationCapabilityForPerformanceExResponse](l, c, ex).Return.NonRecommendedEntitySet)
	l.fault(c, "InvalidArgument", &wire.QueryDrsMigrationCapabilityForPerformanceEx{EntityID: []string{a, b}})
	l.fault(c, "InvalidArgument", &wire.QueryDrsMigrationCapabilityForPerformanceEx{EntityID: []string{""}})
	l.fault(c, "InvalidArgument", &wire.QueryDrsMigrationCapabilityForPerformanceEx{EntityID: make([]string, DefaultBatch+1)})
}
