package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vvsim/api"
)

func newEvents() *cobra.Command {
	c := outputFlag(&cobra.Command{Use: "events [--follow]", Short: "List what happened", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if follow, err := c.Flags().GetBool("follow"); err == nil && follow {
				return followEvents(c)
			}
			return table(c, "/events", column[api.Event]{"SERIAL", func(e api.Event) any { return e.Serial }},
				column[api.Event]{"TIME", func(e api.Event) any { return e.Time.Format(time.RFC3339) }},
				column[api.Event]{"KIND", func(e api.Event) any { return e.Kind }},
				column[api.Event]{"OBJECT", func(e api.Event) any { return e.Object }},
				column[api.Event]{"MESSAGE", func(e api.Event) any { return e.Message }})
		}})
	c.Flags().Bool("follow", false, "print events as they happen")
	return c
}

// maxEventLine bounds one event in bytes.
const maxEventLine = 1 << 20

func followEvents(c *cobra.Command) error {
	resp, err := client().Open(c.Context(), http.MethodGet, apiPath+"/events", nil, "text/event-stream")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxEventLine)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if wantsJSON(c) {
			fmt.Fprintln(c.OutOrStdout(), data)
			continue
		}
		var e api.Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "%s %s %s %s\n", e.Time.Format(time.RFC3339), e.Kind, e.Object, e.Message)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("the array ended the stream of events: %w", err)
	}
	return errors.New("the array ended the stream of events")
}
