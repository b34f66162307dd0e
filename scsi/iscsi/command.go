package iscsi

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/pdu"
	"vvsim/scsi/latency"
)

// phase of a command; changed under connection.mu.
type phase uint8

const (
	collecting phase = iota // waiting for Data-Out
	queued                  // with the workers
)

// command is one SCSI command of a connection. Pooled.
type command struct {
	scsi.Task
	cdb       [16]byte
	phase     phase
	immediate bool // outside the window
	read      bool
	write     bool
	expected  uint32          // Expected Data Transfer Length
	failure   *scsi.SenseData // of the data phase: answered instead of execution
	transfer  transfer
	serial    uint64 // tells uses of this struct apart; unique in the connection
	reserved  int64  // bytes taken from connection.reads
	began     latency.Instant
	distortion
}

var commandPool = sync.Pool{New: func() any { return new(command) }}

func (cmd *command) recycle() {
	cmd.transfer.buffer.Release()
	if !cmd.Reusable() {
		return // contexts derived from the task's own may look at it a moment longer
	}
	sequences := cmd.transfer.sequences[:0]
	cmd.Reset()
	cmd.phase, cmd.immediate, cmd.read, cmd.write, cmd.expected, cmd.failure = 0, false, false, false, 0, nil
	cmd.transfer, cmd.serial, cmd.reserved, cmd.distortion = transfer{sequences: sequences}, 0, 0, distortion{}
	commandPool.Put(cmd)
}

// commandObjection judges a SCSI command before it takes its place.
func (c *connection) commandObjection(p received) (reason pdu.RejectReason, refused bool) {
	tag := p.Header.TaskTag()
	if tag == pdu.ReservedTag || !validAHS(p.AHS) {
		return pdu.RejectInvalidField, true
	}
	c.mu.Lock()
	_, dup := c.tasks[tag]
	c.mu.Unlock()
	return pdu.RejectTaskInProgress, dup
}

// scsiCommand starts a command whose turn has come.
func (c *connection) scsiCommand(p received) error {
	if p.Header.Immediate() && c.immediate.Add(1) > maxImmediate {
		c.immediate.Add(-1)
		c.reject(p.Header, pdu.RejectImmediate)
		return nil
	}
	var req pdu.SCSICommand
	req.Parse(p.Header)
	return c.begin(c.newCommand(&req, extendedCDB(&req, p.AHS)), &req, p.Data)
}

func (c *connection) newCommand(req *pdu.SCSICommand, cdb []byte) *command {
	cmd := commandPool.Get().(*command)
	cmd.cdb = req.CDB
	if cdb == nil {
		cdb = cmd.cdb[:]
	}
	cmd.Nexus, cmd.LUN, cmd.Tag, cmd.Attribute, cmd.CDB, cmd.Owner = c.nexus, req.LUN, req.TaskTag, req.Attribute, cdb, c
	cmd.immediate, cmd.read, cmd.write, cmd.expected = req.Immediate, req.Read, req.Write, req.ExpectedDataLength
	if cmd.read {
		cmd.ExpectedIn = req.ExpectedDataLength
	}
	if cmd.write {
		cmd.ExpectedOut = req.ExpectedDataLength
	}
	return cmd
}

// validAHS tells whether a SCSI command's additional header segments are ones
// that it may have (RFC 7143 11.2.2).
func validAHS(ahs []byte) bool {
	for s, err := range pdu.AHS(ahs) {
		if err != nil || s.Type != pdu.AHSExtendedCDB && s.Type != pdu.AHSReadLength {
			return false
		}
	}
	return true
}

// extendedCDB returns the CDB of a command with an extended CDB AHS (RFC 7143
// 11.2.2.3), nil for one of up to 16 bytes. An expected bidirectional read length
// means nothing here: no device has such a command.
func extendedCDB(req *pdu.SCSICommand, ahs []byte) (cdb []byte) {
	for s, err := range pdu.AHS(ahs) {
		if err == nil && s.Type == pdu.AHSExtendedCDB {
			cdb = append(append([]byte(nil), req.CDB[:]...), s.Data...)
		}
	}
	return cdb
}

// begin routes the command and takes its data phase as far as the PDU goes.
func (c *connection) begin(cmd *command, req *pdu.SCSICommand, data []byte) error {
	c.served++
	cmd.serial, cmd.began = c.commands.Add(1), c.in.Arrived
	want := c.server.o.Target.Prepare(&cmd.Task)
	if cmd.read && cmd.write {
		s := scsi.InvalidFieldInCDB(0)
		cmd.failure = &s
		want = 0
	}
	if !cmd.write {
		want = 0
	}
	cmd.transfer.want = min(want, int(min(cmd.expected, maxDataOut)))
	c.mu.Lock()
	c.tasks[cmd.Tag] = cmd
	ready := c.firstData(cmd, req, data)
	if cmd.Aborted() {
		ready = true // by another nexus, before the task was in the table
	}
	if ready {
		cmd.phase = queued
	}
	c.mu.Unlock()
	if ready {
		return c.dispatch(cmd)
	}
	return nil
}

