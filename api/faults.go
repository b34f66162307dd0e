package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// FaultSource keeps fault rules. Its errors are those of the domain. Safe for concurrent use.
type FaultSource interface {
	List() []Fault
	Show(id string) (Fault, error)
	Add(ctx context.Context, rule string) (Fault, error)
	Remove(ctx context.Context, id string) error
	Clear(ctx context.Context) error
	// Presets are all failures that have a name; Play adds the rules of one, all or none.
	Presets() []FaultPreset
	Play(ctx context.Context, name string, c PresetChoice) (PlayedPreset, error)
}

// Fault is one fault rule.
type Fault struct {
	ID     string `json:"id"`
	Rule   string `json:"rule"`
	Hits   uint64 `json:"hits" doc:"events that it broke since it was added or the array began"`
	Active bool   `json:"active" doc:"whether it breaks events now"`
	Phase  string `json:"phase" enum:"waiting,active,resting,over" doc:"waiting for its time or another rule, active, resting between two times, or over: its time or its count"`
}

// newFault is a rule to add.
type newFault struct {
	Body struct {
		Rule string `json:"rule" minLength:"1" doc:"one line, as in: lu vvol=disk1 -> pdl"`
	}
}

// registerFaults adds the operations on fault rules, where there are any.
func (h *handlers) registerFaults(a huma.API) {
	if h.o.Faults == nil {
		return
	}
	const path = "/api/v1/faults"
	add(a, http.MethodGet, path, "list-faults", "List fault rules, in the order in which they are tried", http.StatusOK, h.listFaults)
	add(a, http.MethodPost, path, "add-fault", "Add a fault rule, behind all others", http.StatusCreated, h.addFault)
	add(a, http.MethodDelete, path, "clear-faults", "Remove all fault rules", http.StatusNoContent, h.clearFaults)
	add(a, http.MethodGet, path+"/{id}", "show-fault", "Show a fault rule", http.StatusOK, h.showFault)
	add(a, http.MethodDelete, path+"/{id}", "remove-fault", "Remove a fault rule, and let go of what it holds", http.StatusNoContent, h.removeFault)
	h.registerPresets(a)
}

func (h *handlers) listFaults(_ context.Context, in *Paging) (*list[Fault], error) {
	return listed(h.o.Faults.List(), *in, same), nil
}

func (h *handlers) showFault(_ context.Context, in *ref) (*out[Fault], error) {
	f, err := h.o.Faults.Show(in.ID)
	if err != nil {
		return nil, problem(err)
	}
	return &out[Fault]{f}, nil
}

func (h *handlers) addFault(ctx context.Context, in *newFault) (*out[Fault], error) {
	f, err := h.o.Faults.Add(ctx, in.Body.Rule)
	if err != nil {
		return nil, problem(err)
	}
	return &out[Fault]{f}, nil
}

func (h *handlers) removeFault(ctx context.Context, in *ref) (*struct{}, error) {
	return nil, problem(h.o.Faults.Remove(ctx, in.ID))
}

func (h *handlers) clearFaults(ctx context.Context, _ *struct{}) (*struct{}, error) {
	return nil, problem(h.o.Faults.Clear(ctx))
}
