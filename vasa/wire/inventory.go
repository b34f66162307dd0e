package wire

import "time"

// BaseStorageEntity is data:BaseStorageEntity: what every object of the inventory has, its id.
type BaseStorageEntity struct {
	UniqueIdentifier *string `vasa:"uniqueIdentifier,?~"`
}

// AnyEntity is a *BaseStorageEntity or a pointer to what extends it.
type AnyEntity interface{ Base() *BaseStorageEntity }

// Base is the part that all of them share.
func (e *BaseStorageEntity) Base() *BaseStorageEntity { return e }

// StorageArray is data:StorageArray: an array. SupportedProfile is of another list than that
// of VasaProviderInfo.
type StorageArray struct {
	BaseStorageEntity
	AlternateName       []string         `vasa:"alternateName,*"`
	ArrayName           *string          `vasa:"arrayName,?~"`
	Firmware            *string          `vasa:"firmware,?~"`
	ModelID             *string          `vasa:"modelId,?~"`
	Priority            int32            `vasa:"priority,1"` // 0 to 255
	SupportedBlock      []BlockProtocol  `vasa:"supportedBlock,*"`
	SupportedFileSystem []FileSystemKind `vasa:"supportedFileSystem,*"`
	SupportedProfile    []ArrayProfile   `vasa:"supportedProfile,*"`
	VendorID            *string          `vasa:"vendorId,?~"`
}

// StorageProcessor is data:StorageProcessor: a controller of an array.
type StorageProcessor struct {
	BaseStorageEntity
	SPIdentifier []string `vasa:"spIdentifier,*"`
}

// StoragePort is data:StoragePort: a target port, with an iSCSI name or with world wide names.
type StoragePort struct {
	BaseStorageEntity
	AlternateName   []string `vasa:"alternateName,*"`
	ISCSIIdentifier *string  `vasa:"iscsiIdentifier,?~"`
	NodeWWN         *string  `vasa:"nodeWwn,?~"`
	PortType        *string  `vasa:"portType,?~"`
	PortWWN         *string  `vasa:"portWwn,?~"`
}

// StorageLun is data:StorageLun: a logical unit that is no virtual volume.
type StorageLun struct {
	BaseStorageEntity
	AlternateIdentifier    []string       `vasa:"alternateIdentifier,*"`
	BackingConfig          *BackingConfig `vasa:"backingConfig,?~"`
	CapacityInMB           *int64         `vasa:"capacityInMB,?"` // MB of 2^20 bytes
	DisplayName            *string        `vasa:"displayName,?~"`
	DrsManagementPermitted *bool          `vasa:"drsManagementPermitted,?"`
	EsxLunIdentifier       *string        `vasa:"esxLunIdentifier,?~"`
	ThinProvisioned        *bool          `vasa:"thinProvisioned,?"`
	ThinProvisioningStatus *string        `vasa:"thinProvisioningStatus,?~"`
	UsedSpaceInMB          *int64         `vasa:"usedSpaceInMB,?"`
}

// StorageFileSystem is data:StorageFileSystem: an exported file system.
type StorageFileSystem struct {
	BaseStorageEntity
	BackingConfig           *BackingConfig     `vasa:"backingConfig,?~"`
	FileSystem              *FileSystemKind    `vasa:"fileSystem,?~"`
	FileSystemInfo          []FileSystemInfo   `vasa:"fileSystemInfo,*"`
	FileSystemVersion       *FileSystemVersion `vasa:"fileSystemVersion,?~"`
	NativeSnapshotSupported *bool              `vasa:"nativeSnapshotSupported,?"`
	ThinProvisioningStatus  *string            `vasa:"thinProvisioningStatus,?~"`
}

// FileSystemInfo is data:FileSystemInfo: where a file system is exported.
type FileSystemInfo struct {
	FileServerName *string `vasa:"fileServerName,?~"`
	FileSystemPath *string `vasa:"fileSystemPath,?~"`
	IPAddress      *string `vasa:"ipAddress,?~"`
}

// StorageCapability is data:StorageCapability: a capability as VASA 1 had them: a name and a
// text.
type StorageCapability struct {
	BaseStorageEntity
	CapabilityDetail *string `vasa:"capabilityDetail,?~"`
	CapabilityName   *string `vasa:"capabilityName,?~"`
}

