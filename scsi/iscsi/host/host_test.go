package host

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/host/clock"
	"vvsim/scsi/iscsi/initiator"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What a host does with a real array: test/scenario.

func newTestHost(t *testing.T, portals int, edit func(*Settings)) (*Host, *[]Event) {
	told := &[]Event{}
	o := Options{Session: initiator.Options{TargetName: "iqn.2026-01.test:target", InitiatorName: "iqn.2026-01.test:host"}, Settings: Defaults(), Clock: clock.New(0),
		Events: func(e Event) { *told = append(*told, e) }}
	for i := range portals {
		o.Portals = append(o.Portals, fmt.Sprintf("10.0.0.%d", i+1))
	}
	if edit != nil {
		edit(&o.Settings)
	}
	h, err := New(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close(t.Context())) })
	return h, told
}

// allPathsDown is a device whose only path worked and has died.
func allPathsDown(h *Host) *Device {
	d := newDevice(h, scsi.DiskLUN(1), "naa.1")
	d.found = true
	h.mu.Lock()
	defer h.mu.Unlock()
	d.paths[0].set(Active, "")
	d.paths[0].set(Dead, "")
	return d
}

// TestVerdicts walks through combinations of path states.
func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		paths  []PathState
		extend bool
		before DeviceState
		want   DeviceState
	}{
		{[]PathState{Active, Active}, false, On, On},
		{[]PathState{Active, Unknown}, false, On, On},
		{[]PathState{Unknown, Unknown}, false, APD, APD},
		{[]PathState{Active, Dead}, false, On, Degraded},
		{[]PathState{Active, Lost}, false, APD, Degraded},
		{[]PathState{Active, Standby}, false, On, Degraded},
		{[]PathState{Dead, Dead}, false, On, APD},
		{[]PathState{Dead, Dead}, false, APDTimeout, APDTimeout},
		{[]PathState{Dead, Dead, Unknown}, false, Degraded, APD},
		{[]PathState{Lost, Dead}, false, Degraded, APD}, // APD first, PDL when the other says so, too
		{[]PathState{Lost, Dead}, false, APDTimeout, APDTimeout},
		{[]PathState{Lost, Lost}, false, APDTimeout, PermanentLoss},
		{[]PathState{Lost, Lost}, false, On, PermanentLoss},
		{[]PathState{Lost, Unknown}, false, On, PermanentLoss},
		{[]PathState{Unavailable, Unavailable}, false, On, Degraded},
		{[]PathState{Unavailable, Dead}, false, On, Degraded},
		{[]PathState{Unavailable, Dead}, true, On, APD},
		{[]PathState{Unavailable, Unavailable}, true, APDTimeout, APDTimeout},
		{[]PathState{Standby, Standby}, true, On, Degraded},
	} {
		h, _ := newTestHost(t, len(c.paths), func(s *Settings) { s.ExtendAPDCondition = c.extend })
		d := newDevice(h, scsi.DiskLUN(1), "naa.1")
		d.state = c.before
		for i, s := range c.paths {
			d.paths[i].state = s
		}
		require.Equal(t, c.want, d.verdict(), "%v after %s", c.paths, c.before)
	}
}

// TestDeviceLife follows a device through what paths tell of it, to the second.
func TestDeviceLife(t *testing.T) {
	h, told := newTestHost(t, 2, nil)
	d := newDevice(h, scsi.SubsidiaryLUN(scsi.SimpleLUN(256), 1), "naa.1")
	d.found = true
	h.devices = append(h.devices, d)
	began := h.clock.Now()
	set := func(path int, s PathState) {
		h.mu.Lock()
		defer h.mu.Unlock()
		d.paths[path].set(s, "because")
	}
	pass := func(seconds int) { h.clock.Step(time.Duration(seconds) * time.Second) }
	set(0, Active)
	set(1, Active)
	set(0, Dead)
	pass(1)
	set(1, Dead) // APD begins
	pass(139)
	set(1, Active) // and ends before its time
	pass(100)
	set(1, Dead)
	pass(140)
	require.Equal(t, APDTimeout, d.State())
	pass(10)
	set(0, Lost)
	set(1, Lost) // the silent path is back, and says that the device is gone
	pass(9)
	require.Equal(t, PermanentLoss, d.State())
	set(0, Active)
	require.Equal(t, PermanentLoss, d.State(), "for good")
	pass(1)
	require.Equal(t, Removed, d.State())
	require.Empty(t, h.Devices())

	var lines []string
	for _, e := range *told {
		lines = append(lines, fmt.Sprintf("%d %v", int(e.Time.Sub(began).Seconds()), e))
	}
	require.Equal(t, []string{
		"0 path vmhba64:C0:T0:L256: unknown -> active (because)",
		"0 path vmhba64:C1:T0:L256: unknown -> active (because)",
		"0 path vmhba64:C0:T0:L256: active -> dead (because) esx.problem.storage.redundancy.lost",
		"0 device naa.1: on -> degraded (because)",
		"1 path vmhba64:C1:T0:L256: active -> dead (because) esx.problem.storage.connectivity.lost",
		"1 device naa.1: degraded -> apd (because) esx.problem.storage.apd.start",
		"140 path vmhba64:C1:T0:L256: dead -> active (because)",
		"140 device naa.1: apd -> degraded (because) esx.clear.storage.apd.exit",
		"240 path vmhba64:C1:T0:L256: active -> dead (because) esx.problem.storage.connectivity.lost",
		"240 device naa.1: degraded -> apd (because) esx.problem.storage.apd.start",
		"380 device naa.1: apd -> apd-timeout (2m20s) esx.problem.storage.apd.timeout",
		"390 path vmhba64:C0:T0:L256: dead -> lost (because) esx.problem.storage.connectivity.lost",
		"390 path vmhba64:C1:T0:L256: dead -> lost (because) esx.problem.storage.connectivity.lost",
		"390 device naa.1: apd-timeout -> permanent-loss (because) esx.clear.storage.apd.exit",
		"390 device naa.1: apd-timeout -> permanent-loss (because) esx.problem.scsi.device.state.permanentloss",
		"399 path vmhba64:C0:T0:L256: lost -> active (because)",
		"400 device naa.1: permanent-loss -> removed (nobody has it open)",
	}, lines)
}

