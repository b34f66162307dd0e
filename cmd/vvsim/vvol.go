package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vvsim/api"
)

func newVVol() *cobra.Command {
	return noun("vvol", "Virtual volumes", vvolList(),
		outputFlag(&cobra.Command{Use: "show VVOL", Short: "Show a volume, by id or unique name", Args: usageArgs(cobra.ExactArgs(1)),
			RunE: func(c *cobra.Command, args []string) error { return show(c, "/vvols/"+seg(args[0])) }}),
		&cobra.Command{Use: "tree", Short: "Show volumes with their snapshots and clones", Args: usageArgs(cobra.NoArgs), RunE: vvolTree},
		vvolCreate(), vvolResize(), vvolSetPolicy(), vvolCompliance(), vvolSnapshot(), vvolCopy("clone", "Make an independent copy"),
		vvolCopy("fast-clone", "Make a linked copy"), vvolRevert(), vvolDiff(),
		deleteCommand("delete VVOL...", "Delete volumes that are not in use", "/vvols/"))
}

func vvolList() *cobra.Command {
	c := outputFlag(&cobra.Command{Use: "list", Short: "List volumes", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			q := url.Values{}
			for _, f := range []string{"container", "name", "type"} {
				if v := c.Flag(f).Value.String(); v != "" {
					q.Set(f, v)
				}
			}
			return table(c, "/vvols?"+q.Encode(),
				column[api.VVol]{"NAME", func(x api.VVol) any { return x.Name }},
				column[api.VVol]{"ID", func(x api.VVol) any { return x.ID }},
				column[api.VVol]{"TYPE", func(x api.VVol) any { return x.Type }},
				column[api.VVol]{"CONTAINER", func(x api.VVol) any { return x.Container }},
				column[api.VVol]{"SIZE", func(x api.VVol) any { return human(x.SizeBytes) }},
				column[api.VVol]{"ALLOCATED", func(x api.VVol) any { return human(x.AllocatedBytes) }},
				column[api.VVol]{"UNSHARED", func(x api.VVol) any { return human(x.UnsharedBytes) }},
				column[api.VVol]{"BOUND", func(x api.VVol) any { return len(x.Bindings) }})
		}})
	c.Flags().String("container", "", "only of this container")
	c.Flags().String("name", "", "only of this name")
	c.Flags().String("type", "", "only of this type")
	return c
}

func vvolCreate() *cobra.Command {
	c := outputFlag(&cobra.Command{Use: "create --container NAME --size SIZE", Short: "Create a volume", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			size, err := sizeFlag(c)
			if err != nil {
				return err
			}
			body := map[string]any{"sizeBytes": size}
			for flag, key := range map[string]string{"container": "container", "type": "type", "name": "name", "service-level": "serviceLevel"} {
				if v := c.Flag(flag).Value.String(); v != "" {
					body[key] = v
				}
			}
			quality, err := qualityFlags(c)
			if err != nil {
				return err
			}
			if len(quality) > 0 {
				body["quality"] = quality
			}
			if metadata, err := c.Flags().GetStringToString("metadata"); err == nil && len(metadata) > 0 {
				body["metadata"] = metadata
			}
			return change(c, http.MethodPost, "/vvols", body, func(x api.VVol) string { return x.ID })
		}})
	requireSize(c)
	c.Flags().String("container", "default", "storage container")
	c.Flags().String("type", "Data", "Config, Data, Swap, Memory or Other")
	c.Flags().String("name", "", "free text")
	c.Flags().String("service-level", "", "one of the container's")
	c.Flags().StringToString("metadata", nil, "KEY=VALUE, repeatable")
	addQualityFlags(c)
	return c
}

// addQualityFlags adds what may be asked of a volume within the bounds of its level.
func addQualityFlags(c *cobra.Command) {
	c.Flags().Bool("thick", false, "reserve all of its space")
	c.Flags().Uint64("max-iops", 0, "I/O per second, 0 for no limit")
	c.Flags().String("max-bandwidth", "", "bytes per second such as 100MiB, 0 for no limit")
	c.Flags().Int("snapshot-limit", 0, "snapshots, 0 for as many as the array allows")
	c.Flags().String("durability", "", "flush, or sync: every write is on stable storage before its status")
	c.Flags().Int("warn", 0, "percent of the container from which its space alarm comes, 0 for what its levels say")
}

