package codes

import (
	"fmt"

	"vvsim/scsi"
)

// exampleVolume is the name in the rules of the table.
const exampleVolume = "disk1"

// row is one line of the table of senses.
type row struct {
	key    scsi.SenseKey
	code   scsi.ASC
	name   string
	means  string
	esxi   effect
	action string // of a rule of layer lu, with its conditions; "" for "-> attention" and "-> sense"
	other  string
}

// senses are the entries of sense data.
func senses() (all []Entry) {
	for _, rows := range [][]row{quiet(), notReady(), medium(), hardware(), illegal(), attentions(), protect(), aborted()} {
		for _, r := range rows {
			code := SenseCode(scsi.Sense(r.key, r.code))
			e := Entry{Kind: Sense, Code: code, Name: r.name, Means: r.means, ESXi: r.esxi.text, Certainty: r.esxi.certainty, Other: r.other}
			switch {
			case r.action != "":
			case r.key == scsi.UnitAttention:
				r.action = "-> attention " + r.code.String()
			default:
				r.action = "-> sense " + code
			}
			e.Rule = "lu vvol=" + exampleVolume + " " + r.action
			all = append(all, e)
		}
	}
	return all
}

// What hosts do about families of codes, whatever the qualifier.
var (
	logged      = does("Logged.", Standard)
	unsupported = does("The command fails; the feature is marked as not supported.", Documented)
	reset       = does("Retried. SPC-2 reservations are lost.", Standard)
	retried     = does("Retried.", Standard)
)

// family is the entry of a qualifier that the table does not list, of codes whose qualifiers all
// tell the same to a host.
func family(s scsi.SenseData) (Entry, bool) {
	for _, f := range []row{
		{scsi.RecoveredError, 0x18, "", "The data are right; the medium had to correct them.", logged, "", ""},
		{scsi.IllegalRequest, 0x26, "", "A field of the parameter list has a value that the unit does not take.", unsupported, "", ""},
		{scsi.UnitAttention, 0x29, "", "The unit began anew, as seen from this nexus.", reset, "", ""},
		{scsi.AbortedCommand, 0x4b, "", "The transfer of data failed.", retried, "", ""},
	} {
		if f.key == s.Key && f.code == s.Code>>8 {
			return Entry{Kind: Sense, Code: SenseCode(s), Name: fmt.Sprintf("(a qualifier of %Xh that is not in the table)", uint16(f.code)),
				Means: f.means, ESXi: f.esxi.text, Certainty: f.esxi.certainty}, true
		}
	}
	return Entry{}, false
}

func quiet() []row {
	return []row{
		{scsi.NoSense, scsi.NoAdditionalSense, "NO ADDITIONAL SENSE INFORMATION", "Nothing is wrong.", effect{}, "", "REQUEST SENSE of a unit that is well"},
		{scsi.RecoveredError, 0x1701, "RECOVERED DATA WITH RETRIES", "The data are right; the medium needed several attempts.", logged, "", ""},
		{scsi.RecoveredError, 0x1800, "RECOVERED DATA WITH ERROR CORRECTION APPLIED", "The data are right; the medium had to correct them.", logged, "", ""},
		{scsi.RecoveredError, scsi.FailurePrediction, "FAILURE PREDICTION THRESHOLD EXCEEDED", "The device expects to fail soon.", logged, "", ""},
	}
}

