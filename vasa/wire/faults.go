package wire

import (
	"encoding/xml"
	"reflect"
)

// Fault is a pointer to one of the faults of the contract. In a batch and in a task it is
// a value of xs:anyType; as the answer to a request it is the Detail of a SOAPFault.
type Fault interface{ exception() *Exception }

// Exception is svc:Exception: what all faults share.
type Exception struct {
	Exception any `vasa:"Exception,?~"` // no known provider sends it
}

func (e *Exception) exception() *Exception { return e }

// FaultName is the name of a fault in the contract.
func FaultName(f Fault) string {
	t := reflect.TypeOf(f)
	if t == nil || t.Kind() != reflect.Pointer {
		return ""
	}
	return t.Elem().Name()
}

// NewFault returns an empty fault of a name, or nil.
func NewFault(name string) Fault {
	s, err := schema()
	if err != nil {
		return nil
	}
	f, _ := s.New(xml.Name{Space: faultURI, Local: name}).(Fault)
	return f
}

// faultElement is the element in the detail of a SOAP fault, and again the element in
// it that has the type of the fault.
func faultElement(f Fault) xml.Name { return xml.Name{Space: ServiceURI, Local: FaultName(f)} }

// ActivateProviderFailed is fault:ActivateProviderFailed: the provider could not become the
// active one.
type ActivateProviderFailed struct{ Exception }

// InactiveProvider is fault:InactiveProvider: another provider is the active one for that
// entity.
type InactiveProvider struct {
	Exception
	EntityID   *string     `vasa:"entityId,?~"`
	EntityType *EntityType `vasa:"entityType,?~"`
}

// IncompatibleVolume is fault:IncompatibleVolume: the two virtual volumes are not related as
// the call needs it.
type IncompatibleVolume struct{ Exception }

// InvalidArgument is fault:InvalidArgument: an argument is null, empty, malformed or out of
// range.
type InvalidArgument struct{ Exception }

// InvalidCertificate is fault:InvalidCertificate: a certificate or revocation list cannot be
// used; it holds the offending ones.
type InvalidCertificate struct {
	Exception
	Certificate []string `vasa:"certificate,*~"`
	CRL         []string `vasa:"crl,*~"`
}

// InvalidLogin is fault:InvalidLogin: the user name or password is wrong.
type InvalidLogin struct{ Exception }

// InvalidProfile is fault:InvalidProfile: a profile asks for what does not exist or cannot be
// had.
type InvalidProfile struct{ Exception }

// InvalidSession is fault:InvalidSession: the client has no session, or no certificate that is
// trusted.
type InvalidSession struct{ Exception }

// InvalidStatisticsContext is fault:InvalidStatisticsContext: the statistics context is not
// set or does not fit.
type InvalidStatisticsContext struct{ Exception }

// LostAlarm is fault:LostAlarm: the id does not continue the queue of alarms; the client
// starts over with -1.
type LostAlarm struct{ Exception }

// LostEvent is fault:LostEvent: the id does not continue the queue of events; the client
// starts over with -1.
type LostEvent struct{ Exception }

// NotCancellable is fault:NotCancellable: the task cannot be cancelled.
type NotCancellable struct{ Exception }

// NotFound is fault:NotFound: a well-formed id of something that does not exist.
type NotFound struct{ Exception }

// NotImplemented is fault:NotImplemented: the operation or the profile is not offered.
type NotImplemented struct{ Exception }

// NotSupported is fault:NotSupported: the operation exists, but not for this object.
type NotSupported struct{ Exception }

// OutOfResource is fault:OutOfResource: no space is left in the container.
type OutOfResource struct{ Exception }

// PermissionDenied is fault:PermissionDenied: the client may not do this.
type PermissionDenied struct{ Exception }

// ResourceInUse is fault:ResourceInUse: the object is bound, or something depends on it.
type ResourceInUse struct{ Exception }

// SnapshotTooMany is fault:SnapshotTooMany: the virtual volume or its container has as many
// snapshots as it may have.
type SnapshotTooMany struct{ Exception }

// StorageFault is fault:StorageFault: any other failure, with a key of the Fault catalog and
// its arguments.
type StorageFault struct {
	Exception
	FaultMessageID *string         `vasa:"faultMessageId,?~"`
	ParameterList  []NameValuePair `vasa:"parameterList,*~"`
}

// Timeout is fault:Timeout: a set of snapshots was not taken in time.
type Timeout struct{ Exception }

// TooMany is fault:TooMany: the batch has too many items. Without MaxBatchSize, or with one
// below 1, the client takes the limit for 1.
type TooMany struct {
	Exception
	MaxBatchSize *int64 `vasa:"maxBatchSize,?"`
}

// VasaProviderBusy is fault:VasaProviderBusy: the provider has too much to do; the client
// tries again.
type VasaProviderBusy struct{ Exception }
