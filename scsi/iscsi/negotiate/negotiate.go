package negotiate

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"vvsim/scsi/iscsi/pdu"
)

// Parameters are the negotiated values of one session (RFC 7143 13).
type Parameters struct {
	HeaderDigest, DataDigest bool
	InitialR2T               bool
	ImmediateData            bool
	MaxSend                  int // initiator's MaxRecvDataSegmentLength: bounds what the target sends
	MaxBurst, FirstBurst     int
	MaxR2T                   int
}

// Default is what holds where nothing is negotiated.
func Default() Parameters {
	return Parameters{InitialR2T: true, ImmediateData: true, MaxSend: 8192, MaxBurst: 262144, FirstBurst: 65536, MaxR2T: 1}
}

// What the target offers at most.
const (
	maxBurst          = 1 << 20
	maxFirstBurst     = 256 << 10
	maxOutstandingR2T = 8
)

// SegmentLength reads a MaxRecvDataSegmentLength (RFC 7143 13.12).
func SegmentLength(v string) (n int, ok bool) { return Number(v, minDataSegment, maxDataSegment) }

// Range of the keys that count bytes (RFC 7143 13.12-13.14).
const (
	minDataSegment = 512
	maxDataSegment = 1<<24 - 1
)

// Answers that are not results (RFC 7143 6.2).
const (
	Reject        = "Reject"
	NotUnderstood = "NotUnderstood"
	Irrelevant    = "Irrelevant"
)

// ErrProtocol is a key that an initiator may not send, or not again.
var ErrProtocol = errors.New("protocol error")

// negotiable is one row of the key table: how an offer becomes a result.
type negotiable struct {
	key       string
	leading   bool // irrelevant in a discovery session
	negotiate func(p *Parameters, offer string) (answer string, err error)
}

// negotiables are the operational keys of RFC 7143 13; keys that only declare
// answer "" (nothing is sent).
var negotiables = []negotiable{
	{"HeaderDigest", false, func(p *Parameters, v string) (string, error) { return choose(v, &p.HeaderDigest) }},
	{"DataDigest", false, func(p *Parameters, v string) (string, error) { return choose(v, &p.DataDigest) }},
	{"MaxRecvDataSegmentLength", false, func(p *Parameters, v string) (string, error) {
		n, ok := SegmentLength(v)
		if !ok {
			return Reject, nil
		}
		p.MaxSend = n
		return "", nil
	}},
	{"InitialR2T", true, func(p *Parameters, v string) (string, error) {
		return boolean(v, &p.InitialR2T, func(offer bool) bool { return offer }) // OR with the target's No
	}},
	{"ImmediateData", true, func(p *Parameters, v string) (string, error) {
		return boolean(v, &p.ImmediateData, func(offer bool) bool { return offer }) // AND with the target's Yes
	}},
	{"MaxBurstLength", true, func(p *Parameters, v string) (string, error) {
		return least(v, minDataSegment, maxDataSegment, maxBurst, &p.MaxBurst)
	}},
	{"FirstBurstLength", true, func(p *Parameters, v string) (string, error) {
		return least(v, minDataSegment, maxDataSegment, maxFirstBurst, &p.FirstBurst)
	}},
	{"MaxOutstandingR2T", true, func(p *Parameters, v string) (string, error) { return least(v, 1, 65535, maxOutstandingR2T, &p.MaxR2T) }},
	{"MaxConnections", true, func(p *Parameters, v string) (string, error) { return least(v, 1, 65535, 1, new(int)) }},
	{"ErrorRecoveryLevel", false, func(p *Parameters, v string) (string, error) { return least(v, 0, 2, 0, new(int)) }},
	{"DefaultTime2Wait", false, func(p *Parameters, v string) (string, error) {
		n, ok := Number(v, 0, 3600)
		if !ok {
			return Reject, nil
		}
		return strconv.Itoa(max(n, 2)), nil // the larger one (RFC 7143 13.15)
	}},
	{"DefaultTime2Retain", false, func(p *Parameters, v string) (string, error) { return least(v, 0, 3600, 0, new(int)) }},
	{"DataPDUInOrder", true, func(p *Parameters, v string) (string, error) {
		return boolean(v, new(bool), func(bool) bool { return true }) // OR with the target's Yes
	}},
	{"DataSequenceInOrder", true, func(p *Parameters, v string) (string, error) {
		return boolean(v, new(bool), func(bool) bool { return true })
	}},
	{"TaskReporting", true, func(p *Parameters, v string) (string, error) {
		if slices.Contains(strings.Split(v, ","), "RFC3720") {
			return "RFC3720", nil
		}
		return Reject, nil
	}},
	{"iSCSIProtocolLevel", false, func(p *Parameters, v string) (string, error) { return least(v, 0, 31, 1, new(int)) }},
	{"IFMarker", false, func(p *Parameters, v string) (string, error) { return "No", nil }},
	{"OFMarker", false, func(p *Parameters, v string) (string, error) { return "No", nil }},
	{"IFMarkInt", false, func(*Parameters, string) (string, error) { return Irrelevant, nil }},
	{"OFMarkInt", false, func(*Parameters, string) (string, error) { return Irrelevant, nil }},
}

