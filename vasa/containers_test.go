package vasa

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/policy"
	"vvsim/vasa/vasatest"
	"vvsim/vasa/wire"
	"vvsim/vvol"
)

func TestContainers(t *testing.T) {
	l := newLab(t, nil)
	c := l.vcenter("one")
	k := l.service.Containers()[0]
	id := k.ID.String()
	require.Equal(t, []string{id}, do[wire.QueryStorageContainerForArrayResponse](l, c, &wire.QueryStorageContainerForArray{ArrayID: l.arrayID()}).Return)
	l.fault(c, "InvalidArgument", &wire.QueryStorageContainerForArray{})
	l.fault(c, "NotFound", &wire.QueryStorageContainerForArray{ArrayID: "nonsense"})
	want := []wire.StorageContainer{{BaseStorageEntity: wire.BaseStorageEntity{UniqueIdentifier: &id}, MaxVVolSizeMB: 64 << 20, Name: "default",
		ProtocolEndPointType: new(wire.ProtocolEndpointTypeSCSI)}}
	require.Equal(t, want, do[wire.QueryStorageContainerResponse](l, c, &wire.QueryStorageContainer{}).Return)
	require.Equal(t, want, do[wire.QueryStorageContainerResponse](l, c, &wire.QueryStorageContainer{ContainerID: []string{"", "nonsense", strings.ToUpper(id), strings.Repeat("f", 100000)}}).Return)
	l.fault(c, "StorageFault", &wire.QueryStorageContainer{ContainerID: make([]string, DefaultBatch+1)})
	l.set(Knobs{MaxVVolSizeMB: 1024})
	require.EqualValues(t, 1024, do[wire.QueryStorageContainerResponse](l, c, &wire.QueryStorageContainer{}).Return[0].MaxVVolSizeMB)
	l.fault(l.issued("nobody"), "InvalidSession", &wire.QueryStorageContainer{})
}

func TestContainerSpace(t *testing.T) {
	ctx, l := t.Context(), newLab(t, nil)
	c := l.vcenter("one")
	k, err := l.service.CreateContainer(ctx, vvol.ContainerSpec{Name: "small", Size: 64 * mib})
	require.NoError(t, err)
	id := k.ID.String()
	ask := func(profiles ...string) []wire.ContainerSpaceStats {
		return do[wire.SpaceStatsForStorageContainerResponse](l, c, &wire.SpaceStatsForStorageContainer{ContainerID: id, CapabilityProfileID: profiles}).Return
	}
	require.Equal(t, []wire.ContainerSpaceStats{{ObjectID: id, LogicalFree: 64, LogicalLimit: 64, PhysicalFree: 64, PhysicalTotal: 64}}, ask())
	_, err = l.service.Create(ctx, vvol.CreateSpec{Container: "small", Size: 16 * mib, PolicySpec: vvol.PolicySpec{ServiceLevel: "thick"}})
	require.NoError(t, err)
	v, err := l.service.Create(ctx, vvol.CreateSpec{Container: "small", Size: 128 * mib, PolicySpec: vvol.PolicySpec{ServiceLevel: "default"}})
	require.NoError(t, err)
	for mb := range uint64(4) {
		for block := range uint64(256) {
			l.write(v.ID, mb*mib+block*4096, 3)
		}
	}
	require.Equal(t, []wire.ContainerSpaceStats{{ObjectID: id, LogicalFree: 44, LogicalLimit: 64, LogicalUsed: 20, PhysicalFree: 44, PhysicalTotal: 64, PhysicalUsed: 20}}, ask())
	_, err = l.service.FastClone(ctx, v.ID, vvol.CloneSpec{})
	require.NoError(t, err)
	shared := wire.ContainerSpaceStats{ObjectID: id, LogicalFree: 44, LogicalLimit: 68, LogicalUsed: 24, PhysicalFree: 44, PhysicalTotal: 64, PhysicalUsed: 20}
	require.Equal(t, []wire.ContainerSpaceStats{shared}, ask())

	thin, thick := policy.ProfileID(k.ID, "default"), policy.ProfileID(k.ID, "thick")
	require.NotEqual(t, thin, thick)
	rows := ask(thin, thick)
	require.Len(t, rows, 2)
	shared.ObjectID = thick
	require.Equal(t, shared, rows[1])
	other := l.service.Containers()[0]
	require.Equal(t, "default", other.Name)
	for _, x := range []struct {
		fault, container string
		profiles         []string
	}{
		{"NotFound", id, []string{thin, policy.ProfileID(other.ID, "default")}},
		{"NotFound", id, []string{"nonsense"}},
		{"InvalidArgument", id, []string{""}},
		{"InvalidArgument", id, make([]string, DefaultBatch+1)},
		{"InvalidArgument", "", nil},
		{"InvalidArgument", "nonsense", nil},
		{"InvalidArgument", strings.Repeat("0", 1<<20), nil},
		{"NotFound", "00000000-0000-4000-8000-000000000000", nil},
	} {
		l.fault(c, x.fault, &wire.SpaceStatsForStorageContainer{ContainerID: x.container, CapabilityProfileID: x.profiles})
	}
}

