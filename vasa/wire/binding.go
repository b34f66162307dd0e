package wire

// VirtualVolumeHandle is vvol:VirtualVolumeHandle: the way to a bound virtual volume: an
// endpoint, and behind it VVolSecondaryID, 0x and the digits of the second-level LUN for SCSI.
// UniqueIdentifier is the id of the virtual volume.
type VirtualVolumeHandle struct {
	BaseStorageEntity
	PEInBandID      ProtocolEndpointInbandId `vasa:"peInBandId,1"`
	VVolSecondaryID string                   `vasa:"vvolSecondaryId,1"`
}

// BatchVirtualVolumeHandleResult is vvol:BatchVirtualVolumeHandleResult: what became of one
// virtual volume of a bind: a handle, or a fault.
type BatchVirtualVolumeHandleResult struct {
	Fault           any                  `vasa:"fault,?~"` // a Fault
	VVolHandle      *VirtualVolumeHandle `vasa:"vvolHandle,?~"`
	VVolID          string               `vasa:"vvolId,1"`
	VVolInfo        *VirtualVolumeInfo   `vasa:"vvolInfo,?~"`
	VVolLogicalSize *int64               `vasa:"vvolLogicalSize,?"` // MB of 2^20 bytes
}

// BatchReturnStatus is vvol:BatchReturnStatus: what became of one item of a batch; without
// ErrorResult it went well.
type BatchReturnStatus struct {
	ErrorResult *BatchErrorResult `vasa:"errorResult,?~"`
	UniqueID    string            `vasa:"uniqueId,1"`
}

// BatchErrorResult is vvol:BatchErrorResult: why an item of a batch failed.
type BatchErrorResult struct {
	Error []any `vasa:"error,+"` // Faults
}

// BatchReturnStatusArray is vvol:BatchReturnStatusArray: a list of results; no operation of
// VASA 2.0 uses it.
type BatchReturnStatusArray struct {
	BatchReturnStatusArray []BatchReturnStatus `vasa:"batchReturnStatusArray,+"`
}

// BindVirtualVolume is the request bindVirtualVolume: gives the calling host a way to virtual
// volumes of one container.
type BindVirtualVolume struct {
	VVolID          []string    `vasa:"vvolId,+"`
	BindContext     BindContext `vasa:"bindContext,1"`
	ContainerCookie *string     `vasa:"containerCookie,?~"`
}

// BindVirtualVolumeResponse is its response.
type BindVirtualVolumeResponse struct {
	Return []BatchVirtualVolumeHandleResult `vasa:"return,+"`
}

// UnbindVirtualVolume is the request unbindVirtualVolume: takes handles back.
type UnbindVirtualVolume struct {
	VVolHandle    []VirtualVolumeHandle `vasa:"vvolHandle,+"`
	UnbindContext UnbindContext         `vasa:"unbindContext,1"`
}

// UnbindVirtualVolumeResponse is its response.
type UnbindVirtualVolumeResponse struct {
	Return []BatchReturnStatus `vasa:"return,+"`
}

// UnbindVirtualVolumeFromAllHost is the request unbindVirtualVolumeFromAllHost: drops the
// bindings of virtual volumes on all hosts.
type UnbindVirtualVolumeFromAllHost struct {
	VVolID []string `vasa:"vvolId,+"`
}

// UnbindVirtualVolumeFromAllHostResponse is its response.
type UnbindVirtualVolumeFromAllHostResponse struct {
	Return []BatchReturnStatus `vasa:"return,+"`
}

// UnbindAllVirtualVolumesFromHost is the request unbindAllVirtualVolumesFromHost: drops all
// bindings of a host.
type UnbindAllVirtualVolumesFromHost struct {
	HostUUID *string `vasa:"hostUuid,?~"` // nil: the calling host
}

// PrepareForBindingChange is the request prepareForBindingChange: prepares the move of
// bindings to another host, as a task.
type PrepareForBindingChange struct {
	VVolID     []string `vasa:"vvolId,+"`
	DestHostID string   `vasa:"destHostId,1"`
}

// PrepareForBindingChangeResponse is its response.
type PrepareForBindingChangeResponse struct {
	Return TaskInfo `vasa:"return,1"`
}

// BindingChangeComplete is the request bindingChangeComplete: ends such a move.
type BindingChangeComplete struct {
	VVolID []string `vasa:"vvolId,+"`
}

// BindingChangeCompleteResponse is its response.
type BindingChangeCompleteResponse struct {
	Return []BatchReturnStatus `vasa:"return,+"`
}

// CancelBindingChange is the request cancelBindingChange: gives up such a move.
type CancelBindingChange struct {
	VVolID []string `vasa:"vvolId,+"`
}

// CancelBindingChangeResponse is its response.
type CancelBindingChangeResponse struct {
	Return []BatchReturnStatus `vasa:"return,+"`
}

// BindContext is vvol:BindContextEnum: a bind of its own, or the second step of a rebind.
type BindContext string

// Values of BindContext.
const (
	BindContextNormal      BindContext = "Normal"
	BindContextRebindStart BindContext = "RebindStart"
)

// Values lists all of them.
func (BindContext) Values() []BindContext {
	return []BindContext{BindContextNormal, BindContextRebindStart}
}

// UnbindContext is vvol:UnbindContextEnum: an unbind of its own, or the first and the last
// step of a rebind.
type UnbindContext string

// Values of UnbindContext.
const (
	UnbindContextNormal      UnbindContext = "Normal"
	UnbindContextRebindStart UnbindContext = "RebindStart"
	UnbindContextRebindEnd   UnbindContext = "RebindEnd"
)

// Values lists all of them.
func (UnbindContext) Values() []UnbindContext {
	return []UnbindContext{UnbindContextNormal, UnbindContextRebindStart, UnbindContextRebindEnd}
}
