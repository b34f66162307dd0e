package scenario

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/api"
	"vvsim/fault/codes"
	"vvsim/scsi"
	"vvsim/scsi/iscsi/host"
	"vvsim/scsi/iscsi/host/clock"
	"vvsim/scsi/iscsi/initiator"
	"vvsim/test/network"
)

// Stories of what a host survives. Array, network and host are in a bubble, in which time
// passes when nothing else does: two minutes take none, and everything happens at its time.

// story runs f on an array with two portals.
func story(t *testing.T, f func(t *testing.T, l *lab)) {
	synctest.Test(t, func(t *testing.T) { f(t, newLabOn(network.New(), t, ":memory:", nil)) })
}

// esx is a host with a session to each portal, and what it has told.
type esx struct {
	*host.Host
	l     *lab
	name  string
	began time.Time

	mu   sync.Mutex
	told []host.Event
}

func (l *lab) esx(name string, edit func(*host.Options)) *esx {
	l.t.Helper()
	x := &esx{l: l, name: name, began: time.Now()}
	o := host.Options{Session: l.options(name), Portals: l.a.Ready().ISCSI, Settings: host.Defaults(), Events: x.hear}
	if edit != nil {
		edit(&o)
	}
	h, err := host.New(o)
	require.NoError(l.t, err)
	x.Host = h
	l.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(l.t, h.Close(ctx))
	})
	require.NoError(l.t, h.Connect(l.ctx))
	return x
}

func (x *esx) hear(e host.Event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.told = append(x.told, e)
}

// disk is a volume that a host has open.
type disk struct {
	*host.Device
	x      *esx
	handle *host.Handle
	unit   *initiator.Unit
}

// open binds a volume and opens it.
func (x *esx) open(v api.VVol, use host.Use) *disk {
	x.l.t.Helper()
	lun, err := scsi.ParseLUN(x.l.bind(v, x.name).LUN)
	require.NoError(x.l.t, err)
	d, err := x.Attach(x.l.ctx, lun)
	require.NoError(x.l.t, err)
	h, err := d.Open(use)
	require.NoError(x.l.t, err)
	return &disk{Device: d, x: x, handle: h, unit: h.Unit()}
}

// pair is two volumes that guests have open, with a content: the victim of what comes, with its
// disk, and its sister.
func (x *esx) pair(content []byte) (v api.VVol, victim, sister *disk) {
	x.l.t.Helper()
	v = x.l.create("victim", 8<<20)
	victim, sister = x.open(v, host.ByGuest), x.open(x.l.create("sister", 8<<20), host.ByGuest)
	x.l.write(victim.unit, 0, content)
	x.l.write(sister.unit, 0, content)
	return v, victim, sister
}

// history is what became of a device, since when the host was made: "40s apd".
func (d *disk) history() (all []string) {
	d.x.mu.Lock()
	defer d.x.mu.Unlock()
	for _, e := range d.x.told {
		if e.Kind == host.DeviceChanged && e.Device == d.Name() {
			all = append(all, e.Time.Sub(d.x.began).Round(time.Second).String()+" "+e.State)
		}
	}
	return all
}

// paths are the states of the paths of portals 1 and 2.
func (d *disk) paths() (all []host.PathState) {
	for _, p := range d.Info().Paths {
		all = append(all, p.State)
	}
	return all
}

// later runs something beside the story and hands over how it ended.
func (d *disk) later(f func(u *initiator.Unit) error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f(d.unit) }()
	return done
}