// dispatch has a ready command executed: at once when the device expects to be
// prompt, as handing it to a worker would take longer, with others of its kind when that
// is cheaper, else by a worker.
func (c *connection) dispatch(cmd *command) error {
	if cmd.joins() && !c.alone() {
		c.join(cmd)
		return nil
	}
	if cmd.Prompt && (!cmd.write || c.alone()) && c.ran.Sub(c.in.Arrived) < promptTime && c.reads.Try(cmd.reservation()) {
		return c.executeHere(cmd)
	}
	c.queue.Push(job{command: cmd})
	c.pushed = true
	return nil
}

// alone tells that the command which the reader is at is the only one of the session.
func (c *connection) alone() bool { return c.window.inFlight.Load() == 1 && c.in.Empty() }

// executeHere executes a command that has its part of the budget as the reader.
func (c *connection) executeHere(cmd *command) error {
	cmd.reserved = cmd.reservation()
	c.kick() // what came before it does not wait for it
	var ended latency.Instant
	err := c.hold(func() { ended = c.execute(cmd) })
	if err == nil {
		c.ran = ended
	}
	return err
}

// kick wakes a worker for the jobs that the reader has pushed.
func (c *connection) kick() {
	if c.pushed {
		c.pushed = false
		c.queue.Kick()
	}
}

// promptTime is how long after bytes have come the reader still begins to execute
// what they ask for. When that takes longer, the medium is not as prompt as it was
// hoped to be, and workers do the rest side by side.
const promptTime = 200 * time.Microsecond

// job is something a worker does: a command to execute, several together, or a function
// that may block.
type job struct {
	command *command
	group   *group
	call    func()
}

// work is a worker's.
func (c *connection) work(j job) {
	switch {
	case j.call != nil:
		j.call()
		return
	case j.group != nil:
		c.executeAll(j.group)
		return
	}
	cmd := j.command
	if n := cmd.reservation(); n > 0 {
		cmd.reserved = n
		c.reads.Take(n, cmd.Aborted)
		if c.closed.Load() {
			cmd.Abort(scsi.AbortedSilently) // nobody takes the data
		}
	}
	c.execute(cmd)
}

// reservation is how much of the connection's budget of reads the command takes.
func (cmd *command) reservation() int64 {
	if cmd.read {
		return min(int64(cmd.expected), maxReads)
	}
	return 0
}

// TaskAborted implements scsi.TaskOwner: a command that waits for data is
// executed at once, which takes it out of its task set; Data-Out that still comes
// for it finds no command and is dropped.
func (c *connection) TaskAborted(t *scsi.Task) {
	c.mu.Lock()
	cmd := c.tasks[t.Tag]
	ready := cmd != nil && &cmd.Task == t && cmd.phase == collecting
	if ready {
		cmd.phase = queued
	}
	c.mu.Unlock()
	if ready {
		c.queue.Push(job{command: cmd})
		c.queue.Kick()
	}
	c.reads.Poke()
}

// execute runs a command and puts its answer into the outbox.
func (c *connection) execute(cmd *command) (ended latency.Instant) {
	// A command whose data phase failed must leave the task set without doing
	// anything: it is aborted, unless somebody else has done so, and answered.
	failed := cmd.failure != nil && cmd.Abort(scsi.AbortedSilently)
	c.handOver(cmd)
	return c.conclude(cmd, c.call(cmd), failed)
}

// handOver gives the task the data that came.
func (c *connection) handOver(cmd *command) {
	cmd.DataOut = cmd.transfer.data()
	c.bytesOut.Add(uint64(len(cmd.DataOut)))
}

// conclude answers a command that the device has executed, as far as it is to be; failed
// tells that its data phase was.
func (c *connection) conclude(cmd *command, r scsi.Response, failed bool) (ended latency.Instant) {
	disposition := cmd.Complete()
	switch {
	case failed:
		r.DataIn.Release()
		r, disposition = scsi.CheckCondition(*cmd.failure), scsi.Respond
	case disposition == scsi.AbortedWithStatus:
		r.DataIn.Release()
		r = scsi.Response{Status: scsi.StatusTaskAborted}
	case disposition == scsi.AbortedSilently:
		r.DataIn.Release()
	}
	return c.finish(cmd, r, disposition != scsi.AbortedSilently)
}

// finish takes a command out of the connection and puts its answer into the
// outbox, both under mu: an initiator that has the answer may use the tag again,
// and a task management function that finds the command gone may answer.
func (c *connection) finish(cmd *command, r scsi.Response, answer bool) (ended latency.Instant) {
	ended = latency.Now()
	c.mu.Lock()
	delete(c.tasks, cmd.Tag)
	c.admitted -= cmd.transfer.admitted
	if cmd.transfer.starved {
		c.starved = slices.DeleteFunc(c.starved, func(o *command) bool { return o == cmd })
	}
	full := false
	if cmd.immediate {
		c.immediate.Add(-1)
	} else {
		full = c.window.complete()
	}
	switch {
	case answer:
		c.count(cmd, r.Status, ended)
		c.respond(cmd, r)
	case full:
		c.nopIn(pdu.ReservedTag) // the initiator waits for the window to open
	}
	if len(c.starved) > 0 {
		c.feedStarved()
	}
	if c.tmf > 0 {
		c.ended.Broadcast()
	}
	c.mu.Unlock()
	if !answer {
		c.reads.Give(cmd.reserved)
	}
	cmd.recycle()
	return ended
}

