package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/wire"
	"vvsim/vvol"
)

var lab = vvol.StorageContainer{ID: vvol.ContainerID{1}, Name: "k", Created: time.Unix(0, 0), ServiceLevels: []vvol.ServiceLevel{
	{Name: "gold", Thin: true, MaxIOPS: 500, Durability: vvol.DurabilitySync, WarnPercentUsed: 80}, {Name: "plain", SnapshotLimit: 3, MaxBytesPerSec: 10 * mib}}}

// rule is a capability with a value, in our namespace if none is given.
func rule(id string, value any) wire.CapabilityInstance {
	namespace := Namespace
	if n, rest, ok := strings.Cut(id, "/"); ok {
		namespace, id = n, rest
	}
	return wire.CapabilityInstance{CapabilityID: wire.CapabilityId{ID: id, Namespace: namespace},
		Constraint: []wire.ConstraintInstance{{PropertyInstance: []wire.PropertyInstance{{ID: id, Value: value}}}}}
}

func profile(sets ...wire.AnySubProfile) *wire.StorageProfile {
	return &wire.StorageProfile{ProfileID: "p", GenerationID: 2, Name: "n", Constraints: &wire.CapabilityConstraints{SubProfiles: sets}}
}

func set(rules ...wire.CapabilityInstance) *wire.SubProfile {
	return &wire.SubProfile{Name: "set", Capability: rules}
}

// noRequirements is vSphere's built-in "VVol No Requirements Policy" (vasa.md 7.2).
const noRequirements = "f4e5bade-15a2-4805-bf8e-52318c4ce443"

func TestRead(t *testing.T) {
	who := vvol.Policy{ProfileID: "p", Generation: 2, Name: "n"}
	for name, x := range map[string]struct {
		profile wire.AnyProfile
		want    []vvol.PolicySpec
	}{
		"nothing":   {nil, []vvol.PolicySpec{{}}},
		"no rules":  {profile(), []vvol.PolicySpec{{Policy: who}}},
		"nil rules": {&wire.StorageProfile{ProfileID: noRequirements}, []vvol.PolicySpec{{Policy: vvol.Policy{ProfileID: noRequirements}}}},
		"each value": {profile(set(rule("serviceLevel", "gold"), rule("maxIops", int64(7)), rule("maxMBps", int32(2)), rule("snapshotLimit", "3"), rule("durability", "sync"), rule("spaceWarning", int64(70)), rule(stdNamespace+"/spaceEfficiency", &wire.DiscreteSet{Values: []any{"Thick"}}))),
			[]vvol.PolicySpec{{ServiceLevel: "gold", Policy: who, Quality: vvol.QualitySpec{MaxIOPS: new(uint64(7)), MaxBytesPerSec: new(uint64(2 * mib)), SnapshotLimit: new(3),
				Durability: new("sync"), Thick: new(true), WarnPercentUsed: new(70)}}}},
		"a range, and others' namespaces": {profile(set(rule("maxIops", &wire.Range{Min: int64(1), Max: int64(9)}), rule("IOFILTERS/vmwarevmcrypt@ENCRYPTION", "x"), rule(stdNamespace+"/other", "x"))),
			[]vvol.PolicySpec{{Policy: who, Quality: vvol.QualitySpec{MaxIOPS: new(uint64(9))}}}},
		"alternatives": {profile(set(rule("maxIops", int64(1))), set(rule("maxIops", int64(2)))),
			[]vvol.PolicySpec{{Policy: who, Quality: vvol.QualitySpec{MaxIOPS: new(uint64(1))}}, {Policy: who, Quality: vvol.QualitySpec{MaxIOPS: new(uint64(2))}}}},
		"candidates": {profile(&wire.SubProfileWithCandidates{SubProfile: *set(rule("maxIops", int64(1))), CandidateCapabilityProfiles: []string{"another", ProfileID(lab.ID, "plain")}}),
			[]vvol.PolicySpec{{ServiceLevel: "plain", Policy: who, Quality: vvol.QualitySpec{MaxIOPS: new(uint64(1))}}}},
		"foreign candidates": {profile(&wire.SubProfileWithCandidates{SubProfile: *set(rule("maxIops", int64(1))), CandidateCapabilityProfiles: []string{"another"}}),
			[]vvol.PolicySpec{{Policy: who, Quality: vvol.QualitySpec{MaxIOPS: new(uint64(1))}}}},
	} {
		got, err := Read(x.profile, lab)
		require.NoError(t, err, name)
		require.Equal(t, x.want, got, name)
	}
}