func notReady() []row {
	unready := does("Retried; ends as a dead path, or APD.", Inferred)
	return []row{
		{scsi.NotReady, scsi.CauseNotReportable, "LOGICAL UNIT NOT READY, CAUSE NOT REPORTABLE", "The unit can't be used now, and does not say why.", unready, "", "READ CAPACITY of a protocol endpoint, where the knob `pe_capacity` says so"},
		{scsi.NotReady, scsi.BecomingReady, "LOGICAL UNIT IS IN PROCESS OF BECOMING READY", "The unit starts.", does("Failover on some active/passive arrays, else retried.", Documented), "", ""},
		{scsi.NotReady, scsi.InitializingCommandRequired, "LOGICAL UNIT NOT READY, INITIALIZING COMMAND REQUIRED", "The unit waits for START STOP UNIT.", effect{}, "", ""},
		{scsi.NotReady, scsi.ManualInterventionRequired, "LOGICAL UNIT NOT READY, MANUAL INTERVENTION REQUIRED", "Somebody has to do something to the device.", does("Failover on active/passive arrays. Not a permanent loss.", Documented), "", ""},
		{scsi.NotReady, scsi.AccessStateTransition, "LOGICAL UNIT NOT ACCESSIBLE, ASYMMETRIC ACCESS STATE TRANSITION", "The target port group changes its state.", does("Retried, or failover.", Documented), "-> alua transitioning", "a target port group that SET TARGET PORT GROUPS has put into that state"},
		{scsi.NotReady, scsi.TargetPortStandby, "LOGICAL UNIT NOT ACCESSIBLE, TARGET PORT IN STANDBY STATE", "This path can't be used now.", does("Failover; REPORT TARGET PORT GROUPS is read again.", Documented), "-> alua standby", "a target port group that SET TARGET PORT GROUPS has put into that state"},
		{scsi.NotReady, scsi.TargetPortUnavailable, "LOGICAL UNIT NOT ACCESSIBLE, TARGET PORT IN UNAVAILABLE STATE", "This path can't be used at all.", does("The path is unusable and I/O waits. On all paths it is APD only with `Scsi.ExtendAPDCondition`=1 (default 0).", Setting, Inferred), "-> unavailable", ""},
		{scsi.NotReady, 0x0412, "LOGICAL UNIT NOT READY, OFFLINE", "The unit was taken offline.", unready, "", ""},
		{scsi.NotReady, scsi.SpaceAllocationInProgress, "LOGICAL UNIT NOT READY, SPACE ALLOCATION IN PROGRESS", "A thin pool is growing: the write may be repeated.", does("P:0x6, retried.", Inferred), "", ""},
		{scsi.NotReady, scsi.SanitizeInProgress, "LOGICAL UNIT NOT READY, SANITIZE IN PROGRESS", "A SANITIZE erases the unit.", effect{}, "", "commands while a SANITIZE runs"},
		{scsi.NotReady, 0x0423, "LOGICAL UNIT NOT READY, AFFILIATION REQUIRED", "The unit waits for an affiliation.", effect{}, "", ""},
		{scsi.NotReady, scsi.MediumNotPresent, "MEDIUM NOT PRESENT", "There is a device, but nothing in it.", does("Treated as no media, not as a permanent loss.", Memory), "", "commands on blocks to a protocol endpoint, where the knob `pe_media` says so"},
	}
}

func medium() []row {
	fails := does("An I/O error.", Standard)
	return []row{
		{scsi.MediumError, 0x0300, "PERIPHERAL DEVICE WRITE FAULT", "The data could not be written.", fails, "", ""},
		{scsi.MediumError, scsi.WriteErrorASC, "WRITE ERROR", "The block in INFORMATION could not be written.", fails, "op=write -> torn 0", "a write that the engine could not carry out"},
		{scsi.MediumError, scsi.WriteReallocationFailed, "WRITE ERROR - AUTO REALLOCATION FAILED", "The block is bad, and there is none in its place.", fails, "", ""},
		{scsi.MediumError, scsi.UnrecoveredReadError, "UNRECOVERED READ ERROR", "The block in INFORMATION can't be read.", does("Passed to the guest as a medium error.", Standard), "lba=0-7 -> medium-error", "a block that the engine finds damaged"},
		{scsi.MediumError, scsi.IncompatibleMediumInstalled, "INCOMPATIBLE MEDIUM INSTALLED", "The medium does not fit.", effect{}, "", ""},
		{scsi.MediumError, scsi.SanitizeCommandFailed, "SANITIZE COMMAND FAILED", "A SANITIZE has not erased everything.", effect{}, "", "commands after a SANITIZE that failed"},
	}
}

