package fault

import (
	"fmt"
	"strings"
)

// Bounds of rate, in bytes a second.
const (
	minRate = 1 << 10
	maxRate = 1 << 40
)

// rateUnits are those of rate.
var rateUnits = []struct {
	name  string
	bytes uint64
}{{"GiB/s", 1 << 30}, {"MiB/s", 1 << 20}, {"KiB/s", 1 << 10}, {"B/s", 1}}

// parseRate takes a number of bytes a second, as in 10MiB/s.
func (a *action) parseRate(args []string) error {
	text, err := a.single(args)
	if err != nil {
		return err
	}
	for _, u := range rateUnits {
		digits, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := number(digits, 1, maxRate/u.bytes)
		if err == nil && n*u.bytes >= minRate {
			a.rate = int64(n * u.bytes)
			return nil
		}
		break
	}
	return fmt.Errorf("%q is no rate such as 10MiB/s, from 1KiB/s to 1024GiB/s, in B/s, KiB/s, MiB/s or GiB/s", text)
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

// parseReset takes a time to live, or nothing.
func (a *action) parseReset(args []string) error {
	if len(args) == 0 {
		return nil
	}
	return a.parseDelay(args)
}
