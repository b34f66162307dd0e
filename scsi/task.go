package scsi

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// NexusID names an I_T nexus: initiator port (iSCSI name and ISID) and target
// port (RFC 7143 9.1.1). Persistent reservations belong to it; it outlives
// sessions.
type NexusID struct {
	Initiator  string  // iSCSI initiator name
	ISID       [6]byte // initiator part of the session identifier
	TargetPort uint16  // relative target port identifier = target portal group tag, from 1
}

// InitiatorPort is the initiator port name, "iqn…,i,0x" and twelve hex digits
// (RFC 7143 4.2.7.1, SPC-4 7.6.4.6).
func (id NexusID) InitiatorPort() string {
	return fmt.Sprintf("%s,i,0x%012x", id.Initiator, id.ISID)
}

// Nexus is one live I_T nexus: a session. Its fields do not change after
// Target.NexusEstablished; two sessions are never the same *Nexus.
type Nexus struct {
	NexusID
	Session uint64 // unique in the process; for logs, metrics and the API

	// Routes is where Target.NexusEstablished keeps what it knows of the nexus.
	// Transports leave it alone.
	Routes any
}

// TaskAttribute is a task's ordering attribute (SAM-5 8.6).
type TaskAttribute uint8

// Values as in the ATTR field of an iSCSI SCSI Command PDU (RFC 7143 11.3.1).
const (
	Untagged    TaskAttribute = 0
	Simple      TaskAttribute = 1
	Ordered     TaskAttribute = 2
	HeadOfQueue TaskAttribute = 3
	ACA         TaskAttribute = 4
)

// Task is one SCSI command between Prepare and Complete. The transport owns it
// and may reuse it after Complete and Reset.
type Task struct {
	Nexus     *Nexus
	LUN       LUN
	Tag       uint32 // initiator task tag, unique within the nexus
	Attribute TaskAttribute
	CDB       []byte // whole CDB, 16 bytes or more; read-only, valid until Execute returns

	// DataOut holds the bytes the transport fetched: at most what Prepare asked
	// for, less when the initiator expected to send less. Read-only, valid until
	// Execute returns.
	DataOut []byte
	// ExpectedIn is the number of Data-In bytes that the initiator can take. A
	// device may read less than the CDB describes, but reports the CDB's length in
	// Response.TransferLength.
	ExpectedIn uint32
	// ExpectedOut is the number of Data-Out bytes that the initiator announced; a
	// device may refuse a command whose own length disagrees.
	ExpectedOut uint32

	// Owner, if not nil, is told when Abort won, so that a transport that still
	// waits for Data-Out executes the task at once.
	Owner TaskOwner

	// Prompt is set by Prepare when Execute will probably wait for nothing but memory and
	// the page cache, so that handing a lone task to another goroutine costs more than
	// it brings.
	Prompt bool

	// Joins is set by Prepare of a write that waits for none of the tasks before it, and
	// costs less when it is executed together with others (Target.ExecuteAll).
	Joins bool

	// Unit is where Prepare keeps the route for Execute. Transports leave it alone.
	Unit LogicalUnit
	// What the task set of a logical unit knows of the task, guarded by that set's
	// lock: neighbours, number in order of arrival, and whether it has had its turn.
	Next, Prev *Task
	Order      uint64
	Started    bool

	cancellation
}

// TaskOwner is told of aborted tasks.
type TaskOwner interface {
	// TaskAborted is called once for a task, from whichever goroutine aborts it,
	// which may hold locks of a logical unit: it must not call back into the Target.
	TaskAborted(t *Task)
}

// Disposition says what the transport does with a task's response.
type Disposition uint32

const (
	taskRunning       Disposition = iota
	Respond                       // send the response
	AbortedSilently               // the task was aborted: send nothing (SAM-5 5.3.1)
	AbortedWithStatus             // aborted by another nexus with TAS=1: send TASK ABORTED
)

// Abort marks the task aborted and cancels its context. The first call wins; it
// returns false when the task was complete or aborted before. d is
// AbortedSilently or AbortedWithStatus. Safe for concurrent use with Execute.
func (t *Task) Abort(d Disposition) bool {
	if !t.state.CompareAndSwap(uint32(taskRunning), uint32(d)) {
		return false
	}
	t.cancel()
	if t.Owner != nil {
		t.Owner.TaskAborted(t)
	}
	return true
}

// Aborted tells whether Abort won.
func (t *Task) Aborted() bool { return Disposition(t.state.Load()) >= AbortedSilently }

// Complete ends the task and says what to do with its response. After it
// returned Respond, Abort fails.
func (t *Task) Complete() Disposition {
	t.state.CompareAndSwap(uint32(taskRunning), uint32(Respond))
	return Disposition(t.state.Load())
}

// Reusable tells whether a completed task may be Reset. It may not once somebody
// has waited on its context: contexts derived from it may still look at it for a
// moment after Execute returned.
func (t *Task) Reusable() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.done == nil
}

// Reset prepares a completed task for reuse. Nothing else may hold the task, and
// Reusable must have said yes.
func (t *Task) Reset() {
	t.Nexus, t.CDB, t.DataOut, t.Owner, t.Unit, t.Next, t.Prev = nil, nil, nil, nil, nil, nil, nil
	t.LUN, t.Tag, t.Attribute, t.ExpectedIn, t.ExpectedOut, t.Prompt, t.Joins, t.Order, t.Started = LUN{}, 0, 0, 0, 0, false, false, 0, false
	t.cancellation.reset()
}

