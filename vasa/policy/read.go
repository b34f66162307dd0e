package policy

import (
	"errors"
	"fmt"

	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// ErrInvalid marks a profile that asks for what does not exist (InvalidProfile).
var ErrInvalid = errors.New("invalid profile")

// maxAlternatives bounds the rule sets of a policy.
const maxAlternatives = 32

// Read gives what a profile asks for: alternatives, in their order, one at least. A nil
// profile, and one without rules, asks for nothing and means the container's default.
// levels are those of the container: a candidate profile that is one of them chooses it.
// Errors: ErrInvalid.
func Read(profile wire.AnyProfile, k vvol.StorageContainer) ([]vvol.PolicySpec, error) {
	if profile == nil {
		return []vvol.PolicySpec{{}}, nil
	}
	base := profile.Base()
	who := vvol.Policy{ProfileID: base.ProfileID, Generation: base.GenerationID, Name: base.Name}
	if base.ProfileID == "" {
		return nil, fmt.Errorf("%w: its id is empty", ErrInvalid)
	}
	if err := who.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if base.Constraints == nil || len(base.Constraints.SubProfiles) == 0 {
		return []vvol.PolicySpec{{Policy: who}}, nil
	}
	if n := len(base.Constraints.SubProfiles); n > maxAlternatives {
		return nil, fmt.Errorf("%w: %d rule sets, at most %d", ErrInvalid, n, maxAlternatives)
	}
	var list []vvol.PolicySpec
	for _, sub := range base.Constraints.SubProfiles {
		spec := vvol.PolicySpec{Policy: who}
		if err := readRules(&spec, sub.Base()); err != nil {
			return nil, fmt.Errorf("%w: rule set %q: %w", ErrInvalid, sub.Base().Name, err)
		}
		list = append(list, withCandidates(spec, sub, k)...)
	}
	return list, nil
}

func readRules(spec *vvol.PolicySpec, sub *wire.SubProfile) error {
	for _, rule := range sub.Capability {
		if rule.CapabilityID.ID == "" || rule.CapabilityID.Namespace == "" {
			return errors.New("the id or namespace of a capability is empty")
		}
		c, known, ours := find(rule.CapabilityID)
		switch {
		case !ours:
			continue // an IO filter's, or another provider's
		case !known:
			return fmt.Errorf("capability %q does not exist", rule.CapabilityID.ID)
		case len(rule.Constraint) != 1 || len(rule.Constraint[0].PropertyInstance) != 1:
			return fmt.Errorf("capability %q has more than one value", c.id)
		}
		property := rule.Constraint[0].PropertyInstance[0]
		if property.ID != c.id {
			return fmt.Errorf("capability %q has no property %q", c.id, property.ID)
		}
		if err := c.ask(spec, property.Value); err != nil {
			return fmt.Errorf("capability %q: %w", c.id, err)
		}
	}
	return nil
}

// find looks a capability up; ours tells whether its namespace is one that we judge.
func find(id wire.CapabilityId) (c capability, known, ours bool) {
	for _, c := range capabilities() {
		if c.id == id.ID && c.namespace == id.Namespace {
			return c, true, true
		}
	}
	return c, false, id.Namespace == Namespace
}

// withCandidates adds the capability profiles that a rule set names as candidates: each
// service level of the container among them is an alternative.
func withCandidates(spec vvol.PolicySpec, sub wire.AnySubProfile, k vvol.StorageContainer) (list []vvol.PolicySpec) {
	with, ok := sub.(*wire.SubProfileWithCandidates)
	if ok && spec.ServiceLevel == "" {
		for _, id := range with.CandidateCapabilityProfiles {
			for _, l := range k.ServiceLevels {
				if ProfileID(k.ID, l.Name) == id {
					candidate := spec
					candidate.ServiceLevel = l.Name
					list = append(list, candidate)
				}
			}
		}
	}
	if len(list) == 0 {
		list = append(list, spec)
	}
	return list
}
