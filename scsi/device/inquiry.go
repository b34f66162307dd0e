package device

import (
	"fmt"

	"vvsim/scsi"
)

// Bits and values of standard INQUIRY data (SPC-4 6.6.2, scsi.md 3.2).
const (
	absentDevice    = 0x7f // PQ 011b, PDT 1Fh: no device here, and none can be
	conglomerate    = 0x40 // LU_CONG
	versionSPC4     = 0x06
	hiSup           = 0x10
	responseFormat  = 0x02
	thirdPartyCopy  = 0x08
	multiPort       = 0x10
	commandQueuing  = 0x02
	inquiryLength   = 96
	implicitALUA    = 0x10
	explicitALUA    = 0x20
	wellKnownDevice = 0x1e // PDT of a well-known logical unit
)

// inquiry is SPC-4 6.6.
func inquiry(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	allocation := uint32(get16(t.CDB[3:]))
	if t.CDB[1]&1 != 0 {
		p := lu.vpd(t, t.CDB[2])
		if p == nil {
			return fail(scsi.InvalidFieldInCDB(2))
		}
		p[0] = lu.peripheral()
		put16(p[2:], uint16(len(p)-4))
		return parameterData(t, p, allocation)
	}
	if t.CDB[2] != 0 {
		return fail(scsi.InvalidFieldInCDB(2)) // a page code without EVPD (SPC-4 6.6.1)
	}
	return parameterData(t, lu.standardInquiry(t), allocation)
}

// peripheral is byte 0 of INQUIRY data.
func (lu *LogicalUnit) peripheral() byte {
	if lu.c.Kind == WellKnown {
		return wellKnownDevice
	}
	return 0
}

func (lu *LogicalUnit) standardInquiry(t *scsi.Task) []byte {
	p := make([]byte, inquiryLength)
	p[0] = lu.peripheral()
	if lu.inConglomerate(t.LUN) {
		p[1] |= conglomerate
	}
	p[2] = versionSPC4
	p[3] = hiSup | responseFormat
	p[4] = inquiryLength - 5
	p[5] = implicitALUA
	if lu.c.Knobs().ExplicitALUA {
		p[5] |= explicitALUA
	}
	if lu.c.Kind == Volume {
		p[5] |= thirdPartyCopy
	}
	if len(lu.c.Ports()) > 1 {
		p[6] = multiPort
	}
	p[7] = commandQueuing
	ascii(p[8:16], Vendor)
	ascii(p[16:32], Product)
	ascii(p[32:36], Revision)
	for i, d := range []uint16{0x00a0, 0x0960, 0x0460, 0x04c0} { // SAM-5, iSCSI, SPC-4, SBC-3
		put16(p[58+2*i:], d)
	}
	return p
}

// inConglomerate tells whether the logical unit, as addressed, is part of a
// conglomerate: a protocol endpoint, or a volume below one (scsi.md 0 rule 1).
func (lu *LogicalUnit) inConglomerate(l scsi.LUN) bool {
	if lu.c.Kind == Administrative {
		return true
	}
	_, subsidiary := l.Subsidiary()
	return lu.c.Kind == Volume && subsidiary
}

// vpdPages are the pages of each kind, ascending (SPC-4 7.8).
var vpdPages = map[Kind][]byte{
	Volume:         {0x00, 0x80, 0x83, 0x86, 0x87, 0x88, 0x8f, 0xb0, 0xb1, 0xb2},
	Administrative: {0x00, 0x80, 0x83, 0x86, 0x87, 0x88},
	WellKnown:      {0x00},
}

// vpd returns a page, its first four bytes but for the page code still to be
// filled; nil when the logical unit does not have it.
func (lu *LogicalUnit) vpd(t *scsi.Task, page byte) []byte {
	var has bool
	for _, p := range vpdPages[lu.c.Kind] {
		has = has || p == page
	}
	if !has {
		return nil
	}
	head := []byte{0, page, 0, 0}
	switch page {
	case 0x00:
		return append(head, vpdPages[lu.c.Kind]...)
	case 0x80:
		return append(head, lu.c.Identity.Serial...)
	case 0x83:
		return append(head, lu.identification(t)...)
	case 0x86:
		return lu.extendedInquiry(head, t)
	case 0x87:
		return append(head, 0x3f, 0xff, 0x00, 0x00) // one policy for all pages: shared
	case 0x88:
		return append(head, lu.scsiPorts()...)
	case 0x8f:
		return append(head, thirdPartyCopyPage()...)
	case 0xb0:
		return lu.blockLimits(head)
	case 0xb1:
		return blockCharacteristics(head)
	}
	return lu.provisioningPage(head)
}

// Designation descriptor fields (SPC-4 7.8.6.1).
const (
	codeBinary, codeASCII, codeUTF8       = 0x1, 0x2, 0x3
	associationUnit, associationPort      = 0x00, 0x10
	typeT10, typeNAA, typePort, typeGroup = 0x1, 0x3, 0x4, 0x5
	typeName                              = 0x8
	protocolISCSI                         = 0x50
	protocolValid                         = 0x80
)

