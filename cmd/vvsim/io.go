package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"vvsim/api"
	"vvsim/scsi"
	"vvsim/scsi/iscsi/initiator"
)

const (
	defaultInitiator = "iqn.2026-11.dev.vvsim:io" // name that vvsim io logs in with
	defaultPortal    = "127.0.0.1:3260"
	ioPiece          = 1 << 20 // bytes that one step of a long transfer moves
	maxIOSessions    = 64
)

func newIO() *cobra.Command {
	read := ioCommand("read", "Copy bytes of a volume to a file or standard output", oneUnit(ioRead))
	write := ioCommand("write", "Copy a file or standard input to a volume", oneUnit(ioWrite))
	verify := ioCommand("verify", "Compare a volume with a file or standard input; exit 4 when they differ", oneUnit(ioVerify))
	for _, c := range []*cobra.Command{read, write, verify} {
		c.Flags().String("file", "-", "file, - for standard input or output")
		c.Flags().String("offset", "0", "where in the volume to begin")
		c.Flags().String("length", "", "how much; to the end of the volume or file when not given")
	}
	write.Flags().Bool("fua", false, "each write on stable storage before it is answered")
	bench := ioCommand("bench", "Measure a volume; writes destroy what is there", ioBench)
	bench.Flags().Int("sessions", 1, "iSCSI sessions, over the portals in turn; each has its own queue")
	bench.Flags().Int("depth", 32, "commands in flight of each session")
	bench.Flags().String("block", "4KiB", "size of one operation")
	bench.Flags().Int("reads", 100, "percentage of reads")
	bench.Flags().Bool("sequential", false, "one after the other instead of at random")
	bench.Flags().Duration("time", 5*time.Second, "how long")
	bench.Flags().Int("flush-every", 0, "SYNCHRONIZE CACHE after so many writes")
	bench.Flags().Bool("fua", false, "writes with FUA")
	bench.Flags().Bool("verify", false, "stamp what is written and compare what is read")
	return noun("io", "Read and write through a real iSCSI session", read, write, verify, bench, newIOWatch())
}

// ioRun works on the logical unit as each session sees it.
type ioRun func(c *cobra.Command, units []*initiator.Unit) error

func oneUnit(run func(*cobra.Command, *initiator.Unit) error) ioRun {
	return func(c *cobra.Command, units []*initiator.Unit) error { return run(c, units[0]) }
}

func ioCommand(verb, short string, run ioRun) *cobra.Command {
	c := &cobra.Command{Use: verb + " (--vvol VVOL | --lun N)", Short: short, Args: usageArgs(cobra.NoArgs),
		Long: short + ".\n\nSecrets are taken from VVSIM_ISCSI_CHAP_SECRET and VVSIM_ISCSI_MUTUAL_SECRET. A volume that is bound for this stays bound.",
		RunE: func(c *cobra.Command, _ []string) error {
			units, closeSessions, err := openUnits(c)
			if err != nil {
				return err
			}
			return errors.Join(run(c, units), closeSessions())
		}}
	return sessionFlags(c)
}

// sessionFlags say which logical unit, and how to log in.
func sessionFlags(c *cobra.Command) *cobra.Command {
	c.Flags().String("vvol", "", "volume, by id or unique name: bound when needed and reached by its subsidiary LUN")
	c.Flags().Int("lun", -1, "flat LUN")
	c.Flags().StringSlice("portal", nil, "address of a portal, repeatable (default: those of VVSIM_ISCSI, or "+defaultPortal+")")
	c.Flags().String("target", "", "target name (default: VVSIM_IQN, or what the portal reports)")
	c.Flags().String("initiator", defaultInitiator, "name to log in with")
	c.Flags().String("chap-user", "", "CHAP name of the initiator")
	c.Flags().String("mutual-user", "", "CHAP name that the target has to prove")
	return c
}

// openUnits logs in and finds the logical unit that the flags name, once for each
// session.
func openUnits(c *cobra.Command) (units []*initiator.Unit, closeAll func() error, err error) {
	ctx := c.Context()
	o, portals, lun, err := findUnit(c)
	if err != nil {
		return nil, nil, err
	}
	var sessions []*initiator.Session
	closeAll = func() error {
		var errs []error
		for _, s := range sessions {
			errs = append(errs, s.Logout(context.WithoutCancel(ctx)), s.Close())
		}
		return errors.Join(errs...)
	}
	for i := range sessionCount(c) {
		o.Address = portals[i%len(portals)]
		o.ISID = [6]byte{0x00, 0x02, 0x3d, 0, 0, byte(i + 1)} // as ESXi counts them (scsi.md 4.2)
		s, err := initiator.Dial(ctx, o)
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("portal %s: %w", o.Address, err), closeAll())
		}
		sessions = append(sessions, s)
		u := s.Unit(lun)
		if _, err := u.ClearAttentions(ctx); err != nil {
			return nil, nil, errors.Join(err, closeAll())
		}
		units = append(units, u)
	}
	return units, closeAll, nil
}