func hardware() []row {
	lost := does("Permanent device loss, when it comes on all paths.", Memory)
	unlisted := does("Not listed as a permanent loss.", Memory)
	cut := does("An error, or failover.", Standard)
	return []row{
		{scsi.HardwareError, 0x0800, "LOGICAL UNIT COMMUNICATION FAILURE", "The array does not reach the unit.", cut, "", ""},
		{scsi.HardwareError, 0x0801, "LOGICAL UNIT COMMUNICATION TIME-OUT", "The unit did not answer the array.", cut, "", ""},
		{scsi.HardwareError, 0x0802, "LOGICAL UNIT COMMUNICATION PARITY ERROR", "What the unit answered was damaged.", cut, "", ""},
		{scsi.HardwareError, 0x0803, "LOGICAL UNIT COMMUNICATION CRC ERROR (ULTRA-DMA/32)", "What the unit answered was damaged.", cut, "", ""},
		{scsi.HardwareError, scsi.LogicalUnitNotSelfConfigured, "LOGICAL UNIT HAS NOT SELF-CONFIGURED YET", "The unit is not set up.", unlisted, "", ""},
		{scsi.HardwareError, scsi.LogicalUnitFailure, "LOGICAL UNIT FAILURE", "The unit is broken.", lost, "-> pdl 04/3E/01", ""},
		{scsi.HardwareError, scsi.LogicalUnitTimeout, "TIMEOUT ON LOGICAL UNIT", "The unit took too long.", unlisted, "", ""},
		{scsi.HardwareError, scsi.LogicalUnitFailedSelfTest, "LOGICAL UNIT FAILED SELF-TEST", "The unit is broken.", lost, "-> pdl 04/3E/03", ""},
		{scsi.HardwareError, 0x4080, "DIAGNOSTIC FAILURE ON COMPONENT NN (80H-FFH)", "A part of the device failed; the qualifier, 80h to FFh, says which.", cut, "", ""},
		{scsi.HardwareError, scsi.InternalTargetFailureASC, "INTERNAL TARGET FAILURE", "The array has a defect.", does("An I/O error, or retried.", Memory), "", "a defect of the array; its log tells more"},
		{scsi.HardwareError, scsi.LogicalUnitFailedSelfConfig, "LOGICAL UNIT FAILED SELF-CONFIGURATION", "The unit could not be set up.", lost, "-> pdl 04/4C/00", ""},
		{scsi.HardwareError, scsi.SetTargetPortGroupsFailed, "SET TARGET PORT GROUPS COMMAND FAILED", "The state of a target port group was not changed.", effect{}, "", "SET TARGET PORT GROUPS that the array refuses"},
	}
}

