package wire

import "time"

// StorageEvent is data:StorageEvent: something that happened. The client has seen all up to
// the EventID it asks after.
type StorageEvent struct {
	ArrayID         *string          `vasa:"arrayId,?~"`
	EventConfigType *EventConfigType `vasa:"eventConfigType,?~"`
	EventID         *int64           `vasa:"eventId,?"`
	EventObjType    *EntityType      `vasa:"eventObjType,?~"` // for EventType Policy a PolicyObject
	EventTimeStamp  *time.Time       `vasa:"eventTimeStamp,?~"`
	EventType       *EventType       `vasa:"eventType,?~"`
	MessageID       *string          `vasa:"messageId,?~"`
	ObjectID        *string          `vasa:"objectId,?~"`
	ParameterList   []NameValuePair  `vasa:"parameterList,*"`
}

// AnyEvent is a *StorageEvent or a pointer to what extends it.
type AnyEvent interface{ Base() *StorageEvent }

// Base is the part that all of them share.
func (e *StorageEvent) Base() *StorageEvent { return e }

// RebindEvent is vvol:RebindEvent: an event that asks the host to bind virtual volumes anew;
// its EventType is Rebind.
type RebindEvent struct {
	StorageEvent
	VVolID []string `vasa:"vvolId,+"`
}

// StorageAlarm is data:StorageAlarm: a state of an object that turned Red or Yellow, or Green
// again.
type StorageAlarm struct {
	AlarmID        *int64          `vasa:"alarmId,?"`
	AlarmTimeStamp *time.Time      `vasa:"alarmTimeStamp,?~"`
	AlarmType      *AlarmType      `vasa:"alarmType,?~"`
	ContainerID    *string         `vasa:"containerId,?~"`
	MessageID      *string         `vasa:"messageId,?~"`
	ObjectID       *string         `vasa:"objectId,?~"`
	ObjectType     *EntityType     `vasa:"objectType,?~"`
	ParameterList  []NameValuePair `vasa:"parameterList,*"`
	Status         *AlarmStatus    `vasa:"status,?~"`
}

// AnyAlarm is a *StorageAlarm or a pointer to what extends it.
type AnyAlarm interface{ Base() *StorageAlarm }

// Base is the part that all of them share.
func (a *StorageAlarm) Base() *StorageAlarm { return a }

// ComplianceAlarm is data:ComplianceAlarm: an alarm about an object that does not keep its
// profile.
type ComplianceAlarm struct {
	StorageAlarm
	ComplianceStatus  ComplianceStatus   `vasa:"complianceStatus,1"`
	OperationalStatus *OperationalStatus `vasa:"operationalStatus,?~"`
	ProfileID         string             `vasa:"profileId,1"`
	ViolatedPolicy    []PolicyStatus     `vasa:"violatedPolicy,*"`
}

// GetEvents is the request getEvents: asks for the events after one.
type GetEvents struct {
	LastEventID *int64 `vasa:"lastEventId,?"` // -1: start over
}

// GetEventsResponse is its response.
type GetEventsResponse struct {
	Return []AnyEvent `vasa:"return,*"`
}

// GetAlarms is the request getAlarms: asks for the alarms after one.
type GetAlarms struct {
	LastAlarmID *int64 `vasa:"lastAlarmId,?"` // -1: start over
}

// GetAlarmsResponse is its response.
type GetAlarmsResponse struct {
	Return []AnyAlarm `vasa:"return,*"`
}

// EventType is data:EventTypeEnum.
type EventType string

// Values of EventType.
const (
	EventTypeSystem                 EventType = "System"
	EventTypeConfig                 EventType = "Config"
	EventTypePolicy                 EventType = "Policy"
	EventTypeConfigProtocolEndpoint EventType = "ConfigProtocolEndpoint"
	EventTypeRebind                 EventType = "Rebind"
)

// Values lists all of them.
func (EventType) Values() []EventType {
	return []EventType{EventTypeSystem, EventTypeConfig, EventTypePolicy, EventTypeConfigProtocolEndpoint, EventTypeRebind}
}

// EventConfigType is data:EventConfigTypeEnum.
type EventConfigType string

// Values of EventConfigType.
const (
	EventConfigTypeNew    EventConfigType = "New"
	EventConfigTypeUpdate EventConfigType = "Update"
	EventConfigTypeDelete EventConfigType = "Delete"
)

// Values lists all of them.
func (EventConfigType) Values() []EventConfigType {
	return []EventConfigType{EventConfigTypeNew, EventConfigTypeUpdate, EventConfigTypeDelete}
}

// EventPolicyType is data:EventPolicyTypeEnum: what happened to the object of an event of type
// Policy.
type EventPolicyType string

// Values of EventPolicyType.
const (
	EventPolicyTypeNew    EventPolicyType = "New"
	EventPolicyTypeUpdate EventPolicyType = "Update"
	EventPolicyTypeDelete EventPolicyType = "Delete"
)

// Values lists all of them.
func (EventPolicyType) Values() []EventPolicyType {
	return []EventPolicyType{EventPolicyTypeNew, EventPolicyTypeUpdate, EventPolicyTypeDelete}
}

// PolicyObject is data:PolicyEnum: what an event of type Policy is about.
type PolicyObject string

// Values of PolicyObject.
const (
	PolicyObjectSchema     PolicyObject = "Schema"
	PolicyObjectProfile    PolicyObject = "Profile"
	PolicyObjectResource   PolicyObject = "Resource"
	PolicyObjectPlacement  PolicyObject = "Placement"
	PolicyObjectCompliance PolicyObject = "Compliance"
)

// Values lists all of them.
func (PolicyObject) Values() []PolicyObject {
	return []PolicyObject{PolicyObjectSchema, PolicyObjectProfile, PolicyObjectResource, PolicyObjectPlacement, PolicyObjectCompliance}
}

// AlarmType is data:AlarmTypeEnum.
type AlarmType string

// Values of AlarmType.
const (
	AlarmTypeSpaceCapacity AlarmType = "SpaceCapacity"
	AlarmTypeCapability    AlarmType = "Capability"
	AlarmTypeStorageObject AlarmType = "StorageObject"
	AlarmTypeObject        AlarmType = "Object"
	AlarmTypeCompliance    AlarmType = "Compliance"
	AlarmTypeManageability AlarmType = "Manageability"
)

// Values lists all of them.
func (AlarmType) Values() []AlarmType {
	return []AlarmType{AlarmTypeSpaceCapacity, AlarmTypeCapability, AlarmTypeStorageObject, AlarmTypeObject, AlarmTypeCompliance, AlarmTypeManageability}
}

// AlarmStatus is data:AlarmStatusEnum.
type AlarmStatus string

// Values of AlarmStatus.
const (
	AlarmStatusRed    AlarmStatus = "Red"
	AlarmStatusGreen  AlarmStatus = "Green"
	AlarmStatusYellow AlarmStatus = "Yellow"
)

// Values lists all of them.
func (AlarmStatus) Values() []AlarmStatus {
	return []AlarmStatus{AlarmStatusRed, AlarmStatusGreen, AlarmStatusYellow}
}
