package vasa

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/policy"
	"vvsim/vasa/vasatest"
	"vvsim/vasa/wire"
	"vvsim/vvol"
	"vvsim/vvol/store"
)

func pairs(kv ...string) (list []wire.NameValuePair) {
	for i := 0; i < len(kv); i += 2 {
		list = append(list, wire.NameValuePair{ParameterName: new(kv[i]), ParameterValue: new(kv[i+1])})
	}
	return list
}

const absent = "rfc4122.269d3378-1ca6-4175-a18f-6d4839e5c746"

// made is the volume that a task has as its result.
func (l *lab) made(t wire.TaskInfo) string {
	l.t.Helper()
	require.Equal(l.t, wire.TaskStateSuccess, t.TaskState, "%+v", t)
	require.EqualValues(l.t, 100, t.Progress)
	again, err := l.service.Task(t.TaskID)
	require.NoError(l.t, err)
	require.Equal(l.t, t, l.taskInfo(context.Background(), again))
	id, _ := t.Result.(string)
	return id
}

func (l *lab) createdBy(c *vasatest.Client, name string, mb int64) string {
	l.t.Helper()
	r, err := vasatest.Do[wire.CreateVirtualVolumeResponse](l.t.Context(), c, &wire.CreateVirtualVolume{ContainerID: l.containerID(),
		VVolType: wire.VirtualVolumeTypeData, SizeInMB: mb, Metadata: pairs("VMW_VVolType", "Data", "VMW_VVolName", name)})
	require.NoError(l.t, err)
	require.Equal(l.t, "createVirtualVolume", r.Return.Name)
	return l.made(r.Return)
}

func (l *lab) containerID() string { return l.service.Containers()[0].ID.String() }

func TestLifeCycle(t *testing.T) {
	ctx, l := t.Context(), newLab(t, nil)
	c := l.host("a")
	id := l.createdBy(c, "disk.vmdk", 64)
	v, err := l.volume(id)
	require.NoError(t, err)
	require.Equal(t, "disk.vmdk", v.Name)
	require.EqualValues(t, 64*mib, v.Size)
	l.write(v.ID, 0, 'a')

	info, err := vasatest.Do[wire.QueryVirtualVolumeInfoResponse](ctx, c, &wire.QueryVirtualVolumeInfo{VVolID: []string{absent, id, "nonsense"}})
	require.NoError(t, err)
	require.Len(t, info.Return, 1)
	require.Equal(t, pairs("VMW_VVolName", "disk.vmdk", "VMW_VVolType", "Data"), info.Return[0].Metadata)
	stats, err := vasatest.Do[wire.SpaceStatsForVirtualVolumeResponse](ctx, c, &wire.SpaceStatsForVirtualVolume{VVolID: []string{id, absent}})
	require.NoError(t, err)
	require.Equal(t, []wire.SpaceStats{{ObjectID: id, Logical: 64, Committed: 1}}, stats.Return)

	grown, err := vasatest.Do[wire.ResizeVirtualVolumeResponse](ctx, c, &wire.ResizeVirtualVolume{VVolID: id, SizeInMB: 128})
	require.NoError(t, err)
	require.Empty(t, l.made(grown.Return))
	same, err := vasatest.Do[wire.ResizeVirtualVolumeResponse](ctx, c, &wire.ResizeVirtualVolume{VVolID: id, SizeInMB: 128})
	require.NoError(t, err)
	l.made(same.Return)
	require.NotEqual(t, grown.Return.TaskID, same.Return.TaskID)

	clone, err := vasatest.Do[wire.CloneVirtualVolumeResponse](ctx, c, &wire.CloneVirtualVolume{VVolID: id, Metadata: pairs("VMW_VVolName", "clone")})
	require.NoError(t, err)
	fast, err := vasatest.Do[wire.FastCloneVirtualVolumeResponse](ctx, c, &wire.FastCloneVirtualVolume{VVolID: id, Metadata: pairs("VMW_VVolName", "fast")})
	require.NoError(t, err)
	for _, made := range []string{l.made(clone.Return), l.made(fast.Return)} {
		_, err := c.Call(ctx, &wire.DeleteVirtualVolume{VVolID: made})
		require.NoError(t, err)
		l.fault(c, "NotFound", &wire.DeleteVirtualVolume{VVolID: made})
	}
	_, err = l.service.Bind(ctx, v.ID, hostIQN("a"))
	require.NoError(t, err)
	l.fault(c, "ResourceInUse", &wire.DeleteVirtualVolume{VVolID: id})
	require.NoError(t, l.service.Unbind(ctx, v.ID, hostIQN("a")))
	_, err = c.Call(ctx, &wire.DeleteVirtualVolume{VVolID: id})
	require.NoError(t, err)
	require.NoError(t, l.service.Check(ctx))
}