func illegal() []row {
	const extended = "EXTENDED COPY"
	return []row{
		{scsi.IllegalRequest, scsi.ParameterListLengthError, "PARAMETER LIST LENGTH ERROR", "The parameter list is shorter than what the CDB or its own content announces.", effect{}, "", "a parameter list that is too short"},
		{scsi.IllegalRequest, scsi.InvalidCommandOperationCode, "INVALID COMMAND OPERATION CODE", "The unit does not have this command.", unsupported, "", "a command that the unit does not have"},
		{scsi.IllegalRequest, scsi.NotAdministrativeLU, "NOT AN ADMINISTRATIVE LOGICAL UNIT", "The command is for protocol endpoints.", effect{}, "", "in-band bind commands, which are done through VASA here"},
		{scsi.IllegalRequest, scsi.NotSubsidiaryLU, "NOT A SUBSIDIARY LOGICAL UNIT", "The command is for units behind a protocol endpoint.", effect{}, "", ""},
		{scsi.IllegalRequest, scsi.NotConglomerateLU, "NOT A CONGLOMERATE LOGICAL UNIT", "The command is for protocol endpoints and the units behind them.", effect{}, "", ""},
		{scsi.IllegalRequest, scsi.LBAOutOfRangeASC, "LOGICAL BLOCK ADDRESS OUT OF RANGE", "The command goes beyond the end of the unit; INFORMATION is its first block that does.", does("An I/O error.", Standard), "", "access beyond the end"},
		{scsi.IllegalRequest, scsi.InvalidFieldInCDBASC, "INVALID FIELD IN CDB", "A field of the CDB, to which sense key specific points, has a value that the unit does not take.", unsupported, "", "CDBs with fields that the unit does not take"},
		{scsi.IllegalRequest, scsi.LogicalUnitNotSupported, "LOGICAL UNIT NOT SUPPORTED", "There is no unit at this LUN: unbound, unmapped or deleted.", does("Permanent device loss, when it comes on all paths: \"Device is permanently unavailable\". Paths are dead, I/O fails at once, nothing is sent any more; on some paths only, I/O moves to the others.", Documented), "-> pdl", "a LUN at which nothing is, or no longer is, bound"},
		{scsi.IllegalRequest, 0x2501, "(not assigned)", "A qualifier of 25h that the standard does not assign.", does("Not documented; not a permanent loss as far as is known.", Inferred), "", ""},
		{scsi.IllegalRequest, scsi.InvalidFieldInParameterASC, "INVALID FIELD IN PARAMETER LIST", "A field of the parameter list, to which sense key specific points, has a value that the unit does not take.", unsupported, "", "parameter lists with fields that the unit does not take"},
		{scsi.IllegalRequest, scsi.ParameterNotSupported, "PARAMETER NOT SUPPORTED", "The unit does not have this parameter.", unsupported, "", ""},
		{scsi.IllegalRequest, scsi.ParameterValueInvalid, "PARAMETER VALUE INVALID", "The unit does not take this value.", unsupported, "", ""},
		{scsi.IllegalRequest, scsi.InvalidReleaseOfReservation, "INVALID RELEASE OF PERSISTENT RESERVATION", "The reservation that was to be released is another.", unsupported, "", "PERSISTENT RESERVE OUT, RELEASE with another type"},
		{scsi.IllegalRequest, scsi.TooManyTargetDescriptors, "TOO MANY TARGET DESCRIPTORS", "The copy names more units than may be.", unsupported, "", extended},
		{scsi.IllegalRequest, scsi.UnsupportedTargetDescriptor, "UNSUPPORTED TARGET DESCRIPTOR TYPE CODE", "The copy names a unit in a way that is not supported.", unsupported, "", extended},
		{scsi.IllegalRequest, scsi.TooManySegmentDescriptors, "TOO MANY SEGMENT DESCRIPTORS", "The copy has more parts than may be.", unsupported, "", extended},
		{scsi.IllegalRequest, scsi.UnsupportedSegmentDescriptor, "UNSUPPORTED SEGMENT DESCRIPTOR TYPE CODE", "The copy has a part of a type that is not supported.", unsupported, "", extended},
		{scsi.IllegalRequest, scsi.InlineDataLengthExceeded, "INLINE DATA LENGTH EXCEEDED", "The copy brings data along, which is not supported.", unsupported, "", extended},
		{scsi.IllegalRequest, scsi.InvalidCopyOperation, "INVALID OPERATION FOR COPY SOURCE OR DESTINATION", "The units of the copy do not allow it.", effect{}, "", ""},
		{scsi.IllegalRequest, scsi.CommandSequenceError, "COMMAND SEQUENCE ERROR", "The command does not fit to those before it.", effect{}, "", ""},
		{scsi.IllegalRequest, scsi.SavingParametersNotSupported, "SAVING PARAMETERS NOT SUPPORTED", "Mode pages are not kept.", effect{}, "", "MODE SENSE of saved values"},
		{scsi.IllegalRequest, scsi.InsufficientReservationSpace, "INSUFFICIENT RESERVATION RESOURCES", "There is no room for another reservation.", effect{}, "", ""},
		{scsi.IllegalRequest, scsi.InsufficientRegistrationSpace, "INSUFFICIENT REGISTRATION RESOURCES", "There is no room for another registration.", effect{}, "", "PERSISTENT RESERVE OUT with too many registrations"},
		{scsi.IllegalRequest, scsi.InsufficientBindResources, "INSUFFICIENT RESOURCES TO BIND", "There is no room for another binding.", effect{}, "", ""},
		{scsi.IllegalRequest, scsi.LogicalUnitNotConfigured, "LOGICAL UNIT NOT CONFIGURED", "There is a unit, but it is not set up.", does("Not known.", Inferred), "", ""},
		{scsi.IllegalRequest, scsi.SubsidiaryNotConfigured, "SUBSIDIARY LOGICAL UNIT NOT CONFIGURED", "Nothing is bound at this secondary id.", does("Made for this; whether it counts as a permanent loss is not known.", Standard, Inferred), "-> pdl 05/68/01", "unbound secondary ids, with the knob `unbound_sense`"},
	}
}

