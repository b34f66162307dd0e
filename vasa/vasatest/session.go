package vasatest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	"vvsim/vasa/wire"
)

// Waits of a Session.
const (
	// DefaultAbsence is how long a provider may be gone, as while it restarts.
	DefaultAbsence = time.Minute
	// DefaultTaskWait is how long a task may run.
	DefaultTaskWait = 5 * time.Minute
	retryEvery      = 100 * time.Millisecond
)

// Patience is how long a Session waits; zero values take the defaults.
type Patience struct {
	Absence  time.Duration // of the provider: no connection, or VasaProviderBusy
	TaskWait time.Duration
}

// Session is a client that keeps its session, as vCenter and hosts do: on InvalidSession
// it sets its context anew and repeats the call; it waits while the provider is gone or
// busy; it follows tasks to their end. Call is safe for concurrent use, what changes the
// session is for one goroutine.
type Session struct {
	client *Client
	usage  wire.UsageContext
	wait   Patience
	// opened is called after each setContext, to tell again what goes with a session.
	opened func(ctx context.Context) error

	mu    sync.Mutex // guards all below
	info  wire.VasaProviderInfo
	calls []string
	notes []string
}

func newSession(o Options, usage wire.UsageContext, wait Patience) (*Session, error) {
	if wait.Absence == 0 {
		wait.Absence = DefaultAbsence
	}
	if wait.TaskWait == 0 {
		wait.TaskWait = DefaultTaskWait
	}
	c, err := New(o)
	return &Session{client: c, usage: usage, wait: wait}, err
}

// Close ends idle connections; the session stays.
func (s *Session) Close() { s.client.Close() }

// Info is what the provider answered to the last setContext.
func (s *Session) Info() wire.VasaProviderInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.info
}

// Told returns the operations called since the last Told, and what was worth a note, and
// forgets both.
func (s *Session) Told() (calls, notes []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls, notes = s.calls, s.notes
	s.calls, s.notes = nil, nil
	return calls, notes
}

func (s *Session) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text := fmt.Sprintf(format, args...); !slices.Contains(s.notes, text) {
		s.notes = append(s.notes, text)
	}
}

// Open sets the context: a new session begins in place of the present one.
func (s *Session) Open(ctx context.Context) error {
	v, err := s.try(ctx, &wire.SetContext{UsageContext: &s.usage})
	if err != nil {
		return err
	}
	r, ok := v.(*wire.SetContextResponse)
	if !ok || r.Return == nil {
		return errors.New("setContext answered no provider information")
	}
	s.mu.Lock()
	s.info = *r.Return
	s.mu.Unlock()
	if s.opened != nil {
		return s.opened(ctx)
	}
	return nil
}

// Call is Client.Call within the session.
func (s *Session) Call(ctx context.Context, request any) (any, error) {
	v, err := s.try(ctx, request)
	if Fault(err) != "InvalidSession" {
		return v, err
	}
	s.note("InvalidSession: the context was set anew")
	if err := s.Open(ctx); err != nil {
		return nil, err
	}
	return s.try(ctx, request)
}

// ask is Do within a session.
func ask[R any](ctx context.Context, s *Session, request any) (*R, error) {
	v, err := s.Call(ctx, request)
	if err != nil {
		return nil, err
	}
	r, ok := v.(*R)
	if !ok {
		return nil, fmt.Errorf("the response to %T is a %T, not a %T", request, v, r)
	}
	return r, nil
}

