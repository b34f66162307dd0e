package pe

import (
	"sync/atomic"

	"vvsim/scsi"
	"vvsim/scsi/device"
)

// throttle is a volume's logical unit behind its limits, one for all hosts and paths.
// Without limits it costs a look at a pointer.
type throttle struct {
	*device.LogicalUnit
	limits atomic.Pointer[limiter] // nil: none
}

// set changes the limits, for commands that wait as well. Calls do not overlap.
func (h *throttle) set(r rates) {
	old := h.limits.Load()
	switch {
	case r == rates{}:
		h.limits.Store(nil)
		if old != nil {
			old.set(r)
		}
	case old != nil:
		old.set(r)
	default:
		h.limits.Store(newLimiter(r))
	}
}

func (h *throttle) rates() rates {
	if l := h.limits.Load(); l != nil {
		return l.rates()
	}
	return rates{}
}

// Prepare implements scsi.LogicalUnit. A command that may have to wait for its turn is
// not for the connection's reader, and goes by itself.
func (h *throttle) Prepare(t *scsi.Task) int {
	n := h.LogicalUnit.Prepare(t)
	if h.limits.Load() != nil {
		t.Prompt, t.Joins = false, false
	}
	return n
}

// Execute implements scsi.LogicalUnit: a command that moves data waits for its turn
// first, in the task set, where it can be aborted.
func (h *throttle) Execute(t *scsi.Task) scsi.Response {
	if l := h.limits.Load(); l != nil {
		if bytes, ok := device.Traffic(t); ok {
			l.wait(t.Context(), bytes)
		}
	}
	return h.LogicalUnit.Execute(t)
}

// ExecuteAll executes tasks together. When limits have come since they were prepared, it
// is one after the other, each in its turn.
func (h *throttle) ExecuteAll(tasks []*scsi.Task, answers []scsi.Response) {
	if h.limits.Load() == nil {
		h.LogicalUnit.ExecuteAll(tasks, answers)
		return
	}
	for i, t := range tasks {
		answers[i] = h.Execute(t)
	}
}

var _ scsi.LogicalUnit = (*throttle)(nil)
