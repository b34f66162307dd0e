package vvol

import "errors"

// Sentinels; operations wrap them with facts. Each border (api, vasa) has a
// table with a row for each.
var (
	ErrNotFound         = errors.New("not found")
	ErrInvalid          = errors.New("invalid argument")
	ErrExists           = errors.New("exists already")
	ErrInUse            = errors.New("resource in use")
	ErrNoSpace          = errors.New("not enough space")
	ErrTooManySnapshots = errors.New("too many snapshots")
	ErrTooMany          = errors.New("too many items")
	ErrIncompatible     = errors.New("volumes are not related")
	ErrNotActive        = errors.New("provider is not active")
	ErrBusy             = errors.New("busy")
	ErrUnsupported      = errors.New("not supported")
	ErrStorage          = errors.New("storage fault")
)

// Errors lists all sentinels, for tests that walk them.
func Errors() []error {
	return []error{ErrNotFound, ErrInvalid, ErrExists, ErrInUse, ErrNoSpace, ErrTooManySnapshots, ErrTooMany,
		ErrIncompatible, ErrNotActive, ErrBusy, ErrUnsupported, ErrStorage}
}
