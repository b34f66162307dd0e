package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"vvsim/fault/codes"
)

// errUnexplained is a code that the table does not have.
type errUnexplained struct{ error }

func newExplain() *cobra.Command {
	return outputFlag(&cobra.Command{Use: "explain CODE...", Short: "Explain sense data, a line of a host's log, a login status, what iSCSI tells, or a VASA fault",
		Long: "Explain what a host shows when something is wrong: what it means, what ESXi is known to do (with where that is known from),\n" +
			"and which fault rule produces it. No array is needed. The whole table is docs/sense.md. Exit code 3: not in the table.",
		Example: "  vvsim explain 0x5 0x25 0x0\n  vvsim explain 05/25/00\n  vvsim explain 'H:0x0 D:0x2 P:0x0 Valid sense data: 0x5 0x25 0x0'\n" +
			"  vvsim explain 70 00 05 00 00 00 00 0a 00 00 00 00 25 00\n  vvsim explain 0x0203\n  vvsim explain reject 0x09\n  vvsim explain async 1\n  vvsim explain ResourceInUse",
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			all, err := codes.Explain(strings.Join(args, " "))
			if errors.Is(err, codes.ErrNotCode) {
				return wrongUsage(c, err)
			}
			if wantsJSON(c) {
				if all == nil {
					all = []codes.Entry{}
				}
				if err := writeJSON(c, all); err != nil {
					return err
				}
			} else {
				for i := range all {
					explain(c.OutOrStdout(), &all[i])
				}
			}
			if err != nil {
				return errUnexplained{err}
			}
			return nil
		}})
}

// explain prints one entry.
func explain(w io.Writer, e *codes.Entry) {
	fmt.Fprintf(w, "%s  %s (%v)\n", e.Code, e.Name, e.Kind)
	for _, line := range []struct{ head, text string }{{"means", e.Means}, {"ESXi", cmp.Or(e.Effect(), "not known")}, {"rule", e.Rule}, {"also", e.Other}} {
		if line.text != "" {
			fmt.Fprintf(w, "  %-6s %s\n", line.head, line.text)
		}
	}
}
