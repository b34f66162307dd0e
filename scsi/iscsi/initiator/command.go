package initiator

import (
	"context"
	"encoding/binary"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/pdu"
)

// Command is one SCSI command. It goes in one direction: DataOut, or DataIn, or
// neither.
type Command struct {
	LUN       scsi.LUN
	CDB       []byte // 1 to 260 bytes; above 16 it travels as an extended CDB
	Attribute scsi.TaskAttribute
	Immediate bool // outside the command window (RFC 7143 4.2.2.1)

	// DataOut is what to send; its length is the Expected Data Transfer Length. It
	// belongs to the session until the command ends.
	DataOut []byte
	// DataInLength is the Expected Data Transfer Length of a read, up to 16 MiB; 0
	// stands for len(DataIn). DataIn is where the data go, or nil to have the session
	// allocate it. It belongs to the session until the command ends.
	DataInLength int
	DataIn       []byte
}

// Result is how a command ended.
type Result struct {
	Status     scsi.Status
	Sense      *scsi.SenseData // with CHECK CONDITION, when it can be read
	SenseBytes []byte          // as received
	DataIn     []byte          // the bytes that came, in Command.DataIn if that was given
	Residual   pdu.Residual
}

// Err is nil for GOOD and CONDITION MET, else a *CheckConditionError or a
// *StatusError.
func (r *Result) Err(c *Command) error {
	op := scsi.OpCode(c.CDB[0])
	switch r.Status {
	case scsi.StatusGood, scsi.StatusConditionMet:
		return nil
	case scsi.StatusCheckCondition:
		return &CheckConditionError{OpCode: op, LUN: c.LUN, Sense: r.Sense}
	}
	return &StatusError{OpCode: op, LUN: c.LUN, Status: r.Status}
}

// Call is a Command in flight. It may be started again from its own Done on.
type Call struct {
	Command
	Result Result
	// Err is why there is no Result: the session ended, the command was aborted or
	// rejected. A status other than GOOD is not an error here.
	Err error
	// Done is called once when the call ended, on the session's receiving goroutine
	// and with no lock held; it must not block.
	Done func(*Call)

	tag uint32
}

// Tag is the initiator task tag, valid from Start until Done.
func (c *Call) Tag() uint32 { return c.tag }

// slotState is where a slot stands.
type slotState uint8

const (
	slotFree      slotState = iota
	slotQueued              // has no CmdSN yet
	slotSent                // the target knows it
	slotAbandoned           // cancelled; the target has not let go of it yet
)

// slot is one place for a command in flight. Its index and generation make the
// initiator task tag. Guarded by Session.mu.
type slot struct {
	call       *Call
	state      slotState
	generation uint16 // 15 bits
	lun        scsi.LUN
	cmdSN      uint32
	order      uint64 // of sending, among commands and task management functions
	write      bool

	expected int    // Expected Data Transfer Length
	received int    // bytes of Data-In
	burst    int    // of the present Data-In sequence
	dataSN   uint32 // next of Data-In
	asked    int    // bytes sent unsolicited, or asked for
	r2tSN    uint32 // next of R2T
	r2ts     int    // R2Ts not answered to their end
}

func tagOf(index uint32, generation uint16) uint32 { return uint32(generation)<<16 | index }

// slot finds the slot of a task tag; nil when no such command is in flight.
// Called with mu held.
func (s *Session) slot(tag uint32) *slot {
	index, generation := tag&0xffff, uint16(tag>>16)
	if int(index) >= len(s.slots) {
		return nil
	}
	if sl := &s.slots[index]; sl.generation == generation && sl.state != slotFree {
		return sl
	}
	return nil
}

// Execute runs a command and waits for its end. The error is nil whatever the
// status; see Result.Err. When ctx ends first, the command is aborted with ABORT
// TASK and the buffers belong to the caller again; its place stays taken until
// the target lets go of it. ctx ending while all places are taken is an error too.
func (s *Session) Execute(ctx context.Context, c Command) (Result, error) {
	if err := c.validate(); err != nil {
		return Result{}, err
	}
	var index uint32
	select {
	case index = <-s.free:
	case <-ctx.Done():
		return Result{}, context.Cause(ctx)
	case <-s.failed:
		return Result{}, s.Err()
	}
	ended := make(chan struct{})
	call := &Call{Command: c, Done: func(*Call) { close(ended) }}
	if err := s.start(call, index); err != nil {
		return Result{}, err
	}
	select {
	case <-ended:
	case <-ctx.Done():
		if s.Cancel(call) {
			return Result{}, context.Cause(ctx)
		}
		<-ended
	}
	return call.Result, call.Err
}