func attentions() []row {
	inquiry := does("INQUIRY is sent again.", Standard)
	return []row{
		{scsi.UnitAttention, scsi.PowerOnResetOrBusDeviceReset, "POWER ON, RESET, OR BUS DEVICE RESET OCCURRED", "The unit began anew, as seen from this nexus.", reset, "", "the first command of a session to a unit"},
		{scsi.UnitAttention, scsi.PowerOnOccurred, "POWER ON OCCURRED", "The array was switched on.", reset, "", ""},
		{scsi.UnitAttention, scsi.BusResetOccurred, "SCSI BUS RESET OCCURRED", "The bus was reset.", reset, "", ""},
		{scsi.UnitAttention, scsi.BusDeviceResetOccurred, "BUS DEVICE RESET FUNCTION OCCURRED", "The unit was reset, by LOGICAL UNIT RESET or a reset of the target.", reset, "", "a reset"},
		{scsi.UnitAttention, scsi.DeviceInternalReset, "DEVICE INTERNAL RESET", "The device reset itself.", reset, "", ""},
		{scsi.UnitAttention, scsi.NexusLossOccurred, "I_T NEXUS LOSS OCCURRED", "The session was lost.", reset, "", "I_T NEXUS RESET"},
		{scsi.UnitAttention, scsi.ParametersChanged, "PARAMETERS CHANGED", "Something that the host may have read has changed.", effect{}, "", ""},
		{scsi.UnitAttention, scsi.ModeParametersChanged, "MODE PARAMETERS CHANGED", "Mode pages have changed.", does("Mode pages are read again.", Standard), "", "MODE SELECT of another nexus, or another durability of the volume"},
		{scsi.UnitAttention, scsi.ReservationsPreempted, "RESERVATIONS PREEMPTED", "Another host has taken the reservation.", does("P:0x3, reservation lost.", Inferred), "", "PERSISTENT RESERVE OUT, PREEMPT or CLEAR, of another nexus"},
		{scsi.UnitAttention, scsi.ReservationsReleased, "RESERVATIONS RELEASED", "The reservation of all registrants was released.", does("P:0x3, reservation lost.", Inferred), "", "PERSISTENT RESERVE OUT, RELEASE, of another nexus"},
		{scsi.UnitAttention, scsi.RegistrationsPreempted, "REGISTRATIONS PREEMPTED", "Another host has removed the registration.", effect{}, "", "PERSISTENT RESERVE OUT, PREEMPT, of another nexus"},
		{scsi.UnitAttention, scsi.AccessStateChanged, "ASYMMETRIC ACCESS STATE CHANGED", "The state of a target port group has changed.", does("REPORT TARGET PORT GROUPS is read again.", Documented), "", "SET TARGET PORT GROUPS of another nexus"},
		{scsi.UnitAttention, scsi.ImplicitTransitionFailed, "IMPLICIT ASYMMETRIC ACCESS STATE TRANSITION FAILED", "The array could not change the state of a target port group.", does("REPORT TARGET PORT GROUPS is read again.", Documented), "", ""},
		{scsi.UnitAttention, scsi.CapacityDataChanged, "CAPACITY DATA HAS CHANGED", "The unit has another size.", does("The capacity is read again.", Standard), "", "`vvsim vvol resize`"},
		{scsi.UnitAttention, scsi.CommandsClearedByAnother, "COMMANDS CLEARED BY ANOTHER INITIATOR", "Commands of this nexus were aborted by another.", effect{}, "", "CLEAR TASK SET or PREEMPT AND ABORT of another nexus"},
		{scsi.UnitAttention, scsi.ThinProvisioningThreshold, "THIN PROVISIONING SOFT THRESHOLD REACHED", "The pool is nearly full.", does("P:0x7: a warning alarm of the datastore; I/O goes on. It may come on READ too.", Documented, Vendor), "", ""},
		{scsi.UnitAttention, scsi.InquiryDataChanged, "INQUIRY DATA HAS CHANGED", "INQUIRY tells something else now.", inquiry, "", ""},
		{scsi.UnitAttention, scsi.ReportedLUNsDataChanged, "REPORTED LUNS DATA HAS CHANGED", "There are other LUNs now.", does("REPORT LUNS is sent again.", Standard), "", "a bind or an unbind of this host, on its protocol endpoint"},
		{scsi.UnitAttention, scsi.BindCompleted, "BIND COMPLETED", "A subsidiary unit was bound.", effect{}, "", ""},
		{scsi.UnitAttention, scsi.BindRedirected, "BIND REDIRECTED", "A subsidiary unit is to be bound elsewhere.", effect{}, "", ""},
		{scsi.UnitAttention, scsi.SubsidiaryBindingChanged, "SUBSIDIARY BINDING CHANGED", "There are other bindings now.", effect{}, "", "as 06/3F/0E, with the knob `bind_attention`"},
		{scsi.UnitAttention, scsi.FailurePrediction, "FAILURE PREDICTION THRESHOLD EXCEEDED", "The device expects to fail soon.", does("Logged.", Standard), "", ""},
	}
}