// Context is cancelled (context.Canceled) by Abort. It is valid until Execute
// returns.
func (t *Task) Context() context.Context { return &t.cancellation }

// cancellation is a context that costs no allocation until somebody waits on it.
type cancellation struct {
	state atomic.Uint32
	mu    sync.Mutex
	done  chan struct{} // guarded by mu; made by the first Done
}

func (c *cancellation) Deadline() (time.Time, bool) { return time.Time{}, false }
func (c *cancellation) Value(any) any               { return nil }

func (c *cancellation) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if Disposition(c.state.Load()) >= AbortedSilently {
			close(c.done)
		}
	}
	return c.done
}

func (c *cancellation) Err() error {
	if Disposition(c.state.Load()) >= AbortedSilently {
		return context.Canceled
	}
	return nil
}

// cancel is called once, after state was set.
func (c *cancellation) cancel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
	}
	select {
	case <-c.done: // Done saw the new state first
	default:
		close(c.done)
	}
}

func (c *cancellation) reset() {
	c.state.Store(uint32(taskRunning))
	c.done = nil
}

// Response is the outcome of a task.
type Response struct {
	Status Status
	Sense  *SenseData // with CHECK CONDITION, else nil
	// DescriptorSense selects descriptor format (D_SENSE, SPC-4 7.5.8).
	DescriptorSense bool
	// DataIn is what to send to the initiator, at most ExpectedIn bytes. The
	// transport owns and releases it. nil means nothing.
	DataIn *Buffer
	// TransferLength is the number of bytes that the CDB describes for its
	// direction, after truncation by an allocation length. The transport derives
	// residuals from it (RFC 7143 11.4.5).
	TransferLength uint64
}

// Good is the response of a command without data.
func Good() Response { return Response{} }

// CheckCondition is a response with sense data.
func CheckCondition(s SenseData) Response {
	return Response{Status: StatusCheckCondition, Sense: &s}
}

// TaskFunction is a task management function, numbered as in RFC 7143 11.5.1.
type TaskFunction uint8

const (
	AbortTask        TaskFunction = 1
	AbortTaskSet     TaskFunction = 2
	ClearACA         TaskFunction = 3
	ClearTaskSet     TaskFunction = 4
	LogicalUnitReset TaskFunction = 5
	TargetWarmReset  TaskFunction = 6
	TargetColdReset  TaskFunction = 7
	TaskReassign     TaskFunction = 8
	QueryTask        TaskFunction = 9
	QueryTaskSet     TaskFunction = 10
	ITNexusReset     TaskFunction = 11
	QueryAsyncEvent  TaskFunction = 12
)

// TaskManagement is one task management request.
type TaskManagement struct {
	Function   TaskFunction
	Nexus      *Nexus
	LUN        LUN
	Referenced uint32 // tag of the task, for ABORT TASK and QUERY TASK
}

// ManagementResponse answers a task management request, numbered as in RFC 7143 11.6.1.
type ManagementResponse uint8

const (
	FunctionComplete     ManagementResponse = 0
	TaskDoesNotExist     ManagementResponse = 1
	LUNDoesNotExist      ManagementResponse = 2
	TaskStillAllegiant   ManagementResponse = 3
	ReassignNotSupported ManagementResponse = 4
	FunctionNotSupported ManagementResponse = 5
	AuthorizationFailed  ManagementResponse = 6
	FunctionSucceeded    ManagementResponse = 7 // QUERY TASK and its kin found something (RFC 7144 4.2)
	FunctionRejected     ManagementResponse = 255
)

// LogicalUnit is what executes commands. All methods are safe for concurrent use.
type LogicalUnit interface {
	// Prepare puts t into the task set and returns the number of Data-Out bytes
	// that the command wants: 0 for commands that send none and for those that
	// will fail whatever they send. It does not block. Each prepared task must be
	// executed exactly once.
	Prepare(t *Task) (dataOut int)

	// Execute runs t to its end and takes it out of the task set. It blocks for as
	// long as the command takes; an aborted task ends soon, and the transport
	// ignores its response.
	Execute(t *Task) Response

	// Manage performs a task management function and returns when the tasks it
	// aborts have left Execute, or with FunctionRejected when ctx ends first.
	Manage(ctx context.Context, m TaskManagement) ManagementResponse

	// NexusLost forgets n: its tasks are aborted silently, and SPC-2 reservations
	// and unit attentions of it are dropped. It does not wait for the tasks.
	NexusLost(n *Nexus)
}

// Target routes tasks by nexus and LUN to logical units. Manage with
// TargetWarmReset, TargetColdReset and ITNexusReset ignores the LUN.
type Target interface {
	LogicalUnit

	// ExecuteAll is Execute of several prepared tasks side by side: in no order, and none
	// waits for another. It returns when all have ended; answers, as long as tasks, gets
	// their responses. Slices are borrowed for the call.
	ExecuteAll(tasks []*Task, answers []Response)

	// NexusEstablished tells of a new session before its first task. An error
	// refuses the login with "out of resources".
	NexusEstablished(n *Nexus) error
}
