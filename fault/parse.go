package fault

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"vvsim/fault/command"
	"vvsim/fault/grammar"
	"vvsim/fault/loss"
	"vvsim/scsi"
	"vvsim/vvol"
)

// Limits of a rule.
const (
	MaxRuleLength = 800                 // bytes of text
	maxPortal     = math.MaxUint16      // target portal group tags
	maxDelay      = time.Hour           // longer than any initiator waits
	maxLasting    = 30 * 24 * time.Hour // of from=, for= and each=
	maxTorn       = 1 << 30             // bytes; far above MAXIMUM TRANSFER LENGTH
)

// defaultSeed is the seed of rules without one: they repeat too.
const defaultSeed = 1

// failed is the error of a rule at a word.
func failed(at int, format string, args ...any) error {
	return fmt.Errorf("%w: fault rule, column %d: %s", vvol.ErrInvalid, at, fmt.Sprintf(format, args...))
}

// Parse reads a rule. What String prints then is text, byte for byte. The error is
// vvol.ErrInvalid, and says in which column what is allowed.
func Parse(text string) (*Rule, error) {
	if len(text) > MaxRuleLength {
		return nil, failed(MaxRuleLength+1, "a rule has at most %d bytes", MaxRuleLength)
	}
	if !utf8.ValidString(text) {
		return nil, failed(1, "the rule is not UTF-8")
	}
	words, at, err := grammar.Split(text)
	if err != nil {
		return nil, failed(at, "%v", err)
	}
	r := &Rule{text: text, p: 1, every: 1, seed: defaultSeed}
	if len(words) == 0 {
		return nil, failed(1, "a rule begins with %s", layerNames())
	}
	if err := r.setLayer(words[0]); err != nil {
		return nil, err
	}
	rest, err := r.setConditions(words[1:], len(text)+1)
	if err != nil {
		return nil, err
	}
	if err := r.setAction(rest, len(text)+1); err != nil {
		return nil, err
	}
	if err := r.fits(rest[0]); err != nil {
		return nil, err
	}
	return r, nil
}

func layerNames() string {
	var names []string
	for _, l := range layers {
		names = append(names, l.name)
	}
	return grammar.OneOf(names)
}

func (r *Rule) setLayer(w grammar.Word) error {
	for _, l := range layers {
		if w.Text == l.name {
			r.layer = l.layer
			return nil
		}
	}
	return failed(w.At, "%q: a rule begins with %s", w.Text, layerNames())
}

// condition is one key of a rule; a flag has no value.
type condition struct {
	key    string
	layers layer
	flag   bool
	set    func(r *Rule, value string) error
}

const everyLayer = unitLayer | pathLayer | engineLayer | providerLayer | loginLayer

// conditions are the keys in the order in which they are named.
var conditions = []condition{
	{"vvol", unitLayer | engineLayer | providerLayer, false, func(r *Rule, v string) error { r.vvol = v; return nil }},
	{"container", unitLayer | engineLayer | providerLayer, false, func(r *Rule, v string) error { r.container = v; return nil }},
	{"host", unitLayer | pathLayer | loginLayer | providerLayer, false, func(r *Rule, v string) error { r.host = v; return nil }},
	{"pe", unitLayer, false, func(r *Rule, v string) error { r.endpoint = v; return nil }},
	{"portal", unitLayer | pathLayer | loginLayer, false, func(r *Rule, v string) error {
		n, err := grammar.Number(v, 1, maxPortal)
		r.portal = uint16(n)
		return err
	}},
	{"session", unitLayer | pathLayer, false, func(r *Rule, v string) (err error) { r.session, err = grammar.Number(v, 1, math.MaxUint64); return err }},
	{"op", unitLayer | engineLayer | providerLayer, false, func(r *Rule, v string) (err error) {
		r.op, err = parseOperation(r.layer, v)
		return err
	}},
	{"lba", unitLayer | engineLayer, false, func(r *Rule, v string) (err error) {
		r.blocks = &command.Extent{}
		r.blocks.First, r.blocks.Last, err = grammar.Range(v)
		return err
	}},
	{"after", everyLayer, false, func(r *Rule, v string) (err error) { r.after, err = grammar.Number(v, 0, math.MaxInt64); return err }},
	{"count", everyLayer, false, func(r *Rule, v string) (err error) { r.count, err = grammar.Number(v, 1, math.MaxInt64); return err }},
	{"every", everyLayer, false, func(r *Rule, v string) (err error) { r.every, err = grammar.Number(v, 1, math.MaxInt64); return err }},
	{"p", everyLayer, false, func(r *Rule, v string) (err error) {
		if r.p, err = strconv.ParseFloat(v, 64); err != nil || !(r.p > 0 && r.p <= 1) {
			return fmt.Errorf("%q is no probability above 0 and up to 1", v)
		}
		return nil
	}},
	{"seed", everyLayer, false, func(r *Rule, v string) (err error) { r.seed, err = grammar.Number(v, 0, math.MaxUint64); return err }},
	{"name", everyLayer, false, func(r *Rule, v string) error { r.name = v; return grammar.Name(v) }},
	{"on", everyLayer, false, func(r *Rule, v string) error { r.on = v; return nil }},
	{"from", everyLayer, false, func(r *Rule, v string) (err error) { r.From, err = grammar.Duration(v, maxLasting); return err }},
	{"for", everyLayer, false, func(r *Rule, v string) (err error) { r.For, err = grammar.Duration(v, maxLasting); return err }},
	{"each", everyLayer, false, func(r *Rule, v string) (err error) { r.Each, err = grammar.Duration(v, maxLasting); return err }},
	{"keep", everyLayer, true, func(r *Rule, _ string) error { r.keep = true; return nil }},
}