// count adds a command that is being answered to the session's figures.
func (c *connection) count(cmd *command, s scsi.Status, ended latency.Instant) {
	c.latency.Observe(ended.Sub(cmd.began))
	if s != scsi.StatusGood && s != scsi.StatusConditionMet {
		c.errors.Add(1)
	}
}

// call runs the device server; a panic in it becomes INTERNAL TARGET FAILURE.
func (c *connection) call(cmd *command) (r scsi.Response) {
	defer func() {
		if v := recover(); v != nil {
			c.panicked(v)
			r = scsi.CheckCondition(scsi.InternalTargetFailure())
		}
	}()
	return c.server.o.Target.Execute(&cmd.Task)
}

// respond puts Data-In and status of a command into the outbox.
func (c *connection) respond(cmd *command, r scsi.Response) {
	var data []byte
	if cmd.read {
		data = r.DataIn.Bytes()
		data = data[:min(len(data), int(cmd.expected))]
	}
	c.bytesIn.Add(uint64(len(data)))
	residual := cmd.residual(&r, len(data))
	collapse := len(data) > 0 && (r.Status == scsi.StatusGood || r.Status == scsi.StatusConditionMet)
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if cmd.header || cmd.data {
		c.out.filling.Garble(cmd.header, cmd.data)
		defer func() { c.out.filling.Garble(false, false) }()
	}
	pdus := c.dataIn(cmd, &r, data, residual, collapse)
	c.out.filling.Own(r.DataIn)
	c.out.filling.Reserved += cmd.reserved
	if collapse {
		return
	}
	var sense []byte
	if r.Sense != nil {
		sense = appendSense(make([]byte, 2, 64), &r)
	}
	p := &c.out.response
	*p = pdu.SCSIResponse{Status: r.Status, DataLength: len(sense), TaskTag: cmd.Tag, ExpDataSN: pdus, Residual: residual}
	c.stamp(&p.Window)
	c.out.statSN++
	c.out.putLocked(p, sense)
	if cmd.twice {
		c.out.putLocked(p, sense)
	}
}

// appendSense builds the data segment of a response: a two-byte length and the
// sense data (RFC 7143 11.4.7.2). b has two bytes.
func appendSense(b []byte, r *scsi.Response) []byte {
	if r.DescriptorSense {
		b = r.Sense.AppendDescriptor(b)
	} else {
		b = r.Sense.AppendFixed(b)
	}
	binary.BigEndian.PutUint16(b, uint16(len(b)-2))
	return b
}

// residual compares what the command describes with what the initiator expected
// (RFC 7143 11.4.5).
func (cmd *command) residual(r *scsi.Response, sent int) pdu.Residual {
	length := r.TransferLength
	if r.Status != scsi.StatusGood && r.Status != scsi.StatusConditionMet {
		// What did not move is the residual, whatever the CDB asked for.
		length = uint64(sent)
		if cmd.write {
			length = 0
		}
	}
	expected := uint64(cmd.expected)
	if !cmd.read && !cmd.write {
		expected = 0
	}
	switch {
	case length > expected:
		return pdu.Residual{Overflow: true, Count: uint32(min(length-expected, 1<<32-1))}
	case length < expected:
		return pdu.Residual{Underflow: true, Count: uint32(expected - length)}
	}
	return pdu.Residual{}
}

// dataIn splits data at the initiator's segment and burst lengths. Called with
// out.mu held; returns the number of PDUs.
func (c *connection) dataIn(cmd *command, r *scsi.Response, data []byte, residual pdu.Residual, collapse bool) (n uint32) {
	p := &c.out.dataIn
	burst := 0
	for at := 0; at < len(data); n++ {
		k := min(len(data)-at, c.p.MaxSend, c.p.MaxBurst-burst)
		burst += k
		last := at+k == len(data)
		*p = pdu.DataIn{Final: last || burst == c.p.MaxBurst, DataLength: k, TaskTag: cmd.Tag, TransferTag: pdu.ReservedTag,
			DataSN: n, BufferOffset: uint32(at)}
		if p.Final {
			burst = 0
		}
		p.ExpCmdSN, p.MaxCmdSN = c.window.bounds()
		if last && collapse {
			p.HasStatus, p.Status, p.Residual, p.StatSN = true, r.Status, residual, c.out.statSN
			c.out.statSN++
		}
		c.out.putLocked(p, data[at:at+k])
		if p.HasStatus && cmd.twice {
			c.out.putLocked(p, data[at:at+k])
		}
		at += k
	}
	return n
}
