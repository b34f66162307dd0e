package vasa

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/vasatest"
	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// bind binds for a client and gives the rows.
func (l *lab) bind(c *vasatest.Client, context wire.BindContext, ids ...string) []wire.BatchVirtualVolumeHandleResult {
	l.t.Helper()
	r, err := vasatest.Do[wire.BindVirtualVolumeResponse](l.t.Context(), c, &wire.BindVirtualVolume{VVolID: ids, BindContext: context, ContainerCookie: new("any")})
	require.NoError(l.t, err)
	require.Len(l.t, r.Return, len(ids))
	for i, row := range r.Return {
		require.Equal(l.t, ids[i], row.VVolID)
	}
	return r.Return
}

// handles binds for a client, which must succeed.
func (l *lab) handles(c *vasatest.Client, ids ...string) (list []wire.VirtualVolumeHandle) {
	l.t.Helper()
	for _, row := range l.bind(c, wire.BindContextNormal, ids...) {
		require.Nil(l.t, row.Fault, "%s", row.VVolID)
		list = append(list, *row.VVolHandle)
	}
	return list
}

// unbind unbinds for a client, and gives the faults' names by row.
func (l *lab) unbind(c *vasatest.Client, context wire.UnbindContext, handles ...wire.VirtualVolumeHandle) []string {
	l.t.Helper()
	r, err := vasatest.Do[wire.UnbindVirtualVolumeResponse](l.t.Context(), c, &wire.UnbindVirtualVolume{VVolHandle: handles, UnbindContext: context})
	require.NoError(l.t, err)
	return l.rowFaults(r.Return, len(handles))
}

func (l *lab) rowFaults(rows []wire.BatchReturnStatus, n int) (names []string) {
	l.t.Helper()
	require.Len(l.t, rows, n)
	for _, row := range rows {
		name := ""
		if row.ErrorResult != nil {
			name = faultName(l.t, row.ErrorResult.Error[0])
		}
		names = append(names, name)
	}
	return names
}

func faultName(t testing.TB, fault any) string {
	t.Helper()
	f, ok := fault.(wire.Fault)
	require.True(t, ok, "%T", fault)
	return wire.FaultName(f)
}

func (l *lab) bound() int { return len(l.service.Bindings(vvol.BindingFilter{})) }

// TestBind walks through a binding's life: handles are stable, hosts have their own, and
// what is bound cannot be deleted.
func TestBind(t *testing.T) {
	ctx, l := t.Context(), newLab(t, nil)
	a, b := l.host("a"), l.host("b")
	id, other := l.createdBy(a, "disk", 64), l.create("odd", 3).ID.String()
	rows := l.bind(a, wire.BindContextNormal, id, other)
	h := rows[0].VVolHandle
	require.Equal(t, id, *h.UniqueIdentifier)
	require.Equal(t, wire.ProtocolEndpointTypeSCSI, h.PEInBandID.ProtocolEndpointType)
	require.Regexp(t, "^naa\\.[0-9a-f]{32}$", *h.PEInBandID.LUNID)
	require.Regexp(t, "^0xe2[0-9a-f]{10}$", h.VVolSecondaryID)
	require.Equal(t, pairs("VMW_VVolName", "disk", "VMW_VVolType", "Data"), rows[0].VVolInfo.Metadata)
	require.EqualValues(t, 64, *rows[0].VVolLogicalSize)
	require.EqualValues(t, 3, *rows[1].VVolLogicalSize)
	require.Equal(t, rows, l.bind(a, wire.BindContextNormal, id, other), "bound already: the same handle")
	require.Equal(t, rows, l.bind(a, wire.BindContextRebindStart, id, other))
	require.Equal(t, []wire.VirtualVolumeHandle{*h, *h}, l.handles(a, id, id), "twice in one batch")
	require.Equal(t, 2, l.bound())
	theirs := l.handles(b, id)
	require.Equal(t, 3, l.bound())
	l.fault(a, "ResourceInUse", &wire.DeleteVirtualVolume{VVolID: id})

	upper := *h
	upper.PEInBandID.LUNID, upper.VVolSecondaryID = new(strings.ToUpper(*h.PEInBandID.LUNID)), "0X"+strings.ToUpper(h.VVolSecondaryID[2:])
	upper.UniqueIdentifier = nil
	require.Equal(t, []string{""}, l.unbind(a, wire.UnbindContextNormal, upper), "case does not count, and the handle is enough")
	require.Equal(t, []string{"NotFound"}, l.unbind(a, wire.UnbindContextNormal, *h), "taken back already")
	require.Equal(t, []string{""}, l.unbind(b, wire.UnbindContextNormal, theirs...))
	require.Equal(t, []string{""}, l.unbind(a, wire.UnbindContextNormal, *rows[1].VVolHandle))
	require.Zero(t, l.bound())
	_, err := a.Call(ctx, &wire.DeleteVirtualVolume{VVolID: id})
	require.NoError(t, err)
	require.NoError(t, l.service.Check(ctx))
}

