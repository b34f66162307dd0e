package fault

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"vvsim/fault/network"
	"vvsim/fault/turn"
	"vvsim/scsi/iscsi/line"
)

// Conn is one connection of the transport; comparable, and safe for concurrent use.
type Conn interface {
	// Session is the number of the session that the connection is or becomes.
	Session() uint64
	// Portal is where it came in, from 1.
	Portal() uint16
	// Disturb has what comes in and what goes out pass these ways from now on, nil for none.
	Disturb(in, out line.Way)
	// Reset ends the connection with a RST.
	Reset()
	// AskLogout asks the initiator to log out within d. Of established sessions only, as is
	// Leave, which tells it that its connection, or session, is dropped, and closes it.
	AskLogout(d time.Duration)
	Leave(session bool)
}

// Paths breaks connections by rules of layer path. An event is a connection: each is judged
// once by each rule that means it, when both are there and the initiator is known if the rule
// names one. The first rule that takes a connection keeps it as long as it is in force. Safe
// for concurrent use.
type Paths struct {
	i *Injector

	mu        sync.Mutex // guards what follows; taken before Injector.mu
	conns     map[Conn]*disturbed
	came      uint64                       // connections
	listeners map[*network.Listener]uint16 // by portal, from 1
	struck    []*entry                     // that have fired, and for which others wait
}

// disturbed is what is known of a connection.
type disturbed struct {
	Conn
	number    uint64 // in the order in which they came
	initiator string
	full      bool // its session is established
	judged    map[*entry]bool
	rule      *entry      // that has taken it, nil for none
	login     *waiting    // nil: no rule keeps its login
	place     *turn.Place // among all that rules hold; nil while its ways are undisturbed
	cutting   bool        // the rule is to end it yet
	stopTimer func() bool // of a rule that acts later; nil for none
}

// NewPaths returns the breaker of the transport's connections. There is one for an Injector.
func (i *Injector) NewPaths() *Paths {
	p := &Paths{i: i, conns: map[Conn]*disturbed{}, listeners: map[*network.Listener]uint16{}}
	i.mu.Lock()
	i.connections = p
	i.mu.Unlock()
	return p
}

