package device

import (
	"vvsim/scsi"
	"vvsim/scsi/cdb"
)

// Limits of EXTENDED COPY, shown by RECEIVE COPY OPERATING PARAMETERS and VPD page
// 8Fh (scsi.md 3.4: what passes on ESXi, with more segments allowed).
const (
	maxCSCDs         = 2
	maxSegments      = 16
	maxCopyList      = 1024
	maxSegmentBytes  = 16 << 20
	copyGranularity  = 9 // log2 of bytes
	typeBlockToBlock = 0x02
	typeIdentified   = 0xe4 // identification descriptor CSCD
	cscdLength       = 32
	segmentLength    = 28
	copyHeader       = 16

	withoutIdentifier = 3 // LIST ID USAGE: the list identifier is zero and nothing is kept
	maxCopyHistory    = 256
)

// copyHistory keeps the outcome of one nexus's copies by list identifier for
// RECEIVE COPY STATUS, as long as the nexus lives (SPC-4 6.18); guarded by
// LogicalUnit.mu.
type copyHistory struct {
	done  map[byte]copyOutcome
	order []byte
}

type copyOutcome struct {
	failed   bool
	segments uint16
	bytes    uint64
}

func (h *copyHistory) add(list byte, o copyOutcome) {
	if h.done == nil {
		h.done = map[byte]copyOutcome{}
	}
	if _, known := h.done[list]; !known {
		h.order = append(h.order, list)
	}
	h.done[list] = o
	if len(h.order) > maxCopyHistory {
		delete(h.done, h.order[0])
		h.order = h.order[1:]
	}
}

// segment is one block device to block device segment (SPC-4 6.4.6.5).
type segment struct {
	source, destination   *LogicalUnit
	sourceLBA, destinyLBA uint64
	blocks                uint64
}

// extendedCopy is EXTENDED COPY(LID1) (SPC-4 6.4): the list is checked as a whole,
// then each segment is one copy by the engine.
func extendedCopy(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	var c cdb.Parameter
	c.Parse(t.CDB)
	p := t.DataOut
	switch {
	case c.Length == 0:
		return scsi.Good()
	case c.Length > maxCopyList+copyHeader:
		return fail(scsi.ParameterListLength())
	case len(p) < int(c.Length) || len(p) < copyHeader:
		return fail(scsi.ParameterListLength())
	}
	list, held := p[0], p[1]>>3&3 != withoutIdentifier
	segments, sense := lu.parseCopy(t, p[:c.Length])
	if sense != nil {
		return fail(*sense)
	}
	var done copyOutcome
	for _, s := range segments {
		if r := s.run(t); r.Status != scsi.StatusGood {
			done.failed = true
			lu.remember(t.Nexus, list, done, held)
			return r
		}
		done.segments++
		done.bytes += s.blocks * BlockLength
	}
	lu.remember(t.Nexus, list, done, held)
	return scsi.Response{TransferLength: uint64(c.Length)}
}

func (lu *LogicalUnit) remember(n *scsi.Nexus, list byte, o copyOutcome, held bool) {
	if !held {
		return
	}
	s := lu.nexus(n)
	lu.mu.Lock()
	defer lu.mu.Unlock()
	s.copies.add(list, o)
}

