package device

import (
	"bytes"
	"context"
	"encoding/hex"
	"slices"
	"strings"

	"vvsim/scsi"
	"vvsim/scsi/cdb"
)

// persistentIn is PERSISTENT RESERVE IN (SPC-4 6.15).
func persistentIn(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	var c cdb.Parameter
	c.Parse(t.CDB)
	lu.mu.Lock()
	r := lu.reservations.clone()
	lu.mu.Unlock()
	p := make([]byte, 8)
	put32(p, r.generation)
	switch c.Byte1 & 0x1f {
	case scsi.SAPersistentReadKeys:
		for _, g := range r.all {
			p = append(p, make([]byte, 8)...)
			put64(p[len(p)-8:], g.Key)
		}
		put32(p[4:], uint32(len(p)-8))
	case scsi.SAPersistentReadReservation:
		p = append(p, r.describe()...)
		put32(p[4:], uint32(len(p)-8))
	case scsi.SAPersistentReportCapabilities:
		// CRH, SIP_C, ATP_C, PTPL_C; TMV, PTPL_A; all types (SPC-4 6.15.4).
		p = []byte{0, 8, 0x10 | 0x08 | 0x04, 0x80, 0xea, 0x01, 0, 0}
		if lu.c.Reservations != nil {
			p[2] |= 0x01
		}
		if r.persist {
			p[3] |= 0x01
		}
	case scsi.SAPersistentReadFullStatus:
		for _, g := range r.all {
			p = append(p, r.fullStatus(g)...)
		}
		put32(p[4:], uint32(len(p)-8))
	}
	return parameterData(t, p, c.Length)
}

// describe is the reservation descriptor of READ RESERVATION, empty without one.
func (r *reservations) describe() []byte {
	if r.kind == 0 {
		return nil
	}
	d := make([]byte, 16)
	if r.holder != nil {
		if g := r.find(*r.holder); g != nil {
			put64(d, g.Key)
		}
	}
	d[13] = r.kind
	return d
}

// fullStatus is one descriptor of READ FULL STATUS (SPC-4 6.15.5).
func (r *reservations) fullStatus(g registration) []byte {
	id := transportID(g.Nexus)
	d := make([]byte, 24, 24+len(id))
	put64(d, g.Key)
	if r.holds(g.Nexus) {
		d[12], d[13] = 0x01, r.kind
	}
	put16(d[18:], g.Nexus.TargetPort)
	put32(d[20:], uint32(len(id)))
	return append(d, id...)
}

// transportID is an iSCSI TransportID with ISID (SPC-4 7.6.4.6).
func transportID(id scsi.NexusID) []byte {
	name := append([]byte(id.InitiatorPort()), 0)
	for len(name)%4 != 0 {
		name = append(name, 0)
	}
	b := make([]byte, 4, 4+len(name))
	b[0] = 0x45 // format 01b, protocol iSCSI
	put16(b[2:], uint16(len(name)))
	return append(b, name...)
}

// parseTransportID reads an iSCSI TransportID; any ISID of the name is meant when
// it carries none. ok is false for one that is malformed or of another transport.
func parseTransportID(b []byte) (name string, isid [6]byte, hasISID bool, size int, ok bool) {
	if len(b) < 24 || b[0]&0x0f != 0x05 {
		return "", isid, false, 0, false
	}
	n := int(get16(b[2:]))
	if n < 20 || n%4 != 0 || 4+n > len(b) {
		return "", isid, false, 0, false
	}
	text, _, _ := bytes.Cut(b[4:4+n], []byte{0})
	name = string(text)
	switch b[0] >> 6 {
	case 0:
		return name, isid, false, 4 + n, name != ""
	case 1:
		base, digits, found := strings.Cut(name, ",i,0x")
		raw, err := hex.DecodeString(digits)
		if !found || err != nil || len(raw) != 6 {
			return "", isid, false, 0, false
		}
		return base, [6]byte(raw), true, 4 + n, base != ""
	}
	return "", isid, false, 0, false
}

// outRequest is the parameter list of PERSISTENT RESERVE OUT (SPC-4 6.16.3).
type outRequest struct {
	action                 byte
	scope, kind            byte
	key, actionKey         uint64
	specify, allPorts, apt bool
	ids                    []byte // TransportIDs of SPEC_I_PT, or the whole list of REGISTER AND MOVE
}

// change is what a service action did: attentions to raise and tasks to abort.
type change struct {
	attentions []struct {
		code scsi.ASC
		id   scsi.NexusID
	}
	abort []scsi.NexusID
	sense *scsi.SenseData
	// conflict ends the command with RESERVATION CONFLICT.
	conflict bool
}