// TestBindFaults tells the faults of a call from those of a row.
func TestBindFaults(t *testing.T) {
	ctx, l := t.Context(), newLab(t, func(o *Options) { o.Limits.Batch = 4 })
	a, vc := l.host("a"), l.vcenter("vc")
	id := l.create("disk", 8).ID
	second, err := l.service.CreateContainer(ctx, vvol.ContainerSpec{Name: "second", Size: 1 << 30})
	require.NoError(t, err)
	elsewhere, err := l.service.Create(ctx, vvol.CreateSpec{Container: second.ID.String(), Size: mib, Name: "elsewhere"})
	require.NoError(t, err)
	prepared, err := l.service.PrepareSnapshot(ctx, id, vvol.SnapshotSpec{})
	require.NoError(t, err)

	rows := l.bind(a, wire.BindContextNormal, absent, id.String(), prepared.ID.String(), "nonsense")
	for i, want := range []string{"NotFound", "", "NotFound", "InvalidArgument"} {
		if want == "" {
			require.Nil(t, rows[i].Fault)
			continue
		}
		require.Equal(t, want, faultName(t, rows[i].Fault))
		require.Nil(t, rows[i].VVolHandle)
		require.Nil(t, rows[i].VVolInfo)
		require.Nil(t, rows[i].VVolLogicalSize)
	}
	require.Equal(t, 1, l.bound())

	normal := wire.BindContextNormal
	l.fault(a, "InvalidArgument", &wire.BindVirtualVolume{VVolID: []string{absent, id.String(), elsewhere.ID.String()}, BindContext: normal})
	l.fault(a, "InvalidArgument", &wire.BindVirtualVolume{VVolID: []string{id.String()}, BindContext: "Sometimes"})
	l.fault(a, "InvalidArgument", &wire.BindVirtualVolume{VVolID: []string{id.String()}})
	l.fault(vc, "PermissionDenied", &wire.BindVirtualVolume{VVolID: []string{id.String()}, BindContext: normal})
	l.fault(l.issued("c"), "InvalidSession", &wire.BindVirtualVolume{VVolID: []string{id.String()}, BindContext: normal})
	_, err = a.Call(ctx, &wire.BindVirtualVolume{VVolID: make([]string, 5), BindContext: normal})
	f, ok := errors.AsType[*wire.SOAPFault](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, &wire.TooMany{MaxBatchSize: new(int64(4))}, f.Detail)
	require.Equal(t, 1, l.bound(), "a call that failed bound nothing")

	bare := l.issued("bare")
	_, err = bare.Call(ctx, &wire.SetContext{UsageContext: &wire.UsageContext{HostGUID: new(hostGUID("bare"))}})
	require.NoError(t, err)
	l.fault(bare, "InvalidArgument", &wire.BindVirtualVolume{VVolID: []string{id.String()}, BindContext: normal})
}

