package fault

import (
	"fmt"

	"vvsim/vvol"
)

// called tells whether text names the rule, by id or by name.
func (e *entry) called(text string) bool {
	return text == e.number() || e.name != "" && text == e.name
}

// linkable refuses a rule whose name is taken, or that waits for one which is not there.
// Called with mu held.
func (i *Injector) linkable(r *Rule) error {
	if r.name != "" {
		if _, err := i.find(r.name); err == nil {
			return fmt.Errorf("%w: there is a fault rule %s", vvol.ErrExists, r.name)
		}
	}
	if r.on != "" {
		if _, err := i.find(r.on); err != nil {
			return fmt.Errorf("%w: fault rule: on=%s is neither the id nor the name of a rule", vvol.ErrInvalid, r.on)
		}
	}
	return nil
}

// link tells each rule whether others wait for it. Called with mu held.
func (i *Injector) link() {
	var waiting []string
	for _, e := range i.entries {
		if e.on != "" {
			waiting = append(waiting, e.on)
		}
	}
	for _, e := range i.entries {
		leads := false
		for _, w := range waiting {
			leads = leads || e.called(w)
		}
		e.leads.Store(leads)
	}
}

// fired starts the rules that wait for one that has fired. One that is in force, or is to
// be, goes on as it was; one whose time is over starts anew. Called without locks.
func (i *Injector) fired(e *entry) {
	if !e.leads.Load() {
		return
	}
	i.mu.Lock()
	defer i.unlock()
	if e.removed {
		return
	}
	now := i.clock.Now()
	for _, f := range i.entries {
		if f.on != "" && e.called(f.on) && (f.start.IsZero() || f.over(i)) {
			i.begin(f, now)
		}
	}
	i.publish()
}

// over tells whether the time of a rule that has started is over.
func (e *entry) over(i *Injector) bool {
	p, _ := e.At(i.clock.Now().Sub(e.start))
	return p == Over
}

// strike is fires for events that come without locks: rules that wait for this one have
// started when it returns.
func (i *Injector) strike(e *entry) bool {
	if !e.fires() {
		return false
	}
	i.fired(e)
	return true
}