// parseCopy checks header, CSCD descriptors and segment descriptors.
func (lu *LogicalUnit) parseCopy(t *scsi.Task, p []byte) (all []segment, sense *scsi.SenseData) {
	refuse := func(s scsi.SenseData) ([]segment, *scsi.SenseData) { return nil, &s }
	cscds, segments, inline := int(get16(p[2:])), int(get32(p[8:])), int(get32(p[12:]))
	switch {
	case p[1]>>3&3 == 1:
		return refuse(scsi.InvalidFieldInParameters(1)) // LIST ID USAGE 01b is reserved
	case p[1]>>3&3 == withoutIdentifier && p[0] != 0:
		return refuse(scsi.InvalidFieldInParameters(0))
	case inline != 0:
		return refuse(scsi.Sense(scsi.IllegalRequest, scsi.InlineDataLengthExceeded))
	case cscds%cscdLength != 0 || cscds+segments+copyHeader > len(p):
		return refuse(scsi.ParameterListLength())
	case cscds/cscdLength > maxCSCDs:
		return refuse(scsi.Sense(scsi.IllegalRequest, scsi.TooManyTargetDescriptors))
	case segments > maxSegments*segmentLength:
		return refuse(scsi.Sense(scsi.IllegalRequest, scsi.TooManySegmentDescriptors))
	}
	var units []*LogicalUnit
	for at := copyHeader; at < copyHeader+cscds; at += cscdLength {
		u, s := lu.parseCSCD(t, p[at:at+cscdLength], at)
		if s != nil {
			return nil, s
		}
		units = append(units, u)
	}
	for at := copyHeader + cscds; at < copyHeader+cscds+segments; {
		d := p[at : copyHeader+cscds+segments]
		if d[0] != typeBlockToBlock {
			return refuse(scsi.Sense(scsi.IllegalRequest, scsi.UnsupportedSegmentDescriptor))
		}
		if len(d) < segmentLength || get16(d[2:]) != segmentLength-4 {
			return refuse(scsi.InvalidFieldInParameters(at + 2))
		}
		s, bad := parseSegment(units, d, at)
		if bad != nil {
			return nil, bad
		}
		all = append(all, s)
		at += segmentLength
	}
	return all, nil
}

// parseCSCD finds the logical unit of an identification descriptor (SPC-4 6.4.5.3).
func (lu *LogicalUnit) parseCSCD(t *scsi.Task, d []byte, at int) (*LogicalUnit, *scsi.SenseData) {
	refuse := func(s scsi.SenseData) (*LogicalUnit, *scsi.SenseData) { return nil, &s }
	switch {
	case d[0] != typeIdentified:
		return refuse(scsi.Sense(scsi.IllegalRequest, scsi.UnsupportedTargetDescriptor))
	case d[1]&0x20 != 0:
		return refuse(scsi.Sense(scsi.CopyAborted, scsi.CopyTargetNotReachable)) // NUL: no null device; LU ID TYPE says nothing here
	case d[1]&0x1f != 0:
		return refuse(scsi.InvalidFieldInParameters(at + 1)) // direct access block devices only
	case d[4]&0x0f != codeBinary || d[5]&0x3f != typeNAA || d[7] != 16:
		return refuse(scsi.Sense(scsi.CopyAborted, scsi.CopyTargetNotReachable))
	case get32(d[28:])&0xffffff != BlockLength:
		return refuse(scsi.InvalidFieldInParameters(at + 29))
	}
	naa := [16]byte(d[8:24])
	if naa == lu.c.Identity.NAA {
		return lu, nil
	}
	if lu.c.CopyTarget != nil {
		if u := lu.c.CopyTarget(t.Nexus, naa); u != nil {
			return u, nil
		}
	}
	return refuse(scsi.Sense(scsi.CopyAborted, scsi.CopyTargetNotReachable))
}

func parseSegment(units []*LogicalUnit, d []byte, at int) (s segment, sense *scsi.SenseData) {
	source, destination := int(get16(d[4:])), int(get16(d[6:]))
	if source >= len(units) || destination >= len(units) {
		bad := scsi.Sense(scsi.CopyAborted, scsi.CopyTargetNotReachable)
		return s, &bad
	}
	s = segment{units[source], units[destination], get64(d[12:]), get64(d[20:]), uint64(get16(d[10:]))}
	if s.blocks*BlockLength > maxSegmentBytes {
		bad := scsi.InvalidFieldInParameters(at + 10)
		return s, &bad
	}
	for _, r := range []struct {
		lu  *LogicalUnit
		lba uint64
	}{{s.source, s.sourceLBA}, {s.destination, s.destinyLBA}} {
		if bad := r.lu.inRange(r.lba, s.blocks); bad != nil && s.blocks > 0 {
			over := scsi.Sense(scsi.CopyAborted, scsi.NoAdditionalSense) // errors of a segment abort the copy (SPC-4 6.4.6.5)
			return s, &over
		}
	}
	return s, nil
}

