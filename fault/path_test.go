package fault

import (
	"errors"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/scsi/iscsi/line"
	"vvsim/vvol/store/mem"
)

// fakeConn keeps what happens to it.
type fakeConn struct {
	session uint64
	portal  uint16

	mu      sync.Mutex
	in, out line.Way
	since   time.Time // of these ways
	resets  int
	said    []string
}

func (c *fakeConn) Session() uint64 { return c.session }
func (c *fakeConn) Portal() uint16  { return c.portal }

func (c *fakeConn) Disturb(in, out line.Way) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in, c.out, c.since = in, out, time.Now()
}

func (c *fakeConn) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resets++
}

func (c *fakeConn) AskLogout(d time.Duration) { c.say("logout " + d.String()) }

func (c *fakeConn) Leave(session bool) {
	if session {
		c.say("session")
	} else {
		c.say("connection")
	}
}

func (c *fakeConn) say(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said = append(c.said, s)
}

// state is "", or what is broken: s for a way that stands still, w for another, - for none.
func (c *fakeConn) state() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := ""
	for _, w := range []line.Way{c.in, c.out} {
		switch {
		case w == nil:
			s += "-"
		case w.Due(0).IsZero():
			s += "s"
		default:
			s += "w"
		}
	}
	if c.resets > 0 {
		return "reset"
	}
	return s
}

// login is what rules make of a login of iqn.a: the status that refuses it.
func login(i *Injector) (status uint16, refused bool) {
	if e := i.loginRule(1, "iqn.a"); e != nil {
		return e.action.status, true
	}
	return 0, false
}

// Each condition limits a rule by itself, and each action has its ways.
func TestPathScope(t *testing.T) {
	for _, c := range []struct{ rule, want string }{
		{"path -> down", "reset"}, {"path portal=2 -> reset", "reset"}, {"path portal=1 -> reset", "--"},
		{"path host=iqn.a -> stall", "ss"}, {"path host=iqn.b -> stall", "--"}, {"path session=7 -> stall in", "s-"}, {"path session=8 -> stall", "--"},
		{"path -> stall out", "-s"}, {"path -> delay 1ms", "ww"}, {"path -> rate 1MiB/s", "ww"}, {"path after=1 -> stall", "--"}, {"path -> reset 1h", "--"},
	} {
		for _, before := range []bool{true, false} {
			i := open(t, Options{})
			p := i.NewPaths()
			x := &fakeConn{session: 7, portal: 2}
			if before {
				add(t, i, c.rule)
			}
			p.Connected(x)
			p.Identified(x, "iqn.a")
			if !before {
				add(t, i, c.rule)
			}
			require.Equal(t, c.want, x.state(), c.rule)
			hits := uint64(1)
			if c.want == "--" && c.rule != "path -> reset 1h" {
				hits = 0
			}
			require.Equal(t, hits, i.List()[0].Hits, c.rule)
			require.NoError(t, i.Clear(t.Context()))
			if c.want != "reset" {
				require.Equal(t, "--", x.state(), c.rule)
			}
			p.Disconnected(x)
			require.Empty(t, p.conns)
		}
	}
}

// A rule meets a connection once, and the counters count connections; the next rule has its
// turn when one says no, or goes.
func TestPathCounters(t *testing.T) {
	i := open(t, Options{})
	p := i.NewPaths()
	first := add(t, i, "path after=1 every=2 count=2 -> stall")
	second := add(t, i, "path -> delay 1ms")
	var all []*fakeConn
	state := func() (s string) {
		for _, c := range all {
			s += c.state() + " "
		}
		return s
	}
	for range 7 {
		c := &fakeConn{portal: 1}
		all = append(all, c)
		p.Connected(c)
		p.Identified(c, "iqn.a")
	}
	require.Equal(t, "ww ss ww ss ww ww ww ", state())
	add(t, i, "path -> stall in")
	require.Equal(t, "ww ss ww ss ww ww ww ", state())
	require.NoError(t, i.Remove(t.Context(), second.ID))
	require.Equal(t, "s- ss s- ss s- s- s- ", state())
	require.NoError(t, i.Remove(t.Context(), first.ID))
	require.Equal(t, "s- s- s- s- s- s- s- ", state())
	require.Equal(t, uint64(7), i.List()[0].Hits)
}

// The same seed takes the same connections.
func TestPathSeed(t *testing.T) {
	run := func(seed string) (s string) {
		i := open(t, Options{})
		p := i.NewPaths()
		add(t, i, "path p=0.5 seed="+seed+" -> stall")
		for range 64 {
			c := &fakeConn{portal: 1}
			p.Connected(c)
			s += c.state()
		}
		return s
	}
	require.Equal(t, run("1"), run("1"))
	require.NotEqual(t, run("1"), run("2"))
}