// setConditions reads the words before the arrow and returns those after it.
func (r *Rule) setConditions(words []grammar.Word, end int) ([]grammar.Word, error) {
	seen := map[string]bool{}
	for i, w := range words {
		if w.Text == "->" {
			if err := r.Check(); err != nil {
				return nil, failed(w.At, "%v", err)
			}
			return words[i+1:], nil
		}
		key, value, assigned := strings.Cut(w.Text, "=")
		c := r.condition(key)
		switch {
		case c == nil || c.flag == assigned:
			return nil, failed(w.At, "%q: a rule of %v has %s, and then ->", w.Text, r.layer, grammar.OneOf(r.keys()))
		case seen[key]:
			return nil, failed(w.At, "%s stands twice", key)
		}
		seen[key] = true
		at := w.At + len(key) + 1
		value, err := grammar.Unquote(value)
		if err != nil {
			return nil, failed(at, "%s: %v", key, err)
		}
		if value == "" && assigned {
			return nil, failed(at, "%s has no value", key)
		}
		if err := c.set(r, value); err != nil {
			return nil, failed(at, "%s: %v", key, err)
		}
	}
	return nil, failed(end, "-> and an action are missing")
}

func (r *Rule) condition(key string) *condition {
	for i := range conditions {
		if c := &conditions[i]; c.key == key && c.layers&r.layer != 0 {
			return c
		}
	}
	return nil
}

// keys lists what a rule of this layer may have.
func (r *Rule) keys() (all []string) {
	for _, c := range conditions {
		switch {
		case c.layers&r.layer == 0:
		case c.flag:
			all = append(all, c.key)
		default:
			all = append(all, c.key+"=")
		}
	}
	return all
}

// actionRow is one action of a layer. parse gets the words after the name.
type actionRow struct {
	name   string
	layers layer
	usage  string
	kind   kind
	parse  func(a *action, args []string) error
}

// plain has no arguments.
func plain(_ *action, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%q is too much", args[0])
	}
	return nil
}

// actions in the order in which they are named.
var actions = []actionRow{
	{"pdl", unitLayer, "pdl [K/ASC/ASCQ]", pdl, (*action).parseLoss},
	{"apd", unitLayer, "apd [drop]", apd, func(a *action, args []string) error { return a.word(args, "drop", &a.forget) }},
	{"sense", unitLayer, "sense K/ASC/ASCQ", senseAnswer, (*action).parseSense},
	{"busy", unitLayer, "busy", busy, plain},
	{"task-set-full", unitLayer, "task-set-full", taskSetFull, plain},
	{"reservation-conflict", unitLayer, "reservation-conflict", reservationConflict, plain},
	{"delay", unitLayer | pathLayer | loginLayer | engineLayer | providerLayer, "delay TIME[..TIME]", delay, (*action).parseDelay},
	{"hang", unitLayer | loginLayer | providerLayer, "hang", hang, plain},
	{"drop-response", unitLayer, "drop-response", dropResponse, plain},
	{"corrupt", unitLayer, "corrupt [BYTE]", corrupt, (*action).parseCorrupt},
	{"corrupt", engineLayer, "corrupt", corrupt, plain},
	{"late", unitLayer, "late TIME[..TIME]", lateAnswer, (*action).parseDelay},
	{"duplicate", unitLayer, "duplicate", duplicate, plain},
	{"short", unitLayer, "short BYTES", short, (*action).parseBytes},
	{"residual", unitLayer, "residual BYTES [over]", residual, (*action).parseResidual},
	{"digest", unitLayer, "digest [header]", digest, func(a *action, args []string) error { return a.word(args, "header", &a.header) }},
	{"torn", unitLayer, "torn BYTES [silent]", torn, (*action).parseTorn},
	{"stall", pathLayer, "stall [in|out]", stall, (*action).parseStall},
	{"reset", pathLayer, "reset [TIME[..TIME]]", reset, (*action).parseReset},
	{"logout", pathLayer, "logout [TIME]", logout, (*action).parseLogout},
	{"drop-connection", pathLayer, "drop-connection", dropConnection, plain},
	{"drop-session", pathLayer, "drop-session", dropSession, plain},
	{"rate", pathLayer, "rate BYTES/s", rate, (*action).parseRate},
	{"unavailable", unitLayer, "unavailable", alua, (*action).parseUnavailable},
	{"alua", unitLayer, "alua STATE", alua, (*action).parseALUA},
	{"attention", unitLayer, "attention ASC/ASCQ", attention, (*action).parseAttention},
	{"reservation-lost", unitLayer, "reservation-lost [released]", reservationLost, func(a *action, args []string) error { return a.word(args, "released", &a.released) }},
	{"miscompare", unitLayer, "miscompare", miscompare, plain},
	{"medium-error", unitLayer | engineLayer, "medium-error", mediumError, plain},
	{"no-space", unitLayer | engineLayer, "no-space", noSpace, plain},
	{"fault", providerLayer, "fault NAME", namedFault, (*action).parseFault},
	{"drop", providerLayer, "drop", drop, plain},
	{"down", pathLayer | providerLayer, "down", down, plain},
	{"certificate", providerLayer, "certificate FLAW", certificate, (*action).parseCertificate},
	{"drop-session", providerLayer, "drop-session", dropSession, plain},
	{"lose-events", providerLayer, "lose-events", loseEvents, plain},
	{"event-storm", providerLayer, "event-storm N", eventStorm, (*action).parseStorm},
	{"reject", loginLayer, "reject STATUS", reject, (*action).parseReject},
	{"redirect", loginLayer, "redirect HOST:PORT[,GROUP] [permanent]", redirect, (*action).parseRedirect},
}

