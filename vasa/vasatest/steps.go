package vasatest

import (
	"context"
	"encoding/pem"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"vvsim/vasa/wire"
)

// Steps are those of an Exercise: the sequences of vasa.md 8, in the order in which they
// are made. Each one's Expected says what is checked.
func Steps() []Step {
	return []Step{
		{"locate", "version.xml names a service for VASA 2.0, and without trust setContext ends with InvalidSession", (*exercise).locate},
		{"register", "the vCenter's authority is trusted", (*exercise).register},
		{"provider certificate", "kept, or replaced by one that the vCenter's authority signed", (*exercise).certificate},
		{"vCenter session", "setContext begins a session, and the authority is among the trusted ones", (*exercise).openVCenter},
		{"synchronize", "array, container, endpoint, catalogs and profiles are told and fit together", (*exercise).synchronize},
		{"poll", "events and alarms are told and go on where they ended", (*exercise).poll},
		{"mount on hosts", "the hosts have sessions, see the endpoints, and the container has space", (*exercise).mount},
		{"create VM", "Config and two Data VVols are made, bound, and have their metadata", (*exercise).createVM},
		{"browse", "queryVirtualVolume finds the VM by each constraint, and nothing else", (*exercise).browse},
		{"power on", "Swap is made; all are bound; a second bind gives the same handles; what is bound is not deleted", (*exercise).powerOn},
		{"snapshot", "prepared snapshots are not told; taken at one time they are, and keep their contents", (*exercise).snapshot},
		{"snapshot with memory", "Memory is made, bound and unbound; the disks have a second snapshot", (*exercise).snapshotMemory},
		{"changed blocks", "bitmaps have a bit for each chunk, and tell what was written", (*exercise).bitmaps},
		{"revert", "the disks have the contents of their first snapshots; those of others are refused", (*exercise).revert},
		{"delete snapshot", "the second snapshots and Memory are gone; the disks are as before", (*exercise).deleteSnapshot},
		{"full clone", "a copy of its own with the same size and contents", (*exercise).fullClone},
		{"linked clone", "a writable copy of a snapshot, which does not change with it", (*exercise).linkedClone},
		{"vMotion", "from host to host: both have handles for a while; then the second one alone", (*exercise).vMotion},
		{"grow", "the disk has the new size, and the same handle", (*exercise).grow},
		{"policy change", "the disk has the new policy and complies", (*exercise).setPolicy},
		{"lost session", "a call without session ends with InvalidSession; the handles survive", (*exercise).loseSession},
		{"rebind", "the handle of the new binding works when the old one has ended", (*exercise).rebind},
		{"host reboot", "the host's bindings are gone, those of the other host are not", (*exercise).reboot},
		{"power off", "all are unbound, and Swap is deleted", (*exercise).powerOff},
		{"delete VM", "nothing of the VM is found", (*exercise).deleteVM},
	}
}

func (x *exercise) locate(ctx context.Context) error {
	service, err := Locate(ctx, x.o.URL)
	if err != nil {
		return err
	}
	x.vc, err = NewVCenter(Options{URL: service, Version: x.o.Version, Seen: x.o.Seen}, x.o.Patience)
	if err != nil {
		return err
	}
	_, err = x.vc.try(ctx, &wire.SetContext{UsageContext: &x.vc.usage})
	return refused(err, "setContext with a certificate that nobody registered", "InvalidSession")
}

func (x *exercise) register(ctx context.Context) error {
	info, err := x.vc.Register(ctx, x.o.User, x.o.Password)
	if err != nil {
		return err
	}
	x.trusted = true
	x.retains = info.RetainVasaProviderCertificate != nil && *info.RetainVasaProviderCertificate
	return expect(info.UID != "", "the provider has no uid")
}

func (x *exercise) certificate(ctx context.Context) error {
	switch {
	case x.retains:
		x.note("the provider keeps its certificate")
		return nil
	case x.o.KeepCertificate:
		x.note("the provider wants its certificate replaced, which was not done")
		return nil
	}
	return x.vc.ReplaceCertificate(ctx)
}

