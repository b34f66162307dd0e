package wire

// NameValuePair is data:NameValuePair: a pair of a name and a value. In an update of metadata
// a pair without a value deletes the name; an empty value does not.
type NameValuePair struct {
	ParameterName  *string `vasa:"parameterName,?~"`
	ParameterValue *string `vasa:"parameterValue,?~"`
}

// VirtualVolumeInfo is vvol:VirtualVolumeInfo: a virtual volume and its metadata.
// UniqueIdentifier is the VVolID, if it is set.
type VirtualVolumeInfo struct {
	BaseStorageEntity
	Metadata []NameValuePair `vasa:"metadata,*"`
	VVolID   string          `vasa:"vvolId,1"`
}

// QueryConstraint is vvol:QueryConstraint: a name of metadata, and the value it must have;
// without a value it must exist.
type QueryConstraint struct {
	Key   string  `vasa:"key,1"`
	Value *string `vasa:"value,?~"`
}

// SpaceStats is vvol:SpaceStats: space of a virtual volume in MB of 2^20 bytes.
type SpaceStats struct {
	Committed     int64  `vasa:"committed,1"`
	Logical       int64  `vasa:"logical,1"`
	ObjectID      string `vasa:"objectId,1"`
	Unshared      int64  `vasa:"unshared,1"`
	UnsharedValid bool   `vasa:"unsharedValid,1"` // whether Unshared means something
}

// PrepareSnapshotResult is vvol:PrepareSnapshotResult: the result of the task of
// prepareToSnapshotVirtualVolume.
type PrepareSnapshotResult struct {
	ParentInfo  VirtualVolumeInfo `vasa:"parentInfo,1"`
	ParentStats SpaceStats        `vasa:"parentStats,1"`
	SnapshotID  string            `vasa:"snapshotId,1"`
}

// VirtualVolumeBitmapResult is vvol:VirtualVolumeBitmapResult: a bit for each chunk of the
// segment that was asked about.
type VirtualVolumeBitmapResult struct {
	ChunkBitmap []byte `vasa:"chunkBitmap,1"`
}

// VirtualVolumeUnsharedChunksResult is vvol:VirtualVolumeUnsharedChunksResult: how many chunks
// of a segment are unshared.
type VirtualVolumeUnsharedChunksResult struct {
	ChunkSizeBytes int64 `vasa:"chunkSizeBytes,1"` // the provider's own
	ScannedChunks  int64 `vasa:"scannedChunks,1"`
	UnsharedChunks int64 `vasa:"unsharedChunks,1"`
}

// CreateVirtualVolume is the request createVirtualVolume: makes a virtual volume, as a task
// with its id as result.
type CreateVirtualVolume struct {
	ContainerID     string            `vasa:"containerId,1"`
	VVolType        VirtualVolumeType `vasa:"vvolType,1"`
	StorageProfile  AnyProfile        `vasa:"storageProfile,?~"` // nil: the container's default
	SizeInMB        int64             `vasa:"sizeInMB,1"`        // MB of 2^20 bytes
	Metadata        []NameValuePair   `vasa:"metadata,+"`
	ContainerCookie *string           `vasa:"containerCookie,?~"` // of setStorageContainerContext
}

// CreateVirtualVolumeResponse is its response.
type CreateVirtualVolumeResponse struct {
	Return TaskInfo `vasa:"return,1"`
}

// CloneVirtualVolume is the request cloneVirtualVolume: makes a full copy, as a task with its
// id as result.
type CloneVirtualVolume struct {
	VVolID          string          `vasa:"vvolId,1"`
	NewContainerID  *string         `vasa:"newContainerId,?~"` // nil: the source's
	NewProfile      AnyProfile      `vasa:"newProfile,?~"`
	Metadata        []NameValuePair `vasa:"metadata,+"`
	ContainerCookie *string         `vasa:"containerCookie,?~"`
}

// CloneVirtualVolumeResponse is its response.
type CloneVirtualVolumeResponse struct {
	Return TaskInfo `vasa:"return,1"`
}

// FastCloneVirtualVolume is the request fastCloneVirtualVolume: makes a writable copy that
// shares space, as a task with its id as result.
type FastCloneVirtualVolume struct {
	VVolID          string          `vasa:"vvolId,1"`
	NewProfile      AnyProfile      `vasa:"newProfile,?~"`
	Metadata        []NameValuePair `vasa:"metadata,+"`
	ContainerCookie *string         `vasa:"containerCookie,?~"`
}

