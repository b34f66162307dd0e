package codes

import "vvsim/scsi"

// statuses are the entries of SCSI status.
func statuses() []Entry {
	at := func(s scsi.Status, means string, e effect, action, other string) Entry {
		r := ""
		if action != "" {
			r = "lu vvol=" + exampleVolume + " " + action
		}
		return Entry{Kind: Status, Code: numbered("D", uint64(s)), Name: s.String(), Means: means, ESXi: e.text, Certainty: e.certainty, Rule: r, Other: other}
	}
	return []Entry{
		at(scsi.StatusGood, "The command was executed.", effect{}, "", "commands that were executed"),
		at(scsi.StatusCheckCondition, "Sense data tell what is wrong.", does("Looks at the sense data.", Documented), "-> pdl", "all sense data"),
		at(scsi.StatusConditionMet, "The blocks of a PRE-FETCH fit into the cache.", effect{}, "", "PRE-FETCH"),
		at(scsi.StatusBusy, "The unit takes no command now.", does("Retried after `Disk.DelayOnBusy`, 400 ms. Seen when an array ran full.", Setting, Documented), "-> busy", "a volume that can't be used at the moment"),
		at(scsi.StatusReservationConflict, "Another host has reserved the unit.", does("VMFS retries, `Scsi.ConflictRetries` 80 times.", Documented, Memory), "-> reservation-conflict", "reservations of other hosts"),
		at(scsi.StatusTaskSetFull, "The unit has no room for another command.", does("Behind a protocol endpoint: I/O to all its volumes is throttled for `Disk.SllThrottleTime`, 800 ms. Other devices: the queue adapts only with `Disk.QFullSampleSize` above 0 (default 0).", Setting), "-> task-set-full", "more commands than a unit holds"),
		at(scsi.StatusACAActive, "An earlier error has to be cleared first.", effect{}, "", ""),
		at(scsi.StatusTaskAborted, "Another host has aborted the command.", effect{}, "", "commands that another nexus aborts, with TAS set, and those that an unbind does not wait for"),
	}
}

// hostStatuses are the entries of H: in a log line.
func hostStatuses() []Entry {
	at := func(n uint64, name, means string, e effect, rule string) Entry {
		return Entry{Kind: Host, Code: numbered("H", n), Name: name, Means: means, ESXi: e.text, Certainty: e.certainty, Rule: rule}
	}
	return []Entry{
		at(0x0, "OK", "The command was answered: D: and the sense data tell more.", effect{}, ""),
		at(0x1, "NO_CONNECT", "Target or unit are gone on this path: the session is down.", does("Failover, with every type of array; on all paths it is APD.", Documented), "path portal=1 -> down"),
		at(0x2, "BUS_BUSY", "The driver could not send the command, or frames were lost.", effect{}, ""),
		at(0x3, "TIMEOUT", "The command timed out.", effect{}, ""),
		at(0x4, "BAD_TARGET", "There is no such target.", effect{}, ""),
		at(0x5, "ABORT", "The initiator aborted commands that were not answered.", does("The path gets TEST UNIT READY, and is dead when that fails too.", Inferred), "lu vvol="+exampleVolume+" -> apd"),
		at(0x6, "PARITY", "Transport or driver failed.", effect{}, ""),
		at(0x7, "ERROR", "Transport or driver failed.", effect{}, ""),
		at(0x8, "RESET", "Unit, target or bus were reset.", effect{}, ""),
		at(0x9, "BAD_INTR", "Transport or driver failed.", effect{}, ""),
		at(0xa, "PASSTHROUGH", "The command was passed through.", effect{}, ""),
		at(0xb, "SOFT_ERROR", "The command may be repeated.", does("Retried.", Memory), ""),
		at(0xc, "RETRY", "The command is to be repeated.", does("Retried.", Memory), ""),
	}
}

