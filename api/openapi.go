package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// describeRest adds to the document what the registered operations do not say:
// the event stream, the metrics, the dry run of a preset, the token, and that no list is
// ever null.
func describeRest(d *huma.OpenAPI, token bool) {
	events := d.Paths["/api/v1/events"].Get
	events.Responses["200"].Content["text/event-stream"] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString,
		Description: "server-sent events: id is the serial, event the kind, data the event as JSON"}}
	events.Parameters = append(events.Parameters, &huma.Param{Name: "Last-Event-ID", In: "header",
		Description: "of a stream: serial of the last event seen; those after it come first", Schema: &huma.Schema{Type: huma.TypeInteger}})
	d.AddOperation(&huma.Operation{OperationID: "metrics", Method: http.MethodGet, Path: "/metrics", Summary: "Figures for Prometheus",
		Responses: map[string]*huma.Response{
			"200":     {Description: "OK", Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}}},
			"default": d.Paths["/readyz"].Get.Responses["default"],
		}})
	if presets := d.Paths[presetsPath+"/{id}"]; presets != nil {
		responses := presets.Post.Responses
		responses["200"] = &huma.Response{Description: "With dryRun", Content: responses["201"].Content}
	}
	if token {
		d.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
	}
	for path, item := range d.Paths {
		for _, op := range operations(item) {
			for _, r := range op.Responses {
				for _, m := range r.Content {
					neverNull(m.Schema)
				}
			}
			if token && strings.HasPrefix(path, "/api/") {
				op.Security = []map[string][]string{{"token": {}}}
			}
		}
	}
	for _, s := range d.Components.Schemas.Map() {
		neverNull(s)
	}
}

// operations lists those of one path.
func operations(item *huma.PathItem) []*huma.Operation {
	all := []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete}
	return slices.DeleteFunc(all, func(o *huma.Operation) bool { return o == nil })
}

// neverNull says of every list in a schema that it may be empty but not null.
func neverNull(s *huma.Schema) {
	if s == nil {
		return
	}
	if s.Type == huma.TypeArray {
		s.Nullable = false
	}
	neverNull(s.Items)
	for _, p := range s.Properties {
		neverNull(p)
	}
}
