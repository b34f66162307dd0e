package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vvsim/api"
	"vvsim/vasa/trust"
	"vvsim/vasa/vasatest"
	"vvsim/vasa/vasatest/blocks"
	"vvsim/vasa/wire"
)

func newExercise() *cobra.Command {
	c := &cobra.Command{Use: "exercise", Short: "Put a VASA provider to the life of a VM", Args: usageArgs(cobra.NoArgs),
		Long: `Play a vCenter and hosts against a VASA provider, this one or another: register with an
authority made for it, create a VM, power it on, snapshot, revert, clone, move, grow and delete it.
A line a step; exit code 4 when a step does not end as the contract says. What was made is deleted,
and the authority unregistered; a note tells when the provider refuses that.
With --portal, what the hosts write over iSCSI is compared with what snapshots and clones hold.

A provider that does not keep its certificate (retain_certificate: false) trusts one authority at a
time: the exercise REPLACES that of a vCenter, which has to be registered again afterwards. For the
array at VVSIM_API that is refused without --replace-authority; other providers cannot be asked.`}
	c.Flags().String("url", "", "of version.xml or of the service (default: VVSIM_VASA_URL)")
	c.Flags().String("user", "", "of the provider (default: VVSIM_VASA_USER, or vasa)")
	c.Flags().String("password-file", "", "file with the password (default: VVSIM_VASA_PASSWORD)")
	c.Flags().String("container", "", "id or name (default: the first)")
	c.Flags().String("portal", "", "iSCSI portal for checks of contents, such as the first of VVSIM_ISCSI")
	c.Flags().String("target", "", "target name (default: what the portal reports)")
	c.Flags().Int64("disk", vasatest.DefaultDiskMB, "size of a disk in MB of 2^20 bytes")
	c.Flags().Int64("hosts", vasatest.MinHosts, "how many there are, all of which the VM moves to")
	c.Flags().Bool("soap12", false, "speak SOAP 1.2, not 1.1")
	c.Flags().Bool("replace-certificate", false, "sign the provider's certificate anew if it wants that; the authority is gone afterwards")
	c.Flags().Bool("replace-authority", false, "go on though a vCenter is registered that the provider forgets for this exercise")
	c.Flags().Bool("go-on", false, "make the steps after one that failed")
	c.Flags().Bool("list", false, "list the steps and make none")
	c.RunE = runExercise
	return c
}

func runExercise(c *cobra.Command, _ []string) error {
	out := c.OutOrStdout()
	if flag[bool](c, "list") {
		for _, s := range vasatest.Steps() {
			fmt.Fprintf(out, "%-32s %s\n", s.Name, s.Expected)
		}
		return nil
	}
	o, err := exerciseOptions(c)
	if err != nil {
		return err
	}
	if err := spareVCenter(c, o.URL); err != nil {
		return err
	}
	o.Report = func(l vasatest.Line) { fmt.Fprint(out, exerciseLine(l)) }
	if portal := flag[string](c, "portal"); portal != "" {
		io := blocks.New(portal, flag[string](c, "target"))
		defer io.Close()
		o.IO = io
	}
	lines, err := vasatest.Run(c.Context(), o)
	if err != nil {
		fmt.Fprintf(out, "failed: %v\n", err)
		return errCheckFailed
	}
	fmt.Fprintf(out, "all %d steps as expected\n", len(lines))
	return nil
}

// spareVCenter refuses to register with the array at VVSIM_API when that would end its trust in
// others. The protocol tells nothing before one is registered, so that other providers are not asked.
func spareVCenter(c *cobra.Command, url string) error {
	if flag[bool](c, "replace-authority") || !isOurs(c, url) {
		return nil
	}
	r, err := call[trust.Report](c.Context(), http.MethodGet, "/provider/certificate", nil)
	if err != nil {
		return err
	}
	if r.Retain || len(r.Roots) == 0 {
		return nil
	}
	return fmt.Errorf("the provider trusts %s and forgets it for this exercise, as its certificate is not kept: "+
		"that vCenter would have to be registered again (--replace-authority does it)", r.Roots[0].Subject)
}

// isOurs tells whether a provider is that of the array at VVSIM_API, which may be none.
func isOurs(c *cobra.Command, url string) bool {
	p, err := call[api.Provider](c.Context(), http.MethodGet, "/provider", nil)
	return err == nil && p.URL == url
}

func exerciseOptions(c *cobra.Command) (vasatest.ExerciseOptions, error) {
	o := vasatest.ExerciseOptions{URL: flag[string](c, "url"), User: flag[string](c, "user"), Password: os.Getenv("VVSIM_VASA_PASSWORD"), Container: flag[string](c, "container"),
		DiskMB: flag[int64](c, "disk"), KeepCertificate: !flag[bool](c, "replace-certificate"), GoOn: flag[bool](c, "go-on")}
	if o.URL == "" {
		o.URL = os.Getenv("VVSIM_VASA_URL")
	}
	if o.User == "" {
		o.User = os.Getenv("VVSIM_VASA_USER")
	}
	if o.User == "" {
		o.User = "vasa"
	}
	n := flag[int64](c, "hosts")
	if n < vasatest.MinHosts || n > vasatest.MaxHosts {
		return o, wrongUsage(c, fmt.Errorf("--hosts: %d, must be %d to %d", n, vasatest.MinHosts, vasatest.MaxHosts))
	}
	o.Hosts = make([]vasatest.HostSpec, n)
	if flag[bool](c, "soap12") {
		o.Version = wire.SOAP12
	}
	if path := flag[string](c, "password-file"); path != "" {
		text, err := readPEM(path)
		if err != nil {
			return o, err
		}
		o.Password = strings.TrimRight(text, "\r\n")
	}
	if o.URL == "" {
		return o, wrongUsage(c, errors.New("no provider: set --url or VVSIM_VASA_URL"))
	}
	return o, nil
}

// exerciseLine is a step for people: what came out, how long it took, how many calls it
// was, and what to know.
func exerciseLine(l vasatest.Line) string {
	mark := "ok  "
	if l.Err != nil {
		mark = "FAIL"
	}
	s := fmt.Sprintf("%s  %-32s %3d calls %8v\n", mark, l.Step, len(l.Calls), l.Took.Round(time.Millisecond))
	if l.Err != nil {
		s += fmt.Sprintf("      expected: %s\n      %v\n      calls: %s\n", l.Expected, l.Err, strings.Join(slices.Compact(slices.Clone(l.Calls)), " "))
	}
	for _, n := range l.Notes {
		s += "      note: " + n + "\n"
	}
	return s
}

// flag reads a flag that is there.
func flag[T string | bool | int64](c *cobra.Command, name string) (v T) {
	switch p := any(&v).(type) {
	case *string:
		*p, _ = c.Flags().GetString(name)
	case *bool:
		*p, _ = c.Flags().GetBool(name)
	case *int64:
		*p, _ = c.Flags().GetInt64(name)
	}
	return v
}
