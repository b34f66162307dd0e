package fault

import (
	"fmt"
	"time"
)

// schedule is when a rule is in force, counted from its start: when it was added, or when
// the rule that it is chained to fired.
type schedule struct {
	from  time.Duration // from=: passes before it is in force
	lasts time.Duration // for=: 0 for ever
	each  time.Duration // each=: again each; 0 once
}

// at tells the phase of a rule that started since ago, and after which time that changes:
// 0 for never.
func (s *schedule) at(since time.Duration) (p Phase, next time.Duration) {
	since -= s.from
	switch {
	case since < 0:
		return Waiting, -since
	case s.lasts == 0:
		return Active, 0
	case s.each > 0:
		if since %= s.each; since >= s.lasts {
			return Resting, s.each - since
		}
	case since >= s.lasts:
		return Over, 0
	}
	return Active, s.lasts - since
}

// Shortest times of rules that come and go by themselves: each turn looks at all rules, and
// those that hosts hear of at all sessions too.
const (
	minTurn = 10 * time.Millisecond  // in force, and not
	minTell = 100 * time.Millisecond // of each= where hosts are told
)

// check refuses times that contradict each other, or are too short.
func (s *schedule) check() error {
	switch {
	case s.each > 0 && s.lasts == 0:
		return fmt.Errorf("each= needs for=, the time in force")
	case s.each > 0 && s.lasts >= s.each:
		return fmt.Errorf("for=%v is no part of each=%v", s.lasts, s.each)
	case s.each > 0 && (s.lasts < minTurn || s.each-s.lasts < minTurn):
		return fmt.Errorf("for=%v each=%v: in force and not take at least %v each", s.lasts, s.each, minTurn)
	}
	return nil
}

// Phase is where a rule is in its life.
type Phase string

const (
	Waiting Phase = "waiting" // for its time, or for the rule that it is chained to
	Active  Phase = "active"
	Resting Phase = "resting" // between two times in force
	Over    Phase = "over"    // its time or its count
)

// Clock is the time that rules go by. Safe for concurrent use.
type Clock interface {
	Now() time.Time
	// After calls f once, when d has passed; f does not wait for other timers. stop keeps
	// it from being called, and tells whether that was in time.
	After(d time.Duration, f func()) (stop func() bool)
}

// wall is the clock of the machine.
type wall struct{}

func (wall) Now() time.Time { return time.Now() }

func (wall) After(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }

// UseClock has all rules go by c. It is called before any event comes.
func (i *Injector) UseClock(c Clock) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.clock = c
	for _, e := range i.entries {
		e.clock = c
		if !e.start.IsZero() {
			i.turn(e)
		}
	}
	i.publish()
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
	p, next := e.schedule.at(i.clock.Now().Sub(e.start))
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
