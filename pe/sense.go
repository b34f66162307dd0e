package pe

import (
	"context"
	"errors"

	"vvsim/scsi"
	"vvsim/scsi/device"
	"vvsim/vvol/store"
)

// senseRow leads from an engine's sentinel to what the initiator sees.
type senseRow struct {
	err    error
	status scsi.Status
	sense  func(f failure) scsi.SenseData // with CHECK CONDITION
}

// failure is what is known about a failed access to the medium.
type failure struct {
	err   error
	lba   uint64 // first LBA of the command
	write bool
}

// senseTable is the border between engines and SCSI (design.md 7). The first row
// whose error matches wins.
var senseTable = []senseRow{
	{store.ErrMiscompare, scsi.StatusCheckCondition, func(f failure) scsi.SenseData {
		var m *store.MiscompareError
		if errors.As(f.err, &m) {
			return scsi.MiscompareAt(m.Offset)
		}
		return scsi.MiscompareAt(0)
	}},
	{store.ErrOutOfRange, scsi.StatusCheckCondition, func(f failure) scsi.SenseData { return scsi.LBAOutOfRange(f.lba) }},
	{store.ErrNoSpace, scsi.StatusCheckCondition, func(failure) scsi.SenseData { return scsi.SpaceAllocationFailed() }},
	{store.ErrReadOnly, scsi.StatusCheckCondition, func(failure) scsi.SenseData { return scsi.WriteProtected() }},
	{store.ErrMedium, scsi.StatusCheckCondition, func(f failure) scsi.SenseData {
		var m *store.MediumError
		if errors.As(f.err, &m) {
			f.write, f.lba = m.Write, max(f.lba, m.Offset/device.BlockLength) // COMPARE AND WRITE reads too
		}
		if f.write {
			return scsi.WriteError(f.lba)
		}
		return scsi.ReadError(f.lba)
	}},
	{store.ErrUnavailable, scsi.StatusBusy, nil},
	{store.ErrGone, scsi.StatusCheckCondition, func(failure) scsi.SenseData { return scsi.UnsupportedLUN() }},
	{store.ErrNotFound, scsi.StatusCheckCondition, func(failure) scsi.SenseData { return scsi.UnsupportedLUN() }},
	{context.Canceled, scsi.StatusTaskAborted, nil},
	{context.DeadlineExceeded, scsi.StatusTaskAborted, nil},
	// The rest cannot come from an access that the device server has checked; they
	// are defects of the array.
	{store.ErrInvalid, scsi.StatusCheckCondition, internalFailure},
	{store.ErrExists, scsi.StatusCheckCondition, internalFailure},
	{store.ErrTooDeep, scsi.StatusCheckCondition, internalFailure},
	{store.ErrTooBig, scsi.StatusCheckCondition, internalFailure},
}

func internalFailure(failure) scsi.SenseData { return scsi.InternalTargetFailure() }

// translate turns a failed access into status and sense. known is false for an
// error without a row, which the caller reports.
func translate(f failure) (status scsi.Status, sense *scsi.SenseData, known bool) {
	for _, row := range senseTable {
		if !errors.Is(f.err, row.err) {
			continue
		}
		if row.sense != nil {
			s := row.sense(f)
			sense = &s
		}
		return row.status, sense, true
	}
	s := scsi.InternalTargetFailure()
	return scsi.StatusCheckCondition, &s, false
}
