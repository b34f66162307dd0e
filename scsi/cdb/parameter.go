package cdb

import (
	"encoding/binary"
	"fmt"

	"vvsim/scsi"
)

// Parameter is a command that transfers parameter data and names its amount: an
// allocation length or a parameter list length (SPC-4 4.2.5.5, 4.2.5.6).
type Parameter struct {
	Op     scsi.OpCode
	Byte1  uint8 // flags, or a service action in bits 4-0
	Byte2  uint8 // page code, SELECT REPORT, scope and type …
	Byte3  uint8 // subpage code, where there is one
	Length uint32
}

// lengthField says where a command keeps its length, and how wide it is.
type lengthField struct{ at, size int }

// lengths of the commands that are not where their group has it.
var lengths = map[scsi.OpCode]lengthField{
	scsi.OpInquiry:              {3, 2},
	scsi.OpRequestSense:         {4, 1},
	scsi.OpModeSense6:           {4, 1},
	scsi.OpModeSelect6:          {4, 1},
	scsi.OpReceiveDiagnostic:    {3, 2},
	scsi.OpSendDiagnostic:       {3, 2},
	scsi.OpModeSense10:          {7, 2},
	scsi.OpModeSelect10:         {7, 2},
	scsi.OpLogSense:             {7, 2},
	scsi.OpUnmap:                {7, 2},
	scsi.OpReadDefectData10:     {7, 2},
	scsi.OpPersistentReserveIn:  {7, 2},
	scsi.OpPersistentReserveOut: {5, 4},
	scsi.OpSanitize:             {7, 2},
	scsi.OpReportLUNs:           {6, 4},
	scsi.OpMaintenanceIn:        {6, 4},
	scsi.OpMaintenanceOut:       {6, 4},
	scsi.OpReadDefectData12:     {6, 4},
	scsi.OpExtendedCopy:         {10, 4},
	scsi.OpReceiveCopyResults:   {10, 4},
	scsi.OpServiceActionIn16:    {10, 4},
}

// Parse reads a CDB; false for an operation code that names no length.
func (c *Parameter) Parse(b []byte) bool {
	*c = Parameter{Op: scsi.OpCode(b[0]), Byte1: b[1], Byte2: b[2], Byte3: b[3]}
	f, ok := lengths[c.Op]
	if !ok {
		return false
	}
	c.Length = field(b[f.at : f.at+f.size])
	return true
}

func field(b []byte) (v uint32) {
	for _, x := range b {
		v = v<<8 | uint32(x)
	}
	return v
}

// AppendTo appends the CDB in the length that the operation code implies.
func (c *Parameter) AppendTo(b []byte) []byte {
	var d [16]byte
	d[0], d[1], d[2], d[3] = byte(c.Op), c.Byte1, c.Byte2, c.Byte3
	var v [4]byte
	binary.BigEndian.PutUint32(v[:], c.Length)
	f := lengths[c.Op]
	copy(d[f.at:f.at+f.size], v[4-f.size:])
	return append(b, d[:c.Op.Length()]...)
}

// String is for logs and test failures.
func (c *Parameter) String() string {
	return fmt.Sprintf("%v byte1=%02Xh byte2=%02Xh length=%d", c.Op, c.Byte1, c.Byte2, c.Length)
}
