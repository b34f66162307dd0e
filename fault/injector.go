package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"vvsim/fault/bad"
	"vvsim/fault/kept"
	"vvsim/fault/network"
	"vvsim/fault/schedule"
	"vvsim/fault/tally"
	"vvsim/fault/turn"
	"vvsim/scsi/iscsi/line"
	"vvsim/vvol"
	"vvsim/vvol/store"
)

// MaxRules bounds the rules of one array: each command looks at all of them.
const MaxRules = 1000

// Options of an Injector.
type Options struct {
	// Meta keeps rules with keep; nil refuses such rules.
	Meta store.Meta
	// Name is the present name of a volume, "" for none. Safe for concurrent use; nil
	// knows no names.
	Name func(id vvol.ID) string
	// Container is the container that has a volume, zero for none; ContainerName its name, ""
	// for none. Safe for concurrent use; nil knows none.
	Container     func(id vvol.ID) vvol.ContainerID
	ContainerName func(id vvol.ContainerID) string
	// Portals is the number of portals; rules that are added name none above it. 0 lets them
	// name any.
	Portals int
	// Endpoints are the protocol endpoints; rules that are added name no others. nil lets them
	// name any.
	Endpoints []Endpoint
	// Named refuses an operation or a fault that the provider does not have; "" is none of
	// it. Its error is vvol.ErrInvalid. nil refuses every rule of layer vasa.
	Named func(op, fault string) error
}

// Endpoint is a protocol endpoint, which rules name either way.
type Endpoint struct{ Name, ID string }

// called tells whether pe= means it.
func (e Endpoint) called(text string) bool { return text == e.Name || text == e.ID }

// State is what is known of one rule.
type State struct {
	ID   string
	Rule string
	Hits uint64 // events that it broke since it was added or the array began
	// Active tells that it breaks events now: Phase is Active.
	Active bool
	Phase  Phase
}

// entry is a rule in force.
type entry struct {
	*Rule
	id    uint64
	clock Clock
	bad   *bad.Blocks      // of medium-error with lba=, else nil
	leads atomic.Bool      // rules wait for it
	held  *turn.Line       // what any rule holds
	lanes [2]*network.Lane // of rate: in and out

	// Guarded by Injector.mu:
	start     time.Time   // of its time; zero while it waits for another rule
	stopTimer func() bool // nil: no timer runs
	removed   bool

	mu         sync.Mutex // guards what follows; taken after Injector.mu
	phase      Phase
	gone       chan struct{} // closed when the rule is not Active any more
	seen, hits uint64
	random     *rand.Rand
}

// Injector keeps rules in the order in which they were added. Safe for concurrent use.
type Injector struct {
	o       Options
	closing chan struct{}
	telling tally.Count // goroutines that tell hosts of rules
	held    turn.Line   // what rules hold
	// What events look at: the rules of a layer that may fire, nil for none. Lists are
	// not changed after they are stored.
	units, paths, engines, providers, logins atomic.Pointer[[]*entry]

	mu          sync.Mutex // guards what follows
	clock       Clock
	entries     []*entry
	last        uint64 // id
	closed      bool
	target      *Target  // nil: there is none
	changed     []*entry // whose phase has changed, and of which hosts are told
	connections *Paths   // nil: there are none
	// reconnect has clients of the provider connect anew; nil: there are none.
	reconnect func()
}

