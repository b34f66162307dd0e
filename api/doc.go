// Package api is the control API: JSON over HTTP under /api/v1 with an OpenAPI 3.1
// document at /openapi.json, metrics, health, profiles, a page that shows the
// array, and the client that the command line uses.
//
// It changes the array only through vvol.Service; sessions, knobs and health come
// through small interfaces of its own. Errors are application/problem+json,
// translated by one table (errors.go).
package api
