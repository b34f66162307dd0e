package array

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"vvsim/api"
	"vvsim/fault/preset"
	"vvsim/vvol"
)

// Presets lists the failures that have a name.
func (faultSource) Presets() []api.FaultPreset { return FaultPresets() }

// FaultPresets lists the failures that have a name; it needs no array.
func FaultPresets() (all []api.FaultPreset) {
	for _, p := range preset.Table() {
		shown := api.FaultPreset{Name: p.Name, Title: p.Title, Heals: p.Heals, Expect: expectations(p.Expect), Parameters: []api.PresetParameter{}}
		for _, name := range p.Takes() {
			shown.Parameters = append(shown.Parameters, api.PresetParameter{Name: string(name), Needed: slices.Contains(p.Needs, name)})
		}
		for _, w := range p.Ways {
			way := api.PresetWay{Name: w.Name, Takes: []string{}, Rules: w.Rules, Expect: expectations(w.Expect)}
			for _, name := range w.Takes() {
				way.Takes = append(way.Takes, string(name))
			}
			shown.Ways = append(shown.Ways, way)
		}
		all = append(all, shown)
	}
	return all
}

func expectations(list []preset.Statement) []api.Expectation {
	all := []api.Expectation{}
	for _, s := range list {
		e := api.Expectation{Text: s.Text}
		for _, c := range s.Certainty {
			e.Certainty = append(e.Certainty, string(c))
		}
		all = append(all, e)
	}
	return all
}

// Play adds the rules of a preset, all of them or none. Errors: vvol.ErrNotFound, ErrInvalid,
// and those of fault.Injector.AddAll.
func (s faultSource) Play(ctx context.Context, name string, c api.PresetChoice) (api.PlayedPreset, error) {
	p, ok := preset.Find(name)
	if !ok {
		return api.PlayedPreset{}, fmt.Errorf("%w: fault preset %q", vvol.ErrNotFound, name)
	}
	way, err := p.Way(c.Way)
	if err != nil {
		return api.PlayedPreset{}, fmt.Errorf("%w: %w", vvol.ErrInvalid, err)
	}
	values := map[preset.Parameter]string{preset.VVol: c.VVol, preset.Container: c.Container, preset.Host: c.Host, preset.PE: c.PE}
	if c.Portal > 0 {
		values[preset.Portal] = strconv.Itoa(int(c.Portal))
	}
	rules, err := p.Fill(way, values)
	if err != nil {
		return api.PlayedPreset{}, fmt.Errorf("%w: %w", vvol.ErrInvalid, err)
	}
	played := api.PlayedPreset{Name: p.Name, Title: p.Title, Way: way.Name, Rules: rules, Added: []api.Fault{},
		Expect: expectations(slices.Concat(p.Expect, way.Expect)), Heals: p.Heals}
	if c.DryRun {
		return played, nil
	}
	states, err := s.i.AddAll(ctx, rules...)
	if err != nil {
		return api.PlayedPreset{}, err
	}
	for _, x := range states {
		played.Added = append(played.Added, shown(x))
	}
	return played, nil
}
