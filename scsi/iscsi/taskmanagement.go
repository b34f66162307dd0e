package iscsi

import (
	"context"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/pdu"
)

// taskManagementRequest performs a task management function beside the reader:
// it waits for the tasks it aborts (RFC 7143 11.5, 11.6).
func (c *connection) taskManagementRequest(h pdu.Header) error {
	var p pdu.TaskManagement
	p.Parse(h)
	if p.Immediate && c.immediate.Add(1) > maxImmediate {
		c.immediate.Add(-1)
		c.reject(h, pdu.RejectImmediate)
		return nil
	}
	if p.Function == scsi.AbortTask {
		if err := c.abortEarly(&p); err != nil {
			return err
		}
	}
	affected := c.affected(&p)
	c.queue.Push(job{call: func() {
		r := &pdu.TaskManagementResponse{Response: c.manage(&p, affected), TaskTag: p.TaskTag}
		if p.Immediate {
			c.immediate.Add(-1)
		} else {
			c.window.complete()
		}
		c.send(&r.Window, r, nil)
		if p.Function == scsi.TargetColdReset && r.Response == scsi.FunctionComplete {
			c.out.drain()
			c.server.dropAll()
		}
	}})
	c.pushed = true
	return nil
}

// manage performs the function and waits until the connection has sent, or
// suppressed, the answers of the tasks that it affected: none may follow the
// answer of the function (RFC 7143 11.5.1).
func (c *connection) manage(p *pdu.TaskManagement, affected map[uint32]uint64) (answer scsi.ManagementResponse) {
	switch p.Function {
	case scsi.TaskReassign:
		return scsi.ReassignNotSupported // ErrorRecoveryLevel 2 only
	case scsi.AbortTask, scsi.AbortTaskSet, scsi.ClearTaskSet, scsi.LogicalUnitReset, scsi.TargetWarmReset, scsi.TargetColdReset,
		scsi.QueryTask, scsi.QueryTaskSet, scsi.ITNexusReset, scsi.QueryAsyncEvent:
	default:
		return scsi.FunctionNotSupported
	}
	defer func() {
		if v := recover(); v != nil {
			c.panicked(v)
			answer = scsi.FunctionRejected
		}
	}()
	// Nobody waits for the answer of a closed connection; its successor does wait
	// for its end.
	ctx, cancel := context.WithTimeout(c.life, c.server.o.ManagementWait)
	defer cancel()
	answer = c.server.o.Target.Manage(ctx, scsi.TaskManagement{Function: p.Function, Nexus: c.nexus, LUN: p.LUN, Referenced: p.ReferencedTag})
	if answer == scsi.FunctionComplete && !c.settle(ctx, affected) {
		return scsi.FunctionRejected
	}
	return answer
}

// affected lists the tasks of this connection that the function ends, by tag and
// serial. Tasks of other sessions are the target's to wait for.
func (c *connection) affected(p *pdu.TaskManagement) map[uint32]uint64 {
	all := false
	switch p.Function {
	case scsi.AbortTask, scsi.AbortTaskSet, scsi.ClearTaskSet, scsi.LogicalUnitReset:
	case scsi.TargetWarmReset, scsi.TargetColdReset, scsi.ITNexusReset:
		all = true
	default:
		return nil
	}
	tasks := map[uint32]uint64{}
	c.mu.Lock()
	defer c.mu.Unlock()
	for tag, cmd := range c.tasks {
		if all || cmd.LUN == p.LUN && (p.Function != scsi.AbortTask || tag == p.ReferencedTag) {
			tasks[tag] = cmd.serial
		}
	}
	return tasks
}

// settle waits until none of these tasks is left; false when ctx ends first.
func (c *connection) settle(ctx context.Context, tasks map[uint32]uint64) bool {
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		c.ended.Broadcast()
		c.mu.Unlock()
	})
	defer stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tmf++
	defer func() { c.tmf-- }()
	for {
		for tag, serial := range tasks {
			if cmd := c.tasks[tag]; cmd == nil || cmd.serial != serial {
				delete(tasks, tag)
			}
		}
		if len(tasks) == 0 || ctx.Err() != nil {
			return len(tasks) == 0
		}
		c.ended.Wait()
	}
}

// dropAll ends every session, as TARGET COLD RESET asks (RFC 7143 11.5.1).
func (s *Server) dropAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.byTSIH {
		c.close(errDropped)
	}
}