func TestBadVolumeArguments(t *testing.T) {
	l := newLab(t, nil)
	c := l.host("a")
	id, k := l.createdBy(c, "disk", 8), l.containerID()
	create := func(change func(*wire.CreateVirtualVolume)) *wire.CreateVirtualVolume {
		q := &wire.CreateVirtualVolume{ContainerID: k, VVolType: wire.VirtualVolumeTypeData, SizeInMB: 8, Metadata: pairs("k", "v")}
		change(q)
		return q
	}
	before := len(l.service.VVols(vvol.Filter{}))
	for _, x := range []struct {
		fault   string
		request any
	}{
		{"InvalidArgument", create(func(q *wire.CreateVirtualVolume) { q.ContainerID = "" })},
		{"InvalidArgument", create(func(q *wire.CreateVirtualVolume) { q.ContainerID = "vvol:x" })},
		{"NotFound", create(func(q *wire.CreateVirtualVolume) { q.ContainerID = strings.TrimPrefix(absent, "rfc4122.") })},
		{"InvalidArgument", create(func(q *wire.CreateVirtualVolume) { q.VVolType = "Disk" })},
		{"InvalidArgument", create(func(q *wire.CreateVirtualVolume) { q.SizeInMB = 0 })},
		{"InvalidArgument", create(func(q *wire.CreateVirtualVolume) { q.SizeInMB = -1 })},
		{"InvalidArgument", create(func(q *wire.CreateVirtualVolume) { q.SizeInMB = 1 << 62 })},
		{"InvalidArgument", create(func(q *wire.CreateVirtualVolume) { q.Metadata = []wire.NameValuePair{{}} })},
		{"InvalidArgument", create(func(q *wire.CreateVirtualVolume) { q.Metadata = pairs("k", strings.Repeat("x", 1<<20)) })},
		{"NotFound", &wire.CloneVirtualVolume{VVolID: absent, Metadata: pairs("k", "v")}},
		{"InvalidArgument", &wire.CloneVirtualVolume{VVolID: "", Metadata: pairs("k", "v")}},
		{"InvalidArgument", &wire.CloneVirtualVolume{VVolID: id, NewContainerID: new("x"), Metadata: pairs("k", "v")}},
		{"NotFound", &wire.FastCloneVirtualVolume{VVolID: absent, Metadata: pairs("k", "v")}},
		{"NotFound", &wire.CopyDiffsToVirtualVolume{SrcVVolID: id, SrcBaseVVolID: absent, DstVVolID: id}},
		{"InvalidArgument", &wire.CopyDiffsToVirtualVolume{SrcVVolID: id, SrcBaseVVolID: id, DstVVolID: id}},
		{"NotFound", &wire.ResizeVirtualVolume{VVolID: absent, SizeInMB: 8}},
		{"InvalidArgument", &wire.ResizeVirtualVolume{VVolID: id}},
		{"InvalidArgument", &wire.DeleteVirtualVolume{VVolID: "269d3378-1ca6-4175-a18f-6d4839e5c746"}},
		{"NotFound", &wire.UpdateVirtualVolumeMetaData{VVolID: absent, KeyValuePair: pairs("k", "v")}},
		{"InvalidArgument", &wire.UpdateVirtualVolumeMetaData{VVolID: id, KeyValuePair: pairs("", "v")}},
		{"InvalidArgument", &wire.QueryVirtualVolume{SearchConstraint: []wire.QueryConstraint{{}}}},
		{"TooMany", &wire.QueryVirtualVolumeInfo{VVolID: make([]string, DefaultBatch+1)}},
		{"NotFound", &wire.RevertVirtualVolume{VVolID: id, SnapshotVVolID: absent}},
		{"IncompatibleVolume", &wire.RevertVirtualVolume{VVolID: id, SnapshotVVolID: id}},
		{"NotFound", &wire.PrepareToSnapshotVirtualVolume{VVolID: absent, SnapType: wire.SnapTypeSnapshotReadOnly}},
		{"InvalidArgument", &wire.PrepareToSnapshotVirtualVolume{VVolID: id, SnapType: "Frozen"}},
		{"InvalidArgument", &wire.SnapshotVirtualVolume{SnapshotInfo: []wire.VirtualVolumeInfo{{VVolID: id}}}},
		{"NotFound", &wire.AllocatedBitmapVirtualVolume{VVolID: absent, SegmentLengthBytes: 1, ChunkSizeBytes: 1}},
		{"InvalidArgument", &wire.AllocatedBitmapVirtualVolume{VVolID: id, SegmentLengthBytes: 8*mib + 1, ChunkSizeBytes: mib}},
		{"InvalidArgument", &wire.AllocatedBitmapVirtualVolume{VVolID: id, SegmentStartOffsetBytes: -1, SegmentLengthBytes: 1, ChunkSizeBytes: 1}},
		{"InvalidArgument", &wire.AllocatedBitmapVirtualVolume{VVolID: id, SegmentLengthBytes: 8 * mib}},
		{"IncompatibleVolume", &wire.UnsharedBitmapVirtualVolume{VVolID: id, BaseVVolID: l.create("other", 8).ID.String(), SegmentStartOffsetBytes: -1}},
		{"NotFound", &wire.UnsharedChunksVirtualVolume{VVolID: id, BaseVVolID: new(absent), SegmentLengthBytes: 1}},
	} {
		l.fault(c, x.fault, x.request)
	}
	require.Len(t, l.service.VVols(vvol.Filter{}), before+1, "the other volume alone")
}

