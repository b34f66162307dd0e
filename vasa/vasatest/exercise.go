package vasatest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"vvsim/vasa/wire"
)

// ExerciseOptions say what an Exercise does, and to whom.
type ExerciseOptions struct {
	URL            string // of version.xml, or of the SOAP service
	User, Password string
	Container      string     // id or name; empty: the first
	Hosts          []HostSpec // zero values are made up; up to MaxHosts, and two if there are fewer
	DiskMB         int64      // size of a disk; default DefaultDiskMB
	Version        wire.Version
	Patience       Patience
	// KeepCertificate leaves the provider's certificate alone, though the provider wants
	// it replaced: what the exercise installs is of an authority that is gone afterwards.
	KeepCertificate bool
	// GoOn makes the steps after one that failed, too.
	GoOn bool
	// Report, if set, is given the line of each step when it is over.
	Report func(Line)
	// Between, if set, is called before each step but the first, with the name of the step
	// that is over and of the one to come. It may stop and start the provider. Its error
	// ends the exercise.
	Between func(ctx context.Context, after, before string) error
	// IO, if set, does I/O over handles; without it, contents are not checked.
	IO IO
	// Seen, if set, is given each exchange.
	Seen func(Exchange)
}

// Numbers of hosts: the VM needs another to move to.
const (
	MinHosts = 2
	MaxHosts = 64
)

// DefaultDiskMB is the size of a disk of the exercise, in MB.
const DefaultDiskMB = 64

// Other sizes of the exercise, in MB (vasa.md 6: 4 GB is the config VVol's up to vSphere 7).
const (
	configMB = 4096
	swapMB   = 32
	memoryMB = 32
)

// IO does I/O on what a host has bound. Offsets and lengths are multiples of ioBlock bytes.
type IO interface {
	Write(ctx context.Context, a Access, offset uint64, p []byte) error
	Read(ctx context.Context, a Access, offset uint64, p []byte) error
}

// Access is the way to a bound virtual volume.
type Access struct {
	VVol        string
	PE          string // naa. name of the endpoint's unit
	SecondaryID string // 0x and the bytes behind the first level of the LUN
	Host        string // GUID
	Initiators  []string
}

// Line is what an Exercise reports of a step.
type Line struct {
	Step     string
	Expected string   // what makes the step a success
	Calls    []string // operations, in order, repetitions and polls included
	Took     time.Duration
	Notes    []string // what the provider may do, and a reader should know
	Err      error    // nil: as expected
}

// Outcome is "ok" or the fault, or "failed".
func (l Line) Outcome() string {
	switch {
	case l.Err == nil:
		return "ok"
	case Outcome(l.Err) != "":
		return Outcome(l.Err)
	}
	return "failed"
}

// Step is one of an Exercise's, in the order of Steps.
type Step struct {
	Name     string
	Expected string
	do       func(x *exercise, ctx context.Context) error
}

// exercise is one run.
type exercise struct {
	o         ExerciseOptions
	vc        *VCenter
	hosts     []*Host // the first runs the VM until it moves
	runs      int     // index of the host that runs the VM
	inventory *Inventory
	container string
	vm        vm
	notes     []string
	retains   bool // the provider its certificate
	trusted   bool // the authority was registered
}

// Run makes the exercise: the steps of Steps in their order, against any provider, and
// then takes back what it made. It returns the first failure, and the lines of all steps.
// The exercise's authority is unregistered at the end. A provider that refuses this goes on
// trusting it, which makes a note; what it issued expires within a day. A provider that does not
// keep its certificate trusts one authority at a time: registering this one ends the trust in another.
func Run(ctx context.Context, o ExerciseOptions) ([]Line, error) {
	if o.DiskMB == 0 {
		o.DiskMB = DefaultDiskMB
	}
	if o.DiskMB < minDiskMB {
		return nil, fmt.Errorf("a disk of %d MB is too small for the exercise, which needs %d", o.DiskMB, minDiskMB)
	}
	if len(o.Hosts) > MaxHosts {
		return nil, fmt.Errorf("%d hosts, at most %d", len(o.Hosts), MaxHosts)
	}
	o.Hosts = append(slices.Clone(o.Hosts), make([]HostSpec, max(0, MinHosts-len(o.Hosts)))...)
	x := &exercise{o: o, vm: newVM(), hosts: make([]*Host, len(o.Hosts))}
	var lines []Line
	report := func(l Line) {
		lines = append(lines, l)
		if o.Report != nil {
			o.Report(l)
		}
	}
	failed := x.steps(ctx, report)
	if x.vc == nil {
		return lines, failed
	}
	// What was made goes even when the caller has lost patience.
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpWait)
	defer cancel()
	l := x.step(clean, Step{Name: "clean up", Expected: "nothing of the exercise is left, and its authority is trusted no longer", do: (*exercise).cleanUp})
	report(l)
	x.close()
	if failed == nil && l.Err != nil {
		failed = fmt.Errorf("%s: %w", l.Step, l.Err)
	}
	return lines, failed
}

