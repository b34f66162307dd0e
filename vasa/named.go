package vasa

import (
	"errors"
	"fmt"
	"strings"

	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// ErrSilence is what an Invoker returns to end the connection without an answer; where it
// carries other requests, the answer is StorageFault.
var ErrSilence = errors.New("vasa: no answer")

// FaultNamed makes the error with which operation op ends as the fault of that name, for
// Invokers. The second result is vvol.ErrInvalid where op may not end so.
func FaultNamed(op, name string) (fault, err error) {
	o := wire.Lookup(op)
	if o == nil {
		return nil, fmt.Errorf("%w: %q is no operation of VASA", vvol.ErrInvalid, op)
	}
	f := wire.NewFault(name)
	if f == nil || !o.Declares(f) {
		return nil, fmt.Errorf("%w: %s does not declare the fault %q, but %s", vvol.ErrInvalid, op, name, strings.Join(o.Faults, ", "))
	}
	return refuse(f, "%s, as it was asked to answer", name), nil
}

// Declared tells whether operation op, or any of all when op is "", may end as the fault
// of that name, or at all when name is "". The error is vvol.ErrInvalid.
func Declared(op, name string) (err error) {
	if op != "" {
		if name != "" {
			_, err = FaultNamed(op, name)
		} else if wire.Lookup(op) == nil {
			err = fmt.Errorf("%w: %q is no operation of VASA", vvol.ErrInvalid, op)
		}
		return err
	}
	for _, o := range wire.Operations() {
		if _, err = FaultNamed(o.Name, name); name == "" || err == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: no operation of VASA declares the fault %q", vvol.ErrInvalid, name)
}