func TestMetadata(t *testing.T) {
	ctx, l := t.Context(), newLab(t, nil)
	c := l.host("a")
	id, other := l.createdBy(c, "x", 8), l.createdBy(c, "y", 8)
	find := func(constraints ...wire.QueryConstraint) []string {
		r, err := vasatest.Do[wire.QueryVirtualVolumeResponse](ctx, c, &wire.QueryVirtualVolume{SearchConstraint: constraints})
		require.NoError(t, err)
		return r.Return
	}
	is := func(k, v string) wire.QueryConstraint { return wire.QueryConstraint{Key: k, Value: &v} }
	require.Equal(t, []string{id, other}, find(is("VMW_VVolType", "Data")))
	require.Equal(t, []string{id}, find(is("VMW_VVolType", "Data"), is("VMW_VVolName", "x")))
	require.Empty(t, find(is("VMW_VVolName", "x"), is("VMW_VVolName", "y")))
	require.Empty(t, find(is("VMW_VvolType", "Data")), "keys are case-sensitive")
	update := pairs("VMW_VmID", "502e", "VMW_VVolName", "renamed", "empty", "")
	update = append(update, wire.NameValuePair{ParameterName: new("VMW_VVolType")})
	_, err := c.Call(ctx, &wire.UpdateVirtualVolumeMetaData{VVolID: id, KeyValuePair: update})
	require.NoError(t, err)
	require.Equal(t, []string{id}, find(wire.QueryConstraint{Key: "VMW_VmID"}))
	require.Equal(t, []string{id}, find(is("empty", "")), "an empty value is not a missing one")
	require.Equal(t, []string{other}, find(wire.QueryConstraint{Key: "VMW_VVolType"}))
	v, err := l.service.Find("renamed")
	require.NoError(t, err)
	require.Equal(t, id, v.ID.String())
}