func (c *change) tell(code scsi.ASC, id scsi.NexusID) {
	c.attentions = append(c.attentions, struct {
		code scsi.ASC
		id   scsi.NexusID
	}{code, id})
}

func (c *change) refuse(s scsi.SenseData) { c.sense = &s }

// persistentOut is PERSISTENT RESERVE OUT (SPC-4 6.16). It works on a copy of the
// state, which becomes the state once it is kept.
func persistentOut(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	q, sense := parseOut(t)
	if sense != nil {
		return fail(*sense)
	}
	if q.apt && lu.c.Reservations == nil {
		return fail(scsi.InvalidBitInParameters(20, 0))
	}
	lu.persistent.Lock()
	defer lu.persistent.Unlock()
	lu.mu.Lock()
	r := lu.reservations.clone()
	lu.mu.Unlock()
	var done change
	r.apply(t.Nexus.NexusID, q, &done, lu.c.Ports())
	switch {
	case done.conflict:
		return scsi.Response{Status: scsi.StatusReservationConflict}
	case done.sense != nil:
		return fail(*done.sense)
	}
	if err := lu.keep(t.Context(), r); err != nil {
		return lu.failed(err, 0, true)
	}
	lu.install(r, false, &done)
	for _, id := range done.abort {
		lu.abort(context.WithoutCancel(t.Context()), t.Nexus, func(o *scsi.Task) bool { return o != t && o.Nexus.NexusID == id })
	}
	return scsi.Response{TransferLength: uint64(get32(t.CDB[5:]))}
}

// LoseReservations takes registrations and the reservation away, as a CLEAR of a nexus that
// nobody knows would, or with released the reservation alone, as its holder's RELEASE would:
// registered nexuses hear of it by RESERVATIONS PREEMPTED, or RELEASED where the type tells
// registrants (SPC-4 5.13.11). A reservation of SPC-2 goes too, of which nobody hears. The
// error is that of the store, and nothing was lost then.
func (lu *LogicalUnit) LoseReservations(ctx context.Context, released bool) error {
	lu.persistent.Lock()
	defer lu.persistent.Unlock()
	lu.mu.Lock()
	r := lu.reservations.clone()
	lu.mu.Unlock()
	var done change
	if !released {
		r.clear(scsi.NexusID{}, &done)
	} else if registrantsOnly(r.kind) {
		r.tellOthers(scsi.ReservationsReleased, scsi.NexusID{}, &done)
	}
	r.kind, r.holder = 0, nil
	if err := lu.keep(ctx, r); err != nil {
		return err
	}
	lu.install(r, true, &done)
	return nil
}

// install puts a changed state in force and tells of it; all takes SPC-2's reservation too.
func (lu *LogicalUnit) install(r reservations, all bool, done *change) {
	lu.mu.Lock()
	if r.spc2 = lu.reservations.spc2; all {
		r.spc2 = nil
	}
	lu.reservations = r
	lu.refreshGuard()
	lu.mu.Unlock()
	for _, a := range done.attentions {
		lu.Attention(a.code, func(n *scsi.Nexus) bool { return n.NexusID == a.id })
	}
}

func parseOut(t *scsi.Task) (*outRequest, *scsi.SenseData) {
	refuse := func(s scsi.SenseData) (*outRequest, *scsi.SenseData) { return nil, &s }
	length, p := int(get32(t.CDB[5:])), t.DataOut
	q := &outRequest{action: t.CDB[1] & 0x1f, scope: t.CDB[2] >> 4, kind: t.CDB[2] & 0x0f}
	move := q.action == scsi.SAPersistentRegisterAndMove
	if length < 24 || len(p) < length {
		return refuse(scsi.ParameterListLength())
	}
	q.key, q.actionKey = get64(p), get64(p[8:])
	if move {
		q.apt, q.ids = p[17]&0x01 != 0, p
		return q, nil
	}
	q.specify = p[20]&0x08 != 0
	if q.action == scsi.SAPersistentRegister || q.action == scsi.SAPersistentRegisterAndIgnoreKey {
		q.allPorts, q.apt = p[20]&0x04 != 0, p[20]&0x01 != 0 // ignored by the other actions
	}
	switch {
	case q.specify && q.action != scsi.SAPersistentRegister:
		return refuse(scsi.InvalidBitInParameters(20, 3))
	case q.specify:
		if len(p) < 28 || int(get32(p[24:])) != length-28 {
			return refuse(scsi.ParameterListLength())
		}
		q.ids = p[28:length]
	case length != 24:
		return refuse(scsi.ParameterListLength())
	}
	return q, nil
}

