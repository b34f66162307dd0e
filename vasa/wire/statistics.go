package wire

// ArrayStatisticsManifest is stat:ArrayStatisticsManifest: counters of an array.
type ArrayStatisticsManifest struct {
	ArrayID                  string                     `vasa:"arrayId,1"`
	EntityStatisticsManifest []EntityStatisticsManifest `vasa:"entityStatisticsManifest,+"`
}

// EntityStatisticsManifest is stat:EntityStatisticsManifest: counters of the entities of one
// type.
type EntityStatisticsManifest struct {
	CounterInfo      []CounterInfo `vasa:"counterInfo,+"`
	EntityTypeName   EntityType    `vasa:"entityTypeName,1"`
	MaxRetrievalSize int32         `vasa:"maxRetrievalSize,1"`
	PollingInterval  int32         `vasa:"pollingInterval,1"` // seconds
}

// CounterInfo is stat:CounterInfo: a counter, described in pairs.
type CounterInfo struct {
	CounterID int32           `vasa:"counterId,1"`
	NameValue []NameValuePair `vasa:"nameValue,*"`
}

// AssociatedStatistics is stat:AssociatedStatistics: values of the counters of an entity.
type AssociatedStatistics struct {
	EntityID         string `vasa:"entityId,1"`
	StatisticsString string `vasa:"statisticsString,1"`
}

// QueryAssociatedStatisticsManifestForArray is the request
// queryAssociatedStatisticsManifestForArray: asks which counters arrays offer.
type QueryAssociatedStatisticsManifestForArray struct {
	ArrayStatisticsManifest []ArrayStatisticsManifest `vasa:"arrayStatisticsManifest,+"`
}

// QueryAssociatedStatisticsManifestForArrayResponse is its response.
type QueryAssociatedStatisticsManifestForArrayResponse struct {
	Return []ArrayStatisticsManifest `vasa:"return,*"`
}

// SetStatisticsContext is the request setStatisticsContext: chooses the counters of the
// session.
type SetStatisticsContext struct {
	ArrayStatisticsManifest []ArrayStatisticsManifest `vasa:"arrayStatisticsManifest,*"`
}

// QueryAssociatedStatisticsForEntity is the request queryAssociatedStatisticsForEntity: asks
// for values of counters.
type QueryAssociatedStatisticsForEntity struct {
	EntityTypeName EntityType `vasa:"entityTypeName,1"`
	EntityID       []string   `vasa:"entityId,+"`
}

// QueryAssociatedStatisticsForEntityResponse is its response.
type QueryAssociatedStatisticsForEntityResponse struct {
	Return []AssociatedStatistics `vasa:"return,*"`
}

// CounterName is stat:CounterNameEnum: value of the pair that names a counter. The contract
// spells KBytesTransfered so.
type CounterName string

// Values of CounterName.
const (
	CounterNameTotalIOs              CounterName = "TotalIOs"
	CounterNameKBytesTransfered      CounterName = "KBytesTransfered"
	CounterNameIOTimeCounter         CounterName = "IOTimeCounter"
	CounterNameReadIOs               CounterName = "ReadIOs"
	CounterNameReadHitIOs            CounterName = "ReadHitIOs"
	CounterNameReadIOTimeCounter     CounterName = "ReadIOTimeCounter"
	CounterNameReadHitIOTimeCounter  CounterName = "ReadHitIOTimeCounter"
	CounterNameKBytesRead            CounterName = "KBytesRead"
	CounterNameWriteIOs              CounterName = "WriteIOs"
	CounterNameWriteHitIOs           CounterName = "WriteHitIOs"
	CounterNameWriteIOTimeCounter    CounterName = "WriteIOTimeCounter"
	CounterNameWriteHitIOTimeCounter CounterName = "WriteHitIOTimeCounter"
	CounterNameKBytesWritten         CounterName = "KBytesWritten"
	CounterNameOtherIOs              CounterName = "OtherIOs"
	CounterNameIdleTimeCounter       CounterName = "IdleTimeCounter"
	CounterNameStatisticsTime        CounterName = "StatisticsTime"
)

// Values lists all of them.
func (CounterName) Values() []CounterName {
	return []CounterName{CounterNameTotalIOs, CounterNameKBytesTransfered, CounterNameIOTimeCounter, CounterNameReadIOs, CounterNameReadHitIOs, CounterNameReadIOTimeCounter, CounterNameReadHitIOTimeCounter, CounterNameKBytesRead, CounterNameWriteIOs, CounterNameWriteHitIOs, CounterNameWriteIOTimeCounter, CounterNameWriteHitIOTimeCounter, CounterNameKBytesWritten, CounterNameOtherIOs, CounterNameIdleTimeCounter, CounterNameStatisticsTime}
}

// CounterType is stat:CounterTypeEnum.
type CounterType string

// Values of CounterType.
const (
	CounterTypeUint64 CounterType = "Uint64"
	CounterTypeString CounterType = "String"
)

// Values lists all of them.
func (CounterType) Values() []CounterType {
	return []CounterType{CounterTypeUint64, CounterTypeString}
}

// CounterUnit is stat:CounterUnitEnum.
type CounterUnit string

// Values of CounterUnit.
const (
	CounterUnitNumber      CounterUnit = "Number"
	CounterUnitKiloByte    CounterUnit = "KiloByte"
	CounterUnitMilliSecond CounterUnit = "MilliSecond"
	CounterUnitTimestamp   CounterUnit = "Timestamp"
)

// Values lists all of them.
func (CounterUnit) Values() []CounterUnit {
	return []CounterUnit{CounterUnitNumber, CounterUnitKiloByte, CounterUnitMilliSecond, CounterUnitTimestamp}
}

// CounterCollectedType is stat:CounterCollectedTypeEnum.
type CounterCollectedType string

// Values of CounterCollectedType.
const (
	CounterCollectedTypeCumulative CounterCollectedType = "Cumulative"
	CounterCollectedTypeAbsolute   CounterCollectedType = "Absolute"
)

// Values lists all of them.
func (CounterCollectedType) Values() []CounterCollectedType {
	return []CounterCollectedType{CounterCollectedTypeCumulative, CounterCollectedTypeAbsolute}
}