// TestSnapshots are prepared, taken at one instant, reverted to and given up.
func TestSnapshots(t *testing.T) {
	ctx, l := t.Context(), newLab(t, nil)
	c := l.host("a")
	var ids, snaps []string
	for _, name := range []string{"x", "y"} {
		id := l.createdBy(c, name, 8)
		v, err := l.volume(id)
		require.NoError(t, err)
		l.write(v.ID, 0, 'a')
		r, err := vasatest.Do[wire.PrepareToSnapshotVirtualVolumeResponse](ctx, c, &wire.PrepareToSnapshotVirtualVolume{VVolID: id, SnapType: wire.SnapTypeSnapshotReadOnly})
		require.NoError(t, err)
		l.made(r.Return)
		result := r.Return.Result.(*wire.PrepareSnapshotResult)
		require.Equal(t, id, result.ParentInfo.VVolID)
		require.EqualValues(t, 1, result.ParentStats.Committed)
		ids, snaps = append(ids, id), append(snaps, result.SnapshotID)
	}
	found, err := vasatest.Do[wire.QueryVirtualVolumeInfoResponse](ctx, c, &wire.QueryVirtualVolumeInfo{VVolID: snaps})
	require.NoError(t, err)
	require.Empty(t, found.Return, "prepared snapshots are not there yet")
	set := func(ids ...string) *wire.SnapshotVirtualVolume {
		q := &wire.SnapshotVirtualVolume{TimeoutMS: 10_000}
		for _, id := range ids {
			q.SnapshotInfo = append(q.SnapshotInfo, wire.VirtualVolumeInfo{VVolID: id, Metadata: pairs("VMW_VVolName", "snap")})
		}
		return q
	}
	r, err := vasatest.Do[wire.SnapshotVirtualVolumeResponse](ctx, c, set(snaps[0], absent))
	require.NoError(t, err)
	require.Equal(t, &wire.StorageFault{FaultMessageID: new(storageFaultMessage)}, r.Return[0].ErrorResult.Error[0], "all or none")
	require.Equal(t, &wire.NotFound{}, r.Return[1].ErrorResult.Error[0])
	r, err = vasatest.Do[wire.SnapshotVirtualVolumeResponse](ctx, c, set(snaps...))
	require.NoError(t, err)
	for i := range r.Return {
		require.Equal(t, wire.BatchReturnStatus{UniqueID: snaps[i]}, r.Return[i])
	}
	l.fault(c, "IncompatibleVolume", &wire.RevertVirtualVolume{VVolID: ids[0], SnapshotVVolID: snaps[1]})
	reverted, err := vasatest.Do[wire.RevertVirtualVolumeResponse](ctx, c, &wire.RevertVirtualVolume{VVolID: ids[0], SnapshotVVolID: snaps[0]})
	require.NoError(t, err)
	require.Nil(t, reverted.Return.Result)
	l.fault(c, "NotSupported", &wire.ResizeVirtualVolume{VVolID: snaps[0], SizeInMB: 16})

	last, err := vasatest.Do[wire.PrepareToSnapshotVirtualVolumeResponse](ctx, c, &wire.PrepareToSnapshotVirtualVolume{VVolID: ids[0], SnapType: wire.SnapTypeSnapshotReadWrite})
	require.NoError(t, err)
	_, err = c.Call(ctx, &wire.DeleteVirtualVolume{VVolID: last.Return.Result.(*wire.PrepareSnapshotResult).SnapshotID})
	require.NoError(t, err, "given up")
	require.NoError(t, l.service.Check(ctx))
}

