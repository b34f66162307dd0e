package device

import (
	"encoding/binary"

	"vvsim/scsi"
)

// fail is CHECK CONDITION.
func fail(s scsi.SenseData) scsi.Response { return scsi.CheckCondition(s) }

// parameterData answers with p cut to the allocation length and to what the
// initiator takes (SPC-4 4.2.5.6).
func parameterData(t *scsi.Task, p []byte, allocation uint32) scsi.Response {
	p = p[:min(len(p), int(allocation))]
	r := scsi.Response{TransferLength: uint64(len(p))}
	if len(p) > 0 {
		r.DataIn = scsi.BufferOf(p[:min(len(p), int(t.ExpectedIn))])
	}
	return r
}

func put16(b []byte, v uint16) { binary.BigEndian.PutUint16(b, v) }
func put32(b []byte, v uint32) { binary.BigEndian.PutUint32(b, v) }
func put64(b []byte, v uint64) { binary.BigEndian.PutUint64(b, v) }
func get16(b []byte) uint16    { return binary.BigEndian.Uint16(b) }
func get32(b []byte) uint32    { return binary.BigEndian.Uint32(b) }
func get64(b []byte) uint64    { return binary.BigEndian.Uint64(b) }

// ascii pads or cuts s to the length of b.
func ascii(b []byte, s string) {
	for i := range b {
		b[i] = ' '
	}
	copy(b, s)
}
