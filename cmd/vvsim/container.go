package main

import (
	"fmt"
	"net/http"

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
			return change(c, http.MethodPost, "/containers", map[string]any{"name": args[0], "sizeBytes": size},
				func(x api.Container) string { return x.ID })
		}})
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
	return noun("container", "Storage containers", list, showIt, create, resize, del)
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