func (d *disk) write(off int64, p []byte) <-chan error {
	return d.later(func(u *initiator.Unit) error {
		_, err := u.WriteAt(d.x.l.ctx, p, off, false)
		return err
	})
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// TestLossOfOneVVol: the array says that a volume is gone for good. Its sister, its
// snapshot and its protocol endpoint know nothing of it. The administrator closes what had
// it open, unbinds and deletes it, and goes on with a clone of the snapshot.
func TestLossOfOneVVol(t *testing.T) {
	story(t, func(t *testing.T, l *lab) {
		x := l.esx("esx1", nil)
		content := random(1, 64<<10)
		v, victim, sister := x.pair(content)
		s := call[api.VVol](l, "POST", "/api/v1/vvols/"+v.ID+"/snapshot", map[string]any{"name": "before"}, http.StatusCreated)
		snapshot := x.open(s, host.ByHost)
		require.Equal(t, []host.PathState{host.Active, host.Active}, victim.paths())

		l.addFault("lu vvol=victim -> pdl")
		_, err := victim.unit.WriteAt(l.ctx, content, 0, false)
		require.Equal(t, "5/25/00", l.sense(err))
		require.Equal(t, []host.PathState{host.Lost, host.Lost}, victim.paths())
		require.Equal(t, []string{"0s on", "0s degraded", "0s permanent-loss"}, victim.history())
		l.holds(sister.unit, 0, content)
		l.write(sister.unit, 0, content)
		l.holds(snapshot.unit, 0, content)
		require.Equal(t, []host.PathState{host.Active, host.Active}, sister.paths())

		pass(10 * time.Minute)
		hits := call[[]api.Fault](l, "GET", "/api/v1/faults", nil, 0)[0].Hits
		_, err = victim.unit.ReadAt(l.ctx, make([]byte, 512), 0)
		require.Equal(t, "5/25/00", l.sense(err))
		require.Equal(t, hits, call[[]api.Fault](l, "GET", "/api/v1/faults", nil, 0)[0].Hits, "nothing is sent to what is lost")
		require.Equal(t, host.PermanentLoss, victim.State(), "it is open")
		victim.handle.Close()
		require.Equal(t, host.Removed, victim.State())
		require.Len(t, x.Devices(), 2)

		unbindAll(l, v.ID)
		call[any](l, "DELETE", "/api/v1/faults", nil, http.StatusNoContent)
		c := call[api.VVol](l, "POST", "/api/v1/vvols/"+s.ID+"/fast-clone", map[string]any{"name": "victim2"}, http.StatusCreated)
		call[any](l, "DELETE", "/api/v1/vvols/"+v.ID, nil, http.StatusNoContent)
		clone := x.open(c, host.ByGuest)
		require.NotEqual(t, victim.Name(), clone.Name())
		l.holds(clone.unit, 0, content)
		l.write(clone.unit, 0, random(2, 64<<10))
		l.holds(snapshot.unit, 0, content)
		l.holds(sister.unit, 0, content)
		require.Equal(t, []string{"0s on"}, sister.history())
		require.Equal(t, []string{"0s on"}, snapshot.history())
	})
}

// TestAllPathsDown141: nothing is answered on any path for longer than a host waits. Writes
// of guests are in flight all the time; they end when the array is back, each done once.
// Those of the host itself fail at the time-out, and are not done later.
func TestAllPathsDown141(t *testing.T) {
	story(t, func(t *testing.T, l *lab) {
		v, w := l.create("disk1", 8<<20), l.create("disk2", 8<<20)
		x := l.esx("esx1", nil)
		guest, own := x.open(v, host.ByGuest), x.open(w, host.ByHost)
		before, after := random(1, 64<<10), random(2, 64<<10)
		l.write(guest.unit, 0, before)
		l.write(own.unit, 0, before)

		f := l.addFault("lu host=" + iqn("esx1") + " -> apd")
		var ofGuest, ofHost []<-chan error
		for i := range 16 {
			at := i * 4096
			ofGuest = append(ofGuest, guest.write(int64(at), after[at:at+4096]))
			ofHost = append(ofHost, own.write(int64(at), after[at:at+4096]))
		}
		// On each path a command has to time out (30 s), and TEST UNIT READY after it (10 s);
		// the second command sets out on the other path when the first has ended.
		pass(2 * time.Minute)
		require.Equal(t, []string{"0s on", "40s degraded", "1m10s apd"}, guest.history())
		require.Equal(t, []host.PathState{host.Dead, host.Dead}, guest.paths())
		pass(89 * time.Second)
		require.Equal(t, host.APD, own.State())
		require.Equal(t, 0, ended(ofHost))
		pass(time.Second)
		require.Equal(t, []string{"0s on", "40s degraded", "1m10s apd", "3m30s apd-timeout"}, own.history())
		for _, done := range ofHost {
			require.ErrorIs(t, <-done, host.ErrAllPathsDown)
		}
		began := time.Now()
		_, err := own.unit.ReadAt(l.ctx, before, 0)
		require.ErrorContains(t, err, "H:0x1 D:0x0 P:0x0: all paths down for more than 2m20s")
		require.Equal(t, began, time.Now(), "it fails at once")
		require.Equal(t, 0, ended(ofGuest))

		pass(time.Second)
		l.removeFault(f) // after 141 s of APD
		for _, done := range ofGuest {
			require.NoError(t, <-done)
		}
		require.LessOrEqual(t, time.Since(began), 6*time.Second, "waiting commands have the host look soon")
		pass(time.Millisecond) // what was held goes on one after the other; and it looks at the other path, too
		require.Equal(t, host.On, guest.State())
		l.holds(guest.unit, 0, after)
		l.holds(own.unit, 0, before)
		require.Equal(t, []host.PathState{host.Active, host.Active}, own.paths())
		l.write(guest.unit, 0, before)
		pass(10 * time.Minute)
		l.holds(guest.unit, 0, before)
		l.holds(own.unit, 0, before)
	})
}

// TestNobodyWaits: a device that went down with another, and that nobody waits for, is back with
// it, and not only at the next evaluation of paths.
func TestNobodyWaits(t *testing.T) {
	story(t, func(t *testing.T, l *lab) {
		x := l.esx("esx1", nil)
		busy, idle := x.open(l.create("busy", 8<<20), host.ByGuest), x.open(l.create("idle", 8<<20), host.ByHost)
		f := l.addFault("lu host=" + iqn("esx1") + " -> apd")
		done := busy.write(0, random(1, 4096))
		pass(6 * time.Minute)
		require.Equal(t, []string{"0s on", "5m10s degraded", "5m10s apd"}, idle.history(), "the evaluation has seen it")
		l.removeFault(f)
		require.NoError(t, <-done)
		pass(time.Millisecond)
		require.Equal(t, []host.PathState{host.Active, host.Active}, busy.paths())
		require.Equal(t, []host.PathState{host.Active, host.Active}, idle.paths())
		require.Equal(t, host.On, idle.State())
	})
}

// ended counts what has ended, and takes it.
func ended(all []<-chan error) (n int) {
	for _, done := range all {
		if len(done) > 0 {
			n++
		}
	}
	return n
}

// TestLossOnOnePath: one portal says that the volume is gone, the other has it. I/O goes on
// there, and the path comes back at the next evaluation after the array has healed.
func TestLossOnOnePath(t *testing.T) {
	for _, sense := range []string{"pdl", "sense 04/4C/00", "sense 04/3E/01", "sense 04/3E/03"} {
		story(t, func(t *testing.T, l *lab) {
			x := l.esx("esx1", nil)
			d := x.open(l.create("victim", 8<<20), host.ByHost)
			content := random(1, 64<<10)
			f := l.addFault("lu vvol=victim portal=1 -> " + sense)
			l.write(d.unit, 0, content)
			l.holds(d.unit, 0, content)
			require.Equal(t, []host.PathState{host.Lost, host.Active}, d.paths())
			require.Equal(t, []string{"0s on", "0s degraded"}, d.history())
			pass(10 * time.Minute)
			require.Equal(t, []host.PathState{host.Lost, host.Active}, d.paths())
			l.removeFault(f)
			pass(5 * time.Minute)
			require.Equal(t, []host.PathState{host.Active, host.Active}, d.paths())
			require.Equal(t, []string{"0s on", "0s degraded", "15m0s on"}, d.history())
			l.holds(d.unit, 0, content)
		})
	}
}

// TestFlap: all paths are silent again and again, for less than a host waits. Nobody fails,
// and nothing is lost.
func TestFlap(t *testing.T) {
	story(t, func(t *testing.T, l *lab) {
		x := l.esx("esx1", nil)
		d := x.open(l.create("disk", 8<<20), host.ByHost)
		for i := range 3 {
			content := random(uint64(i), 64<<10)
			l.addFault("lu host=" + iqn("esx1") + " for=150s -> apd")
			done := d.write(0, content)
			pass(149 * time.Second)
			require.Equal(t, host.APD, d.State(), "for 79 s")
			require.Empty(t, done)
			require.NoError(t, <-done)
			pass(time.Minute)
			l.holds(d.unit, 0, content)
			require.Equal(t, host.On, d.State())
		}
		for _, h := range d.history() {
			require.NotContains(t, h, "apd-timeout")
		}
	})
}

// TestClockOfItsOwn: the host's clock stands still while the array's goes on. Stepped, it
// is at the time-out to the second.
func TestClockOfItsOwn(t *testing.T) {
	story(t, func(t *testing.T, l *lab) {
		c := clock.New(0)
		x := l.esx("esx1", func(o *host.Options) { o.Clock = c })
		d := x.open(l.create("disk", 8<<20), host.ByHost)
		f := l.addFault("lu host=" + iqn("esx1") + " -> apd")
		content := random(1, 4096)
		first := d.write(0, content)
		step := func(d time.Duration) {
			for ; d > 0; d -= time.Second { // what a moment starts, such as a ping, has its answer before the next
				c.Step(time.Second)
				synctest.Wait()
			}
		}
		pass(time.Hour)
		require.Equal(t, host.On, d.State(), "no time has passed")
		step(69 * time.Second) // 30 for a command on each path, and 10 for the probe after the second
		require.Equal(t, host.Degraded, d.State())
		step(time.Second)
		require.Equal(t, host.APD, d.State())
		step(139 * time.Second)
		require.Equal(t, host.APD, d.State())
		require.Empty(t, first)
		step(time.Second)
		require.Equal(t, host.APDTimeout, d.State())
		require.ErrorIs(t, <-first, host.ErrAllPathsDown)
		l.removeFault(f)
		step(5 * time.Minute) // Disk.PathEvalTime: nobody waits
		require.Equal(t, host.On, d.State())
		l.write(d.unit, 0, content)
	})
}

// TestSilentVolume: one volume is silent, its protocol endpoint is not. That is no APD: the
// paths are those of the endpoint. Commands are aborted and go to the other path, and back.
func TestSilentVolume(t *testing.T) {
	story(t, func(t *testing.T, l *lab) {
		x := l.esx("esx1", nil)
		d := x.open(l.create("victim", 8<<20), host.ByHost)
		f := l.addFault("lu vvol=victim -> apd")
		content := random(1, 4096)
		done := d.write(0, content)
		pass(10 * time.Minute)
		require.Empty(t, done)
		require.Equal(t, []string{"0s on"}, d.history())
		require.Equal(t, []host.PathState{host.Active, host.Active}, d.paths())
		l.removeFault(f)
		require.NoError(t, <-done)
		l.holds(d.unit, 0, content)
	})
}

// TestUnavailable: by ALUA. A host learns of all groups from any path; when none is
// available I/O waits, and only Scsi.ExtendAPDCondition makes an APD of it.
func TestUnavailable(t *testing.T) {
	for _, extend := range []bool{false, true} {
		story(t, func(t *testing.T, l *lab) {
			x := l.esx("esx1", func(o *host.Options) { o.Settings.ExtendAPDCondition = extend })
			d := x.open(l.create("victim", 8<<20), host.ByHost)
			content := random(1, 4096)
			f := l.addFault("lu portal=2 -> unavailable")
			pass(5 * time.Minute) // Disk.PathEvalTime
			require.Equal(t, []host.PathState{host.Active, host.Unavailable}, d.paths())
			l.write(d.unit, 0, content)
			g := l.addFault("lu portal=1 -> unavailable")
			done := d.write(0, content)
			pass(10 * time.Minute)
			require.Equal(t, []host.PathState{host.Unavailable, host.Unavailable}, d.paths())
			if extend {
				require.ErrorIs(t, <-done, host.ErrAllPathsDown)
				require.Equal(t, host.APDTimeout, d.State())
			} else {
				require.Empty(t, done)
				require.Equal(t, host.Degraded, d.State())
			}
			l.removeFault(f)
			l.removeFault(g)
			if !extend {
				require.NoError(t, <-done)
			}
			pass(10 * time.Minute)
			require.Equal(t, host.On, d.State())
			l.holds(d.unit, 0, content)
		})
	}
}

// TestUnavailableVolume: one volume alone is unavailable, on one path and on all, which its
// protocol endpoint does not know.
func TestUnavailableVolume(t *testing.T) {
	story(t, func(t *testing.T, l *lab) {
		x := l.esx("esx1", nil)
		d, sister := x.open(l.create("victim", 8<<20), host.ByHost), x.open(l.create("sister", 8<<20), host.ByHost)
		content := random(1, 4096)
		l.addFault("lu vvol=victim portal=1 -> unavailable")
		l.write(d.unit, 0, content)
		require.Equal(t, []host.PathState{host.Unavailable, host.Active}, d.paths())
		l.addFault("lu vvol=victim -> unavailable")
		done := d.write(0, content)
		pass(10 * time.Minute)
		require.Empty(t, done)
		require.Equal(t, []host.PathState{host.Unavailable, host.Unavailable}, d.paths())
		l.write(sister.unit, 0, content)
		require.Equal(t, []host.PathState{host.Active, host.Active}, sister.paths())
		call[any](l, "DELETE", "/api/v1/faults", nil, http.StatusNoContent)
		require.NoError(t, <-done)
		pass(5 * time.Minute)
		require.Equal(t, host.On, d.State())
	})
}

// dropSessions ends all sessions of all hosts.
func (l *lab) dropSessions() {
	for _, s := range call[[]api.Session](l, "GET", "/api/v1/sessions", nil, 0) {
		call[any](l, "DELETE", "/api/v1/sessions/"+s.ID, nil, http.StatusNoContent)
	}
	synctest.Wait()
}

// TestSessionsComeBack: the array ends all sessions. The host logs in again within the time
// that commands wait for it, and nobody notices.
func TestSessionsComeBack(t *testing.T) {
	story(t, func(t *testing.T, l *lab) {
		x := l.esx("esx1", nil)
		d := x.open(l.create("disk", 8<<20), host.ByHost)
		content := random(1, 4096)
		began := time.Now()
		l.dropSessions()
		l.write(d.unit, 0, content)
		require.LessOrEqual(t, time.Since(began), 5*time.Second)
		l.holds(d.unit, 0, content)
		require.Equal(t, []string{"0s on"}, d.history())
		require.Equal(t, []host.PathState{host.Active, host.Active}, d.paths())
	})
}

// TestRefusedSessions: the array ends all sessions and refuses the next ones. With "target
// not found" or "target removed" that is a permanent loss, and the host does not try again;
// with any other status it is all paths down, until a login is taken.
func TestRefusedSessions(t *testing.T) {
	for status, lost := range map[string]bool{"0x0203": true, "0x0204": true, "0x0202": false, "0x0301": false} {
		story(t, func(t *testing.T, l *lab) {
			x := l.esx("esx1", nil)
			v := l.create("disk", 8<<20)
			d := x.open(v, host.ByHost)
			content := random(1, 4096)
			l.write(d.unit, 0, content)
			f := l.addFault("login host=" + iqn("esx1") + " -> reject " + status)
			l.dropSessions()
			pass(time.Minute)
			hits := l.hits(f)
			if !lost {
				require.Equal(t, host.APD, d.State(), status)
				l.removeFault(f)
				pass(2 * time.Second)
				require.Equal(t, host.On, d.State())
				l.holds(d.unit, 0, content)
				return
			}
			require.Equal(t, host.PermanentLoss, d.State())
			pass(time.Hour)
			require.Equal(t, hits, l.hits(f), "it does not try again")
			_, err := d.unit.ReadAt(l.ctx, content, 0)
			require.ErrorContains(t, err, "H:0x1")
			d.handle.Close()
			l.removeFault(f)
			x.Rescan()
			pass(time.Second)
			require.Equal(t, host.Removed, d.State())
			l.holds(x.open(v, host.ByHost).unit, 0, content)
		})
	}
}

// TestSameLosses: what a host takes as a permanent loss is what `vvsim explain` says of it.
func TestSameLosses(t *testing.T) {
	var said, taken []string
	for _, e := range codes.Table() {
		lost := strings.Contains(e.ESXi, "ermanent device loss") || strings.Contains(e.ESXi, "Target Unavailable")
		if lost && (e.Kind == codes.Sense || e.Kind == codes.Login) {
			said = append(said, e.Code)
		}
	}
	s := host.Defaults()
	for _, l := range s.Losses {
		taken = append(taken, codes.SenseCode(l))
	}
	for _, l := range s.LossLogins {
		taken = append(taken, fmt.Sprintf("0x%04x", uint16(l)))
	}
	require.ElementsMatch(t, said, taken)
}

// TestReplaced: behind the LUN that a host knows there is another volume all of a sudden: the
// identity of a device changed, which is a loss.
func TestReplaced(t *testing.T) {
	story(t, func(t *testing.T, l *lab) {
		x := l.esx("esx1", nil)
		a, b := l.create("a", 1<<20), l.create("b", 1<<20)
		call[api.LUN](l, "POST", "/api/v1/luns", map[string]any{"vvol": a.ID, "lun": 3}, http.StatusCreated)
		d, err := x.Attach(l.ctx, scsi.DiskLUN(3))
		require.NoError(t, err)
		call[any](l, "DELETE", "/api/v1/luns/3", nil, http.StatusNoContent)
		call[api.LUN](l, "POST", "/api/v1/luns", map[string]any{"vvol": b.ID, "lun": 3}, http.StatusCreated)
		l.dropSessions()
		pass(5 * time.Second)
		require.Equal(t, host.PermanentLoss, d.State())
		pass(10 * time.Second)
		require.Equal(t, host.Removed, d.State(), "nobody had it open")
		again, err := x.Attach(l.ctx, scsi.DiskLUN(3))
		require.NoError(t, err)
		require.NotEqual(t, d.Name(), again.Name())
		_, err = d.Open(host.ByHost)
		require.ErrorIs(t, err, host.ErrRemoved)
	})
}

// TestManyCommands keeps a device busy over all that, and takes back what it began.
func TestManyCommands(t *testing.T) {
	story(t, func(t *testing.T, l *lab) {
		x := l.esx("esx1", nil)
		d := x.open(l.create("disk", 8<<20), host.ByGuest)
		load := initiator.Load{Count: 2000, ReadPercent: 30, Verify: true, Seed: 1}
		l.addFault("lu op=media p=0.05 seed=3 -> busy")
		l.addFault("lu op=media p=0.01 seed=4 -> sense 0b/44/00")
		l.addFault("lu op=media p=0.01 seed=5 -> drop-response")
		l.addFault("lu portal=2 after=100 for=10m -> apd")
		stats, err := load.Run(l.ctx, d.unit)
		require.NoError(t, err)
		require.GreaterOrEqual(t, stats.Ops(), uint64(2000))
		require.Zero(t, stats.Errors)

		l.addFault("lu -> apd")
		held := &initiator.Call{Command: initiator.Command{CDB: tur, Attribute: scsi.Simple}, Done: func(*initiator.Call) { t.Error("it was taken back") }}
		require.NoError(t, d.handle.Start(held))
		pass(time.Second)
		require.True(t, d.handle.Cancel(held))
		require.False(t, d.handle.Cancel(held))
	})
}
