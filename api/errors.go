package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

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

// requestProblems are the kinds of problems that a request has before the domain
// sees it, by status.
var requestProblems = map[int]string{
	http.StatusBadRequest:            "invalid-request",
	http.StatusUnauthorized:          "unauthorized",
	http.StatusForbidden:             "forbidden",
	http.StatusNotFound:              "not-found",
	http.StatusMethodNotAllowed:      "method-not-allowed",
	http.StatusNotAcceptable:         "not-acceptable",
	http.StatusRequestTimeout:        "timed-out",
	http.StatusRequestEntityTooLarge: "too-large",
	http.StatusUnsupportedMediaType:  "unsupported-media-type",
	http.StatusUnprocessableEntity:   "invalid-request",
	http.StatusServiceUnavailable:    "busy",
}

// newProblem makes a problem of a kind; the title is the status's text.
func newProblem(status int, kind, detail string) *huma.ErrorModel {
	return &huma.ErrorModel{Type: "urn:vvsim:" + kind, Title: http.StatusText(status), Status: status, Detail: detail}
}

// refusal is a problem of the request itself.
func refusal(status int, detail string) *huma.ErrorModel {
	kind, ok := requestProblems[status]
	if !ok {
		kind = "internal"
	}
	return newProblem(status, kind, detail)
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
	return newProblem(row.status, row.kind, err.Error())
}

// complete gives a problem that huma made a type and a detail that says what is
// wrong where. What the request held is not echoed.
func complete(_ huma.Context, _ string, v any) (any, error) {
	e, ok := v.(*huma.ErrorModel)
	if !ok || e.Type != "" {
		return v, nil
	}
	var faults []string
	for _, d := range e.Errors {
		text := d.Message
		if d.Location != "" {
			text = d.Location + ": " + text
		}
		faults = append(faults, text)
	}
	detail := strings.Join(faults, "; ")
	if detail == "" {
		detail = e.Detail
	}
	return refusal(e.Status, detail), nil
}
