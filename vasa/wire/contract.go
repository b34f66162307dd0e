package wire

import (
	"sync"

	"vvsim/vasa/wire/xsd"
)

// ServiceURI is the namespace of messages. It and that of the WSDL are the only ones that
// carry the version.
const ServiceURI = "http://com.vmware.vim.vasa/2.0/xsd"

const faultURI = "http://fault.vasa.vim.vmware.com/xsd"

// schema is the compiled contract. It fails only for a mistake in this package.
var schema = sync.OnceValues(func() (*xsd.Schema, error) { return xsd.Compile(namespaces()) })

// namespaces are those of the contract with the types they hold. The helper type
// vasaService, which never travels, is left out.
func namespaces() []xsd.Namespace {
	var elements []any
	for _, row := range operationRows() {
		elements = append(elements, row.request)
		if row.response != nil {
			elements = append(elements, row.response)
		}
	}
	return []xsd.Namespace{
		{Prefix: "svc", URI: ServiceURI, Elements: elements, Types: []any{Exception{}}},
		{Prefix: "data", URI: "http://data.vasa.vim.vmware.com/xsd", Types: []any{
			ActivationSpec{}, BackingConfig{}, BackingStoragePool{}, BaseStorageEntity{}, ComplianceAlarm{},
			EntitySet{}, FileSystemInfo{}, HostInitiatorInfo{}, MessageCatalog{}, MountInfo{}, NameValuePair{},
			StorageAlarm{}, StorageArray{}, StorageCapability{}, StorageContainer{},
			StorageDrsMigrationCapabilityResult{}, StorageEvent{}, StorageFileSystem{}, StorageLun{},
			StoragePort{}, StorageProcessor{}, UsageContext{}, VasaAssociationObject{}, VasaProviderInfo{},
			VendorModel{},
		}},
		{Prefix: "fault", URI: faultURI, Types: []any{
			ActivateProviderFailed{}, InactiveProvider{}, IncompatibleVolume{}, InvalidArgument{},
			InvalidCertificate{}, InvalidLogin{}, InvalidProfile{}, InvalidSession{},
			InvalidStatisticsContext{}, LostAlarm{}, LostEvent{}, NotCancellable{}, NotFound{},
			NotImplemented{}, NotSupported{}, OutOfResource{}, PermissionDenied{}, ResourceInUse{},
			SnapshotTooMany{}, StorageFault{}, Timeout{}, TooMany{}, VasaProviderBusy{},
		}},
		{Prefix: "vvol", URI: "http://vvol.data.vasa.vim.vmware.com/xsd", Types: []any{
			BatchErrorResult{}, BatchReturnStatus{}, BatchReturnStatusArray{}, BatchVirtualVolumeHandleResult{},
			ContainerSpaceStats{}, PrepareSnapshotResult{}, ProtocolEndpoint{}, ProtocolEndpointInbandId{},
			QueryConstraint{}, RebindEvent{}, SpaceStats{}, TaskInfo{}, VirtualVolumeBitmapResult{},
			VirtualVolumeHandle{}, VirtualVolumeInfo{}, VirtualVolumeUnsharedChunksResult{},
		}},
		{Prefix: "pol", URI: "http://policy.data.vasa.vim.vmware.com/xsd", Types: []any{
			ExtendedElementDescription{}, KeyAnyValue{}, LocalizableMessage{}, Resource{}, ResourceAssociation{},
		}},
		{Prefix: "prof", URI: "http://profile.policy.data.vasa.vim.vmware.com/xsd", Types: []any{
			CapabilityConstraints{}, DefaultProfile{}, StorageProfile{}, SubProfile{},
			SubProfileWithCandidates{},
		}},
		{Prefix: "cap", URI: "http://capability.policy.data.vasa.vim.vmware.com/xsd", Types: []any{
			CapabilityId{}, CapabilityInstance{}, CapabilityMetadata{}, ConstraintInstance{}, GenericTypeInfo{},
			PropertyInstance{}, PropertyMetadata{}, TypeInfo{},
		}},
		{Prefix: "typ", URI: "http://types.capability.policy.data.vasa.vim.vmware.com/xsd", Types: []any{DiscreteSet{}, Range{}, TimeSpan{}}},
		{Prefix: "prv", URI: "http://provider.capability.policy.data.vasa.vim.vmware.com/xsd", Types: []any{CapabilityMetadataPerCategory{}, CapabilitySchema{}, NamespaceInfo{}, VendorInfo{}}},
		{Prefix: "comp", URI: "http://compliance.policy.data.vasa.vim.vmware.com/xsd", Types: []any{ComplianceResult{}, ComplianceSubject{}, OperationalStatus{}, PolicyStatus{}}},
		{Prefix: "place", URI: "http://placement.policy.data.vasa.vim.vmware.com/xsd", Types: []any{
			CapacityMetric{}, ContainerUsage{}, PlacementSolution{}, ProvisioningSubject{}, SubjectAssignment{},
		}},
		{Prefix: "stat", URI: "http://statistics.data.vasa.vim.vmware.com/xsd", Types: []any{
			ArrayStatisticsManifest{}, AssociatedStatistics{}, CounterInfo{}, EntityStatisticsManifest{},
		}},
	}
}