// TestSnapshotAccess: whether a snapshot takes writes is what snapType says, or what the
// knob does. Snap types and container cookies that clients send are in the trace.
func TestSnapshotAccess(t *testing.T) {
	l := newLab(t, nil)
	c := l.host("a")
	id := l.createdBy(c, "x", 8)
	for _, x := range []struct {
		knob     SnapshotAccess
		asked    wire.SnapType
		writable bool
	}{
		{"", wire.SnapTypeSnapshotReadOnly, false}, {"", wire.SnapTypeSnapshotReadWrite, true},
		{SnapshotsAsAsked, wire.SnapTypeSnapshotReadOnly, false}, {SnapshotsAsAsked, wire.SnapTypeSnapshotReadWrite, true},
		{SnapshotsReadOnly, wire.SnapTypeSnapshotReadOnly, false}, {SnapshotsReadOnly, wire.SnapTypeSnapshotReadWrite, false},
		{SnapshotsWritable, wire.SnapTypeSnapshotReadOnly, true}, {SnapshotsWritable, wire.SnapTypeSnapshotReadWrite, true},
	} {
		l.set(Knobs{Snapshots: x.knob})
		p := do[wire.PrepareToSnapshotVirtualVolumeResponse](l, c, &wire.PrepareToSnapshotVirtualVolume{VVolID: id, SnapType: x.asked, ContainerCookie: new("a cookie")})
		snap := p.Return.Result.(*wire.PrepareSnapshotResult).SnapshotID
		do[wire.SnapshotVirtualVolumeResponse](l, c, &wire.SnapshotVirtualVolume{TimeoutMS: 10_000,
			SnapshotInfo: []wire.VirtualVolumeInfo{{VVolID: snap, Metadata: pairs("VMW_VVolName", "snap")}}})
		v, err := l.volume(snap)
		require.NoError(t, err)
		require.Equal(t, !x.writable, v.ReadOnly, "%+v", x)
		o, err := l.engine.Open(t.Context(), store.ID(v.ID))
		require.NoError(t, err)
		err = o.WriteAt(t.Context(), make([]byte, 4096), 0, store.WriteOptions{})
		require.Equal(t, x.writable, err == nil, "%+v: %v", x, err)
		require.NoError(t, o.Close())
	}
	traced := map[string]int{}
	for _, e := range l.Trace() {
		if e.Operation == "prepareToSnapshotVirtualVolume" {
			traced[e.Kind+" "+e.Text] += e.Count
		}
	}
	require.Equal(t, map[string]int{"SnapType SnapshotReadOnly": 4, "SnapType SnapshotReadWrite": 4, "ContainerCookie a cookie": 8}, traced)
}

