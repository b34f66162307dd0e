package policy

import (
	"errors"
	"fmt"
	"strconv"
)

// Durability of a volume: when a write is on stable storage. With Flush a flush or FUA
// sees to that, with Sync it is before its status.
const (
	Flush = "flush"
	Sync  = "sync"
)

// Bounds of the limits that can be set.
const (
	MaxIOPS         = 10_000_000
	MinBytesPerSec  = 64 << 10 // below, a single large transfer would take minutes
	MaxBytesPerSec  = 1 << 40
	MaxSnapshots    = 1 << 20
	MaxPercent      = 100
	maxProfileBytes = 255
)

// ServiceLevel is one quality of service that a container offers; see the package
// comment for what its values allow. Zero values bound nothing.
type ServiceLevel struct {
	Name            string `json:"name"`
	Thin            bool   `json:"thin" doc:"false: space is reserved"`
	MaxIOPS         uint64 `json:"maxIops,omitempty" doc:"of one volume, per second"`
	MaxBytesPerSec  uint64 `json:"maxBytesPerSec,omitempty" doc:"of one volume"`
	SnapshotLimit   int    `json:"snapshotLimit,omitempty" doc:"of one volume"`
	Durability      string `json:"durability,omitempty" doc:"flush or sync; empty: either, flush by default"`
	WarnPercentUsed int    `json:"warnPercentUsed,omitempty" doc:"of the container; the lowest of its levels and volumes counts"`
}

// Check says what is wrong with the values of a level, its name left out.
func (l ServiceLevel) Check() error {
	if err := checkLimits(l.MaxIOPS, l.MaxBytesPerSec, l.SnapshotLimit, l.WarnPercentUsed); err != nil {
		return fmt.Errorf("service level %q: %w", l.Name, err)
	}
	switch {
	case l.Durability != "" && l.Durability != Flush && l.Durability != Sync:
		return fmt.Errorf("service level %q: durability %q is neither %s nor %s", l.Name, l.Durability, Flush, Sync)
	}
	return nil
}

func checkLimits(iops, bytes uint64, snapshots, warn int) error {
	switch {
	case iops > MaxIOPS:
		return fmt.Errorf("%d IOPS, at most %d", iops, MaxIOPS)
	case bytes != 0 && (bytes < MinBytesPerSec || bytes > MaxBytesPerSec):
		return fmt.Errorf("%d bytes per second, must be %d to %d", bytes, MinBytesPerSec, MaxBytesPerSec)
	case snapshots < 0 || snapshots > MaxSnapshots:
		return fmt.Errorf("snapshot limit %d, must be 0 to %d", snapshots, MaxSnapshots)
	case warn < 0 || warn > MaxPercent:
		return fmt.Errorf("warning at %d percent, must be 0 to %d", warn, MaxPercent)
	}
	return nil
}

// Quality is what a volume has. Limits of zero are none; a SnapshotLimit of zero is the
// array's, and a WarnPercentUsed of zero what its container's levels say.
type Quality struct {
	Thick           bool   `json:"thick,omitempty"`
	MaxIOPS         uint64 `json:"maxIops,omitempty"`
	MaxBytesPerSec  uint64 `json:"maxBytesPerSec,omitempty"`
	SnapshotLimit   int    `json:"snapshotLimit,omitempty"`
	Durability      string `json:"durability"`
	WarnPercentUsed int    `json:"warnPercentUsed,omitempty" doc:"of the container, from which its space alarm comes"`
}

// Request asks for a quality. What is nil is the level's.
type Request struct {
	Thick           *bool
	MaxIOPS         *uint64
	MaxBytesPerSec  *uint64
	SnapshotLimit   *int
	Durability      *string
	WarnPercentUsed *int
}

// Policy tells where a quality came from: a VASA profile and its generation. Without a
// profile it is empty.
type Policy struct {
	ProfileID  string `json:"profileId,omitempty"`
	Generation int64  `json:"generation,omitempty"`
	Name       string `json:"name,omitempty"`
}

// Check says what is wrong with a policy.
func (p Policy) Check() error {
	switch {
	case p.ProfileID == "" && p != (Policy{}):
		return errors.New("a policy without a profile id")
	case len(p.ProfileID) > maxProfileBytes || len(p.Name) > maxProfileBytes:
		return fmt.Errorf("profile id or name of more than %d bytes", maxProfileBytes)
	}
	return nil
}

