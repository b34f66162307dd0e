package pe

import (
	"context"

	"vvsim/scsi"
	"vvsim/scsi/device"
	"vvsim/vvol"
)

// way is one way of a nexus to a logical unit.
type way struct {
	nexus    *scsi.Nexus
	lu       *device.LogicalUnit
	volume   vvol.ID
	endpoint string
}

// ways lists those of all nexuses. A nexus may have several to one logical unit.
func (t *Target) ways() (all []way) {
	t.mu.Lock()
	defer t.mu.Unlock()
	names := map[uint64]string{}
	for _, e := range t.endpoints {
		names[uint64(e.LUN)] = e.Name
	}
	for n, h := range t.nexuses {
		for _, e := range t.endpoints {
			all = append(all, way{n, e.lu, vvol.ID{}, e.Name})
		}
		for _, r := range t.disks.all {
			all = append(all, way{n, r.unit.lu, r.unit.volume, ""})
		}
		for key, r := range h.subs.all {
			all = append(all, way{n, r.unit.lu, r.unit.volume, names[key>>40]})
		}
	}
	return all
}

// Attention queues a unit attention at each logical unit for the nexuses that to picks by
// what they address: a volume or none, a protocol endpoint or none, as Locate tells it. It
// tells how many were picked, and calls to without locks.
func (t *Target) Attention(code scsi.ASC, to func(n *scsi.Nexus, volume vvol.ID, endpoint string) bool) int {
	picked := map[*device.LogicalUnit]map[*scsi.Nexus]bool{}
	told := 0
	for _, w := range t.ways() {
		if picked[w.lu][w.nexus] || !to(w.nexus, w.volume, w.endpoint) {
			continue
		}
		if picked[w.lu] == nil {
			picked[w.lu] = map[*scsi.Nexus]bool{}
		}
		picked[w.lu][w.nexus] = true
		told++
	}
	for lu, nexuses := range picked {
		lu.Attention(code, func(n *scsi.Nexus) bool { return nexuses[n] })
	}
	return told
}

// LoseReservations takes the reservations of each logical unit to which to picks a way, as
// device.LogicalUnit does. It tells how many were picked, and calls to without locks.
func (t *Target) LoseReservations(released bool, to func(n *scsi.Nexus, volume vvol.ID, endpoint string) bool) int {
	picked := map[*device.LogicalUnit]vvol.ID{}
	for _, w := range t.ways() {
		if _, done := picked[w.lu]; !done && to(w.nexus, w.volume, w.endpoint) {
			picked[w.lu] = w.volume
		}
	}
	for lu, volume := range picked {
		if err := lu.LoseReservations(context.Background(), released); err != nil && t.o.Events.InternalFailure != nil {
			t.o.Events.InternalFailure(volume, err)
		}
	}
	return len(picked)
}

// TakeAttention removes and returns the unit attention that the logical unit of a task
// would deliver now.
func (t *Target) TakeAttention(task *scsi.Task) (code scsi.ASC, ok bool) {
	r := t.find(task.Nexus.Routes.(*host), task.LUN)
	if r == nil {
		return 0, false
	}
	if r.unit != nil {
		return r.unit.lu.TakeAttention(task)
	}
	if lu, is := r.lu.(*device.LogicalUnit); is {
		return lu.TakeAttention(task)
	}
	return 0, false
}
