package wire

import "time"

// StorageProfile is prof:StorageProfile: a policy, or what a container offers. Without
// constraints it asks for nothing.
type StorageProfile struct {
	Constraints     *CapabilityConstraints `vasa:"constraints,?~"`
	CreatedBy       string                 `vasa:"createdBy,1"`
	CreationTime    time.Time              `vasa:"creationTime,1"`
	Description     *string                `vasa:"description,?~"`
	GenerationID    int64                  `vasa:"generationId,1"`
	LastUpdatedBy   *string                `vasa:"lastUpdatedBy,?~"`
	LastUpdatedTime *time.Time             `vasa:"lastUpdatedTime,?~"`
	Name            string                 `vasa:"name,1"`
	ProfileID       string                 `vasa:"profileId,1"`
}

// AnyProfile is a *StorageProfile or a pointer to what extends it.
type AnyProfile interface{ Base() *StorageProfile }

// Base is the part that all of them share.
func (p *StorageProfile) Base() *StorageProfile { return p }

// DefaultProfile is prof:DefaultProfile: a profile that virtual volumes of the given types get
// if none is named.
type DefaultProfile struct {
	StorageProfile
	EntityType []VirtualVolumeType `vasa:"entityType,*"`
}

// CapabilityConstraints is prof:CapabilityConstraints: the rules of a profile.
type CapabilityConstraints struct {
	SubProfiles []AnySubProfile `vasa:"subProfiles,*"`
}

// SubProfile is prof:SubProfile: a rule set: all of its capabilities are asked for.
type SubProfile struct {
	Capability []CapabilityInstance `vasa:"capability,+"`
	Name       string               `vasa:"name,1"`
}

// AnySubProfile is a *SubProfile or a pointer to what extends it.
type AnySubProfile interface{ Base() *SubProfile }

// Base is the part that all of them share.
func (p *SubProfile) Base() *SubProfile { return p }

// SubProfileWithCandidates is prof:SubProfileWithCandidates: a rule set with the capability
// profiles that would fulfil it.
type SubProfileWithCandidates struct {
	SubProfile
	CandidateCapabilityProfiles []string `vasa:"candidateCapabilityProfiles,*"`
	ForceProvision              bool     `vasa:"forceProvision,1"`
}

// Resource is pol:Resource: something that a profile can be associated with.
type Resource struct {
	ResourceID   string `vasa:"resourceId,1"`
	ResourceType string `vasa:"resourceType,1"`
}

// ResourceAssociation is pol:ResourceAssociation: that a resource, a container, offers a
// profile.
type ResourceAssociation struct {
	ProfileID  string `vasa:"profileId,1"`
	ResourceID string `vasa:"resourceId,1"`
}

// QueryCapabilityProfile is the request queryCapabilityProfile: asks for capability profiles;
// none named means all.
type QueryCapabilityProfile struct {
	ProfileID []string `vasa:"profileId,*"`
}

// QueryCapabilityProfileResponse is its response.
type QueryCapabilityProfileResponse struct {
	Return []AnyProfile `vasa:"return,*"`
}

// QueryCapabilityProfileForResource is the request queryCapabilityProfileForResource: asks
// which profiles containers offer; none named means all.
type QueryCapabilityProfileForResource struct {
	ResourceID []string `vasa:"resourceId,*"`
}

// QueryCapabilityProfileForResourceResponse is its response.
type QueryCapabilityProfileForResourceResponse struct {
	Return []ResourceAssociation `vasa:"return,*"`
}

// QueryDefaultProfileForStorageContainer is the request
// queryDefaultProfileForStorageContainer: asks for the default profiles of a container by type
// of virtual volume.
type QueryDefaultProfileForStorageContainer struct {
	ContainerID string              `vasa:"containerId,1"`
	EntityType  []VirtualVolumeType `vasa:"entityType,*"`
}

// QueryDefaultProfileForStorageContainerResponse is its response.
type QueryDefaultProfileForStorageContainerResponse struct {
	Return []DefaultProfile `vasa:"return,*"`
}

// UpdateStorageProfileForVirtualVolume is the request updateStorageProfileForVirtualVolume:
// gives a virtual volume another profile, as a task.
type UpdateStorageProfileForVirtualVolume struct {
	VVolID            string     `vasa:"vvolId,1"`
	NewStorageProfile AnyProfile `vasa:"newStorageProfile,1"`
	ContainerCookie   *string    `vasa:"containerCookie,?~"`
}

// UpdateStorageProfileForVirtualVolumeResponse is its response.
type UpdateStorageProfileForVirtualVolumeResponse struct {
	Return TaskInfo `vasa:"return,1"`
}
