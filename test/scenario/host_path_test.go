package scenario

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/scsi/iscsi/host"
)

// Stories of hosts on paths that break, in a bubble as those of host_test.go.

// sessions is what became of the sessions of a host, since it was made: "10s 1 down".
func (x *esx) sessions() (all []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range x.told {
		if e.Kind != host.SessionChanged {
			continue
		}
		for i, address := range x.l.a.Ready().ISCSI {
			if address == e.Portal {
				all = append(all, e.Time.Sub(x.began).Round(time.Second).String()+" "+string(rune('1'+i))+" "+e.State)
			}
		}
	}
	return all
}

// TestPortalDown: a cable is pulled. Commands wait 10 s for the session to come back, and go
// over the other path then; when the portal is there again, the path is within seconds.
func TestPortalDown(t *testing.T) {
	story(t, func(t *testing.T, l *lab) {
		x := l.esx("esx1", nil)
		d := x.open(l.create("disk", 8<<20), host.ByHost)
		content := random(1, 4096)
		f := l.addFault("path portal=1 -> down")
		began := time.Now()
		l.write(d.unit, 0, content)
		require.Equal(t, 10*time.Second, time.Since(began))
		require.Equal(t, []host.PathState{host.Dead, host.Active}, d.paths())
		l.write(d.unit, 0, content)
		require.Equal(t, 10*time.Second, time.Since(began), "it goes over the other path at once")
		pass(time.Hour)
		require.Equal(t, []string{"0s on", "10s degraded"}, d.history())
		l.removeFault(f)
		pass(2 * time.Second)
		require.Equal(t, []host.PathState{host.Active, host.Active}, d.paths())
		l.holds(d.unit, 0, content)
	})
}

// TestBothPortalsDown: all paths are down from 10 s on, and I/O of the host fails 140 s later.
func TestBothPortalsDown(t *testing.T) {
	story(t, func(t *testing.T, l *lab) {
		x := l.esx("esx1", nil)
		guest, own := x.open(l.create("disk1", 8<<20), host.ByGuest), x.open(l.create("disk2", 8<<20), host.ByHost)
		content := random(1, 4096)
		f := l.addFault("path -> down")
		ofGuest, ofHost := guest.write(0, content), own.write(0, content)
		pass(150*time.Second - time.Millisecond)
		require.Equal(t, host.APD, own.State())
		require.Empty(t, ofHost)
		pass(time.Millisecond)
		require.ErrorIs(t, <-ofHost, host.ErrAllPathsDown)
		require.Equal(t, []string{"0s on", "10s apd", "2m30s apd-timeout"}, afterDegraded(own.history()))
		pass(time.Hour)
		require.Empty(t, ofGuest)
		l.removeFault(f)
		require.NoError(t, <-ofGuest)
		pass(time.Minute)
		require.Equal(t, host.On, own.State())
		l.holds(guest.unit, 0, content)
	})
}

// afterDegraded leaves out that one path went before the other.
func afterDegraded(history []string) (all []string) {
	for _, h := range history {
		if h != "10s degraded" {
			all = append(all, h)
		}
	}
	return all
}

// TestStalledPath: one path is silent as a whole, with a write on it. The host gives the
// session up and writes over the other path, more than once. What was under way on the silent
// path does not come later.
func TestStalledPath(t *testing.T) {
	for _, way := range []string{"stall", "stall in", "stall out"} {
		story(t, func(t *testing.T, l *lab) {
			x := l.esx("esx1", nil)
			d := x.open(l.create("disk", 8<<20), host.ByHost)
			first, second := random(1, 4096), random(2, 4096)
			f := l.addFault("path portal=1 -> " + way)
			l.write(d.unit, 0, first)
			require.Contains(t, x.sessions(), "25s 1 down", "a ping after 15 s, and 10 s for its answer")
			pass(5 * time.Second) // of the 10 s in which it may come back; the command had timed out before
			require.Equal(t, []host.PathState{host.Dead, host.Active}, d.paths())
			l.write(d.unit, 0, second)
			l.removeFault(f)
			pass(time.Minute)
			l.holds(d.unit, 0, second)
			require.Equal(t, []host.PathState{host.Active, host.Active}, d.paths())
			l.holds(d.unit, 0, second)
		})
	}
}

// TestStall141: nothing moves on any path, pings neither. The host knows after its pings, its
// recovery and its probes; 141 s later the array goes on, and nothing is lost or doubled.
func TestStall141(t *testing.T) {
	story(t, func(t *testing.T, l *lab) {
		x := l.esx("esx1", nil)
		d := x.open(l.create("disk", 8<<20), host.ByGuest)
		before, after := random(1, 64<<10), random(2, 64<<10)
		l.write(d.unit, 0, before)
		f := l.addFault("path -> stall")
		var all []<-chan error
		for i := range 16 {
			all = append(all, d.write(int64(i*4096), after[i*4096:(i+1)*4096]))
		}
		pass(35 * time.Second) // 15 and 10 of a ping, and 10 for the session to come back
		require.Equal(t, host.APD, d.State())
		pass(141 * time.Second)
		require.Equal(t, host.APDTimeout, d.State())
		require.Zero(t, ended(all))
		l.removeFault(f)
		for _, done := range all {
			require.NoError(t, <-done)
		}
		l.holds(d.unit, 0, after)
		l.write(d.unit, 0, before)
		pass(10 * time.Minute)
		l.holds(d.unit, 0, before)
		require.Equal(t, host.On, d.State())
	})
}

// TestUnrest: connections are reset, slow, late, asked to end, and sent elsewhere, while a
// host writes and reads. It hears of nothing but time.
func TestUnrest(t *testing.T) {
	for _, rule := range []string{"path count=2 -> reset", "path -> reset 3s..9s", "path portal=1 -> delay 100ms..900ms", "path -> rate 256KiB/s", "path count=2 -> logout",
		"path count=2 -> drop-session", "login portal=1 -> delay 3s", "login portal=1 -> redirect "} {
		story(t, func(t *testing.T, l *lab) {
			x := l.esx("esx1", nil)
			d := x.open(l.create("disk", 8<<20), host.ByHost)
			if rule == "login portal=1 -> redirect " {
				rule += l.a.Ready().ISCSI[1]
			}
			l.addFault(rule)
			if strings.HasPrefix(rule, "login") {
				l.dropSessions()
			}
			for i := range 10 {
				content := random(uint64(i), 64<<10)
				l.write(d.unit, int64(i)*65536, content)
				pass(time.Second)
				l.holds(d.unit, int64(i)*65536, content)
			}
			require.NotContains(t, d.history(), string(host.APD))
			call[any](l, "DELETE", "/api/v1/faults", nil, 204)
			pass(6 * time.Minute)
			require.Equal(t, host.On, d.State(), rule)
			require.Equal(t, []host.PathState{host.Active, host.Active}, d.paths(), rule)
		})
	}
}
