package initiator

import (
	"context"
	"strconv"
	"strings"

	"vvsim/scsi/iscsi/pdu"
)

// Discover asks a portal for its targets in a discovery session (SendTargets=All,
// RFC 7143 appendix C).
func Discover(ctx context.Context, o Options) ([]Target, error) {
	o.Discovery = true
	s, err := Dial(ctx, o)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	targets, err := s.SendTargets(ctx, "All")
	if err != nil {
		return nil, err
	}
	return targets, s.Logout(ctx)
}

// SendTargets asks for targets: "All" in a discovery session, a name, or nothing
// for the session's own target.
func (s *Session) SendTargets(ctx context.Context, which string) ([]Target, error) {
	keys, err := s.Text(ctx, pdu.Keys{{Key: "SendTargets", Value: which}})
	if err != nil {
		return nil, err
	}
	return parseTargets(keys)
}

// parseTargets reads TargetName keys, each followed by its TargetAddress keys.
func parseTargets(keys pdu.Keys) (targets []Target, err error) {
	for _, k := range keys {
		switch {
		case k.Key == "TargetName":
			targets = append(targets, Target{Name: k.Value})
		case k.Key != "TargetAddress":
			return nil, protocol("%s in the answer to SendTargets", k.Key)
		case len(targets) == 0:
			return nil, protocol("TargetAddress before any TargetName")
		default:
			i := strings.LastIndexByte(k.Value, ',')
			if i < 0 {
				return nil, protocol("TargetAddress=%s without a portal group", k.Value)
			}
			group, err := strconv.ParseUint(k.Value[i+1:], 0, 16)
			if err != nil {
				return nil, protocol("TargetAddress=%s", k.Value)
			}
			t := &targets[len(targets)-1]
			t.Portals = append(t.Portals, Portal{Address: k.Value[:i], Group: uint16(group)})
		}
	}
	return targets, nil
}
