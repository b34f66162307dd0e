package fault

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vvol"
	"vvsim/vvol/store/mem"
)

// hand is a clock that moves when a test says so.
type hand struct {
	mu     sync.Mutex
	now    time.Time
	timers []*handTimer
}

type handTimer struct {
	due time.Time
	f   func()
}

func newHand() *hand { return &hand{now: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)} }

func (h *hand) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *hand) After(d time.Duration, f func()) func() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := &handTimer{h.now.Add(d), f}
	h.timers = append(h.timers, t)
	return func() bool { return h.take(t) }
}

func (h *hand) take(t *handTimer) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := slices.Index(h.timers, t)
	if at >= 0 {
		h.timers = slices.Delete(h.timers, at, at+1)
	}
	return at >= 0
}

// step moves the clock and calls what is due, in order.
func (h *hand) step(d time.Duration) {
	h.mu.Lock()
	end := h.now.Add(d)
	h.mu.Unlock()
	for {
		h.mu.Lock()
		var first *handTimer
		for _, t := range h.timers {
			if !t.due.After(end) && (first == nil || t.due.Before(first.due)) {
				first = t
			}
		}
		if first == nil {
			h.now = end
			h.mu.Unlock()
			return
		}
		h.now = first.due
		h.mu.Unlock()
		if h.take(first) {
			first.f()
		}
	}
}

// timed is an injector on a clock of its own.
func timed(t *testing.T) (*Injector, *hand) {
	i, h := open(t, Options{}), newHand()
	i.UseClock(h)
	return i, h
}

func phase(t *testing.T, i *Injector, id string) Phase {
	t.Helper()
	s, err := i.Show(id)
	require.NoError(t, err)
	require.Equal(t, s.Phase == Active, s.Active)
	return s.Phase
}

// Times say when a rule is in force, second by second.
func TestTimes(t *testing.T) {
	for conditions, want := range map[string]string{
		"":                       "xxxxxxxxxxxxxxxx",
		"for=3s":                 "xxx.............",
		"from=2s":                "..xxxxxxxxxxxxxx",
		"from=2s for=3s":         "..xxx...........",
		"for=1s each=4s":         "x...x...x...x...",
		"from=3s for=2s each=5s": "...xx...xx...xx.",
		"for=2s each=5s count=3": "xx...x..........",
	} {
		i, h := timed(t)
		s := add(t, i, "login "+conditions+" -> reject 0x0203")
		got, phases := "", map[Phase]bool{}
		for range len(want) {
			phases[phase(t, i, s.ID)] = true
			got += logins(i, 1)
			h.step(time.Second)
		}
		require.Equal(t, want, got, conditions)
		require.Equal(t, want[0] == '.', phases[Waiting], conditions)
		switch phase(t, i, s.ID) {
		case Over:
			require.Equal(t, byte('.'), want[len(want)-1])
		case Resting:
			require.Len(t, h.timers, 1)
		}
		if phase(t, i, s.ID) != Active && !strings.Contains(conditions, "count") {
			require.Nil(t, i.logins.Load(), "a rule that is not in force costs something")
		}
		require.NoError(t, i.Clear(t.Context()))
		require.Empty(t, h.timers)
	}
}

// A rule that goes by the machine's clock.
func TestWall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := open(t, Options{})
		s := add(t, i, "login from=10s for=1h each=2h -> reject 0x0203")
		time.Sleep(10*time.Second - time.Millisecond)
		require.Equal(t, Waiting, phase(t, i, s.ID))
		time.Sleep(time.Millisecond)
		synctest.Wait()
		require.Equal(t, "x", logins(i, 1))
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, Resting, phase(t, i, s.ID))
		require.Equal(t, ".", logins(i, 1))
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, "x", logins(i, 1))
	})
}

// What a rule holds goes on when its time is over, and is held again in the next.
func TestHeldInTime(t *testing.T) {
	i, h := timed(t)
	behind := &nowhere{}
	target := i.NewTarget(behind, behind)
	s := add(t, i, "lu for=1s each=3s -> apd")
	for round := range 3 {
		k := task(nexus("iqn.a", 1), 2)
		target.Prepare(k)
		done := make(chan struct{})
		go func() {
			defer close(done)
			target.Execute(k)
		}()
		awaitHits(t, i, s.ID, uint64(round+1))
		select {
		case <-done:
			t.Fatal("it did not wait")
		default:
		}
		h.step(time.Second)
		<-done
		require.Equal(t, Resting, phase(t, i, s.ID))
		h.step(2 * time.Second)
		require.Equal(t, Active, phase(t, i, s.ID))
	}
}

