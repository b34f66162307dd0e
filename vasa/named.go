package vasa

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// ErrSilence is what an Invoker returns to end the connection without an answer; where it
// carries other requests, the answer is StorageFault.
var ErrSilence = errors.New("vasa: no answer")

// FaultNamed makes the error with which operation op ends as the fault of that name, for
// Invokers. It does so whether or not op declares the fault, as Declares tells: what a client
// makes of an answer that it should not get can be seen. The second result is vvol.ErrInvalid
// where op is no operation, or no operation declares the fault.
func FaultNamed(op, name string) (fault, err error) {
	if wire.Lookup(op) == nil {
		return nil, fmt.Errorf("%w: %q is no operation of VASA", vvol.ErrInvalid, op)
	}
	f := wire.NewFault(name)
	if f == nil || !slices.ContainsFunc(wire.Operations(), func(o *wire.Operation) bool { return o.Declares(f) }) {
		return nil, fmt.Errorf("%w: no operation of VASA declares the fault %q; %s declares %s", vvol.ErrInvalid, name, op, strings.Join(wire.Lookup(op).Faults, ", "))
	}
	return &faultError{fault: f, text: name + ", as it was asked to answer", asked: true}, nil
}

// Declares tells whether operation op declares the fault of that name.
func Declares(op, name string) bool {
	o := wire.Lookup(op)
	return o != nil && slices.Contains(o.Faults, name)
}

// Named tells whether there is an operation op, where it is not "", and a fault of that name,
// where it is not "", that an operation declares. The error is vvol.ErrInvalid.
func Named(op, name string) (err error) {
	switch {
	case op != "" && name != "":
		_, err = FaultNamed(op, name)
	case op != "" && wire.Lookup(op) == nil:
		err = fmt.Errorf("%w: %q is no operation of VASA", vvol.ErrInvalid, op)
	case name != "" && !slices.ContainsFunc(wire.Operations(), func(o *wire.Operation) bool { return slices.Contains(o.Faults, name) }):
		err = fmt.Errorf("%w: no operation of VASA declares the fault %q", vvol.ErrInvalid, name)
	}
	return err
}
