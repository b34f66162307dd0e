package initiator

import (
	"errors"
	"fmt"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/pdu"
)

// Errors of sessions. They are wrapped with facts; compare with errors.Is.
var (
	ErrProtocol       = errors.New("iSCSI protocol error")                  // the target broke RFC 7143
	ErrClosed         = errors.New("session closed")                        // by Close, Logout or the target
	ErrTimeout        = errors.New("target does not answer")                // no NOP-In in time
	ErrBusy           = errors.New("too many requests in flight")           // Start without a free place
	ErrAborted        = errors.New("command aborted")                       // by a task management function
	ErrInvalid        = errors.New("invalid argument")                      // of the caller
	ErrAuthentication = errors.New("target could not authenticate itself")  // mutual CHAP
	ErrUnaligned      = errors.New("not a multiple of the logical block")   // ReadAt, WriteAt
	ErrTargetFailure  = errors.New("target failure")                        // SCSI Response with response code 01h and up
	ErrData           = errors.New("parameter data of the target is wrong") // malformed VPD page and the like
	ErrVerify         = errors.New("data read differ from data written")    // Load with Verify
)

// LoginError is a login that the target refused.
type LoginError struct {
	Status pdu.LoginStatus
	// TargetAddress is where to go instead, with status class 01h.
	TargetAddress string
}

func (e *LoginError) Error() string {
	if e.TargetAddress != "" {
		return fmt.Sprintf("login refused: %v, %s", e.Status, e.TargetAddress)
	}
	return fmt.Sprintf("login refused: %v", e.Status)
}

// RejectError is a request that the target answered with Reject.
type RejectError struct {
	Reason pdu.RejectReason
	Header pdu.Header // of the rejected PDU, as the target sent it back
}

func (e *RejectError) Error() string { return fmt.Sprintf("rejected: %v", e.Reason) }

// CheckConditionError is a command that ended with CHECK CONDITION.
type CheckConditionError struct {
	OpCode scsi.OpCode
	LUN    scsi.LUN
	Sense  *scsi.SenseData // nil when the target sent none that can be read
}

func (e *CheckConditionError) Error() string {
	if e.Sense == nil {
		return fmt.Sprintf("command %v on LUN %v: CHECK CONDITION without sense data", e.OpCode, e.LUN)
	}
	return fmt.Sprintf("command %v on LUN %v: %v", e.OpCode, e.LUN, e.Sense)
}

// StatusError is a command that ended with another status than GOOD, CONDITION
// MET or CHECK CONDITION.
type StatusError struct {
	OpCode scsi.OpCode
	LUN    scsi.LUN
	Status scsi.Status
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("command %v on LUN %v: %v", e.OpCode, e.LUN, e.Status)
}

// SenseOf returns the sense data of an error, nil when it carries none.
func SenseOf(err error) *scsi.SenseData {
	if check, ok := errors.AsType[*CheckConditionError](err); ok {
		return check.Sense
	}
	return nil
}

func protocol(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrProtocol, fmt.Errorf(format, args...))
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}