func phases(i *Injector) (all []Phase) {
	for _, s := range i.List() {
		all = append(all, s.Phase)
	}
	return all
}

// A connection starts rules that wait for the one that has taken it, whether it comes or is
// there; a path that flaps takes connections anew each time.
func TestPathChains(t *testing.T) {
	i := open(t, Options{})
	clock := newHand()
	i.UseClock(clock)
	p := i.NewPaths()
	x, y := &fakeConn{portal: 1}, &fakeConn{portal: 2}
	p.Connected(x)
	add(t, i, "path portal=2 name=second -> delay 1ms")
	add(t, i, "path portal=1 on=second name=first for=10s each=30s -> stall")
	add(t, i, "lu on=first -> busy")
	require.Equal(t, []Phase{Active, Waiting, Waiting}, phases(i))
	p.Connected(y)
	require.Equal(t, []Phase{Active, Active, Active}, phases(i))
	require.Equal(t, "ss ww", x.state()+" "+y.state())
	for range 3 {
		clock.step(10 * time.Second)
		require.Equal(t, "-- ww", x.state()+" "+y.state())
		clock.step(20 * time.Second)
		require.Equal(t, "ss ww", x.state()+" "+y.state())
	}
	require.Equal(t, uint64(4), i.List()[1].Hits)
	add(t, i, "path portal=2 name=last -> stall")
	p.Disconnected(x)
	p.Disconnected(y)

	z := &fakeConn{portal: 3}
	add(t, i, "path portal=3 -> reset 5s")
	p.Connected(z)
	clock.step(4 * time.Second)
	require.Equal(t, "--", z.state())
	clock.step(time.Second)
	require.Equal(t, "reset", z.state())
}

// What is late or slow is so by the clock of rules, whether they were there before it or not.
func TestPathClock(t *testing.T) {
	engine := mem.New()
	defer func() { require.NoError(t, engine.Close()) }()
	meta := engine.Meta()
	i := open(t, Options{Meta: meta})
	add(t, i, "path portal=1 keep -> rate 64KiB/s")
	i.Close()
	i = open(t, Options{Meta: meta})
	clock := newHand()
	clock.now = time.Now() // kept rules have begun
	i.UseClock(clock)
	p := i.NewPaths()
	add(t, i, "path portal=2 -> delay 3s")
	add(t, i, "path portal=3 -> rate 1KiB/s")
	for portal, want := range map[uint16]time.Duration{1: time.Second, 2: 3 * time.Second, 3: 64 * time.Second} {
		x := &fakeConn{portal: portal}
		p.Connected(x)
		require.Equal(t, clock.Now(), x.in.Due(0))
		require.InDelta(t, want, x.in.Due(64<<10).Sub(clock.Now()), float64(10*time.Millisecond), "portal %d", portal)
		require.Equal(t, clock, x.out.Clock())
		p.Disconnected(x)
	}
}

// Counters meet connections that are there in the order in which they came.
func TestPathOrder(t *testing.T) {
	i := open(t, Options{})
	p := i.NewPaths()
	conns := make([]*fakeConn, 12)
	for k := range conns {
		conns[k] = &fakeConn{portal: 1}
		p.Connected(conns[k])
	}
	add(t, i, "path after=1 every=4 count=2 -> stall")
	for k, c := range conns {
		require.Equal(t, k == 1 || k == 5, c.state() == "ss", "connection %d: %s", k, c.state())
	}
}

