package initiator

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/pdu"
)

// firstExchangeTag begins the tags of exchanges; those of commands are below.
const firstExchangeTag = 1 << 31

// exchange is a request other than a command, and its one answer.
type exchange struct {
	op    pdu.OpCode // of the answer
	build func(cmdSN, expStatSN uint32) (request pdu.PDU, data []byte)
	reply chan reply // room for one
	tag   uint32
	order uint64 // see slot

	// Of a task management function.
	function   scsi.TaskFunction
	lun        scsi.LUN
	referenced uint32
	refCmdSN   uint32
	background bool // nobody waits
}

type reply struct {
	pdu  pdu.PDU
	data []byte
	err  error
}

func (e *exchange) answer(r reply) {
	if !e.background {
		e.reply <- r
	}
}

// exchange registers and queues a request. Called with mu held.
func (s *Session) exchange(e *exchange) {
	for e.tag == 0 {
		if s.nextTag++; s.nextTag >= firstExchangeTag-1 {
			s.nextTag = 0
		}
		if tag := firstExchangeTag + s.nextTag; s.exchanges[tag] == nil {
			e.tag = tag
		}
	}
	if e.function != 0 {
		e.build = func(cmdSN, expStatSN uint32) (pdu.PDU, []byte) { return e.taskManagement(cmdSN, expStatSN), nil }
	}
	s.exchanges[e.tag] = e
	s.urgent.push(packet{exchange: e})
	s.signal()
}

// request sends one request and waits for its answer. When ctx ends first, the
// answer is dropped when it comes; until then it counts against maxExchanges.
func (s *Session) request(ctx context.Context, e *exchange) (reply, error) {
	e.reply = make(chan reply, 1)
	s.mu.Lock()
	switch {
	case s.failure != nil:
		defer s.mu.Unlock()
		return reply{}, s.failure
	case len(s.exchanges) >= maxExchanges+len(s.slots):
		s.mu.Unlock()
		return reply{}, ErrBusy
	}
	s.exchange(e)
	s.mu.Unlock()
	select {
	case r := <-e.reply:
		return r, r.err
	case <-ctx.Done():
		return reply{}, context.Cause(ctx)
	}
}

// TaskManagement performs a task management function (RFC 7143 11.5) as an
// immediate request. referenced is the tag of the task, for ABORT TASK and QUERY
// TASK. Commands that the function ended end with ErrAborted.
func (s *Session) TaskManagement(ctx context.Context, f scsi.TaskFunction, lun scsi.LUN, referenced uint32) (scsi.ManagementResponse, error) {
	e := &exchange{op: pdu.OpTaskManagementResp, function: f, lun: lun, referenced: referenced}
	if f == 0 || f > 0x7f {
		return 0, invalid("task management function %d", f)
	}
	s.mu.Lock()
	if sl := s.slot(referenced); sl != nil {
		e.refCmdSN = sl.cmdSN
	} else {
		e.refCmdSN = s.cmdSN // RFC 7143 11.5.5: nothing that the target may still wait for
	}
	s.mu.Unlock()
	r, err := s.request(ctx, e)
	if err != nil {
		return 0, fmt.Errorf("task management function %d: %w", f, err)
	}
	return r.pdu.(*pdu.TaskManagementResponse).Response, nil
}

// NOP sends a ping with data and waits for the answer, which has to bring the
// data back, as much as the initiator takes (RFC 7143 11.18, 11.19).
func (s *Session) NOP(ctx context.Context, data []byte) error {
	if len(data) > s.segment() {
		return invalid("ping of %d bytes, the target takes %d", len(data), s.segment())
	}
	data = bytes.Clone(data)
	e := &exchange{op: pdu.OpNOPIn}
	e.build = func(cmdSN, expStatSN uint32) (pdu.PDU, []byte) {
		return &pdu.NOPOut{Immediate: true, TaskTag: e.tag, TransferTag: pdu.ReservedTag, CmdSN: cmdSN, ExpStatSN: expStatSN}, data
	}
	r, err := s.request(ctx, e)
	if err != nil {
		return fmt.Errorf("NOP-Out: %w", err)
	}
	if want := data[:min(len(data), s.o.MaxRecvDataSegmentLength)]; !bytes.Equal(r.data, want) {
		return protocol("NOP-In with %d bytes that are not those of the ping", len(r.data))
	}
	return nil
}

// Text sends keys and returns the whole answer, which may repeat keys
// (RFC 7143 11.10).
func (s *Session) Text(ctx context.Context, keys pdu.Keys) (pdu.Keys, error) {
	text := keys.AppendTo(nil)
	if len(text) > s.segment() {
		return nil, invalid("%d bytes of text keys", len(text))
	}
	var answer []byte
	tag, transferTag := uint32(0), uint32(pdu.ReservedTag)
	for range maxTextResponses {
		e := &exchange{op: pdu.OpTextResponse, tag: tag}
		part := text
		transfer := transferTag
		e.build = func(cmdSN, expStatSN uint32) (pdu.PDU, []byte) {
			return &pdu.TextRequest{Immediate: true, Final: true, TaskTag: e.tag, TransferTag: transfer, CmdSN: cmdSN, ExpStatSN: expStatSN}, part
		}
		r, err := s.request(ctx, e)
		if err != nil {
			return nil, fmt.Errorf("text request: %w", err)
		}
		p := r.pdu.(*pdu.TextResponse)
		if len(answer)+len(r.data) > pdu.MaxTextLength {
			return nil, protocol("text response above %d bytes", pdu.MaxTextLength)
		}
		answer = append(answer, r.data...)
		if p.Final {
			got, err := pdu.ParsePairs(answer)
			if err != nil {
				return nil, protocol("%w", err)
			}
			return got, nil
		}
		if p.TransferTag == pdu.ReservedTag {
			return nil, protocol("text response that goes on without a tag")
		}
		tag, transferTag, text = e.tag, p.TransferTag, nil
	}
	return nil, protocol("more than %d text responses", maxTextResponses)
}

// Logout closes the session (RFC 7143 11.14), ends what is in flight with
// ErrClosed and waits for the session's goroutines. The session is closed
// whatever it returns.
func (s *Session) Logout(ctx context.Context) error {
	s.mu.Lock()
	s.leaving = true
	s.mu.Unlock()
	err := s.logout(ctx)
	s.Close()
	return err
}

func (s *Session) logout(ctx context.Context) error {
	e := &exchange{op: pdu.OpLogoutResponse}
	e.build = func(cmdSN, expStatSN uint32) (pdu.PDU, []byte) {
		return &pdu.LogoutRequest{Immediate: true, Reason: pdu.CloseSession, TaskTag: e.tag, CmdSN: cmdSN, ExpStatSN: expStatSN}, nil
	}
	r, err := s.request(ctx, e)
	if err != nil {
		return fmt.Errorf("logout: %w", err)
	}
	if p := r.pdu.(*pdu.LogoutResponse); p.Response != 0 {
		return fmt.Errorf("logout: response %d", p.Response)
	}
	return nil
}

// obey logs out because the target asked for it.
func (s *Session) obey(wait time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	if err := s.logout(ctx); err != nil {
		s.fail(err)
		return
	}
	s.fail(fmt.Errorf("%w: the target asked for a logout", ErrClosed))
}

// Target is what discovery found.
type Target struct {
	Name    string
	Portals []Portal
}

// Portal is one address of a target.
type Portal struct {
	Address string // host:port as the target wrote it
	Group   uint16 // target portal group tag
}
