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
	var usage usageError
	switch {
	case errors.Is(err, errCheckFailed):
		return exitCheck
	case errors.As(err, &usage), errors.Is(err, array.ErrConfig), strings.HasPrefix(err.Error(), "unknown command"):
		return exitUsage
	case api.NotFound(err):
		return exitNotFound
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use: "vvsim", Short: "A software storage array for VVol labs and CI",
		SilenceErrors: true, SilenceUsage: true,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newServe(), newContainer(), newVVol(), newPE(), newBind(), newUnbind(), newBinding(), newLUN(), newHost(),
		newSession(), newIO(), newDoctor(), newEvents(), newESXi(), newVersion())
	return root
}

// usageArgs makes a fault of the arguments a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usageError{fmt.Errorf("%s: %w", c.CommandPath(), err)}
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
			return usageError{fmt.Errorf("%s: unknown verb %q", c.CommandPath(), args[0])}
		}
		return nil
	}, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(verbs...)
	return c
}