func (x *exercise) openVCenter(ctx context.Context) error {
	if err := x.vc.Open(ctx); err != nil {
		return err
	}
	info := x.vc.Info()
	if info.SessionID == nil || *info.SessionID == "" || *info.SessionID == "0" {
		return fmt.Errorf("the session's id is missing in the answer")
	}
	r, err := ask[wire.QueryCACertificatesResponse](ctx, x.vc.Session, &wire.QueryCACertificates{})
	if err != nil {
		return err
	}
	ours := slices.ContainsFunc(r.Return, func(text string) bool {
		block, _ := pem.Decode([]byte(text))
		return block != nil && slices.Equal(block.Bytes, x.vc.Authority.Certificate.Raw)
	})
	return expect(ours, "queryCACertificates does not tell the authority that was registered")
}

func (x *exercise) synchronize(ctx context.Context) error {
	var err error
	if x.inventory, err = x.vc.Sync(ctx); err != nil {
		return err
	}
	if err := checkInventory(x.inventory); err != nil {
		return err
	}
	n, err := ask[wire.GetNumberOfEntitiesResponse](ctx, x.vc.Session, &wire.GetNumberOfEntities{EntityType: new(wire.EntityTypeStorageArray)})
	if err != nil {
		return err
	}
	if n.Return == nil || int(*n.Return) != len(x.inventory.Arrays) {
		return fmt.Errorf("getNumberOfEntities and queryArrays (%d) do not agree", len(x.inventory.Arrays))
	}
	k, err := x.inventory.Container(x.o.Container)
	if err != nil {
		return err
	}
	x.container = *k.UniqueIdentifier
	return nil
}

func (x *exercise) poll(ctx context.Context) error {
	_, event, alarm, err := x.vc.Poll(ctx, -1, -1)
	if err != nil {
		return err
	}
	_, _, _, err = x.vc.Poll(ctx, event, alarm)
	if err != nil {
		return fmt.Errorf("after event %d and alarm %d: %w", event, alarm, err)
	}
	_, err = x.vc.Call(ctx, &wire.GetEvents{LastEventID: new(int64(-2))})
	return refused(err, "getEvents after -2", "InvalidArgument")
}

func (x *exercise) mount(ctx context.Context) error {
	for i, spec := range x.o.Hosts {
		h, err := x.vc.NewHost(spec)
		if err != nil {
			return err
		}
		x.hosts[i] = h
		if err := h.Open(ctx); err != nil {
			return err
		}
		if err := h.See(ctx, x.inventory.Endpoints); err != nil {
			return err
		}
		events, _, _, err := h.Poll(ctx, -1, -1)
		if err != nil {
			return err
		}
		told := slices.ContainsFunc(events, func(e wire.AnyEvent) bool {
			t := e.Base().EventType
			return t != nil && *t == wire.EventTypeConfigProtocolEndpoint
		})
		if !told {
			x.note("no event tells a host of the endpoints that it sees")
		}
		space, err := ask[wire.SpaceStatsForStorageContainerResponse](ctx, h.Session, &wire.SpaceStatsForStorageContainer{ContainerID: x.container})
		switch {
		case h.missing(err, "spaceStatsForStorageContainer"):
		case err != nil:
			return err
		case len(space.Return) != 1 || space.Return[0].ObjectID != x.container:
			return fmt.Errorf("spaceStatsForStorageContainer answered %d rows, none of them of %s", len(space.Return), x.container)
		case space.Return[0].LogicalFree <= 0:
			return fmt.Errorf("container %s has no space", x.container)
		}
	}
	return nil
}