func TestBitmaps(t *testing.T) {
	ctx, l := t.Context(), newLab(t, nil)
	c := l.host("a")
	v := l.create("x", 8)
	id := v.ID.String()
	l.write(v.ID, 0, 'a')
	l.write(v.ID, 2*mib-4096, 'b')
	snap, err := l.service.Snapshot(ctx, v.ID, vvol.SnapshotSpec{})
	require.NoError(t, err)
	l.write(v.ID, 5*mib, 'c')
	allocated := func(from, length, chunk int64) []byte {
		r, err := vasatest.Do[wire.AllocatedBitmapVirtualVolumeResponse](ctx, c, &wire.AllocatedBitmapVirtualVolume{VVolID: id,
			SegmentStartOffsetBytes: from, SegmentLengthBytes: length, ChunkSizeBytes: chunk})
		require.NoError(t, err)
		return r.Return.ChunkBitmap
	}
	require.Equal(t, []byte{0b0010_0011}, allocated(0, 8*mib, mib))
	require.Equal(t, []byte{0b10, 0b1}, allocated(mib, 4*mib+1, mib/2))
	diff, err := vasatest.Do[wire.UnsharedBitmapVirtualVolumeResponse](ctx, c, &wire.UnsharedBitmapVirtualVolume{VVolID: id, BaseVVolID: snap.ID.String(),
		SegmentLengthBytes: 8 * mib, ChunkSizeBytes: mib})
	require.NoError(t, err)
	require.Equal(t, []byte{0b0010_0000}, diff.Return.ChunkBitmap)
	chunks, err := vasatest.Do[wire.UnsharedChunksVirtualVolumeResponse](ctx, c, &wire.UnsharedChunksVirtualVolume{VVolID: id, BaseVVolID: new(snap.ID.String()), SegmentLengthBytes: 8 * mib})
	require.NoError(t, err)
	require.Equal(t, wire.VirtualVolumeUnsharedChunksResult{ChunkSizeBytes: ownChunk, ScannedChunks: 8 * mib / ownChunk, UnsharedChunks: 1}, chunks.Return)
	l.set(Knobs{MSBFirst: true})
	require.Equal(t, []byte{0b1100_0100}, allocated(0, 8*mib, mib))

	large := l.create("large", maxChunks/mib+1).ID.String() // MB, of chunks of a byte
	q := &wire.AllocatedBitmapVirtualVolume{VVolID: large, SegmentLengthBytes: maxChunks, ChunkSizeBytes: 1}
	r, err := vasatest.Do[wire.AllocatedBitmapVirtualVolumeResponse](ctx, c, q)
	require.NoError(t, err)
	require.Equal(t, make([]byte, maxChunks/8), r.Return.ChunkBitmap)
	q.SegmentLengthBytes++
	l.fault(c, "InvalidArgument", q)

	huge := l.create("huge", 3<<20) // what is counted only, in chunks that the client does not choose, has no such bound
	l.write(huge.ID, 3<<40-4096, 'd')
	chunks, err = vasatest.Do[wire.UnsharedChunksVirtualVolumeResponse](ctx, c, &wire.UnsharedChunksVirtualVolume{VVolID: huge.ID.String(), SegmentLengthBytes: 3 << 40})
	require.NoError(t, err)
	require.Equal(t, wire.VirtualVolumeUnsharedChunksResult{ChunkSizeBytes: ownChunk, ScannedChunks: 3 << 40 / ownChunk, UnsharedChunks: 1}, chunks.Return)
}

// TestWholeMB: sizes that are not of whole MB, as the API makes them, are told rounded up.
func TestWholeMB(t *testing.T) {
	ctx, l := t.Context(), newLab(t, nil)
	h := l.host("a")
	v, err := l.service.Create(ctx, vvol.CreateSpec{Container: "default", Size: mib + 4096, Name: "odd"})
	require.NoError(t, err)
	id := v.ID.String()
	l.write(v.ID, mib, 'a')
	require.EqualValues(t, 2, *l.bind(h, wire.BindContextNormal, id)[0].VVolLogicalSize)
	r, err := vasatest.Do[wire.SpaceStatsForVirtualVolumeResponse](ctx, h, &wire.SpaceStatsForVirtualVolume{VVolID: []string{id}})
	require.NoError(t, err)
	require.EqualValues(t, []int64{2, 1}, []int64{r.Return[0].Logical, r.Return[0].Committed})
}

