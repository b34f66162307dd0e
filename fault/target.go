package fault

import (
	"context"
	"sync"
	"sync/atomic"

	"vvsim/fault/command"
	"vvsim/fault/loss"
	"vvsim/scsi"
	"vvsim/vvol"
)

// Locator knows what is at a LUN.
type Locator interface {
	// Locate tells which volume and which protocol endpoint a nexus addresses by a LUN:
	// no volume for an endpoint itself, no endpoint for an ordinary LUN, neither where
	// nothing is. Safe for concurrent use.
	Locate(n *scsi.Nexus, l scsi.LUN) (volume vvol.ID, endpoint string)
	Attend
}

// Target is a scsi.Target whose commands rules of layer lu break. Safe for concurrent use.
type Target struct {
	scsi.Target
	i      *Injector
	locate Locator
	broken atomic.Int64 // tasks in tasks

	mu    sync.Mutex
	tasks map[*scsi.Task]*broken // from Prepare to the end of Execute
}

// broken is a command that a rule has taken.
type broken struct {
	rule *entry
	sent bool   // the unit behind has it prepared
	lba  uint64 // of medium-error
}

// NewTarget decorates t. locate is what t knows of LUNs. There is one for an Injector.
func (i *Injector) NewTarget(t scsi.Target, locate Locator) *Target {
	d := &Target{Target: t, i: i, locate: locate, tasks: map[*scsi.Task]*broken{}}
	i.mu.Lock()
	i.target = d
	i.mu.Unlock()
	return d
}

// Prepare implements scsi.LogicalUnit. What a rule takes runs by itself on a worker: it
// may wait.
func (t *Target) Prepare(task *scsi.Task) int {
	rules := t.i.units.Load()
	if rules == nil {
		return t.Target.Prepare(task)
	}
	b := t.judge(*rules, task)
	if b == nil {
		return t.Target.Prepare(task)
	}
	t.mu.Lock()
	t.tasks[task] = b
	t.mu.Unlock()
	t.broken.Add(1)
	n := 0
	if b.sent = b.rule.action.executes(task.CDB); b.sent {
		n = t.Target.Prepare(task)
	}
	task.Prompt, task.Joins = false, false
	return n
}

// judge finds the first rule that fires.
func (t *Target) judge(rules []*entry, task *scsi.Task) *broken {
	p := placeOf(task)
	for _, e := range rules {
		if !e.covers(task.CDB) || !e.action.meets(task) || !t.matches(e.Rule, &p, task.Nexus.TargetPort) {
			continue
		}
		if e.bad != nil {
			if b, ok := t.meetsBad(e, task.CDB); ok {
				return b
			}
		} else if t.i.strike(e) {
			return &broken{rule: e}
		}
	}
	return nil
}

// place is where a command goes, looked up when the first rule asks.
type place struct {
	nexus    *scsi.Nexus
	lun      scsi.LUN
	known    bool
	volume   vvol.ID
	endpoint string
}

func placeOf(task *scsi.Task) place { return place{nexus: task.Nexus, lun: task.LUN} }

// matches tells whether a rule means this volume, endpoint, host and path.
func (t *Target) matches(r *Rule, p *place, port uint16) bool {
	switch {
	case r.host != "" && r.host != p.nexus.Initiator, r.portal != 0 && r.portal != port, r.session != 0 && r.session != p.nexus.Session:
		return false
	case r.vvol == "" && r.container == "" && r.endpoint == "":
		return true
	}
	if !p.known {
		p.known = true
		p.volume, p.endpoint = t.locate.Locate(p.nexus, p.lun)
	}
	return t.i.reachedBy(r, p.endpoint) && t.i.concerns(r, p.volume)
}

// covers tells whether a rule means a CDB, and its action can happen to it.
func (r *Rule) covers(b []byte) bool {
	op := scsi.OpCode(b[0])
	if !r.op.Covers(op) || !r.action.applies(b) {
		return false
	}
	if r.blocks == nil {
		return true
	}
	if !command.NamesBlocks(op) {
		return false
	}
	c := command.Blocks(b)
	return r.blocks.Overlaps(&c)
}

// Execute implements scsi.LogicalUnit.
func (t *Target) Execute(task *scsi.Task) scsi.Response {
	if t.broken.Load() == 0 && t.i.units.Load() == nil {
		return t.Target.Execute(task)
	}
	return t.executeAmongRules(task)
}

func (t *Target) executeAmongRules(task *scsi.Task) scsi.Response {
	b := t.take(task)
	if b == nil {
		r := t.Target.Execute(task)
		if rules := t.i.units.Load(); rules != nil && scsi.OpCode(task.CDB[0]) == scsi.OpMaintenanceIn {
			t.showStates(*rules, task, &r)
		}
		return r
	}
	defer t.done(task)
	return t.execute(b, task)
}

// take is what a rule has decided for a task, nil for nothing.
func (t *Target) take(task *scsi.Task) *broken {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tasks[task]
}

func (t *Target) done(task *scsi.Task) {
	t.mu.Lock()
	delete(t.tasks, task)
	t.mu.Unlock()
	t.broken.Add(-1)
}