// BackingConfig is data:BackingConfig: what is behind a logical unit or a file system.
type BackingConfig struct {
	AutoTieringEnabled              *bool   `vasa:"autoTieringEnabled,?"`
	DeduplicationBackingIdentifier  *string `vasa:"deduplicationBackingIdentifier,?~"`
	DeduplicationEfficiency         *int64  `vasa:"deduplicationEfficiency,?"`
	PerformanceOptimizationInterval *int64  `vasa:"performanceOptimizationInterval,?"` // seconds
	ThinProvisionBackingIdentifier  *string `vasa:"thinProvisionBackingIdentifier,?~"`
}

// BackingStoragePool is data:BackingStoragePool: a pool behind logical units or file systems.
type BackingStoragePool struct {
	BaseStorageEntity
	CapacityInMB  int64                  `vasa:"capacityInMB,1"` // MB of 2^20 bytes
	Type          BackingStoragePoolType `vasa:"type,1"`
	UsedSpaceInMB int64                  `vasa:"usedSpaceInMB,1"`
}

// EntitySet is data:EntitySet: entities among which Storage DRS had better not move.
type EntitySet struct {
	EntityID []string `vasa:"entityId,+"`
}

// StorageDrsMigrationCapabilityResult is data:StorageDrsMigrationCapabilityResult: sets of
// entities among which moving is not recommended.
type StorageDrsMigrationCapabilityResult struct {
	NonRecommendedEntitySet []EntitySet `vasa:"nonRecommendedEntitySet,*"`
}

// VasaAssociationObject is data:VasaAssociationObject: that the entities and the associated
// objects belong together.
type VasaAssociationObject struct {
	AssociatedID []AnyEntity `vasa:"associatedId,*"`
	EntityID     []AnyEntity `vasa:"entityId,*"`
}

// MessageCatalog is data:MessageCatalog: where a file of messages is found. One for each
// locale and kind.
type MessageCatalog struct {
	CatalogName    *StorageCatalog `vasa:"catalogName,?~"`
	CatalogURI     *string         `vasa:"catalogUri,?~"`
	CatalogVersion *string         `vasa:"catalogVersion,?~"`
	LastModified   *time.Time      `vasa:"lastModified,?~"`
	Locale         *string         `vasa:"locale,?~"`
	ModuleName     *string         `vasa:"moduleName,?~"`
}

// QueryArrays is the request queryArrays: asks for arrays; none named means all.
type QueryArrays struct {
	ArrayUniqueID []string `vasa:"arrayUniqueId,*"`
}

// QueryArraysResponse is its response.
type QueryArraysResponse struct {
	Return []StorageArray `vasa:"return,*"`
}

// QueryUniqueIdentifiersForEntity is the request queryUniqueIdentifiersForEntity: asks for the
// ids of all entities of a type.
type QueryUniqueIdentifiersForEntity struct {
	EntityType *EntityType `vasa:"entityType,?~"`
}

// QueryUniqueIdentifiersForEntityResponse is its response.
type QueryUniqueIdentifiersForEntityResponse struct {
	Return []string `vasa:"return,*"`
}

// GetNumberOfEntities is the request getNumberOfEntities: asks how many there are.
type GetNumberOfEntities struct {
	EntityType *EntityType `vasa:"entityType,?~"`
}

// GetNumberOfEntitiesResponse is its response.
type GetNumberOfEntitiesResponse struct {
	Return *int32 `vasa:"return,?"`
}

// QueryAssociatedProcessorsForArray is the request queryAssociatedProcessorsForArray: asks for
// the controllers of arrays.
type QueryAssociatedProcessorsForArray struct {
	ArrayUniqueID []string `vasa:"arrayUniqueId,*"`
}

// QueryAssociatedProcessorsForArrayResponse is its response.
type QueryAssociatedProcessorsForArrayResponse struct {
	Return []VasaAssociationObject `vasa:"return,*"`
}

// QueryStorageProcessors is the request queryStorageProcessors: asks for controllers.
type QueryStorageProcessors struct {
	SPUniqueID []string `vasa:"spUniqueId,*"`
}

// QueryStorageProcessorsResponse is its response.
type QueryStorageProcessorsResponse struct {
	Return []StorageProcessor `vasa:"return,*"`
}

// QueryAssociatedPortsForProcessor is the request queryAssociatedPortsForProcessor: asks for
// the ports of controllers.
type QueryAssociatedPortsForProcessor struct {
	SPUniqueID []string `vasa:"spUniqueId,*"`
}

