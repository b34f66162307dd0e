package policy

import (
	"fmt"
	"strconv"

	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// Namespaces of capabilities.
const (
	Namespace    = "dev.vvsim"                     // ours
	stdNamespace = "com.vmware.storageprofile.std" // vSphere's own (vasa.md 7.2)
)

// Values of spaceEfficiency.
const (
	thin  = "Thin"
	thick = "Thick"
)

// mib is the unit of throughput in a policy, in bytes.
const mib = 1 << 20

// capability is a row of the table.
type capability struct {
	id, namespace, category string
	label, summary          string
	kind                    wire.BuiltinType
	generic                 wire.BuiltinGenericType // "" for a single value
	allowed                 []any
	byDefault               any
	// ask adds a value that a policy has to what is asked.
	ask func(spec *vvol.PolicySpec, value any) error
	// offer is what a level allows; nil: nothing is said.
	offer func(l vvol.ServiceLevel) any
	// violated are the names under which the domain tells a violation of it.
	violated []string
}

// Categories of capabilities.
const (
	performance = "Performance"
	space       = "Space"
	protection  = "Protection"
)

// capabilities is the table, in the order of the schema.
func capabilities() []capability {
	return []capability{
		{id: "serviceLevel", namespace: Namespace, category: performance, label: "Service level", kind: wire.BuiltinTypeString,
			summary:  "Name of a service level that the container offers",
			ask:      func(s *vvol.PolicySpec, v any) (err error) { s.ServiceLevel, err = text(v); return err },
			offer:    func(l vvol.ServiceLevel) any { return l.Name },
			violated: []string{"serviceLevel"}},
		{id: "maxIops", namespace: Namespace, category: performance, label: "IOPS limit", kind: wire.BuiltinTypeLong,
			summary: "Reads and writes per second, at most",
			allowed: []any{upTo(maxIOPS)}, byDefault: int64(maxIOPS),
			ask:      func(s *vvol.PolicySpec, v any) (err error) { s.Quality.MaxIOPS, err = count(v, maxIOPS); return err },
			offer:    func(l vvol.ServiceLevel) any { return upTo(orAll(l.MaxIOPS, maxIOPS)) },
			violated: []string{"maxIops"}},
		{id: "maxMBps", namespace: Namespace, category: performance, label: "Throughput limit", kind: wire.BuiltinTypeLong,
			summary: "MB per second of 1,048,576 bytes, at most",
			allowed: []any{upTo(maxMBps)}, byDefault: int64(maxMBps),
			ask:      askThroughput,
			offer:    func(l vvol.ServiceLevel) any { return upTo(orAll(l.MaxBytesPerSec/mib, maxMBps)) },
			violated: []string{"maxBytesPerSec"}},
		{id: "spaceEfficiency", namespace: stdNamespace, category: space, label: "Space efficiency", kind: wire.BuiltinTypeString, generic: wire.BuiltinGenericTypeSet,
			summary: "Thin: space is taken when it is written. Thick: it is reserved",
			allowed: []any{&wire.DiscreteSet{Values: []any{thin, thick}}}, byDefault: &wire.DiscreteSet{Values: []any{thin}},
			ask:      askSpace,
			offer:    func(l vvol.ServiceLevel) any { return &wire.DiscreteSet{Values: []any{efficiency(!l.Thin)}} },
			violated: []string{"thick", "reservedBytes"}},
		{id: "spaceWarning", namespace: Namespace, category: space, label: "Space warning", kind: wire.BuiltinTypeLong,
			summary: "Percent of the container in use from which it is in alarm, at the latest",
			allowed: []any{upTo(maxWarning)}, byDefault: int64(maxWarning),
			ask:      askWarning,
			offer:    func(l vvol.ServiceLevel) any { return upTo(orAll(uint64(l.WarnPercentUsed), maxWarning)) },
			violated: []string{"warnPercentUsed"}},
		{id: "snapshotLimit", namespace: Namespace, category: protection, label: "Snapshot limit", kind: wire.BuiltinTypeLong,
			summary: "Snapshots of a volume, at most",
			allowed: []any{upTo(maxSnapshots)}, byDefault: int64(maxSnapshots),
			ask:      askSnapshots,
			offer:    func(l vvol.ServiceLevel) any { return upTo(orAll(uint64(l.SnapshotLimit), maxSnapshots)) },
			violated: []string{"snapshotLimit", "snapshots"}},
		{id: "durability", namespace: Namespace, category: protection, label: "Durability", kind: wire.BuiltinTypeString,
			summary: "flush: on stable storage after a flush or FUA. sync: before the status of each write",
			allowed: []any{vvol.DurabilityFlush, vvol.DurabilitySync}, byDefault: vvol.DurabilityFlush,
			ask:      askDurability,
			offer:    offeredDurability,
			violated: []string{"durability"}},
	}
}

// Bounds of what a policy can ask for; the domain's own are as wide or wider.
const (
	maxIOPS      = 10_000_000
	maxMBps      = 1 << 20
	maxSnapshots = 1 << 16
	maxWarning   = vvol.FullPercent - 1 // from there on the alarm is Red whatever is asked
)

func upTo(n int64) *wire.Range { return &wire.Range{Min: int64(1), Max: n} }

// orAll is a limit of a level, or the widest one for none.
func orAll(limit uint64, widest int64) int64 {
	if limit == 0 || limit > uint64(widest) {
		return widest
	}
	return int64(limit)
}

func efficiency(isThick bool) string {
	if isThick {
		return thick
	}
	return thin
}

func offeredDurability(l vvol.ServiceLevel) any {
	if l.Durability == "" {
		return &wire.DiscreteSet{Values: []any{vvol.DurabilityFlush, vvol.DurabilitySync}}
	}
	return l.Durability
}

func askThroughput(s *vvol.PolicySpec, v any) error {
	n, err := count(v, maxMBps)
	if err == nil {
		*n *= mib
		s.Quality.MaxBytesPerSec = n
	}
	return err
}

func askSnapshots(s *vvol.PolicySpec, v any) error {
	n, err := count(v, maxSnapshots)
	if err == nil {
		s.Quality.SnapshotLimit = new(int(*n))
	}
	return err
}

func askWarning(s *vvol.PolicySpec, v any) error {
	n, err := count(v, maxWarning)
	if err == nil {
		s.Quality.WarnPercentUsed = new(int(*n))
	}
	return err
}

func askSpace(s *vvol.PolicySpec, v any) error {
	t, err := text(v)
	if err != nil {
		return err
	}
	if t != thin && t != thick {
		return fmt.Errorf("%q is neither %s nor %s", t, thin, thick)
	}
	s.Quality.Thick = new(t == thick)
	return nil
}

func askDurability(s *vvol.PolicySpec, v any) error {
	t, err := text(v)
	if err != nil {
		return err
	}
	if t != vvol.DurabilityFlush && t != vvol.DurabilitySync {
		return fmt.Errorf("%q is neither %s nor %s", t, vvol.DurabilityFlush, vvol.DurabilitySync)
	}
	s.Quality.Durability = &t
	return nil
}

// single is the value that counts in what a policy has.
func single(v any) (any, error) {
	switch v := v.(type) {
	case *wire.Range:
		return v.Max, nil
	case *wire.DiscreteSet:
		if len(v.Values) != 1 {
			return nil, fmt.Errorf("a set of %d values where one is needed", len(v.Values))
		}
		return v.Values[0], nil
	}
	return v, nil
}

func text(v any) (string, error) {
	v, err := single(v)
	if err != nil {
		return "", err
	}
	switch v := v.(type) {
	case string:
		if v != "" {
			return v, nil
		}
	case wire.Raw:
		if v.Text != "" {
			return v.Text, nil
		}
	}
	return "", fmt.Errorf("a text is needed, not %T", v)
}

// count is a number from 1 to most; some clients send numbers as texts.
func count(v any, most uint64) (*uint64, error) {
	v, err := single(v)
	if err != nil {
		return nil, err
	}
	var n int64
	switch v := v.(type) {
	case int64:
		n = v
	case int32:
		n = int64(v)
	case string:
		if n, err = strconv.ParseInt(v, 10, 64); err != nil {
			return nil, fmt.Errorf("%q is no number", v)
		}
	default:
		return nil, fmt.Errorf("a number is needed, not %T", v)
	}
	if n < 1 || uint64(n) > most {
		return nil, fmt.Errorf("%d is not in 1 to %d", n, most)
	}
	return new(uint64(n)), nil
}
