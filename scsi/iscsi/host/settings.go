package host

import (
	"fmt"
	"slices"
	"time"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/pdu"
)

// Settings are what decides how fast a host notices, and what it makes of it.
type Settings struct {
	// PathEvalTime is how often each path is probed (Disk.PathEvalTime, 300 s [vmware-doc, KB 2062592]).
	PathEvalTime time.Duration
	// FastProbe is how often paths are probed while I/O waits for one ("state in doubt;
	// requested fast path state update" [memory]; its time [inferred]).
	FastProbe time.Duration
	// CommandTimeout ends a command that is not answered, and ProbeTimeout TEST UNIT READY and
	// what else probes send (5 to 40 s [memory]).
	CommandTimeout, ProbeTimeout time.Duration
	// AbortTimeout is how long ABORT TASK waits for its answer before it is sent again
	// (Scsi.SCSITimeout_ReabortTime, 5 s [host-settings]); after AbortTries the session is
	// closed (four times, of 6.7u2 [observed]).
	AbortTimeout time.Duration
	AbortTries   int
	// BusyDelay is the time before a command that met BUSY or TASK SET FULL goes again, and
	// RetryLimit how often one command may meet them, ABORTED COMMAND and UNIT ATTENTION
	// before its user is told [inferred].
	BusyDelay  time.Duration
	RetryLimit int

	// APDTimeout is how long all paths may be down before I/O fails fast (Misc.APDTimeout,
	// 140 s, at least 20 s), if APDHandling says so at all (Misc.APDHandlingEnable) [vmware-doc].
	APDTimeout  time.Duration
	APDHandling bool
	// FailGuestIO has I/O of guests fail, too, at the time-out; else it is retried without end
	// (Scsi.FailVMIOonAPD, 0 [host-settings]).
	FailGuestIO bool
	// ExtendAPDCondition counts unavailable paths as down (Scsi.ExtendAPDCondition, 0 [host-settings]).
	ExtendAPDCondition bool

	// Losses are the senses of permanent loss: 05/25/00 [vmware-doc], and 04/4C/00, 04/3E/03 and 04/3E/01 [memory].
	Losses []scsi.SenseData
	// LossLogins are the login statuses of permanent loss. VMware documents "target
	// unavailable" without its number [vmware-doc]: 0203h and 0204h are candidates [inferred].
	LossLogins []pdu.LoginStatus
	// PDLDelay lies between a loss and the removal of the device (Disk.DiskDelayPDLHelper, 10 s
	// [host-settings], so read [inferred]), and AutoRemove lets it be removed when nobody has it
	// open (Disk.AutoremoveOnPDL, 1 [vmware-doc]).
	PDLDelay   time.Duration
	AutoRemove bool

	// PingInterval, PingTimeout, RecoveryTimeout and LoginTimeout are those of the iSCSI
	// adapter: 15, 10, 10 and 5 s [host-settings]. A session that ended has RecoveryTimeout to
	// come back before its commands fail; LoginPause lies between two logins (DefaultTime2Wait, 2 s [memory]).
	PingInterval, PingTimeout, RecoveryTimeout, LoginTimeout, LoginPause time.Duration
	// MaxCommands bounds what is in flight on a session (128 [memory]).
	MaxCommands int
}

// Defaults are those of ESXi.
func Defaults() Settings {
	return Settings{
		PathEvalTime: 300 * time.Second, FastProbe: 5 * time.Second, CommandTimeout: 30 * time.Second, ProbeTimeout: 10 * time.Second,
		AbortTimeout: 5 * time.Second, AbortTries: 4, BusyDelay: time.Second, RetryLimit: 32,
		APDTimeout: 140 * time.Second, APDHandling: true,
		Losses: []scsi.SenseData{scsi.UnsupportedLUN(), scsi.Sense(scsi.HardwareError, scsi.LogicalUnitFailedSelfConfig),
			scsi.Sense(scsi.HardwareError, scsi.LogicalUnitFailedSelfTest), scsi.Sense(scsi.HardwareError, scsi.LogicalUnitFailure)},
		LossLogins: []pdu.LoginStatus{pdu.LoginTargetNotFound, pdu.LoginTargetRemoved},
		PDLDelay:   10 * time.Second, AutoRemove: true,
		PingInterval: 15 * time.Second, PingTimeout: 10 * time.Second, RecoveryTimeout: 10 * time.Second, LoginTimeout: 5 * time.Second,
		LoginPause: 2 * time.Second, MaxCommands: 128,
	}
}

// leastAPDTimeout is the least that an ESXi host takes [vmware-doc].
const leastAPDTimeout = 20 * time.Second

func (s *Settings) validate() error {
	for name, d := range map[string]time.Duration{"PathEvalTime": s.PathEvalTime, "FastProbe": s.FastProbe, "CommandTimeout": s.CommandTimeout,
		"ProbeTimeout": s.ProbeTimeout, "AbortTimeout": s.AbortTimeout, "BusyDelay": s.BusyDelay, "PingInterval": s.PingInterval,
		"PingTimeout": s.PingTimeout, "RecoveryTimeout": s.RecoveryTimeout, "LoginTimeout": s.LoginTimeout, "LoginPause": s.LoginPause} {
		if d <= 0 {
			return fmt.Errorf("%w: %s %v", ErrSettings, name, d)
		}
	}
	switch {
	case s.APDTimeout < leastAPDTimeout:
		return fmt.Errorf("%w: APDTimeout %v, at least %v", ErrSettings, s.APDTimeout, leastAPDTimeout)
	case s.AbortTries < 1 || s.RetryLimit < 0 || s.PDLDelay < 0 || s.MaxCommands < 1:
		return fmt.Errorf("%w: %d aborts, %d retries, %v, %d commands", ErrSettings, s.AbortTries, s.RetryLimit, s.PDLDelay, s.MaxCommands)
	}
	return nil
}

// loss tells whether a sense means permanent loss.
func (s *Settings) loss(sense *scsi.SenseData) bool {
	return sense != nil && slices.ContainsFunc(s.Losses, func(l scsi.SenseData) bool { return l.Key == sense.Key && l.Code == sense.Code })
}