// FastCloneVirtualVolumeResponse is its response.
type FastCloneVirtualVolumeResponse struct {
	Return TaskInfo `vasa:"return,1"`
}

// PrepareToSnapshotVirtualVolume is the request prepareToSnapshotVirtualVolume: does all of a
// snapshot that takes time, as a task with a *PrepareSnapshotResult.
type PrepareToSnapshotVirtualVolume struct {
	VVolID          string     `vasa:"vvolId,1"`
	StorageProfile  AnyProfile `vasa:"storageProfile,?~"` // nil: the volume's
	ContainerCookie *string    `vasa:"containerCookie,?~"`
	SnapType        SnapType   `vasa:"snapType,1"`
}

// PrepareToSnapshotVirtualVolumeResponse is its response.
type PrepareToSnapshotVirtualVolumeResponse struct {
	Return TaskInfo `vasa:"return,1"`
}

// SnapshotVirtualVolume is the request snapshotVirtualVolume: takes prepared snapshots at one
// point in time, before it answers. SnapshotInfo has the ids that were prepared.
type SnapshotVirtualVolume struct {
	SnapshotInfo    []VirtualVolumeInfo `vasa:"snapshotInfo,+"`
	TimeoutMS       int64               `vasa:"timeoutMS,1"`
	ContainerCookie *string             `vasa:"containerCookie,?~"`
}

// SnapshotVirtualVolumeResponse is its response.
type SnapshotVirtualVolumeResponse struct {
	Return []BatchReturnStatus `vasa:"return,+"`
}

// RevertVirtualVolume is the request revertVirtualVolume: makes a virtual volume what its
// snapshot is, as a task.
type RevertVirtualVolume struct {
	VVolID          string  `vasa:"vvolId,1"`
	SnapshotVVolID  string  `vasa:"snapshotVvolId,1"`
	ContainerCookie *string `vasa:"containerCookie,?~"`
}

// RevertVirtualVolumeResponse is its response.
type RevertVirtualVolumeResponse struct {
	Return TaskInfo `vasa:"return,1"`
}

// CopyDiffsToVirtualVolume is the request copyDiffsToVirtualVolume: copies to a third what
// differs between two related virtual volumes, as a task.
type CopyDiffsToVirtualVolume struct {
	SrcVVolID       string  `vasa:"srcVVolId,1"`
	SrcBaseVVolID   string  `vasa:"srcBaseVVolId,1"`
	DstVVolID       string  `vasa:"dstVVolId,1"`
	ContainerCookie *string `vasa:"containerCookie,?~"`
}

// CopyDiffsToVirtualVolumeResponse is its response.
type CopyDiffsToVirtualVolumeResponse struct {
	Return TaskInfo `vasa:"return,1"`
}

// ResizeVirtualVolume is the request resizeVirtualVolume: gives a virtual volume another size,
// as a task.
type ResizeVirtualVolume struct {
	VVolID          string  `vasa:"vvolId,1"`
	SizeInMB        int64   `vasa:"sizeInMB,1"` // MB of 2^20 bytes
	ContainerCookie *string `vasa:"containerCookie,?~"`
}

// ResizeVirtualVolumeResponse is its response.
type ResizeVirtualVolumeResponse struct {
	Return TaskInfo `vasa:"return,1"`
}

// DeleteVirtualVolume is the request deleteVirtualVolume: deletes a virtual volume before it
// answers.
type DeleteVirtualVolume struct {
	VVolID          string  `vasa:"vvolId,1"`
	ContainerCookie *string `vasa:"containerCookie,?~"`
}

// UpdateVirtualVolumeMetaData is the request updateVirtualVolumeMetaData: sets and deletes
// pairs of metadata.
type UpdateVirtualVolumeMetaData struct {
	VVolID          string          `vasa:"vvolId,1"`
	KeyValuePair    []NameValuePair `vasa:"keyValuePair,+"`
	ContainerCookie *string         `vasa:"containerCookie,?~"`
}

// QueryVirtualVolume is the request queryVirtualVolume: asks for the ids of the virtual
// volumes that fulfil all constraints.
type QueryVirtualVolume struct {
	SearchConstraint []QueryConstraint `vasa:"searchConstraint,+"`
}

// QueryVirtualVolumeResponse is its response.
type QueryVirtualVolumeResponse struct {
	Return []string `vasa:"return,*"`
}

