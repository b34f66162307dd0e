package fault

import (
	"fmt"

	"vvsim/fault/command"
	"vvsim/fault/grammar"
	"vvsim/scsi"
)

// accessStates are the asymmetric access states by name (SPC-4 table 29), with the sense
// data of commands that they don't let pass.
var accessStates = []struct {
	name  string
	state byte
	sense scsi.ASC
}{
	{"active-nonoptimized", 0x1, scsi.NoAdditionalSense},
	{"standby", 0x2, scsi.TargetPortStandby},
	{"unavailable", 0x3, scsi.TargetPortUnavailable},
	{"transitioning", 0xf, scsi.AccessStateTransition},
}

func (a *action) parseALUA(args []string) error {
	text, err := a.single(args)
	if err != nil {
		return err
	}
	var names []string
	for _, s := range accessStates {
		if s.name == text {
			a.state, a.sense = s.state, scsi.Sense(scsi.NotReady, s.sense)
			return nil
		}
		names = append(names, s.name)
	}
	return fmt.Errorf("%q is none of %s", text, grammar.OneOf(names))
}

// parseUnavailable is alua unavailable under its own name.
func (a *action) parseUnavailable(args []string) error {
	if err := plain(a, args); err != nil {
		return err
	}
	return a.parseALUA([]string{"unavailable"})
}

// statesPorts tells whether a rule is about target port groups as a whole, and not about
// some commands alone.
func (r *Rule) statesPorts() bool {
	return r.action.kind == alua && r.op.Class == command.Any && r.blocks == nil
}

// bars tells whether the state does not let a command pass (SPC-4 5.15.2.4).
func (a *action) bars(b []byte) bool {
	const standby = 0x2
	return a.sense.Code != scsi.NoAdditionalSense && !command.AnsweredAlways(b) && (a.state != standby || !command.AnsweredInStandby(b))
}

// barred answers a command that the state of its port does not let pass: first the unit
// attention that is pending, as that comes before all other sense data (SAM-5 5.14).
func (t *Target) barred(e *entry, task *scsi.Task) scsi.Response {
	if code, ok := t.locate.TakeAttention(task); ok {
		return scsi.CheckCondition(scsi.Attention(code))
	}
	return scsi.CheckCondition(e.action.sense)
}

// showStates gives the target port groups that rules put into another state that state in
// the answer to REPORT TARGET PORT GROUPS (SPC-4 6.36), on every path.
func (t *Target) showStates(rules []*entry, task *scsi.Task, r *scsi.Response) {
	const implicit = 2
	if task.CDB[1]&0x1f != scsi.SAReportTargetPortGroups || r.Status != scsi.StatusGood {
		return
	}
	data := r.DataIn.Bytes()
	at := 4
	if task.CDB[1]>>5 == 1 { // extended header
		at = 8
	}
	for place := placeOf(task); at+8 <= len(data); at += 8 + 4*int(data[at+7]) {
		group := uint16(data[at+2])<<8 | uint16(data[at+3])
		for _, e := range rules {
			if e.statesPorts() && e.active() && t.matches(e.Rule, &place, group) {
				data[at], data[at+5] = data[at]&0xf0|e.action.state, implicit
				break
			}
		}
	}
}

func (e *entry) active() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.spent()
}
