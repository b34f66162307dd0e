package wire

// ActivationSpec is data:ActivationSpec: for which entity the provider is to become the active
// one.
type ActivationSpec struct {
	CurrentActiveProviderURL *string `vasa:"currentActiveProviderUrl,?~"`
	EntityID                 string  `vasa:"entityId,1"`
}

// HostInitiatorInfo is data:HostInitiatorInfo: one adapter of a host, with an iSCSI name, or
// with both world wide names. World wide names come as hexadecimal digits with or without
// colons, or as decimal numbers.
type HostInitiatorInfo struct {
	BaseStorageEntity
	ISCSIIdentifier *string `vasa:"iscsiIdentifier,?~"`
	NodeWWN         *string `vasa:"nodeWwn,?~"`
	PortWWN         *string `vasa:"portWwn,?~"`
}

// MountInfo is data:MountInfo: an NFS export that the client uses.
type MountInfo struct {
	FilePath   *string `vasa:"filePath,?~"`
	ServerName *string `vasa:"serverName,?~"`
}

// UsageContext is data:UsageContext: who the client is. With HostGUID it is a host, otherwise
// vCenter with VCGUID. It is the identity of a session; ids of events and alarms continue by
// it.
type UsageContext struct {
	CHAPUsername            []string            `vasa:"chapUsername,*"`
	HostGUID                *string             `vasa:"hostGuid,?~"` // SMBIOS UUID
	HostInitiator           []HostInitiatorInfo `vasa:"hostInitiator,*"`
	HostIOIPAddress         []string            `vasa:"hostIoIpAddress,*"`
	ISCSIInitiatorIPAddress []string            `vasa:"iscsiInitiatorIpAddress,*"`
	MountPoint              []MountInfo         `vasa:"mountPoint,*"`
	SessionTimeoutInSeconds *int64              `vasa:"sessionTimeoutInSeconds,?"` // below 1 like nil: the default
	SubscribeEvent          []EventType         `vasa:"subscribeEvent,*"`          // none means all
	VCGUID                  *string             `vasa:"vcGuid,?~"`
}

// VasaProviderInfo is data:VasaProviderInfo: what a client learns of the provider when it
// registers and when it sets its context.
type VasaProviderInfo struct {
	DefaultNamespace                *string           `vasa:"defaultNamespace,?~"` // reverse DNS name, without colon
	DefaultSessionTimeoutInSeconds  *int64            `vasa:"defaultSessionTimeoutInSeconds,?"`
	MaxBatchSize                    *int64            `vasa:"maxBatchSize,?"` // nil or below 1: no limit common to all batches
	MaxConcurrentRequestsPerSession *int64            `vasa:"maxConcurrentRequestsPerSession,?"`
	Name                            *string           `vasa:"name,?~"`
	NeedsExplicitActivation         *bool             `vasa:"needsExplicitActivation,?"`
	RetainVasaProviderCertificate   *bool             `vasa:"retainVasaProviderCertificate,?"` // true: vCenter does not replace the certificate
	SessionID                       *string           `vasa:"sessionId,?~"`                    // the same as in the cookie
	SupportedProfile                []ProviderProfile `vasa:"supportedProfile,+"`
	SupportedVendorModel            []VendorModel     `vasa:"supportedVendorModel,*"`
	UID                             string            `vasa:"uid,1"` // stable for ever, under every URL
	VasaApiVersion                  *string           `vasa:"vasaApiVersion,?~"`
	VasaProviderVersion             *string           `vasa:"vasaProviderVersion,?~"`
}

// VendorModel is data:VendorModel: a vendor and model that the provider manages.
type VendorModel struct {
	ModelID  *string `vasa:"modelId,?~"`
	VendorID *string `vasa:"vendorId,?~"`
}

// RegisterVASACertificate is the request registerVASACertificate: checks user and password,
// trusts a certificate. It is the way of VASA 1.
type RegisterVASACertificate struct {
	UserName       *string `vasa:"userName,?~"`
	Password       *string `vasa:"password,?~"`
	NewCertificate *string `vasa:"newCertificate,?~"`
}

