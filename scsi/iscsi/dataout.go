package iscsi

import (
	"vvsim/scsi"
	"vvsim/scsi/iscsi/pdu"
)

// transfer is the Data-Out of one command; guarded by connection.mu until the
// command is queued.
type transfer struct {
	want        int // bytes to fetch
	got         int
	admitted    int // bytes counted in connection.admitted
	buffer      *scsi.Buffer
	unsolicited bool // Data-Out PDUs without R2T still come
	offset      int  // next unsolicited byte
	dataSN      uint32
	next        int // first byte not asked for
	r2tSN       uint32
	sequences   []sequence // answers to R2Ts that are outstanding
	starved     bool
}

// sequence is the Data-Out that one R2T asked for.
type sequence struct {
	tag         uint32
	offset, end int
	dataSN      uint32
}

// hold makes the buffer at least n bytes long.
func (t *transfer) hold(n int) {
	if t.buffer.Len() >= n {
		return
	}
	b := scsi.NewBuffer(n)
	copy(b.Bytes(), t.buffer.Bytes()[:min(t.got, t.buffer.Len())])
	t.buffer.Release()
	t.buffer = b
}

// data is what came, once the command is ready.
func (t *transfer) data() []byte {
	if t.buffer == nil {
		return nil
	}
	return t.buffer.Bytes()[:min(t.got, t.want, t.buffer.Len())]
}

// take stores bytes at an offset; what nobody wants is dropped.
func (t *transfer) take(offset int, data []byte) {
	n := min(len(data), t.want-offset)
	if n <= 0 {
		return
	}
	t.hold(offset + n)
	t.got += copy(t.buffer.Bytes()[offset:], data[:n])
}

// complete tells whether nothing more has to come.
func (t *transfer) complete() bool { return !t.unsolicited && t.got >= t.want }

// firstData takes the immediate data of a command and starts its data phase. It
// returns whether the command is ready. Called with mu held.
func (c *connection) firstData(cmd *command, req *pdu.SCSICommand, data []byte) (ready bool) {
	t := &cmd.transfer
	if !cmd.write {
		return true
	}
	limit := min(int(cmd.expected), c.p.FirstBurst)
	if len(data) > 0 && (!c.p.ImmediateData || len(data) > limit) {
		c.failData(cmd, unexpectedUnsolicited)
	} else {
		if t.want > len(data) {
			c.admit(t)
		}
		t.take(0, data)
		t.offset = len(data)
	}
	if !req.Final {
		// RFC 7143 11.3.1: F=0 announces unsolicited Data-Out, which InitialR2T=Yes forbids.
		if c.p.InitialR2T || t.offset >= limit {
			c.failData(cmd, unexpectedUnsolicited)
		} else {
			t.unsolicited = true
		}
	}
	return c.advance(cmd)
}

// admit gives a transfer its whole buffer when there is room for it. Without, it
// holds what comes unsolicited, at most FirstBurstLength. Called with mu held.
func (c *connection) admit(t *transfer) bool {
	if t.admitted == 0 {
		if c.admitted > 0 && c.admitted+t.want > maxAdmitted {
			return false
		}
		t.admitted = t.want
		c.admitted += t.want
		t.hold(t.want)
	}
	return true
}

// Sense of a data phase that went wrong (RFC 7143 11.4.7.2).
var (
	unexpectedUnsolicited = scsi.Sense(scsi.AbortedCommand, 0x0c0c)
	incorrectAmount       = scsi.Sense(scsi.AbortedCommand, 0x0c0d)
)

// failData makes the command end with sense instead of being executed.
func (c *connection) failData(cmd *command, s scsi.SenseData) {
	if cmd.failure == nil {
		cmd.failure = &s
	}
	cmd.transfer.want, cmd.transfer.unsolicited = 0, false
	cmd.transfer.sequences = cmd.transfer.sequences[:0]
}