// pluginStatuses are the entries of P: in a log line.
func pluginStatuses() []Entry {
	at := func(n uint64, name, means string, e effect, action string) Entry {
		r := ""
		if action != "" {
			r = "lu vvol=" + exampleVolume + " " + action
		}
		return Entry{Kind: Plugin, Code: numbered("P", n), Name: name, Means: means, ESXi: e.text, Certainty: e.certainty, Rule: r}
	}
	from := func(sense string) effect { return does("Probably made from "+sense+".", Inferred) }
	return []Entry{
		at(0x0, "GOOD", "The plug-in has nothing to add.", effect{}, ""),
		at(0x1, "TRANSIENT", "The command may be repeated.", effect{}, ""),
		at(0x2, "SNAPSHOT", "The device is a copy that can only be read.", effect{}, ""),
		at(0x3, "RESERVATION_LOST", "The host no longer has its reservation.", from("06/2A/03, 06/2A/04 or 06/29/xx"), "-> attention 2A/03"),
		at(0x4, "REQUEUE", "The command goes into the queue again.", effect{}, ""),
		at(0x5, "ATS_MISCOMPARE", "A COMPARE AND WRITE found other data.", from("0E/1D/00"), "-> miscompare"),
		at(0x6, "THINPROV_BUSY_GROWING", "The thin pool grows.", from("02/04/14"), "-> sense 02/04/14"),
		at(0x7, "THINPROV_ATQUOTA", "The thin pool is nearly full.", from("06/38/07"), "-> attention 38/07"),
		at(0x8, "THINPROV_NOSPACE", "The thin pool is full.", does("Made from 07/27/07.", Documented), "-> no-space"),
	}
}

// exampleHost is the host in the rules of the table.
const exampleHost = "iqn.1998-01.com.vmware:esx1"

// loginStatuses are those of RFC 7143 11.13.5.
func loginStatuses() []Entry {
	fails := does("Login fails. Not a permanent loss.", Inferred)
	lost := does("Login fails. Counts as permanent device loss where a target has one LUN and all paths say so; which of the codes ESXi takes for \"Target Unavailable\" is not public, and this is the first candidate.", Documented, Inferred)
	moved := does("Follows the redirection.", Inferred)
	retried := does("Login is tried again, until it is APD.", Inferred)
	at := func(n uint64, name, means string, e effect, other string) Entry {
		r := "login host=" + exampleHost + " -> "
		switch {
		case n == 0:
			r = ""
		case n == 0x0101:
			r += "redirect 10.0.0.2:3260"
		case n == 0x0102:
			r += "redirect 10.0.0.2:3260 permanent"
		default:
			r += "reject " + loginCode(n)
		}
		return Entry{Kind: Login, Code: loginCode(n), Name: name, Means: means, ESXi: e.text, Certainty: e.certainty, Rule: r, Other: other}
	}
	second := lost
	second.text = "Login fails. The second candidate, after 0x0203, for \"Target Unavailable\"."
	return []Entry{
		at(0x0000, "success", "Login goes on, or is complete.", effect{}, "logins"),
		at(0x0101, "target moved temporarily", "The target is for now at the address in TargetAddress.", moved, ""),
		at(0x0102, "target moved permanently", "The target is at the address in TargetAddress from now on.", moved, ""),
		at(0x0200, "initiator error", "The login can't be understood.", fails, "names that are no iSCSI names, and keys that can't be negotiated"),
		at(0x0201, "authentication failure", "Name or secret of CHAP are wrong.", fails, "CHAP"),
		at(0x0202, "authorization failure", "The initiator may not use this target.", fails, "initiators that `iscsi.initiators` does not list"),
		at(0x0203, "target not found", "There is no such target here.", lost, "another target name"),
		at(0x0204, "target removed", "The target is gone, and nobody knows where to.", second, "the knob `login_unavailable`"),
		at(0x0205, "unsupported version", "The array does not speak this version of iSCSI.", fails, "another version"),
		at(0x0206, "too many connections", "The session may not have another connection.", fails, "a second connection of a session"),
		at(0x0207, "missing parameter", "InitiatorName, TargetName or another key is missing.", fails, "logins without them"),
		at(0x0208, "can't include in session", "The array can't add a connection to this session.", fails, ""),
		at(0x0209, "session type not supported", "The array does not have this type of session.", fails, "an unknown SessionType"),
		at(0x020a, "session does not exist", "The connection is for a session that the array does not have.", fails, "a TSIH of no session"),
		at(0x020b, "invalid request during login", "A PDU came that has no place in a login.", fails, "PDUs other than Login Requests before the end of the login"),
		at(0x0300, "target error", "The array has a defect, or can't go on.", retried, ""),
		at(0x0301, "service unavailable", "The target does not work at the moment.", retried, "an array that stops"),
		at(0x0302, "out of resources", "The array has no room for another session.", retried, "more sessions than `iscsi.max_sessions`"),
	}
}