// apply performs a service action on r.
func (r *reservations) apply(id scsi.NexusID, q *outRequest, c *change, ports []PortGroup) {
	mine := r.find(id)
	needsKey := q.action != scsi.SAPersistentRegisterAndIgnoreKey && !(q.action == scsi.SAPersistentRegister && mine == nil)
	switch {
	case needsKey && (mine == nil || mine.Key != q.key),
		q.action == scsi.SAPersistentRegister && mine == nil && q.key != 0:
		c.conflict = true
		return
	case q.action == scsi.SAPersistentReserve && !q.validReservation():
		c.refuse(scsi.InvalidFieldInCDB(2))
		return
	}
	switch q.action {
	case scsi.SAPersistentRegister, scsi.SAPersistentRegisterAndIgnoreKey:
		r.register(id, q, c, ports)
	case scsi.SAPersistentReserve:
		r.reserve(id, q, c)
	case scsi.SAPersistentRelease:
		r.releasePersistent(id, q, c)
	case scsi.SAPersistentClear:
		r.clear(id, c)
	case scsi.SAPersistentPreempt, scsi.SAPersistentPreemptAndAbort:
		r.preempt(id, q, c)
	case scsi.SAPersistentRegisterAndMove:
		r.move(id, q, c, ports)
	}
}

// validReservation tells whether scope and type name a reservation that there is.
func (q *outRequest) validReservation() bool { return q.scope == 0 && validType(q.kind) }

// register is SPC-4 5.13.7.
func (r *reservations) register(id scsi.NexusID, q *outRequest, c *change, ports []PortGroup) {
	nexuses := []scsi.NexusID{id}
	if q.specify {
		if r.find(id) != nil {
			c.refuse(scsi.InvalidBitInParameters(20, 3)) // only an unregistered nexus may
			return
		}
		more, ok := specified(q.ids, id)
		if !ok {
			c.refuse(scsi.InvalidFieldInParameters(28))
			return
		}
		nexuses = append(nexuses, more...)
	}
	if q.allPorts {
		nexuses = onAllPorts(nexuses, ports)
	}
	for _, n := range nexuses {
		g := r.find(n)
		switch {
		case g == nil && q.actionKey == 0:
		case g == nil && len(r.all) >= maxRegistrations:
			c.refuse(scsi.Sense(scsi.IllegalRequest, scsi.InsufficientRegistrationSpace))
			return
		case g == nil:
			r.all = append(r.all, registration{n, q.actionKey})
		case q.actionKey == 0:
			r.unregister(n, id, c)
		default:
			g.Key = q.actionKey
		}
	}
	r.generation++
	r.persist = q.apt
}

// specified reads the TransportIDs of SPEC_I_PT. One without ISID means the
// session with the ISID of the registering nexus.
func specified(b []byte, id scsi.NexusID) (all []scsi.NexusID, ok bool) {
	for len(b) > 0 {
		name, isid, hasISID, size, ok := parseTransportID(b)
		if !ok {
			return nil, false
		}
		if !hasISID {
			isid = id.ISID
		}
		all = append(all, scsi.NexusID{Initiator: name, ISID: isid, TargetPort: id.TargetPort})
		b = b[size:]
	}
	return all, true
}

func onAllPorts(nexuses []scsi.NexusID, ports []PortGroup) (all []scsi.NexusID) {
	for _, n := range nexuses {
		for _, g := range ports {
			n.TargetPort = g.ID
			all = append(all, n)
		}
	}
	return all
}

// unregister removes a registration and the reservation it holds; registrants of
// a registrants only type hear of the release (SPC-4 5.13.11.2.2).
func (r *reservations) unregister(n, by scsi.NexusID, c *change) {
	held := r.holds(n)
	r.all = slices.DeleteFunc(r.all, func(g registration) bool { return g.Nexus == n })
	switch {
	case !held:
	case allRegistrants(r.kind) && len(r.all) > 0:
	case allRegistrants(r.kind):
		r.kind, r.holder = 0, nil
	default:
		if registrantsOnly(r.kind) {
			r.tellOthers(scsi.ReservationsReleased, by, c)
		}
		r.kind, r.holder = 0, nil
	}
}

func (r *reservations) tellOthers(code scsi.ASC, by scsi.NexusID, c *change) {
	for _, g := range r.all {
		if g.Nexus != by {
			c.tell(code, g.Nexus)
		}
	}
}

