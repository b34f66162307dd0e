package device

import (
	"context"

	"vvsim/scsi"
)

// taskSet is the list of tasks of a logical unit in order of arrival (SAM-5 8).
// Guarded by LogicalUnit.mu.
type taskSet struct {
	first, last *scsi.Task
	count       int
	ordered     int    // tasks with ORDERED attribute
	order       uint64 // number of the newest task
}

func (s *taskSet) add(t *scsi.Task) {
	t.Prev = s.last
	if s.last != nil {
		s.last.Next = t
	} else {
		s.first = t
	}
	s.last = t
	s.count++
	s.order++
	t.Order, t.Started = s.order, false
	if t.Attribute == scsi.Ordered {
		s.ordered++
	}
}

func (s *taskSet) remove(t *scsi.Task) {
	if t.Prev != nil {
		t.Prev.Next = t.Next
	} else {
		s.first = t.Next
	}
	if t.Next != nil {
		t.Next.Prev = t.Prev
	} else {
		s.last = t.Prev
	}
	t.Next, t.Prev = nil, nil
	s.count--
	if t.Attribute == scsi.Ordered {
		s.ordered--
	}
}

func (s *taskSet) match(f func(*scsi.Task) bool) (all []*scsi.Task) {
	for t := s.first; t != nil; t = t.Next {
		if f(t) {
			all = append(all, t)
		}
	}
	return all
}

// leave takes tasks out of the set.
func (lu *LogicalUnit) leave(tasks ...*scsi.Task) {
	lu.mu.Lock()
	for _, t := range tasks {
		lu.tasks.remove(t)
	}
	lu.left.Broadcast()
	lu.mu.Unlock()
}

// awaitTurn blocks a task behind those it may not overtake: an ORDERED task
// behind all older ones, a SIMPLE task behind older ORDERED ones (SAM-5 8.6). It
// returns the status to end with at once, GOOD when the task may run.
func (lu *LogicalUnit) awaitTurn(t *scsi.Task) scsi.Status {
	lu.mu.Lock()
	if lu.tasks.count > MaxTasks {
		lu.mu.Unlock()
		return scsi.StatusTaskSetFull
	}
	for lu.tasks.ordered > 0 && t.Attribute != scsi.HeadOfQueue && !t.Aborted() && mustWait(t) {
		lu.left.Wait()
	}
	t.Started = true
	lu.mu.Unlock()
	if t.Aborted() {
		return scsi.StatusTaskAborted
	}
	return scsi.StatusGood
}

func mustWait(t *scsi.Task) bool {
	for older := t.Prev; older != nil; older = older.Prev {
		if t.Attribute == scsi.Ordered || older.Attribute == scsi.Ordered {
			return true
		}
	}
	return false
}

// Manage implements scsi.LogicalUnit.
func (lu *LogicalUnit) Manage(ctx context.Context, m scsi.TaskManagement) scsi.ManagementResponse {
	if lu.removed.Load() {
		return scsi.LUNDoesNotExist
	}
	own := func(t *scsi.Task) bool { return t.Nexus == m.Nexus }
	one := func(t *scsi.Task) bool { return own(t) && t.Tag == m.Referenced }
	every := func(*scsi.Task) bool { return true }
	switch m.Function {
	case scsi.AbortTask:
		// scsi.md 0 rule 6: ESXi takes "does not exist" for a task that has just
		// finished as a broken target, so an unknown task counts as aborted.
		return lu.abort(ctx, m.Nexus, one)
	case scsi.AbortTaskSet:
		return lu.abort(ctx, m.Nexus, own)
	case scsi.ClearTaskSet:
		return lu.abort(ctx, m.Nexus, every)
	case scsi.LogicalUnitReset:
		return lu.reset(ctx, m.Nexus)
	case scsi.ITNexusReset:
		r := lu.abort(ctx, m.Nexus, own)
		lu.mu.Lock()
		lu.reservations.releaseSPC2(m.Nexus)
		lu.refreshGuard()
		lu.mu.Unlock()
		lu.Attention(scsi.NexusLossOccurred, func(n *scsi.Nexus) bool { return n == m.Nexus })
		return r
	case scsi.QueryTask:
		return lu.query(one)
	case scsi.QueryTaskSet:
		return lu.query(own)
	case scsi.QueryAsyncEvent:
		if lu.nexus(m.Nexus).pending.Load() {
			return scsi.FunctionSucceeded
		}
		return scsi.FunctionComplete
	}
	return scsi.FunctionNotSupported
}

func (lu *LogicalUnit) query(f func(*scsi.Task) bool) scsi.ManagementResponse {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	if len(lu.tasks.match(f)) > 0 {
		return scsi.FunctionSucceeded
	}
	return scsi.FunctionComplete
}

// abort ends the tasks that f picks and waits until they have left. Tasks of other
// nexuses than by end with TASK ABORTED when TAS is one; else their nexus hears
// of it by a unit attention (SPC-4 7.5.8, SAM-5 5.8.7).
func (lu *LogicalUnit) abort(ctx context.Context, by *scsi.Nexus, f func(*scsi.Task) bool) scsi.ManagementResponse {
	tas := lu.mode.taskAbortedStatus()
	lu.mu.Lock()
	victims := map[*scsi.Task]uint64{}
	var told []*scsi.Nexus
	for _, t := range lu.tasks.match(f) {
		d := scsi.AbortedSilently
		if t.Nexus != by && tas {
			d = scsi.AbortedWithStatus
		}
		if t.Abort(d) && t.Nexus != by && !tas {
			told = append(told, t.Nexus)
		}
		victims[t] = 0
	}
	lu.left.Broadcast()
	lu.mu.Unlock()
	for _, n := range told {
		lu.Attention(scsi.CommandsClearedByAnother, func(o *scsi.Nexus) bool { return o == n })
	}
	return lu.awaitGone(ctx, victims)
}

// awaitGone waits until none of the tasks is in the set any more. A Task that was
// recycled and came back is a new one that is not aborted.
func (lu *LogicalUnit) awaitGone(ctx context.Context, victims map[*scsi.Task]uint64) scsi.ManagementResponse {
	stop := context.AfterFunc(ctx, func() {
		lu.mu.Lock()
		lu.left.Broadcast()
		lu.mu.Unlock()
	})
	defer stop()
	lu.mu.Lock()
	defer lu.mu.Unlock()
	remaining := func(t *scsi.Task) bool {
		_, victim := victims[t]
		return victim && t.Aborted()
	}
	for len(victims) > 0 && len(lu.tasks.match(remaining)) > 0 {
		if ctx.Err() != nil {
			return scsi.FunctionRejected
		}
		lu.left.Wait()
	}
	return scsi.FunctionComplete
}

// reset is LOGICAL UNIT RESET (SAM-5 6.3.3): tasks end, SPC-2 reservations and
// changed mode pages go, persistent reservations stay, and every nexus hears of it.
func (lu *LogicalUnit) reset(ctx context.Context, by *scsi.Nexus) scsi.ManagementResponse {
	r := lu.abort(ctx, by, func(*scsi.Task) bool { return true })
	lu.mu.Lock()
	lu.reservations.spc2 = nil
	lu.refreshGuard()
	lu.mu.Unlock()
	lu.mode.reset()
	lu.Attention(scsi.BusDeviceResetOccurred, nil)
	return r
}
