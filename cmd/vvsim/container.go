package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"vvsim/api"
)

func newContainer() *cobra.Command {
	list := outputFlag(&cobra.Command{Use: "list", Short: "List storage containers", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return table(c, "/containers",
				column[api.Container]{"NAME", func(x api.Container) any { return x.Name }},
				column[api.Container]{"SIZE", func(x api.Container) any { return human(x.SizeBytes) }},
				column[api.Container]{"USED", func(x api.Container) any { return human(x.UsedBytes) }},
				column[api.Container]{"LOGICAL", func(x api.Container) any { return human(x.LogicalBytes) }},
				column[api.Container]{"VVOLS", func(x api.Container) any { return x.Volumes }},
				column[api.Container]{"ID", func(x api.Container) any { return x.ID }})
		}})
	showIt := outputFlag(&cobra.Command{Use: "show NAME", Short: "Show a storage container", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return show(c, "/containers/"+seg(args[0])) }})
	create := outputFlag(&cobra.Command{Use: "create NAME --size SIZE", Short: "Create a storage container", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			size, err := sizeFlag(c)
			if err != nil {
				return err
			}
			body := map[string]any{"name": args[0], "sizeBytes": size}
			levels, err := levelFlags(c)
			if err != nil {
				return err
			}
			if len(levels) > 0 {
				body["serviceLevels"] = levels
			}
			return change(c, http.MethodPost, "/containers", body, func(x api.Container) string { return x.ID })
		}})
	levels := outputFlag(&cobra.Command{Use: "set-levels NAME --service-level LEVEL...", Short: "Change the service levels", Args: usageArgs(cobra.ExactArgs(1)),
		Long: "Change the service levels of a container, all of them, the default first. Volumes keep the quality that they have;\n" +
			"those whose level offers it no more are out of compliance until vvsim vvol set-policy.",
		RunE: func(c *cobra.Command, args []string) error {
			levels, err := levelFlags(c)
			if err == nil && len(levels) == 0 {
				err = wrongUsage(c, errMissing("--service-level"))
			}
			if err != nil {
				return err
			}
			return change(c, http.MethodPatch, "/containers/"+seg(args[0]), map[string]any{"serviceLevels": levels},
				func(x api.Container) string { return fmt.Sprintf("%s %d service levels", x.Name, len(x.ServiceLevels)) })
		}})
	for _, c := range []*cobra.Command{create, levels} {
		c.Flags().StringArray("service-level", nil, "NAME[,thin][,max-iops=N][,max-bandwidth=SIZE][,snapshot-limit=N][,durability=flush|sync][,warn=PERCENT], repeatable")
	}
	resize := outputFlag(&cobra.Command{Use: "resize NAME --size SIZE", Short: "Resize a storage container", Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			size, err := sizeFlag(c)
			if err != nil {
				return err
			}
			return change(c, http.MethodPatch, "/containers/"+seg(args[0]), map[string]any{"sizeBytes": size},
				func(x api.Container) string { return x.Name + " " + human(x.SizeBytes) })
		}})
	for _, c := range []*cobra.Command{create, resize} {
		requireSize(c)
	}
	del := deleteCommand("delete NAME", "Delete an empty storage container", "/containers/")
	return noun("container", "Storage containers", list, showIt, create, resize, levels, del)
}

// levelFlags reads --service-level.
func levelFlags(c *cobra.Command) (all []map[string]any, err error) {
	texts, err := c.Flags().GetStringArray("service-level")
	if err != nil {
		return nil, err
	}
	for _, text := range texts {
		l, err := parseLevel(text)
		if err != nil {
			return nil, wrongUsage(c, fmt.Errorf("--service-level %q: %w", text, err))
		}
		all = append(all, l)
	}
	return all, nil
}

// parseLevel reads a name and values, "gold,thin,max-iops=1000".
func parseLevel(text string) (map[string]any, error) {
	name, rest, _ := strings.Cut(text, ",")
	l := map[string]any{"name": name, "thin": false}
	for item := range strings.SplitSeq(rest, ",") {
		key, value, _ := strings.Cut(item, "=")
		var err error
		switch key {
		case "":
		case "thin":
			l["thin"] = true
		case "durability":
			l["durability"] = value
		case "max-bandwidth":
			l["maxBytesPerSec"], err = parseSize(value)
		case "max-iops":
			l["maxIops"], err = strconv.ParseUint(value, 10, 64)
		case "snapshot-limit":
			l["snapshotLimit"], err = strconv.ParseUint(value, 10, 31)
		case "warn":
			l["warnPercentUsed"], err = strconv.ParseUint(value, 10, 31)
		default:
			return nil, fmt.Errorf("%q is not known", key)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	return l, nil
}

func requireSize(c *cobra.Command) { c.Flags().String("size", "", "such as 10GiB") }

// sizeFlag reads --size, which has to be given.
func sizeFlag(c *cobra.Command) (uint64, error) {
	s := c.Flag("size").Value.String()
	if s == "" {
		return 0, wrongUsage(c, errMissing("--size"))
	}
	n, err := parseSize(s)
	if err != nil {
		return 0, wrongUsage(c, fmt.Errorf("--size: %w", err))
	}
	return n, nil
}

// errMissing is a flag that was not given.
type errMissing string

func (e errMissing) Error() string { return string(e) + " is needed" }

// deleteCommand deletes the objects named by its arguments, one after the other.
func deleteCommand(use, short, path string) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			for _, a := range args {
				if _, err := client().Do(c.Context(), http.MethodDelete, apiPath+path+seg(a), nil); err != nil {
					return err
				}
			}
			return nil
		}}
}
