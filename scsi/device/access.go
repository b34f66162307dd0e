package device

import (
	"slices"

	"vvsim/scsi"
	"vvsim/scsi/cdb"
)

// inaccessible tells why a command with some traits may not run on a target port;
// nil when it may (SPC-4 5.15.2.4, 5.15.2.5).
func (lu *LogicalUnit) inaccessible(port uint16, t traits) *scsi.SenseData {
	if t&anyState != 0 {
		return nil
	}
	var code scsi.ASC
	switch lu.accessState(port) {
	case Standby:
		if t&standby != 0 {
			return nil
		}
		code = scsi.TargetPortStandby
	case Unavailable:
		code = scsi.TargetPortUnavailable
	case Transitioning:
		code = scsi.AccessStateTransition
	default:
		return nil
	}
	s := scsi.Sense(scsi.NotReady, code)
	return &s
}

// accessState is the state of the target port group of a port; active for a port
// that is in no group. Every command asks: it costs a look at a short list.
func (lu *LogicalUnit) accessState(port uint16) AccessState {
	groups := lu.c.Ports()
	for i := range groups {
		if groups[i].ID == port {
			return groups[i].State
		}
	}
	return ActiveOptimized
}

// reportTargetPortGroups is SPC-4 6.36.
func reportTargetPortGroups(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	const extended = 1
	var c cdb.Parameter
	c.Parse(t.CDB)
	header := 4
	format := c.Byte1 >> 5
	if format > extended {
		return fail(scsi.InvalidFieldInCDB(1))
	}
	if format == extended {
		header = 8
	}
	p := make([]byte, header)
	if format == extended {
		p[4] = extended << 4
	}
	for _, g := range lu.c.Ports() {
		// T_SUP, U_SUP, S_SUP, AN_SUP, AO_SUP
		d := []byte{byte(g.State), 0x8f, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}
		put16(d[2:], g.ID)
		put16(d[10:], g.ID)
		p = append(p, d...)
	}
	put32(p, uint32(len(p)-4))
	return parameterData(t, p, c.Length)
}

// setTargetPortGroups is SPC-4 6.45.
func setTargetPortGroups(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	if !lu.c.Knobs().ExplicitALUA || lu.c.SetPorts == nil {
		return fail(scsi.InvalidFieldInCDB(1))
	}
	var c cdb.Parameter
	c.Parse(t.CDB)
	p := t.DataOut
	switch {
	case c.Length == 0:
		return scsi.Good()
	case len(p) < int(c.Length) || len(p) < 4 || (len(p)-4)%4 != 0:
		return fail(scsi.ParameterListLength())
	}
	known := lu.c.Ports()
	states := map[uint16]AccessState{}
	for at := 4; at < len(p); at += 4 {
		state, id := AccessState(p[at]&0x0f), get16(p[at+2:])
		switch state {
		case ActiveOptimized, ActiveNonOptimized, Standby, Unavailable:
		default:
			return fail(scsi.InvalidFieldInParameters(at))
		}
		if !slices.ContainsFunc(known, func(g PortGroup) bool { return g.ID == id }) {
			return fail(scsi.InvalidFieldInParameters(at + 2))
		}
		states[id] = state
	}
	if !lu.c.SetPorts(t.Nexus, states) {
		return fail(scsi.Sense(scsi.HardwareError, scsi.SetTargetPortGroupsFailed))
	}
	return scsi.Response{TransferLength: uint64(c.Length)}
}