func protect() []row {
	readOnly := does("The device is read-only.", Standard)
	return []row{
		{scsi.DataProtect, scsi.WriteProtectedASC, "WRITE PROTECTED", "The unit can't be written.", readOnly, "", "writes to a snapshot or to a volume that is read-only"},
		{scsi.DataProtect, 0x2701, "HARDWARE WRITE PROTECTED", "The device can't be written.", readOnly, "", ""},
		{scsi.DataProtect, 0x2702, "LOGICAL UNIT SOFTWARE WRITE PROTECTED", "Software has protected the unit.", readOnly, "", ""},
		{scsi.DataProtect, 0x2705, "PERMANENT WRITE PROTECT", "The unit can never be written again.", readOnly, "", ""},
		{scsi.DataProtect, scsi.SpaceAllocationFailedProtect, "SPACE ALLOCATION FAILED WRITE PROTECT", "The pool is full: what needs no space goes on.", does("P:0x8: a virtual machine that needs space is paused with a question, Retry or Cancel; hosts may hang on VMFS metadata.", Documented), "-> no-space", "a full container, or a full disk under the array"},
	}
}

func aborted() []row {
	path := does("Retried on the path.", Memory)
	const extended = "EXTENDED COPY"
	return []row{
		{scsi.CopyAborted, scsi.NoAdditionalSense, "NO ADDITIONAL SENSE INFORMATION", "A copy ended before it was complete.", effect{}, "", extended + " that was aborted"},
		{scsi.CopyAborted, scsi.CopyTargetNotReachable, "COPY TARGET DEVICE NOT REACHABLE", "The copy names a unit that this host does not reach.", effect{}, "", extended},
		{scsi.AbortedCommand, scsi.NoAdditionalSense, "NO ADDITIONAL SENSE INFORMATION", "The device ended the command.", retried, "", ""},
		{scsi.AbortedCommand, scsi.NotEnoughUnsolicitedData, "WRITE ERROR - NOT ENOUGH UNSOLICITED DATA", "The initiator sent less data with the command than it announced.", path, "", "Data-Out that is shorter than announced (RFC 7143 11.4.7.2)"},
		{scsi.AbortedCommand, scsi.InvalidInformationUnit, "INVALID FIELD IN COMMAND INFORMATION UNIT", "The command arrived damaged.", path, "", ""},
		{scsi.AbortedCommand, scsi.InternalTargetFailureASC, "INTERNAL TARGET FAILURE", "The device ended the command for a reason of its own.", retried, "", ""},
		{scsi.AbortedCommand, 0x4500, "SELECT OR RESELECT FAILURE", "The initiator was not reached.", retried, "", ""},
		{scsi.AbortedCommand, 0x4701, "DATA PHASE CRC ERROR DETECTED", "The data arrived damaged.", retried, "", ""},
		{scsi.AbortedCommand, 0x477f, "SOME COMMANDS CLEARED BY ISCSI PROTOCOL EVENT", "A connection or session was recovered, and the command was lost with it.", retried, "", ""},
		{scsi.AbortedCommand, scsi.DataPhaseError, "DATA PHASE ERROR", "The transfer of data failed.", retried, "", ""},
		{scsi.AbortedCommand, scsi.OverlappedCommandsAttempted, "OVERLAPPED COMMANDS ATTEMPTED", "Two commands had the same tag.", path, "", ""},
		{scsi.Miscompare, scsi.MiscompareDuringVerify, "MISCOMPARE DURING VERIFY OPERATION", "COMPARE AND WRITE or VERIFY found other data; INFORMATION is the offset of the first byte that differs.", does("P:0x5: a race for a lock, or \"ATS Miscompare detected between test and set HB images\".", Standard, Documented), "-> miscompare", "COMPARE AND WRITE or VERIFY that finds other data"},
	}
}
