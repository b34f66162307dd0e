package vasa

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/vasatest"
	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// about is an Invoker that tells what requests are about and does nothing.
type about struct {
	p          *Provider
	volumes    []vvol.ID
	containers []vvol.ContainerID
	initiators []string
}

func (a *about) Invoke(ctx context.Context, _ string, req any) (any, error) {
	a.volumes, a.containers, a.initiators = a.p.Subjects(ctx, req)
	return nil, refuse(&wire.StorageFault{}, "enough is known")
}

// What requests are about, as they come over SOAP: by ids, however they are spelled, of
// hosts and of others.
func TestSubjects(t *testing.T) {
	l := newLab(t, func(o *Options) { o.Limits.Batch = 5 })
	esx, vc := l.host("esx1"), l.vcenter("11111111-1111-1111-1111-111111111111")
	fresh, center := l.issued("new"), l.issued("center")
	v, w := l.create("v", 1), l.create("w", 1)
	handles := l.handles(esx, v.ID.String(), w.ID.String())
	anonymous := handles[0]
	anonymous.UniqueIdentifier = nil
	foreign := anonymous
	foreign.VVolSecondaryID = "0xe2ffffffff"
	k := l.service.Containers()[0].ID
	nobody := vvol.ID{0xab}
	a, next := &about{p: l.Provider}, l.invoker
	l.Decorate(func(Invoker) Invoker { return a })
	defer l.Decorate(func(Invoker) Invoker { return next })
	call := func(c *vasatest.Client, q any, containers []vvol.ContainerID, volumes ...vvol.ID) {
		t.Helper()
		a.volumes, a.containers, a.initiators = nil, nil, []string{"nobody asked"}
		_, err := c.Call(t.Context(), q)
		require.ErrorContains(t, err, "enough is known")
		require.Equal(t, volumes, a.volumes)
		require.Equal(t, containers, a.containers)
	}
	meta := []wire.NameValuePair{{ParameterName: new("VMW_VVolNamespace"), ParameterValue: new(v.ID.String())}}
	in := []vvol.ContainerID{k}
	call(esx, &wire.CreateVirtualVolume{ContainerID: strings.ToUpper(k.String()), VVolType: wire.VirtualVolumeTypeData, SizeInMB: 1, Metadata: meta}, in)
	call(esx, &wire.CreateVirtualVolume{ContainerID: "ffffffff-0000-0000-0000-000000000000", VVolType: wire.VirtualVolumeTypeData, SizeInMB: 1, Metadata: meta}, nil)
	call(esx, &wire.ResizeVirtualVolume{VVolID: "rfc4122." + strings.ToUpper(v.ID.String()[8:]), SizeInMB: 2}, nil, v.ID)
	call(esx, &wire.CloneVirtualVolume{VVolID: v.ID.String(), NewContainerID: new(k.String()), Metadata: meta}, in, v.ID)
	call(esx, &wire.SnapshotVirtualVolume{SnapshotInfo: []wire.VirtualVolumeInfo{{VVolID: v.ID.String(), Metadata: meta}, {VVolID: nobody.String()}}}, nil, v.ID, nobody)
	call(esx, &wire.BindVirtualVolume{VVolID: []string{w.ID.String(), "no id", v.ID.String()}, BindContext: wire.BindContextNormal}, nil, w.ID, v.ID)
	call(esx, &wire.UnbindVirtualVolume{VVolHandle: []wire.VirtualVolumeHandle{anonymous, handles[1], foreign}, UnbindContext: wire.UnbindContextNormal}, nil, w.ID, v.ID)
	call(esx, &wire.QueryStorageContainer{ContainerID: []string{k.String()}}, in)
	call(esx, &wire.QueryComplianceResult{Compliance: []wire.ComplianceSubject{{ObjectID: []string{v.ID.String()}}}}, nil, v.ID)
	call(esx, &wire.QueryVirtualVolume{SearchConstraint: []wire.QueryConstraint{{Key: "VMW_VVolNamespace", Value: new(v.ID.String())}}}, nil)
	call(esx, &wire.QueryArrays{}, nil)
	require.Equal(t, []string{hostIQN("esx1")}, a.initiators)
	call(vc, &wire.UnbindVirtualVolume{VVolHandle: []wire.VirtualVolumeHandle{anonymous}, UnbindContext: wire.UnbindContextNormal}, nil)
	require.Empty(t, a.initiators)

	many := make([]string, 100)
	for i := range many {
		many[i] = v.ID.String()
	}
	_, err := esx.Call(t.Context(), &wire.BindVirtualVolume{VVolID: many, BindContext: wire.BindContextNormal})
	require.ErrorContains(t, err, "enough is known")
	require.Len(t, a.volumes, 8, "bounded")

	iscsi := []wire.HostInitiatorInfo{{ISCSIIdentifier: new("iqn.1998-01.com.vmware:ESX9")}}
	call(fresh, &wire.SetContext{UsageContext: &wire.UsageContext{HostGUID: new("564de1a4-9a99-da0f-8b7c-000000000009"), HostInitiator: iscsi}}, nil)
	require.Equal(t, []string{"iqn.1998-01.com.vmware:esx9"}, a.initiators, "the host that asks for a session")
	call(center, &wire.SetContext{UsageContext: &wire.UsageContext{VCGUID: new("564de1a4-9a99-da0f-8b7c-000000000009"), HostInitiator: iscsi}}, nil)
	require.Empty(t, a.initiators)
	volumes, containers, initiators := l.Subjects(t.Context(), &wire.UnbindVirtualVolume{VVolHandle: handles[:1]})
	require.Equal(t, []vvol.ID{v.ID}, volumes, "nobody calls")
	require.Empty(t, containers)
	require.Empty(t, initiators)
}
