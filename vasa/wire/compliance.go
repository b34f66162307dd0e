package wire

import "time"

// ComplianceSubject is comp:ComplianceSubject: objects and the profile, in a generation, that
// they are compared with.
type ComplianceSubject struct {
	GenerationID *int64   `vasa:"generationId,?"`
	ObjectID     []string `vasa:"objectId,+"`
	ProfileID    *string  `vasa:"profileId,?~"` // nil: the object's own
}

// ComplianceResult is comp:ComplianceResult: whether an object keeps a profile. A mismatch
// means that the object has another profile or generation than the one asked about.
type ComplianceResult struct {
	CheckTime         time.Time          `vasa:"checkTime,1"`
	ComplianceStatus  ComplianceStatus   `vasa:"complianceStatus,1"`
	ObjectID          string             `vasa:"objectId,1"`
	OperationalStatus *OperationalStatus `vasa:"operationalStatus,?~"`
	ProfileID         *string            `vasa:"profileId,?~"`
	ProfileMismatch   bool               `vasa:"profileMismatch,1"`
	ViolatedPolicy    []PolicyStatus     `vasa:"violatedPolicy,*"`
}

// OperationalStatus is comp:OperationalStatus: what is being done about an object.
type OperationalStatus struct {
	Healthy           *bool      `vasa:"healthy,?"`
	OperationETA      *time.Time `vasa:"operationETA,?~"`
	OperationProgress *int64     `vasa:"operationProgress,?"` // percent
	Transitional      *bool      `vasa:"transitional,?"`
}

// PolicyStatus is comp:PolicyStatus: a capability that is not kept.
type PolicyStatus struct {
	CurrentValue  CapabilityInstance `vasa:"currentValue,1"`
	ExpectedValue CapabilityInstance `vasa:"expectedValue,1"`
}

// QueryComplianceResult is the request queryComplianceResult: asks whether objects keep their
// profiles.
type QueryComplianceResult struct {
	Compliance []ComplianceSubject `vasa:"compliance,+"`
}

// QueryComplianceResultResponse is its response.
type QueryComplianceResultResponse struct {
	Return []ComplianceResult `vasa:"return,*"`
}

// ComplianceStatus is comp:ComplianceStatusEnum.
type ComplianceStatus string

// Values of ComplianceStatus.
const (
	ComplianceStatusCompliant    ComplianceStatus = "compliant"
	ComplianceStatusNonCompliant ComplianceStatus = "nonCompliant"
	ComplianceStatusUnknown      ComplianceStatus = "unknown"
)

// Values lists all of them.
func (ComplianceStatus) Values() []ComplianceStatus {
	return []ComplianceStatus{ComplianceStatusCompliant, ComplianceStatusNonCompliant, ComplianceStatusUnknown}
}
