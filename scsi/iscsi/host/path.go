package host

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"vvsim/scsi"
	"vvsim/scsi/cdb"
	"vvsim/scsi/iscsi/initiator"
)

// PathState is the state of one path.
type PathState string

// Path states.
const (
	Unknown     PathState = "unknown"     // its session was never up; it does not count
	Active      PathState = "active"      // carries I/O
	Standby     PathState = "standby"     // by ALUA: 02/04/0B, or the state of its group [T10]
	Unavailable PathState = "unavailable" // by ALUA: 02/04/0C, 02/04/0A, or the state of its group [T10]
	Dead        PathState = "dead"        // TEST UNIT READY fails [vmware-doc, KB 2062592]
	Lost        PathState = "lost"        // the answer was a permanent loss, on this path [vmware-doc]
)

// path is one way to a device. Guarded by Host.mu.
type path struct {
	d        *Device
	l        *link
	turn     turn // of its probes
	state    PathState
	reason   string
	group    uint16             // target port group
	verified *initiator.Session // that has shown whose path it is
	suspect  bool               // the unit itself, here or on another path, said what its endpoint may not know
	probing  chan struct{}      // closed when the probe that runs has ended; nil when none does
	next     chan struct{}      // of the one that follows it, as something has changed since it began
}

// name is the host's, with the portal as channel [vmware-doc].
func (p *path) name() string {
	return fmt.Sprintf("vmhba64:C%d:T0:L%d", p.l.channel, binary.BigEndian.Uint16(p.d.probeLUN[:])&scsi.MaxSimpleLUN)
}

// set changes the state. Called with mu held.
func (p *path) set(s PathState, reason string) {
	if p.state == s || s == Unknown {
		return
	}
	before := p.state
	p.state, p.reason = s, reason
	if before == Unknown && s != Active && s != Standby && s != Unavailable {
		p.state = Unknown // it leads nowhere yet
		return
	}
	e := Event{Kind: PathChanged, Device: p.d.name, Path: p.name(), Portal: p.l.address, Before: string(before), State: string(s), Reason: reason}
	if s == Dead || s == Lost {
		e.ID = p.d.redundancy()
	}
	p.d.h.tell(e)
	p.d.judge(reason)
}

// finding is what a probe has found.
type finding struct {
	state   PathState
	reason  string
	loss    *scsi.SenseData
	session *initiator.Session
	group   uint16
	groups  map[uint16]PathState // of the target port groups, when they were told
}

// probe finds out the state of the path, beside others. The channel is closed when a probe
// that begins now or later has. Called with mu held.
func (p *path) probe() <-chan struct{} {
	switch {
	case p.d.h.closed:
		done := make(chan struct{})
		close(done)
		return done
	case p.probing == nil:
		p.probing = make(chan struct{})
		p.d.h.wait.Go(p.run)
		return p.probing
	case p.next == nil:
		p.next = make(chan struct{})
	}
	return p.next
}

func (p *path) run() {
	h := p.d.h
	for more := true; more; {
		f := p.examine()
		h.mu.Lock()
		p.take(&f)
		close(p.probing)
		p.probing, p.next = p.next, nil
		if h.closed && p.probing != nil {
			close(p.probing)
			p.probing = nil
		}
		more = p.probing != nil
		h.mu.Unlock()
	}
}

// take keeps what a probe has found. Called with mu held.
func (p *path) take(f *finding) {
	if p.d.final() || p.d.h.closed {
		return
	}
	if f.session != nil {
		p.verified, p.group = f.session, f.group
	}
	if f.loss != nil {
		p.d.sense = f.loss
	}
	p.set(f.state, f.reason)
	// What a path tells of other groups is as true as what it tells of its own [kernel-src].
	for _, other := range p.d.paths {
		if s, ok := f.groups[other.group]; ok && other.verified != nil && other.state != Dead && other.state != Lost {
			other.set(s, "target port group")
		}
	}
}

