package device

import "vvsim/scsi"

// CapacityAnswer is how a protocol endpoint answers READ CAPACITY.
type CapacityAnswer string

const (
	CapacityTiny     CapacityAnswer = "tiny"      // GOOD with 8 blocks
	CapacityZero     CapacityAnswer = "zero"      // GOOD with last LBA 0
	CapacityNotReady CapacityAnswer = "not-ready" // 02/04/00
	CapacityRefuse   CapacityAnswer = "refuse"    // 05/20/00
)

// MediaAnswer is how a protocol endpoint answers READ, WRITE and their kin.
type MediaAnswer string

const (
	MediaRefuse   MediaAnswer = "refuse"    // 05/20/00
	MediaNoMedium MediaAnswer = "no-medium" // 02/3A/00
	MediaZeros    MediaAnswer = "zeros"     // reads give zeros, the rest is refused
)

// Knobs settle what public sources leave open about ESXi (scsi.md 1.7, 1.8, 6).
type Knobs struct {
	EndpointCapacity CapacityAnswer // scsi.md 1.7: arrays differ
	EndpointMedia    MediaAnswer    // scsi.md 1.7: no public proof of what ESXi sends
	EndpointModes    bool           // MODE SENSE is served; scsi.md 6.3: nobody knows whether it is sent
	// UnboundSense is the code for an unbound or unknown subsidiary LU: 25/00, or
	// 68/01, which was made for it but may not count as permanent loss (scsi.md 1.8).
	UnboundSense scsi.ASC
	// BindAttention is raised on the protocol endpoint at bind and unbind: 3F/0E,
	// 3F/1A, or 0 for none (scsi.md 6.4).
	BindAttention scsi.ASC
	// ResetSubsidiaries lets a LOGICAL UNIT RESET of a protocol endpoint reset the
	// host's subsidiary LUs too (scsi.md 4.4).
	ResetSubsidiaries bool
	// ConglomerateReports serves SELECT REPORT 10h and 12h; only 11h is proven
	// (scsi.md 6.5).
	ConglomerateReports bool
	// SubsidiaryForm is that of the LUNs that bindings are told and listed with; all
	// forms are accepted (scsi.md 6.6).
	SubsidiaryForm scsi.SubsidiaryForm
	// ExplicitALUA offers SET TARGET PORT GROUPS (TPGS 11b instead of 01b).
	ExplicitALUA bool
}

// DefaultKnobs are the recommendations of scsi.md.
func DefaultKnobs() Knobs {
	return Knobs{EndpointCapacity: CapacityTiny, EndpointMedia: MediaRefuse, EndpointModes: true, UnboundSense: scsi.LogicalUnitNotSupported,
		BindAttention: scsi.ReportedLUNsDataChanged, ConglomerateReports: true}
}
