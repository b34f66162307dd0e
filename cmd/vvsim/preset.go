package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"vvsim/api"
	"vvsim/array"
)

func newPreset() *cobra.Command {
	var choice api.PresetChoice
	c := outputFlag(&cobra.Command{Use: "preset [NAME]", Short: "Add the rules of a failure that has a name, or list these",
		Long: "Add the rules of a failure that has a name, all of them or none, and print them, what an ESXi host is expected to log and do with how\n" +
			"certain that is, and how to heal it. Without a name list all, which needs no array. Rules, ways and parameters of each: docs/presets.md.",
		Example: "  vvsim fault preset\n  vvsim fault preset pdl-vvol --vvol disk1\n  vvsim fault preset apd-host --host iqn.1998-01.com.vmware:esx1-1a2b3c4d --way stall",
		Args:    usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return listPresets(c)
			}
			return playPreset(c, args[0], choice)
		}})
	f := c.Flags()
	f.StringVar(&choice.VVol, "vvol", "", "volume, by id or name")
	f.StringVar(&choice.Container, "container", "", "container, by id or name")
	f.StringVar(&choice.Host, "host", "", "initiator name")
	f.Uint16Var(&choice.Portal, "portal", 0, "number of a portal, from 1")
	f.StringVar(&choice.PE, "pe", "", "protocol endpoint, by id or name")
	f.StringVar(&choice.Way, "way", "", "how to bring it about, where there are several ways")
	f.BoolVar(&choice.DryRun, "dry-run", false, "add nothing")
	return c
}

func listPresets(c *cobra.Command) error {
	options := func(p api.FaultPreset) any {
		var list []string
		for _, x := range p.Parameters {
			list = append(list, "--"+x.Name)
		}
		return strings.Join(list, " ")
	}
	all := array.FaultPresets()
	if wantsJSON(c) {
		return json.NewEncoder(c.OutOrStdout()).Encode(all) // as the API has it
	}
	return writeTable(c.OutOrStdout(), all, []column[api.FaultPreset]{{"NAME", func(p api.FaultPreset) any { return p.Name }},
		{"OPTIONS", options}, {"WHAT FAILS", func(p api.FaultPreset) any { return p.Title }}})
}

func playPreset(c *cobra.Command, name string, choice api.PresetChoice) error {
	b, err := client().Do(c.Context(), http.MethodPost, apiPath+"/fault-presets/"+seg(name), choice)
	if err != nil {
		return err
	}
	if wantsJSON(c) {
		_, err := c.OutOrStdout().Write(b)
		return err
	}
	var p api.PlayedPreset
	if err := decode(b, &p); err != nil {
		return err
	}
	writePlayed(c.OutOrStdout(), &p)
	return nil
}

func writePlayed(w io.Writer, p *api.PlayedPreset) {
	fmt.Fprintf(w, "%s: %s\n\nrules\n", p.Name, p.Title)
	heal := "vvsim fault remove"
	for _, r := range p.Added {
		fmt.Fprintf(w, "  %-3s %s\n", r.ID, r.Rule)
		heal += " " + r.ID
	}
	if len(p.Added) == 0 { // a dry run
		for _, r := range p.Rules {
			fmt.Fprintf(w, "  %s\n", r)
		}
	}
	fmt.Fprintln(w, "\nexpected of an ESXi host")
	for _, e := range p.Expect {
		fmt.Fprintf(w, "  %s [%s]\n", e.Text, strings.Join(e.Certainty, ", "))
	}
	fmt.Fprintln(w, "\nheal")
	if len(p.Added) > 0 {
		fmt.Fprintf(w, "  %s\n", heal)
	}
	fmt.Fprintf(w, "  %s\n", p.Heals)
}