// findUnit tells where the logical unit is that the flags name, binding the volume when
// that is needed.
func findUnit(c *cobra.Command) (o initiator.Options, portals []string, lun scsi.LUN, err error) {
	if o, portals, err = sessionOptions(c); err != nil {
		return o, nil, lun, err
	}
	if lun, err = chooseLUN(c); err != nil {
		return o, nil, lun, err
	}
	if o.TargetName == "" {
		o.TargetName, err = targetName(c.Context(), o)
	}
	return o, portals, lun, err
}

// sessionCount is --sessions where a command has it.
func sessionCount(c *cobra.Command) int {
	if n, err := c.Flags().GetInt("sessions"); err == nil {
		return n
	}
	return 1
}

// sessionOptions reads the flags and variables that say how to log in.
func sessionOptions(c *cobra.Command) (o initiator.Options, portals []string, err error) {
	if n := sessionCount(c); n < 1 || n > maxIOSessions {
		return o, nil, wrongUsage(c, fmt.Errorf("--sessions: %d is not in 1-%d", n, maxIOSessions))
	}
	if portals, err = c.Flags().GetStringSlice("portal"); err != nil {
		return o, nil, err
	}
	if list := os.Getenv("VVSIM_ISCSI"); len(portals) == 0 && list != "" {
		portals = strings.Split(list, ",")
	}
	if len(portals) == 0 {
		portals = []string{defaultPortal}
	}
	o = initiator.Options{Address: portals[0], TargetName: c.Flag("target").Value.String(), InitiatorName: c.Flag("initiator").Value.String(),
		ObeyLogout: true} // an array that stops need not wait for us
	if o.TargetName == "" {
		o.TargetName = os.Getenv("VVSIM_IQN")
	}
	if user := c.Flag("chap-user").Value.String(); user != "" {
		o.CHAP = &initiator.CHAP{User: user, Secret: []byte(os.Getenv("VVSIM_ISCSI_CHAP_SECRET"))}
	}
	if user := c.Flag("mutual-user").Value.String(); user != "" {
		if o.CHAP == nil {
			return o, nil, wrongUsage(c, errors.New("--mutual-user needs --chap-user"))
		}
		o.MutualCHAP = &initiator.CHAP{User: user, Secret: []byte(os.Getenv("VVSIM_ISCSI_MUTUAL_SECRET"))}
	}
	return o, portals, nil
}

// targetName asks a portal for its target. Discovery has CHAP of its own, so that
// the credentials of the session are not used.
func targetName(ctx context.Context, o initiator.Options) (string, error) {
	found, err := initiator.Discover(ctx, initiator.Options{Address: o.Address, InitiatorName: o.InitiatorName, Discovery: true})
	if err != nil {
		return "", fmt.Errorf("discovery at %s (--target or VVSIM_IQN spares it): %w", o.Address, err)
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%s reports %d targets; --target says which", o.Address, len(found))
	}
	return found[0].Name, nil
}

// chooseLUN is the flat LUN, or that of the volume's binding.
func chooseLUN(c *cobra.Command) (lun scsi.LUN, err error) {
	ref := c.Flag("vvol").Value.String()
	n, err := c.Flags().GetInt("lun")
	switch {
	case err != nil:
		return lun, err
	case (ref == "") == (n < 0):
		return lun, wrongUsage(c, errors.New("one of --vvol and --lun is needed"))
	case ref == "" && n > scsi.MaxSimpleLUN:
		return lun, wrongUsage(c, fmt.Errorf("--lun: %d is above %d", n, scsi.MaxSimpleLUN))
	case ref == "":
		return scsi.DiskLUN(uint16(n)), nil
	}
	b, err := call[api.Binding](c.Context(), http.MethodPost, "/bindings",
		map[string]any{"vvol": ref, "initiator": c.Flag("initiator").Value.String()})
	if err != nil {
		return lun, err
	}
	return scsi.ParseLUN(b.LUN)
}
