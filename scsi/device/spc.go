package device

import (
	"cmp"
	"slices"

	"vvsim/scsi"
	"vvsim/scsi/cdb"
)

// testUnitReady is SPC-4 6.47: a unit that is not ready does not get here.
func testUnitReady(*LogicalUnit, *scsi.Task) scsi.Response { return scsi.Good() }

// requestSense returns a pending unit attention as data with GOOD status and
// clears it; without one it tells what a TEST UNIT READY would (SPC-4 6.39, 5.6.2).
func requestSense(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	var s scsi.SenseData
	ready := lu.table[scsi.OpTestUnitReady].single
	if code, ok := lu.takeAttention(lu.nexusOf(t)); ok {
		s = scsi.Attention(code)
	} else if why := lu.inaccessible(t.Nexus.TargetPort, ready.traits); why != nil {
		s = *why
	} else if why := lu.sanitize.bars(ready); why != nil {
		s = *why
	}
	return senseParameters(t, s)
}

// senseParameters answers REQUEST SENSE in the format that DESC asks for.
func senseParameters(t *scsi.Task, s scsi.SenseData) scsi.Response {
	if t.CDB[1]&1 != 0 {
		return parameterData(t, s.AppendDescriptor(nil), uint32(t.CDB[4]))
	}
	return parameterData(t, s.AppendFixed(nil), uint32(t.CDB[4]))
}

// reportLUNs is SPC-4 6.33; it clears REPORTED LUNS DATA HAS CHANGED.
func reportLUNs(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	if !lu.c.Knobs().ConglomerateReports && (t.CDB[2] == 0x10 || t.CDB[2] == 0x12) {
		return fail(scsi.InvalidFieldInCDB(2))
	}
	r := lunList(t, lu.c.LUNs)
	if r.Status == scsi.StatusGood {
		lu.dropAttention(lu.nexusOf(t), scsi.ReportedLUNsDataChanged)
	}
	return r
}

// lunList answers REPORT LUNS. The list length is not cut by the allocation length.
func lunList(t *scsi.Task, luns func(*scsi.Nexus, scsi.LUN, byte) ([]scsi.LUN, *scsi.SenseData)) scsi.Response {
	var c cdb.Parameter
	c.Parse(t.CDB)
	list, sense := luns(t.Nexus, t.LUN, c.Byte2)
	if sense != nil {
		return fail(*sense)
	}
	p := make([]byte, 8, 8+8*len(list))
	put32(p, uint32(8*len(list)))
	for _, l := range list {
		p = append(p, l[:]...)
	}
	return parameterData(t, p, c.Length)
}

// startStopUnit is SBC-3 5.25; the unit is always started.
func startStopUnit(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	const start, noFlush, loadEject = 0x01, 0x04, 0x02
	switch {
	case t.CDB[4]>>4 != 0:
		return fail(scsi.InvalidBitInCDB(4, 7)) // power conditions are not supported
	case t.CDB[4]&loadEject != 0:
		return fail(scsi.InvalidBitInCDB(4, 1)) // the medium is not removable
	case t.CDB[4]&start == 0 && t.CDB[4]&noFlush == 0:
		if err := lu.c.Medium.Flush(t.Context()); err != nil {
			return lu.failed(err, 0, true)
		}
	}
	return scsi.Good()
}

// preventAllow has nothing to prevent: the medium is not removable (SBC-3 5.15).
func preventAllow(_ *LogicalUnit, t *scsi.Task) scsi.Response {
	if t.CDB[4]&0x03 > 1 {
		return fail(scsi.InvalidFieldInCDB(4))
	}
	return scsi.Good()
}

// sendDiagnostic is SPC-4 6.42: the default self-test passes, since whatever serves
// the command works; there are no diagnostic pages to send.
func sendDiagnostic(_ *LogicalUnit, t *scsi.Task) scsi.Response {
	switch {
	case t.CDB[1]>>5 != 0:
		return fail(scsi.InvalidBitInCDB(1, 7)) // SELF-TEST CODE: only the default one
	case get16(t.CDB[3:]) != 0:
		return fail(scsi.InvalidFieldInCDB(3))
	}
	return scsi.Good()
}

// logSense knows the list of supported pages, and the temperature-free pages that
// mean something here (SPC-4 6.8, 7.3).
func logSense(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	const list, listAll, informational = 0x00, 0xff, 0x2f
	page, sub := t.CDB[2]&0x3f, t.CDB[3]
	switch {
	case t.CDB[1]&1 != 0:
		return fail(scsi.InvalidBitInCDB(1, 0)) // SP: nothing can be saved
	case get16(t.CDB[5:]) != 0: // PARAMETER POINTER
		return fail(scsi.InvalidFieldInCDB(5))
	}
	var p []byte
	switch {
	case page == list && sub == 0:
		p = []byte{list, 0, 0, 2, list, informational}
	case page == list && sub == listAll:
		p = []byte{0x40 | list, listAll, 0, 6, list, 0, list, listAll, informational, 0}
	case page == informational && sub == 0:
		// One parameter, the general one: no exception, and FFh for a temperature that
		// nobody reads (SPC-4 7.3.8).
		p = []byte{informational, 0, 0, 8, 0, 0, 0x03, 4, 0, 0, 0xff, 0}
	case sub != 0 && (page == list || page == informational):
		return fail(scsi.InvalidFieldInCDB(3))
	default:
		return fail(scsi.InvalidFieldInCDB(2))
	}
	var c cdb.Parameter
	c.Parse(t.CDB)
	return parameterData(t, p, c.Length)
}