// examine sends TEST UNIT READY to where the path ends, and asks the unit itself who it is
// when that is not known for this session.
func (p *path) examine() (f finding) {
	d, h := p.d, p.d.h
	h.mu.Lock()
	session, verified, group := p.l.session, p.verified, p.group
	own := p.suspect || verified != session || p.state != Active && p.state != Dead
	p.suspect = false
	h.mu.Unlock()
	if err := p.ready(d.probeLUN); err != nil {
		return p.judge(err)
	}
	if own && d.lun != d.probeLUN {
		if err := p.ready(d.lun); err != nil {
			return p.judge(err)
		}
	}
	f = finding{state: Active, reason: "TEST UNIT READY", session: session, group: group}
	if verified != session || own {
		id, err := p.l.identify(h.ctx, d.lun, p.turn)
		switch {
		case err != nil:
			return p.judge(err)
		case id.name != d.name: // which is a loss, too [vmware-doc]
			return finding{state: Lost, reason: "another device, " + id.name}
		}
		f.group = id.group
	}
	groups, err := p.groups()
	if err != nil {
		return p.judge(err)
	}
	if s, ok := groups[f.group]; ok {
		f.state = s
	}
	f.groups = groups
	return f
}

// unit is a LUN over this path alone; its commands have ProbeTimeout.
func (p *path) unit(lun scsi.LUN) *initiator.Unit {
	return initiator.NewUnit(linkPath{p.l, p.turn}, lun)
}

// ready is TEST UNIT READY, again while there are unit attentions.
func (p *path) ready(lun scsi.LUN) error {
	_, err := p.unit(lun).ClearAttentions(p.d.h.ctx)
	return err
}

// judge says what an error of a probe means.
func (p *path) judge(err error) finding {
	var status *initiator.StatusError
	if errors.As(err, &status) { // BUSY, TASK SET FULL, RESERVATION CONFLICT: somebody is there
		return finding{state: Active, reason: status.Status.String()}
	}
	f := finding{state: Dead, reason: reason(err)}
	if s := initiator.SenseOf(err); s != nil {
		f.reason = s.String()
		if p.d.h.s.loss(s) {
			f.state, f.loss = Lost, s
		} else if state, ok := accessState(s); ok {
			f.state = state
		}
	}
	p.d.h.mu.Lock()
	defer p.d.h.mu.Unlock()
	if p.l.lost != nil {
		f.state, f.reason = Lost, p.l.lost.Error()
	}
	return f
}

// reason is the text of an error without the LUN, which the path tells.
func reason(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Error()
	}
	return err.Error()
}

// accessState is the state that a sense tells of a target port (SPC-4 5.15.2).
func accessState(s *scsi.SenseData) (PathState, bool) {
	if s.Key != scsi.NotReady {
		return "", false
	}
	switch s.Code {
	case scsi.TargetPortStandby:
		return Standby, true
	case scsi.TargetPortUnavailable, scsi.AccessStateTransition:
		return Unavailable, true
	}
	return "", false
}

// groups is REPORT TARGET PORT GROUPS (SPC-4 6.36); none where the unit does not know it.
// Without a status the path is not what it seemed.
func (p *path) groups() (map[uint16]PathState, error) {
	const header, descriptor, length = 4, 8, 1024
	b, err := p.unit(p.d.probeLUN).ParameterIn(p.d.h.ctx, cdb.Parameter{Op: scsi.OpMaintenanceIn, Byte1: scsi.SAReportTargetPortGroups, Length: length})
	if err != nil {
		if s := initiator.SenseOf(err); s != nil && !p.d.h.s.loss(s) {
			return nil, nil
		}
		return nil, err
	}
	all := map[uint16]PathState{}
	for at := header; at+descriptor <= len(b); at += descriptor + 4*int(b[at+7]) {
		state := Unavailable // and in transition
		switch b[at] & 0xf {
		case 0, 1: // active/optimized and active/non-optimized
			state = Active
		case 2:
			state = Standby
		}
		all[binary.BigEndian.Uint16(b[at+2:])] = state
	}
	return all, nil
}

// linkPath is a link as an initiator.Path for probes.
type linkPath struct {
	l    *link
	turn turn
}

// Execute implements initiator.Path.
func (p linkPath) Execute(ctx context.Context, c initiator.Command) (initiator.Result, error) {
	return p.l.execute(ctx, c, p.l.h.s.ProbeTimeout, p.turn)
}

// Start and Cancel are for those who have many commands in flight; probes have none.
func (p linkPath) Start(*initiator.Call) error { return initiator.ErrBusy }
func (p linkPath) Cancel(*initiator.Call) bool { return false }