// Open returns an Injector with the rules that were kept. Those whose time is over are
// forgotten. The counters of all begin anew.
func Open(ctx context.Context, o Options) (*Injector, error) {
	i := &Injector{o: o, closing: make(chan struct{}), clock: line.Wall{}}
	if o.Meta == nil {
		return i, nil
	}
	if err := i.load(ctx); err != nil {
		return nil, fmt.Errorf("fault: kept rules: %w", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, e := range i.entries {
		if !e.start.IsZero() {
			i.begin(e, e.start)
		}
	}
	i.link()
	i.publish()
	return i, nil
}

// load reads the rules that were kept.
func (i *Injector) load(ctx context.Context) error {
	now := time.Now()
	rows, err := kept.All(ctx, i.o.Meta)
	if err != nil {
		return err
	}
	for _, row := range rows {
		i.last = max(i.last, row.ID)
		r, err := Parse(row.Text)
		if err != nil {
			return fmt.Errorf("%q: %w", row.Text, err)
		}
		e := i.newEntry(r, row.ID)
		if r.on == "" {
			e.start = now
		}
		if row.Since != nil {
			e.start = *row.Since
		}
		if p, _ := e.At(now.Sub(e.start)); p != Over || r.on != "" {
			i.entries = append(i.entries, e)
		}
	}
	return nil
}

func (i *Injector) newEntry(r *Rule, id uint64) *entry {
	e := &entry{Rule: r, id: id, held: &i.held, phase: Waiting, random: rand.New(rand.NewPCG(r.seed, 0))}
	e.goBy(i.clock)
	if r.action.kind == mediumError && r.blocks != nil {
		e.bad = bad.New(r.blocks.First, r.blocks.Last)
	}
	return e
}

// publish shows the rules to events. Called with mu held.
func (i *Injector) publish() {
	for l, at := range map[layer]*atomic.Pointer[[]*entry]{unitLayer: &i.units, pathLayer: &i.paths, engineLayer: &i.engines, providerLayer: &i.providers, loginLayer: &i.logins} {
		var list []*entry
		for _, e := range i.entries {
			if e.layer == l && e.inForce() {
				list = append(list, e)
			}
		}
		if list == nil {
			at.Store(nil)
			continue
		}
		at.Store(&list)
	}
}

// Add puts a rule behind all others, as AddAll does.
func (i *Injector) Add(ctx context.Context, text string) (State, error) {
	all, err := i.AddAll(ctx, text)
	if err != nil {
		return State{}, err
	}
	return all[0], nil
}

// AddAll puts rules behind all others, all of them or, with an error, none. They are in force,
// or their time runs, when it returns. Errors: vvol.ErrInvalid, ErrExists (a name is taken),
// ErrTooMany, ErrStorage (they could not be kept), ErrBusy.
func (i *Injector) AddAll(ctx context.Context, texts ...string) ([]State, error) {
	rules := make([]*Rule, len(texts))
	for k, text := range texts {
		r, err := Parse(text)
		if err == nil {
			err = i.possible(r)
		}
		if err != nil {
			return nil, among(texts, text, err)
		}
		rules[k] = r
	}
	i.mu.Lock()
	defer i.unlock()
	switch {
	case i.closed:
		return nil, fmt.Errorf("%w: the array stops", vvol.ErrBusy)
	case len(i.entries)+len(rules) > MaxRules:
		return nil, fmt.Errorf("%w: %d fault rules", vvol.ErrTooMany, MaxRules)
	}
	before, last := i.entries, i.last
	added, err := i.enlist(ctx, rules)
	if err != nil {
		i.entries, i.last = before, last
		return nil, err
	}
	i.link()
	for _, e := range added {
		if e.on == "" {
			i.begin(e, e.start)
		}
	}
	i.publish()
	all := make([]State, len(added))
	for k, e := range added {
		all[k] = e.state()
	}
	return all, nil
}

// among says which of several rules an error is of.
func among(texts []string, text string, err error) error {
	if len(texts) < 2 {
		return err
	}
	return fmt.Errorf("%q: %w", text, err)
}

// enlist puts rules into the list and keeps those that ask for it; with an error the list is
// to be put back. Called with mu held.
func (i *Injector) enlist(ctx context.Context, rules []*Rule) ([]*entry, error) {
	first := len(i.entries)
	i.entries = slices.Clone(i.entries)
	for _, r := range rules {
		if err := i.linkable(r); err != nil {
			return nil, err
		}
		i.last++
		e := i.newEntry(r, i.last)
		if r.on == "" {
			e.start = i.clock.Now()
		}
		i.entries = append(i.entries, e)
	}
	return i.entries[first:], i.keep(ctx, i.entries[first:])
}

// possible refuses what this array does not have.
func (i *Injector) possible(r *Rule) error {
	if r.keep && i.o.Meta == nil {
		return fmt.Errorf("%w: fault rule: keep needs a data directory", vvol.ErrInvalid)
	}
	if n := i.o.Portals; n > 0 && int(r.portal) > n {
		return fmt.Errorf("%w: fault rule: portal=%d: the array's portals are 1 to %d", vvol.ErrInvalid, r.portal, n)
	}
	if r.endpoint != "" && i.o.Endpoints != nil && !slices.ContainsFunc(i.o.Endpoints, func(e Endpoint) bool { return e.called(r.endpoint) }) {
		var names []string
		for _, e := range i.o.Endpoints {
			names = append(names, fmt.Sprintf("%s (%s)", e.Name, e.ID))
		}
		return fmt.Errorf("%w: fault rule: pe=%s: the array has the protocol endpoints %s", vvol.ErrInvalid, r.endpoint, strings.Join(names, ", "))
	}
	if r.layer != providerLayer {
		return nil
	}
	if i.o.Named == nil {
		return fmt.Errorf("%w: fault rule: there is no provider", vvol.ErrInvalid)
	}
	if err := i.o.Named(r.op.Name, r.faultName()); err != nil {
		return fmt.Errorf("fault rule: %w", err)
	}
	return nil
}

// Impossible are the errors with which rules could not be added now that were kept when the
// array had what they name. They stay, and break nothing until it has.
func (i *Injector) Impossible() (all []error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, e := range i.entries {
		if err := i.possible(e.Rule); err != nil {
			all = append(all, fmt.Errorf("%s: %w", e.number(), err))
		}
	}
	return all
}

// keep writes the rows of those rules that ask for it.
func (i *Injector) keep(ctx context.Context, added []*entry) error {
	var rows []kept.Rule
	for _, e := range added {
		if !e.Rule.keep {
			continue
		}
		row := kept.Rule{ID: e.id, Text: e.String()}
		if !e.start.IsZero() && e.Times != (schedule.Times{}) {
			row.Since = &e.start
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return nil
	}
	if err := kept.Put(ctx, i.o.Meta, rows...); err != nil {
		return fmt.Errorf("%w: keeping fault rules: %w", vvol.ErrStorage, err)
	}
	return nil
}

// forget deletes the rows of rules.
func (i *Injector) forget(ctx context.Context, leaving []*entry) error {
	var ids []uint64
	for _, e := range leaving {
		if e.Rule.keep {
			ids = append(ids, e.id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	if err := kept.Delete(ctx, i.o.Meta, ids...); err != nil {
		return fmt.Errorf("%w: forgetting fault rules: %w", vvol.ErrStorage, err)
	}
	return nil
}

// List returns all rules in order.
func (i *Injector) List() []State {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := make([]State, 0, len(i.entries))
	for _, e := range i.entries {
		all = append(all, e.state())
	}
	return all
}

// Show returns one rule by id or name, or vvol.ErrNotFound.
func (i *Injector) Show(id string) (State, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	at, err := i.find(id)
	if err != nil {
		return State{}, err
	}
	return i.entries[at].state(), nil
}

// find is called with mu held.
func (i *Injector) find(id string) (int, error) {
	at := slices.IndexFunc(i.entries, func(e *entry) bool { return e.called(id) })
	if at < 0 {
		return 0, fmt.Errorf("%w: fault rule %q", vvol.ErrNotFound, id)
	}
	return at, nil
}

// Remove takes a rule away, by id or name, and lets go of what it held. Errors: vvol.ErrNotFound,
// ErrStorage (it would come back with the next start, and stays).
func (i *Injector) Remove(ctx context.Context, id string) error {
	i.mu.Lock()
	defer i.unlockQuietly()
	at, err := i.find(id)
	if err != nil {
		return err
	}
	return i.replace(ctx, slices.Delete(slices.Clone(i.entries), at, at+1))
}

// Clear takes all rules away. Errors: vvol.ErrStorage, as Remove.
func (i *Injector) Clear(ctx context.Context) error {
	i.mu.Lock()
	defer i.unlockQuietly()
	return i.replace(ctx, nil)
}

// replace puts a part of the rules in the place of all. Called with mu held.
func (i *Injector) replace(ctx context.Context, rest []*entry) error {
	var leaving []*entry
	for _, e := range i.entries {
		if !slices.Contains(rest, e) {
			leaving = append(leaving, e)
		}
	}
	if err := i.forget(ctx, leaving); err != nil {
		return err
	}
	i.entries = rest
	for _, e := range leaving {
		i.stop(e)
	}
	i.link()
	i.publish()
	return nil
}

// stop lets go of what the rule held. Called once, with Injector.mu held; publish follows.
func (i *Injector) stop(e *entry) {
	e.removed = true
	if e.stopTimer != nil {
		e.stopTimer()
	}
	i.enter(e, Over)
}

// Close ends what rules hold, without executing it, and all rules; those with keep come
// back when the next Injector opens. Called before the portals close. Idempotent.
func (i *Injector) Close() {
	i.mu.Lock()
	defer i.unlock()
	if i.closed {
		return
	}
	i.closed = true
	close(i.closing)
	for _, e := range i.entries {
		i.stop(e)
	}
	i.entries, i.changed = nil, nil
	i.publish()
}

// stopping tells whether Close was called.
func (i *Injector) stopping() bool {
	select {
	case <-i.closing:
		return true
	default:
		return false
	}
}

func (e *entry) number() string { return strconv.FormatUint(e.id, 10) }

// state is called with Injector.mu held.
func (e *entry) state() State {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.phase
	if e.spent() {
		p = Over
	}
	return State{ID: e.number(), Rule: e.String(), Hits: e.hits, Active: p == Active, Phase: p}
}

// spent is called with mu held.
func (e *entry) spent() bool { return e.count > 0 && e.hits >= e.count }

// fires counts an event that the rule matches and tells whether the rule breaks it.
func (e *entry) fires() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.spent() || e.phase != Active {
		return false
	}
	e.seen++
	switch {
	case e.seen <= e.after, (e.seen-e.after-1)%e.every != 0, e.p < 1 && e.random.Float64() >= e.p:
		return false
	}
	e.hits++
	return true
}

// pause is how long a rule delays an event.
func (e *entry) pause() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := &e.action
	return a.min + time.Duration(e.random.Int64N(int64(a.max-a.min)+1))
}

// wait returns when the rule has gone, one after the other in the order in which they came, or
// after its delay if it is one; false when done was closed first.
func (e *entry) wait(done <-chan struct{}) bool {
	place := e.held.Enter()
	defer place.Leave()
	var over chan struct{}
	if e.action.kind == delay || e.action.kind == lateAnswer {
		over = make(chan struct{})
		stop := e.clock.After(e.pause(), func() { close(over) })
		defer stop()
	}
	select {
	case <-done:
		return false
	case <-e.window():
		place.Await(done)
	case <-over:
	}
	return true
}

// reachedBy tells whether a rule with pe= means a protocol endpoint by its name, "" for none.
func (i *Injector) reachedBy(r *Rule, endpoint string) bool {
	if r.endpoint == "" || r.endpoint == endpoint {
		return true
	}
	return slices.Contains(i.o.Endpoints, Endpoint{endpoint, r.endpoint})
}

// concerns tells whether a rule with vvol= or container= means a volume.
func (i *Injector) concerns(r *Rule, id vvol.ID) bool {
	return (r.container == "" || i.contained(r, id)) && (r.vvol == "" || i.isVolume(r, id))
}

// isVolume tells whether a volume is that of vvol=.
func (i *Injector) isVolume(r *Rule, id vvol.ID) bool {
	return id != vvol.ID{} && (r.vvol == id.String() || i.o.Name != nil && r.vvol == i.o.Name(id))
}

// contained tells whether a volume is in the container of container=.
func (i *Injector) contained(r *Rule, id vvol.ID) bool {
	return id != vvol.ID{} && i.o.Container != nil && i.isContainer(r, i.o.Container(id))
}

// isContainer tells whether a container is that of container=.
func (i *Injector) isContainer(r *Rule, id vvol.ContainerID) bool {
	return id != vvol.ContainerID{} && (r.container == id.String() || i.o.ContainerName != nil && r.container == i.o.ContainerName(id))
}
