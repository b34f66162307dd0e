package pe

import (
	"context"
	"sync"
	"sync/atomic"

	"vvsim/scsi"
)

// route is one way to a logical unit: a binding, a flat alias or a protocol
// endpoint. It counts the commands on their way through it, so that withdrawing
// it can wait for them without looking at other routes of the same unit.
type route struct {
	unit *unit
	lu   scsi.LogicalUnit // unit.lu, or what wraps it

	state atomic.Int64 // commands in flight; routeClosed is added on close
	idle  chan struct{}
	once  sync.Once
}

// routeClosed is far above any number of commands in flight.
const routeClosed = 1 << 40

func newRoute(u *unit, lu scsi.LogicalUnit) *route {
	return &route{unit: u, lu: lu, idle: make(chan struct{})}
}

// enter counts a command in; false once the route is closed.
func (r *route) enter() bool {
	if r.state.Add(1) >= routeClosed {
		r.leave()
		return false
	}
	return true
}

func (r *route) leave() {
	if r.state.Add(-1) == routeClosed {
		r.once.Do(func() { close(r.idle) })
	}
}

// close refuses further commands. Idempotent.
func (r *route) close() {
	for {
		s := r.state.Load()
		if s >= routeClosed {
			return
		}
		if r.state.CompareAndSwap(s, s+routeClosed) {
			if s == 0 {
				r.once.Do(func() { close(r.idle) })
			}
			return
		}
	}
}

// carries tells whether a task came through this route.
func (r *route) carries(t *scsi.Task) bool { return t.Unit == scsi.LogicalUnit(r) }

// wait returns when the last command has left a closed route.
func (r *route) wait(ctx context.Context) error {
	select {
	case <-r.idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Prepare implements scsi.LogicalUnit for a task that entered.
func (r *route) Prepare(t *scsi.Task) int { return r.lu.Prepare(t) }

// Execute runs the task and counts it out.
func (r *route) Execute(t *scsi.Task) scsi.Response {
	defer r.leave()
	if r.unit == nil {
		return r.lu.Execute(t)
	}
	return r.unit.stats.get().measure(t, r.lu)
}

// executeAll runs tasks of a volume together and counts them out.
func (r *route) executeAll(tasks []*scsi.Task, answers []scsi.Response) {
	defer func() {
		for range tasks {
			r.leave()
		}
	}()
	r.unit.stats.get().measureAll(tasks, answers, r.unit.front)
}

// Manage implements scsi.LogicalUnit.
func (r *route) Manage(ctx context.Context, m scsi.TaskManagement) scsi.ManagementResponse {
	return r.lu.Manage(ctx, m)
}

// NexusLost implements scsi.LogicalUnit.
func (r *route) NexusLost(n *scsi.Nexus) { r.lu.NexusLost(n) }
