package wire

// StorageContainer is data:StorageContainer: a container. Its id is a UUID with dashes in
// lower case.
type StorageContainer struct {
	BaseStorageEntity
	MaxVVolSizeMB        int64                 `vasa:"maxVvolSizeMB,1"` // MB of 2^20 bytes
	Name                 string                `vasa:"name,1"`
	ProtocolEndPointType *ProtocolEndpointType `vasa:"protocolEndPointType,?~"`
}

// ContainerSpaceStats is vvol:ContainerSpaceStats: space of a container, or of what a
// capability profile can use of it, in MB of 2^20 bytes.
type ContainerSpaceStats struct {
	LogicalFree   int64  `vasa:"logicalFree,1"`
	LogicalLimit  int64  `vasa:"logicalLimit,1"`
	LogicalUsed   int64  `vasa:"logicalUsed,1"`
	ObjectID      string `vasa:"objectId,1"`
	PhysicalFree  int64  `vasa:"physicalFree,1"`
	PhysicalTotal int64  `vasa:"physicalTotal,1"`
	PhysicalUsed  int64  `vasa:"physicalUsed,1"`
}

// ProtocolEndpoint is vvol:ProtocolEndpoint: a protocol endpoint. As hosts send it in
// setPEContext, the id may be missing.
type ProtocolEndpoint struct {
	BaseStorageEntity
	AuthType             *ProtocolEndpointAuth    `vasa:"authType,?~"`
	InBandBindCapability InBandBindCapability     `vasa:"inBandBindCapability,1"`
	InBandID             ProtocolEndpointInbandId `vasa:"inBandId,1"`
	TransportIPAddress   []string                 `vasa:"transportIpAddress,*"`
}

// ProtocolEndpointInbandId is vvol:ProtocolEndpointInbandId: by what a host recognises an
// endpoint: LUNID, naa. and the hexadecimal digits of the designator, for SCSI; addresses for
// NFS.
type ProtocolEndpointInbandId struct {
	IPAddress            *string              `vasa:"ipAddress,?~"`
	LUNID                *string              `vasa:"lunId,?~"`
	ProtocolEndpointType ProtocolEndpointType `vasa:"protocolEndpointType,1"`
	ServerMajor          *string              `vasa:"serverMajor,?~"`
	ServerMinor          *string              `vasa:"serverMinor,?~"`
	ServerMount          *string              `vasa:"serverMount,?~"`
	ServerScope          *string              `vasa:"serverScope,?~"`
}

// QueryStorageContainerForArray is the request queryStorageContainerForArray: asks for the ids
// of the containers of an array.
type QueryStorageContainerForArray struct {
	ArrayID string `vasa:"arrayId,1"`
}

// QueryStorageContainerForArrayResponse is its response.
type QueryStorageContainerForArrayResponse struct {
	Return []string `vasa:"return,*"`
}

// QueryStorageContainer is the request queryStorageContainer: asks for containers; none named
// means all.
type QueryStorageContainer struct {
	ContainerID []string `vasa:"containerId,*"`
}

// QueryStorageContainerResponse is its response.
type QueryStorageContainerResponse struct {
	Return []StorageContainer `vasa:"return,*"`
}

// SpaceStatsForStorageContainer is the request spaceStatsForStorageContainer: asks for the
// space of a container, or by capability profile.
type SpaceStatsForStorageContainer struct {
	ContainerID         string   `vasa:"containerId,1"`
	CapabilityProfileID []string `vasa:"capabilityProfileId,*"` // none: one row about the whole container
}

// SpaceStatsForStorageContainerResponse is its response.
type SpaceStatsForStorageContainerResponse struct {
	Return []ContainerSpaceStats `vasa:"return,+"`
}

// SetPEContext is the request setPEContext: tells which endpoints the host sees; it replaces
// what it told before.
type SetPEContext struct {
	ListOfHostPE []ProtocolEndpoint `vasa:"listOfHostPE,*"`
}

// QueryProtocolEndpointForArray is the request queryProtocolEndpointForArray: asks for the ids
// of the endpoints of an array.
type QueryProtocolEndpointForArray struct {
	ArrayID string `vasa:"arrayId,1"`
}

// QueryProtocolEndpointForArrayResponse is its response.
type QueryProtocolEndpointForArrayResponse struct {
	Return []string `vasa:"return,*"`
}

// QueryProtocolEndpoint is the request queryProtocolEndpoint: asks for endpoints.
type QueryProtocolEndpoint struct {
	PEID []string `vasa:"peId,*"`
}

// QueryProtocolEndpointResponse is its response.
type QueryProtocolEndpointResponse struct {
	Return []ProtocolEndpoint `vasa:"return,*"`
}

// ProtocolEndpointType is vvol:ProtocolEndpointTypeEnum.
type ProtocolEndpointType string

// Values of ProtocolEndpointType.
const (
	ProtocolEndpointTypeNFS   ProtocolEndpointType = "NFS"
	ProtocolEndpointTypeSCSI  ProtocolEndpointType = "SCSI"
	ProtocolEndpointTypeNFS4x ProtocolEndpointType = "NFS4x"
)

// Values lists all of them.
func (ProtocolEndpointType) Values() []ProtocolEndpointType {
	return []ProtocolEndpointType{ProtocolEndpointTypeNFS, ProtocolEndpointTypeSCSI, ProtocolEndpointTypeNFS4x}
}

// ProtocolEndpointAuth is vvol:ProtocolEndpointAuthEnum.
type ProtocolEndpointAuth string

// Values of ProtocolEndpointAuth.
const (
	ProtocolEndpointAuthSystem    ProtocolEndpointAuth = "System"
	ProtocolEndpointAuthKerberos5 ProtocolEndpointAuth = "Kerberos5"
)

// Values lists all of them.
func (ProtocolEndpointAuth) Values() []ProtocolEndpointAuth {
	return []ProtocolEndpointAuth{ProtocolEndpointAuthSystem, ProtocolEndpointAuthKerberos5}
}

// InBandBindCapability is vvol:InBandBindCapabilityEnum.
type InBandBindCapability string

// Values of InBandBindCapability.
const (
	InBandBindCapabilityNone       InBandBindCapability = "None"
	InBandBindCapabilityLocalBind  InBandBindCapability = "LocalBind"
	InBandBindCapabilityGlobalBind InBandBindCapability = "GlobalBind"
)

// Values lists all of them.
func (InBandBindCapability) Values() []InBandBindCapability {
	return []InBandBindCapability{InBandBindCapabilityNone, InBandBindCapabilityLocalBind, InBandBindCapabilityGlobalBind}
}