// qualityFlags reads those that were given.
func qualityFlags(c *cobra.Command) (map[string]any, error) {
	q := map[string]any{}
	for flag, key := range map[string]string{"thick": "thick", "max-iops": "maxIops", "snapshot-limit": "snapshotLimit", "warn": "warnPercentUsed"} {
		if f := c.Flag(flag); f.Changed {
			q[key] = json.RawMessage(f.Value.String())
		}
	}
	if f := c.Flag("durability"); f.Changed {
		q["durability"] = f.Value.String()
	}
	if f := c.Flag("max-bandwidth"); f.Changed {
		n, err := parseSize(f.Value.String())
		if err != nil {
			return nil, wrongUsage(c, fmt.Errorf("--max-bandwidth: %w", err))
		}
		q["maxBytesPerSec"] = n
	}
	return q, nil
}

func vvolSetPolicy() *cobra.Command {
	c := outputFlag(&cobra.Command{Use: "set-policy VVOL", Short: "Change service level and quality, also while I/O runs", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			quality, err := qualityFlags(c)
			if err != nil {
				return err
			}
			body := map[string]any{"quality": quality}
			if f := c.Flag("service-level"); f.Changed {
				body["serviceLevel"] = f.Value.String()
			} else if len(quality) == 0 {
				return wrongUsage(c, errMissing("a flag that says what to change"))
			}
			return change(c, http.MethodPost, "/vvols/"+seg(args[0])+"/policy", body, describeQuality)
		}})
	c.Flags().String("service-level", "", "one of the container's; the present one when not given, or the first that offers what is asked")
	addQualityFlags(c)
	return c
}

// describeQuality is one line of what a volume has.
func describeQuality(x api.VVol) string {
	q, space := x.Quality, "thin"
	if q.Thick {
		space = "thick"
	}
	line := fmt.Sprintf("%s %s, %s, %s", x.ID, x.ServiceLevel, space, q.Durability)
	if q.MaxIOPS > 0 {
		line += fmt.Sprintf(", %d IOPS", q.MaxIOPS)
	}
	if q.MaxBytesPerSec > 0 {
		line += fmt.Sprintf(", %s/s", human(q.MaxBytesPerSec))
	}
	if q.SnapshotLimit > 0 {
		line += fmt.Sprintf(", %d snapshots", q.SnapshotLimit)
	}
	if q.WarnPercentUsed > 0 {
		line += fmt.Sprintf(", warns at %d %%", q.WarnPercentUsed)
	}
	return line
}

// vvolCompliance ends with errCheckFailed when the volume is not what was asked for.
func vvolCompliance() *cobra.Command {
	return outputFlag(&cobra.Command{Use: "compliance VVOL", Short: "Compare what was asked for a volume with what is so", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			path := "/vvols/" + seg(args[0]) + "/compliance"
			b, err := client().Do(c.Context(), http.MethodGet, apiPath+path, nil)
			if err != nil {
				return err
			}
			var x api.Compliance
			if err := decode(b, &x); err != nil {
				return err
			}
			lines := []string{"compliant"}
			if !x.Compliant {
				lines = nil
			}
			for _, v := range x.Violations {
				lines = append(lines, v.String())
			}
			if err := result(c, b, strings.Join(lines, "\n")); err != nil || x.Compliant {
				return err
			}
			return errCheckFailed
		}})
}

func vvolResize() *cobra.Command {
	c := outputFlag(&cobra.Command{Use: "resize VVOL --size SIZE", Short: "Change the size", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			size, err := sizeFlag(c)
			if err != nil {
				return err
			}
			return change(c, http.MethodPost, "/vvols/"+seg(args[0])+"/resize", map[string]any{"sizeBytes": size},
				func(x api.VVol) string { return x.ID + " " + human(x.SizeBytes) })
		}})
	requireSize(c)
	return c
}

