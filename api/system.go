package api

import (
	"context"
)

func (h *handlers) listTasks(_ context.Context, in *Paging) (*list[Task], error) {
	return listed(h.o.Service.Tasks(), *in, same), nil
}

func (h *handlers) listAlarms(_ context.Context, in *Paging) (*list[Alarm], error) {
	return listed(h.o.Service.Alarms(), *in, same), nil
}

type eventsQuery struct {
	From  uint64 `query:"from" doc:"first serial"`
	Limit int    `query:"limit" default:"1000" minimum:"1" maximum:"10000"`
}

func (h *handlers) listEvents(_ context.Context, in *eventsQuery) (*out[[]Event], error) {
	return &out[[]Event]{append([]Event{}, h.o.Service.Events(in.From, in.Limit)...)}, nil
}

func (h *handlers) showKnobs(context.Context, *struct{}) (*out[map[string]any], error) {
	return &out[map[string]any]{h.o.Knobs.Get()}, nil
}

type knobsBody struct{ Body map[string]any }

func (h *handlers) setKnobs(_ context.Context, in *knobsBody) (*out[map[string]any], error) {
	if err := h.o.Knobs.Set(in.Body); err != nil {
		return nil, problem(err)
	}
	return &out[map[string]any]{h.o.Knobs.Get()}, nil
}

type checkResult struct {
	OK      bool   `json:"ok"`
	Problem string `json:"problem,omitempty"`
}

func (h *handlers) check(ctx context.Context, _ *struct{}) (*out[checkResult], error) {
	r := checkResult{OK: true}
	if err := h.o.Service.Check(ctx); err != nil {
		r = checkResult{Problem: err.Error()}
	}
	return &out[checkResult]{r}, nil
}

type versionResult struct {
	Version string `json:"version"`
}

func (h *handlers) version(context.Context, *struct{}) (*out[versionResult], error) {
	return &out[versionResult]{versionResult{h.o.Version}}, nil
}
