package wire

// CapabilityId is cap:CapabilityId: the name of a capability in a namespace of a vendor.
type CapabilityId struct {
	ID        string `vasa:"id,1"`
	Namespace string `vasa:"namespace,1"`
}

// CapabilityInstance is cap:CapabilityInstance: a capability with the values that are asked
// for or offered.
type CapabilityInstance struct {
	CapabilityID CapabilityId         `vasa:"capabilityId,1"`
	Constraint   []ConstraintInstance `vasa:"constraint,+"`
}

// ConstraintInstance is cap:ConstraintInstance: values of properties that are asked for
// together.
type ConstraintInstance struct {
	PropertyInstance []PropertyInstance `vasa:"propertyInstance,+"`
}

// PropertyInstance is cap:PropertyInstance: a value of a property: a scalar, a *DiscreteSet, a
// *Range or a *TimeSpan.
type PropertyInstance struct {
	ID    string `vasa:"id,1"`
	Value any    `vasa:"value,1"`
}

// CapabilityMetadata is cap:CapabilityMetadata: a capability that policies may name, with its
// properties.
type CapabilityMetadata struct {
	AllowMultipleConstraints *bool                      `vasa:"allowMultipleConstraints,?"`
	CapabilityID             CapabilityId               `vasa:"capabilityId,1"`
	Hint                     *bool                      `vasa:"hint,?"`
	KeyID                    *string                    `vasa:"keyId,?~"`
	Mandatory                *bool                      `vasa:"mandatory,?"`
	PropertyMetadata         []PropertyMetadata         `vasa:"propertyMetadata,+"`
	Summary                  ExtendedElementDescription `vasa:"summary,1"`
}

// PropertyMetadata is cap:PropertyMetadata: a property of a capability. Registration of a
// provider fails if Type is missing.
type PropertyMetadata struct {
	AllowedValue         []any                      `vasa:"allowedValue,*"` // scalars, or one *DiscreteSet or *Range
	DefaultValue         any                        `vasa:"defaultValue,?~"`
	Hint                 *bool                      `vasa:"hint,?"`
	ID                   string                     `vasa:"id,1"`
	Mandatory            bool                       `vasa:"mandatory,1"`
	RequirementsTypeHint *string                    `vasa:"requirementsTypeHint,?~"`
	Summary              ExtendedElementDescription `vasa:"summary,1"`
	Type                 AnyTypeInfo                `vasa:"type,1"`
}

// TypeInfo is cap:TypeInfo: the type of a property: one value of TypeName.
type TypeInfo struct {
	TypeName BuiltinType `vasa:"typeName,1"`
}

// AnyTypeInfo is a *TypeInfo or a pointer to what extends it.
type AnyTypeInfo interface{ Base() *TypeInfo }

// Base is the part that all of them share.
func (t *TypeInfo) Base() *TypeInfo { return t }

// GenericTypeInfo is cap:GenericTypeInfo: a range or a set of values of TypeName.
type GenericTypeInfo struct {
	TypeInfo
	GenericTypeName BuiltinGenericType `vasa:"genericTypeName,1"`
}

// DiscreteSet is typ:DiscreteSet: a set of values of xs:anyType.
type DiscreteSet struct {
	Values []any `vasa:"values,+"`
}

// Range is typ:Range: all values from Min to Max.
type Range struct {
	Max any `vasa:"max,1"`
	Min any `vasa:"min,1"`
}

// TimeSpan is typ:TimeSpan: a length of time.
type TimeSpan struct {
	Unit  TimeUnit `vasa:"unit,1"`
	Value int32    `vasa:"value,1"`
}

// CapabilitySchema is prv:CapabilitySchema: capabilities of one vendor namespace, by category.
type CapabilitySchema struct {
	CapabilityMetadataPerCategory []CapabilityMetadataPerCategory `vasa:"capabilityMetadataPerCategory,+"`
	NamespaceInfo                 NamespaceInfo                   `vasa:"namespaceInfo,1"`
	SchemaID                      string                          `vasa:"schemaId,1"`
	VendorInfo                    VendorInfo                      `vasa:"vendorInfo,1"`
}

// CapabilityMetadataPerCategory is prv:CapabilityMetadataPerCategory: capabilities that are
// shown together.
type CapabilityMetadataPerCategory struct {
	CapabilityMetadata []CapabilityMetadata `vasa:"capabilityMetadata,+"`
	Category           string               `vasa:"category,1"`
}

