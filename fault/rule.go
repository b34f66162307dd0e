package fault

import (
	"time"

	"vvsim/fault/command"
	"vvsim/fault/schedule"
	"vvsim/scsi"
)

// layer is the place where a rule acts: the first word of its text.
type layer uint8

const (
	unitLayer layer = 1 << iota
	engineLayer
	providerLayer
	loginLayer
	pathLayer
)

// layers in the order in which they are named.
var layers = []struct {
	name  string
	layer layer
}{{"lu", unitLayer}, {"path", pathLayer}, {"login", loginLayer}, {"vasa", providerLayer}, {"engine", engineLayer}}

func (l layer) String() string {
	for _, x := range layers {
		if x.layer == l {
			return x.name
		}
	}
	return "?"
}

// Rule says which events fail and how. It does not change; Parse makes it.
type Rule struct {
	text  string
	layer layer

	vvol      string // id or name; "" for all
	container string // id or name
	host      string // iSCSI initiator name
	endpoint  string // name or id of a protocol endpoint
	portal    uint16 // 0 for all
	session   uint64 // 0 for all
	op        command.Operation
	blocks    *command.Extent

	after, count, every uint64
	p                   float64
	seed                uint64
	schedule.Times
	name, on string // of the rule, and of that whose firing starts it
	keep     bool

	action action
}

// String is the text that Parse read (contract.md 5: parsing then printing gives the same line).
func (r *Rule) String() string { return r.text }

// Keep tells whether the rule asks to survive a restart.
func (r *Rule) Keep() bool { return r.keep }

// kind of an action.
type kind uint8

const (
	pdl kind = iota + 1
	senseAnswer
	busy
	taskSetFull
	reservationConflict
	delay
	hang
	apd
	dropResponse
	corrupt
	torn
	alua
	noSpace
	mediumError
	namedFault
	drop
	reject
	attention
	reservationLost
	miscompare
	down
	stall
	reset
	rate
	certificate
	dropSession
	loseEvents
	eventStorm
	redirect
	logout
	dropConnection
	lateAnswer
	duplicate
	short
	residual
	digest
)

// action is what happens to an event.
type action struct {
	kind     kind
	sense    scsi.SenseData // of pdl, senseAnswer, attention and alua
	state    byte           // of alua: asymmetric access state
	min, max time.Duration  // of delay, reset, late and logout
	n        int            // of corrupt, torn, short and residual: bytes; of eventStorm: events
	one      bool           // corrupt: the byte n only
	silent   bool           // torn: answer GOOD
	forget   bool           // apd: never answer
	released bool           // reservationLost: registrations stay
	fault    string         // of namedFault; the flaw of certificate
	status   uint16         // of reject and redirect
	address  string         // of redirect
	over     bool           // residual: an overflow
	header   bool           // digest: of the header
	rate     int64          // of rate: bytes a second
	inward   bool           // stall: only what comes from the initiator
	outward  bool           // stall: only what goes to it
}
