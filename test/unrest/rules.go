package unrest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/fault"
	"vvsim/vasa/wire"
)

// Names are what rules are drawn about. All lists have something.
type Names struct {
	VVols, Containers, Hosts []string
	Redirect                 string // HOST:PORT of a portal
	Keep                     bool   // rules with keep are drawn too: the array has a data directory
}

// Layers are those of rules, as the grammar tells who gets one wrong.
func Layers(t testing.TB) []string { return choices(t, "?", "a rule begins with ") }

// Actions are those of a layer, by the same source.
func Actions(t testing.TB, layer string) []string {
	return choices(t, layer+" -> ?", "an action of "+layer+" is ")
}

// choices are the first words of what a rule may have behind some words of its error.
func choices(t testing.TB, rule, before string) (all []string) {
	t.Helper()
	_, err := fault.Parse(rule)
	require.Error(t, err)
	_, list, ok := strings.Cut(err.Error(), before)
	require.True(t, ok, err)
	for _, usage := range strings.Split(strings.ReplaceAll(list, " or ", ", "), ", ") {
		name, _, _ := strings.Cut(usage, " ")
		all = append(all, name)
	}
	return all
}

// arguments of actions, whichever the layer. Those that are not here have none. Times are
// such that a load of moments meets them.
var arguments = map[string][]string{
	"pdl":              {"", "04/4C/00", "04/3E/01", "04/3E/03", "05/68/01"},
	"apd":              {"", "drop"},
	"sense":            {"03/11/00", "0B/44/00", "02/04/03", "06/29/00"},
	"delay":            {"1ms..20ms", "5ms"},
	"corrupt":          {"", "3"},
	"late":             {"1ms..20ms"},
	"short":            {"512", "1000"},
	"residual":         {"512", "3 over"},
	"digest":           {"", "header"},
	"torn":             {"0", "700", "512 silent"},
	"stall":            {"", "in", "out"},
	"reset":            {"", "5ms..50ms"},
	"logout":           {"", "1s"},
	"rate":             {"1MiB/s"},
	"alua":             {"standby", "unavailable", "transitioning", "active-nonoptimized"},
	"attention":        {"29/00", "3F/0E", "2A/09", "2A/03", "38/07"},
	"reservation-lost": {"", "released"},
	"certificate":      {"expired", "wrong-name", "untrusted"},
	"event-storm":      {"5", "2000"},
	"reject":           {"0x0202", "0x0203", "0x0204", "0x0300", "0x0301"},
}

// mostTries bounds how often conditions are drawn until they go with an action.
const mostTries = 10_000

func pick(r *rand.Rand, list ...string) string { return list[r.IntN(len(list))] }

// Any draws a rule of any layer, with any of its actions, that the grammar takes. before is
// the id of a rule that is there and may start it, "" for none.
func Any(t testing.TB, r *rand.Rand, n Names, before string) string {
	t.Helper()
	layer := pick(r, append(Layers(t), "lu", "lu", "lu", "vasa", "vasa")...)
	action := pick(r, Actions(t, layer)...)
	for range mostTries {
		op, args := "", ""
		switch {
		case layer == "vasa":
			op, args = operation(r, action)
		case layer == "lu":
			op = pick(r, "", "", " op=read", " op=write", " op=media", " op=0x2a", " op=0x89")
		case layer == "engine":
			op = pick(r, "", "", " op=read", " op=write", " op=flush")
		}
		switch list, ok := arguments[action]; {
		case action == "redirect":
			args = " " + n.Redirect + pick(r, "", ",2") + pick(r, "", " permanent")
		case layer == "engine" && action == "corrupt":
		case ok:
			if text := pick(r, list...); text != "" {
				args = " " + text
			}
		}
		rule := layer + where(r, n, layer) + op + when(r, n, before) + " -> " + action + args
		if _, err := fault.Parse(rule); err == nil {
			return rule
		}
	}
	require.Fail(t, "no conditions go with an action", "%s -> %s", layer, action)
	return ""
}

// where draws what a rule is about. Half of the rules are about everything.
func where(r *rand.Rand, n Names, layer string) (all string) {
	if r.IntN(2) == 0 {
		return ""
	}
	rarely := func(condition string) {
		if r.IntN(4) == 0 {
			all += " " + condition
		}
	}
	if layer == "lu" || layer == "engine" || layer == "vasa" {
		rarely("vvol=" + pick(r, n.VVols...))
		rarely("container=" + pick(r, n.Containers...))
	}
	if layer != "engine" {
		rarely("host=" + pick(r, n.Hosts...))
	}
	if layer == "lu" {
		rarely("pe=pe0")
	}
	if layer == "lu" || layer == "engine" {
		rarely("lba=2-5")
	}
	if layer == "lu" || layer == "path" || layer == "login" {
		rarely("portal=" + pick(r, "1", "2"))
	}
	if layer != "login" && layer != "engine" && layer != "vasa" && r.IntN(8) == 0 {
		all += fmt.Sprintf(" session=%d", 1+r.IntN(3))
	}
	return all
}

// usual are operations that a Tenant calls.
var usual = []string{"setContext", "getEvents", "createVirtualVolume", "bindVirtualVolume", "prepareToSnapshotVirtualVolume", "snapshotVirtualVolume",
	"unbindVirtualVolume", "deleteVirtualVolume"}

// operation draws op= of a rule of layer vasa, and, for the action that is a fault, one that an
// operation declares.
func operation(r *rand.Rand, action string) (op, args string) {
	all := wire.Operations()
	o := all[r.IntN(len(all))]
	if r.IntN(2) == 0 {
		o = wire.Lookup(pick(r, usual...))
	}
	if action == "fault" {
		args = " " + pick(r, append(o.Faults, "InactiveProvider")...)
	}
	if r.IntN(3) == 0 {
		op = " op=" + o.Name
	}
	return op, args
}

// when draws how often a rule breaks something, at what times, and which rule starts it.
func when(r *rand.Rand, n Names, before string) string {
	all := ""
	if r.IntN(3) == 0 {
		all = pick(r, "", " after=2") + pick(r, "", " count=1", " count=3") + pick(r, "", " every=2") + pick(r, "", fmt.Sprintf(" p=0.5 seed=%d", r.IntN(1000)))
	}
	all += pick(r, "", "", "", "", " for=20ms", " from=5ms for=50ms", " for=30ms each=100ms", " from=1ms") + pick(r, "", "", fmt.Sprintf(" name=r%d", r.Uint32()))
	if before != "" {
		all += pick(r, "", "", "", " on="+before)
	}
	if n.Keep {
		all += pick(r, "", "", " keep")
	}
	return all
}
