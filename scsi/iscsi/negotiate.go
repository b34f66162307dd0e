package iscsi

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"vvsim/scsi/iscsi/pdu"
)

// parameters are the negotiated values of one session (RFC 7143 13).
type parameters struct {
	headerDigest, dataDigest bool
	initialR2T               bool
	immediateData            bool
	maxSend                  int // initiator's MaxRecvDataSegmentLength: bounds what the target sends
	maxBurst, firstBurst     int
	maxR2T                   int
}

func defaultParameters() parameters {
	return parameters{initialR2T: true, immediateData: true, maxSend: 8192, maxBurst: 262144, firstBurst: 65536, maxR2T: 1}
}

// answer values that are not results.
const (
	valueReject        = "Reject"
	valueNotUnderstood = "NotUnderstood"
	valueIrrelevant    = "Irrelevant"
)

// errProtocol ends a login with "initiator error".
var errProtocol = errors.New("protocol error")

// negotiable is one row of the key table: how an offer becomes a result.
type negotiable struct {
	key       string
	leading   bool // irrelevant in a discovery session
	negotiate func(p *parameters, offer string) (answer string, err error)
}

// negotiables are the operational keys of RFC 7143 13; keys that only declare
// answer "" (nothing is sent).
var negotiables = []negotiable{
	{"HeaderDigest", false, func(p *parameters, v string) (string, error) { return choose(v, &p.headerDigest) }},
	{"DataDigest", false, func(p *parameters, v string) (string, error) { return choose(v, &p.dataDigest) }},
	{"MaxRecvDataSegmentLength", false, func(p *parameters, v string) (string, error) {
		n, ok := number(v, 512, 1<<24-1)
		if !ok {
			return valueReject, nil
		}
		p.maxSend = n
		return "", nil
	}},
	{"InitialR2T", true, func(p *parameters, v string) (string, error) {
		return boolean(v, &p.initialR2T, func(offer bool) bool { return offer }) // OR with the target's No
	}},
	{"ImmediateData", true, func(p *parameters, v string) (string, error) {
		return boolean(v, &p.immediateData, func(offer bool) bool { return offer }) // AND with the target's Yes
	}},
	{"MaxBurstLength", true, func(p *parameters, v string) (string, error) { return least(v, 512, 1<<24-1, maxBurst, &p.maxBurst) }},
	{"FirstBurstLength", true, func(p *parameters, v string) (string, error) {
		return least(v, 512, 1<<24-1, maxFirstBurst, &p.firstBurst)
	}},
	{"MaxOutstandingR2T", true, func(p *parameters, v string) (string, error) { return least(v, 1, 65535, maxOutstandingR2T, &p.maxR2T) }},
	{"MaxConnections", true, func(p *parameters, v string) (string, error) { return least(v, 1, 65535, 1, new(int)) }},
	{"ErrorRecoveryLevel", false, func(p *parameters, v string) (string, error) { return least(v, 0, 2, 0, new(int)) }},
	{"DefaultTime2Wait", false, func(p *parameters, v string) (string, error) {
		n, ok := number(v, 0, 3600)
		if !ok {
			return valueReject, nil
		}
		return strconv.Itoa(max(n, 2)), nil // the larger one (RFC 7143 13.15)
	}},
	{"DefaultTime2Retain", false, func(p *parameters, v string) (string, error) { return least(v, 0, 3600, 0, new(int)) }},
	{"DataPDUInOrder", true, func(p *parameters, v string) (string, error) {
		return boolean(v, new(bool), func(bool) bool { return true }) // OR with the target's Yes
	}},
	{"DataSequenceInOrder", true, func(p *parameters, v string) (string, error) {
		return boolean(v, new(bool), func(bool) bool { return true })
	}},
	{"TaskReporting", true, func(p *parameters, v string) (string, error) {
		if slices.Contains(strings.Split(v, ","), "RFC3720") {
			return "RFC3720", nil
		}
		return valueReject, nil
	}},
	{"iSCSIProtocolLevel", false, func(p *parameters, v string) (string, error) { return least(v, 0, 31, 1, new(int)) }},
	{"IFMarker", false, func(p *parameters, v string) (string, error) { return "No", nil }},
	{"OFMarker", false, func(p *parameters, v string) (string, error) { return "No", nil }},
	{"IFMarkInt", false, func(*parameters, string) (string, error) { return valueIrrelevant, nil }},
	{"OFMarkInt", false, func(*parameters, string) (string, error) { return valueIrrelevant, nil }},
}

// targetOnly are keys that only a target may send (RFC 7143 13).
var targetOnly = []string{"TargetAddress", "TargetPortalGroupTag"}

// declared are keys the login consumes by itself; they need no answer.
var declared = []string{"InitiatorName", "InitiatorAlias", "TargetName", "SessionType"}

// negotiate applies the operational keys of one request and returns the answers.
func (p *parameters) negotiate(keys pdu.Keys, discovery bool, done map[string]bool) (answers pdu.Keys, err error) {
	for _, k := range keys {
		if slices.Contains(declared, k.Key) || k.Key == "AuthMethod" || strings.HasPrefix(k.Key, "CHAP_") {
			continue
		}
		if slices.Contains(targetOnly, k.Key) {
			return nil, fmt.Errorf("%w: %s from an initiator", errProtocol, k.Key)
		}
		i := slices.IndexFunc(negotiables, func(n negotiable) bool { return n.key == k.Key })
		switch {
		case i < 0:
			answers.Add(k.Key, valueNotUnderstood)
			continue
		case done[k.Key]:
			// RFC 7143 6.3: a key is negotiated once per negotiation.
			return nil, fmt.Errorf("%w: %s negotiated twice", errProtocol, k.Key)
		case k.Value == valueReject || k.Value == valueNotUnderstood || k.Value == valueIrrelevant:
			continue
		}
		done[k.Key] = true
		n := negotiables[i]
		if discovery && n.leading {
			answers.Add(k.Key, valueIrrelevant)
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
	if p.firstBurst > p.maxBurst {
		p.firstBurst = p.maxBurst
		for i := range answers {
			if answers[i].Key == "FirstBurstLength" && answers[i].Value != valueReject && answers[i].Value != valueIrrelevant {
				answers[i].Value = strconv.Itoa(p.firstBurst)
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
	return valueReject, nil
}

func boolean(v string, at *bool, result func(offer bool) bool) (string, error) {
	if v != "Yes" && v != "No" {
		return valueReject, nil
	}
	*at = result(v == "Yes")
	if *at {
		return "Yes", nil
	}
	return "No", nil
}

// least negotiates the smaller of both sides' numbers.
func least(v string, low, high, own int, at *int) (string, error) {
	n, ok := number(v, low, high)
	if !ok {
		return valueReject, nil
	}
	*at = min(n, own)
	return strconv.Itoa(*at), nil
}

// number reads a decimal or hex constant (RFC 7143 6.1).
func number(v string, low, high int) (int, bool) {
	base := 10
	if len(v) > 2 && (v[:2] == "0x" || v[:2] == "0X") {
		v, base = v[2:], 16
	}
	n, err := strconv.ParseUint(v, base, 32)
	if err != nil {
		return 0, false
	}
	return int(n), int(n) >= low && int(n) <= high
}
