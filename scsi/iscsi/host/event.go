package host

import (
	"fmt"
	"time"
)

// Kind of an Event.
type Kind string

// Kinds of events.
const (
	SessionChanged Kind = "session" // State is "up" or "down"
	PathChanged    Kind = "path"    // State is a PathState
	DeviceChanged  Kind = "device"  // State is a DeviceState
	CommandFailed  Kind = "command" // State is the line of H, D, P and sense; the command goes on elsewhere or ends
)

// Event is one change. States are as their types spell them.
type Event struct {
	Time   time.Time `json:"time"` // of the host's clock
	Kind   Kind      `json:"kind"`
	Device string    `json:"device,omitempty"` // naa.…
	Path   string    `json:"path,omitempty"`   // vmhba64:C0:T0:L256
	Portal string    `json:"portal,omitempty"` // address, of sessions and paths
	Before string    `json:"before,omitempty"`
	State  string    `json:"state"`
	Reason string    `json:"reason,omitempty"`
	// ID is what the host calls it, of paths and devices: esx.problem.storage.apd.start [memory].
	ID string `json:"id,omitempty"`
}

// String is a line without the time.
func (e Event) String() string {
	text := string(e.Kind)
	for _, about := range []string{e.Path, e.Device, e.Portal} {
		if about != "" {
			text += " " + about + ":"
			break
		}
	}
	if e.Before != "" {
		text += " " + e.Before + " ->"
	}
	text += " " + e.State
	if e.Reason != "" {
		text += " (" + e.Reason + ")"
	}
	if e.ID != "" {
		text += " " + e.ID
	}
	return text
}

// ids of what hosts tell [memory].
const (
	idAPDStart         = "esx.problem.storage.apd.start"
	idAPDTimeout       = "esx.problem.storage.apd.timeout"
	idAPDExit          = "esx.clear.storage.apd.exit"
	idPermanentLoss    = "esx.problem.scsi.device.state.permanentloss"
	idConnectivityLost = "esx.problem.storage.connectivity.lost"
	idRedundancyLost   = "esx.problem.storage.redundancy.lost"
	idRedundancyLess   = "esx.problem.storage.redundancy.degraded"
)

// tell stamps an event and hands it on. Called with Host.mu held, so that events come in order.
func (h *Host) tell(e Event) {
	if h.o.Events == nil {
		return
	}
	e.Time = h.clock.Now()
	h.o.Events(e)
}

// HostStatus is H of a log line (scsi.md 2.1: KB 309543 for 0 to 3, the rest [memory]).
type HostStatus uint8

// Host statuses.
const (
	HostOK        HostStatus = 0x0
	HostNoConnect HostStatus = 0x1 // the session is not there
	HostTimeout   HostStatus = 0x3
	HostAbort     HostStatus = 0x5 // the initiator aborted the command, which was not answered
	HostError     HostStatus = 0x7
)

// Error is a command that ended without a status of the device.
type Error struct {
	Host HostStatus
	Err  error
}

// Error is as logs have it, with the reason.
func (e *Error) Error() string { return fmt.Sprintf("H:0x%x D:0x0 P:0x0: %v", uint8(e.Host), e.Err) }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }
