package storetest

import (
	"bytes"
	"context"
	"fmt"

	"vvsim/vvol/store"
)

// compare tells where got first differs from want; off is the place of both in
// the volume.
func compare(got, want []byte, off uint64) error {
	if bytes.Equal(got, want) {
		return nil
	}
	for i := range want {
		if got[i] != want[i] {
			end := min(i+16, len(want))
			return fmt.Errorf("byte %d of the volume: got % x, want % x", off+uint64(i), got[i:end], want[i:end])
		}
	}
	return fmt.Errorf("got %d bytes, want %d", len(got), len(want))
}

// listRanges lists the ranges of an object and checks what holds for all of them:
// an error comes last, they are in order and maximal, and they lie between from
// and the size.
func listRanges(ctx context.Context, o store.Object, kind store.RangeKind, base store.ID, from uint64) (all []store.Range, err error) {
	size := o.Size()
	for r, failure := range o.Ranges(ctx, kind, base, from) {
		if err != nil {
			return nil, fmt.Errorf("range %v after error %w", r, err)
		}
		if failure != nil {
			err = failure
			continue
		}
		switch {
		case r.Length == 0:
			return nil, fmt.Errorf("range %v is empty", r)
		case r.Offset < from:
			return nil, fmt.Errorf("range %v begins before %d", r, from)
		case r.Offset+r.Length > size:
			return nil, fmt.Errorf("range %v ends beyond the size %d", r, size)
		}
		if k := len(all); k > 0 && all[k-1].Offset+all[k-1].Length >= r.Offset {
			return nil, fmt.Errorf("range %v after %v: not in order, or not maximal", r, all[k-1])
		}
		all = append(all, r)
	}
	return all, err
}

// total is the number of bytes in ranges.
func total(all []store.Range) (n uint64) {
	for _, r := range all {
		n += r.Length
	}
	return n
}