// TestBindNeedsEndpoint refuses a host that sees only what other arrays have.
func TestBindNeedsEndpoint(t *testing.T) {
	l := newLab(t, nil)
	a, id := l.host("a"), l.create("disk", 8).ID.String()
	see := func(names ...string) {
		q := &wire.SetPEContext{}
		for _, n := range names {
			q.ListOfHostPE = append(q.ListOfHostPE, inBand(n))
		}
		_, err := a.Call(t.Context(), q)
		require.NoError(t, err)
	}
	foreign := "naa.6f47acc2000000016a67746700000000"
	see(foreign)
	l.fault(a, "InvalidArgument", &wire.BindVirtualVolume{VVolID: []string{id}, BindContext: wire.BindContextNormal})
	see(foreign, strings.ToUpper(string(l.service.Endpoints()[0].ID)))
	l.handles(a, id)
}

// TestRebind goes the way of vasa.md 8.4: the handle that the host has after a rebind is
// the one that it had before, and its end must not take it away.
func TestRebind(t *testing.T) {
	l := newLab(t, nil)
	a, id := l.host("a"), l.create("disk", 8).ID.String()
	h := l.handles(a, id)[0]
	require.Equal(t, []string{""}, l.unbind(a, wire.UnbindContextRebindStart, h))
	require.Equal(t, 1, l.bound(), "I/O may go on")
	now := l.bind(a, wire.BindContextRebindStart, id)[0].VVolHandle
	require.Equal(t, []string{""}, l.unbind(a, wire.UnbindContextRebindEnd, h))
	require.Equal(t, []wire.VirtualVolumeHandle{*now}, l.handles(a, id))
	require.Equal(t, []string{""}, l.unbind(a, wire.UnbindContextNormal, h))
	require.Equal(t, []string{""}, l.unbind(a, wire.UnbindContextRebindEnd, h), "what is gone has ended")
	require.Equal(t, []string{"NotFound"}, l.unbind(a, wire.UnbindContextRebindStart, h))
	require.Zero(t, l.bound())
}

// TestTwinsBind gives two hosts with one hostGuid their own bindings: what one does reaches
// none of the other's.
func TestTwinsBind(t *testing.T) {
	ctx, l := t.Context(), newLab(t, nil)
	a, twin := l.host("a"), l.issued("twin")
	id := l.create("disk", 8).ID
	had := l.handles(a, id.String())
	usage := usageOf("twin")
	usage.HostGUID = new(hostGUID("a"))
	_, err := twin.Call(ctx, &wire.SetContext{UsageContext: usage})
	require.NoError(t, err)
	l.handles(twin, id.String())
	require.Equal(t, had, l.handles(a, id.String()), "not the twin's")
	all := l.service.Bindings(vvol.BindingFilter{})
	require.Len(t, all, 2)
	require.Equal(t, []string{hostIQN("a")}, l.service.BindingInitiators(all[0]))
	require.Equal(t, []string{hostIQN("twin")}, l.service.BindingInitiators(all[1]))
	_, err = twin.Call(ctx, &wire.UnbindAllVirtualVolumesFromHost{})
	require.NoError(t, err)
	require.Equal(t, all[:1], l.service.Bindings(vvol.BindingFilter{}))

	// One that claims the initiator of a host with bindings gets none.
	usage.HostGUID, usage.HostInitiator[0].ISCSIIdentifier = new(hostGUID("thief")), new(hostIQN("a"))
	_, err = twin.Call(ctx, &wire.SetContext{UsageContext: usage})
	require.NoError(t, err)
	l.fault(twin, "PermissionDenied", &wire.BindVirtualVolume{VVolID: []string{id.String()}, BindContext: wire.BindContextNormal})
	require.Equal(t, []string{"NotFound"}, l.unbind(twin, wire.UnbindContextNormal, had...))
	_, err = twin.Call(ctx, &wire.UnbindAllVirtualVolumesFromHost{})
	require.NoError(t, err)
	require.Equal(t, all[:1], l.service.Bindings(vvol.BindingFilter{}))
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Len(t, l.conflicts, 2)
}

