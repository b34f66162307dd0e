package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vvsim/api"
)

func newHost() *cobra.Command {
	list := outputFlag(&cobra.Command{Use: "list", Short: "List hosts", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return table(c, "/hosts", column[api.Host]{"ID", func(x api.Host) any { return x.ID }},
				column[api.Host]{"INITIATORS", func(x api.Host) any { return strings.Join(x.Initiators, ",") }},
				column[api.Host]{"BINDINGS", func(x api.Host) any { return x.Bindings }},
				column[api.Host]{"SESSIONS", func(x api.Host) any { return x.Sessions }})
		}})
	showIt := outputFlag(&cobra.Command{Use: "show HOST", Short: "Show a host", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return show(c, "/hosts/"+seg(args[0])) }})
	return noun("host", "Hosts", list, showIt)
}

func newAlarm() *cobra.Command {
	return noun("alarm", "What is nearly full, full or out of compliance", outputFlag(&cobra.Command{Use: "list", Short: "List alarms", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return table(c, "/alarms", column[api.Alarm]{"STATUS", func(x api.Alarm) any { return x.Status }},
				column[api.Alarm]{"KIND", func(x api.Alarm) any { return x.Kind }},
				column[api.Alarm]{"OBJECT", func(x api.Alarm) any { return x.Object }},
				column[api.Alarm]{"SINCE", func(x api.Alarm) any { return x.Since.Format(time.RFC3339) }},
				column[api.Alarm]{"MESSAGE", func(x api.Alarm) any { return x.Message }})
		}}))
}

func newSession() *cobra.Command {
	list := outputFlag(&cobra.Command{Use: "list", Short: "List iSCSI sessions", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return table(c, "/sessions", column[api.Session]{"ID", func(x api.Session) any { return x.ID }},
				column[api.Session]{"INITIATOR", func(x api.Session) any { return x.Initiator }},
				column[api.Session]{"PORTAL", func(x api.Session) any { return x.Portal }},
				column[api.Session]{"TSIH", func(x api.Session) any { return x.TSIH }},
				column[api.Session]{"SINCE", func(x api.Session) any { return x.ConnectedSince.Format(time.RFC3339) }},
				column[api.Session]{"IN FLIGHT", func(x api.Session) any { return x.InFlight }})
		}})
	return noun("session", "iSCSI sessions", list, deleteCommand("drop ID...", "Drop sessions", "/sessions/"))
}

func newESXi() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "Show the settings", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return show(c, "/knobs") }}
	set := &cobra.Command{Use: "set KEY=VALUE...", Short: "Change settings while the array runs", Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			body := map[string]any{}
			for _, a := range args {
				k, v, ok := strings.Cut(a, "=")
				if !ok {
					return wrongUsage(c, fmt.Errorf("%q is not KEY=VALUE", a))
				}
				body[k] = v
				if v == "true" || v == "false" {
					body[k] = v == "true"
				}
			}
			_, err := client().Do(c.Context(), http.MethodPatch, apiPath+"/knobs", body)
			return err
		}}
	return noun("esxi", "Settings for what is not known of ESXi", outputFlag(list), set)
}

func writeJSON(c *cobra.Command, v any) error {
	e := json.NewEncoder(c.OutOrStdout())
	e.SetEscapeHTML(false) // rules have an arrow
	e.SetIndent("", "  ")
	return e.Encode(v)
}
