package vvol

import "vvsim/vvol/store"

// RangeKind selects what Service.Ranges yields; Range is one of its results. They
// are the engine's, so that borders need not know package store.
type (
	RangeKind = store.RangeKind
	Range     = store.Range
)

const (
	Allocated = store.Allocated // blocks that hold data
	Unshared  = store.Unshared  // blocks that no other volume can see
	Different = store.Different // blocks that may differ from a base
)