// TestHandling switches off what settings switch off.
func TestHandling(t *testing.T) {
	h, _ := newTestHost(t, 1, func(s *Settings) { s.APDHandling, s.AutoRemove = false, false })
	d := allPathsDown(h)
	h.clock.Step(24 * time.Hour)
	require.Equal(t, APD, d.State(), "Misc.APDHandlingEnable=0")
	handle, err := d.Open(ByHost)
	require.NoError(t, err)
	h.mu.Lock()
	d.paths[0].set(Lost, "")
	h.mu.Unlock()
	_, err = d.Open(ByHost)
	require.ErrorIs(t, err, errLost)
	_, err = handle.Execute(t.Context(), initiator.Command{CDB: make([]byte, 6)})
	require.EqualError(t, err, "H:0x1 D:0x0 P:0x0: permanent loss")
	h.clock.Step(time.Hour)
	handle.Close()
	handle.Close()
	require.Equal(t, PermanentLoss, d.State(), "Disk.AutoremoveOnPDL=0")
}

// TestWhoFailsInAPD shows whose I/O fails at the time-out.
func TestWhoFailsInAPD(t *testing.T) {
	for _, c := range []struct {
		use         Use
		fail, fails bool
	}{{ByHost, false, true}, {ByGuest, false, false}, {ByGuest, true, true}} {
		h, _ := newTestHost(t, 1, func(s *Settings) { s.FailGuestIO = c.fail })
		d := allPathsDown(h)
		h.clock.Step(140 * time.Second)
		handle, err := d.Open(c.use)
		require.NoError(t, err)
		errGaveUp := errors.New("gave up")
		ctx, cancel := h.clock.WithTimeout(t.Context(), time.Second, errGaveUp)
		done := make(chan error, 1)
		go func() {
			_, err := handle.Execute(ctx, initiator.Command{CDB: make([]byte, 6)})
			done <- err
		}()
		if !c.fails {
			h.clock.Step(time.Second)
			require.ErrorIs(t, <-done, errGaveUp)
		} else {
			require.ErrorIs(t, <-done, ErrAllPathsDown)
		}
		cancel()
	}
}

// TestSettings refuses what cannot be.
func TestSettings(t *testing.T) {
	for name, edit := range map[string]func(*Options){
		"APDTimeout 19s, at least 20s": func(o *Options) { o.Settings.APDTimeout = 19 * time.Second },
		"PathEvalTime 0s":              func(o *Options) { o.Settings.PathEvalTime = 0 },
		"0 aborts":                     func(o *Options) { o.Settings.AbortTries = 0 },
		"0 portals, up to 32":          func(o *Options) { o.Portals = nil },
		"no target name":               func(o *Options) { o.Session.TargetName = "" },
	} {
		o := Options{Session: initiator.Options{TargetName: "t", InitiatorName: "i"}, Portals: []string{"10.0.0.1"}, Settings: Defaults()}
		edit(&o)
		_, err := New(o)
		require.ErrorContains(t, err, name)
	}
	h, _ := newTestHost(t, 1, nil)
	require.NoError(t, h.Close(t.Context()))
	require.ErrorIs(t, h.Connect(t.Context()), ErrClosed)
}

// What goes at one instant goes in the order in which it came, each at a time of its own, and
// waits no longer than its context.
func TestApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := New(Options{Session: initiator.Options{TargetName: "iqn.2026-01.test:target", InitiatorName: "iqn.2026-01.test:host"},
			Settings: Defaults(), Portals: []string{"10.0.0.1"}, Apart: time.Minute})
		require.NoError(t, err)
		began := time.Now()
		d := newDevice(h, scsi.DiskLUN(1), "naa.1")
		turns := []turn{d.paths[0].turn, newDevice(h, scsi.DiskLUN(2), "naa.2").paths[0].turn, d.turn(), d.turn()}
		at := make([]time.Duration, len(turns))
		var wait sync.WaitGroup
		for i := range turns {
			wait.Go(func() {
				h.apart(t.Context(), turns[i])
				at[i] = time.Since(began)
			})
		}
		wait.Wait()
		require.Equal(t, []time.Duration{2 * time.Minute, 4 * time.Minute, 3 * time.Minute, 5 * time.Minute}, at)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		h.apart(ctx, 100)
		h.apart(t.Context(), 0)
		require.Equal(t, 5*time.Minute+time.Second, time.Since(began))
		require.NoError(t, h.Close(t.Context()))
	})
}