// TestSeveralInitiators binds for all of a host's initiators at once.
func TestSeveralInitiators(t *testing.T) {
	ctx, l := t.Context(), newLab(t, nil)
	a, id := l.issued("a"), l.create("disk", 8).ID
	usage := usageOf("a")
	usage.HostInitiator = append(usage.HostInitiator, wire.HostInitiatorInfo{ISCSIIdentifier: new(strings.ToUpper(hostIQN("b")))})
	// Both were seen before, and one has a binding: it is the host's.
	require.NoError(t, l.service.SawInitiator(ctx, hostIQN("a")))
	before, err := l.service.Bind(ctx, id, hostIQN("b"))
	require.NoError(t, err)
	_, err = a.Call(ctx, &wire.SetContext{UsageContext: usage})
	require.NoError(t, err)
	h := l.handles(a, id.String())
	all := l.service.Bindings(vvol.BindingFilter{})
	require.Len(t, all, 1)
	require.Equal(t, before.ID, all[0].ID)
	require.ElementsMatch(t, []string{hostIQN("a"), hostIQN("b")}, l.service.BindingInitiators(all[0]))
	require.Equal(t, []string{""}, l.unbind(a, wire.UnbindContextNormal, h...))
	require.Zero(t, l.bound())
}

// TestUnbindFaults tells foreign and broken handles by row.
func TestUnbindFaults(t *testing.T) {
	l := newLab(t, func(o *Options) { o.Limits.Batch = 5 })
	a, b := l.host("a"), l.host("b")
	id := l.create("disk", 8).ID.String()
	h := l.handles(a, id)[0]
	change := func(f func(*wire.VirtualVolumeHandle)) wire.VirtualVolumeHandle {
		x := h
		f(&x)
		return x
	}
	bad := []wire.VirtualVolumeHandle{
		change(func(x *wire.VirtualVolumeHandle) { x.UniqueIdentifier = new(absent) }),
		change(func(x *wire.VirtualVolumeHandle) { x.UniqueIdentifier = new("nonsense") }),
		change(func(x *wire.VirtualVolumeHandle) { x.VVolSecondaryID = "" }),
		change(func(x *wire.VirtualVolumeHandle) { x.PEInBandID.LUNID = nil }),
		change(func(x *wire.VirtualVolumeHandle) { x.PEInBandID.ProtocolEndpointType = "NFS" }),
	}
	require.Equal(t, []string{"NotFound", "InvalidArgument", "NotFound", "NotFound", "NotFound"}, l.unbind(a, wire.UnbindContextNormal, bad...))
	require.Equal(t, []string{"NotFound"}, l.unbind(b, wire.UnbindContextNormal, h), "another host's")
	normal := wire.UnbindContextNormal
	l.fault(a, "TooMany", &wire.UnbindVirtualVolume{VVolHandle: slices.Repeat(bad[:1], 6), UnbindContext: normal})
	l.fault(a, "InvalidArgument", &wire.UnbindVirtualVolume{VVolHandle: bad[:1], UnbindContext: "Sometimes"})
	l.fault(l.vcenter("vc"), "InvalidArgument", &wire.UnbindVirtualVolume{VVolHandle: []wire.VirtualVolumeHandle{h}, UnbindContext: normal})
	require.Equal(t, 1, l.bound())
}

