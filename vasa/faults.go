package vasa

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"vvsim/vasa/session"
	"vvsim/vasa/trust"
	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// faultError is an error that already knows its fault.
type faultError struct {
	fault wire.Fault
	text  string
	asked bool // it is the answer even where the operation does not declare it
}

func (e *faultError) Error() string { return e.text }

// refuse makes an error that ends as the given fault.
func refuse(f wire.Fault, format string, args ...any) error {
	return &faultError{fault: f, text: fmt.Sprintf(format, args...)}
}

// invalid is the error of an argument that is null, empty, malformed or out of range.
func invalid(format string, args ...any) error {
	return refuse(&wire.InvalidArgument{}, format, args...)
}

// faultRow leads from a sentinel to a fault.
type faultRow struct {
	err   error
	fault func() wire.Fault
}

// faultTable is the border between the domain and SOAP (design.md 7). Errors that name
// more than their kind have cases in faultOf.
func faultTable() []faultRow {
	return []faultRow{
		{vvol.ErrNotFound, func() wire.Fault { return &wire.NotFound{} }},
		{vvol.ErrInvalid, func() wire.Fault { return &wire.InvalidArgument{} }},
		{vvol.ErrExists, func() wire.Fault { return &wire.ResourceInUse{} }},
		{vvol.ErrInUse, func() wire.Fault { return &wire.ResourceInUse{} }},
		{vvol.ErrNoSpace, func() wire.Fault { return &wire.OutOfResource{} }},
		{vvol.ErrTooManySnapshots, func() wire.Fault { return &wire.SnapshotTooMany{} }},
		{vvol.ErrTooMany, func() wire.Fault { return &wire.OutOfResource{} }},
		{vvol.ErrIncompatible, func() wire.Fault { return &wire.IncompatibleVolume{} }},
		{vvol.ErrNotActive, func() wire.Fault { return &wire.InactiveProvider{} }},
		{vvol.ErrBusy, func() wire.Fault { return &wire.VasaProviderBusy{} }},
		{vvol.ErrUnsupported, func() wire.Fault { return &wire.NotSupported{} }},
		{vvol.ErrStorage, func() wire.Fault { return &wire.StorageFault{} }},
		{session.ErrLostEvent, func() wire.Fault { return &wire.LostEvent{} }},
		{session.ErrLostAlarm, func() wire.Fault { return &wire.LostAlarm{} }},
		{session.ErrInvalidID, func() wire.Fault { return &wire.InvalidArgument{} }},
		{session.ErrTooManyNames, func() wire.Fault { return &wire.StorageFault{} }},
		{session.ErrTooMany, func() wire.Fault { return &wire.StorageFault{} }},
		{trust.ErrLogin, func() wire.Fault { return &wire.InvalidLogin{} }},
		{trust.ErrNotRegistered, func() wire.Fault { return &wire.InvalidCertificate{} }},
		{trust.ErrRetained, func() wire.Fault { return &wire.PermissionDenied{} }},
		{context.Canceled, func() wire.Fault { return &wire.StorageFault{} }},
		{context.DeadlineExceeded, func() wire.Fault { return &wire.StorageFault{} }},
	}
}

// faultOf is the fault of an error; StorageFault for what no row knows.
func faultOf(err error) wire.Fault {
	if f, ok := errors.AsType[*faultError](err); ok {
		return f.fault
	}
	if bad, ok := errors.AsType[*trust.InvalidError](err); ok {
		return &wire.InvalidCertificate{Certificate: echoed(bad.Certificates), CRL: echoed(bad.CRLs)}
	}
	for _, row := range faultTable() {
		if errors.Is(err, row.err) {
			return row.fault()
		}
	}
	return &wire.StorageFault{}
}

// maxEchoed bounds what a fault repeats of the certificates, and of the revocation lists,
// that were refused, in bytes. The fault's text tells what is wrong with all of them.
const maxEchoed = 96 << 10

// echoed are those of refused texts that fit into a fault.
func echoed(texts []string) (fit []string) {
	size := 0
	for _, text := range texts {
		if size+len(text) <= maxEchoed {
			size += len(text)
			fit = append(fit, text)
		}
	}
	return fit
}

// declared is the fault of an error as an operation may answer it: what it does not
// declare becomes StorageFault, which all declare (vasa.md 4.1), unless it was asked for.
func declared(op *wire.Operation, err error) wire.Fault {
	f := faultOf(err)
	e, ok := errors.AsType[*faultError](err)
	if op == nil || op.Declares(f) || ok && e.asked {
		return f
	}
	return substitute(op, f)
}

// substitute is the nearest fault that an operation declares: a busy provider and a
// missing feature have no other word, what is wrong with an id is InvalidArgument.
func substitute(op *wire.Operation, f wire.Fault) wire.Fault {
	var other wire.Fault
	switch f.(type) {
	case *wire.NotFound, *wire.InvalidProfile, *wire.IncompatibleVolume, *wire.TooMany:
		other = &wire.InvalidArgument{}
	case *wire.OutOfResource, *wire.SnapshotTooMany:
		other = &wire.OutOfResource{}
	case *wire.NotSupported:
		other = &wire.NotImplemented{}
	}
	if other != nil && op.Declares(other) {
		return other
	}
	return &wire.StorageFault{FaultMessageID: new(storageFaultMessage)}
}

// maxReason bounds the text of a fault, in bytes: arguments that were refused may be in it.
const maxReason = 1 << 10

// shortened is a text that fits into a fault and a line of the log.
func shortened(text string) string {
	if len(text) <= maxReason {
		return text
	}
	return strings.ToValidUTF8(text[:maxReason], "") + "…"
}

// soapFault is the answer to a request that failed.
func soapFault(op *wire.Operation, err error, id string) *wire.SOAPFault {
	reason := shortened(err.Error()) + " (request " + id + ")"
	if bad, ok := errors.AsType[*wire.Error](err); ok {
		f := &wire.SOAPFault{Code: wire.Code(bad), Reason: reason}
		if op != nil {
			f.Detail = declared(op, invalid("%v", bad))
		}
		return f
	}
	f := &wire.SOAPFault{Code: wire.CodeReceiver, Reason: reason, Detail: declared(op, err)}
	switch f.Detail.(type) {
	case *wire.StorageFault, *wire.VasaProviderBusy, *wire.Timeout, *wire.OutOfResource, *wire.InactiveProvider:
	default:
		f.Code = wire.CodeSender
	}
	return f
}

// batchError is the fault of one item in a batch, nil if there is none.
func batchError(err error) *wire.BatchErrorResult {
	if err == nil {
		return nil
	}
	return &wire.BatchErrorResult{Error: []any{faultOf(err)}}
}

// storageFaultMessage is the key of the fault catalog for internal failures.
const storageFaultMessage = "dev.vvsim.fault.storage"