func (r *Rule) setAction(words []grammar.Word, end int) error {
	if len(words) == 0 {
		return failed(end, "an action is missing: %s", grammar.OneOf(r.actions()))
	}
	for _, row := range actions {
		if row.name != words[0].Text || row.layers&r.layer == 0 {
			continue
		}
		r.action.kind = row.kind
		args := make([]string, 0, len(words))
		for _, w := range words[1:] {
			args = append(args, w.Text)
		}
		if err := row.parse(&r.action, args); err != nil {
			return failed(words[0].At, "%v: the action is %s", err, row.usage)
		}
		return nil
	}
	return failed(words[0].At, "%q: an action of %v is %s", words[0].Text, r.layer, grammar.OneOf(r.actions()))
}

// actions lists those of the rule's layer.
func (r *Rule) actions() (all []string) {
	for _, row := range actions {
		if row.layers&r.layer != 0 {
			all = append(all, row.usage)
		}
	}
	return all
}

// word sets *at when args is the one word; nothing is allowed too.
func (*action) word(args []string, name string, at *bool) error {
	if len(args) == 0 {
		return nil
	}
	if len(args) > 1 || args[0] != name {
		return fmt.Errorf("%q is not %s", strings.Join(args, " "), name)
	}
	*at = true
	return nil
}

func (*action) single(args []string) (string, error) {
	if len(args) != 1 {
		return "", fmt.Errorf("one argument is needed, not %d", len(args))
	}
	return args[0], nil
}

// parseLoss takes the sense data of a permanent loss.
func (a *action) parseLoss(args []string) error {
	if len(args) == 0 {
		a.sense = scsi.UnsupportedLUN()
		return nil
	}
	if err := a.parseSense(args); err != nil || loss.Known(a.sense) {
		return err
	}
	return fmt.Errorf("%v is no permanent loss: 5/25/00, 4/4C/00, 4/3E/01, 4/3E/03 or 5/68/01", a.sense)
}

func (a *action) parseSense(args []string) error {
	text, err := a.single(args)
	if err != nil {
		return err
	}
	key, asc, ascq, err := grammar.Sense(text)
	a.sense = scsi.Sense(scsi.SenseKey(key), scsi.ASC(asc)<<8|scsi.ASC(ascq))
	return err
}

func (a *action) parseDelay(args []string) error {
	text, err := a.single(args)
	if err != nil {
		return err
	}
	a.min, a.max, err = grammar.Durations(text, maxDelay)
	return err
}

func (a *action) parseCorrupt(args []string) error {
	if len(args) == 0 {
		return nil
	}
	text, err := a.single(args)
	if err != nil {
		return err
	}
	n, err := grammar.Number(text, 0, maxTorn)
	a.one, a.n = true, int(n)
	return err
}

func (a *action) parseTorn(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("the number of bytes is missing")
	}
	n, err := grammar.Number(args[0], 0, maxTorn)
	if err != nil {
		return err
	}
	a.n = int(n)
	return a.word(args[1:], "silent", &a.silent)
}

func (a *action) parseFault(args []string) (err error) {
	a.fault, err = a.single(args)
	return err
}

// parseReject takes the statuses of RFC 7143 11.13.5 that refuse.
func (a *action) parseReject(args []string) error {
	text, err := a.single(args)
	if err != nil {
		return err
	}
	a.status, err = grammar.LoginStatus(text)
	return err
}
