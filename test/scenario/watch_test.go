package scenario

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/api"
	"vvsim/scsi"
	"vvsim/scsi/iscsi/host"
	"vvsim/scsi/iscsi/host/watch"
)

// watched are the lines of a watch with its second, those of devices, I/O and faults.
func (l *lab) watched(o watch.Options, rule string) (state host.DeviceState, lines []string, err error) {
	l.t.Helper()
	lun, err := scsi.ParseLUN(l.bind(l.create("disk", 8<<20), "esx1").LUN)
	require.NoError(l.t, err)
	o.LUN, o.Host = lun, host.Options{Session: l.options("esx1"), Portals: l.a.Ready().ISCSI, Settings: host.Defaults()}
	var f api.Fault
	if rule != "" {
		o.Break = func(context.Context) (string, error) {
			f = l.addFault(rule)
			return f.Rule, nil
		}
		o.Mend = func() error {
			l.removeFault(f)
			return nil
		}
	}
	tell := o.Tell
	o.Tell = func(since time.Duration, e host.Event) error {
		if e.Kind == host.DeviceChanged || e.Kind == watch.IO || e.Kind == watch.Fault {
			lines = append(lines, fmt.Sprintf("%d %s %s %s", int(since.Seconds()), e.Kind, e.State, e.ID))
		}
		if tell != nil {
			return tell(since, e)
		}
		return nil
	}
	state, err = watch.Run(l.ctx, o)
	require.Empty(l.t, call[[]api.Fault](l, "GET", "/api/v1/faults", nil, http.StatusOK), "what it broke is mended")
	return state, lines, err
}

// TestWatchLoss: a watch sees a device lost, removed, and found again after it has healed.
func TestWatchLoss(t *testing.T) {
	story(t, func(t *testing.T, l *lab) {
		began := time.Now()
		state, lines, err := l.watched(watch.Options{Scale: 10, Heal: 25 * time.Second, Time: time.Minute}, "lu vvol=disk -> pdl")
		require.NoError(t, err)
		require.Equal(t, host.On, state)
		require.Equal(t, []string{"0 device on ", "0 fault added ", "0 device degraded ", "0 device permanent-loss esx.problem.scsi.device.state.permanentloss",
			"0 io failing ", "10 device removed ", "25 fault removed ", "30 device on "}, lines)
		require.InDelta(t, 6, time.Since(began).Seconds(), 0.1, "a tenth of the host's minute")
	})
}

// TestWatchAPD: a watch ends as soon as the state is there that it waits for.
func TestWatchAPD(t *testing.T) {
	story(t, func(t *testing.T, l *lab) {
		state, lines, err := l.watched(watch.Options{Scale: 20, Until: host.APDTimeout}, "lu -> apd")
		require.NoError(t, err)
		require.Equal(t, host.APDTimeout, state)
		require.Equal(t, []string{"0 device on ", "0 fault added ", "8 io failing ", "18 device degraded ", "29 device apd esx.problem.storage.apd.start",
			"169 device apd-timeout esx.problem.storage.apd.timeout"}, lines)
	})
}

// TestWatchEnds: by its reader, who takes no more lines, and without a device.
func TestWatchEnds(t *testing.T) {
	errEnough := errors.New("enough")
	story(t, func(t *testing.T, l *lab) {
		_, _, err := l.watched(watch.Options{Scale: 1, Tell: func(_ time.Duration, e host.Event) error {
			if e.State == "failing" {
				return errEnough
			}
			return nil
		}}, "lu -> apd")
		require.ErrorIs(t, err, errEnough)
	})
	story(t, func(t *testing.T, l *lab) {
		f := l.addFault("lu -> pdl")
		o := watch.Options{Scale: 1, LUN: scsi.DiskLUN(3), Host: host.Options{Session: l.options("esx1"), Portals: l.a.Ready().ISCSI, Settings: host.Defaults()},
			Tell: func(time.Duration, host.Event) error { return nil }}
		_, err := watch.Run(l.ctx, o)
		require.ErrorIs(t, err, host.ErrNoDevice)
		require.Equal(t, "5/25/00", l.sense(err))
		l.removeFault(f)
	})
}
