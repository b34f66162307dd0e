package loss

import (
	"slices"

	"vvsim/scsi"
)

// Senses are those of a permanent loss, the usual one first. The last is made for units
// behind a protocol endpoint; whether hosts take it for a loss is not known.
func Senses() []scsi.SenseData {
	return []scsi.SenseData{
		scsi.UnsupportedLUN(),
		scsi.Sense(scsi.HardwareError, scsi.LogicalUnitFailedSelfConfig),
		scsi.Sense(scsi.HardwareError, scsi.LogicalUnitFailure),
		scsi.Sense(scsi.HardwareError, scsi.LogicalUnitFailedSelfTest),
		scsi.Sense(scsi.IllegalRequest, scsi.SubsidiaryNotConfigured),
	}
}

// Known tells whether s is one of Senses.
func Known(s scsi.SenseData) bool { return slices.Contains(Senses(), s) }

// Absent tells whether s says that there is no unit, and not that it is broken.
func Absent(s scsi.SenseData) bool { return s.Key == scsi.IllegalRequest }

// Meets tells whether a command meets the loss: what finds units is answered as ever, and
// that a unit is broken does not keep it from telling what it is (SPC-4 5.13).
func Meets(s scsi.SenseData, op scsi.OpCode) bool {
	switch op {
	case scsi.OpReportLUNs:
		return false
	case scsi.OpInquiry, scsi.OpRequestSense:
		return Absent(s)
	}
	return true
}

// Answer is that of a unit that is not there or broken. REQUEST SENSE succeeds and carries
// the sense (SPC-4 6.39).
func Answer(s scsi.SenseData, task *scsi.Task) scsi.Response {
	if scsi.OpCode(task.CDB[0]) != scsi.OpRequestSense {
		return scsi.CheckCondition(s)
	}
	p := s.AppendFixed(nil)
	if task.CDB[1]&1 != 0 { // DESC
		p = s.AppendDescriptor(nil)
	}
	p = p[:min(len(p), int(task.CDB[4]))]
	return scsi.Response{DataIn: scsi.BufferOf(p[:min(len(p), int(task.ExpectedIn))]), TransferLength: uint64(len(p))}
}

// Inquiry makes standard INQUIRY data those of a LUN without a logical unit: peripheral
// qualifier 011b, device type 1Fh (SPC-4 6.6.2).
func Inquiry(r scsi.Response) scsi.Response {
	if p := r.DataIn.Bytes(); len(p) > 0 {
		p[0] = 0x7f
	}
	return r
}