// TestCopyDiffs goes on after its answer, and can be cancelled.
func TestCopyDiffs(t *testing.T) {
	ctx, l := t.Context(), newLab(t, nil)
	c := l.host("a")
	src := l.create("src", 8)
	base, err := l.service.Snapshot(ctx, src.ID, vvol.SnapshotSpec{})
	require.NoError(t, err)
	l.write(src.ID, 0, 'a')
	dst := l.create("dst", 8)
	q := &wire.CopyDiffsToVirtualVolume{SrcVVolID: src.ID.String(), SrcBaseVVolID: base.ID.String(), DstVVolID: dst.ID.String()}
	r, err := vasatest.Do[wire.CopyDiffsToVirtualVolumeResponse](ctx, c, q)
	require.NoError(t, err)
	task := r.Return
	for task.TaskState == wire.TaskStateRunning {
		u, err := vasatest.Do[wire.GetTaskUpdateResponse](ctx, c, &wire.GetTaskUpdate{TaskID: task.TaskID})
		require.NoError(t, err)
		task = u.Return
	}
	require.Equal(t, wire.TaskStateSuccess, task.TaskState)
	u, err := l.service.Usage(ctx, dst.ID)
	require.NoError(t, err)
	require.NotZero(t, u.Allocated)
	l.fault(c, "IncompatibleVolume", &wire.CopyDiffsToVirtualVolume{SrcVVolID: src.ID.String(), SrcBaseVVolID: dst.ID.String(), DstVVolID: l.create("third", 8).ID.String()})
}

func TestPolicies(t *testing.T) {
	ctx, l := t.Context(), newLab(t, nil)
	c := l.vcenter("vc")
	schema, err := vasatest.Do[wire.QueryCapabilityMetadataResponse](ctx, c, &wire.QueryCapabilityMetadata{})
	require.NoError(t, err)
	require.Equal(t, policy.SchemaID, schema.Return[0].SchemaID)
	l.fault(c, "NotFound", &wire.QueryCapabilityMetadata{SchemaID: []string{"another"}})
	k := l.service.Containers()[0]
	all, err := vasatest.Do[wire.QueryCapabilityProfileResponse](ctx, c, &wire.QueryCapabilityProfile{})
	require.NoError(t, err)
	require.Len(t, all.Return, len(k.ServiceLevels))
	of, err := vasatest.Do[wire.QueryCapabilityProfileForResourceResponse](ctx, c, &wire.QueryCapabilityProfileForResource{ResourceID: []string{k.ID.String()}})
	require.NoError(t, err)
	require.Equal(t, all.Return[0].Base().ProfileID, of.Return[0].ProfileID)
	l.fault(c, "NotFound", &wire.QueryCapabilityProfile{ProfileID: []string{"another"}})
	defaults, err := vasatest.Do[wire.QueryDefaultProfileForStorageContainerResponse](ctx, c, &wire.QueryDefaultProfileForStorageContainer{ContainerID: k.ID.String()})
	require.NoError(t, err)
	require.Equal(t, wire.VirtualVolumeType("").Values(), defaults.Return[0].EntityType)

	rule := func(id string, value any) *wire.StorageProfile {
		return &wire.StorageProfile{ProfileID: "gold", Name: "Gold", CreatedBy: "me", CreationTime: time.Unix(0, 0).UTC(), GenerationID: 3,
			Constraints: &wire.CapabilityConstraints{SubProfiles: []wire.AnySubProfile{&wire.SubProfile{Name: "rules", Capability: []wire.CapabilityInstance{{
				CapabilityID: wire.CapabilityId{ID: id, Namespace: policy.Namespace},
				Constraint:   []wire.ConstraintInstance{{PropertyInstance: []wire.PropertyInstance{{ID: id, Value: value}}}}}}}}}}
	}
	create := &wire.CreateVirtualVolume{ContainerID: k.ID.String(), VVolType: wire.VirtualVolumeTypeData, SizeInMB: 8, Metadata: pairs("k", "v"), StorageProfile: rule("maxIops", int64(500))}
	r, err := vasatest.Do[wire.CreateVirtualVolumeResponse](ctx, c, create)
	require.NoError(t, err)
	id := l.made(r.Return)
	v, err := l.volume(id)
	require.NoError(t, err)
	require.EqualValues(t, 500, v.Quality.MaxIOPS)
	require.Equal(t, "gold:3", v.Metadata[keyProfile])
	for _, bad := range []*wire.StorageProfile{rule("", int64(1)), rule("speed", int64(1)), rule("maxIops", "many"), rule("maxIops", int64(0)), rule("durability", "perhaps")} {
		create.StorageProfile = bad
		l.fault(c, "InvalidProfile", create)
		l.fault(c, "InvalidProfile", &wire.UpdateStorageProfileForVirtualVolume{VVolID: id, NewStorageProfile: bad})
	}
	next := rule("durability", "sync")
	next.GenerationID = 4
	for range 2 { // the second has nothing to do
		_, err = c.Call(ctx, &wire.UpdateStorageProfileForVirtualVolume{VVolID: id, NewStorageProfile: next})
		require.NoError(t, err)
	}
	v, err = l.volume(id)
	require.NoError(t, err)
	require.Equal(t, "sync", v.Quality.Durability)
	require.Equal(t, "gold:4", v.Metadata[keyProfile])
	complies := func(q wire.ComplianceSubject) wire.ComplianceResult {
		q.ObjectID = []string{id}
		r, err := vasatest.Do[wire.QueryComplianceResultResponse](ctx, c, &wire.QueryComplianceResult{Compliance: []wire.ComplianceSubject{q}})
		require.NoError(t, err)
		return r.Return[0]
	}
	require.Equal(t, wire.ComplianceStatusCompliant, complies(wire.ComplianceSubject{}).ComplianceStatus)
	require.Equal(t, wire.ComplianceStatusCompliant, complies(wire.ComplianceSubject{ProfileID: new("gold"), GenerationID: new(int64(4))}).ComplianceStatus)
	stale := complies(wire.ComplianceSubject{ProfileID: new("gold"), GenerationID: new(int64(3))})
	require.True(t, stale.ProfileMismatch)
	require.Equal(t, wire.ComplianceStatusUnknown, stale.ComplianceStatus)
	l.fault(c, "NotFound", &wire.QueryComplianceResult{Compliance: []wire.ComplianceSubject{{ObjectID: []string{absent}}}})
}