// advance asks for data as far as R2Ts go. It returns whether all is there.
func (c *connection) advance(cmd *command) (ready bool) {
	t := &cmd.transfer
	if t.unsolicited {
		return false
	}
	t.next = max(t.next, t.offset)
	if t.next < t.want && !c.admit(t) {
		if !t.starved {
			t.starved = true
			c.starved = append(c.starved, cmd)
		}
		return false
	}
	for t.next < t.want && len(t.sequences) < c.p.MaxR2T {
		c.r2t(cmd, min(t.want-t.next, c.p.MaxBurst))
	}
	return t.complete()
}

// r2t asks for n bytes from t.next on. Called with mu held.
func (c *connection) r2t(cmd *command, n int) {
	t := &cmd.transfer
	tag := c.transferTag()
	p := &pdu.R2T{LUN: cmd.LUN, TaskTag: cmd.Tag, TransferTag: tag, R2TSN: t.r2tSN,
		BufferOffset: uint32(t.next), DesiredLength: uint32(n)}
	t.sequences = append(t.sequences, sequence{tag: tag, offset: t.next, end: t.next + n})
	t.next += n
	t.r2tSN++
	c.out.mu.Lock()
	c.stamp(&p.Window) // an R2T does not advance StatSN (RFC 7143 11.8)
	c.out.putLocked(p, nil)
	c.out.mu.Unlock()
}

// feedStarved goes on with transfers that waited for room, in their order.
// Called with mu held.
func (c *connection) feedStarved() {
	for len(c.starved) > 0 {
		cmd := c.starved[0]
		if cmd.phase == collecting && !c.admit(&cmd.transfer) {
			return
		}
		c.starved = c.starved[1:]
		cmd.transfer.starved = false
		if cmd.phase == collecting {
			c.advance(cmd) // not ready: its data has still to come
		}
	}
}

// dataOut takes one Data-Out PDU. Data for a command that has ended is dropped
// (RFC 7143 11.5.1: it may still be on its way).
func (c *connection) dataOut(h pdu.Header, data []byte) error {
	var p pdu.DataOut
	p.Parse(h)
	c.mu.Lock()
	cmd := c.tasks[p.TaskTag]
	if cmd == nil || cmd.phase != collecting {
		c.mu.Unlock()
		return nil
	}
	if p.TransferTag == pdu.ReservedTag {
		c.unsolicitedData(cmd, &p, data)
	} else {
		c.solicitedData(cmd, &p, data)
	}
	ready := c.advance(cmd)
	if ready {
		cmd.phase = queued
	}
	c.mu.Unlock()
	if ready {
		return c.dispatch(cmd)
	}
	return nil
}

// unsolicitedData is Data-Out within FirstBurstLength. Called with mu held.
func (c *connection) unsolicitedData(cmd *command, p *pdu.DataOut, data []byte) {
	t := &cmd.transfer
	limit := min(int(cmd.expected), c.p.FirstBurst)
	switch {
	case !t.unsolicited:
		c.failData(cmd, unexpectedUnsolicited)
	case int(p.BufferOffset) != t.offset || p.DataSN != t.dataSN || t.offset+len(data) > limit:
		c.failData(cmd, incorrectAmount)
	default:
		t.take(t.offset, data)
		t.offset += len(data)
		t.dataSN++
		t.unsolicited = !p.Final
	}
}

// solicitedData answers an R2T. Called with mu held.
func (c *connection) solicitedData(cmd *command, p *pdu.DataOut, data []byte) {
	t := &cmd.transfer
	for i := range t.sequences {
		s := &t.sequences[i]
		if s.tag != p.TransferTag {
			continue
		}
		if int(p.BufferOffset) != s.offset || p.DataSN != s.dataSN || len(data) > s.end-s.offset ||
			p.Final != (s.offset+len(data) == s.end) {
			break // falls to the failure below
		}
		t.take(s.offset, data)
		s.offset += len(data)
		s.dataSN++
		if p.Final {
			t.sequences = append(t.sequences[:i], t.sequences[i+1:]...)
		}
		return
	}
	c.failData(cmd, incorrectAmount)
}
