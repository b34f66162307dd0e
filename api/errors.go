package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"vvsim/vvol"
)

// problemRow leads from a sentinel to a problem (RFC 9457).
type problemRow struct {
	err    error
	status int
	kind   string // of the type URN
}

// problemTable is the border between the domain and HTTP (design.md 7).
var problemTable = []problemRow{
	{vvol.ErrNotFound, http.StatusNotFound, "not-found"},
	{vvol.ErrInvalid, http.StatusBadRequest, "invalid-argument"},
	{vvol.ErrExists, http.StatusConflict, "exists"},
	{vvol.ErrInUse, http.StatusConflict, "in-use"},
	{vvol.ErrIncompatible, http.StatusConflict, "incompatible"},
	{vvol.ErrTooManySnapshots, http.StatusConflict, "too-many-snapshots"},
	{vvol.ErrTooMany, http.StatusConflict, "too-many"},
	{vvol.ErrNoSpace, http.StatusInsufficientStorage, "no-space"},
	{vvol.ErrBusy, http.StatusServiceUnavailable, "busy"},
	{vvol.ErrNotActive, http.StatusServiceUnavailable, "not-active"},
	{vvol.ErrUnsupported, http.StatusNotImplemented, "not-supported"},
	{vvol.ErrStorage, http.StatusInternalServerError, "storage-fault"},
	{context.Canceled, http.StatusServiceUnavailable, "cancelled"},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "timed-out"},
}

// problem translates an error of the domain.
func problem(err error) error {
	if err == nil {
		return nil
	}
	row := problemRow{err, http.StatusInternalServerError, "internal"}
	for _, r := range problemTable {
		if errors.Is(err, r.err) {
			row = r
			break
		}
	}
	return &huma.ErrorModel{Type: "urn:vvsim:" + row.kind, Title: http.StatusText(row.status), Status: row.status, Detail: err.Error()}
}