// ExecuteAll implements scsi.Target.
func (t *Target) ExecuteAll(tasks []*scsi.Task, answers []scsi.Response) {
	if t.broken.Load() == 0 {
		t.Target.ExecuteAll(tasks, answers)
		return
	}
	for k, task := range tasks {
		answers[k] = t.Execute(task)
	}
}

// Manage implements scsi.LogicalUnit. Commands that a rule has taken before any unit saw
// them are ended here.
func (t *Target) Manage(ctx context.Context, m scsi.TaskManagement) scsi.ManagementResponse {
	answer := t.Target.Manage(ctx, m)
	if t.broken.Load() == 0 {
		return answer
	}
	own := func(task *scsi.Task) bool { return task.Nexus == m.Nexus && task.LUN == m.LUN }
	ended := 0
	switch m.Function {
	case scsi.AbortTask:
		ended = t.abort(func(task *scsi.Task) bool { return own(task) && task.Tag == m.Referenced })
	case scsi.AbortTaskSet, scsi.ClearTaskSet, scsi.LogicalUnitReset:
		ended = t.abort(own)
	case scsi.TargetWarmReset, scsi.TargetColdReset, scsi.ITNexusReset:
		t.abort(func(task *scsi.Task) bool { return task.Nexus == m.Nexus })
	}
	if answer == scsi.LUNDoesNotExist && ended > 0 {
		return scsi.FunctionComplete
	}
	return answer
}

// abort ends the taken tasks that f picks and tells how many.
func (t *Target) abort(f func(*scsi.Task) bool) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for task := range t.tasks {
		if f(task) && task.Abort(scsi.AbortedSilently) {
			n++
		}
	}
	return n
}

// NexusLost implements scsi.LogicalUnit.
func (t *Target) NexusLost(n *scsi.Nexus) {
	t.abort(func(task *scsi.Task) bool { return task.Nexus == n })
	t.Target.NexusLost(n)
}

// executes tells whether the unit behind executes a command that the action happens to.
func (a *action) executes(b []byte) bool {
	switch a.kind {
	case pdl:
		return loss.Absent(a.sense) && standardInquiry(b) // answered for every LUN, with another first byte
	case senseAnswer, busy, taskSetFull, reservationConflict, alua, noSpace, miscompare:
		return false
	case mediumError:
		return command.Rewrites(scsi.OpCode(b[0]))
	case torn:
		return a.n > 0
	case short:
		return a.n > 0 || command.Reads(scsi.OpCode(b[0]))
	}
	return true
}

func standardInquiry(b []byte) bool { return scsi.OpCode(b[0]) == scsi.OpInquiry && b[1]&1 == 0 }

// execute does what the rule says, and what the unit behind does of it.
func (t *Target) execute(b *broken, task *scsi.Task) scsi.Response {
	e := b.rule
	switch e.action.kind {
	case hang, apd, delay:
		e.wait(task.Context().Done())
		// What was held when the array stops, or is forgotten, ends as if it had never come.
		if e.action.forget || e.action.kind != delay && t.i.stopping() {
			task.Abort(scsi.AbortedSilently)
		}
		return t.Target.Execute(task)
	case dropResponse:
		r := t.Target.Execute(task)
		task.Abort(scsi.AbortedSilently) // the transport sends no answer
		return r
	case lateAnswer:
		r := t.Target.Execute(task)
		e.wait(task.Context().Done())
		return r
	case duplicate, digest:
		return t.distort(e, task)
	case short, residual:
		return t.count(e, task)
	case corrupt:
		return t.corrupt(e, task)
	case torn:
		return t.tear(e, task)
	case alua:
		return t.barred(e, task)
	case mediumError:
		if b.sent {
			return t.rewrite(e, task)
		}
		return scsi.CheckCondition(scsi.ReadError(b.lba))
	}
	if b.sent {
		return loss.Inquiry(t.Target.Execute(task))
	}
	return e.action.answer(task)
}

// answer is the response of an action that executes nothing.
func (a *action) answer(task *scsi.Task) scsi.Response {
	switch a.kind {
	case pdl:
		return loss.Answer(a.sense, task)
	case senseAnswer:
		return scsi.CheckCondition(a.sense)
	case busy:
		return scsi.Response{Status: scsi.StatusBusy}
	case taskSetFull:
		return scsi.Response{Status: scsi.StatusTaskSetFull}
	case reservationConflict:
		return scsi.Response{Status: scsi.StatusReservationConflict}
	case miscompare:
		return scsi.CheckCondition(scsi.MiscompareAt(0))
	case noSpace:
		return scsi.CheckCondition(scsi.SpaceAllocationFailed())
	}
	return scsi.CheckCondition(scsi.InternalTargetFailure()) // no other action comes here
}

// corrupt changes what a command reads, or what it writes.
func (t *Target) corrupt(e *entry, task *scsi.Task) scsi.Response {
	c := command.Blocks(task.CDB)
	if command.Reads(c.Op) {
		r := t.Target.Execute(task)
		e.spoil(r.DataIn.Bytes(), c.LBA)
		return r
	}
	data := task.DataOut
	spoilt := append([]byte(nil), data...)
	e.spoil(command.Stored(&c, spoilt), c.LBA)
	task.DataOut = spoilt
	r := t.Target.Execute(task)
	task.DataOut = data
	return r
}

var _ scsi.Target = (*Target)(nil)
