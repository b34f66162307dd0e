package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"vvsim/api"
	"vvsim/scsi/iscsi/host"
	"vvsim/scsi/iscsi/host/watch"
)

const maxScale = 1000

const watchLong = `Show the states of the paths to a volume and of the device as a host sees them, a line per change, with the host's time.

A host of its own logs in to every portal and does what ESXi does, as far as public facts tell: it probes paths, reads a
block every 3 s, knows permanent device loss and all paths down with its 140 s. --scale lets its clock run faster; the
times of rules in the array are the wall's. With --fault it adds a rule when it has found the device, and removes it at the
end, or after --heal of the host's time.

It ends after --time, with --until as soon as the device is in that state, or by Ctrl-C. Exit code 0: the device is in the
state of --until, without it: the device works (on or degraded). 4: it is not so. 3: the volume was not found.`

func newIOWatch() *cobra.Command {
	c := &cobra.Command{Use: "watch (--vvol VVOL | --lun N)", Short: "Show path and device states as a host sees them, while faults come and go", Long: watchLong,
		Example: "  vvsim io watch --vvol disk1 --fault 'lu vvol=disk1 -> pdl' --until permanent-loss\n" +
			"  vvsim io watch --vvol disk1 --fault 'lu -> apd' --heal 300s --time 320s --scale 20",
		Args: usageArgs(cobra.NoArgs), RunE: func(c *cobra.Command, _ []string) error { return ioWatch(c) }}
	c.Flags().Float64("scale", 1, "how many times as fast as the wall the host's clock goes")
	c.Flags().Duration("time", 0, "how long, in the host's time; 0 for ever")
	c.Flags().String("until", "", "end as soon as the device is on, degraded, apd, apd-timeout, permanent-loss or removed")
	c.Flags().String("fault", "", "rule to add once the device is found, and to remove at the end")
	c.Flags().Duration("heal", 0, "remove the rule after so much of the host's time")
	c.Flags().Duration("apd-timeout", host.Defaults().APDTimeout, "Misc.APDTimeout of the host")
	c.Flags().Bool("json", false, "a JSON object per line")
	return sessionFlags(c)
}

// watchOptions are the flags of a watch.
type watchOptions struct {
	scale             float64
	time, heal, limit time.Duration
	until             host.DeviceState
	fault             string
	json              bool
}

func readWatchOptions(c *cobra.Command) (o watchOptions, err error) {
	f := c.Flags()
	var errs [5]error
	o.scale, errs[0] = f.GetFloat64("scale")
	o.time, errs[1] = f.GetDuration("time")
	o.heal, errs[2] = f.GetDuration("heal")
	o.limit, errs[3] = f.GetDuration("apd-timeout")
	o.json, errs[4] = f.GetBool("json")
	o.until, o.fault = host.DeviceState(c.Flag("until").Value.String()), c.Flag("fault").Value.String()
	states := []host.DeviceState{"", host.On, host.Degraded, host.APD, host.APDTimeout, host.PermanentLoss, host.Removed}
	switch {
	case errors.Join(errs[:]...) != nil:
		return o, errors.Join(errs[:]...)
	case o.scale <= 0 || o.scale > maxScale:
		err = fmt.Errorf("--scale: %v is not in 0-%d", o.scale, maxScale)
	case o.time < 0 || o.heal < 0:
		err = errors.New("--time, --heal: a negative time")
	case o.heal > 0 && o.fault == "":
		err = errors.New("--heal needs --fault")
	case !slices.Contains(states, o.until):
		err = fmt.Errorf("--until: %q is no state of a device; there are %v", o.until, states[1:])
	}
	if err != nil {
		return o, wrongUsage(c, err)
	}
	return o, nil
}

func ioWatch(c *cobra.Command) error {
	o, err := readWatchOptions(c)
	if err != nil {
		return err
	}
	session, portals, lun, err := findUnit(c)
	if err != nil {
		return err
	}
	pid := os.Getpid() // another watch, or another vvsim io, has sessions of its own
	session.ISID = [6]byte{0x00, 0x02, 0x3d, byte(pid >> 8), byte(pid), 0}
	w := watch.Options{Host: host.Options{Session: session, Portals: portals, Settings: host.Defaults()}, LUN: lun,
		Scale: o.scale, Time: o.time, Until: o.until, Heal: o.heal, Tell: tellLine(c, o.json)}
	w.Host.Settings.APDTimeout = o.limit
	if o.fault != "" {
		id := ""
		w.Break = func(ctx context.Context) (string, error) {
			f, err := call[api.Fault](ctx, http.MethodPost, "/faults", map[string]any{"rule": o.fault})
			id = f.ID
			return f.Rule, err
		}
		w.Mend = func() error {
			_, err := client().Do(context.WithoutCancel(c.Context()), http.MethodDelete, apiPath+"/faults/"+seg(id), nil)
			if api.NotFound(err) { // somebody else has healed it
				return nil
			}
			return err
		}
	}
	ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	state, err := watch.Run(ctx, w)
	switch {
	case errors.Is(err, host.ErrSettings):
		return wrongUsage(c, err)
	case err != nil:
		return err
	case o.until == "" && (state == host.On || state == host.Degraded), o.until != "" && state == o.until:
		return nil
	}
	return errCheckFailed
}

// tellLine prints events, each on its line.
func tellLine(c *cobra.Command, inJSON bool) func(time.Duration, host.Event) error {
	out := json.NewEncoder(c.OutOrStdout())
	out.SetEscapeHTML(false) // rules have arrows
	return func(since time.Duration, e host.Event) error {
		if inJSON {
			return out.Encode(e)
		}
		_, err := fmt.Fprintf(c.OutOrStdout(), "%8.1fs  %v\n", since.Seconds(), e)
		return err
	}
}
