package iscsi

import (
	"vvsim/scsi"
	"vvsim/scsi/latency"
)

// group are writes of one connection that go to the target together. Pooled by the server.
type group struct {
	commands []*command
	tasks    []*scsi.Task
	answers  []scsi.Response
}

func (s *Server) newGroup() *group {
	if g, ok := s.groups.Get().(*group); ok {
		return g
	}
	return new(group)
}

func (s *Server) recycle(g *group) {
	clear(g.commands)
	clear(g.tasks)
	clear(g.answers)
	g.commands, g.tasks, g.answers = g.commands[:0], g.tasks[:0], g.answers[:0]
	s.groups.Put(g)
}

const (
	// maxGroup is how many commands go together; more are for a worker meanwhile.
	maxGroup = 64
	// maxJoining is up to how many bytes a write is small enough to go with others: large
	// ones are worth a worker each, beside the reader that takes the data of the next.
	maxJoining = 16 << 10
)

// joins tells whether the command goes with others.
func (cmd *command) joins() bool {
	return cmd.Joins && cmd.write && cmd.failure == nil && cmd.transfer.want <= maxJoining
}

// join keeps a command until the reader has seen all that came with it. A write that is
// to be on stable storage keeps no other waiting.
func (c *connection) join(cmd *command) {
	p := &c.plain
	if !cmd.Prompt {
		p = &c.stable
	}
	if *p == nil {
		*p = c.server.newGroup()
	}
	g := *p
	g.commands = append(g.commands, cmd)
	if len(g.commands) >= maxGroup {
		c.giveAway(p)
	}
}

// giveAway leaves a group to a worker.
func (c *connection) giveAway(p **group) {
	if *p != nil {
		c.queue.Push(job{group: *p})
		c.pushed = true
		*p = nil
	}
}

// runGroups has what was kept executed: by the reader itself where that is prompt, else by
// workers.
func (c *connection) runGroups() error {
	c.giveAway(&c.stable)
	if c.ran.Sub(c.in.Arrived) >= promptTime {
		c.giveAway(&c.plain)
	}
	c.kick()
	g := c.plain
	if g == nil {
		return nil
	}
	c.plain = nil // the successor of a reader that takes too long has its own
	var ended latency.Instant
	err := c.hold(func() { ended = c.executeAll(g) })
	if err == nil {
		c.ran = ended
	}
	return err
}

// executeAll runs the commands of a group and puts their answers into the outbox.
func (c *connection) executeAll(g *group) (ended latency.Instant) {
	for _, cmd := range g.commands {
		c.handOver(cmd)
		g.tasks = append(g.tasks, &cmd.Task)
		g.answers = append(g.answers, scsi.Response{})
	}
	if !c.callAll(g) {
		for i := range g.answers {
			g.answers[i] = scsi.CheckCondition(scsi.InternalTargetFailure())
		}
	}
	for i, cmd := range g.commands {
		ended = c.conclude(cmd, g.answers[i], false)
	}
	c.server.recycle(g)
	return ended
}

// callAll runs the device servers; false after a panic in them.
func (c *connection) callAll(g *group) (ok bool) {
	defer func() {
		if v := recover(); v != nil {
			c.panicked(v)
		}
	}()
	c.server.o.Target.ExecuteAll(g.tasks, g.answers)
	return true
}
