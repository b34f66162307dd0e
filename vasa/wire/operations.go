package wire

import (
	"encoding/xml"
	"mime"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// Operation is a row of the table of operations. Nobody changes it.
type Operation struct {
	Name     string
	Request  reflect.Type // a struct
	Response reflect.Type // a struct; nil if the answer is an empty body
	Faults   []string     // names of the declared faults, in order
	InV1     bool         // also an operation of VASA 1.0
}

// EmptyRequest tells whether the body of the request is empty. Such requests are told
// apart by their action alone.
func (o *Operation) EmptyRequest() bool { return o.Request.NumField() == 0 }

// Action is the SOAP action of the request.
func (o *Operation) Action() string { return "urn:" + o.Name }

// Declares tells whether the operation may end with a fault. What it does not declare has to
// become a StorageFault, which all declare.
func (o *Operation) Declares(f Fault) bool { return slices.Contains(o.Faults, FaultName(f)) }

// NewRequest is a pointer to a new request.
func (o *Operation) NewRequest() any { return reflect.New(o.Request).Interface() }

// element is the element of the request.
func (o *Operation) element() xml.Name { return xml.Name{Space: ServiceURI, Local: o.Name} }

// responseElement is the element of the response, if it has one.
func (o *Operation) responseElement() xml.Name {
	return xml.Name{Space: ServiceURI, Local: o.Name + "Response"}
}

// Operations are all operations of VASA 2.0, in the order of the contract's chapters.
func Operations() []*Operation { return slices.Clone(table().all) }

// Lookup finds an operation by its name, or gives nil.
func Lookup(name string) *Operation { return table().byName[name] }

// OperationOf finds the operation of a request, a struct or a pointer to one, or gives nil.
func OperationOf(request any) *Operation {
	t := reflect.TypeOf(request)
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return table().byRequest[t]
}

// LookupAction finds the operation of a SOAP action. The contract spells it urn: and the
// name; quotes around it, white space, and any other prefix that ends in a colon, slash or
// hash are tolerated, and exact then is false, but for quotes.
func LookupAction(action string) (o *Operation, exact bool) {
	action = strings.TrimSpace(action)
	if unquoted, ok := strings.CutPrefix(action, `"`); ok {
		action = strings.TrimSuffix(unquoted, `"`)
	}
	o = Lookup(action[strings.LastIndexAny(action, ":/#")+1:])
	return o, o != nil && action == o.Action()
}

// Action finds the action in the headers of an HTTP request: SOAPAction for SOAP 1.1, a
// parameter of Content-Type for SOAP 1.2.
func Action(soapAction, contentType string) string {
	if soapAction != "" {
		return soapAction
	}
	_, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	return parameters["action"]
}

type operations struct {
	all       []*Operation
	byName    map[string]*Operation
	byRequest map[reflect.Type]*Operation
}

var table = sync.OnceValue(func() *operations {
	t := &operations{byName: map[string]*Operation{}, byRequest: map[reflect.Type]*Operation{}}
	for _, row := range operationRows() {
		// All declare these two.
		faults := append(strings.Fields(row.faults), "InvalidSession", "StorageFault")
		slices.Sort(faults)
		o := &Operation{Name: row.name, Request: reflect.TypeOf(row.request).Elem(), Faults: faults, InV1: row.v1}
		if row.response != nil {
			o.Response = reflect.TypeOf(row.response).Elem()
		}
		t.all = append(t.all, o)
		t.byName[o.Name], t.byRequest[o.Request] = o, o
	}
	return t
})

// operationRow is an operation as the contract lists it. response is nil for the ten
// operations with an empty answer, v1 is for those of VASA 1.0; faults go without
// InvalidSession and StorageFault.
type operationRow struct {
	name              string
	request, response any
	v1                bool
	faults            string
}

func operationRows() []operationRow {
	return []operationRow{
		// Session, registration, certificates.
		{"registerVASACertificate", new(RegisterVASACertificate), new(RegisterVASACertificateResponse), true, "InvalidCertificate InvalidLogin"},
		{"unregisterVASACertificate", new(UnregisterVASACertificate), nil, true, "InvalidCertificate"},
		{"registerCACertificatesAndCRLs", new(RegisterCACertificatesAndCRLs), new(RegisterCACertificatesAndCRLsResponse), false, "InvalidCertificate InvalidLogin VasaProviderBusy"},
		{"refreshCACertificatesAndCRLs", new(RefreshCACertificatesAndCRLs), nil, false, "InvalidCertificate PermissionDenied VasaProviderBusy"},
		{"queryCACertificates", new(QueryCACertificates), new(QueryCACertificatesResponse), false, "VasaProviderBusy"},
		{"queryCACertificateRevocationLists", new(QueryCACertificateRevocationLists), new(QueryCACertificateRevocationListsResponse), false, "VasaProviderBusy"},
		{"requestCSR", new(RequestCSR), new(RequestCSRResponse), false, "PermissionDenied VasaProviderBusy"},
		{"registerCASignedProviderCertificate", new(RegisterCASignedProviderCertificate), nil, false, "InvalidCertificate PermissionDenied VasaProviderBusy"},
		{"setContext", new(SetContext), new(SetContextResponse), true, "InvalidArgument"},
		{"activateProvider", new(ActivateProvider), nil, false, "InvalidArgument VasaProviderBusy"},
		{"activateProviderEx", new(ActivateProviderEx), new(ActivateProviderExResponse), false, "ActivateProviderFailed InvalidArgument VasaProviderBusy"},
		{"setStorageContainerContext", new(SetStorageContainerContext), new(SetStorageContainerContextResponse), false, "InactiveProvider InvalidArgument NotFound NotImplemented VasaProviderBusy"},

		// Inventory of VASA 1.
		{"queryArrays", new(QueryArrays), new(QueryArraysResponse), true, "InvalidArgument"},
		{"queryUniqueIdentifiersForEntity", new(QueryUniqueIdentifiersForEntity), new(QueryUniqueIdentifiersForEntityResponse), true, "InvalidArgument"},
		{"getNumberOfEntities", new(GetNumberOfEntities), new(GetNumberOfEntitiesResponse), true, "InvalidArgument"},
		{"queryAssociatedProcessorsForArray", new(QueryAssociatedProcessorsForArray), new(QueryAssociatedProcessorsForArrayResponse), true, "InvalidArgument NotImplemented"},
		{"queryStorageProcessors", new(QueryStorageProcessors), new(QueryStorageProcessorsResponse), true, "InvalidArgument NotImplemented"},
		{"queryAssociatedPortsForProcessor", new(QueryAssociatedPortsForProcessor), new(QueryAssociatedPortsForProcessorResponse), true, "InvalidArgument NotImplemented"},
		{"queryStoragePorts", new(QueryStoragePorts), new(QueryStoragePortsResponse), true, "InvalidArgument NotImplemented"},
		{"queryAssociatedLunsForPort", new(QueryAssociatedLunsForPort), new(QueryAssociatedLunsForPortResponse), true, "InvalidArgument NotImplemented"},
		{"queryUniqueIdentifiersForLuns", new(QueryUniqueIdentifiersForLuns), new(QueryUniqueIdentifiersForLunsResponse), true, "InvalidArgument NotFound NotImplemented"},
		{"queryStorageLuns", new(QueryStorageLuns), new(QueryStorageLunsResponse), true, "InvalidArgument NotImplemented"},
		{"queryUniqueIdentifiersForFileSystems", new(QueryUniqueIdentifiersForFileSystems), new(QueryUniqueIdentifiersForFileSystemsResponse), true, "InvalidArgument NotFound NotImplemented"},
		{"queryStorageFileSystems", new(QueryStorageFileSystems), new(QueryStorageFileSystemsResponse), true, "InvalidArgument NotImplemented"},
		{"queryStorageCapabilities", new(QueryStorageCapabilities), new(QueryStorageCapabilitiesResponse), true, "InvalidArgument NotImplemented"},
		{"queryAssociatedCapabilityForLun", new(QueryAssociatedCapabilityForLun), new(QueryAssociatedCapabilityForLunResponse), true, "InvalidArgument NotImplemented"},
		{"queryAssociatedCapabilityForFileSystem", new(QueryAssociatedCapabilityForFileSystem), new(QueryAssociatedCapabilityForFileSystemResponse), true, "InvalidArgument NotImplemented"},
		{"queryDRSMigrationCapabilityForPerformance", new(QueryDRSMigrationCapabilityForPerformance), new(QueryDRSMigrationCapabilityForPerformanceResponse), true, "InvalidArgument NotFound"},
		{"queryDrsMigrationCapabilityForPerformanceEx", new(QueryDrsMigrationCapabilityForPerformanceEx), new(QueryDrsMigrationCapabilityForPerformanceExResponse), false, "InactiveProvider InvalidArgument NotImplemented VasaProviderBusy"},
		{"queryBackingStoragePools", new(QueryBackingStoragePools), new(QueryBackingStoragePoolsResponse), false, "InactiveProvider InvalidArgument NotImplemented VasaProviderBusy"},
		{"queryCatalog", new(QueryCatalog), new(QueryCatalogResponse), true, ""},

		// Events and alarms.
		{"getEvents", new(GetEvents), new(GetEventsResponse), true, "InvalidArgument LostEvent"},
		{"getAlarms", new(GetAlarms), new(GetAlarmsResponse), true, "InvalidArgument LostAlarm"},

		// Capabilities, profiles, compliance.
		{"queryCapabilityMetadata", new(QueryCapabilityMetadata), new(QueryCapabilityMetadataResponse), false, "InactiveProvider NotFound VasaProviderBusy"},
		{"queryCapabilityProfile", new(QueryCapabilityProfile), new(QueryCapabilityProfileResponse), false, "InactiveProvider NotFound VasaProviderBusy"},
		{"queryCapabilityProfileForResource", new(QueryCapabilityProfileForResource), new(QueryCapabilityProfileForResourceResponse), false, "InactiveProvider InvalidArgument NotFound VasaProviderBusy"},
		{"queryDefaultProfileForStorageContainer", new(QueryDefaultProfileForStorageContainer), new(QueryDefaultProfileForStorageContainerResponse), false, "InactiveProvider InvalidArgument NotFound VasaProviderBusy"},
		{"queryComplianceResult", new(QueryComplianceResult), new(QueryComplianceResultResponse), false, "InactiveProvider InvalidArgument NotFound VasaProviderBusy"},
		{"updateStorageProfileForVirtualVolume", new(UpdateStorageProfileForVirtualVolume), new(UpdateStorageProfileForVirtualVolumeResponse), false, "InactiveProvider InvalidProfile NotFound NotSupported OutOfResource PermissionDenied ResourceInUse VasaProviderBusy"},

		// Containers and protocol endpoints.
		{"queryStorageContainerForArray", new(QueryStorageContainerForArray), new(QueryStorageContainerForArrayResponse), false, "InactiveProvider InvalidArgument NotFound NotImplemented VasaProviderBusy"},
		{"queryStorageContainer", new(QueryStorageContainer), new(QueryStorageContainerResponse), false, "NotImplemented VasaProviderBusy"},
		{"spaceStatsForStorageContainer", new(SpaceStatsForStorageContainer), new(SpaceStatsForStorageContainerResponse), false, "InactiveProvider InvalidArgument NotFound NotImplemented VasaProviderBusy"},
		{"setPEContext", new(SetPEContext), nil, false, "NotImplemented VasaProviderBusy"},
		{"queryProtocolEndpointForArray", new(QueryProtocolEndpointForArray), new(QueryProtocolEndpointForArrayResponse), false, "InactiveProvider InvalidArgument NotFound NotImplemented VasaProviderBusy"},
		{"queryProtocolEndpoint", new(QueryProtocolEndpoint), new(QueryProtocolEndpointResponse), false, "InactiveProvider NotImplemented VasaProviderBusy"},

		// Virtual volumes.
		{"createVirtualVolume", new(CreateVirtualVolume), new(CreateVirtualVolumeResponse), false, "InactiveProvider InvalidArgument InvalidProfile NotFound NotImplemented OutOfResource PermissionDenied VasaProviderBusy"},
		{"cloneVirtualVolume", new(CloneVirtualVolume), new(CloneVirtualVolumeResponse), false, "InactiveProvider InvalidArgument InvalidProfile NotFound NotImplemented NotSupported OutOfResource PermissionDenied ResourceInUse VasaProviderBusy"},
		{"fastCloneVirtualVolume", new(FastCloneVirtualVolume), new(FastCloneVirtualVolumeResponse), false, "InactiveProvider InvalidArgument InvalidProfile NotFound NotImplemented NotSupported OutOfResource PermissionDenied ResourceInUse SnapshotTooMany VasaProviderBusy"},
		{"prepareToSnapshotVirtualVolume", new(PrepareToSnapshotVirtualVolume), new(PrepareToSnapshotVirtualVolumeResponse), false, "InactiveProvider InvalidArgument InvalidProfile NotFound NotImplemented NotSupported OutOfResource PermissionDenied ResourceInUse SnapshotTooMany VasaProviderBusy"},
		{"snapshotVirtualVolume", new(SnapshotVirtualVolume), new(SnapshotVirtualVolumeResponse), false, "InactiveProvider InvalidArgument NotFound NotImplemented NotSupported PermissionDenied ResourceInUse Timeout TooMany VasaProviderBusy"},
		{"revertVirtualVolume", new(RevertVirtualVolume), new(RevertVirtualVolumeResponse), false, "InactiveProvider IncompatibleVolume InvalidArgument NotFound NotImplemented NotSupported PermissionDenied ResourceInUse VasaProviderBusy"},
		{"copyDiffsToVirtualVolume", new(CopyDiffsToVirtualVolume), new(CopyDiffsToVirtualVolumeResponse), false, "InactiveProvider IncompatibleVolume InvalidArgument NotFound NotImplemented NotSupported PermissionDenied ResourceInUse VasaProviderBusy"},
		{"resizeVirtualVolume", new(ResizeVirtualVolume), new(ResizeVirtualVolumeResponse), false, "InactiveProvider InvalidArgument NotFound NotImplemented NotSupported OutOfResource PermissionDenied ResourceInUse VasaProviderBusy"},
		{"deleteVirtualVolume", new(DeleteVirtualVolume), nil, false, "InactiveProvider InvalidArgument NotFound NotImplemented PermissionDenied ResourceInUse VasaProviderBusy"},
		{"updateVirtualVolumeMetaData", new(UpdateVirtualVolumeMetaData), nil, false, "InactiveProvider InvalidArgument NotFound NotImplemented PermissionDenied VasaProviderBusy"},
		{"queryVirtualVolume", new(QueryVirtualVolume), new(QueryVirtualVolumeResponse), false, "InactiveProvider InvalidArgument NotImplemented VasaProviderBusy"},
		{"queryVirtualVolumeInfo", new(QueryVirtualVolumeInfo), new(QueryVirtualVolumeInfoResponse), false, "InactiveProvider NotImplemented TooMany VasaProviderBusy"},
		{"spaceStatsForVirtualVolume", new(SpaceStatsForVirtualVolume), new(SpaceStatsForVirtualVolumeResponse), false, "InactiveProvider NotImplemented TooMany VasaProviderBusy"},
		{"allocatedBitmapVirtualVolume", new(AllocatedBitmapVirtualVolume), new(AllocatedBitmapVirtualVolumeResponse), false, "InactiveProvider InvalidArgument NotFound NotImplemented NotSupported VasaProviderBusy"},
		{"unsharedBitmapVirtualVolume", new(UnsharedBitmapVirtualVolume), new(UnsharedBitmapVirtualVolumeResponse), false, "InactiveProvider IncompatibleVolume InvalidArgument NotFound NotImplemented NotSupported VasaProviderBusy"},
		{"unsharedChunksVirtualVolume", new(UnsharedChunksVirtualVolume), new(UnsharedChunksVirtualVolumeResponse), false, "InactiveProvider IncompatibleVolume InvalidArgument NotFound NotImplemented NotSupported VasaProviderBusy"},

		// Binding.
		{"bindVirtualVolume", new(BindVirtualVolume), new(BindVirtualVolumeResponse), false, "InactiveProvider InvalidArgument NotImplemented PermissionDenied TooMany VasaProviderBusy"},
		{"unbindVirtualVolume", new(UnbindVirtualVolume), new(UnbindVirtualVolumeResponse), false, "InactiveProvider InvalidArgument NotFound NotImplemented TooMany VasaProviderBusy"},
		{"unbindVirtualVolumeFromAllHost", new(UnbindVirtualVolumeFromAllHost), new(UnbindVirtualVolumeFromAllHostResponse), false, "InactiveProvider InvalidArgument NotFound NotImplemented TooMany VasaProviderBusy"},
		{"unbindAllVirtualVolumesFromHost", new(UnbindAllVirtualVolumesFromHost), nil, false, "InactiveProvider InvalidArgument NotFound NotImplemented VasaProviderBusy"},
		{"prepareForBindingChange", new(PrepareForBindingChange), new(PrepareForBindingChangeResponse), false, "InactiveProvider InvalidArgument NotFound NotImplemented VasaProviderBusy"},
		{"bindingChangeComplete", new(BindingChangeComplete), new(BindingChangeCompleteResponse), false, "InactiveProvider InvalidArgument NotFound NotImplemented VasaProviderBusy"},
		{"cancelBindingChange", new(CancelBindingChange), new(CancelBindingChangeResponse), false, "InactiveProvider InvalidArgument NotFound NotImplemented VasaProviderBusy"},

		// Tasks.
		{"getTaskUpdate", new(GetTaskUpdate), new(GetTaskUpdateResponse), false, "InactiveProvider InvalidArgument NotFound NotImplemented VasaProviderBusy"},
		{"getCurrentTask", new(GetCurrentTask), new(GetCurrentTaskResponse), false, "InactiveProvider InvalidArgument NotFound NotImplemented VasaProviderBusy"},
		{"cancelTask", new(CancelTask), nil, false, "InactiveProvider InvalidArgument NotCancellable NotFound NotImplemented VasaProviderBusy"},

		// Statistics.
		{"queryAssociatedStatisticsManifestForArray", new(QueryAssociatedStatisticsManifestForArray), new(QueryAssociatedStatisticsManifestForArrayResponse), false, "InactiveProvider InvalidArgument NotImplemented VasaProviderBusy"},
		{"setStatisticsContext", new(SetStatisticsContext), nil, false, "InactiveProvider InvalidArgument InvalidStatisticsContext NotImplemented VasaProviderBusy"},
		{"queryAssociatedStatisticsForEntity", new(QueryAssociatedStatisticsForEntity), new(QueryAssociatedStatisticsForEntityResponse), false, "InactiveProvider InvalidArgument InvalidStatisticsContext NotImplemented TooMany VasaProviderBusy"},
	}
}