// Default is the quality that a level gives when nothing is asked. Its warning is not in
// it: that holds for the container as it is.
func (l ServiceLevel) Default() Quality {
	q := Quality{Thick: !l.Thin, MaxIOPS: l.MaxIOPS, MaxBytesPerSec: l.MaxBytesPerSec, SnapshotLimit: l.SnapshotLimit, Durability: l.Durability}
	if q.Durability == "" {
		q.Durability = Flush
	}
	return q
}

// Over is q with what r asks for.
func (r Request) Over(q Quality) Quality {
	set(&q.Thick, r.Thick)
	set(&q.MaxIOPS, r.MaxIOPS)
	set(&q.MaxBytesPerSec, r.MaxBytesPerSec)
	set(&q.SnapshotLimit, r.SnapshotLimit)
	set(&q.Durability, r.Durability)
	set(&q.WarnPercentUsed, r.WarnPercentUsed)
	return q
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// Check says what is wrong with a quality, whatever level it is to be of.
func (q Quality) Check() error {
	if q.Durability != Flush && q.Durability != Sync {
		return fmt.Errorf("durability %q is neither %s nor %s", q.Durability, Flush, Sync)
	}
	return checkLimits(q.MaxIOPS, q.MaxBytesPerSec, q.SnapshotLimit, q.WarnPercentUsed)
}

// Violation is one thing that is not as it should be.
type Violation struct {
	What     string `json:"what"` // the field, as in Quality's JSON, or "serviceLevel", "reservedBytes", "snapshots"
	Expected string `json:"expected"`
	Current  string `json:"current"`
}

func (v Violation) String() string {
	return fmt.Sprintf("%s: %s, expected %s", v.What, v.Current, v.Expected)
}

// Refuses lists where a quality lies outside of what the level offers.
func (l ServiceLevel) Refuses(q Quality) (all []Violation) {
	if q.Thick == l.Thin {
		all = append(all, Violation{"thick", strconv.FormatBool(!l.Thin), strconv.FormatBool(q.Thick)})
	}
	all = upTo(all, "maxIops", l.MaxIOPS, q.MaxIOPS)
	all = upTo(all, "maxBytesPerSec", l.MaxBytesPerSec, q.MaxBytesPerSec)
	all = upTo(all, "snapshotLimit", uint64(l.SnapshotLimit), uint64(q.SnapshotLimit))
	if l.Durability != "" && q.Durability != l.Durability {
		all = append(all, Violation{"durability", l.Durability, q.Durability})
	}
	if q.WarnPercentUsed > 0 {
		all = upTo(all, "warnPercentUsed", uint64(l.WarnPercentUsed), uint64(q.WarnPercentUsed))
	}
	return all
}

// upTo adds a value above its bound; none is above every bound.
func upTo(all []Violation, what string, bound, value uint64) []Violation {
	if bound == 0 || value != 0 && value <= bound {
		return all
	}
	return append(all, Violation{what, "1 to " + strconv.FormatUint(bound, 10), orNone(value)})
}

func orNone(n uint64) string {
	if n == 0 {
		return "none"
	}
	return strconv.FormatUint(n, 10)
}

// Differs lists where q is not what was asked for. The space is compared as well, unless
// the volume is a snapshot and has none of its own.
func (q Quality) Differs(asked Quality) (all []Violation) {
	if q.Thick != asked.Thick {
		all = append(all, Violation{"thick", strconv.FormatBool(asked.Thick), strconv.FormatBool(q.Thick)})
	}
	if q.SnapshotLimit != asked.SnapshotLimit {
		all = append(all, Violation{"snapshotLimit", orNone(uint64(asked.SnapshotLimit)), orNone(uint64(q.SnapshotLimit))})
	}
	if q.WarnPercentUsed != asked.WarnPercentUsed {
		all = append(all, Violation{"warnPercentUsed", orNone(uint64(asked.WarnPercentUsed)), orNone(uint64(q.WarnPercentUsed))})
	}
	return append(all, q.Enforces(asked)...)
}

// Enforces lists where q, which is in force on the data path, is not what was asked for:
// limits that differ, or writes that are less durable.
func (q Quality) Enforces(asked Quality) (all []Violation) {
	if q.MaxIOPS != asked.MaxIOPS {
		all = append(all, Violation{"maxIops", orNone(asked.MaxIOPS), orNone(q.MaxIOPS)})
	}
	if q.MaxBytesPerSec != asked.MaxBytesPerSec {
		all = append(all, Violation{"maxBytesPerSec", orNone(asked.MaxBytesPerSec), orNone(q.MaxBytesPerSec)})
	}
	if asked.Durability == Sync && q.Durability != Sync {
		all = append(all, Violation{"durability", asked.Durability, q.Durability})
	}
	return all
}
