package device

import (
	"slices"
	"sync/atomic"

	"vvsim/scsi"
)

// nexusState is what a logical unit remembers of one nexus.
type nexusState struct {
	pending    atomic.Bool // attentions is not empty
	attentions []scsi.ASC  // in order of delivery; guarded by LogicalUnit.mu
	copies     copyHistory // guarded by LogicalUnit.mu
}

// nexusOf is nexus for a task in Execute. An aborted task leaves nothing behind:
// its nexus may have been lost and forgotten meanwhile, which happens under mu.
func (lu *LogicalUnit) nexusOf(t *scsi.Task) *nexusState {
	return lu.stateOf(t.Nexus, func() bool { return !t.Aborted() })
}

// nexus returns the state of n. A nexus that is new to the logical unit starts
// with POWER ON, RESET, OR BUS DEVICE RESET OCCURRED (SAM-5 5.14.1).
func (lu *LogicalUnit) nexus(n *scsi.Nexus) *nexusState {
	return lu.stateOf(n, func() bool { return true })
}

// stateOf returns the state of n, and keeps a new one if keep, called with mu
// held, says so.
func (lu *LogicalUnit) stateOf(n *scsi.Nexus, keep func() bool) *nexusState {
	if s := (*lu.nexuses.Load())[n]; s != nil {
		return s
	}
	lu.mu.Lock()
	defer lu.mu.Unlock()
	old := *lu.nexuses.Load()
	if s := old[n]; s != nil {
		return s
	}
	s := &nexusState{attentions: []scsi.ASC{scsi.PowerOnResetOrBusDeviceReset}}
	s.pending.Store(true)
	if len(old) >= maxNexuses || !keep() {
		return s // remembered for this command only
	}
	m := make(map[*scsi.Nexus]*nexusState, len(old)+1)
	for k, v := range old {
		m[k] = v
	}
	m[n] = s
	lu.nexuses.Store(&m)
	return s
}

// isReset tells whether a code is one of the 29h family, which makes every other
// attention moot (SAM-5 5.14.2).
func isReset(code scsi.ASC) bool { return code>>8 == 0x29 }

// Attention queues a unit attention for the nexuses that to picks, all when nil.
// A nexus that has sent no command yet has POWER ON pending, which covers it.
func (lu *LogicalUnit) Attention(code scsi.ASC, to func(*scsi.Nexus) bool) {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	for n, s := range *lu.nexuses.Load() {
		if to == nil || to(n) {
			s.add(code)
		}
	}
}

// TakeAttention removes and returns the unit attention that a task's nexus would be told
// next, for who answers the task in the logical unit's place.
func (lu *LogicalUnit) TakeAttention(t *scsi.Task) (code scsi.ASC, ok bool) {
	return lu.takeAttention(lu.nexusOf(t))
}

// add queues a code once. A reset code drops the others, unless one that tells of
// more is pending: the lower qualifier has precedence (SAM-5 5.14.2). A nexus that
// has POWER ON pending knows nothing yet that could have changed, and a full queue
// keeps its oldest.
func (s *nexusState) add(code scsi.ASC) {
	first := scsi.NoAdditionalSense
	if len(s.attentions) > 0 {
		first = s.attentions[0]
	}
	switch {
	case first == scsi.PowerOnResetOrBusDeviceReset, slices.Contains(s.attentions, code):
	case isReset(code) && isReset(first) && first < code:
	case isReset(code):
		s.attentions = append(s.attentions[:0], code)
	case len(s.attentions) < maxAttentions:
		s.attentions = append(s.attentions, code)
	}
	s.pending.Store(true)
}

// takeAttention removes and returns the attention to deliver now.
func (lu *LogicalUnit) takeAttention(s *nexusState) (code scsi.ASC, ok bool) {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	if len(s.attentions) == 0 {
		s.pending.Store(false)
		return 0, false
	}
	code = s.attentions[0]
	s.attentions = slices.Delete(s.attentions, 0, 1)
	s.pending.Store(len(s.attentions) > 0)
	return code, true
}

// dropAttention removes a code that a command has made moot.
func (lu *LogicalUnit) dropAttention(s *nexusState, code scsi.ASC) {
	lu.mu.Lock()
	defer lu.mu.Unlock()
	s.attentions = slices.DeleteFunc(s.attentions, func(c scsi.ASC) bool { return c == code })
	s.pending.Store(len(s.attentions) > 0)
}
