package iscsi

import (
	"slices"
	"strconv"

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

// text takes a text request.
func (c *connection) text(h pdu.Header, data []byte) {
	var p pdu.TextRequest
	p.Parse(h)
	x := &c.texts
	switch {
	case p.TransferTag == pdu.ReservedTag:
		*x = textExchange{tag: p.TaskTag} // a new one ends what was open (RFC 7143 11.10.4)
	case !x.open || x.tag != p.TaskTag || x.target != p.TransferTag:
		c.reject(h, pdu.RejectProtocolError)
		return
	}
	if len(x.keys)+len(data) > pdu.MaxTextLength || p.Continue && (p.Final || len(x.answer) > 0) {
		*x = textExchange{}
		c.reject(h, pdu.RejectProtocolError)
		return
	}
	x.keys = append(x.keys, data...)
	if !p.Continue && len(x.answer) == 0 {
		keys, err := pdu.ParseKeys(x.keys)
		if err != nil {
			*x = textExchange{}
			c.reject(h, pdu.RejectProtocolError)
			return
		}
		x.keys, x.answer = nil, c.textAnswers(keys)
	}
	c.textResponse(&p)
}

// textResponse sends what fits one PDU. It is final when nothing is left; with
// more to come it is marked C and carries a tag to ask for the rest.
func (c *connection) textResponse(p *pdu.TextRequest) {
	x := &c.texts
	part := x.answer[:min(len(x.answer), c.p.maxSend)]
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

// textAnswers answers the keys of a whole request; SendTargets is what there is.
// Operational keys are not negotiated again in full feature phase.
func (c *connection) textAnswers(keys pdu.Keys) []byte {
	var answers pdu.Keys
	for _, k := range keys {
		switch {
		case k.Key == "SendTargets":
			answers = append(answers, c.targets(k.Value)...)
		case slices.ContainsFunc(negotiables, func(n negotiable) bool { return n.key == k.Key }):
			answers.Add(k.Key, valueReject)
		default:
			answers.Add(k.Key, valueNotUnderstood)
		}
	}
	return answers.AppendTo(nil)
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
		answers = append(answers, pdu.Pair{Key: "TargetAddress", Value: p.Address + "," + strconv.Itoa(int(p.Group))})
	}
	return answers
}