// vvolSnapshot takes one snapshot, or those of several volumes at one instant.
func vvolSnapshot() *cobra.Command {
	c := outputFlag(&cobra.Command{Use: "snapshot VVOL...", Short: "Take a snapshot; of several volumes at one instant", Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			items := make([]map[string]any, len(args))
			for i, a := range args {
				items[i] = map[string]any{}
				if v := c.Flag("name").Value.String(); v != "" {
					items[i]["name"] = v
				}
				if c.Flag("writable").Value.String() == "true" {
					items[i]["writable"] = true
				}
				if len(args) > 1 {
					items[i]["vvol"] = a
				}
			}
			if len(args) == 1 {
				return change(c, http.MethodPost, "/vvols/"+seg(args[0])+"/snapshot", items[0], func(x api.VVol) string { return x.ID })
			}
			return change(c, http.MethodPost, "/snapshots", map[string]any{"items": items}, func(all []api.VVol) string {
				ids := make([]string, len(all))
				for i, x := range all {
					ids[i] = x.ID
				}
				return strings.Join(ids, "\n")
			})
		}})
	c.Flags().String("name", "", "of the snapshot")
	c.Flags().Bool("writable", false, "the snapshot may be written")
	return c
}

func vvolCopy(verb, short string) *cobra.Command {
	c := outputFlag(&cobra.Command{Use: verb + " VVOL", Short: short, Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			body := map[string]any{}
			for _, f := range []string{"name", "container"} {
				if v := c.Flag(f).Value.String(); v != "" {
					body[f] = v
				}
			}
			return change(c, http.MethodPost, "/vvols/"+seg(args[0])+"/"+verb, body, func(x api.VVol) string { return x.ID })
		}})
	c.Flags().String("name", "", "of the copy")
	c.Flags().String("container", "", "where the copy goes; that of the source when not given")
	return c
}

func vvolRevert() *cobra.Command {
	return outputFlag(&cobra.Command{Use: "revert VVOL SNAPSHOT", Short: "Go back to a snapshot", Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, args []string) error {
			return change(c, http.MethodPost, "/vvols/"+seg(args[0])+"/revert", map[string]any{"snapshot": args[1]},
				func(x api.VVol) string { return x.ID })
		}})
}

func vvolDiff() *cobra.Command {
	return outputFlag(&cobra.Command{Use: "diff VVOL [BASE]", Short: "List ranges that differ from BASE, or are allocated", Args: usageArgs(cobra.RangeArgs(1, 2)),
		RunE: func(c *cobra.Command, args []string) error {
			path := "/vvols/" + seg(args[0]) + "/ranges"
			if len(args) == 2 {
				path += "?base=" + url.QueryEscape(args[1])
			}
			return table(c, path, column[api.Range]{"OFFSET", func(x api.Range) any { return x.Offset }},
				column[api.Range]{"LENGTH", func(x api.Range) any { return x.Length }})
		}})
}

// vvolTree prints every volume below the one it came from.
func vvolTree(c *cobra.Command, _ []string) error {
	b, err := client().Do(c.Context(), http.MethodGet, apiPath+"/vvols", nil)
	if err != nil {
		return err
	}
	var all []api.VVol
	if err := decode(b, &all); err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b api.VVol) int { return a.Created.Compare(b.Created) })
	known := map[string]bool{}
	for _, v := range all {
		known[v.ID] = true
	}
	children := map[string][]api.VVol{}
	for _, v := range all {
		if !known[v.Parent] {
			v.Parent = ""
		}
		children[v.Parent] = append(children[v.Parent], v)
	}
	printTree(c.OutOrStdout(), children, "", "")
	return nil
}

func printTree(w io.Writer, children map[string][]api.VVol, parent, indent string) {
	for i, v := range children[parent] {
		branch, next := "├── ", "│   "
		if i == len(children[parent])-1 {
			branch, next = "└── ", "    "
		}
		if parent == "" {
			branch, next = "", ""
		}
		kind := "volume"
		if v.SnapshotOf != "" {
			kind = "snapshot"
		} else if v.Parent != "" {
			kind = "clone"
		}
		fmt.Fprintf(w, "%s%s%s (%s, %s, %s)\n", indent, branch, cmp.Or(v.Name, v.ID), kind, human(v.SizeBytes), v.ID)
		printTree(w, children, v.ID, indent+next)
	}
}