// NamespaceInfo is prv:NamespaceInfo: a vendor namespace and its version.
type NamespaceInfo struct {
	Namespace string `vasa:"namespace,1"`
	Version   string `vasa:"version,1"`
}

// VendorInfo is prv:VendorInfo: the vendor of a schema.
type VendorInfo struct {
	Info       ExtendedElementDescription `vasa:"info,1"`
	VendorUUID string                     `vasa:"vendorUuid,1"`
}

// ExtendedElementDescription is pol:ExtendedElementDescription: a name for people: keys of the
// message catalog, and texts for want of one.
type ExtendedElementDescription struct {
	Key                     string        `vasa:"key,1"`
	Label                   string        `vasa:"label,1"`
	MessageArg              []KeyAnyValue `vasa:"messageArg,*"`
	MessageCatalogKeyPrefix string        `vasa:"messageCatalogKeyPrefix,1"`
	Summary                 string        `vasa:"summary,1"`
}

// KeyAnyValue is pol:KeyAnyValue: an argument of a message.
type KeyAnyValue struct {
	Key   string `vasa:"key,1"`
	Value any    `vasa:"value,1"`
}

// LocalizableMessage is pol:LocalizableMessage: a message by its key in a catalog.
type LocalizableMessage struct {
	Arg     []KeyAnyValue `vasa:"arg,*"`
	Key     string        `vasa:"key,1"`
	Message *string       `vasa:"message,?~"`
}

// QueryCapabilityMetadata is the request queryCapabilityMetadata: asks what a policy may ask
// for; none named means all schemas.
type QueryCapabilityMetadata struct {
	SchemaID []string `vasa:"schemaId,*"`
}

// QueryCapabilityMetadataResponse is its response.
type QueryCapabilityMetadataResponse struct {
	Return []CapabilitySchema `vasa:"return,*"`
}

// BuiltinType is typ:BuiltinTypesEnum.
type BuiltinType string

// Values of BuiltinType.
const (
	BuiltinTypeLong     BuiltinType = "XSD_LONG"
	BuiltinTypeInt      BuiltinType = "XSD_INT"
	BuiltinTypeString   BuiltinType = "XSD_STRING"
	BuiltinTypeBoolean  BuiltinType = "XSD_BOOLEAN"
	BuiltinTypeDouble   BuiltinType = "XSD_DOUBLE"
	BuiltinTypeDateTime BuiltinType = "XSD_DATETIME"
	BuiltinTypeDuration BuiltinType = "XSD_DURATION"
)

// Values lists all of them.
func (BuiltinType) Values() []BuiltinType {
	return []BuiltinType{BuiltinTypeLong, BuiltinTypeInt, BuiltinTypeString, BuiltinTypeBoolean, BuiltinTypeDouble, BuiltinTypeDateTime, BuiltinTypeDuration}
}

// BuiltinGenericType is typ:BuiltinGenericTypesEnum.
type BuiltinGenericType string

// Values of BuiltinGenericType.
const (
	BuiltinGenericTypeRange BuiltinGenericType = "VMW_RANGE"
	BuiltinGenericTypeSet   BuiltinGenericType = "VMW_SET"
)

// Values lists all of them.
func (BuiltinGenericType) Values() []BuiltinGenericType {
	return []BuiltinGenericType{BuiltinGenericTypeRange, BuiltinGenericTypeSet}
}

// TimeUnit is typ:TimeUnitEnum.
type TimeUnit string

// Values of TimeUnit.
const (
	TimeUnitSeconds TimeUnit = "SECONDS"
	TimeUnitMinutes TimeUnit = "MINUTES"
	TimeUnitHours   TimeUnit = "HOURS"
	TimeUnitDays    TimeUnit = "DAYS"
	TimeUnitWeeks   TimeUnit = "WEEKS"
	TimeUnitMonths  TimeUnit = "MONTHS"
	TimeUnitYears   TimeUnit = "YEARS"
)

// Values lists all of them.
func (TimeUnit) Values() []TimeUnit {
	return []TimeUnit{TimeUnitSeconds, TimeUnitMinutes, TimeUnitHours, TimeUnitDays, TimeUnitWeeks, TimeUnitMonths, TimeUnitYears}
}
