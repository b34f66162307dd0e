package api

import (
	"encoding/hex"
	"fmt"

	"vvsim/vvol"
)

// relations are what points at volumes and bindings, indexed, so that a list costs
// one look at each object.
type relations struct {
	lun        func(pe uint16, secondary uint64) [8]byte
	containers map[vvol.ContainerID]string
	bindings   map[vvol.ID][]vvol.Binding
	luns       map[vvol.ID][]int
	initiators map[vvol.HostID]string // the first of each host
	pes        map[vvol.PEID]uint16   // LUNs
}

// relate indexes what a list of volumes needs.
func (h *handlers) relate(volumes ...vvol.VirtualVolume) *relations {
	r := h.relateBindings()
	for _, c := range h.o.Service.Containers() {
		r.containers[c.ID] = c.Name
	}
	for _, m := range h.o.Service.LUNMappings() {
		r.luns[m.VVol] = append(r.luns[m.VVol], int(m.LUN))
	}
	for _, v := range volumes {
		r.bindings[v.ID] = h.o.Service.Bindings(vvol.BindingFilter{VVol: &v.ID})
		h.addInitiators(r, r.bindings[v.ID])
	}
	return r
}

// relateBindings indexes what a list of bindings needs.
func (h *handlers) relateBindings(bindings ...vvol.Binding) *relations {
	r := &relations{lun: h.o.LUN, containers: map[vvol.ContainerID]string{}, bindings: map[vvol.ID][]vvol.Binding{},
		luns: map[vvol.ID][]int{}, initiators: map[vvol.HostID]string{}, pes: map[vvol.PEID]uint16{}}
	for _, e := range h.o.Service.Endpoints() {
		r.pes[e.ID] = e.LUN
	}
	h.addInitiators(r, bindings)
	return r
}

func (h *handlers) addInitiators(r *relations, bindings []vvol.Binding) {
	for _, b := range bindings {
		if _, known := r.initiators[b.Host]; known {
			continue
		}
		if names := h.o.Service.BindingInitiators(b); len(names) > 0 {
			r.initiators[b.Host] = names[0]
		}
	}
}

func (r *relations) vvol(v vvol.VirtualVolume, u vvol.VolumeUsage) VVol {
	d := VVol{ID: v.ID.String(), Name: v.Name, Type: string(v.Type), Container: r.containers[v.Container], SizeBytes: v.Size,
		AllocatedBytes: u.Allocated, UnsharedBytes: u.Unshared, State: string(v.State), ServiceLevel: v.ServiceLevel, Quality: v.Quality, Policy: v.Policy,
		ReadOnly: v.ReadOnly, Bindings: []Binding{}, LUNs: append([]int{}, r.luns[v.ID]...), Metadata: v.Metadata, Created: v.Created}
	if d.Metadata == nil {
		d.Metadata = map[string]string{}
	}
	if v.Parent != (vvol.ID{}) {
		d.Parent = v.Parent.String()
	}
	if v.SnapshotOf != (vvol.ID{}) {
		d.SnapshotOf = v.SnapshotOf.String()
	}
	for _, b := range r.bindings[v.ID] {
		d.Bindings = append(d.Bindings, r.binding(b))
	}
	return d
}

func (r *relations) binding(b vvol.Binding) Binding {
	d := Binding{ID: fmt.Sprint(uint64(b.ID)), VVol: b.VVol.String(), Initiator: r.initiators[b.Host], PE: string(b.PE),
		PELUN: r.pes[b.PE], Created: b.Created}
	l := r.lun(d.PELUN, b.Secondary)
	d.SecondaryID, d.LUN = fmt.Sprintf("0x%x", l[2:]), hex.EncodeToString(l[:])
	return d
}