func designator(code, associationAndType byte, value []byte) []byte {
	return append([]byte{code, associationAndType, 0, byte(len(value))}, value...)
}

// identification is page 83h (SPC-4 7.8.6): the unit's NAA and T10 designators,
// and those of the port the command came in by.
func (lu *LogicalUnit) identification(t *scsi.Task) []byte {
	id := &lu.c.Identity
	p := designator(codeBinary, associationUnit|typeNAA, id.NAA[:])
	t10 := make([]byte, 8, 8+len(id.Serial))
	ascii(t10, Vendor)
	p = append(p, designator(codeASCII, associationUnit|typeT10, append(t10, id.Serial...))...)
	port := make([]byte, 4)
	put16(port[2:], t.Nexus.TargetPort)
	p = append(p, portDesignator(codeBinary, typePort, port)...)
	p = append(p, portDesignator(codeBinary, typeGroup, port)...)
	return append(p, portDesignator(codeUTF8, typeName, portName(id.TargetName, t.Nexus.TargetPort))...)
}

func portDesignator(code, kind byte, value []byte) []byte {
	return designator(protocolISCSI|code, protocolValid|associationPort|kind, value)
}

// portName is the SCSI name string of a target port, zero-terminated and padded
// to four bytes (SPC-4 7.8.6.10, RFC 7143 4.2.7.1).
func portName(target string, port uint16) []byte {
	b := append(fmt.Appendf(nil, "%s,t,0x%04x", target, port), 0)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// extendedInquiry is page 86h (SPC-4 7.8.7, scsi.md 1.2, 3.2).
func (lu *LogicalUnit) extendedInquiry(p []byte, t *scsi.Task) []byte {
	p = append(p, make([]byte, 60)...)
	p[5] = 0x07 // HEADSUP, ORDSUP, SIMPSUP
	if lu.c.Kind == Volume && !lu.mode.writeThrough() {
		p[6] = 0x01 // V_SUP: a volatile cache
	}
	p[7] = 0x01 // LUICLR
	if lu.inConglomerate(t.LUN) {
		p[8] = 1 << 5 // LU_COLL_TYPE: conglomerate
	}
	return p
}

// scsiPorts is page 88h (SPC-4 7.8.15).
func (lu *LogicalUnit) scsiPorts() (p []byte) {
	for _, g := range lu.c.Ports() {
		name := portDesignator(codeUTF8, typeName, portName(lu.c.Identity.TargetName, g.ID))
		d := make([]byte, 12)
		put16(d[2:], g.ID)
		put16(d[10:], uint16(len(name)))
		p = append(append(p, d...), name...)
	}
	return p
}

// blockLimits is page B0h (SBC-3 6.5.3, scsi.md 3.3).
func (lu *LogicalUnit) blockLimits(p []byte) []byte {
	l := &lu.c.Limits
	p = append(p, make([]byte, 60)...)
	p[5] = byte(l.MaxCompareWrite)
	put16(p[6:], uint16(l.Granularity/BlockLength))
	put32(p[8:], uint32(l.MaxTransfer/BlockLength))
	put32(p[12:], uint32(min(l.MaxTransfer, 128<<10)/BlockLength)) // optimal transfer length
	put32(p[16:], uint32(l.MaxTransfer/BlockLength))               // of PRE-FETCH
	put32(p[20:], lu.maxUnmapBlocks())
	put32(p[24:], maxUnmapDescriptors)
	put32(p[28:], uint32(l.Granularity/BlockLength))
	put32(p[32:], 1<<31) // UGAVALID, alignment 0
	put64(p[36:], maxWriteSame/BlockLength)
	if l.AtomicWrite > 0 {
		put32(p[44:], uint32(l.AtomicWrite/BlockLength))
		put32(p[52:], 1) // atomic transfer length granularity
	}
	return p
}

func (lu *LogicalUnit) maxUnmapBlocks() uint32 {
	return uint32(min(lu.c.Limits.MaxUnmap/BlockLength, 1<<32-1))
}

// blockCharacteristics is page B1h: a solid state medium, which reads without error
// after a SANITIZE erased it (SBC-3 6.5.2).
func blockCharacteristics(p []byte) []byte {
	const readsAfterBlockErase, readsAfterCryptoErase = 0x40, 0x10 // WABEREQ, WACEREQ 01b
	p = append(p, make([]byte, 60)...)
	put16(p[4:], 1)
	p[7] = readsAfterBlockErase | readsAfterCryptoErase
	return p
}

// provisioningPage is page B2h: thin, UNMAP and both WRITE SAME unmap, and
// unmapped blocks read as zeros (SBC-3 6.5.4).
func (lu *LogicalUnit) provisioningPage(p []byte) []byte {
	const unmap, writeSame16, writeSame10, readsZeros, thin = 0x80, 0x40, 0x20, 0x04, 0x02
	return append(p, 0, unmap|writeSame16|writeSame10|readsZeros, thin, 0)
}