// cleanUpWait bounds the cleaning up after an exercise.
const cleanUpWait = 2 * time.Minute

func (x *exercise) steps(ctx context.Context, report func(Line)) (failed error) {
	for i, s := range Steps() {
		if i > 0 && x.o.Between != nil {
			before := Steps()[i-1].Name
			if err := x.o.Between(ctx, before, s.Name); err != nil {
				return errors.Join(failed, fmt.Errorf("between %s and %s: %w", before, s.Name, err))
			}
			x.close() // connections of before may be dead, and a call on one is not repeated
		}
		l := x.step(ctx, s)
		report(l)
		if l.Err == nil {
			continue
		}
		if failed == nil {
			failed = fmt.Errorf("%s: %w", s.Name, l.Err)
		}
		if !x.o.GoOn || ctx.Err() != nil || x.vc == nil {
			break
		}
	}
	return failed
}

// step makes one step.
func (x *exercise) step(ctx context.Context, s Step) Line {
	began := time.Now()
	l := Line{Step: s.Name, Expected: s.Expected, Err: s.do(x, ctx)}
	l.Took = time.Since(began)
	for _, session := range x.sessions() {
		calls, notes := session.Told()
		l.Calls, l.Notes = append(l.Calls, calls...), append(l.Notes, notes...)
	}
	l.Notes = append(l.Notes, x.notes...)
	x.notes = nil
	slices.Sort(l.Notes)
	l.Notes = slices.Compact(l.Notes)
	return l
}

func (x *exercise) sessions() (list []*Session) {
	if x.vc != nil {
		list = append(list, x.vc.Session)
	}
	for _, h := range x.hosts {
		if h != nil {
			list = append(list, h.Session)
		}
	}
	return list
}

func (x *exercise) close() {
	for _, s := range x.sessions() {
		s.Close()
	}
}

func (x *exercise) note(format string, args ...any) {
	x.notes = append(x.notes, fmt.Sprintf(format, args...))
}

// expect is an error unless ok.
func expect(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}

// refused checks that a call ended in one of the faults; a success is an error.
func refused(err error, what string, faults ...string) error {
	switch {
	case err == nil:
		return fmt.Errorf("%s succeeded, and should be refused with %s", what, strings.Join(faults, " or "))
	case slices.Contains(faults, Outcome(err)):
		return nil
	}
	return fmt.Errorf("%s should be refused with %s: %w", what, strings.Join(faults, " or "), err)
}

// host is the one that runs the VM.
func (x *exercise) host() *Host { return x.hosts[x.runs] }

// next is the index of the host after that one.
func (x *exercise) next() int { return (x.runs + 1) % len(x.hosts) }

// cleanUp deletes what was made and is still there, and then ends the provider's trust.
func (x *exercise) cleanUp(ctx context.Context) error {
	return errors.Join(x.deleteAll(ctx), x.unregister(ctx))
}

// unregister takes the authority back, if the provider lets it.
func (x *exercise) unregister(ctx context.Context) error {
	if !x.trusted {
		return nil
	}
	gone, why, err := x.vc.Unregister(ctx)
	switch {
	case err != nil || gone:
		return err
	case why == "":
		why = "unregisterVASACertificate changed nothing"
	default:
		why = "unregisterVASACertificate: " + why
	}
	x.note("the provider goes on trusting the authority of the exercise (%s); what it issued expires within a day", why)
	return nil
}

// deleteAll deletes what was made; order matters where a provider keeps what others depend on,
// and so it tries again while that helps.
func (x *exercise) deleteAll(ctx context.Context) error {
	h := x.host()
	if h == nil || len(x.vm.made) == 0 {
		return nil
	}
	ids := slices.Sorted(keysOf(x.vm.made))
	_, err := h.Call(ctx, &wire.UnbindVirtualVolumeFromAllHost{VVolID: ids})
	if err != nil && !h.missing(err, "unbindVirtualVolumeFromAllHost") {
		return err
	}
	for {
		var left []string
		err = nil
		for _, id := range ids {
			if e := h.Delete(ctx, id); e != nil && Outcome(e) != "NotFound" {
				left, err = append(left, id), e
			}
		}
		if len(left) == 0 || len(left) == len(ids) {
			return err
		}
		ids = left
	}
}
