package fault

import (
	"time"

	"vvsim/fault/network"
	"vvsim/fault/schedule"
	"vvsim/scsi/iscsi/line"
)

// Phase is where a rule is in its life.
type Phase = schedule.Phase

const (
	Waiting = schedule.Waiting
	Active  = schedule.Active
	Resting = schedule.Resting
	Over    = schedule.Over
)

// Clock is the time that rules go by, their delays and rates too.
type Clock = line.Clock

// UseClock has all rules go by c. It is called before any event comes.
func (i *Injector) UseClock(c Clock) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.clock = c
	for _, e := range i.entries {
		e.goBy(c)
		if !e.start.IsZero() {
			i.turn(e)
		}
	}
	i.publish()
}

// goBy has a rule that breaks nothing yet go by c.
func (e *entry) goBy(c Clock) {
	e.clock = c
	if e.action.kind == rate {
		e.lanes = [2]*network.Lane{network.NewLane(e.action.rate, c), network.NewLane(e.action.rate, c)}
	}
}

// begin starts the time of a rule that started at a time. Called with mu held.
func (i *Injector) begin(e *entry, start time.Time) {
	e.start = start
	i.turn(e)
}

// turn brings a rule that has started into the phase of its time, and has itself called
// when that changes. Called with mu held; publish has to follow.
func (i *Injector) turn(e *entry) {
	if e.stopTimer != nil {
		e.stopTimer()
		e.stopTimer = nil
	}
	p, next := e.At(i.clock.Now().Sub(e.start))
	if next > 0 {
		e.stopTimer = i.clock.After(next, func() { i.timeUp(e) })
	}
	i.enter(e, p)
}

// timeUp is called by the clock.
func (i *Injector) timeUp(e *entry) {
	i.mu.Lock()
	defer i.unlock()
	if e.removed {
		return
	}
	i.turn(e)
	i.publish()
}

// enter puts a rule into a phase. What it holds goes on when it leaves Active. Called with
// Injector.mu held.
func (i *Injector) enter(e *entry, p Phase) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case p == e.phase:
		return
	case p == Active:
		e.gone = make(chan struct{})
	case e.phase == Active:
		close(e.gone)
	}
	if (e.tells() || e.ofConnections()) && (p == Active || e.phase == Active) {
		i.changed = append(i.changed, e)
	}
	e.phase = p
}

// unlock is mu.Unlock, and then has connections judged anew and hosts told of the rules that
// have come into force or gone.
func (i *Injector) unlock() {
	changed, t, p, reconnect := i.changed, i.target, i.connections, i.reconnect
	i.changed = nil
	i.telling.Begin()
	defer i.telling.End()
	i.mu.Unlock()
	p.refresh()
	for _, e := range changed {
		switch {
		case e.layer == providerLayer && reconnect != nil:
			reconnect()
		case e.layer == unitLayer && t != nil:
			i.announce(e, t)
		}
	}
}

// unlockQuietly is unlock, and returns when nobody is telling hosts of rules any more: of one
// that was removed they hear nothing later.
func (i *Injector) unlockQuietly() {
	i.unlock()
	i.telling.Await()
}

// window is closed when the rule is not in force any more.
func (e *entry) window() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.gone
}

// phaseNow is where the rule is in its life, but for its count.
func (e *entry) phaseNow() Phase {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.phase
}

// inForce tells whether events have to look at the rule.
func (e *entry) inForce() bool { return e.phaseNow() == Active && !e.happens() }