// reserve is SPC-4 5.13.9.
func (r *reservations) reserve(id scsi.NexusID, q *outRequest, c *change) {
	switch {
	case r.kind == 0:
		r.kind = q.kind
		if !allRegistrants(q.kind) {
			r.holder = &id
		}
	case !r.holds(id) || r.kind != q.kind:
		c.conflict = true
	}
}

// releasePersistent is SPC-4 5.13.11.1.
func (r *reservations) releasePersistent(id scsi.NexusID, q *outRequest, c *change) {
	switch {
	case !r.holds(id):
		return // nothing to release is no error
	case r.kind != q.kind || q.scope != 0:
		c.refuse(scsi.Sense(scsi.IllegalRequest, scsi.InvalidReleaseOfReservation))
		return
	}
	if registrantsOnly(r.kind) {
		r.tellOthers(scsi.ReservationsReleased, id, c)
	}
	r.kind, r.holder = 0, nil
}

// clear is SPC-4 5.13.11.1.4.
func (r *reservations) clear(id scsi.NexusID, c *change) {
	r.tellOthers(scsi.ReservationsPreempted, id, c)
	r.all, r.kind, r.holder = nil, 0, nil
	r.generation++
}

// preempt is SPC-4 5.13.10.
func (r *reservations) preempt(id scsi.NexusID, q *outRequest, c *change) {
	holderKey := uint64(0)
	if r.holder != nil {
		if g := r.find(*r.holder); g != nil {
			holderKey = g.Key
		}
	}
	all := allRegistrants(r.kind)
	switch {
	case q.actionKey == 0 && !all:
		c.refuse(scsi.InvalidFieldInParameters(8))
		return
	case q.actionKey != 0 && !slices.ContainsFunc(r.all, func(g registration) bool { return g.Key == q.actionKey }):
		c.conflict = true
		return
	}
	takes := r.kind != 0 && (all && q.actionKey == 0 || !all && q.actionKey == holderKey)
	if takes && !q.validReservation() { // else scope and type say nothing
		c.refuse(scsi.InvalidFieldInCDB(2))
		return
	}
	oldKind := r.kind
	var gone []scsi.NexusID
	for _, g := range r.all {
		if g.Nexus != id && (q.actionKey == 0 || g.Key == q.actionKey) {
			gone = append(gone, g.Nexus)
		}
	}
	r.all = slices.DeleteFunc(r.all, func(g registration) bool { return slices.Contains(gone, g.Nexus) })
	for _, n := range gone {
		c.tell(scsi.RegistrationsPreempted, n)
	}
	if q.action == scsi.SAPersistentPreemptAndAbort {
		c.abort = gone
	}
	if takes {
		r.kind, r.holder = q.kind, nil
		if !allRegistrants(q.kind) {
			r.holder = &id
		}
		if oldKind != q.kind {
			r.tellOthers(scsi.ReservationsReleased, id, c)
		}
	}
	r.generation++
}

// move is REGISTER AND MOVE (SPC-4 5.13.8).
func (r *reservations) move(id scsi.NexusID, q *outRequest, c *change, ports []PortGroup) {
	const unregister = 0x02
	p := q.ids
	n := int(get32(p[20:]))
	name, isid, hasISID, size, ok := parseTransportID(p[24:])
	switch {
	case !r.holds(id):
		c.conflict = true
		return
	case allRegistrants(r.kind):
		c.conflict = true
		return
	case q.actionKey == 0:
		c.refuse(scsi.InvalidFieldInParameters(8))
		return
	case !ok || size != n || len(p) != 24+n:
		c.refuse(scsi.InvalidFieldInParameters(24))
		return
	}
	if !slices.ContainsFunc(ports, func(g PortGroup) bool { return g.ID == get16(p[18:]) }) {
		c.refuse(scsi.InvalidFieldInParameters(18))
		return
	}
	if !hasISID {
		isid = id.ISID
	}
	to := scsi.NexusID{Initiator: name, ISID: isid, TargetPort: get16(p[18:])}
	if to == id {
		c.refuse(scsi.InvalidFieldInParameters(24)) // not to itself
		return
	}
	if g := r.find(to); g != nil {
		g.Key = q.actionKey
	} else if len(r.all) >= maxRegistrations {
		c.refuse(scsi.Sense(scsi.IllegalRequest, scsi.InsufficientRegistrationSpace))
		return
	} else {
		r.all = append(r.all, registration{to, q.actionKey})
	}
	r.holder = &to
	if p[17]&unregister != 0 {
		r.all = slices.DeleteFunc(r.all, func(g registration) bool { return g.Nexus == id })
	}
	r.generation++
	r.persist = q.apt
}