// QueryAssociatedPortsForProcessorResponse is its response.
type QueryAssociatedPortsForProcessorResponse struct {
	Return []VasaAssociationObject `vasa:"return,*"`
}

// QueryStoragePorts is the request queryStoragePorts: asks for ports.
type QueryStoragePorts struct {
	PortUniqueID []string `vasa:"portUniqueId,*"`
}

// QueryStoragePortsResponse is its response.
type QueryStoragePortsResponse struct {
	Return []StoragePort `vasa:"return,*"`
}

// QueryAssociatedLunsForPort is the request queryAssociatedLunsForPort: asks for the logical
// units that the session's initiators see through ports.
type QueryAssociatedLunsForPort struct {
	PortUniqueID []string `vasa:"portUniqueId,*"`
}

// QueryAssociatedLunsForPortResponse is its response.
type QueryAssociatedLunsForPortResponse struct {
	Return []VasaAssociationObject `vasa:"return,*"`
}

// QueryUniqueIdentifiersForLuns is the request queryUniqueIdentifiersForLuns: asks for the ids
// of an array's logical units that the session's initiators see.
type QueryUniqueIdentifiersForLuns struct {
	ArrayUniqueID *string `vasa:"arrayUniqueId,?~"`
}

// QueryUniqueIdentifiersForLunsResponse is its response.
type QueryUniqueIdentifiersForLunsResponse struct {
	Return []string `vasa:"return,*"`
}

// QueryStorageLuns is the request queryStorageLuns: asks for logical units.
type QueryStorageLuns struct {
	LUNUniqueID []string `vasa:"lunUniqueId,*"`
}

// QueryStorageLunsResponse is its response.
type QueryStorageLunsResponse struct {
	Return []StorageLun `vasa:"return,*"`
}

// QueryUniqueIdentifiersForFileSystems is the request queryUniqueIdentifiersForFileSystems:
// asks for the ids of the file systems of an array.
type QueryUniqueIdentifiersForFileSystems struct {
	FSUniqueID *string `vasa:"fsUniqueId,?~"` // an array, in spite of its name
}

// QueryUniqueIdentifiersForFileSystemsResponse is its response.
type QueryUniqueIdentifiersForFileSystemsResponse struct {
	Return []string `vasa:"return,*"`
}

// QueryStorageFileSystems is the request queryStorageFileSystems: asks for file systems.
type QueryStorageFileSystems struct {
	FSUniqueID []string `vasa:"fsUniqueId,*"`
}

// QueryStorageFileSystemsResponse is its response.
type QueryStorageFileSystemsResponse struct {
	Return []StorageFileSystem `vasa:"return,*"`
}

// QueryStorageCapabilities is the request queryStorageCapabilities: asks for capabilities of
// VASA 1; none named means all.
type QueryStorageCapabilities struct {
	CapabilityUniqueID []string `vasa:"capabilityUniqueId,*"`
}

// QueryStorageCapabilitiesResponse is its response.
type QueryStorageCapabilitiesResponse struct {
	Return []StorageCapability `vasa:"return,*"`
}

// QueryAssociatedCapabilityForLun is the request queryAssociatedCapabilityForLun: asks for the
// capabilities of logical units.
type QueryAssociatedCapabilityForLun struct {
	LUNUniqueID []string `vasa:"lunUniqueId,*"`
}

// QueryAssociatedCapabilityForLunResponse is its response.
type QueryAssociatedCapabilityForLunResponse struct {
	Return []VasaAssociationObject `vasa:"return,*"`
}

// QueryAssociatedCapabilityForFileSystem is the request
// queryAssociatedCapabilityForFileSystem: asks for the capabilities of file systems.
type QueryAssociatedCapabilityForFileSystem struct {
	FSUniqueID []string `vasa:"fsUniqueId,*"`
}

// QueryAssociatedCapabilityForFileSystemResponse is its response.
type QueryAssociatedCapabilityForFileSystemResponse struct {
	Return []VasaAssociationObject `vasa:"return,*"`
}

// QueryDRSMigrationCapabilityForPerformance is the request
// queryDRSMigrationCapabilityForPerformance: asks whether Storage DRS may move from one to the
// other.
type QueryDRSMigrationCapabilityForPerformance struct {
	SrcUniqueID *string     `vasa:"srcUniqueId,?~"`
	DstUniqueID *string     `vasa:"dstUniqueId,?~"`
	EntityType  *EntityType `vasa:"entityType,?~"`
}

