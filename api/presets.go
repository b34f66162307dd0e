package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// FaultPreset is a failure that has a name: rules, and what hosts make of them.
type FaultPreset struct {
	Name       string            `json:"name"`
	Title      string            `json:"title" doc:"what fails"`
	Parameters []PresetParameter `json:"parameters" doc:"what it may be about"`
	Ways       []PresetWay       `json:"ways" doc:"how it is brought about; the first unless another is asked for"`
	Expect     []Expectation     `json:"expect" doc:"what an ESXi host is expected to log and do, whichever the way"`
	Heals      string            `json:"heals" doc:"what follows when its rules are removed"`
}

// PresetParameter is what a preset may be about.
type PresetParameter struct {
	Name   string `json:"name" enum:"vvol,container,host,portal,pe"`
	Needed bool   `json:"needed"`
}

// PresetWay is how a preset is brought about.
type PresetWay struct {
	Name   string        `json:"name" doc:"empty where there is one way"`
	Takes  []string      `json:"takes" doc:"parameters that this way has a place for"`
	Rules  []string      `json:"rules" doc:"with parameters in braces: {host} stands for host=IQN or for nothing, {portal|1} for portal=1 unless another is given"`
	Expect []Expectation `json:"expect" doc:"in addition to what the preset has"`
}

// Expectation is something that an ESXi host is expected to log or do.
type Expectation struct {
	Text      string   `json:"text"`
	Certainty []string `json:"certainty" doc:"how certain it is: docs/sense.md"`
}

// PresetChoice says what a preset is about.
type PresetChoice struct {
	Way       string `json:"way,omitempty" doc:"the first if empty"`
	VVol      string `json:"vvol,omitempty" doc:"id or name"`
	Container string `json:"container,omitempty" doc:"id or name"`
	Host      string `json:"host,omitempty" doc:"initiator name"`
	Portal    uint16 `json:"portal,omitempty" doc:"from 1; 0 for none"`
	PE        string `json:"pe,omitempty" doc:"id or name of a protocol endpoint"`
	DryRun    bool   `json:"dryRun,omitempty" doc:"add nothing"`
}

// PlayedPreset is a preset whose rules were added, or would be.
type PlayedPreset struct {
	Name   string        `json:"name"`
	Title  string        `json:"title"`
	Way    string        `json:"way"`
	Rules  []string      `json:"rules" doc:"with the parameters put in"`
	Added  []Fault       `json:"added" doc:"the rules as they were added; to heal it, remove them. Empty with dryRun"`
	Expect []Expectation `json:"expect"`
	Heals  string        `json:"heals"`
}

// presetIn is a preset to play.
type presetIn struct {
	ID   string        `path:"id" doc:"name of the preset"`
	Body *PresetChoice `required:"false"`
}

// presetOut is created, or with dryRun ok.
type presetOut struct {
	Status int
	Body   PlayedPreset
}

const presetsPath = "/api/v1/fault-presets"

// registerPresets adds the operations on presets.
func (h *handlers) registerPresets(a huma.API) {
	add(a, http.MethodGet, presetsPath, "list-fault-presets", "List failures that have a name", http.StatusOK, h.listPresets)
	add(a, http.MethodPost, presetsPath+"/{id}", "play-fault-preset", "Add the rules of a failure that has a name, behind all others, all of them or none; with dryRun tell them only", http.StatusCreated, h.playPreset)
}

func (h *handlers) listPresets(_ context.Context, in *Paging) (*list[FaultPreset], error) {
	return listed(h.o.Faults.Presets(), *in, same), nil
}

func (h *handlers) playPreset(ctx context.Context, in *presetIn) (*presetOut, error) {
	var c PresetChoice
	if in.Body != nil {
		c = *in.Body
	}
	p, err := h.o.Faults.Play(ctx, in.ID, c)
	if err != nil {
		return nil, problem(err)
	}
	if c.DryRun {
		return &presetOut{http.StatusOK, p}, nil
	}
	return &presetOut{http.StatusCreated, p}, nil
}
