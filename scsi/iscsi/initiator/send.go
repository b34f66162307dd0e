package initiator

import (
	"vvsim/scsi"
	"vvsim/scsi/iscsi/pdu"
)

// sequence is Data-Out that goes out, one PDU after the other: the answer to an
// R2T, or unsolicited data.
type sequence struct {
	tag         uint32
	transferTag uint32 // pdu.ReservedTag: unsolicited
	offset, end int
	dataSN      uint32
}

// packet is something that does not wait for the command window. Exactly one of
// its parts counts.
type packet struct {
	raw       []byte
	exchange  *exchange
	ping      *pdu.NOPOut // answer to a NOP-In
	command   uint32      // tag of an immediate command
	isCommand bool
}

// sentPDUs are reused, so that sending allocates nothing.
type sentPDUs struct {
	command pdu.SCSICommand
	data    pdu.DataOut
}

// receivedPDUs are reused, so that receiving allocates nothing.
type receivedPDUs struct {
	dataIn   pdu.DataIn
	response pdu.SCSIResponse
	r2t      pdu.R2T
}

// send is the sending goroutine: it frames what waits, many PDUs per write.
// Payload is copied under the lock, so that a call that ends has no reader left.
func (s *Session) send() {
	var batch []byte
	for {
		s.mu.Lock()
		for s.failure == nil && (s.corked || !s.sendable()) {
			s.wake.Wait()
		}
		if s.failure != nil {
			s.mu.Unlock()
			return
		}
		batch = s.batch(batch[:0])
		s.mu.Unlock()
		if _, err := s.conn.Write(batch); err != nil {
			s.fail(lost(err))
			return
		}
	}
}

// sendable tells whether batch would find something.
func (s *Session) sendable() bool {
	return s.urgent.len() > 0 || s.dataOut.len() > 0 || s.commands.len() > 0 && s.windowOpen()
}

func (s *Session) windowOpen() bool { return !serialLess(s.maxCmdSN, s.cmdSN) }

// batch frames up to about sendBatch bytes: first what does not wait for the
// window, then data that the target waits for, then new commands.
func (s *Session) batch(b []byte) []byte {
	for len(b) < sendBatch {
		switch {
		case s.urgent.len() > 0:
			p := *s.urgent.front()
			s.urgent.pop()
			b = s.appendPacket(b, p)
		case s.dataOut.len() > 0:
			b = s.appendData(b, s.dataOut.front())
		case s.commands.len() > 0 && s.windowOpen():
			tag := *s.commands.front()
			s.commands.pop()
			b = s.appendCommand(b, tag)
		default:
			return b
		}
	}
	return b
}

func (s *Session) appendPacket(b []byte, p packet) []byte {
	switch {
	case p.raw != nil:
		return append(b, p.raw...)
	case p.isCommand:
		return s.appendCommand(b, p.command)
	case p.ping != nil:
		s.pings--
		p.ping.CmdSN, p.ping.ExpStatSN = s.cmdSN, s.expStatSN
		return s.conn.Append(b, p.ping, nil, nil)
	}
	e := p.exchange
	s.order++
	e.order = s.order
	request, data := e.build(s.cmdSN, s.expStatSN)
	return s.conn.Append(b, request, nil, data)
}

// segment is the longest data segment that is sent: what the target takes, and
// not so much that one PDU makes a batch long.
func (s *Session) segment() int { return min(s.p.MaxSendDataSegmentLength, sendBatch) }

// appendCommand frames a command with its immediate data and queues the rest of
// the first burst (RFC 7143 4.2.4.2, 11.3).
func (s *Session) appendCommand(b []byte, tag uint32) []byte {
	sl := s.slot(tag)
	c := sl.call
	p := &s.out.command
	*p = pdu.SCSICommand{Immediate: c.Immediate, Final: true, Read: !sl.write && sl.expected > 0, Write: sl.write, Attribute: c.Attribute,
		LUN: c.LUN, TaskTag: tag, ExpectedDataLength: uint32(sl.expected), CmdSN: s.cmdSN, ExpStatSN: s.expStatSN}
	copy(p.CDB[:], c.CDB)
	s.order++
	sl.state, sl.cmdSN, sl.order = slotSent, s.cmdSN, s.order
	if !c.Immediate {
		s.cmdSN++
	}
	var immediate []byte
	if sl.write {
		first := min(sl.expected, s.p.FirstBurstLength)
		if s.p.ImmediateData {
			immediate = c.DataOut[:min(first, s.segment())]
			sl.asked = len(immediate)
		}
		if !s.p.InitialR2T && sl.asked < first {
			p.Final = false
			s.dataOut.push(sequence{tag: tag, transferTag: pdu.ReservedTag, offset: sl.asked, end: first})
			sl.asked = first
		}
	}
	var ahs []byte
	if len(c.CDB) > len(p.CDB) {
		ahs = pdu.AppendExtendedCDB(nil, c.CDB)
	}
	return s.conn.Append(b, p, ahs, immediate)
}

// appendData frames the next PDU of a sequence at the head of the queue.
func (s *Session) appendData(b []byte, q *sequence) []byte {
	sl := s.slot(q.tag)
	if sl == nil || sl.call == nil {
		s.dataOut.pop() // the target ended the command before it had all data
		return b
	}
	n := min(q.end-q.offset, s.segment())
	p := &s.out.data
	*p = pdu.DataOut{Final: q.offset+n == q.end, LUN: sl.lun, TaskTag: q.tag, TransferTag: q.transferTag, ExpStatSN: s.expStatSN,
		DataSN: q.dataSN, BufferOffset: uint32(q.offset)}
	b = s.conn.Append(b, p, nil, sl.call.DataOut[q.offset:q.offset+n])
	q.offset += n
	q.dataSN++
	if p.Final {
		if q.transferTag != pdu.ReservedTag {
			sl.r2ts--
		}
		s.dataOut.pop()
	}
	return b
}

// taskManagement builds the request of an exchange.
func (e *exchange) taskManagement(cmdSN, expStatSN uint32) *pdu.TaskManagement {
	p := &pdu.TaskManagement{Immediate: true, Function: e.function, LUN: e.lun, TaskTag: e.tag, ReferencedTag: pdu.ReservedTag,
		CmdSN: cmdSN, ExpStatSN: expStatSN}
	if e.function == scsi.AbortTask || e.function == scsi.QueryTask {
		p.ReferencedTag, p.RefCmdSN = e.referenced, e.refCmdSN
	}
	return p
}
