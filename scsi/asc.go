package scsi

import "fmt"

// SenseKey is a sense key (SPC-4 4.5.6).
type SenseKey uint8

const (
	NoSense        SenseKey = 0x0
	RecoveredError SenseKey = 0x1
	NotReady       SenseKey = 0x2
	MediumError    SenseKey = 0x3
	HardwareError  SenseKey = 0x4
	IllegalRequest SenseKey = 0x5
	UnitAttention  SenseKey = 0x6
	DataProtect    SenseKey = 0x7
	BlankCheck     SenseKey = 0x8
	VendorSpecific SenseKey = 0x9
	CopyAborted    SenseKey = 0xa
	AbortedCommand SenseKey = 0xb
	VolumeOverflow SenseKey = 0xd
	Miscompare     SenseKey = 0xe
	Completed      SenseKey = 0xf
)

var senseKeyNames = [16]string{
	"NO SENSE", "RECOVERED ERROR", "NOT READY", "MEDIUM ERROR", "HARDWARE ERROR", "ILLEGAL REQUEST",
	"UNIT ATTENTION", "DATA PROTECT", "BLANK CHECK", "VENDOR SPECIFIC", "COPY ABORTED", "ABORTED COMMAND",
	"RESERVED", "VOLUME OVERFLOW", "MISCOMPARE", "COMPLETED",
}

// String is the sense key as SPC-4 prints it.
func (k SenseKey) String() string { return senseKeyNames[k&0xf] }

// ASC is an additional sense code (high byte) with its qualifier (low byte).
type ASC uint16

// Additional sense codes that the array sends or knows (SPC-4 annex F; scsi.md 2).
const (
	NoAdditionalSense             ASC = 0x0000
	CauseNotReportable            ASC = 0x0400
	BecomingReady                 ASC = 0x0401
	InitializingCommandRequired   ASC = 0x0402
	ManualInterventionRequired    ASC = 0x0403
	AccessStateTransition         ASC = 0x040a
	TargetPortStandby             ASC = 0x040b
	TargetPortUnavailable         ASC = 0x040c
	SpaceAllocationInProgress     ASC = 0x0414
	SanitizeInProgress            ASC = 0x041b
	WriteErrorASC                 ASC = 0x0c00
	WriteReallocationFailed       ASC = 0x0c02
	NotEnoughUnsolicitedData      ASC = 0x0c0d
	CopyTargetNotReachable        ASC = 0x0d02
	InvalidInformationUnit        ASC = 0x0e03
	UnrecoveredReadError          ASC = 0x1100
	ParameterListLengthError      ASC = 0x1a00
	MiscompareDuringVerify        ASC = 0x1d00
	InvalidCommandOperationCode   ASC = 0x2000
	NotAdministrativeLU           ASC = 0x200d
	NotSubsidiaryLU               ASC = 0x200e
	NotConglomerateLU             ASC = 0x200f
	LBAOutOfRangeASC              ASC = 0x2100
	InvalidFieldInCDBASC          ASC = 0x2400
	LogicalUnitNotSupported       ASC = 0x2500
	InvalidFieldInParameterASC    ASC = 0x2600
	ParameterNotSupported         ASC = 0x2601
	ParameterValueInvalid         ASC = 0x2602
	InvalidReleaseOfReservation   ASC = 0x2604
	TooManyTargetDescriptors      ASC = 0x2606
	UnsupportedTargetDescriptor   ASC = 0x2607
	TooManySegmentDescriptors     ASC = 0x2608
	UnsupportedSegmentDescriptor  ASC = 0x2609
	InlineDataLengthExceeded      ASC = 0x260b
	InvalidCopyOperation          ASC = 0x260c
	WriteProtectedASC             ASC = 0x2700
	SpaceAllocationFailedProtect  ASC = 0x2707
	PowerOnResetOrBusDeviceReset  ASC = 0x2900
	PowerOnOccurred               ASC = 0x2901
	BusResetOccurred              ASC = 0x2902
	BusDeviceResetOccurred        ASC = 0x2903
	DeviceInternalReset           ASC = 0x2904
	NexusLossOccurred             ASC = 0x2907
	ParametersChanged             ASC = 0x2a00
	ModeParametersChanged         ASC = 0x2a01
	ReservationsPreempted         ASC = 0x2a03
	ReservationsReleased          ASC = 0x2a04
	RegistrationsPreempted        ASC = 0x2a05
	AccessStateChanged            ASC = 0x2a06
	ImplicitTransitionFailed      ASC = 0x2a07
	CapacityDataChanged           ASC = 0x2a09
	CommandSequenceError          ASC = 0x2c00
	CommandsClearedByAnother      ASC = 0x2f00
	IncompatibleMediumInstalled   ASC = 0x3000
	SanitizeCommandFailed         ASC = 0x3103
	SavingParametersNotSupported  ASC = 0x3900
	ThinProvisioningThreshold     ASC = 0x3807
	MediumNotPresent              ASC = 0x3a00
	LogicalUnitNotSelfConfigured  ASC = 0x3e00
	LogicalUnitFailure            ASC = 0x3e01
	LogicalUnitTimeout            ASC = 0x3e02
	LogicalUnitFailedSelfTest     ASC = 0x3e03
	InquiryDataChanged            ASC = 0x3f03
	ReportedLUNsDataChanged       ASC = 0x3f0e
	BindCompleted                 ASC = 0x3f18
	BindRedirected                ASC = 0x3f19
	SubsidiaryBindingChanged      ASC = 0x3f1a
	InternalTargetFailureASC      ASC = 0x4400
	DataPhaseError                ASC = 0x4b00
	LogicalUnitFailedSelfConfig   ASC = 0x4c00
	OverlappedCommandsAttempted   ASC = 0x4e00
	InsufficientReservationSpace  ASC = 0x5502
	InsufficientRegistrationSpace ASC = 0x5504
	InsufficientBindResources     ASC = 0x5511
	FailurePrediction             ASC = 0x5d00
	SetTargetPortGroupsFailed     ASC = 0x670a
	LogicalUnitNotConfigured      ASC = 0x6800
	SubsidiaryNotConfigured       ASC = 0x6801
)

// String is the code as "25/00".
func (a ASC) String() string { return fmt.Sprintf("%02X/%02X", uint8(a>>8), uint8(a)) }
