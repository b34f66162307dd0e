package vcenter

import (
	"errors"
	"reflect"
	"strings"

	smstypes "github.com/vmware/govmomi/sms/types"
	"github.com/vmware/govmomi/vim25/types"
)

// FaultError is a fault of SMS or of vCenter.
type FaultError struct {
	Name    string   // of its type, such as "CertificateNotTrusted"
	Message string   // vCenter's own; may be empty
	Causes  []string // names and messages of the faults behind it
	Means   string
	Do      string
	Fault   types.BaseMethodFault // nil if this build does not know its type
}

func (e *FaultError) Error() string {
	text := "vCenter: " + e.Name + ": " + e.Means
	if e.Do != "" {
		text += "; " + e.Do
	}
	if e.Message != "" {
		text += " (vCenter says: " + e.Message + ")"
	}
	if len(e.Causes) > 0 {
		text += " (because of " + strings.Join(e.Causes, ", ") + ")"
	}
	return text
}

// OfCertificate tells whether the fault may come of the provider's certificate.
func (e *FaultError) OfCertificate() bool {
	switch e.Fault.(type) {
	case *smstypes.CertificateNotTrusted, *smstypes.CertificateNotImported, *smstypes.InvalidCertificate, *smstypes.ProviderConnectionFailed:
		return true
	}
	return false
}

// maxCauses bounds how deep a chain of causes is followed.
const maxCauses = 4

// explained turns the fault in an error into a *FaultError; another error stays as it is.
func explained(err error) error {
	f, ok := errors.AsType[interface {
		error
		Fault() types.BaseMethodFault
	}](err)
	if !ok {
		return withoutURL(err)
	}
	return faultError(f.Fault(), strings.TrimPrefix(f.Error(), "ServerFaultCode: "))
}

// localized is the error of a task or of a state.
func localized(l types.LocalizedMethodFault) *FaultError {
	return faultError(l.Fault, l.LocalizedMessage)
}

func faultError(fault types.BaseMethodFault, message string) *FaultError {
	e := &FaultError{Name: nameOf(fault), Message: message, Fault: fault}
	if e.Message == e.Name || e.Message == "unknown fault" {
		e.Message = ""
	}
	x, known := explanations()[e.Name]
	if !known {
		x = explanation{"a fault that this version of vvsim has no words for", "see vCenter's log of the service, sps.log"}
	}
	e.Means, e.Do = x.means, x.do
	for n := 0; fault != nil && n < maxCauses; n++ {
		m := fault.GetMethodFault()
		if m == nil || m.FaultCause == nil {
			break
		}
		fault = m.FaultCause.Fault
		e.Causes = append(e.Causes, strings.TrimSuffix(nameOf(fault)+": "+m.FaultCause.LocalizedMessage, ": "))
	}
	return e
}

// nameOf is the name of a fault's type.
func nameOf(fault types.BaseMethodFault) string {
	if fault == nil {
		return "unknown fault"
	}
	t := reflect.TypeOf(fault)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Name()
}

// explanation is what a fault means, and what to do about it.
type explanation struct{ means, do string }

// Sentences that several faults share.
const (
	tryLater   = "wait a little and try again"
	notOurCall = "nothing that vvsim asks for ends so; see sps.log of the vCenter"
	checkURL   = "check the URL, that vCenter can reach and resolve its host, and that the array runs: vvsim doctor"
)