func (x *exercise) createVM(ctx context.Context) error {
	var err error
	if x.vm.config, err = x.create(ctx, wire.VirtualVolumeTypeConfig, x.vm.name, configMB); err != nil {
		return err
	}
	if err := x.bind(ctx, x.vm.config); err != nil {
		return err
	}
	if err := x.write(ctx, x.vm.config, placeStart); err != nil {
		return err
	}
	for i := range 2 {
		id, err := x.create(ctx, wire.VirtualVolumeTypeData, fmt.Sprintf("%s_%d.vmdk", x.vm.name, i), x.o.DiskMB)
		if err != nil {
			return err
		}
		x.vm.disks = append(x.vm.disks, id)
	}
	for _, id := range append([]string{x.vm.config}, x.vm.disks...) {
		pairs := Pairs("VMW_VmID", x.vm.id, "VMW_GosType", "other3xLinux64Guest")
		if err := x.host().SetMetadata(ctx, id, pairs); err != nil {
			return err
		}
		x.noted(id, pairs)
		if err := x.checkMetadata(ctx, id); err != nil {
			return err
		}
	}
	if err := x.verify(ctx, x.vm.config); err != nil {
		return err
	}
	return x.unbind(ctx, x.vm.config)
}

func (x *exercise) browse(ctx context.Context) error {
	all := append([]string{x.vm.config}, x.vm.disks...)
	if err := x.checkFound(ctx, all, "VMW_VmID="+x.vm.id); err != nil {
		return err
	}
	if err := x.checkFound(ctx, all, "VMW_VmID="+x.vm.id, "VMW_GosType"); err != nil {
		return err
	}
	if err := x.checkFound(ctx, x.vm.disks, "VMW_VVolNamespace="+x.namespace()); err != nil {
		return err
	}
	if err := x.checkFound(ctx, all[:1], "VMW_VVolType=Config", "VMW_ContainerId="+x.container, "VMW_VmID="+x.vm.id); err != nil {
		return err
	}
	if err := x.checkFound(ctx, nil, "VMW_VmID="+x.vm.id, "VMW_VVolType=Memory"); err != nil {
		return err
	}
	// A pair without value removes the key; one with an empty value does not (vasa.md 6).
	id := x.vm.disks[0]
	if err := x.host().SetMetadata(ctx, id, []wire.NameValuePair{{ParameterName: new("VMW_GosType")}}); err != nil {
		return err
	}
	delete(x.vm.metadata[id], "VMW_GosType")
	if err := x.checkFound(ctx, []string{x.vm.config, x.vm.disks[1]}, "VMW_VmID="+x.vm.id, "VMW_GosType"); err != nil {
		return err
	}
	for _, id := range all {
		s, err := x.host().Space(ctx, id)
		if x.host().missing(err, "spaceStatsForVirtualVolume") {
			break
		}
		if err != nil || s.Logical != x.vm.size[id] {
			return errorOr(err, "%s has %d MB, and was made with %d", id, s.Logical, x.vm.size[id])
		}
	}
	return nil
}

// running are the virtual volumes of a VM that runs.
func (x *exercise) running() []string {
	return slices.Concat([]string{x.vm.config}, x.vm.disks, []string{x.vm.swap})
}

func (x *exercise) powerOn(ctx context.Context) error {
	if err := x.bind(ctx, x.vm.config); err != nil {
		return err
	}
	var err error
	if x.vm.swap, err = x.create(ctx, wire.VirtualVolumeTypeSwap, x.vm.name+".vswp", swapMB); err != nil {
		return err
	}
	if err := x.bind(ctx, slices.Concat(x.vm.disks, []string{x.vm.swap})...); err != nil {
		return err
	}
	for i, a := range x.running() {
		for _, b := range x.running()[:i] {
			if sameHandle(x.vm.handles[a], x.vm.handles[b]) {
				return fmt.Errorf("%s and %s have the same handle", a, b)
			}
		}
	}
	if err := x.checkStable(ctx, x.running()...); err != nil {
		return err
	}
	if err := refused(x.host().Delete(ctx, x.vm.disks[0]), "deleting a bound VVol", "ResourceInUse"); err != nil {
		return err
	}
	for _, id := range x.vm.disks {
		if err := x.write(ctx, id, placeStart); err != nil {
			return err
		}
	}
	return x.verify(ctx, x.vm.disks[0])
}

// snapshotTime is the time in which a set of snapshots has to be taken.
const snapshotTime = 30 * time.Second

