package vvol

import "vvsim/vvol/store"

// RangeKind selects what Service.Ranges yields. It is the engine's, as Range is,
// so that borders need not know package store.
type RangeKind = store.RangeKind

// Range is one result of Service.Ranges.
type Range = store.Range

const (
	Allocated = store.Allocated // blocks that hold data
	Unshared  = store.Unshared  // blocks that no other volume can see
	Different = store.Different // blocks that may differ from a base
)
