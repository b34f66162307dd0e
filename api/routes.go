package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// handlers serve the operations of the OpenAPI document.
type handlers struct {
	o      Options
	probes []*probe
}

// out wraps a body as huma wants it.
type out[T any] struct{ Body T }

// list is a body that is a list, or a part of one.
type list[T any] struct {
	Total int `header:"X-Total-Count" doc:"items there are, whatever limit and offset"`
	Body  []T
}

// ref is the path parameter of most operations.
type ref struct {
	ID string `path:"id"`
}

// Paging selects a part of a list; huma needs the name exported.
type Paging struct {
	Limit  int `query:"limit" minimum:"0" doc:"items at most; 0 for all"`
	Offset int `query:"offset" minimum:"0" doc:"items to pass over"`
}

// cut returns the part of all that p selects.
func cut[T any](all []T, p Paging) []T {
	all = all[min(p.Offset, len(all)):]
	if p.Limit > 0 {
		all = all[:min(p.Limit, len(all))]
	}
	return all
}

// listed shows the part of all that p selects.
func listed[S, T any](all []S, p Paging, show func(S) T) *list[T] {
	l := &list[T]{Total: len(all), Body: []T{}}
	for _, x := range cut(all, p) {
		l.Body = append(l.Body, show(x))
	}
	return l
}

// same shows what is shown as it is.
func same[T any](x T) T { return x }

// add registers one operation. Its body has been read by guard, so that no
// deadline of the body ends a long operation.
func add[I, O any](a huma.API, method, path, id, summary string, status int, f func(context.Context, *I) (*O, error)) {
	huma.Register(a, huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, DefaultStatus: status,
		BodyReadTimeout: -1, MaxBodyBytes: maxBody}, f)
}

func (h *handlers) register(a huma.API) {
	const get, post, patch, del = http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete
	const ok, created, empty = http.StatusOK, http.StatusCreated, http.StatusNoContent
	add(a, get, "/api/v1/containers", "list-containers", "List storage containers", ok, h.listContainers)
	add(a, post, "/api/v1/containers", "create-container", "Create a storage container", created, h.createContainer)
	add(a, get, "/api/v1/containers/{id}", "show-container", "Show a storage container", ok, h.showContainer)
	add(a, patch, "/api/v1/containers/{id}", "update-container", "Change size and service levels of a storage container", ok, h.updateContainer)
	add(a, del, "/api/v1/containers/{id}", "delete-container", "Delete an empty storage container", empty, h.deleteContainer)
	add(a, get, "/api/v1/vvols", "list-vvols", "List virtual volumes", ok, h.listVVols)
	add(a, post, "/api/v1/vvols", "create-vvol", "Create a virtual volume", created, h.createVVol)
	add(a, get, "/api/v1/vvols/{id}", "show-vvol", "Show a virtual volume, by id or unique name", ok, h.showVVol)
	add(a, patch, "/api/v1/vvols/{id}", "update-vvol", "Change name and metadata", ok, h.updateVVol)
	add(a, del, "/api/v1/vvols/{id}", "delete-vvol", "Delete a virtual volume that is not in use", empty, h.deleteVVol)
	add(a, post, "/api/v1/vvols/{id}/snapshot", "snapshot-vvol", "Take a snapshot", created, h.snapshot)
	add(a, post, "/api/v1/snapshots", "snapshot-vvols", "Take snapshots of several volumes at one instant", created, h.snapshots)
	add(a, post, "/api/v1/vvols/{id}/clone", "clone-vvol", "Make an independent copy", created, h.clone)
	add(a, post, "/api/v1/vvols/{id}/fast-clone", "fast-clone-vvol", "Make a linked copy", created, h.fastClone)
	add(a, post, "/api/v1/vvols/{id}/revert", "revert-vvol", "Go back to a snapshot", ok, h.revert)
	add(a, post, "/api/v1/vvols/{id}/resize", "resize-vvol", "Change the size", ok, h.resize)
	add(a, post, "/api/v1/vvols/{id}/policy", "set-policy", "Change service level and quality, also while I/O runs", ok, h.setPolicy)
	add(a, get, "/api/v1/vvols/{id}/compliance", "compliance", "Compare what was asked for a volume with what is so", ok, h.compliance)
	add(a, get, "/api/v1/vvols/{id}/ranges", "ranges-vvol", "Allocated ranges, or those that differ from a base", ok, h.ranges)
	add(a, get, "/api/v1/pes", "list-pes", "List protocol endpoints", ok, h.listPEs)
	add(a, get, "/api/v1/bindings", "list-bindings", "List bindings", ok, h.listBindings)
	add(a, post, "/api/v1/bindings", "bind", "Bind a volume to an initiator; an existing binding is returned as it is", created, h.bind)
	add(a, del, "/api/v1/bindings/{id}", "unbind", "Remove a binding", empty, h.unbind)
	add(a, get, "/api/v1/luns", "list-luns", "List flat LUN aliases", ok, h.listLUNs)
	add(a, post, "/api/v1/luns", "map-lun", "Map a volume to a flat LUN", created, h.mapLUN)
	add(a, del, "/api/v1/luns/{id}", "unmap-lun", "Remove a flat LUN", empty, h.unmapLUN)
	add(a, get, "/api/v1/hosts", "list-hosts", "List hosts", ok, h.listHosts)
	add(a, get, "/api/v1/hosts/{id}", "show-host", "Show a host", ok, h.showHost)
	add(a, get, "/api/v1/sessions", "list-sessions", "List iSCSI sessions", ok, h.listSessions)
	add(a, del, "/api/v1/sessions/{id}", "drop-session", "Drop an iSCSI session", empty, h.dropSession)
	h.registerFaults(a)
	add(a, get, "/api/v1/provider", "show-provider", "Show the VASA provider and its sessions", ok, h.showProvider)
	add(a, get, "/api/v1/provider/trace", "trace-provider", "List what clients of the provider sent that was not expected", ok, h.traceProvider)
	add(a, get, "/api/v1/provider/certificate", "show-certificate", "Show the provider's certificate and whom it trusts", ok, h.showCertificate)
	add(a, post, "/api/v1/provider/certificate/csr", "request-csr", "Make a certificate signing request", ok, h.requestCSR)
	add(a, post, "/api/v1/provider/certificate/renew", "renew-certificate", "Go back to the provider's own CA, with a new key", ok, h.renewCertificate)
	add(a, post, "/api/v1/provider/certificate/import", "import-certificate", "Serve a certificate from elsewhere", ok, h.importCertificate)
	add(a, get, "/api/v1/tasks", "list-tasks", "List tasks", ok, h.listTasks)
	add(a, get, "/api/v1/alarms", "list-alarms", "List what is in alarm: containers that are nearly full or full, volumes out of compliance, hosts that cannot be told apart", ok, h.listAlarms)
	add(a, get, "/api/v1/events", "list-events", "List events; a stream of them with Accept: text/event-stream", ok, h.listEvents)
	add(a, get, "/api/v1/knobs", "show-knobs", "Show the settings under esxi:", ok, h.showKnobs)
	add(a, patch, "/api/v1/knobs", "set-knobs", "Change settings under esxi: while the array runs", ok, h.setKnobs)
	add(a, get, "/api/v1/check", "check", "Compare catalog, engine and routes", ok, h.check)
	add(a, get, "/version", "version", "Version of the program", ok, h.version)
	add(a, get, "/healthz", "healthz", "One query of each part, with a deadline; 503 names the part that fails", ok, h.healthz)
	add(a, get, "/readyz", "readyz", "Whether the doors are open", ok, h.readyz)
}