// RegisterVASACertificateResponse is its response.
type RegisterVASACertificateResponse struct {
	Return *VasaProviderInfo `vasa:"return,?~"`
}

// UnregisterVASACertificate is the request unregisterVASACertificate: ends the trust in a
// certificate, and the session.
type UnregisterVASACertificate struct {
	ExistingCertificate *string `vasa:"existingCertificate,?~"`
}

// RegisterCACertificatesAndCRLs is the request registerCACertificatesAndCRLs: checks user and
// password, and trusts what the given authorities issue. Certificates and lists are PEM, or
// base64 alone.
type RegisterCACertificatesAndCRLs struct {
	ProviderUserName string   `vasa:"providerUserName,1"`
	ProviderPassword string   `vasa:"providerPassword,1"`
	CARootCert       []string `vasa:"caRootCert,+"`
	CACRL            []string `vasa:"caCRL,*"`
}

// RegisterCACertificatesAndCRLsResponse is its response.
type RegisterCACertificatesAndCRLsResponse struct {
	Return VasaProviderInfo `vasa:"return,1"`
}

// RefreshCACertificatesAndCRLs is the request refreshCACertificatesAndCRLs: replaces the
// trusted authorities and revocation lists.
type RefreshCACertificatesAndCRLs struct {
	CARootCert []string `vasa:"caRootCert,+"`
	CACRL      []string `vasa:"caCRL,*"`
}

// QueryCACertificates is the request queryCACertificates: asks for the trusted authorities, in
// PEM.
type QueryCACertificates struct{}

// QueryCACertificatesResponse is its response.
type QueryCACertificatesResponse struct {
	Return []string `vasa:"return,*"`
}

// QueryCACertificateRevocationLists is the request queryCACertificateRevocationLists: asks for
// the revocation lists in use.
type QueryCACertificateRevocationLists struct{}

// QueryCACertificateRevocationListsResponse is its response.
type QueryCACertificateRevocationListsResponse struct {
	Return []string `vasa:"return,*"`
}

// RequestCSR is the request requestCSR: asks for a certificate signing request, in PEM.
type RequestCSR struct{}

// RequestCSRResponse is its response.
type RequestCSRResponse struct {
	Return string `vasa:"return,1"`
}

// RegisterCASignedProviderCertificate is the request registerCASignedProviderCertificate:
// gives the provider the certificate that was signed from its request.
type RegisterCASignedProviderCertificate struct {
	ProviderCert string `vasa:"providerCert,1"`
	ForceApply   bool   `vasa:"forceApply,1"` // even with sessions open
}

// SetContext is the request setContext: begins a session.
type SetContext struct {
	UsageContext *UsageContext `vasa:"usageContext,?~"`
}

// SetContextResponse is its response.
type SetContextResponse struct {
	Return *VasaProviderInfo `vasa:"return,?~"`
}

// ActivateProvider is the request activateProvider: makes the provider the active one for an
// entity.
type ActivateProvider struct {
	EntityID string `vasa:"entityId,1"`
}

// ActivateProviderEx is the request activateProviderEx: does the same as a task.
type ActivateProviderEx struct {
	ActivationSpec ActivationSpec `vasa:"activationSpec,1"`
}

// ActivateProviderExResponse is its response.
type ActivateProviderExResponse struct {
	Return TaskInfo `vasa:"return,1"`
}

// SetStorageContainerContext is the request setStorageContainerContext: asks for a cookie that
// later calls about the container carry.
type SetStorageContainerContext struct {
	ContainerID string `vasa:"containerId,1"`
	UserID      string `vasa:"userId,1"`
}

// SetStorageContainerContextResponse is its response.
type SetStorageContainerContextResponse struct {
	Return string `vasa:"return,1"`
}

// ProviderProfile is data:ProviderProfileEnum: what a provider announces to serve.
type ProviderProfile string

// Values of ProviderProfile.
const (
	ProviderProfileBasedManagement ProviderProfile = "ProfileBasedManagementProfile"
)

// Values lists all of them.
func (ProviderProfile) Values() []ProviderProfile {
	return []ProviderProfile{ProviderProfileBasedManagement}
}