// TestProfileID is the example of what must never change.
func TestProfileID(t *testing.T) {
	var id vvol.ContainerID
	require.NoError(t, id.UnmarshalText([]byte("6ba7b810-9dad-11d1-80b4-00c04fd430c8")))
	require.Equal(t, "2ed6657d-e927-568b-95e1-2665a8aea6a2", policy.ProfileID(id, "www.example.com"), "RFC 9562 A.4")
}

// TestEndpoints: what hosts see is matched with what there is.
func TestEndpoints(t *testing.T) {
	l := newLab(t, nil)
	c, all := l.host("a"), l.service.Endpoints()
	want := []string{l.service.ArrayID() + ":ProtocolEndpoint:256", l.service.ArrayID() + ":ProtocolEndpoint:257"}
	require.Equal(t, want, do[wire.QueryProtocolEndpointForArrayResponse](l, c, &wire.QueryProtocolEndpointForArray{ArrayID: l.arrayID()}).Return)
	l.fault(c, "InvalidArgument", &wire.QueryProtocolEndpointForArray{})
	l.fault(c, "NotFound", &wire.QueryProtocolEndpointForArray{ArrayID: "StorageArray:other"})
	list := do[wire.QueryProtocolEndpointResponse](l, c, &wire.QueryProtocolEndpoint{PEID: []string{"", want[1], "nonsense"}}).Return
	require.Equal(t, []wire.ProtocolEndpoint{{BaseStorageEntity: wire.BaseStorageEntity{UniqueIdentifier: &want[1]}, InBandBindCapability: wire.InBandBindCapabilityNone,
		InBandID: wire.ProtocolEndpointInbandId{LUNID: new(string(all[1].ID)), ProtocolEndpointType: wire.ProtocolEndpointTypeSCSI}}}, list)
	require.Len(t, do[wire.QueryProtocolEndpointResponse](l, c, &wire.QueryProtocolEndpoint{}).Return, 2)
	l.fault(c, "StorageFault", &wire.QueryProtocolEndpoint{PEID: make([]string, DefaultBatch+1)})
}

// inBand is an endpoint as a host sees it.
func inBand(name string) wire.ProtocolEndpoint {
	return wire.ProtocolEndpoint{InBandBindCapability: wire.InBandBindCapabilityNone, InBandID: wire.ProtocolEndpointInbandId{LUNID: &name, ProtocolEndpointType: wire.ProtocolEndpointTypeSCSI}}
}

// poll asks for the events after last, as "type change object".
func (l *lab) poll(c *vasatest.Client, last *int64) (told []string) {
	l.t.Helper()
	for _, e := range do[wire.GetEventsResponse](l, c, &wire.GetEvents{LastEventID: last}).Return {
		b := e.Base()
		require.Equal(l.t, l.arrayID(), *b.ArrayID)
		told = append(told, string(*b.EventType)+" "+string(*b.EventConfigType)+" "+*b.ObjectID)
		*last = *b.EventID
	}
	return told
}