// TestUnbindFromAllHosts frees a VVol of all hosts, at anybody's wish.
func TestUnbindFromAllHosts(t *testing.T) {
	l := newLab(t, func(o *Options) { o.Limits.Batch = 3 })
	a, b, vc := l.host("a"), l.host("b"), l.vcenter("vc")
	one, two := l.create("one", 8).ID.String(), l.create("two", 8).ID.String()
	l.handles(a, one, two)
	l.handles(b, one)
	unbindAll := func(ids ...string) []string {
		t.Helper()
		r, err := vasatest.Do[wire.UnbindVirtualVolumeFromAllHostResponse](t.Context(), vc, &wire.UnbindVirtualVolumeFromAllHost{VVolID: ids})
		require.NoError(t, err)
		return l.rowFaults(r.Return, len(ids))
	}
	require.Equal(t, []string{"", "NotFound", "InvalidArgument"}, unbindAll(one, absent, ""))
	require.Equal(t, 1, l.bound())
	require.Equal(t, []string{"", ""}, unbindAll(one, two))
	require.Zero(t, l.bound())
	l.fault(vc, "TooMany", &wire.UnbindVirtualVolumeFromAllHost{VVolID: make([]string, 4)})
}

// TestHostReboot drops what a host had when it says so, and not when its session ends.
func TestHostReboot(t *testing.T) {
	ctx, l := t.Context(), newLab(t, nil)
	a, b := l.host("a"), l.host("b")
	one, two := l.create("one", 8).ID.String(), l.create("two", 8).ID.String()
	had := l.handles(a, one, two)
	l.handles(b, one)
	l.passes(DefaultSessionTimeout + time.Second)
	l.fault(a, "InvalidSession", &wire.UnbindAllVirtualVolumesFromHost{})
	require.Equal(t, 3, l.bound(), "I/O goes on without a session")
	again := l.host("a")
	require.Equal(t, had, l.handles(again, one, two))
	_, err := again.Call(ctx, &wire.UnbindAllVirtualVolumesFromHost{})
	require.NoError(t, err)
	require.Equal(t, 1, l.bound(), "those of others stay")
	_, err = again.Call(ctx, &wire.UnbindAllVirtualVolumesFromHost{HostUUID: new("")})
	require.NoError(t, err, "nothing is left, which is no error")
	require.Equal(t, 1, l.bound())
	vc := l.vcenter("vc")
	l.fault(vc, "InvalidArgument", &wire.UnbindAllVirtualVolumesFromHost{})
	l.fault(vc, "NotFound", &wire.UnbindAllVirtualVolumesFromHost{HostUUID: new("564de1a4-9a99-da0f-8b7c-000000000000")})
	l.fault(vc, "NotFound", &wire.UnbindAllVirtualVolumesFromHost{HostUUID: new("vc")})
	_, err = vc.Call(ctx, &wire.UnbindAllVirtualVolumesFromHost{HostUUID: new(strings.ToUpper(hostGUID("b")))})
	require.NoError(t, err)
	require.Zero(t, l.bound())
	require.NoError(t, l.service.Check(ctx))
}

// TestBindingChange checks its arguments and changes nothing.
func TestBindingChange(t *testing.T) {
	ctx, l := t.Context(), newLab(t, func(o *Options) { o.Limits.Batch = 3 })
	a := l.host("a")
	l.host("b")
	id := l.create("one", 8).ID.String()
	l.handles(a, id)
	dest := hostGUID("b")
	r, err := vasatest.Do[wire.PrepareForBindingChangeResponse](ctx, a, &wire.PrepareForBindingChange{VVolID: []string{id}, DestHostID: dest})
	require.NoError(t, err)
	require.Empty(t, l.made(r.Return))
	done, err := vasatest.Do[wire.BindingChangeCompleteResponse](ctx, a, &wire.BindingChangeComplete{VVolID: []string{id, absent}})
	require.NoError(t, err)
	require.Equal(t, []string{"", "NotFound"}, l.rowFaults(done.Return, 2))
	cancelled, err := vasatest.Do[wire.CancelBindingChangeResponse](ctx, a, &wire.CancelBindingChange{VVolID: []string{"x", id}})
	require.NoError(t, err)
	require.Equal(t, []string{"InvalidArgument", ""}, l.rowFaults(cancelled.Return, 2))
	require.Equal(t, 1, l.bound())
	for _, x := range []struct {
		fault   string
		request any
	}{
		{"InvalidArgument", &wire.PrepareForBindingChange{VVolID: []string{id}}},
		{"InvalidArgument", &wire.PrepareForBindingChange{VVolID: []string{"x"}, DestHostID: dest}},
		{"InvalidArgument", &wire.PrepareForBindingChange{VVolID: make([]string, 4), DestHostID: dest}},
		{"NotFound", &wire.PrepareForBindingChange{VVolID: []string{absent}, DestHostID: dest}},
		{"NotFound", &wire.PrepareForBindingChange{VVolID: []string{id}, DestHostID: "nobody"}},
		{"InvalidArgument", &wire.BindingChangeComplete{VVolID: make([]string, 4)}},
	} {
		l.fault(a, x.fault, x.request)
	}
}

