package vasatest

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"vvsim/vasa/wire"
)

// Forms of ids (vasa.md 5).
var (
	vvolForm      = regexp.MustCompile(`^rfc4122\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	containerForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	unitForm      = regexp.MustCompile(`^naa\.[0-9a-f]{16}([0-9a-f]{16})?$`)
	secondaryForm = regexp.MustCompile(`^0x([0-9a-f]{2}){2,8}$`)
)

func checkVVolID(id string) error {
	return expect(vvolForm.MatchString(id), "the id %q is not rfc4122. and a UUID", id)
}

// checkInventory compares the answers of a synchronization with each other.
func checkInventory(i *Inventory) error {
	for _, x := range []struct {
		n    int
		what string
	}{{len(i.Arrays), "array"}, {len(i.Containers), "container"}, {len(i.Endpoints), "protocol endpoint"}} {
		if x.n == 0 {
			return fmt.Errorf("the provider has no %s", x.what)
		}
	}
	for _, k := range i.Containers {
		if err := expect(containerForm.MatchString(*k.UniqueIdentifier), "container id %q is no UUID in lower case", *k.UniqueIdentifier); err != nil {
			return err
		}
		if err := expect(k.MaxVVolSizeMB > 0, "container %q allows virtual volumes of %d MB", k.Name, k.MaxVVolSizeMB); err != nil {
			return err
		}
	}
	for _, e := range i.Endpoints {
		id := e.InBandID
		if id.ProtocolEndpointType != wire.ProtocolEndpointTypeSCSI {
			continue
		}
		if id.LUNID == nil || !unitForm.MatchString(strings.ToLower(*id.LUNID)) {
			return fmt.Errorf("a SCSI endpoint has no unit's name: %+v", id)
		}
	}
	for _, s := range i.Schemas {
		for _, c := range s.CapabilityMetadataPerCategory {
			for _, m := range c.CapabilityMetadata {
				for _, p := range m.PropertyMetadata {
					if p.Type == nil { // registration fails without (vasa.md 7.2)
						return fmt.Errorf("property %q of schema %q has no type", p.ID, s.SchemaID)
					}
				}
			}
		}
	}
	return nil
}

// checkRow checks what a bind answers of a virtual volume.
func (x *exercise) checkRow(row wire.BatchVirtualVolumeHandleResult, id string) error {
	h := row.VVolHandle
	if h.UniqueIdentifier == nil || *h.UniqueIdentifier != id {
		return fmt.Errorf("the handle of %s has the uniqueIdentifier %v", id, h.UniqueIdentifier)
	}
	if h.PEInBandID.ProtocolEndpointType == wire.ProtocolEndpointTypeSCSI {
		if !slices.ContainsFunc(x.inventory.Endpoints, func(e wire.ProtocolEndpoint) bool { return sameUnit(e.InBandID, h.PEInBandID) }) {
			return fmt.Errorf("the handle of %s leads over an endpoint that the provider does not list", id)
		}
		if !secondaryForm.MatchString(strings.ToLower(h.VVolSecondaryID)) {
			return fmt.Errorf("the handle of %s has the secondary id %q", id, h.VVolSecondaryID)
		}
	}
	if want := x.vm.size[id]; row.VVolLogicalSize != nil && *row.VVolLogicalSize != want {
		return fmt.Errorf("%s is bound with %d MB, and has %d", id, *row.VVolLogicalSize, want)
	}
	if row.VVolInfo != nil && row.VVolInfo.VVolID != id {
		return fmt.Errorf("the bind of %s tells of %s", id, row.VVolInfo.VVolID)
	}
	return nil
}

func sameUnit(a, b wire.ProtocolEndpointInbandId) bool {
	return a.LUNID != nil && b.LUNID != nil && strings.EqualFold(*a.LUNID, *b.LUNID)
}

// sameHandle tells whether two handles lead the same way.
func sameHandle(a, b wire.VirtualVolumeHandle) bool {
	return sameUnit(a.PEInBandID, b.PEInBandID) && strings.EqualFold(a.VVolSecondaryID, b.VVolSecondaryID)
}

// checkStable binds again what the running host has, and wants the same handles.
func (x *exercise) checkStable(ctx context.Context, ids ...string) error {
	now, err := x.bindOn(ctx, x.host(), wire.BindContextNormal, ids...)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !sameHandle(now[id], x.vm.handles[id]) {
			return fmt.Errorf("%s is bound, and a second bind gave another handle: %s, and %s before", id, now[id].VVolSecondaryID, x.vm.handles[id].VVolSecondaryID)
		}
	}
	return nil
}

// checkMetadata wants what was set, verbatim. Other keys make a note: the host's own are
// its own (vasa.md 6).
func (x *exercise) checkMetadata(ctx context.Context, id string) error {
	got, found, err := x.host().Metadata(ctx, id)
	if err != nil || !found {
		return errorOr(err, "queryVirtualVolumeInfo does not know %s", id)
	}
	for key, want := range x.vm.metadata[id] {
		if value, has := got[key]; !has || value != want {
			return fmt.Errorf("metadata %s of %s: %q was set, and it is %q", key, id, want, value)
		}
	}
	for key := range got {
		if _, ours := x.vm.metadata[id][key]; !ours {
			x.note("the provider adds metadata %s", key)
		}
	}
	return nil
}

// checkFound wants exactly these virtual volumes to match constraints.
func (x *exercise) checkFound(ctx context.Context, want []string, constraints ...string) error {
	got, err := x.host().Find(ctx, constraints...)
	if err != nil {
		return err
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	return expect(slices.Equal(got, want), "queryVirtualVolume %q finds %q, not %q", constraints, got, want)
}
