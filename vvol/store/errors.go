package store

import (
	"errors"
	"fmt"
)

// Sentinels; engines wrap them with facts. The border tables (pe/sense.go and
// the errors of vvol) have a row for each.
var (
	ErrNotFound    = errors.New("no such volume or key")
	ErrExists      = errors.New("exists already")
	ErrGone        = errors.New("volume was deleted")
	ErrInvalid     = errors.New("invalid argument")
	ErrOutOfRange  = errors.New("beyond the end of the volume")
	ErrNoSpace     = errors.New("no space left")
	ErrReadOnly    = errors.New("volume is read-only")
	ErrMiscompare  = errors.New("data does not compare equal")
	ErrMedium      = errors.New("medium error")
	ErrUnavailable = errors.New("engine is not available")
	ErrTooDeep     = errors.New("chain of snapshots is too deep")
	ErrTooBig      = errors.New("too big for one transaction")
)

// Errors lists all sentinels, for tests that walk them.
func Errors() []error {
	return []error{ErrNotFound, ErrExists, ErrGone, ErrInvalid, ErrOutOfRange, ErrNoSpace, ErrReadOnly,
		ErrMiscompare, ErrMedium, ErrUnavailable, ErrTooDeep, ErrTooBig}
}

// MiscompareError is ErrMiscompare with the offset of the first byte that
// differs, from the start of the compared range.
type MiscompareError struct{ Offset uint64 }

func (e *MiscompareError) Error() string {
	return fmt.Sprintf("%v at byte %d", ErrMiscompare, e.Offset)
}

func (e *MiscompareError) Unwrap() error { return ErrMiscompare }

// MediumError is ErrMedium with the place and the cause.
type MediumError struct {
	Offset uint64
	Write  bool
	Err    error
}

func (e *MediumError) Error() string {
	op := "reading"
	if e.Write {
		op = "writing"
	}
	return fmt.Sprintf("%v %s at byte %d: %v", ErrMedium, op, e.Offset, e.Err)
}

func (e *MediumError) Unwrap() []error { return []error{ErrMedium, e.Err} }
