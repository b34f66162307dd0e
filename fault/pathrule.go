package fault

import (
	"fmt"
	"math"
	"strings"
	"time"

	"vvsim/fault/grammar"
)

// parseRate takes a number of bytes a second, as in 10MiB/s.
func (a *action) parseRate(args []string) error {
	text, err := a.single(args)
	if err != nil {
		return err
	}
	a.rate, err = grammar.Rate(text)
	return err
}

// parseStall takes in or out, or nothing for both directions.
func (a *action) parseStall(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "in":
		a.inward = true
	case len(args) == 1 && args[0] == "out":
		a.outward = true
	case len(args) > 0:
		return fmt.Errorf("%q is neither in nor out", strings.Join(args, " "))
	}
	return nil
}

// Bounds of logout: Time3 of an Async Message are whole seconds (RFC 7143 11.9.1).
const (
	defaultLogout = 10 * time.Second
	maxLogout     = math.MaxUint16 * time.Second
)

// parseLogout takes the time that the initiator has.
func (a *action) parseLogout(args []string) error {
	a.min, a.max = defaultLogout, defaultLogout
	if len(args) == 0 {
		return nil
	}
	text, err := a.single(args)
	if err != nil {
		return err
	}
	if a.min, err = grammar.Duration(text, maxLogout); err != nil {
		return err
	}
	if a.max = a.min; a.min%time.Second != 0 {
		return fmt.Errorf("%q are no whole seconds", text)
	}
	return nil
}

// parseReset takes a time to live, or nothing.
func (a *action) parseReset(args []string) error {
	if len(args) == 0 {
		return nil
	}
	return a.parseDelay(args)
}