// TargetOnly tells whether only a target may send a key (RFC 7143 13).
func TargetOnly(key string) bool { return slices.Contains(targetOnly, key) }

// Declared tells whether the login consumes a key by itself; such keys need no answer.
func Declared(key string) bool { return slices.Contains(declared, key) }

var (
	targetOnly = []string{"TargetAddress", "TargetAlias", "TargetPortalGroupTag"}
	declared   = []string{"InitiatorName", "InitiatorAlias", "TargetName", "SessionType"}
)

// Operational tells whether a key belongs to the operational stage.
func Operational(key string) bool { return row(key) >= 0 }

// row finds the row of an operational key, -1 of any other.
func row(key string) int {
	return slices.IndexFunc(negotiables, func(n negotiable) bool { return n.key == key })
}

// Security tells whether a key belongs to the authentication (RFC 7143 12).
func Security(key string) bool { return key == "AuthMethod" || strings.HasPrefix(key, "CHAP_") }

// Negotiate applies the operational keys of one request and returns the answers.
// done holds what was negotiated by earlier requests, and is added to.
func (p *Parameters) Negotiate(keys pdu.Keys, discovery bool, done map[string]bool) (answers pdu.Keys, err error) {
	for _, k := range keys {
		if Declared(k.Key) || Security(k.Key) {
			continue
		}
		if TargetOnly(k.Key) {
			return nil, fmt.Errorf("%w: %s from an initiator", ErrProtocol, k.Key)
		}
		i := row(k.Key)
		switch {
		case k.Key == "SendTargets": // full feature phase only (RFC 7143 appendix C)
			answers.Add(k.Key, Reject)
			continue
		case i < 0:
			answers.Add(k.Key, NotUnderstood)
			continue
		case done[k.Key]:
			// RFC 7143 6.3: a key is negotiated once per negotiation.
			return nil, fmt.Errorf("%w: %s negotiated twice", ErrProtocol, k.Key)
		case k.Value == Reject || k.Value == NotUnderstood || k.Value == Irrelevant:
			continue
		}
		done[k.Key] = true
		n := negotiables[i]
		if discovery && n.leading {
			answers.Add(k.Key, Irrelevant)
			continue
		}
		answer, err := n.negotiate(p, k.Value)
		if err != nil {
			return nil, err
		}
		if answer != "" {
			answers.Add(k.Key, answer)
		}
	}
	// RFC 7143 13.14: FirstBurstLength must not exceed MaxBurstLength.
	if p.FirstBurst > p.MaxBurst {
		p.FirstBurst = p.MaxBurst
		for i := range answers {
			if answers[i].Key == "FirstBurstLength" && answers[i].Value != Reject && answers[i].Value != Irrelevant {
				answers[i].Value = strconv.Itoa(p.FirstBurst)
			}
		}
	}
	return answers, nil
}

// choose picks the first digest of the offered list that the target knows.
func choose(list string, on *bool) (string, error) {
	for _, v := range strings.Split(list, ",") {
		switch v {
		case "CRC32C":
			*on = true
			return v, nil
		case "None":
			*on = false
			return v, nil
		}
	}
	return Reject, nil
}

func boolean(v string, at *bool, result func(offer bool) bool) (string, error) {
	if v != "Yes" && v != "No" {
		return Reject, nil
	}
	*at = result(v == "Yes")
	if *at {
		return "Yes", nil
	}
	return "No", nil
}

// least negotiates the smaller of both sides' numbers.
func least(v string, low, high, own int, at *int) (string, error) {
	n, ok := Number(v, low, high)
	if !ok {
		return Reject, nil
	}
	*at = min(n, own)
	return strconv.Itoa(*at), nil
}

// Number reads a decimal or hex constant (RFC 7143 6.1);
// ok is false for anything else or beyond the limits.
func Number(v string, low, high int) (n int, ok bool) {
	base := 10
	if len(v) > 2 && (v[:2] == "0x" || v[:2] == "0X") {
		v, base = v[2:], 16
	}
	u, err := strconv.ParseUint(v, base, 32)
	if err != nil {
		return 0, false
	}
	return int(u), int(u) >= low && int(u) <= high
}
