package iscsi

import (
	"net/netip"
	"strconv"

	"vvsim/scsi/iscsi/negotiate"
	"vvsim/scsi/iscsi/pdu"
)

// textExchange is a sequence of text requests and responses that one PDU each
// does not hold (RFC 7143 11.10, 11.11). A session has one at a time.
type textExchange struct {
	open   bool
	tag    uint32 // initiator task tag
	target uint32 // target transfer tag that the next request carries
	keys   []byte // of requests with the C bit
	answer []byte // not sent yet
}

// collectText takes the keys of a text request, and of a whole one makes the
// answer. Text that breaks the rules ends the exchange.
func (c *connection) collectText(h pdu.Header, data []byte) (reason pdu.RejectReason, refused bool) {
	var p pdu.TextRequest
	p.Parse(h)
	x := &c.texts
	switch {
	case p.TransferTag == pdu.ReservedTag:
		*x = textExchange{tag: p.TaskTag} // a new one ends what was open (RFC 7143 11.10.4)
	case !x.open || x.tag != p.TaskTag || x.target != p.TransferTag:
		return pdu.RejectProtocolError, true
	}
	if len(x.keys)+len(data) > pdu.MaxTextLength || p.Continue && (p.Final || len(x.answer) > 0) {
		*x = textExchange{}
		return pdu.RejectProtocolError, true
	}
	x.keys = append(x.keys, data...)
	if !p.Continue && len(x.answer) == 0 {
		keys, err := pdu.ParseKeys(x.keys)
		if err != nil {
			*x = textExchange{}
			return pdu.RejectProtocolError, true
		}
		x.keys, x.answer = nil, c.textAnswers(keys)
	}
	return 0, false
}

// textResponse sends what fits one PDU. It is final when nothing is left; with
// more to come it is marked C and carries a tag to ask for the rest.
func (c *connection) textResponse(h pdu.Header) {
	var p pdu.TextRequest
	p.Parse(h)
	x := &c.texts
	part := x.answer[:min(len(x.answer), c.p.MaxSend)]
	x.answer = x.answer[len(part):]
	r := &pdu.TextResponse{Continue: len(x.answer) > 0, DataLength: len(part), LUN: p.LUN, TaskTag: p.TaskTag, TransferTag: pdu.ReservedTag}
	r.Final = !r.Continue && p.Final
	x.open = !r.Final
	if x.open {
		c.mu.Lock()
		x.target = c.transferTag()
		c.mu.Unlock()
		r.TransferTag = x.target
	}
	c.send(&r.Window, r, part)
}

// textAnswers answers the keys of a whole request: SendTargets, and what may be
// declared at any time (RFC 7143 13.7, 13.12). Everything else belongs to the login.
func (c *connection) textAnswers(keys pdu.Keys) []byte {
	var answers pdu.Keys
	for _, k := range keys {
		switch {
		case k.Key == "SendTargets":
			answers = append(answers, c.targets(k.Value)...)
		case k.Key == "InitiatorAlias":
		case k.Key == "MaxRecvDataSegmentLength" && c.redeclare(k.Value):
		case negotiate.Operational(k.Key), negotiate.Security(k.Key), negotiate.Declared(k.Key), negotiate.TargetOnly(k.Key):
			answers.Add(k.Key, negotiate.Reject)
		default:
			answers.Add(k.Key, negotiate.NotUnderstood)
		}
	}
	return answers.AppendTo(nil)
}

// redeclare takes a new MaxRecvDataSegmentLength of the initiator. The reader and
// whoever holds the outbox's lock look at it.
func (c *connection) redeclare(value string) bool {
	n, ok := negotiate.SegmentLength(value)
	if ok {
		c.out.mu.Lock()
		c.p.MaxSend = n
		c.out.mu.Unlock()
	}
	return ok
}

// targets answers SendTargets: All (discovery sessions only), a name, or nothing
// for the session's own target (RFC 7143 appendix C).
func (c *connection) targets(value string) (answers pdu.Keys) {
	name := c.server.o.TargetName
	if value == "All" && !c.discovery || value != "All" && value != "" && value != name {
		return nil
	}
	answers.Add("TargetName", name)
	for _, p := range c.server.o.Portals() {
		answers = append(answers, pdu.Pair{Key: "TargetAddress", Value: c.reachable(p.Address) + "," + strconv.Itoa(int(p.Group))})
	}
	return answers
}

// reachable is a portal's address as this initiator can use it: a portal that
// listens on every address is told by the one that the initiator has connected to.
func (c *connection) reachable(portal string) string {
	listening, err := netip.ParseAddrPort(portal)
	if err != nil || !listening.Addr().IsUnspecified() {
		return portal
	}
	local, err := netip.ParseAddrPort(c.nc.LocalAddr().String())
	if err != nil {
		return portal
	}
	return netip.AddrPortFrom(local.Addr().Unmap().WithZone(""), listening.Port()).String()
}
