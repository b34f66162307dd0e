package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"vvsim/api"
	"vvsim/fault/preset"
)

// played is a preset whose rules were added.
type played struct {
	Name   string             `json:"name"`
	Title  string             `json:"title"`
	Rules  []api.Fault        `json:"rules"`
	Expect []preset.Statement `json:"expect"`
	Heal   string             `json:"heal,omitempty"` // command
	Heals  string             `json:"heals"`
}

func newPreset() *cobra.Command {
	values := map[preset.Parameter]*string{}
	c := outputFlag(&cobra.Command{Use: "preset [NAME]", Short: "Add the rules of a failure that has a name, or list these",
		Long: "Add the rules of a failure that has a name, and print them, what an ESXi host is expected to log and do with how certain that is,\n" +
			"and how to heal it. Without a name list all. Rules, ways and parameters of each: docs/presets.md.",
		Example: "  vvsim fault preset\n  vvsim fault preset pdl-vvol --vvol disk1\n  vvsim fault preset apd-host --host iqn.1998-01.com.vmware:esx1-1a2b3c4d --way stall",
		Args:    usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return listPresets(c)
			}
			return playPreset(c, args[0], values)
		}})
	for name, usage := range map[preset.Parameter]string{preset.VVol: "volume, by id or name", preset.Container: "name of a container", preset.Host: "initiator name", preset.Portal: "number of a portal", preset.PE: "protocol endpoint, by id or name"} {
		values[name] = c.Flags().String(string(name), "", usage)
	}
	c.Flags().String("way", "", "how to bring it about, where there are several ways")
	c.Flags().Bool("dry-run", false, "add nothing")
	return c
}

func listPresets(c *cobra.Command) error {
	all := preset.Table()
	if wantsJSON(c) {
		return writeJSON(c, all)
	}
	options := func(p preset.Preset) any {
		var list []string
		for _, name := range p.Takes() {
			list = append(list, "--"+string(name))
		}
		return strings.Join(list, " ")
	}
	return writeTable(c.OutOrStdout(), all, []column[preset.Preset]{{"NAME", func(p preset.Preset) any { return p.Name }},
		{"OPTIONS", options}, {"WHAT FAILS", func(p preset.Preset) any { return p.Title }}})
}

func playPreset(c *cobra.Command, name string, values map[preset.Parameter]*string) error {
	p, ok := preset.Find(name)
	if !ok {
		return wrongUsage(c, fmt.Errorf("%q is no preset: vvsim fault preset lists them", name))
	}
	given := map[preset.Parameter]string{}
	for k, v := range values {
		given[k] = *v
	}
	way, err := p.Way(c.Flag("way").Value.String())
	if err != nil {
		return wrongUsage(c, err)
	}
	rules, err := p.Fill(way, given)
	if err != nil {
		return wrongUsage(c, err)
	}
	show := played{Name: p.Name, Title: p.Title, Heals: p.Heals, Expect: append(p.Expect, way.Expect...)}
	if c.Flag("dry-run").Value.String() == "true" {
		for _, r := range rules {
			show.Rules = append(show.Rules, api.Fault{Rule: r})
		}
	} else if show.Rules, err = addAll(c.Context(), rules); err != nil {
		return err
	}
	if show.Rules[0].ID != "" {
		show.Heal = "vvsim fault remove"
		for _, r := range show.Rules {
			show.Heal += " " + r.ID
		}
	}
	if wantsJSON(c) {
		return writeJSON(c, show)
	}
	show.write(c.OutOrStdout())
	return nil
}

// addAll adds all rules or none.
func addAll(ctx context.Context, rules []string) (all []api.Fault, err error) {
	for _, r := range rules {
		f, err := call[api.Fault](ctx, http.MethodPost, "/faults", map[string]any{"rule": r})
		if err != nil {
			for _, f := range all {
				_, undo := client().Do(context.WithoutCancel(ctx), http.MethodDelete, apiPath+"/faults/"+seg(f.ID), nil)
				err = errors.Join(err, undo)
			}
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

func (p *played) write(w io.Writer) {
	fmt.Fprintf(w, "%s: %s\n\nrules\n", p.Name, p.Title)
	for _, r := range p.Rules {
		if r.ID == "" {
			fmt.Fprintf(w, "  %s\n", r.Rule)
		} else {
			fmt.Fprintf(w, "  %-3s %s\n", r.ID, r.Rule)
		}
	}
	fmt.Fprintln(w, "\nexpected of an ESXi host")
	for _, s := range p.Expect {
		fmt.Fprintf(w, "  %v\n", s)
	}
	fmt.Fprintln(w, "\nheal")
	if p.Heal != "" {
		fmt.Fprintf(w, "  %s\n", p.Heal)
	}
	fmt.Fprintf(w, "  %s\n", p.Heals)
}
