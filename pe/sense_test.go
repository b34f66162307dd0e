package pe

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/scsi"
	"vvsim/vvol/store"
)

// TestEverySentinelHasSense walks all errors of engines: one without a row would
// reach initiators as a defect of the array.
func TestEverySentinelHasSense(t *testing.T) {
	for _, err := range append(store.Errors(), context.Canceled) {
		status, sense, known := translate(failure{err: fmt.Errorf("with facts: %w", err), lba: 7})
		require.True(t, known, "%v has no row", err)
		require.NotEqual(t, scsi.StatusGood, status)
		require.Equal(t, status == scsi.StatusCheckCondition, sense != nil)
	}
	_, sense, known := translate(failure{err: errors.New("never seen")})
	require.False(t, known)
	require.Equal(t, scsi.InternalTargetFailureASC, sense.Code)
}

func TestSenseOfErrors(t *testing.T) {
	for _, c := range []struct {
		err   error
		write bool
		want  string
	}{
		{store.ErrOutOfRange, false, "05/21/00 (ILLEGAL REQUEST)"},
		{store.ErrNoSpace, true, "07/27/07 (DATA PROTECT)"},
		{store.ErrReadOnly, true, "07/27/00 (DATA PROTECT)"},
		{&store.MiscompareError{Offset: 9}, true, "0E/1D/00 (MISCOMPARE)"},
		{&store.MediumError{Err: errors.New("x")}, false, "03/11/00 (MEDIUM ERROR)"},
		{&store.MediumError{Err: errors.New("x")}, true, "03/11/00 (MEDIUM ERROR)"}, // what a COMPARE AND WRITE compares with
		{&store.MediumError{Write: true, Err: errors.New("x")}, true, "03/0C/00 (MEDIUM ERROR)"},
		{store.ErrMedium, true, "03/0C/00 (MEDIUM ERROR)"},
		{store.ErrGone, false, "05/25/00 (ILLEGAL REQUEST)"},
	} {
		_, sense, _ := translate(failure{err: c.err, lba: 3, write: c.write})
		require.Equal(t, c.want, sense.String(), "%v", c.err)
	}
	_, sense, _ := translate(failure{err: &store.MiscompareError{Offset: 9}})
	require.EqualValues(t, 9, *sense.Info)
	for off, want := range map[uint64]uint64{0: 8, 4096: 8, 4608: 9, 1 << 20: 2048} { // of the command's first block, or behind it
		_, sense, _ = translate(failure{err: &store.MediumError{Offset: off}, lba: 8})
		require.Equal(t, want, *sense.Info)
	}
	status, _, _ := translate(failure{err: store.ErrUnavailable})
	require.Equal(t, scsi.StatusBusy, status)
}