// A delay goes by the clock of its rule.
func TestDelayOnClock(t *testing.T) {
	i, h := timed(t)
	behind := &nowhere{}
	target := i.NewTarget(behind, behind)
	add(t, i, "lu -> delay 5s")
	k := task(nexus("iqn.a", 1), 2)
	target.Prepare(k)
	done := make(chan struct{})
	go func() {
		defer close(done)
		target.Execute(k)
	}()
	require.Eventually(t, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.timers) == 1
	}, time.Minute, time.Millisecond)
	h.step(5 * time.Second)
	<-done
	require.Equal(t, 1, behind.executed)
	require.Empty(t, h.timers)
}

// A chained rule begins when the other fires, and again when its time is over by then.
func TestChain(t *testing.T) {
	i, h := timed(t)
	first := add(t, i, "login name=first after=2 every=3 -> reject 0x0201")
	second := add(t, i, "login name=second on=first for=10s -> reject 0x0302")
	third := add(t, i, "login on="+second.ID+" from=1s -> reject 0x0300")
	status := func() (all []uint16) {
		for range 3 {
			s, _ := login(i)
			all = append(all, s)
		}
		return all
	}
	require.Equal(t, []Phase{Active, Waiting, Waiting}, []Phase{phase(t, i, first.ID), phase(t, i, "second"), phase(t, i, third.ID)})
	require.Equal(t, []uint16{0, 0, 0x0201}, status())
	require.Equal(t, []Phase{Active, Active, Waiting}, []Phase{phase(t, i, "first"), phase(t, i, second.ID), phase(t, i, third.ID)})
	require.Equal(t, []uint16{0x0302, 0x0302, 0x0201}, status())
	h.step(time.Second)
	require.Equal(t, Active, phase(t, i, third.ID))
	h.step(9 * time.Second)
	require.Equal(t, Over, phase(t, i, "second"), "its firing again did not make it longer")
	require.Equal(t, []uint16{0x0300, 0x0300, 0x0201}, status())
	require.Equal(t, Active, phase(t, i, "second"), "it began anew")

	require.NoError(t, i.Remove(t.Context(), "first"))
	require.Equal(t, []uint16{0x0302, 0x0302, 0x0302}, status())
	h.step(time.Minute)
	require.Equal(t, []uint16{0x0300, 0x0300, 0x0300}, status(), "nothing starts it any more")

	for rule, want := range map[string]error{
		"login name=second -> reject 0x0201": vvol.ErrExists, "login on=first -> reject 0x0201": vvol.ErrInvalid, "login on=77 -> reject 0x0201": vvol.ErrInvalid,
	} {
		_, err := i.Add(t.Context(), rule)
		require.ErrorIs(t, err, want, rule)
	}
}

// Times and chains survive a restart: a time goes on, a chained rule waits again.
func TestKeptTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := mem.New()
		o := Options{Meta: engine.Meta()}
		i := open(t, o)
		add(t, i, "login name=a keep from=1h for=1h each=3h -> reject 0x0203")
		add(t, i, "login name=b keep on=a for=1m -> reject 0x0300")
		add(t, i, "login name=c keep for=2h -> reject 0x0201")
		i.Close()
		time.Sleep(90 * time.Minute)
		i = open(t, o)
		require.Equal(t, []Phase{Active, Waiting, Active}, []Phase{phase(t, i, "a"), phase(t, i, "b"), phase(t, i, "c")})
		status, _ := login(i)
		require.EqualValues(t, 0x0203, status)
		require.Equal(t, Active, phase(t, i, "b"))
		i.Close()
		time.Sleep(time.Hour)
		i = open(t, o)
		require.Equal(t, []Phase{Resting, Waiting}, []Phase{phase(t, i, "a"), phase(t, i, "b")})
		require.Len(t, i.List(), 2, "what was over is forgotten")
		require.Equal(t, fmt.Sprint([]string{"1", "2"}), fmt.Sprint([]string{i.List()[0].ID, i.List()[1].ID}))
		i.Close()
		require.NoError(t, engine.Close())
	})
}
