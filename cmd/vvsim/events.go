package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vvsim/vvol"
)

func newEvents() *cobra.Command {
	c := outputFlag(&cobra.Command{Use: "events [--follow]", Short: "List what happened", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if follow, err := c.Flags().GetBool("follow"); err == nil && follow {
				return followEvents(c)
			}
			return table(c, "/events", column[vvol.Event]{"SERIAL", func(e vvol.Event) any { return e.Serial }},
				column[vvol.Event]{"TIME", func(e vvol.Event) any { return e.Time.Format(time.RFC3339) }},
				column[vvol.Event]{"KIND", func(e vvol.Event) any { return e.Kind }},
				column[vvol.Event]{"OBJECT", func(e vvol.Event) any { return e.Object }},
				column[vvol.Event]{"MESSAGE", func(e vvol.Event) any { return e.Message }})
		}})
	c.Flags().Bool("follow", false, "print events as they happen")
	return c
}

func followEvents(c *cobra.Command) error {
	resp, err := client().Open(c.Context(), http.MethodGet, apiPath+"/events", nil, "text/event-stream")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if wantsJSON(c) {
			fmt.Fprintln(c.OutOrStdout(), data)
			continue
		}
		var e vvol.Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "%s %s %s %s\n", e.Time.Format(time.RFC3339), e.Kind, e.Object, e.Message)
	}
	return lines.Err()
}
