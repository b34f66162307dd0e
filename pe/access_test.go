package pe

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/scsi/device"
	"vvsim/vvol/store/mem"
)

// TestSetPortsTellsOthers: access states are the array's, and every nexus but the
// one that set them hears of the change (SPC-4 6.45).
func TestSetPortsTellsOthers(t *testing.T) {
	e := mem.New()
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	target, err := New(Options{Engine: e, Portals: 2, Endpoints: []Endpoint{{Name: "pe0", LUN: 256}}, Knobs: device.DefaultKnobs})
	require.NoError(t, err)
	ready := func(n *scsi.Nexus) string {
		task := &scsi.Task{Nexus: n, LUN: scsi.SimpleLUN(256), CDB: make([]byte, 16)}
		target.Prepare(task)
		r := target.Execute(task)
		if r.Sense != nil {
			return r.Sense.String()
		}
		return r.Status.String()
	}
	a := &scsi.Nexus{NexusID: scsi.NexusID{Initiator: "iqn.a", TargetPort: 1}}
	b := &scsi.Nexus{NexusID: scsi.NexusID{Initiator: "iqn.b", TargetPort: 2}}
	for _, n := range []*scsi.Nexus{a, b} {
		require.NoError(t, target.NexusEstablished(n))
		require.Equal(t, "06/29/00 (UNIT ATTENTION)", ready(n))
		require.Equal(t, "GOOD", ready(n))
	}
	before := target.ports.list()
	require.True(t, target.setPorts(a, map[uint16]device.AccessState{1: device.Standby}))
	require.Equal(t, device.ActiveOptimized, before[0].State, "a list that was handed out does not change")
	require.Equal(t, "02/04/0B (NOT READY)", ready(a))
	require.Equal(t, "06/2A/06 (UNIT ATTENTION)", ready(b))
	require.Equal(t, "GOOD", ready(b))
}
