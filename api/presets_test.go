package api

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vvol"
)

// fakeFaults is a FaultSource that knows one preset and notes what it is asked.
type fakeFaults struct{ asked []string }

func (*fakeFaults) List() []Fault { return nil }
func (*fakeFaults) Show(id string) (Fault, error) {
	return Fault{}, fmt.Errorf("%w: %s", vvol.ErrNotFound, id)
}
func (*fakeFaults) Remove(context.Context, string) error { return nil }
func (*fakeFaults) Clear(context.Context) error          { return nil }
func (*fakeFaults) Presets() []FaultPreset {
	return []FaultPreset{{Name: "one"}, {Name: "two", Ways: []PresetWay{{}}}}
}
func (*fakeFaults) Add(_ context.Context, rule string) (Fault, error) {
	return Fault{ID: "1", Rule: rule}, nil
}

func (f *fakeFaults) Play(_ context.Context, name string, c PresetChoice) (PlayedPreset, error) {
	f.asked = append(f.asked, fmt.Sprintf("%s %+v", name, c))
	switch {
	case name != "one":
		return PlayedPreset{}, fmt.Errorf("%w: fault preset %q", vvol.ErrNotFound, name)
	case c.Way == "magic":
		return PlayedPreset{}, fmt.Errorf("%w: no such way", vvol.ErrInvalid)
	}
	return PlayedPreset{Name: name, Rules: []string{"lu -> pdl"}, Added: []Fault{}, Expect: []Expectation{}}, nil
}

// Presets are listed in pages, and played with what the body says; a dry run creates nothing,
// and its status says so.
func TestPresets(t *testing.T) {
	o := newOptions(t)
	f := &fakeFaults{}
	o.Faults = f
	c := newCaller(t, o)
	require.Equal(t, f.Presets(), ok[[]FaultPreset](c, "GET", "/api/v1/fault-presets", ""))
	require.Equal(t, f.Presets()[1:], ok[[]FaultPreset](c, "GET", "/api/v1/fault-presets?offset=1&limit=1", ""))
	for _, x := range []struct {
		body   string
		status int
		asked  PresetChoice
	}{
		{"", 201, PresetChoice{}},
		{"{}", 201, PresetChoice{}},
		{`{"way":"w","vvol":"my disk","container":"k","host":"iqn.x","portal":2,"pe":"pe0"}`, 201, PresetChoice{"w", "my disk", "k", "iqn.x", 2, "pe0", false}},
		{`{"dryRun":true}`, 200, PresetChoice{DryRun: true}},
	} {
		f.asked = nil
		w := c.send("POST", "/api/v1/fault-presets/one", x.body, nil)
		require.Equal(t, x.status, w.Code, "%s: %s", x.body, w.Body)
		require.Equal(t, []string{fmt.Sprintf("one %+v", x.asked)}, f.asked)
		var p PlayedPreset
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
		require.Equal(t, []string{"lu -> pdl"}, p.Rules)
		require.Contains(t, w.Body.String(), `"added":[]`)
	}
	f.asked = nil
	require.Equal(t, "urn:vvsim:not-found", c.problem(404, "POST", "/api/v1/fault-presets/three", "{}", nil).Type)
	require.Equal(t, "urn:vvsim:invalid-argument", c.problem(400, "POST", "/api/v1/fault-presets/one", `{"way":"magic"}`, nil).Type)
	require.Len(t, f.asked, 2)
	c.problem(422, "POST", "/api/v1/fault-presets/one", `{"disk":"a"}`, nil)
	c.problem(422, "POST", "/api/v1/fault-presets/one", `{"portal":"1"}`, nil)
	c.problem(422, "POST", "/api/v1/fault-presets/one", `{"portal":65536}`, nil)
	c.problem(405, "DELETE", "/api/v1/fault-presets/one", "", nil)
	require.Len(t, f.asked, 2)
}

// TestOpenAPIOfFaults checks that the document has what is there only with fault rules.
func TestOpenAPIOfFaults(t *testing.T) {
	o := newOptions(t)
	o.Faults = &fakeFaults{}
	d := ok[struct {
		Paths map[string]map[string]struct {
			OperationID string
			Responses   map[string]any
		}
	}](newCaller(t, o), "GET", "/openapi.json", "")
	require.Equal(t, "list-fault-presets", d.Paths["/api/v1/fault-presets"]["get"].OperationID)
	play := d.Paths["/api/v1/fault-presets/{id}"]["post"]
	require.Equal(t, "play-fault-preset", play.OperationID)
	require.Contains(t, play.Responses, "201")
	require.Contains(t, play.Responses, "200")
	require.Contains(t, play.Responses, "default")
}
