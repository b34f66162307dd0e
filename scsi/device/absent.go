package device

import (
	"context"

	"vvsim/scsi"
)

// Absent answers for a logical unit that is not there: unbound, unmapped, or never
// known (scsi.md 1.8, SPC-4 5.x). It keeps no task set: its tasks end at once.
type Absent struct {
	LUNs  func(n *scsi.Nexus, addressed scsi.LUN, selectReport byte) ([]scsi.LUN, *scsi.SenseData)
	Sense func() scsi.SenseData // 05/25/00 unless a knob says otherwise
}

// Prepare implements scsi.LogicalUnit.
func (Absent) Prepare(*scsi.Task) int { return 0 }

// Execute implements scsi.LogicalUnit.
func (a Absent) Execute(t *scsi.Task) scsi.Response { return a.answer(t) }

func (a Absent) answer(t *scsi.Task) scsi.Response {
	switch scsi.OpCode(t.CDB[0]) {
	case scsi.OpInquiry:
		if t.CDB[1]&1 == 0 && t.CDB[2] == 0 {
			p := make([]byte, 36)
			p[0], p[2], p[3], p[4] = absentDevice, versionSPC4, hiSup|responseFormat, 31
			ascii(p[8:16], Vendor)
			ascii(p[16:32], Product)
			ascii(p[32:36], Revision)
			return parameterData(t, p, uint32(get16(t.CDB[3:])))
		}
	case scsi.OpRequestSense:
		return senseParameters(t, a.Sense())
	case scsi.OpReportLUNs:
		return lunList(t, func(n *scsi.Nexus, _ scsi.LUN, s byte) ([]scsi.LUN, *scsi.SenseData) {
			return a.LUNs(n, scsi.LUN{}, s)
		})
	}
	return fail(a.Sense())
}

// Manage implements scsi.LogicalUnit.
func (Absent) Manage(context.Context, scsi.TaskManagement) scsi.ManagementResponse {
	return scsi.LUNDoesNotExist
}

// NexusLost implements scsi.LogicalUnit.
func (Absent) NexusLost(*scsi.Nexus) {}

var _ scsi.LogicalUnit = Absent{}
