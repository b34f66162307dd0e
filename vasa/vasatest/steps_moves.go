package vasatest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"vvsim/vasa/wire"
)

func (x *exercise) linkedClone(ctx context.Context) error {
	pairs := x.metadata(wire.VirtualVolumeTypeData, "linked.vmdk")
	id, err := x.host().FastClone(ctx, x.vm.first[0], pairs)
	if x.host().missing(err, "fastCloneVirtualVolume") {
		return nil
	}
	if err != nil {
		return err
	}
	if err := x.copied(ctx, id, x.vm.first[0], pairs); err != nil {
		return err
	}
	if err := x.bind(ctx, id); err != nil {
		return err
	}
	if err := x.write(ctx, id, placeMiddle); err != nil {
		return err
	}
	if err := x.verify(ctx, id); err != nil {
		return err
	}
	if err := x.unbind(ctx, id); err != nil {
		return err
	}
	if err := x.inspect(ctx, x.vm.first[0]); err != nil {
		return fmt.Errorf("the snapshot, after its clone was written: %w", err)
	}
	x.vm.linked = id
	return nil
}

// vMotion moves the VM to each of the other hosts, one after the other.
func (x *exercise) vMotion(ctx context.Context) error {
	for range len(x.hosts) - 1 {
		if err := x.move(ctx); err != nil {
			return err
		}
	}
	return nil
}