// Listen decorates the listener of a portal, from 1, and owns it: connections are refused
// while a rule takes the whole portal down. again opens it anew, as net.Listen does.
func (p *Paths) Listen(inner net.Listener, portal uint16, again network.Listen) net.Listener {
	var l *network.Listener
	l = network.NewListener(inner, again, func() {
		p.mu.Lock()
		delete(p.listeners, l)
		p.mu.Unlock()
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listeners[l] = portal
	l.Shut(p.refused(portal))
	return l
}

// Connected tells of a connection before its first byte is read.
func (p *Paths) Connected(c Conn) {
	p.mu.Lock()
	p.came++
	d := &disturbed{Conn: c, number: p.came, judged: map[*entry]bool{}}
	p.conns[c] = d
	p.meet(d)
	p.unlock()
}

// Identified tells whose login it is that runs on a connection. It may be refused, or kept:
// then nothing comes and nothing goes until it may go on.
func (p *Paths) Identified(c Conn, initiator string) (r Refusal, refused bool) {
	p.mu.Lock()
	if d := p.conns[c]; d != nil {
		d.initiator = initiator
		p.meet(d)
	}
	p.unlock()
	e := p.i.loginRule(c.Portal(), initiator)
	switch {
	case e == nil:
		return Refusal{}, false
	case e.action.kind == hang, e.action.kind == delay:
		p.keep(c, e)
		return Refusal{}, false
	}
	return Refusal{e.action.status, e.action.address}, true
}

// unlock lets mu go and starts the rules that wait for those that have fired.
func (p *Paths) unlock() {
	struck := p.struck
	p.struck = nil
	p.mu.Unlock()
	for _, e := range struck {
		p.i.fired(e)
	}
}

// Established tells that a normal session has begun.
func (p *Paths) Established(c Conn) {
	p.mu.Lock()
	if d := p.conns[c]; d != nil {
		d.full = true
		p.meet(d)
	}
	p.unlock()
}

// Disconnected forgets a connection.
func (p *Paths) Disconnected(c Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.conns[c]; d != nil {
		d.calm()
		d.login.forget()
		d.place.Leave()
		d.place = nil
		delete(p.conns, c)
	}
}

// refresh has everything judged by the rules that are in force now. What other ways have kept
// until now goes on one connection after the other, and has when it returns. Called without locks.
func (p *Paths) refresh() {
	if p == nil {
		return
	}
	var wait sync.WaitGroup
	defer wait.Wait()
	p.mu.Lock()
	for _, d := range slices.SortedFunc(maps.Values(p.conns), func(a, b *disturbed) int { return cmp.Compare(a.number, b.number) }) {
		switch place := d.place; { // counters meet those that came first before the others
		case !p.judge(d):
		case place == nil:
			p.take(d)
		default:
			wait.Go(func() {
				place.Await(nil)
				p.mu.Lock()
				defer p.mu.Unlock()
				if p.conns[d.Conn] == d {
					p.take(d)
				}
			})
		}
	}
	if !p.i.stopping() { // else portals that are down stay so
		for l, portal := range p.listeners {
			l.Shut(p.refused(portal))
		}
	}
	p.unlock()
}

// pathRules are those in force.
func (p *Paths) pathRules() []*entry {
	if rules := p.i.paths.Load(); rules != nil {
		return *rules
	}
	return nil
}

// meet has a connection judged, and taken at once. Called with mu held.
func (p *Paths) meet(d *disturbed) {
	if p.judge(d) {
		p.take(d)
	}
}

// judge finds the first rule that takes a connection, and tells whether take has to follow.
// Called with mu held.
func (p *Paths) judge(d *disturbed) bool {
	var first *entry
	rules := p.pathRules()
	known := make(map[*entry]bool, len(rules))
	for _, e := range rules {
		hit, before := d.judged[e]
		if !before && first == nil && d.meant(e) {
			hit, before = e.fires(), true
			if hit && e.leads.Load() {
				p.struck = append(p.struck, e)
			}
		}
		if before {
			known[e] = hit
		}
		if first == nil && hit {
			first = e
		}
	}
	d.judged = known // those that have gone are forgotten
	released := d.releaseLogin()
	before := d.rule
	if first == before && !released {
		return false
	}
	if p.i.stopping() && (released || before != nil && before.action.kind == stall) {
		d.Reset() // what stood still is not to go on
		return false
	}
	d.rule = first
	if first != before {
		d.calm()
		d.cutting = first != nil
	}
	return true
}

// take has a connection go the ways of its rule. Called with mu held.
func (p *Paths) take(d *disturbed) {
	in, out := d.ways()
	d.Disturb(in, out)
	switch undisturbed := in == nil && out == nil; {
	case undisturbed:
		d.place.Leave()
		d.place = nil
	case d.place == nil:
		d.place = p.i.held.Enter()
	}
	if d.cutting {
		d.cutting = false
		p.cut(d)
	}
}

// meant tells whether a rule is about the connection.
func (d *disturbed) meant(e *entry) bool {
	return (d.full || !e.action.needsSession()) && (e.portal == 0 || e.portal == d.Portal()) && (e.session == 0 || e.session == d.Session()) &&
		(e.host == "" || e.host == d.initiator)
}

// needsSession tells whether the action is said in a session.
func (a *action) needsSession() bool {
	return a.kind == logout || a.kind == dropConnection || a.kind == dropSession
}

// cut ends a connection that a rule has taken to do so.
func (p *Paths) cut(d *disturbed) {
	switch a := &d.rule.action; {
	case a.kind == down, a.kind == reset && a.max == 0:
		d.Reset()
	case a.kind == logout:
		d.AskLogout(a.min)
		d.stopTimer = d.rule.clock.After(a.min, func() { d.Leave(false) })
	case a.kind == dropConnection, a.kind == dropSession:
		d.Leave(a.kind == dropSession)
	case a.kind == reset:
		d.stopTimer = d.rule.clock.After(d.rule.pause(), d.Reset)
	}
}

// calm keeps a rule from acting later.
func (d *disturbed) calm() {
	if d.stopTimer != nil {
		d.stopTimer()
		d.stopTimer = nil
	}
}

// refused tells whether a rule takes a whole portal down before any other has its turn.
// Called with mu held.
func (p *Paths) refused(portal uint16) bool {
	for _, e := range p.pathRules() {
		if e.portal == 0 || e.portal == portal {
			return e.action.kind == down && e.whole()
		}
	}
	return false
}

// whole tells whether a rule of layer path takes every connection of its portal.
func (r *Rule) whole() bool {
	return r.host == "" && r.session == 0 && r.after == 0 && r.count == 0 && r.every == 1 && r.p == 1
}

// ways are what a rule makes of a connection's bytes; nil, nil for no rule.
func (e *entry) ways() (in, out line.Way) {
	if e == nil {
		return nil, nil
	}
	switch a := &e.action; a.kind {
	case stall:
		if !a.outward {
			in = network.Still{}
		}
		if !a.inward {
			out = network.Still{}
		}
	case delay:
		w := network.Late{By: e.clock, Pause: e.pause}
		return w, w
	case rate:
		return e.lanes[0], e.lanes[1]
	}
	return in, out
}