// TestConfigVolumeThin: a Config volume of 256 GB fits into a small container whose first
// level is thick, and takes none of it (vasa.md 10); a prepared snapshot that nobody takes is
// forgotten, and its id with it (8.4).
func TestConfigVolumeThin(t *testing.T) {
	ctx, l := t.Context(), newLab(t, nil)
	k, err := l.service.CreateContainer(ctx, vvol.ContainerSpec{Name: "small", Size: 1 << 30, ServiceLevels: []vvol.ServiceLevel{{Name: "thick"}, {Name: "thin", Thin: true}}})
	require.NoError(t, err)
	c := l.host("a")
	create := &wire.CreateVirtualVolume{ContainerID: k.ID.String(), VVolType: wire.VirtualVolumeTypeConfig, SizeInMB: 256 << 10, Metadata: pairs("k", "v")}
	r, err := vasatest.Do[wire.CreateVirtualVolumeResponse](ctx, c, create)
	require.NoError(t, err)
	id := l.made(r.Return)
	s, err := vasatest.Do[wire.SpaceStatsForStorageContainerResponse](ctx, c, &wire.SpaceStatsForStorageContainer{ContainerID: k.ID.String()})
	require.NoError(t, err)
	require.EqualValues(t, 1024, s.Return[0].PhysicalFree)
	create.VVolType = wire.VirtualVolumeTypeData
	l.fault(c, "OutOfResource", create)

	p, err := vasatest.Do[wire.PrepareToSnapshotVirtualVolumeResponse](ctx, c, &wire.PrepareToSnapshotVirtualVolume{VVolID: id, SnapType: wire.SnapTypeSnapshotReadOnly})
	require.NoError(t, err)
	prepared, ok := p.Return.Result.(*wire.PrepareSnapshotResult)
	require.True(t, ok, "%T", p.Return.Result)
	l.passes(time.Hour + time.Second)
	l.tend()
	l.registered()
	c = l.host("a")
	l.fault(c, "NotFound", &wire.DeleteVirtualVolume{VVolID: prepared.SnapshotID})
}
