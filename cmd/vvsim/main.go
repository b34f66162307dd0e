package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"vvsim/api"
	"vvsim/array"
	"vvsim/scsi"
	"vvsim/scsi/iscsi/initiator"
	"vvsim/vasa/vcenter"
)

// version is set by the linker.
var version = "dev"

// Exit codes (contract.md 2).
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2
	exitNotFound = 3
	exitCheck    = 4
)

// usageError is a fault of the command line; failedCheck that of a check.
type usageError struct{ error }

var errCheckFailed = errors.New("a check failed")

func main() { os.Exit(run(os.Args[1:])) }

// run executes one command line and returns the exit code.
func run(args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return exitOK
	}
	if !errors.Is(err, errCheckFailed) {
		fmt.Fprintln(os.Stderr, "vvsim: "+strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; "))
	}
	return exitCode(err)
}

func exitCode(err error) int {
	var usage usageError
	var unexplained errUnexplained
	sense := initiator.SenseOf(err)
	switch {
	case errors.Is(err, errCheckFailed):
		return exitCheck
	case errors.As(err, &usage), errors.Is(err, array.ErrConfig), errors.Is(err, vcenter.ErrInvalid), api.Invalid(err):
		return exitUsage
	case api.NotFound(err), errors.As(err, &unexplained), errors.Is(err, vcenter.ErrNotFound), sense != nil && sense.Code == scsi.LogicalUnitNotSupported:
		return exitNotFound
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := noun("vvsim", "A software storage array for VVol labs and CI", newServe(), newContainer(), newVVol(), newPE(), newBind(), newUnbind(),
		newBinding(), newLUN(), newHost(), newProvider(), newSession(), newFault(), newExplain(), newIO(), newDoctor(), newEvents(), newAlarm(), newESXi(), newVCenter(), newVersion())
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(wrongUsage)
	root.Long = root.Short + ".\n\n`vvsim serve` starts an array; everything else talks to the API that VVSIM_API names (default " + defaultAPI + "),\n" +
		"with the token in VVSIM_TOKEN, and `vvsim vcenter` to the vCenter that GOVC_URL names. Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 not found, 4 a check failed."
	return root
}

// wrongUsage names the command whose usage is wrong.
func wrongUsage(c *cobra.Command, err error) error {
	if name := strings.TrimPrefix(strings.TrimPrefix(c.CommandPath(), "vvsim"), " "); name != "" {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return usageError{err}
}

// usageArgs makes a fault of the arguments a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return wrongUsage(c, err)
		}
		return nil
	}
}

func newVersion() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), "vvsim "+version)
			return err
		}}
}

// noun makes a command that only groups others.
func noun(use, short string, verbs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return wrongUsage(c, fmt.Errorf("unknown command %q; see %s --help", args[0], c.CommandPath()))
		}
		return nil
	}, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(verbs...)
	return c
}