// Start starts a call without waiting: with ErrBusy when Options.MaxCommands are
// in flight. Done will be called if, and only if, the error is nil. It may be
// called from Done.
func (s *Session) Start(c *Call) error {
	if err := c.validate(); err != nil {
		return err
	}
	select {
	case index := <-s.free:
		return s.start(c, index)
	default:
	}
	if err := s.Err(); err != nil {
		return err
	}
	return ErrBusy
}

func (c *Command) validate() error {
	if c.DataInLength == 0 {
		c.DataInLength = len(c.DataIn)
	}
	switch {
	case len(c.CDB) == 0 || len(c.CDB) > maxCDB:
		return invalid("CDB of %d bytes", len(c.CDB))
	case len(c.DataOut) > 0 && c.DataInLength > 0:
		return invalid("data in both directions")
	case len(c.DataOut) > maxTransfer || c.DataInLength < 0 || c.DataInLength > maxTransfer:
		return invalid("%d bytes out, %d in; up to %d", len(c.DataOut), c.DataInLength, maxTransfer)
	case c.DataIn != nil && len(c.DataIn) < c.DataInLength:
		return invalid("%d bytes expected, room for %d", c.DataInLength, len(c.DataIn))
	}
	return nil
}

// start puts a call into the slot and queues it.
func (s *Session) start(c *Call, index uint32) error {
	c.Result, c.Err = Result{}, nil
	if c.DataIn == nil && c.DataInLength > 0 {
		c.DataIn = make([]byte, c.DataInLength)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil || s.leaving {
		s.free <- index
		if s.failure != nil {
			return s.failure
		}
		return ErrClosed
	}
	sl := &s.slots[index]
	*sl = slot{call: c, state: slotQueued, generation: sl.generation, lun: c.LUN, write: len(c.DataOut) > 0,
		expected: max(len(c.DataOut), c.DataInLength)}
	c.tag = tagOf(index, sl.generation)
	if c.Immediate {
		s.urgent.push(packet{command: c.tag, isCommand: true})
	} else {
		s.commands.push(c.tag)
	}
	s.signal()
	return nil
}

// release frees a slot; its tag is not valid any more. Called with mu held.
func (s *Session) release(sl *slot, tag uint32) {
	sl.call, sl.state = nil, slotFree
	sl.generation = (sl.generation + 1) & 0x7fff
	s.free <- tag & 0xffff
}

// finish ends a command; its Done runs at the end of the batch. Called with mu
// held, by the receiver only.
func (s *Session) finish(sl *slot, tag uint32, err error) {
	c := sl.call
	s.release(sl, tag)
	if c != nil {
		c.Err = err
		s.finished = append(s.finished, c)
	}
}

// Cancel takes a call back. If it returns true, Done will not be called and the
// buffers belong to the caller again; a command that the target knows is aborted
// with ABORT TASK in the background. False means that the call has ended, or is
// about to call Done.
func (s *Session) Cancel(c *Call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sl := s.slot(c.tag)
	if sl == nil || sl.call != c || s.failure != nil {
		return false
	}
	if sl.state == slotQueued {
		tag := c.tag
		s.commands.remove(func(t uint32) bool { return t == tag })
		s.urgent.remove(func(p packet) bool { return p.isCommand && p.command == tag })
		s.release(sl, tag)
		return true
	}
	sl.call, sl.state = nil, slotAbandoned
	tag := c.tag
	s.dataOut.remove(func(q sequence) bool { return q.tag == tag })
	s.exchange(&exchange{op: pdu.OpTaskManagementResp, function: scsi.AbortTask, lun: sl.lun, referenced: tag, refCmdSN: sl.cmdSN, background: true})
	return true
}

// data takes a Data-In PDU (RFC 7143 11.7). Called with mu held.
func (s *Session) dataIn(h pdu.Header, data []byte) error {
	p := &s.hot.dataIn
	p.Parse(h)
	sl := s.slot(p.TaskTag)
	switch {
	case sl == nil || sl.state == slotQueued || sl.write:
		return protocol("Data-In for task %08xh, which reads nothing", p.TaskTag)
	case p.DataSN != sl.dataSN:
		return protocol("DataSN %d, expected %d", p.DataSN, sl.dataSN)
	case int64(p.BufferOffset) != int64(sl.received):
		return protocol("Data-In at offset %d, expected %d", p.BufferOffset, sl.received)
	case sl.received+len(data) > sl.expected:
		return protocol("Data-In of %d bytes, %d expected", sl.received+len(data), sl.expected)
	case p.HasStatus && !p.Final:
		return protocol("Data-In with status that is not final")
	}
	if sl.burst += len(data); sl.burst > s.p.MaxBurstLength {
		return protocol("Data-In sequence of %d bytes, MaxBurstLength is %d", sl.burst, s.p.MaxBurstLength)
	}
	if p.Final {
		sl.burst = 0
	}
	if sl.call != nil {
		copy(sl.call.DataIn[sl.received:], data)
	}
	sl.received += len(data)
	sl.dataSN++
	if !p.HasStatus {
		return nil
	}
	if err := s.status(p.StatSN); err != nil {
		return err
	}
	if c := sl.call; c != nil {
		c.Result = Result{Status: p.Status, DataIn: c.DataIn[:sl.received], Residual: p.Residual}
	}
	s.finish(sl, p.TaskTag, nil)
	return nil
}

// response takes a SCSI Response (RFC 7143 11.4). Called with mu held.
func (s *Session) response(h pdu.Header, data []byte) error {
	p := &s.hot.response
	p.Parse(h)
	sl := s.slot(p.TaskTag)
	if sl == nil || sl.state == slotQueued {
		return protocol("response to unknown task %08xh", p.TaskTag)
	}
	if err := s.status(p.StatSN); err != nil {
		return err
	}
	var sense []byte
	if len(data) > 0 {
		if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
			return protocol("response with %d bytes of data and a wrong sense length", len(data))
		}
		sense = data[2 : 2+int(binary.BigEndian.Uint16(data))]
	}
	var err error
	if p.Response != 0 {
		err = ErrTargetFailure
	}
	if c := sl.call; c != nil {
		c.Result = Result{Status: p.Status, Residual: p.Residual}
		if !sl.write && c.DataIn != nil {
			c.Result.DataIn = c.DataIn[:sl.received]
		}
		if len(sense) > 0 {
			c.Result.SenseBytes = append([]byte(nil), sense...)
			if parsed, err := scsi.ParseSense(sense); err == nil {
				c.Result.Sense = &parsed
			}
		}
	}
	s.finish(sl, p.TaskTag, err)
	return nil
}

