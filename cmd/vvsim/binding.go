package main

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"vvsim/api"
)

func newPE() *cobra.Command {
	list := outputFlag(&cobra.Command{Use: "list", Short: "List protocol endpoints", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return table(c, "/pes", column[api.PE]{"NAME", func(x api.PE) any { return x.Name }},
				column[api.PE]{"LUN", func(x api.PE) any { return x.LUN }},
				column[api.PE]{"STATE", func(x api.PE) any { return x.State }},
				column[api.PE]{"ID", func(x api.PE) any { return x.ID }})
		}})
	showIt := outputFlag(&cobra.Command{Use: "show NAME", Short: "Show a protocol endpoint, by name or id", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			all, err := call[[]api.PE](c.Context(), http.MethodGet, "/pes", nil)
			if err != nil {
				return err
			}
			for _, e := range all {
				if e.Name == args[0] || e.ID == args[0] {
					return writeJSON(c, e)
				}
			}
			return &api.Error{Status: http.StatusNotFound, Detail: fmt.Sprintf("no protocol endpoint %q", args[0])}
		}})
	return noun("pe", "Protocol endpoints", list, showIt)
}

func newBind() *cobra.Command {
	c := outputFlag(&cobra.Command{Use: "bind VVOL --initiator IQN", Short: "Give a host access to a volume", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			iqn := c.Flag("initiator").Value.String()
			if iqn == "" {
				return wrongUsage(c, errMissing("--initiator"))
			}
			return change(c, http.MethodPost, "/bindings", map[string]any{"vvol": args[0], "initiator": iqn}, func(b api.Binding) string {
				return fmt.Sprintf("binding %s: pe %s at LUN %d, secondary id %s, lun %s", b.ID, b.PE, b.PELUN, b.SecondaryID, b.LUN)
			})
		}})
	c.Flags().String("initiator", "", "iSCSI name of the host")
	return c
}

func newUnbind() *cobra.Command {
	c := &cobra.Command{Use: "unbind VVOL --initiator IQN", Short: "Take a host's access to a volume back", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			iqn := c.Flag("initiator").Value.String()
			if iqn == "" {
				return wrongUsage(c, errMissing("--initiator"))
			}
			v, err := call[api.VVol](c.Context(), http.MethodGet, "/vvols/"+seg(args[0]), nil)
			if err != nil {
				return err
			}
			for _, b := range v.Bindings {
				if b.Initiator == iqn {
					_, err := client().Do(c.Context(), http.MethodDelete, apiPath+"/bindings/"+b.ID, nil)
					return err
				}
			}
			return &api.Error{Status: http.StatusNotFound, Detail: fmt.Sprintf("%s is not bound to %s", args[0], iqn)}
		}}
	c.Flags().String("initiator", "", "iSCSI name of the host")
	return c
}

func newBinding() *cobra.Command {
	return noun("binding", "Bindings", outputFlag(&cobra.Command{Use: "list", Short: "List bindings", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return table(c, "/bindings", column[api.Binding]{"ID", func(x api.Binding) any { return x.ID }},
				column[api.Binding]{"VVOL", func(x api.Binding) any { return x.VVol }},
				column[api.Binding]{"INITIATOR", func(x api.Binding) any { return x.Initiator }},
				column[api.Binding]{"PE LUN", func(x api.Binding) any { return x.PELUN }},
				column[api.Binding]{"SECONDARY", func(x api.Binding) any { return x.SecondaryID }})
		}}))
}

func newLUN() *cobra.Command {
	list := outputFlag(&cobra.Command{Use: "list", Short: "List flat LUNs", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return table(c, "/luns", column[api.LUN]{"LUN", func(x api.LUN) any { return x.LUN }},
				column[api.LUN]{"VVOL", func(x api.LUN) any { return x.VVol }})
		}})
	mapIt := outputFlag(&cobra.Command{Use: "map VVOL [--lun N]", Short: "Show a volume under an ordinary LUN", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			body := map[string]any{"vvol": args[0]}
			if n, err := c.Flags().GetInt("lun"); err == nil && c.Flags().Changed("lun") {
				body["lun"] = n
			}
			return change(c, http.MethodPost, "/luns", body, func(l api.LUN) string { return fmt.Sprint(l.LUN) })
		}})
	mapIt.Flags().Int("lun", 0, "LUN number; the lowest free one when not given")
	return noun("lun", "Ordinary LUNs, for initiators that know no subsidiary LUNs", list, mapIt,
		&cobra.Command{Use: "unmap (LUN | VVOL)...", Short: "Remove flat LUNs, by number or those of a volume", Args: usageArgs(cobra.MinimumNArgs(1)), RunE: unmapLUNs})
}

// unmapLUNs takes numbers as LUNs, and anything else as a volume.
func unmapLUNs(c *cobra.Command, args []string) error {
	for _, a := range args {
		luns := []string{a}
		if _, err := strconv.ParseUint(a, 10, 16); err != nil {
			v, err := call[api.VVol](c.Context(), http.MethodGet, "/vvols/"+seg(a), nil)
			if err != nil {
				return err
			}
			if len(v.LUNs) == 0 {
				return &api.Error{Status: http.StatusNotFound, Detail: fmt.Sprintf("%s has no flat LUN", a)}
			}
			luns = nil
			for _, n := range v.LUNs {
				luns = append(luns, strconv.Itoa(n))
			}
		}
		for _, n := range luns {
			if _, err := client().Do(c.Context(), http.MethodDelete, apiPath+"/luns/"+n, nil); err != nil {
				return err
			}
		}
	}
	return nil
}