func TestReadRefuses(t *testing.T) {
	two := rule("maxIops", int64(1))
	two.Constraint = append(two.Constraint, two.Constraint...)
	other := rule("maxIops", int64(1))
	other.Constraint[0].PropertyInstance[0].ID = "minIops"
	nameless := rule("maxIops", int64(1))
	nameless.CapabilityID.Namespace = ""
	var many []wire.AnySubProfile
	for range maxAlternatives + 1 {
		many = append(many, set(rule("maxIops", int64(1))))
	}
	for name, p := range map[string]*wire.StorageProfile{
		"no id": {}, "long id": {ProfileID: strings.Repeat("x", 300)}, "no capability": profile(set(rule("", int64(1)))), "no namespace": profile(set(nameless)),
		"unknown": profile(set(rule("speed", int64(1)))), "two values": profile(set(two)), "other property": profile(set(other)), "too many sets": profile(many...),
		"zero": profile(set(rule("maxIops", int64(0)))), "negative": profile(set(rule("maxIops", int64(-1)))), "huge": profile(set(rule("maxIops", int64(maxIOPS+1)))), "full": profile(set(rule("spaceWarning", int64(vvol.FullPercent)))),
		"text": profile(set(rule("maxIops", "many"))), "time": profile(set(rule("maxIops", time.Time{}))), "empty text": profile(set(rule("serviceLevel", ""))),
		"no durability": profile(set(rule("durability", "never"))), "both": profile(set(rule(stdNamespace+"/spaceEfficiency", &wire.DiscreteSet{Values: []any{thin, thick}}))),
		"neither": profile(set(rule(stdNamespace+"/spaceEfficiency", "Lazy"))), "number": profile(set(rule("durability", int64(1)))),
	} {
		_, err := Read(p, lab)
		require.ErrorIs(t, err, ErrInvalid, name)
	}
}

// TestProfilesCanBeHad: what a level offers is within what a policy may ask for, and asks
// for nothing that the level refuses.
func TestProfilesCanBeHad(t *testing.T) {
	for _, l := range lab.ServiceLevels {
		p := Profile(lab, l)
		require.Equal(t, ProfileID(lab.ID, l.Name), p.ProfileID)
		sub := p.Constraints.SubProfiles[0].Base()
		var single []wire.CapabilityInstance
		for _, c := range sub.Capability {
			if v, ok := c.Constraint[0].PropertyInstance[0].Value.(*wire.DiscreteSet); ok && len(v.Values) > 1 {
				continue // of several values a policy names one
			}
			single = append(single, c)
		}
		specs, err := Read(profile(set(single...)), lab)
		require.NoError(t, err)
		q := specs[0].Quality.Over(l.Default())
		require.Empty(t, l.Refuses(q), "%+v", q)
		require.Equal(t, l.Name, specs[0].ServiceLevel)
	}
	require.NotEqual(t, ProfileID(vvol.ContainerID{1}, "x"), ProfileID(vvol.ContainerID{2}, "x"))
}

// TestSchema describes each of our capabilities with a type and with texts of the catalog.
func TestSchema(t *testing.T) {
	keys, n := Keys(), 0
	for _, category := range Schema("1").CapabilityMetadataPerCategory {
		for _, m := range category.CapabilityMetadata {
			n++
			require.NotEmpty(t, m.PropertyMetadata[0].Type.Base().TypeName, "registration goes wrong without it")
			require.Contains(t, keys, m.Summary.MessageCatalogKeyPrefix+".label")
			require.Contains(t, keys, m.Summary.MessageCatalogKeyPrefix+".summary")
		}
	}
	require.Equal(t, len(capabilities())-1, n, "all but vSphere's own")
}

// TestViolations: each way in which the domain tells a violation is told by a capability.
func TestViolations(t *testing.T) {
	strict := vvol.ServiceLevel{Name: "l", Thin: true, MaxIOPS: 1, MaxBytesPerSec: mib, SnapshotLimit: 1, Durability: vvol.DurabilitySync, WarnPercentUsed: 1}
	all := strict.Refuses(vvol.Quality{Thick: true, WarnPercentUsed: 2, Durability: vvol.DurabilityFlush})
	require.NotEmpty(t, all)
	for _, v := range all {
		all = append(all, vvol.Violation{What: "in force: " + v.What})
	}
	for _, what := range []string{"serviceLevel", "reservedBytes", "snapshots"} {
		all = append(all, vvol.Violation{What: what})
	}
	for _, v := range all {
		require.Len(t, Violated([]vvol.Violation{v}), 1, v.What)
	}
	v := vvol.VirtualVolume{ID: vvol.ID{1}, ServiceLevel: "l", Quality: vvol.Quality{Durability: vvol.DurabilityFlush}}
	r := Result(v, vvol.Compliance{Policy: vvol.Policy{ProfileID: "p"}, Violations: all[:1]}, time.Unix(0, 0))
	require.Equal(t, wire.ComplianceStatusNonCompliant, r.ComplianceStatus)
	require.Equal(t, "p", *r.ProfileID)
}
