package initiator

import (
	"time"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/pdu"
)

// receive is the receiving goroutine. It takes all PDUs that one read brought
// under one lock, then runs the callbacks without it, then wakes the sender once.
func (s *Session) receive() {
	for {
		err := s.takeAll() // the login may have left PDUs in the buffer
		if err == nil {
			err = s.conn.fill()
		}
		if s.o.NOPInterval > 0 {
			s.lastReceived.Store(time.Now().UnixNano())
		}
		if err != nil {
			s.fail(lost(err))
			s.sweep()
			return
		}
	}
}

// takeAll handles the PDUs in the buffer.
func (s *Session) takeAll() (err error) {
	s.mu.Lock()
	s.finished, s.notices = s.finished[:0], s.notices[:0]
	for err == nil {
		var p Packet
		var ok bool
		if p, ok, err = s.conn.next(); !ok {
			break
		}
		err = s.take(p)
	}
	finished, notices := s.finished, s.notices
	s.corked = len(finished) > 0 || len(notices) > 0
	s.signal()
	s.mu.Unlock()
	if len(finished) == 0 && len(notices) == 0 {
		return err
	}
	for _, c := range finished {
		c.Done(c)
	}
	for _, n := range notices {
		n()
	}
	s.mu.Lock()
	s.corked = false
	s.signal()
	s.mu.Unlock()
	return err
}

// take handles one PDU. Called with mu held.
func (s *Session) take(p Packet) error {
	h := p.Header
	s.window(h)
	switch h.OpCode() {
	case pdu.OpDataIn:
		return s.dataIn(h, p.Data)
	case pdu.OpSCSIResponse:
		return s.response(h, p.Data)
	case pdu.OpR2T:
		return s.r2t(h)
	case pdu.OpNOPIn:
		return s.nopIn(h, p.Data)
	case pdu.OpTaskManagementResp, pdu.OpTextResponse, pdu.OpLogoutResponse:
		return s.exchanged(h, p.Data)
	case pdu.OpAsyncMessage:
		return s.asynchronous(h, p.Data)
	case pdu.OpReject:
		return s.rejected(h, p.Data)
	}
	return protocol("%v from a target", h.OpCode())
}

// window takes ExpCmdSN and MaxCmdSN, which stand at the same place in every PDU
// of a target, unless they are old or nonsense (RFC 7143 4.2.2.1).
func (s *Session) window(h pdu.Header) {
	var w pdu.Window
	w.Read(h)
	if serialLess(w.MaxCmdSN, w.ExpCmdSN-1) {
		return
	}
	if serialLess(s.expCmdSN, w.ExpCmdSN) {
		s.expCmdSN = w.ExpCmdSN
	}
	if serialLess(s.maxCmdSN, w.MaxCmdSN) {
		s.maxCmdSN = w.MaxCmdSN
	}
}

// status checks the StatSN of a PDU that carries status, and goes on to the next.
func (s *Session) status(statSN uint32) error {
	if statSN != s.expStatSN {
		return protocol("StatSN %d, expected %d", statSN, s.expStatSN)
	}
	s.expStatSN++
	return nil
}

// nopIn takes a ping, or the answer to one (RFC 7143 11.19).
func (s *Session) nopIn(h pdu.Header, data []byte) error {
	if h.TaskTag() != pdu.ReservedTag {
		return s.exchanged(h, data)
	}
	var p pdu.NOPIn
	p.Parse(h)
	if p.TransferTag == pdu.ReservedTag {
		return nil // it only carries the window
	}
	if s.pings++; s.pings > maxPings {
		return protocol("%d NOP-Ins without waiting for an answer", s.pings)
	}
	s.urgent.push(packet{ping: &pdu.NOPOut{Immediate: true, LUN: p.LUN, TaskTag: pdu.ReservedTag, TransferTag: p.TransferTag}})
	return nil
}

// exchanged takes the answer to an exchange.
func (s *Session) exchanged(h pdu.Header, data []byte) error {
	e := s.exchanges[h.TaskTag()]
	if e == nil || e.op != h.OpCode() {
		return protocol("%v to unknown request %08xh", h.OpCode(), h.TaskTag())
	}
	var w pdu.Window
	w.Read(h)
	if err := s.status(w.StatSN); err != nil {
		return err
	}
	p, err := pdu.Decode(h)
	if err != nil {
		return protocol("%w", err)
	}
	delete(s.exchanges, e.tag)
	if m, ok := p.(*pdu.TaskManagementResponse); ok {
		s.managed(e, m.Response)
	}
	e.answer(reply{pdu: p, data: append([]byte(nil), data...)})
	return nil
}

// managed ends the commands that a task management function ended: the target
// sends no status for them (RFC 7143 11.5.1).
func (s *Session) managed(e *exchange, r scsi.ManagementResponse) {
	if e.function == scsi.AbortTask && (r == scsi.FunctionComplete || r == scsi.TaskDoesNotExist) {
		// A task that does not exist has had its answer, which came before this one,
		// or never reached the target.
		if sl := s.slot(e.referenced); sl != nil && sl.state != slotQueued {
			s.finish(sl, e.referenced, ErrAborted)
		}
		return
	}
	if r != scsi.FunctionComplete {
		return
	}
	for i := range s.slots {
		sl := &s.slots[i]
		if sl.state != slotSent && sl.state != slotAbandoned || sl.order > e.order || !e.affects(sl.lun) {
			continue
		}
		s.finish(sl, tagOf(uint32(i), sl.generation), ErrAborted)
	}
}

// affects tells whether the function ends commands of that LUN.
func (e *exchange) affects(lun scsi.LUN) bool {
	switch e.function {
	case scsi.AbortTaskSet, scsi.ClearTaskSet, scsi.LogicalUnitReset:
		return lun == e.lun
	case scsi.TargetWarmReset, scsi.TargetColdReset, scsi.ITNexusReset:
		return true
	}
	return false
}

// asynchronous takes an Asynchronous Message (RFC 7143 11.9).
func (s *Session) asynchronous(h pdu.Header, data []byte) error {
	var p pdu.AsyncMessage
	p.Parse(h)
	if err := s.status(p.StatSN); err != nil {
		return err
	}
	if f := s.o.Async; f != nil {
		s.notices = append(s.notices, func() { f(p, data) })
	}
	if p.Event == pdu.AsyncLogout && s.o.ObeyLogout && !s.leaving {
		wait := max(time.Duration(p.Parameter3)*time.Second, shortDrain)
		s.leaving = true
		s.running.Go(func() { s.obey(wait) })
	}
	return nil
}

// rejected takes a Reject (RFC 7143 11.17): the request it names ends with it.
func (s *Session) rejected(h pdu.Header, data []byte) error {
	var p pdu.Reject
	p.Parse(h)
	if err := s.status(p.StatSN); err != nil {
		return err
	}
	if len(data) < pdu.HeaderLength {
		return protocol("Reject with %d bytes of a header", len(data))
	}
	rejected := pdu.Header(append([]byte(nil), data[:pdu.HeaderLength]...))
	err := &RejectError{Reason: p.Reason, Header: rejected}
	tag := rejected.TaskTag()
	switch rejected.OpCode() {
	case pdu.OpSCSICommand, pdu.OpDataOut:
		if sl := s.slot(tag); sl != nil && sl.state != slotQueued {
			s.finish(sl, tag, err)
		}
	default:
		if e := s.exchanges[tag]; e != nil {
			delete(s.exchanges, tag)
			e.answer(reply{err: err})
		}
	}
	return nil
}
