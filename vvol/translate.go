package vvol

import (
	"context"
	"errors"
	"fmt"

	"vvsim/vvol/store"
)

// storeErrors is the border between engine and domain: each sentinel of package
// store and what it is here.
func storeErrors() []struct{ store, vvol error } {
	return []struct{ store, vvol error }{
		{store.ErrNotFound, ErrNotFound},
		{store.ErrExists, ErrExists},
		{store.ErrGone, ErrNotFound},
		{store.ErrInvalid, ErrInvalid},
		{store.ErrOutOfRange, ErrInvalid},
		{store.ErrNoSpace, ErrNoSpace},
		{store.ErrReadOnly, ErrUnsupported},
		{store.ErrMiscompare, ErrStorage},
		{store.ErrMedium, ErrStorage},
		{store.ErrUnavailable, ErrBusy},
		{store.ErrTooDeep, ErrTooManySnapshots},
		{store.ErrTooBig, ErrTooMany},
	}
}

// translate makes err one of this package's errors: those it is already and ends
// of a context stay, the engine's go through the table, the rest is ErrStorage.
// The original stays in the chain.
func translate(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	for _, e := range Errors() {
		if errors.Is(err, e) {
			return err
		}
	}
	for _, row := range storeErrors() {
		if errors.Is(err, row.store) {
			return fmt.Errorf("%w: %w", row.vvol, err)
		}
	}
	return fmt.Errorf("%w: %w", ErrStorage, err)
}

// unrelated is translate for calls in which the engine's ErrInvalid means that
// two volumes are not of one family (Revert, Ranges with a base).
func unrelated(err error) error {
	if errors.Is(err, store.ErrInvalid) {
		return fmt.Errorf("%w: %w", ErrIncompatible, err)
	}
	return translate(err)
}