// QueryVirtualVolumeInfo is the request queryVirtualVolumeInfo: asks for metadata; unknown ids
// are left out of the answer.
type QueryVirtualVolumeInfo struct {
	VVolID []string `vasa:"vvolId,+"`
}

// QueryVirtualVolumeInfoResponse is its response.
type QueryVirtualVolumeInfoResponse struct {
	Return []VirtualVolumeInfo `vasa:"return,*"`
}

// SpaceStatsForVirtualVolume is the request spaceStatsForVirtualVolume: asks for space;
// unknown ids are left out of the answer.
type SpaceStatsForVirtualVolume struct {
	VVolID []string `vasa:"vvolId,+"`
}

// SpaceStatsForVirtualVolumeResponse is its response.
type SpaceStatsForVirtualVolumeResponse struct {
	Return []SpaceStats `vasa:"return,*"`
}

// AllocatedBitmapVirtualVolume is the request allocatedBitmapVirtualVolume: asks which chunks
// of a segment are allocated.
type AllocatedBitmapVirtualVolume struct {
	VVolID                  string `vasa:"vvolId,1"`
	SegmentStartOffsetBytes int64  `vasa:"segmentStartOffsetBytes,1"`
	SegmentLengthBytes      int64  `vasa:"segmentLengthBytes,1"`
	ChunkSizeBytes          int64  `vasa:"chunkSizeBytes,1"`
}

// AllocatedBitmapVirtualVolumeResponse is its response.
type AllocatedBitmapVirtualVolumeResponse struct {
	Return VirtualVolumeBitmapResult `vasa:"return,1"`
}

// UnsharedBitmapVirtualVolume is the request unsharedBitmapVirtualVolume: asks which chunks of
// a segment differ from a related virtual volume.
type UnsharedBitmapVirtualVolume struct {
	VVolID                  string `vasa:"vvolId,1"`
	BaseVVolID              string `vasa:"baseVvolId,1"`
	SegmentStartOffsetBytes int64  `vasa:"segmentStartOffsetBytes,1"`
	SegmentLengthBytes      int64  `vasa:"segmentLengthBytes,1"`
	ChunkSizeBytes          int64  `vasa:"chunkSizeBytes,1"`
}

// UnsharedBitmapVirtualVolumeResponse is its response.
type UnsharedBitmapVirtualVolumeResponse struct {
	Return VirtualVolumeBitmapResult `vasa:"return,1"`
}

// UnsharedChunksVirtualVolume is the request unsharedChunksVirtualVolume: asks how many chunks
// of a segment are unshared.
type UnsharedChunksVirtualVolume struct {
	VVolID                  string  `vasa:"vvolId,1"`
	BaseVVolID              *string `vasa:"baseVvolId,?~"` // nil: its own space
	SegmentStartOffsetBytes int64   `vasa:"segmentStartOffsetBytes,1"`
	SegmentLengthBytes      int64   `vasa:"segmentLengthBytes,1"`
}

// UnsharedChunksVirtualVolumeResponse is its response.
type UnsharedChunksVirtualVolumeResponse struct {
	Return VirtualVolumeUnsharedChunksResult `vasa:"return,1"`
}

// VirtualVolumeType is vvol:VirtualVolumeTypeEnum.
type VirtualVolumeType string

// Values of VirtualVolumeType.
const (
	VirtualVolumeTypeConfig VirtualVolumeType = "Config"
	VirtualVolumeTypeData   VirtualVolumeType = "Data"
	VirtualVolumeTypeSwap   VirtualVolumeType = "Swap"
	VirtualVolumeTypeMemory VirtualVolumeType = "Memory"
	VirtualVolumeTypeOther  VirtualVolumeType = "Other"
)

// Values lists all of them.
func (VirtualVolumeType) Values() []VirtualVolumeType {
	return []VirtualVolumeType{VirtualVolumeTypeConfig, VirtualVolumeTypeData, VirtualVolumeTypeSwap, VirtualVolumeTypeMemory, VirtualVolumeTypeOther}
}

// SnapType is vvol:SnapTypeEnum.
type SnapType string

// Values of SnapType.
const (
	SnapTypeSnapshotReadOnly  SnapType = "SnapshotReadOnly"
	SnapTypeSnapshotReadWrite SnapType = "SnapshotReadWrite"
)

// Values lists all of them.
func (SnapType) Values() []SnapType {
	return []SnapType{SnapTypeSnapshotReadOnly, SnapTypeSnapshotReadWrite}
}