// explanations has every fault of the SMS API as govmomi knows it, and those of the
// vCenter API that its calls can end with. A test walks the types.
func explanations() map[string]explanation {
	return map[string]explanation{
		// Registration.
		"CertificateNotTrusted": {"vCenter does not trust the certificate that the provider presents", "compare its thumbprint with that of the array and confirm it"},
		"CertificateNotImported": {"the provider keeps its own certificate, and the CA that issued it is not in vCenter's trust store",
			"add the array's CA (the file in VVSIM_CA) to vCenter's trusted roots (Administration, Certificates, Add trusted root), or let vCenter sign the provider's certificate"},
		"InvalidCertificate":          {"the provider's certificate is empty, malformed, expired, not yet valid, revoked or for another host name", "look at it with vvsim doctor, compare the clocks, and register the URL with a name the certificate has"},
		"CertificateAuthorityFault":   {"vCenter's certificate authority (VMCA) did not sign the provider's certificate", "see that VMCA runs on the vCenter, and its log"},
		"CertificateRefreshFailed":    {"vCenter could not renew the provider's certificate, or push its roots and CRLs to the provider", checkURL},
		"CertificateRevocationFailed": {"vCenter could not revoke the provider's certificate", "the provider may be gone nevertheless: see vvsim vcenter status"},
		"IncorrectUsernamePassword":   {"the provider refused user and password", "take VVSIM_VASA_USER and VVSIM_VASA_PASSWORD of the array's env file; several wrong passwords in a row lock the user for some minutes"},
		"InvalidUrl":                  {"the provider's URL is malformed, or no provider answers there", "it ends in /vasa/version.xml: see VVSIM_VASA_URL of the array's env file"},
		"DuplicateEntry":              {"a provider with this name or URL is registered already", "see vvsim vcenter status; unregister it first, or take another name"},
		"ProviderConnectionFailed":    {"vCenter could not connect to the provider", checkURL},
		"ProviderRegistrationFault":   {"the registration failed", "see what the provider was asked: vvsim provider trace, the array's log, and sps.log of the vCenter"},
		"ProviderUnregistrationFault": {"the provider could not be unregistered", "see that no datastore needs it, and sps.log of the vCenter"},
		// Any call to a provider.
		"ProviderNotFound":        {"vCenter knows no such provider", "see vvsim vcenter status"},
		"ProviderBusy":            {"the provider is busy with another call of vCenter", tryLater},
		"ProviderUnavailable":     {"the provider is offline for vCenter", checkURL},
		"ProviderSyncFailed":      {"vCenter could not read the provider's inventory", "the array's log names the operation that failed"},
		"SyncInProgress":          {"vCenter is reading the provider's inventory at this moment", tryLater},
		"InactiveProvider":        {"another provider is active for these arrays", "one array has one active provider; see vvsim vcenter status"},
		"NotSupportedByProvider":  {"the provider does not do what vCenter asked for", "see docs/vasa.md for what the provider does"},
		"ProviderOutOfResource":   {"the provider has no resources left for the call", "see the limits in the array's log"},
		"TooMany":                 {"a call had more items than the provider takes at once", notOurCall},
		"SmsResourceInUse":        {"devices that the call is about are in use", "see what uses them in vCenter"},
		"QueryExecutionFault":     {"vCenter failed at a query", "see sps.log of the vCenter"},
		"QueryNotSupported":       {"vCenter does not take this query", notOurCall},
		"InvalidProfile":          {"a storage profile is not valid", notOurCall},
		"AuthConnectionFailed":    {"the storage monitoring service could not ask vCenter who the caller is", "see that the services vpxd and vmware-sps run"},
		"InvalidSession":          {"the login to vCenter has ended", "try again"},
		"SmsInvalidLogin":         {"the storage monitoring service did not take the login", "see the user's rights on the vCenter"},
		"ServiceNotInitialized":   {"the storage monitoring service is starting", tryLater},
		"ProxyRegistrationFailed": {"the storage monitoring service could not register with vCenter's proxy", "restart the service vmware-sps"},
		"SmsFault":                {"the storage monitoring service failed", "see sps.log of the vCenter"},
		// Queries and replication, which vvsim does not use; named so that none is bare.
		"MultipleSortSpecsNotSupported":     {"a list was asked for in more than one order", notOurCall},
		"NoCommonProviderForAllBackings":    {"the datastores belong to different providers", notOurCall},
		"ProviderOutOfProvisioningResource": {"the provider has no room for a replica", notOurCall},
		"SmsReplicationFault":               {"a replication call failed", notOurCall},
		"AlreadyDone":                       {"the object is in the wanted state already", ""},
		"InvalidFunctionTarget":             {"a replication call went to the wrong end", notOurCall},
		"InvalidReplicationState":           {"the replication group is in another state", notOurCall},
		"NoReplicationTarget":               {"there is no replication target", notOurCall},
		"NoValidReplica":                    {"there is no valid replica", notOurCall},
		"PeerNotReachable":                  {"the other end of a replication cannot be reached", notOurCall},
		"SyncOngoing":                       {"a replication is synchronizing", tryLater},
		// Of vCenter's own API.
		"InvalidLogin":          {"vCenter refused user and password", "see GOVC_USERNAME and GOVC_PASSWORD; the user name has its domain, as administrator@vsphere.local"},
		"NotAuthenticated":      {"vCenter wants a login for this call", "the session ended, or the storage monitoring service did not accept it; try again"},
		"NoPermission":          {"the user may not do that", "it needs the privilege StorageViews.ConfigureService (Storage views, Configure service) on the vCenter"},
		"InvalidArgument":       {"vCenter refuses an argument", "check name, URL and user"},
		"InvalidRequest":        {"vCenter does not understand the request", "it may be too old: SMS 4.0 (vSphere 6.0) is needed"},
		"MethodNotFound":        {"vCenter does not have this call", "it may be too old: SMS 4.0 (vSphere 6.0) is needed"},
		"ManagedObjectNotFound": {"the object is gone in vCenter", "try again"},
		"RuntimeFault":          {"vCenter failed", "see its log"},
		"SystemError":           {"vCenter failed", "see its log"},
	}
}
