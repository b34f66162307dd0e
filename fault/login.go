package fault

import (
	"vvsim/fault/grammar"
	"vvsim/fault/network"
	"vvsim/scsi/iscsi/line"
)

// Refusal is a Login Response that ends a login (RFC 7143 11.13.5).
type Refusal struct {
	Status  uint16
	Address string // TargetAddress of a redirection, else ""
}

// Statuses of a redirection.
const (
	movedTemporarily = 0x0101
	movedPermanently = 0x0102
)

// loginRule counts a login and returns the first rule of layer login that takes it, nil for
// none. Called without locks.
func (i *Injector) loginRule(portal uint16, initiator string) *entry {
	rules := i.logins.Load()
	if rules == nil {
		return nil
	}
	for _, e := range *rules {
		if (e.portal == 0 || e.portal == portal) && (e.host == "" || e.host == initiator) && i.strike(e) {
			return e
		}
	}
	return nil
}

// waiting is a login that a rule keeps.
type waiting struct {
	window <-chan struct{} // closed when the rule is not in force any more
	stop   func() bool     // of a delay; nil for none
}

// keep has a login wait for the end of a rule, or of its delay.
func (p *Paths) keep(c Conn, e *entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.conns[c]
	if d == nil {
		return
	}
	w := &waiting{window: e.window()}
	d.login = w
	d.releaseLogin()
	if d.login == nil {
		return // the rule has gone
	}
	if e.action.kind == delay {
		w.stop = e.clock.After(e.pause(), func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			if d.login == w {
				d.login = nil
				p.take(d)
			}
		})
	}
	p.take(d)
}

// releaseLogin lets a login go on whose rule has gone; it tells whether there was one. Called
// with Paths.mu held.
func (d *disturbed) releaseLogin() bool {
	if d.login == nil {
		return false
	}
	select {
	case <-d.login.window:
		d.login.forget()
		d.login = nil
		return true
	default:
		return false
	}
}

// forget stops the timer; of nil too.
func (w *waiting) forget() {
	if w != nil && w.stop != nil {
		w.stop()
	}
}

// ways are what all rules make of the connection's bytes.
func (d *disturbed) ways() (in, out line.Way) {
	if d.login != nil {
		return network.Still{}, network.Still{}
	}
	return d.rule.ways()
}

// parseRedirect takes the address of another portal, as TargetAddress has it (RFC 7143 13.8).
func (a *action) parseRedirect(args []string) error {
	a.status = movedTemporarily
	if len(args) == 2 && args[1] == "permanent" {
		a.status, args = movedPermanently, args[:1]
	}
	text, err := a.single(args)
	if err != nil {
		return err
	}
	if err := grammar.Address(text); err != nil {
		return err
	}
	a.address = text
	return nil
}