// takeSnapshots prepares and takes a snapshot of each disk, all at one time.
func (x *exercise) takeSnapshots(ctx context.Context, name string) (ids []string, err error) {
	var infos []wire.VirtualVolumeInfo
	for _, disk := range x.vm.disks {
		p, err := x.host().Prepare(ctx, disk, wire.SnapTypeSnapshotReadOnly)
		if err != nil {
			return nil, err
		}
		if err := checkVVolID(p.SnapshotID); err != nil {
			return nil, err
		}
		if p.ParentInfo.VVolID != disk || p.SnapshotID == disk {
			return nil, fmt.Errorf("the snapshot %s of %s has the parent %s", p.SnapshotID, disk, p.ParentInfo.VVolID)
		}
		if _, found, err := x.host().Metadata(ctx, p.SnapshotID); err != nil || found {
			return nil, errorOr(err, "%s is told, and was not taken yet", p.SnapshotID)
		}
		x.vm.made[p.SnapshotID] = true
		infos = append(infos, wire.VirtualVolumeInfo{VVolID: p.SnapshotID, Metadata: x.metadata(wire.VirtualVolumeTypeData, name)})
	}
	if err := x.host().Take(ctx, snapshotTime, infos...); err != nil {
		return nil, err
	}
	for i, info := range infos {
		id := info.VVolID
		ids = append(ids, id)
		x.derive(id, x.vm.disks[i])
		x.noted(id, info.Metadata)
		pairs := Pairs("VMW_VmID", x.vm.id)
		if err := x.host().SetMetadata(ctx, id, pairs); err != nil {
			return nil, err
		}
		x.noted(id, pairs)
		if err := x.checkMetadata(ctx, id); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

func (x *exercise) snapshot(ctx context.Context) error {
	var err error
	if x.vm.first, err = x.takeSnapshots(ctx, "first"); err != nil {
		return err
	}
	for _, id := range x.vm.disks {
		if err := x.write(ctx, id, placeStart, placeMiddle); err != nil {
			return err
		}
	}
	return x.inspect(ctx, x.vm.first...)
}

// inspect binds virtual volumes for as long as their contents are verified.
func (x *exercise) inspect(ctx context.Context, ids ...string) error {
	if err := x.bind(ctx, ids...); err != nil {
		return err
	}
	for _, id := range ids {
		if err := x.verify(ctx, id); err != nil {
			return err
		}
	}
	return x.unbind(ctx, ids...)
}

func (x *exercise) snapshotMemory(ctx context.Context) error {
	var err error
	if x.vm.memory, err = x.create(ctx, wire.VirtualVolumeTypeMemory, x.vm.name+".vmem", memoryMB); err != nil {
		return err
	}
	if err := x.bind(ctx, x.vm.memory); err != nil {
		return err
	}
	if err := x.write(ctx, x.vm.memory, placeStart); err != nil {
		return err
	}
	if err := x.unbind(ctx, x.vm.memory); err != nil {
		return err
	}
	if x.vm.second, err = x.takeSnapshots(ctx, "second"); err != nil {
		return err
	}
	if err := x.write(ctx, x.vm.disks[0], placeStart); err != nil {
		return err
	}
	return x.inspect(ctx, x.vm.memory, x.vm.second[0])
}

// chunkBytes is the size of a chunk in the bitmaps that are asked for.
const chunkBytes = 1 << 20

func (x *exercise) bitmaps(ctx context.Context) error {
	disk, h := x.vm.disks[0], x.host()
	length := x.o.DiskMB * chunkBytes
	count := func(bitmap []byte, of string) (int, error) {
		if want := (x.o.DiskMB + 7) / 8; int64(len(bitmap)) != want {
			return 0, fmt.Errorf("%s has %d bytes, not %d", of, len(bitmap), want)
		}
		n := 0
		for _, b := range bitmap {
			n += bits.OnesCount8(b)
		}
		return n, nil
	}
	a, err := ask[wire.AllocatedBitmapVirtualVolumeResponse](ctx, h.Session, &wire.AllocatedBitmapVirtualVolume{VVolID: disk, SegmentLengthBytes: length, ChunkSizeBytes: chunkBytes})
	if !h.missing(err, "allocatedBitmapVirtualVolume") {
		if err != nil {
			return err
		}
		n, err := count(a.Return.ChunkBitmap, "allocatedBitmap")
		if err != nil || x.o.IO != nil && n < 2 {
			return errorOr(err, "2 chunks were written, %d are allocated", n)
		}
	}
	u, err := ask[wire.UnsharedBitmapVirtualVolumeResponse](ctx, h.Session, &wire.UnsharedBitmapVirtualVolume{VVolID: disk, BaseVVolID: x.vm.first[0],
		SegmentLengthBytes: length, ChunkSizeBytes: chunkBytes})
	if !h.missing(err, "unsharedBitmapVirtualVolume") {
		if err != nil {
			return err
		}
		n, err := count(u.Return.ChunkBitmap, "unsharedBitmap")
		if err != nil || x.o.IO != nil && n != 2 {
			return errorOr(err, "2 chunks were written since the snapshot, %d differ", n)
		}
		_, err = h.Call(ctx, &wire.UnsharedBitmapVirtualVolume{VVolID: disk, BaseVVolID: x.vm.disks[1], SegmentLengthBytes: length, ChunkSizeBytes: chunkBytes})
		if err := refused(err, "comparing VVols that are not related", "IncompatibleVolume"); err != nil {
			return err
		}
	}
	c, err := ask[wire.UnsharedChunksVirtualVolumeResponse](ctx, h.Session, &wire.UnsharedChunksVirtualVolume{VVolID: disk, BaseVVolID: &x.vm.first[0], SegmentLengthBytes: length})
	if h.missing(err, "unsharedChunksVirtualVolume") {
		return nil
	}
	if err != nil {
		return err
	}
	r := c.Return
	return expect(r.ChunkSizeBytes > 0 && r.UnsharedChunks >= 0 && r.UnsharedChunks <= r.ScannedChunks, "unsharedChunks answers %+v", r)
}

func (x *exercise) revert(ctx context.Context) error {
	if err := refused(x.host().Revert(ctx, x.vm.disks[0], x.vm.first[1]), "reverting to the snapshot of another disk", "IncompatibleVolume", "ResourceInUse"); err != nil {
		return err
	}
	if err := x.unbind(ctx, x.vm.disks...); err != nil { // the VM is stopped
		return err
	}
	for i, id := range x.vm.disks {
		if err := x.host().Revert(ctx, id, x.vm.first[i]); err != nil {
			return err
		}
		x.derive(id, x.vm.first[i])
	}
	if err := x.bind(ctx, x.vm.disks...); err != nil {
		return err
	}
	for _, id := range x.vm.disks {
		if err := x.verify(ctx, id); err != nil {
			return err
		}
		if err := x.checkMetadata(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (x *exercise) deleteSnapshot(ctx context.Context) error {
	if err := x.remove(ctx, slices.Concat(x.vm.second, []string{x.vm.memory})...); err != nil {
		return err
	}
	if err := x.checkStable(ctx, x.vm.disks...); err != nil {
		return err
	}
	return x.verify(ctx, x.vm.disks[0])
}

// copied notes and checks a clone of a virtual volume.
func (x *exercise) copied(ctx context.Context, id, from string, pairs []wire.NameValuePair) error {
	if err := checkVVolID(id); err != nil {
		return err
	}
	x.derive(id, from)
	x.noted(id, pairs)
	if err := x.checkMetadata(ctx, id); err != nil {
		return err
	}
	return x.inspect(ctx, id)
}

func (x *exercise) fullClone(ctx context.Context) error {
	// Of a VM that runs, a snapshot is cloned (vasa.md 8.3).
	pairs := x.metadata(wire.VirtualVolumeTypeData, "clone.vmdk")
	id, err := x.host().Clone(ctx, x.vm.first[0], pairs)
	if x.host().missing(err, "cloneVirtualVolume") {
		return nil
	}
	if err != nil {
		return err
	}
	if err := x.copied(ctx, id, x.vm.first[0], pairs); err != nil {
		return err
	}
	return x.remove(ctx, id)
}