// QueryDRSMigrationCapabilityForPerformanceResponse is its response.
type QueryDRSMigrationCapabilityForPerformanceResponse struct {
	Return *bool `vasa:"return,?"`
}

// QueryDrsMigrationCapabilityForPerformanceEx is the request
// queryDrsMigrationCapabilityForPerformanceEx: asks among which entities moving is not
// recommended.
type QueryDrsMigrationCapabilityForPerformanceEx struct {
	EntityID []string `vasa:"entityId,+"`
}

// QueryDrsMigrationCapabilityForPerformanceExResponse is its response.
type QueryDrsMigrationCapabilityForPerformanceExResponse struct {
	Return StorageDrsMigrationCapabilityResult `vasa:"return,1"`
}

// QueryBackingStoragePools is the request queryBackingStoragePools: asks for the pools behind
// logical units and file systems.
type QueryBackingStoragePools struct {
	StoragePoolUniqueID []string `vasa:"storagePoolUniqueId,*"`
}

// QueryBackingStoragePoolsResponse is its response.
type QueryBackingStoragePoolsResponse struct {
	Return []BackingStoragePool `vasa:"return,*"`
}

// QueryCatalog is the request queryCatalog: asks for the message catalogs.
type QueryCatalog struct{}

// QueryCatalogResponse is its response.
type QueryCatalogResponse struct {
	Return []MessageCatalog `vasa:"return,*"`
}

// EntityType is data:EntityTypeEnum: what ids can belong to.
type EntityType string

// Values of EntityType.
const (
	EntityTypeStorageArray            EntityType = "StorageArray"
	EntityTypeStorageProcessor        EntityType = "StorageProcessor"
	EntityTypeStoragePort             EntityType = "StoragePort"
	EntityTypeStorageLun              EntityType = "StorageLun"
	EntityTypeStorageFileSystem       EntityType = "StorageFileSystem"
	EntityTypeStorageCapability       EntityType = "StorageCapability"
	EntityTypeStorageCapabilitySchema EntityType = "StorageCapabilitySchema"
	EntityTypeCapabilitySchema        EntityType = "CapabilitySchema"
	EntityTypeCapabilityProfile       EntityType = "CapabilityProfile"
	EntityTypeDefaultProfile          EntityType = "DefaultProfile"
	EntityTypeResourceAssociation     EntityType = "ResourceAssociation"
	EntityTypeStorageContainer        EntityType = "StorageContainer"
	EntityTypeStorageObject           EntityType = "StorageObject"
	EntityTypeMessageCatalog          EntityType = "MessageCatalog"
	EntityTypeProtocolEndpoint        EntityType = "ProtocolEndpoint"
	EntityTypeVirtualVolumeInfo       EntityType = "VirtualVolumeInfo"
	EntityTypeBackingStoragePool      EntityType = "BackingStoragePool"
)

// Values lists all of them.
func (EntityType) Values() []EntityType {
	return []EntityType{EntityTypeStorageArray, EntityTypeStorageProcessor, EntityTypeStoragePort, EntityTypeStorageLun, EntityTypeStorageFileSystem, EntityTypeStorageCapability, EntityTypeStorageCapabilitySchema, EntityTypeCapabilitySchema, EntityTypeCapabilityProfile, EntityTypeDefaultProfile, EntityTypeResourceAssociation, EntityTypeStorageContainer, EntityTypeStorageObject, EntityTypeMessageCatalog, EntityTypeProtocolEndpoint, EntityTypeVirtualVolumeInfo, EntityTypeBackingStoragePool}
}

// BlockProtocol is data:BlockEnum: how a block array is reached.
type BlockProtocol string

// Values of BlockProtocol.
const (
	BlockProtocolFC    BlockProtocol = "FC"
	BlockProtocolISCSI BlockProtocol = "ISCSI"
	BlockProtocolFCoE  BlockProtocol = "FCoE"
	BlockProtocolOther BlockProtocol = "Other"
)

// Values lists all of them.
func (BlockProtocol) Values() []BlockProtocol {
	return []BlockProtocol{BlockProtocolFC, BlockProtocolISCSI, BlockProtocolFCoE, BlockProtocolOther}
}

// FileSystemKind is data:FileSystemEnum: kinds of file systems.
type FileSystemKind string