// r2t takes a Ready To Transfer (RFC 7143 11.8). Called with mu held.
func (s *Session) r2t(h pdu.Header) error {
	p := &s.hot.r2t
	p.Parse(h)
	sl := s.slot(p.TaskTag)
	n := int64(p.DesiredLength)
	switch {
	case sl == nil || sl.state == slotQueued || !sl.write:
		return protocol("R2T for task %08xh, which writes nothing", p.TaskTag)
	case p.TransferTag == pdu.ReservedTag:
		return protocol("R2T without a target transfer tag")
	case sl.state == slotAbandoned:
		return nil // being aborted: nothing is there to send
	case p.R2TSN != sl.r2tSN:
		return protocol("R2TSN %d, expected %d", p.R2TSN, sl.r2tSN)
	case n == 0 || n > int64(s.p.MaxBurstLength):
		return protocol("R2T for %d bytes, MaxBurstLength is %d", n, s.p.MaxBurstLength)
	case int64(p.BufferOffset) != int64(sl.asked) || int64(sl.asked)+n > int64(sl.expected):
		return protocol("R2T for %d bytes at %d, expected offset %d of %d", n, p.BufferOffset, sl.asked, sl.expected)
	case sl.r2ts >= s.p.MaxOutstandingR2T:
		return protocol("more than %d R2Ts outstanding", s.p.MaxOutstandingR2T)
	}
	sl.r2tSN++
	sl.r2ts++
	s.dataOut.push(sequence{tag: p.TaskTag, transferTag: p.TransferTag, offset: sl.asked, end: sl.asked + int(n)})
	sl.asked += int(n)
	return nil
}
