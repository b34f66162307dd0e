package fault

import (
	"vvsim/fault/grammar"
	"vvsim/scsi"
	"vvsim/vvol"
)

// Attend tells nexuses of what has happened to logical units.
type Attend interface {
	// Attention queues a unit attention at each logical unit for the nexuses that to
	// picks by what they address: a volume or none, a protocol endpoint or none, as
	// Locate tells it. It tells how many were picked.
	Attention(code scsi.ASC, to func(n *scsi.Nexus, volume vvol.ID, endpoint string) bool) int

	// LoseReservations takes the reservations of each logical unit to which to picks a way:
	// with their registrations, or released alone, so that registered nexuses hear of it.
	LoseReservations(released bool, to func(n *scsi.Nexus, volume vvol.ID, endpoint string) bool) int

	// TakeAttention removes and returns the unit attention that the logical unit of a task
	// would deliver now.
	TakeAttention(t *scsi.Task) (code scsi.ASC, ok bool)
}

// parseAttention takes ASC/ASCQ.
func (a *action) parseAttention(args []string) error {
	text, err := a.single(args)
	if err != nil {
		return err
	}
	asc, ascq, err := grammar.Attention(text)
	a.sense = scsi.Attention(scsi.ASC(asc)<<8 | scsi.ASC(ascq))
	return err
}

// happens tells whether the rule does something when it comes into force, and nothing to
// commands.
func (r *Rule) happens() bool {
	return r.action.kind == attention || r.action.kind == reservationLost
}

// tells tells whether hosts hear of it when the rule comes into force, or goes.
func (r *Rule) tells() bool {
	return r.happens() || r.statesPorts()
}

// announce raises the unit attentions of a rule whose phase has changed. Called without
// locks.
func (i *Injector) announce(e *entry, t *Target) {
	switch {
	case !e.happens():
		t.attend(e.Rule, scsi.AccessStateChanged)
		return
	case e.phaseNow() != Active || !e.fires():
		return
	case e.action.kind == reservationLost:
		t.locate.LoseReservations(e.action.released, t.meant(e.Rule))
	default:
		t.attend(e.Rule, e.action.sense.Code)
	}
	i.fired(e)
}

// attend raises a unit attention where a rule means it. Every path hears of the state of
// ports, whichever portal the rule names (SPC-4 5.15.2.5).
func (t *Target) attend(r *Rule, code scsi.ASC) {
	t.locate.Attention(code, t.meant(r))
}

// meant picks the ways to logical units that a rule means.
func (t *Target) meant(r *Rule) func(n *scsi.Nexus, volume vvol.ID, endpoint string) bool {
	return func(n *scsi.Nexus, volume vvol.ID, endpoint string) bool {
		port := n.TargetPort
		if r.statesPorts() {
			port = r.portal
		}
		return t.matches(r, &place{nexus: n, known: true, volume: volume, endpoint: endpoint}, port)
	}
}
