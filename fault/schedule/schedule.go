package schedule

import (
	"fmt"
	"time"
)

// Times are when a rule is in force, counted from its start: when it was added, or when
// the rule that it is chained to fired.
type Times struct {
	From time.Duration // from=: passes before it is in force
	For  time.Duration // for=: 0 for ever
	Each time.Duration // each=: again each; 0 once
}

// At tells the phase of a rule that started since ago, and after which time that changes:
// 0 for never.
func (s *Times) At(since time.Duration) (p Phase, next time.Duration) {
	since -= s.From
	switch {
	case since < 0:
		return Waiting, -since
	case s.For == 0:
		return Active, 0
	case s.Each > 0:
		if since %= s.Each; since >= s.For {
			return Resting, s.Each - since
		}
	case since >= s.For:
		return Over, 0
	}
	return Active, s.For - since
}

// Shortest times of rules that come and go by themselves: each turn looks at all rules, and
// those that hosts hear of at all sessions too.
const (
	MinTurn = 10 * time.Millisecond  // in force, and not
	MinTell = 100 * time.Millisecond // of each= where hosts are told
)

// Check refuses times that contradict each other, or are too short.
func (s *Times) Check() error {
	switch {
	case s.Each > 0 && s.For == 0:
		return fmt.Errorf("each= needs for=, the time in force")
	case s.Each > 0 && s.For >= s.Each:
		return fmt.Errorf("for=%v is no part of each=%v", s.For, s.Each)
	case s.Each > 0 && (s.For < MinTurn || s.Each-s.For < MinTurn):
		return fmt.Errorf("for=%v each=%v: in force and not take at least %v each", s.For, s.Each, MinTurn)
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
