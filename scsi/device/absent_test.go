package device

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
)

// TestAbsent answers as scsi.md 1.8 says, with the sense code that a knob chose.
func TestAbsent(t *testing.T) {
	code := scsi.LogicalUnitNotSupported
	listed := scsi.DiskLUN(3)
	a := Absent{Sense: func() scsi.SenseData { return scsi.Sense(scsi.IllegalRequest, code) },
		LUNs: func(_ *scsi.Nexus, addressed scsi.LUN, _ byte) ([]scsi.LUN, *scsi.SenseData) {
			require.Equal(t, scsi.LUN{}, addressed, "the list of LUN 0")
			return []scsi.LUN{listed}, nil
		}}
	run := func(cdb ...byte) scsi.Response {
		task := &scsi.Task{Nexus: &scsi.Nexus{}, LUN: scsi.DiskLUN(9), CDB: append(cdb, make([]byte, 16)...), ExpectedIn: 255}
		require.Zero(t, a.Prepare(task))
		return a.Execute(task)
	}
	inquiry := run(0x12, 0, 0, 0, 96, 0)
	require.Equal(t, []byte{0x7f, 0, 0x06, 0x12, 31}, inquiry.DataIn.Bytes()[:5], "PQ 011b, PDT 1Fh")
	require.Equal(t, 36, inquiry.DataIn.Len())
	sense := run(0x03, 0, 0, 0, 18, 0)
	require.Equal(t, scsi.StatusGood, sense.Status)
	parsed, err := scsi.ParseSense(sense.DataIn.Bytes())
	require.NoError(t, err)
	require.Equal(t, scsi.UnsupportedLUN(), parsed)
	luns := run(0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0)
	require.Equal(t, listed[:], luns.DataIn.Bytes()[8:])
	for _, cdb := range [][]byte{{0x12, 1, 0x83, 0, 255, 0}, {0, 0, 0, 0, 0, 0}, {0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0}, {0xff}, {0x16, 0, 0, 0, 0, 0}} {
		require.Equal(t, "05/25/00 (ILLEGAL REQUEST)", run(cdb...).Sense.String(), "% x", cdb)
	}
	code = scsi.SubsidiaryNotConfigured
	require.Equal(t, "05/68/01 (ILLEGAL REQUEST)", run(0, 0, 0, 0, 0, 0).Sense.String())
	require.Equal(t, scsi.LUNDoesNotExist, a.Manage(t.Context(), scsi.TaskManagement{Function: scsi.LogicalUnitReset}))
}

// TestRemoved: a unit that was removed answers as an absent one at once.
func TestRemoved(t *testing.T) {
	x := newBench(t, Volume)
	require.NoError(t, x.lu.Remove(t.Context()))
	require.Equal(t, "05/25/00 (ILLEGAL REQUEST)", x.sense(x.a, nil, 0, 0, 0, 0, 0, 0))
	require.Equal(t, byte(0x7f), x.good(x.a, nil, 0x12, 0, 0, 0, 36, 0)[0])
	require.Equal(t, scsi.LUNDoesNotExist, x.lu.Manage(t.Context(), scsi.TaskManagement{Function: scsi.AbortTask, Nexus: x.a}))
}