// reportTaskManagement is SPC-4 6.37.
func reportTaskManagement(_ *LogicalUnit, t *scsi.Task) scsi.Response {
	var c cdb.Parameter
	c.Parse(t.CDB)
	// ATS ATSS CTSS LURS QTS TRS; then QAES QTSS ITNRS
	p := []byte{0x80 | 0x40 | 0x10 | 0x08 | 0x04 | 0x02, 0x04 | 0x02 | 0x01, 0, 0}
	if t.CDB[2]&0x80 != 0 {
		p = append(p, make([]byte, 12)...) // no time-outs are indicated
		p[3] = 12
	}
	return parameterData(t, p, c.Length)
}

// reportOperationCodes is SPC-4 6.35, generated from the table.
func reportOperationCodes(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	var c cdb.Parameter
	c.Parse(t.CDB)
	timeouts := t.CDB[2]&0x80 != 0
	op, action := t.CDB[3], get16(t.CDB[4:])
	switch option := t.CDB[2] & 7; option {
	case 0:
		return parameterData(t, lu.allCommands(timeouts), c.Length)
	case 1, 2, 3:
		p, sense := lu.oneCommand(option, op, action, timeouts)
		if sense != nil {
			return fail(*sense)
		}
		return parameterData(t, p, c.Length)
	}
	return fail(scsi.InvalidFieldInCDB(2))
}

// commandTimeouts is a descriptor without indications (SPC-4 6.35.4).
var commandTimeouts = [12]byte{0, 10}

// supported lists the rows of the logical unit's kind in order of operation code
// and service action.
func (lu *LogicalUnit) supported() (all []*command) {
	for _, o := range lu.table {
		if o == nil {
			continue
		}
		var some []*command
		if o.single != nil {
			some = append(some, o.single)
		}
		for _, c := range o.actions {
			some = append(some, c)
		}
		slices.SortFunc(some, func(a, b *command) int { return cmp.Compare(a.action, b.action) })
		for _, c := range some {
			if lu.offers(c) {
				all = append(all, c)
			}
		}
	}
	return all
}

// offers tells whether a row is served by this logical unit.
func (lu *LogicalUnit) offers(c *command) bool {
	switch {
	case c.kinds&lu.c.Kind == 0:
		return false
	case lu.c.Kind == Administrative && (c.op == scsi.OpModeSense6 || c.op == scsi.OpModeSense10):
		return lu.c.Knobs().EndpointModes
	case c.op == scsi.OpMaintenanceOut:
		return lu.c.Knobs().ExplicitALUA && lu.c.SetPorts != nil
	case c.op == scsi.OpWriteAtomic16:
		return lu.c.Limits.AtomicWrite > 0
	}
	return true
}

// offersAction tells whether some service action of an operation code is served.
func (lu *LogicalUnit) offersAction(op byte) bool {
	if lu.table[op] == nil {
		return false
	}
	for _, c := range lu.table[op].actions {
		if lu.offers(c) {
			return true
		}
	}
	return false
}

func (lu *LogicalUnit) allCommands(timeouts bool) []byte {
	p := make([]byte, 4)
	for _, c := range lu.supported() {
		d := make([]byte, 8)
		d[0] = byte(c.op)
		if c.action >= 0 {
			put16(d[2:], uint16(c.action))
			d[5] |= 0x01
		}
		put16(d[6:], uint16(len(c.usage)))
		if timeouts {
			d[5] |= 0x02
			d = append(d, commandTimeouts[:]...)
		}
		p = append(p, d...)
	}
	put32(p, uint32(len(p)-4))
	return p
}

// oneCommand answers reporting options 1 (no service action), 2 (with one) and 3
// (whichever the operation code has).
func (lu *LogicalUnit) oneCommand(option byte, op byte, action uint16, timeouts bool) ([]byte, *scsi.SenseData) {
	o := lu.table[op]
	if o != nil && (option == 1 && o.actions != nil || option == 2 && o.single != nil) {
		s := scsi.InvalidFieldInCDB(4)
		if option == 1 {
			s = scsi.InvalidFieldInCDB(2)
		}
		return nil, &s
	}
	var c *command
	if o != nil && o.single != nil && (option != 3 || action == 0) {
		c = o.single
	} else if o != nil && action <= 0xff {
		c = o.actions[uint8(action)]
	}
	const supported, unsupported = 0x03, 0x01
	if c == nil || !lu.offers(c) {
		return []byte{0, unsupported, 0, 0}, nil
	}
	p := []byte{0, supported, 0, byte(len(c.usage))}
	p = append(p, c.usage...)
	if c.action >= 0 {
		p[5] = p[5]&^0x1f | byte(c.action) // the service action stands in its field
	}
	if timeouts {
		p[1] |= 0x80
		p = append(p, commandTimeouts[:]...)
	}
	return p, nil
}