// run copies one segment. Both units have to let the nexus in (SPC-4 5.18.4).
func (s *segment) run(t *scsi.Task) scsi.Response {
	if s.source.guarded.Load() && s.source.excludes(t.Nexus, readClass) ||
		s.destination.guarded.Load() && s.destination.excludes(t.Nexus, writeClass) {
		return scsi.Response{Status: scsi.StatusReservationConflict}
	}
	if bad := s.destination.writable(); bad != nil {
		return fail(*bad)
	}
	if s.blocks == 0 {
		return scsi.Good()
	}
	err := s.destination.c.Medium.CopyFrom(t.Context(), s.destinyLBA*BlockLength, s.source.c.Medium, s.sourceLBA*BlockLength, s.blocks*BlockLength)
	if err != nil {
		return s.destination.failed(err, s.destinyLBA, true)
	}
	return scsi.Good()
}

// copyOperatingParameters is SPC-4 6.21 (scsi.md 3.4).
func copyOperatingParameters(_ *LogicalUnit, t *scsi.Task) scsi.Response {
	var c cdb.Parameter
	c.Parse(t.CDB)
	p := make([]byte, 46)
	put32(p, uint32(len(p)-4))
	p[4] = 0x01 // SNLID: a list may go without identifier
	put16(p[8:], maxCSCDs)
	put16(p[10:], maxSegments)
	put32(p[12:], maxCopyList)
	put32(p[16:], maxSegmentBytes)
	put16(p[34:], 1) // total concurrent copies
	p[36] = 1
	p[37] = copyGranularity
	p[43] = 2
	p[44], p[45] = typeBlockToBlock, typeIdentified
	return parameterData(t, p, c.Length)
}

// copyStatus is RECEIVE COPY STATUS(LID1) (SPC-4 6.18).
func copyStatus(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	var c cdb.Parameter
	c.Parse(t.CDB)
	s := lu.nexusOf(t)
	lu.mu.Lock()
	o, known := s.copies.done[c.Byte2]
	lu.mu.Unlock()
	if !known {
		return fail(scsi.InvalidFieldInCDB(2))
	}
	p := make([]byte, 12)
	put32(p, 8)
	p[4] = 1 // completed without errors
	if o.failed {
		p[4] = 2
	}
	put16(p[5:], o.segments)
	p[7] = 1 // transfer count in KiB
	put32(p[8:], uint32(min(o.bytes>>10, 1<<32-1)))
	return parameterData(t, p, c.Length)
}

// thirdPartyCopyPage is VPD page 8Fh without its header: the descriptors every
// copy manager has to have (SPC-4 7.8.17).
func thirdPartyCopyPage() (p []byte) {
	add := func(kind uint16, d []byte) {
		for len(d)%4 != 0 {
			d = append(d, 0)
		}
		h := make([]byte, 4)
		put16(h, kind)
		put16(h[2:], uint16(len(d)))
		p = append(append(p, h...), d...)
	}
	// Supported Commands: operation code, number of service actions, service actions.
	commands := []byte{byte(scsi.OpExtendedCopy), 1, scsi.SAExtendedCopyLID1,
		byte(scsi.OpReceiveCopyResults), 2, scsi.SACopyStatusLID1, scsi.SACopyOperatingParameters}
	add(0x0001, append([]byte{byte(len(commands))}, commands...))
	parameters := make([]byte, 28)
	put16(parameters[4:], maxCSCDs)
	put16(parameters[6:], maxSegments)
	put32(parameters[8:], maxCopyList)
	add(0x0004, parameters) // Parameter Data
	add(0x0008, []byte{2, typeBlockToBlock, typeIdentified})
	add(0x000c, []byte{0, 0}) // Supported CSCD Descriptor IDs: none above 07FFh
	general := make([]byte, 32)
	put32(general, 1)     // total concurrent copies
	put32(general[4:], 1) // maximum identified concurrent copies
	put32(general[8:], maxSegmentBytes)
	general[12] = copyGranularity
	add(0x8001, general) // General Copy Operations
	return p
}