// try calls until the provider answers, or was gone too long.
func (s *Session) try(ctx context.Context, request any) (any, error) {
	name, began := wire.OperationOf(request).Name, time.Now()
	s.mu.Lock()
	s.calls = append(s.calls, name)
	s.mu.Unlock()
	for {
		v, err := s.client.Call(ctx, request)
		if !again(name, err) || ctx.Err() != nil {
			return v, err
		}
		if time.Since(began) > s.wait.Absence {
			return nil, fmt.Errorf("%s: no use of the provider for %v: %w", name, s.wait.Absence, err)
		}
		if Fault(err) == "" {
			s.note("the provider was gone")
		} else {
			s.note("%s: VasaProviderBusy", name)
		}
		if err := pause(ctx, retryEvery); err != nil {
			return nil, err
		}
	}
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// notRepeatable are operations that must not be sent twice if the first answer was lost:
// they may have been done.
func notRepeatable() []string {
	return []string{"createVirtualVolume", "cloneVirtualVolume", "fastCloneVirtualVolume", "prepareToSnapshotVirtualVolume", "snapshotVirtualVolume",
		"deleteVirtualVolume", "unbindVirtualVolume", "registerCASignedProviderCertificate"}
}

// again tells whether a call that failed is to be repeated as it is: there was no
// connection, or it broke and nothing is done twice, or the provider says so.
func again(name string, err error) bool {
	if err == nil || Fault(err) != "" {
		return Fault(err) == "VasaProviderBusy"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return true
	}
	if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted {
		return false
	}
	_, broken := errors.AsType[*url.Error](err)
	return (broken || errors.Is(err, io.ErrUnexpectedEOF)) && !slices.Contains(notRepeatable(), name)
}

// TaskError is a task that ended in Error.
type TaskError struct{ Task wire.TaskInfo }

func (e *TaskError) Error() string {
	return fmt.Sprintf("task %s (%s) ended with %s", e.Task.TaskID, e.Task.Name, faultIn(e.Task.Error))
}

// faultIn names the fault that a field of any type holds.
func faultIn(v any) string {
	if f, ok := v.(wire.Fault); ok {
		return wire.FaultName(f)
	}
	return fmt.Sprintf("%v", v)
}

// Outcome is the name of the fault that err is, of a task or a row too, "" if it is none.
func Outcome(err error) string {
	if t, ok := errors.AsType[*TaskError](err); ok {
		return faultIn(t.Task.Error)
	}
	if r, ok := errors.AsType[*RowError](err); ok {
		return r.Fault
	}
	return Fault(err)
}

// RowError is an item of a batch that failed.
type RowError struct{ Operation, ID, Fault string }

func (e *RowError) Error() string { return fmt.Sprintf("%s of %s: %s", e.Operation, e.ID, e.Fault) }

// Finish follows a task to its end, and returns it as it ended.
func (s *Session) Finish(ctx context.Context, t wire.TaskInfo) (wire.TaskInfo, error) {
	if t.TaskID == "" {
		return t, fmt.Errorf("the task of %s has no id", t.Name)
	}
	first := t.TaskState
	for began := time.Now(); t.TaskState == wire.TaskStateRunning || t.TaskState == wire.TaskStateQueued; {
		if time.Since(began) > s.wait.TaskWait {
			return t, fmt.Errorf("task %s (%s) is %s after %v", t.TaskID, t.Name, t.TaskState, s.wait.TaskWait)
		}
		r, err := ask[wire.GetTaskUpdateResponse](ctx, s, &wire.GetTaskUpdate{TaskID: t.TaskID})
		if err != nil {
			return t, err
		}
		if t = r.Return; t.TaskState == wire.TaskStateRunning || t.TaskState == wire.TaskStateQueued {
			if err := pause(ctx, retryEvery); err != nil {
				return t, err
			}
		}
	}
	switch {
	case t.TaskState == wire.TaskStateError:
		return t, &TaskError{t}
	case t.TaskState != wire.TaskStateSuccess:
		return t, fmt.Errorf("task %s (%s) is in state %q", t.TaskID, t.Name, t.TaskState)
	case t.Progress < 0 || t.Progress > 100:
		return t, fmt.Errorf("task %s (%s) has a progress of %d", t.TaskID, t.Name, t.Progress)
	}
	if first == wire.TaskStateSuccess {
		return t, s.remembered(ctx, t)
	}
	return t, nil
}

// remembered checks that a task which was answered as finished can still be asked for
// (vasa.md 7.5).
func (s *Session) remembered(ctx context.Context, t wire.TaskInfo) error {
	r, err := ask[wire.GetTaskUpdateResponse](ctx, s, &wire.GetTaskUpdate{TaskID: t.TaskID})
	if err != nil {
		return fmt.Errorf("task %s (%s), which was answered as finished: %w", t.TaskID, t.Name, err)
	}
	if r.Return.TaskState != t.TaskState {
		return fmt.Errorf("task %s (%s) was answered as %s, and is %s", t.TaskID, t.Name, t.TaskState, r.Return.TaskState)
	}
	return nil
}

// made is the text that a task has as its result.
func (s *Session) made(ctx context.Context, t wire.TaskInfo) (string, error) {
	t, err := s.Finish(ctx, t)
	if err != nil {
		return "", err
	}
	id, ok := t.Result.(string)
	if !ok || id == "" {
		return "", fmt.Errorf("task %s (%s) has the result %v, not the id of a virtual volume", t.TaskID, t.Name, t.Result)
	}
	return id, nil
}

// newUUID makes a random UUID (RFC 9562 5.4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand does not fail
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