// What ways have kept goes on one connection after the other, in the order in which they were
// taken, whichever way a rule has gone and another is in force then; commands that rules hold
// have their turns among them, so that none goes on with another at one instant.
func TestPathTurns(t *testing.T) {
	for _, action := range []string{"stall", "stall in", "stall out", "delay 1h", "rate 64KiB/s", "hang"} {
		for _, behind := range []string{"", "path -> stall out", "path -> delay 3s"} {
			synctest.Test(t, func(t *testing.T) {
				i := open(t, Options{})
				p := i.NewPaths()
				layer := "path"
				if action == "hang" {
					layer = "login"
				}
				add(t, i, layer+" portal=1 -> "+action)
				command := &entry{Rule: &Rule{}, held: &i.held, clock: i.clock, gone: make(chan struct{})}
				if behind != "" {
					add(t, i, behind)
				}
				var all []*fakeConn
				var done sync.WaitGroup
				var went time.Time
				for k := range 9 {
					x := &fakeConn{portal: 1 + uint16(k%3)/2}
					p.Connected(x)
					p.Identified(x, "iqn.a")
					if x.portal == 1 {
						all = append(all, x)
					}
					if k == 4 {
						done.Go(func() { command.wait(nil); went = time.Now() })
						synctest.Wait()
					}
				}
				require.Len(t, all, 6)
				p.Disconnected(all[1]) // whom nobody waits for
				all = slices.Delete(all, 1, 2)
				time.Sleep(time.Minute)
				began := time.Now()
				close(command.gone)
				require.NoError(t, i.Remove(t.Context(), i.List()[0].ID))
				done.Wait()
				times := []time.Time{began}
				for k, x := range all {
					if k == 3 {
						times = append(times, went)
					}
					times = append(times, x.since)
					require.Equal(t, map[string]string{"": "--", "path -> stall out": "-s", "path -> delay 3s": "ww"}[behind], x.state())
				}
				for k := range times[1:] {
					require.True(t, times[k+1].After(times[k]), "%s, %q: %d goes on %v after the one before it", action, behind, k, times[k+1].Sub(times[k]))
				}
				for x := range p.conns {
					p.Disconnected(x)
				}
				i.Close()
			})
		}
	}
}

// What is said in a session waits until there is one, comes once, and what follows it does not
// come when the rule has gone.
func TestPathNotices(t *testing.T) {
	i := open(t, Options{})
	clock := newHand()
	i.UseClock(clock)
	p := i.NewPaths()
	for _, c := range []struct {
		rule        string
		said, after []string
	}{
		{"path -> logout", []string{"logout 10s"}, []string{"logout 10s", "connection"}},
		{"path -> logout 5s", []string{"logout 5s"}, []string{"logout 5s", "connection"}},
		{"path -> drop-connection", []string{"connection"}, []string{"connection"}},
		{"path -> drop-session", []string{"session"}, []string{"session"}},
	} {
		for _, removed := range []bool{false, true} {
			early, late := &fakeConn{portal: 1}, &fakeConn{portal: 1}
			for _, x := range []*fakeConn{early, late} {
				p.Connected(x)
				p.Identified(x, "iqn.a")
			}
			p.Established(early)
			f := add(t, i, c.rule)
			require.Equal(t, c.said, early.said)
			require.Empty(t, late.said)
			p.Established(late)
			require.Equal(t, c.said, late.said)
			if removed {
				require.NoError(t, i.Clear(t.Context()))
			} else {
				require.Equal(t, uint64(2), i.List()[0].Hits)
			}
			clock.step(time.Minute)
			if removed {
				require.Equal(t, c.said, early.said)
			} else {
				require.Equal(t, c.after, early.said)
				require.NoError(t, i.Remove(t.Context(), f.ID))
			}
			p.Disconnected(early)
			p.Disconnected(late)
		}
	}
}

// When the array stops, what stands still ends, and what is late goes on.
func TestPathClose(t *testing.T) {
	i := open(t, Options{})
	p := i.NewPaths()
	add(t, i, "path portal=1 -> stall out")
	add(t, i, "path portal=2 -> delay 1h")
	x, y, z := &fakeConn{portal: 1}, &fakeConn{portal: 2}, &fakeConn{portal: 1}
	p.Connected(x)
	p.Connected(y)
	i.Close()
	p.Connected(z)
	require.Equal(t, "reset -- --", x.state()+" "+y.state()+" "+z.state())
}

// A portal is shut while the first rule that means it takes it down, whoever connects.
func TestPortals(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	i := open(t, Options{})
	p := i.NewPaths()
	down := add(t, i, "path portal=2 -> down")
	l := p.Listen(inner, 2, net.Listen)
	refused := func() bool {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			require.NoError(t, nc.Close())
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	}
	require.True(t, refused())
	require.NoError(t, i.Remove(t.Context(), down.ID))
	require.False(t, refused())
	for rule, want := range map[string]bool{"path portal=1 -> down": false, "path host=iqn.a -> down": false, "path session=1 -> down": false,
		"path count=3 -> down": false, "path p=0.5 -> down": false, "path after=1 -> down": false, "path every=2 -> down": false, "path -> down": true} {
		add(t, i, rule)
		require.Equal(t, want, refused(), rule)
		require.NoError(t, i.Clear(t.Context()))
	}
	add(t, i, "path host=iqn.a -> delay 1ms")
	add(t, i, "path -> down")
	require.False(t, refused(), "some have another rule")
	require.NoError(t, l.Close())
	require.Empty(t, p.listeners)
}
