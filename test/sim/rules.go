package sim

import (
	"fmt"
	"math/rand/v2"

	"vvsim/fault"
)

// pick draws one of a list.
func pick(r *rand.Rand, list ...string) string { return list[r.IntN(len(list))] }

// anyRule draws a rule of any layer that hosts meet, about one of the volumes that have these
// names or about all. It does not lie about data.
func anyRule(r *rand.Rand, names ...string) string {
	for {
		rule := draw(r, names[r.IntN(len(names))])
		if _, err := fault.Parse(rule); err == nil { // else it asks for what cannot be, such as a full disk on TEST UNIT READY
			return rule
		}
	}
}

// draw draws a rule. The delays of paths are fixed: into how many pieces bytes come is left
// to chance, and each would take a time of its own.
func draw(r *rand.Rand, name string) string {
	switch kind := r.IntN(10); {
	case kind < 6:
		return "lu" + unitRule(r, name)
	case kind < 8:
		return "path" + anyPortal(r) + anyHost(r) + when(r) + " -> " + pick(r, "down", "stall", "stall in", "stall out", "reset", "reset 17s", "delay 130ms", "rate 64KiB/s")
	case kind < 9:
		return "login" + anyHost(r) + when(r) + " -> reject " + pick(r, "0x0202", "0x0203", "0x0204", "0x0300", "0x0301", "0x0302")
	}
	return "engine" + pick(r, "", " vvol="+name) + pick(r, "", " op=read", " op=write", " op=flush") + when(r) + " -> " +
		pick(r, "medium-error", "no-space", "delay 7ms..90ms", "delay 11s")
}

// unitRule draws conditions and action of a rule of layer lu.
func unitRule(r *rand.Rand, name string) string {
	where := pick(r, "", "", " vvol="+name, " vvol="+name, " vvol="+name, " pe=pe0") + anyHost(r) + anyPortal(r)
	action := pick(r, "pdl", "apd", "apd drop", "hang", "delay 310ms", "delay 1s..23s", "busy", "task-set-full", "reservation-conflict",
		"drop-response", "no-space", "unavailable", "alua standby", "alua transitioning", "alua active-nonoptimized",
		"sense 04/3E/01", "sense 04/44/00", "sense 03/11/00", "sense 02/04/03", "sense 0B/44/00")
	switch r.IntN(8) {
	case 0:
		return where + when(r) + " -> attention " + pick(r, "29/00", "3F/0E", "2A/09", "2A/06", "38/07")
	case 1, 2, 3:
		return " vvol=" + name + anyHost(r) + anyPortal(r) + pick(r, " op=read", " op=write", " op=0x89") + counters(r) + " -> " + action
	}
	return where + pick(r, "", "", " op=read", " op=write", " op=media", " op=0x89", " op=0x00") + when(r) + " -> " + action
}

func anyHost(r *rand.Rand) string {
	return pick(r, "", "", " host="+hostName(0), " host="+hostName(1))
}

func anyPortal(r *rand.Rand) string { return pick(r, "", "", " portal=1", " portal=2") }

// when draws when a rule breaks something: all the time that it is in force, or now and then.
func when(r *rand.Rand) string {
	if r.IntN(2) == 0 {
		return times(r)
	}
	return counters(r)
}

// counters draws how often, and when.
func counters(r *rand.Rand) string {
	return pick(r, "", "", " after=2") + pick(r, "", "", " count=3", " count=1") + pick(r, "", "", " every=2") +
		pick(r, "", "", fmt.Sprintf(" p=0.3 seed=%d", r.IntN(1000))) + times(r)
}

// times draws when a rule is in force. It begins and ends at times of its own: those of hosts
// are whole seconds apart, and of two things at one instant none comes first.
func times(r *rand.Rand) string {
	d := 1000 + r.IntN(300_000)
	return pick(r, "", " from=10007ms") + pick(r, "", fmt.Sprintf(" for=%dms", d), fmt.Sprintf(" for=%dms each=%dms", d, 2*d+1))
}