// TestEndpointsByID knows an endpoint that a host calls otherwise by its uniqueIdentifier
// when told so, and traces what hosts send of that either way.
func TestEndpointsByID(t *testing.T) {
	l := newLab(t, nil)
	c, last := l.host("a"), new(int64(-1))
	pe := l.service.Endpoints()[0]
	id := l.objectID(wire.EntityTypeProtocolEndpoint, pe.LUN)
	named := inBand("mpx.vmhba64:C0:T0:L256")
	named.UniqueIdentifier = new(strings.ToUpper(id))
	foreign := inBand("naa.of-another-array")
	foreign.UniqueIdentifier = new("foreign")
	set := &wire.SetPEContext{ListOfHostPE: []wire.ProtocolEndpoint{named, foreign}}
	v := l.create("x", 8)
	bind := &wire.BindVirtualVolume{VVolID: []string{v.ID.String()}, BindContext: wire.BindContextNormal}
	l.poll(c, last)
	_, err := c.Call(t.Context(), set)
	require.NoError(t, err)
	require.Empty(t, l.poll(c, last), "by the in-band id alone it is none of ours")
	l.fault(c, "InvalidArgument", bind)
	l.set(Knobs{EndpointsByID: true})
	_, err = c.Call(t.Context(), set)
	require.NoError(t, err)
	require.Equal(t, []string{"ConfigProtocolEndpoint New " + id}, l.poll(c, last))
	handle := do[wire.BindVirtualVolumeResponse](l, c, bind).Return[0].VVolHandle
	require.Equal(t, string(pe.ID), *handle.PEInBandID.LUNID)
	traced := map[string]int{}
	for _, e := range l.Trace() {
		if e.Kind == "uniqueIdentifier of an endpoint" {
			require.Equal(t, "setPEContext", e.Operation)
			traced[e.Text] += e.Count
		}
	}
	require.Equal(t, map[string]int{"of ours, in-band id of ours false": 2, "foreign, in-band id of ours false": 2}, traced)
}

func TestSetPEContext(t *testing.T) {
	l := newLab(t, nil)
	c, last := l.host("a"), new(int64(-1))
	set := func(list ...wire.ProtocolEndpoint) {
		t.Helper()
		_, err := c.Call(t.Context(), &wire.SetPEContext{ListOfHostPE: list})
		require.NoError(t, err)
	}
	pe := l.service.Endpoints()
	one, two := inBand(strings.ToUpper(string(pe[0].ID))), inBand(string(pe[1].ID))
	event := func(change string, n int) string {
		return "ConfigProtocolEndpoint " + change + " " + l.objectID(wire.EntityTypeProtocolEndpoint, pe[n].LUN)
	}
	require.Empty(t, l.poll(c, last))
	nfs := inBand(string(pe[1].ID))
	nfs.InBandID.ProtocolEndpointType = wire.ProtocolEndpointTypeNFS
	none := wire.ProtocolEndpoint{InBandBindCapability: wire.InBandBindCapabilityNone, InBandID: wire.ProtocolEndpointInbandId{ProtocolEndpointType: wire.ProtocolEndpointTypeSCSI}}
	set(one, one, inBand("naa.of-another-array"), inBand(""), none, nfs)
	require.Equal(t, []string{event("New", 0)}, l.poll(c, last))
	set(one, two)
	require.Equal(t, []string{event("New", 1)}, l.poll(c, last))
	set(two, inBand(string(pe[0].ID)))
	require.Empty(t, l.poll(c, last), "the same again")
	changed := two
	changed.TransportIPAddress = []string{"10.0.0.1"}
	set(one, changed)
	require.Equal(t, []string{event("Update", 1)}, l.poll(c, last))
	set(one)
	require.Equal(t, []string{event("Delete", 1)}, l.poll(c, last))
	set(one, two)
	set(one)
	require.Equal(t, []string{event("Delete", 1)}, l.poll(c, last), "the newer replaces the older")
	other := l.host("b")
	require.Empty(t, l.poll(other, new(int64(-1))), "only the host that sees it is told")

	// The host restarts: it is told anew what it may have forgotten, and what is gone.
	set(one, two)
	l.poll(c, last)
	do[wire.SetContextResponse](l, c, &wire.SetContext{UsageContext: usageOf("a")})
	set(two)
	require.Equal(t, []string{event("Delete", 0), event("New", 1)}, l.poll(c, last))
	set()
	require.Equal(t, []string{event("Delete", 1)}, l.poll(c, last))
	l.fault(c, "StorageFault", &wire.SetPEContext{ListOfHostPE: make([]wire.ProtocolEndpoint, DefaultBatch+1)})

	quiet := usageOf("a")
	quiet.SubscribeEvent = []wire.EventType{wire.EventTypeConfig}
	do[wire.SetContextResponse](l, c, &wire.SetContext{UsageContext: quiet})
	set(one, two)
	require.Empty(t, l.poll(c, last), "not subscribed to")
}