// move takes the VM to the next host.
func (x *exercise) move(ctx context.Context) error {
	source, target := x.runs, x.next()
	there, err := x.bindOn(ctx, x.hosts[target], wire.BindContextNormal, x.running()...)
	if err != nil {
		return err
	}
	if err := x.checkStable(ctx, x.running()...); err != nil {
		return fmt.Errorf("while both hosts have the VM: %w", err)
	}
	here := maps.Clone(x.vm.handles)
	if err := x.unbind(ctx, x.running()...); err != nil {
		return err
	}
	x.runs, x.vm.handles = target, there
	if err := x.checkStable(ctx, x.running()...); err != nil {
		return fmt.Errorf("after the source let go: %w", err)
	}
	// The source's handle is its own: it can end once, and the target's is not touched.
	err = x.hosts[source].Unbind(ctx, wire.UnbindContextNormal, here[x.vm.disks[0]])
	if err != nil && Outcome(err) != "NotFound" && Outcome(err) != "InvalidArgument" {
		return err
	}
	if err := x.checkStable(ctx, x.vm.disks[0]); err != nil {
		return err
	}
	for _, id := range x.vm.disks {
		if err := x.write(ctx, id, placeStart); err != nil {
			return err
		}
		if err := x.verify(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (x *exercise) grow(ctx context.Context) error {
	id := x.vm.disks[1]
	mb := 2 * x.vm.size[id]
	err := x.host().Resize(ctx, id, mb)
	if Outcome(err) == "NotSupported" {
		x.note("resizeVirtualVolume: NotSupported, of a disk with snapshots")
		return nil
	}
	if err != nil {
		return err
	}
	x.vm.size[id] = mb
	if err := x.host().Resize(ctx, id, mb); err != nil {
		return fmt.Errorf("the same size again: %w", err)
	}
	if err := refused(x.host().Resize(ctx, id, 0), "a size of 0 MB", "InvalidArgument"); err != nil {
		return err
	}
	if err := x.checkStable(ctx, id); err != nil { // and tells the size
		return err
	}
	return x.verify(ctx, id)
}

// setPolicy gives a disk a policy that asks for nothing, which every provider can keep.
func (x *exercise) setPolicy(ctx context.Context) error {
	id, h := x.vm.disks[0], x.host()
	now := time.Now().UTC().Truncate(time.Second)
	profile := &wire.StorageProfile{CreatedBy: "exercise", CreationTime: now, GenerationID: 1, Name: "exercise", ProfileID: newUUID()}
	if err := h.SetProfile(ctx, id, profile); err != nil {
		return err
	}
	if err := h.SetProfile(ctx, id, profile); err != nil {
		return fmt.Errorf("the same policy again: %w", err)
	}
	r, err := ask[wire.QueryComplianceResultResponse](ctx, h.Session, &wire.QueryComplianceResult{Compliance: []wire.ComplianceSubject{
		{ObjectID: []string{id}, ProfileID: &profile.ProfileID, GenerationID: &profile.GenerationID}}})
	if err != nil {
		return err
	}
	if len(r.Return) != 1 || r.Return[0].ObjectID != id || r.Return[0].ProfileMismatch {
		return fmt.Errorf("queryComplianceResult answers %+v", r.Return)
	}
	if err := expect(r.Return[0].ComplianceStatus == wire.ComplianceStatusCompliant, "the disk is %s", r.Return[0].ComplianceStatus); err != nil {
		return err
	}
	other, err := ask[wire.QueryComplianceResultResponse](ctx, h.Session, &wire.QueryComplianceResult{Compliance: []wire.ComplianceSubject{
		{ObjectID: []string{id}, ProfileID: new(newUUID()), GenerationID: &profile.GenerationID}}})
	if err != nil {
		return err
	}
	return expect(len(other.Return) == 1 && other.Return[0].ProfileMismatch, "compliance with another policy is no mismatch: %+v", other.Return)
}

func (x *exercise) loseSession(ctx context.Context) error {
	h := x.host()
	if err := h.Forget(); err != nil {
		return err
	}
	_, err := h.try(ctx, &wire.QueryVirtualVolumeInfo{VVolID: x.vm.disks})
	if err := refused(err, "a call without session", "InvalidSession"); err != nil {
		return err
	}
	if err := x.checkStable(ctx, x.running()...); err != nil { // sets the context anew
		return err
	}
	return x.verify(ctx, x.vm.disks[0])
}

// rebind goes the way of a host that was told to (vasa.md 8.4).
func (x *exercise) rebind(ctx context.Context) error {
	id, h := x.vm.disks[0], x.host()
	old := x.vm.handles[id]
	if err := h.Unbind(ctx, wire.UnbindContextRebindStart, old); err != nil {
		return err
	}
	next, err := x.bindOn(ctx, h, wire.BindContextRebindStart, id)
	if err != nil {
		return err
	}
	if sameHandle(next[id], old) {
		x.note("a rebind gives the same handle")
	}
	x.vm.handles[id] = next[id]
	if err := h.Unbind(ctx, wire.UnbindContextRebindEnd, old); err != nil {
		return err
	}
	if err := refused(h.Delete(ctx, id), "deleting a VVol that is bound anew", "ResourceInUse"); err != nil {
		return err
	}
	if err := x.checkStable(ctx, id); err != nil {
		return err
	}
	return x.verify(ctx, id)
}

// reboot crashes the host that runs the VM, while another one has the VM's config bound.
func (x *exercise) reboot(ctx context.Context) error {
	other := x.hosts[x.next()]
	browsing, err := x.bindOn(ctx, other, wire.BindContextNormal, x.vm.config)
	if err != nil {
		return err
	}
	old := x.vm.handles[x.vm.disks[0]]
	if err := x.host().Reboot(ctx); err != nil {
		return err
	}
	x.vm.handles = map[string]wire.VirtualVolumeHandle{}
	if err := x.host().Unbind(ctx, wire.UnbindContextNormal, old); err == nil {
		x.note("a handle that the host gave up with its reboot was taken back again")
	} else if Outcome(err) != "NotFound" && Outcome(err) != "InvalidArgument" {
		return err
	}
	still, err := x.bindOn(ctx, other, wire.BindContextNormal, x.vm.config)
	if err != nil || !sameHandle(still[x.vm.config], browsing[x.vm.config]) {
		return errorOr(err, "the other host has another handle after the reboot")
	}
	if err := other.Unbind(ctx, wire.UnbindContextNormal, browsing[x.vm.config]); err != nil {
		return err
	}
	if err := x.bind(ctx, x.running()...); err != nil { // the VM is started again
		return err
	}
	for _, id := range x.vm.disks {
		if err := x.verify(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (x *exercise) powerOff(ctx context.Context) error {
	if err := x.unbind(ctx, slices.Concat(x.vm.disks, []string{x.vm.swap})...); err != nil {
		return err
	}
	if err := x.remove(ctx, x.vm.swap); err != nil {
		return err
	}
	return x.unbind(ctx, x.vm.config)
}

func (x *exercise) deleteVM(ctx context.Context) error {
	ids := slices.Clone(x.vm.first)
	if x.vm.linked != "" {
		ids = append([]string{x.vm.linked}, ids...)
	}
	if err := x.remove(ctx, slices.Concat(ids, x.vm.disks, []string{x.vm.config})...); err != nil {
		return err
	}
	return x.checkFound(ctx, nil, "VMW_VmID="+x.vm.id)
}