// TestBindingListsMissing sends what the encoder does not: requests without their list.
func TestBindingListsMissing(t *testing.T) {
	l := newLab(t, nil)
	a := l.host("a")
	for op, rest := range map[string]string{"bindVirtualVolume": "<s:bindContext>Normal</s:bindContext>", "unbindVirtualVolume": "<s:unbindContext>Normal</s:unbindContext>",
		"unbindVirtualVolumeFromAllHost": "", "prepareForBindingChange": "<s:destHostId>" + hostGUID("a") + "</s:destHostId>", "bindingChangeComplete": "", "cancelBindingChange": ""} {
		body := `<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><s:` + op + ` xmlns:s="http://com.vmware.vim.vasa/2.0/xsd">` + rest + `</s:` + op + `></e:Body></e:Envelope>`
		answer, status, err := a.Post(t.Context(), "urn:"+op, []byte(body))
		require.NoError(t, err)
		require.Equal(t, http.StatusInternalServerError, status, op)
		require.Contains(t, string(answer), "InvalidArgument", op)
	}
}

// TestInParallel works on each item once, and a panic stays with its item.
func TestInParallel(t *testing.T) {
	panics := atomic.Int32{}
	l := newLab(t, func(o *Options) { o.Events.Panic = func(Call, any, []byte) { panics.Add(1) } })
	counts := make([]atomic.Int32, 100)
	errs := l.inParallel(&caller{}, len(counts), func(i int) error {
		counts[i].Add(1)
		if i == 7 {
			panic("boom")
		}
		return nil
	})
	for i := range counts {
		require.EqualValues(t, 1, counts[i].Load())
		require.Equal(t, i == 7, errs[i] != nil)
	}
	require.EqualValues(t, 1, panics.Load())
	require.Empty(t, l.inParallel(&caller{}, 0, func(int) error { return errors.New("called") }))
}

// TestBindFails tells what the data path refuses in the row, and keeps no binding of it.
func TestBindFails(t *testing.T) {
	e := &refusing{endpoints: newEndpoints(1)}
	l := newLabWith(t, e, nil)
	a := l.host("a")
	one, two := l.create("one", 8).ID, l.create("two", 8).ID
	e.refuse.Store(&one)
	rows := l.bind(a, wire.BindContextNormal, one.String(), two.String())
	require.Equal(t, "StorageFault", faultName(t, rows[0].Fault))
	require.Nil(t, rows[1].Fault)
	require.Equal(t, 1, l.bound())
	e.refuse.Store(nil)
	l.handles(a, one.String())
}

// refusing is a data path that does not attach one volume.
type refusing struct {
	*endpoints
	refuse atomic.Pointer[vvol.ID]
}

func (r *refusing) Attach(ctx context.Context, b vvol.Binding, v vvol.VirtualVolume, initiators []string) error {
	if id := r.refuse.Load(); id != nil && *id == v.ID {
		return errors.New("no way to it")
	}
	return r.endpoints.Attach(ctx, b, v, initiators)
}
