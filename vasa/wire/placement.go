package wire

// CapacityMetric is place:CapacityMetric: what is left of a kind of capacity. No operation of
// VASA 2.0 uses the types of placement.
type CapacityMetric struct {
	CapacityCategory    string `vasa:"capacityCategory,1"`
	PercentageRemaining int64  `vasa:"percentageRemaining,1"`
}

// ContainerUsage is place:ContainerUsage: what a placement leaves of a container.
type ContainerUsage struct {
	CapacityInfo CapacityMetric `vasa:"capacityInfo,1"`
	ContainerID  string         `vasa:"containerId,1"`
}

// PlacementSolution is place:PlacementSolution: containers for subjects.
type PlacementSolution struct {
	ContainerUsage    []ContainerUsage    `vasa:"containerUsage,*"`
	SubjectAssignment []SubjectAssignment `vasa:"subjectAssignment,+"`
}

// ProvisioningSubject is place:ProvisioningSubject: an object that needs a place.
type ProvisioningSubject struct {
	CapacityInMB *int64     `vasa:"capacityInMB,?"` // MB of 2^20 bytes
	ObjectID     *string    `vasa:"objectId,?~"`
	Profile      AnyProfile `vasa:"profile,1"`
	SubjectID    string     `vasa:"subjectId,1"`
}

// SubjectAssignment is place:SubjectAssignment: the container of a subject.
type SubjectAssignment struct {
	ContainerID string `vasa:"containerId,1"`
	SubjectID   string `vasa:"subjectId,1"`
}