// Values of FileSystemKind.
const (
	FileSystemKindNFS   FileSystemKind = "NFS"
	FileSystemKindOther FileSystemKind = "Other"
)

// Values lists all of them.
func (FileSystemKind) Values() []FileSystemKind {
	return []FileSystemKind{FileSystemKindNFS, FileSystemKindOther}
}

// FileSystemVersion is data:FileSystemVersionEnum.
type FileSystemVersion string

// Values of FileSystemVersion.
const (
	FileSystemVersionNFSV30 FileSystemVersion = "NFSV3_0"
	FileSystemVersionNFSV4x FileSystemVersion = "NFSV4_x"
	FileSystemVersionOther  FileSystemVersion = "Other"
)

// Values lists all of them.
func (FileSystemVersion) Values() []FileSystemVersion {
	return []FileSystemVersion{FileSystemVersionNFSV30, FileSystemVersionNFSV4x, FileSystemVersionOther}
}

// ArrayProfile is data:ProfileEnum: what an array announces to serve.
type ArrayProfile string

// Values of ArrayProfile.
const (
	ArrayProfileBlockDevice                ArrayProfile = "BlockDeviceProfile"
	ArrayProfileFileSystem                 ArrayProfile = "FileSystemProfile"
	ArrayProfileCapability                 ArrayProfile = "CapabilityProfile"
	ArrayProfileStorageObject              ArrayProfile = "StorageObjectProfile"
	ArrayProfileVirtualVolume              ArrayProfile = "VirtualVolumeProfile"
	ArrayProfileVirtualMetroStorageCluster ArrayProfile = "VirtualMetroStorageClusterProfile"
	ArrayProfileStatistics                 ArrayProfile = "StatisticsProfile"
	ArrayProfileStorageDrsBlockDevice      ArrayProfile = "StorageDrsBlockDevice"
	ArrayProfileStorageDrsFileSystem       ArrayProfile = "StorageDrsFileSystem"
)

// Values lists all of them.
func (ArrayProfile) Values() []ArrayProfile {
	return []ArrayProfile{ArrayProfileBlockDevice, ArrayProfileFileSystem, ArrayProfileCapability, ArrayProfileStorageObject, ArrayProfileVirtualVolume, ArrayProfileVirtualMetroStorageCluster, ArrayProfileStatistics, ArrayProfileStorageDrsBlockDevice, ArrayProfileStorageDrsFileSystem}
}

// BackingStoragePoolType is data:BackingStoragePoolTypeEnum.
type BackingStoragePoolType string

// Values of BackingStoragePoolType.
const (
	BackingStoragePoolTypeThinProvisioning             BackingStoragePoolType = "ThinProvisioningPool"
	BackingStoragePoolTypeDeduplication                BackingStoragePoolType = "DeduplicationPool"
	BackingStoragePoolTypeThinAndDeduplicationCombined BackingStoragePoolType = "ThinAndDeduplicationCombinedPool"
)

// Values lists all of them.
func (BackingStoragePoolType) Values() []BackingStoragePoolType {
	return []BackingStoragePoolType{BackingStoragePoolTypeThinProvisioning, BackingStoragePoolTypeDeduplication, BackingStoragePoolTypeThinAndDeduplicationCombined}
}

// RemoteReplication is data:RemoteReplicationEnum: no type of VASA 2.0 has a field of it.
type RemoteReplication string

// Values of RemoteReplication.
const (
	RemoteReplicationActiveActive  RemoteReplication = "ActiveActive"
	RemoteReplicationActivePassive RemoteReplication = "ActivePassive"
	RemoteReplicationNone          RemoteReplication = "None"
)

// Values lists all of them.
func (RemoteReplication) Values() []RemoteReplication {
	return []RemoteReplication{RemoteReplicationActiveActive, RemoteReplicationActivePassive, RemoteReplicationNone}
}

// StorageCatalog is data:StorageCatalogEnum.
type StorageCatalog string

// Values of StorageCatalog.
const (
	StorageCatalogAlarm  StorageCatalog = "Alarm"
	StorageCatalogEvent  StorageCatalog = "Event"
	StorageCatalogFault  StorageCatalog = "Fault"
	StorageCatalogPolicy StorageCatalog = "Policy"
)

// Values lists all of them.
func (StorageCatalog) Values() []StorageCatalog {
	return []StorageCatalog{StorageCatalogAlarm, StorageCatalogEvent, StorageCatalogFault, StorageCatalogPolicy}
}
