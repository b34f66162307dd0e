package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vvol"
	"vvsim/vvol/store/mem"
)

func open(t testing.TB, o Options) *Injector {
	i, err := Open(context.Background(), o)
	require.NoError(t, err)
	t.Cleanup(i.Close)
	return i
}

func add(t testing.TB, i *Injector, rule string) State {
	t.Helper()
	s, err := i.Add(context.Background(), rule)
	require.NoError(t, err)
	return s
}

// logins tells which of n logins are refused, as a line of x and dots.
func logins(i *Injector, n int) (pattern string) {
	for range n {
		if _, refused := login(i); refused {
			pattern += "x"
		} else {
			pattern += "."
		}
	}
	return pattern
}

func TestCounters(t *testing.T) {
	for conditions, want := range map[string]string{
		"":                           "xxxxxxxxxx",
		"after=3":                    "...xxxxxxx",
		"count=2":                    "xx........",
		"every=3":                    "x..x..x..x",
		"after=1 every=2 count=3":    ".x.x.x....",
		"host=iqn.b":                 "..........",
		"host=iqn.a after=9 count=5": ".........x",
	} {
		i := open(t, Options{})
		s := add(t, i, fmt.Sprintf("login %s -> reject 0x0203", conditions))
		require.Equal(t, want, logins(i, 10), conditions)
		s, err := i.Show(s.ID)
		require.NoError(t, err)
		hits := 0
		for _, c := range want {
			if c == 'x' {
				hits++
			}
		}
		require.EqualValues(t, hits, s.Hits, conditions)
	}
}

// Chance repeats from the seed, whichever other rules there are.
func TestSeed(t *testing.T) {
	patterns := map[string]bool{}
	for _, seed := range []int{1, 2, 3} {
		i := open(t, Options{})
		rule := fmt.Sprintf("login p=0.5 seed=%d -> reject 0x0203", seed)
		add(t, i, rule)
		first := logins(i, 64)
		require.Contains(t, first, "x")
		require.Contains(t, first, ".")
		require.NoError(t, i.Clear(t.Context()))
		add(t, i, "login host=iqn.other -> reject 0x0300")
		add(t, i, rule)
		require.Equal(t, first, logins(i, 64))
		patterns[first] = true
	}
	require.Len(t, patterns, 3)
}

// The first rule that fires wins; one that does not lets the next have its turn.
func TestOrder(t *testing.T) {
	i := open(t, Options{})
	a := add(t, i, "login after=1 count=1 -> reject 0x0203")
	b := add(t, i, "login -> reject 0x0300")
	var got []uint16
	for range 3 {
		status, refused := login(i)
		require.True(t, refused)
		got = append(got, status)
	}
	require.Equal(t, []uint16{0x0300, 0x0203, 0x0300}, got)
	require.Equal(t, []State{{a.ID, a.Rule, 1, false, Over}, {b.ID, b.Rule, 2, true, Active}}, i.List())
	require.NoError(t, i.Remove(t.Context(), b.ID))
	_, refused := login(i)
	require.False(t, refused)
	require.ErrorIs(t, i.Remove(t.Context(), b.ID), vvol.ErrNotFound)
	_, err := i.Show("x")
	require.ErrorIs(t, err, vvol.ErrNotFound)
}

// Several rules come together or not at all: whatever is wrong with one, none is there, none
// is kept and no id is used up.
func TestAddAll(t *testing.T) {
	engine := mem.New()
	defer func() { require.NoError(t, engine.Close()) }()
	o := Options{Meta: engine.Meta()}
	i := open(t, o)
	all, err := i.AddAll(t.Context(), "login keep name=first host=iqn.b -> reject 0x0203", "login on=first -> reject 0x0300", "login keep -> reject 0x0301")
	require.NoError(t, err)
	require.Equal(t, all, i.List())
	require.Equal(t, []Phase{Active, Waiting, Active}, []Phase{all[0].Phase, all[1].Phase, all[2].Phase})
	for want, rules := range map[error][]string{
		vvol.ErrInvalid: {"login keep -> reject 0x0203", "login -> reject 0x0101"},
		vvol.ErrExists:  {"login keep -> reject 0x0203", "login name=twice -> reject 0x0203", "login name=twice -> reject 0x0203"},
	} {
		_, err := i.AddAll(t.Context(), rules...)
		require.ErrorIs(t, err, want)
		require.Equal(t, all, i.List())
	}
	_, err = i.AddAll(t.Context(), "login -> reject 0x0203", "login -> reject 0x0101")
	require.ErrorContains(t, err, `"login -> reject 0x0101": `)
	many := make([]string, MaxRules-2)
	for k := range many {
		many[k] = "login keep -> reject 0x0203"
	}
	_, err = i.AddAll(t.Context(), many...)
	require.ErrorIs(t, err, vvol.ErrTooMany)
	require.Equal(t, "4", add(t, i, "login -> reject 0x0300").ID)
	i.Close()
	again := open(t, o)
	require.Equal(t, []State{{"1", all[0].Rule, 0, true, Active}, {"3", all[2].Rule, 0, true, Active}}, again.List())
}

func TestKeep(t *testing.T) {
	engine := mem.New()
	defer func() { require.NoError(t, engine.Close()) }()
	o := Options{Meta: engine.Meta()}
	i := open(t, o)
	add(t, i, "login -> reject 0x0300")
	kept := add(t, i, "login keep for=1h count=2 -> reject 0x0203")
	gone := add(t, i, "login keep -> reject 0x0201")
	require.NoError(t, i.Remove(t.Context(), gone.ID))
	require.Equal(t, "x", logins(i, 1))
	i.Close()
	_, err := i.Add(t.Context(), "login -> reject 0x0300")
	require.ErrorIs(t, err, vvol.ErrBusy)

	i = open(t, o)
	require.Equal(t, []State{{kept.ID, kept.Rule, 0, true, Active}}, i.List())
	require.WithinDuration(t, time.Now(), i.entries[0].start, time.Minute, "its time went on")
	status, _ := login(i)
	require.EqualValues(t, 0x0203, status)
	require.Greater(t, add(t, i, "login -> reject 0x0300").ID, kept.ID)
	require.NoError(t, i.Clear(t.Context()))
	require.Empty(t, open(t, o).List())

	_, err = open(t, Options{}).Add(t.Context(), "login keep -> reject 0x0203")
	require.ErrorIs(t, err, vvol.ErrInvalid)
}

// A rule that cannot be kept or forgotten changes nothing.
func TestKeepFails(t *testing.T) {
	engine := mem.New()
	i := open(t, Options{Meta: engine.Meta()})
	add(t, i, "login keep -> reject 0x0203")
	require.NoError(t, engine.Close())
	_, err := i.Add(t.Context(), "login keep -> reject 0x0300")
	require.ErrorIs(t, err, vvol.ErrStorage)
	_, err = i.AddAll(t.Context(), "login -> reject 0x0300", "login keep -> reject 0x0300")
	require.ErrorIs(t, err, vvol.ErrStorage)
	require.ErrorIs(t, i.Clear(t.Context()), vvol.ErrStorage)
	require.Len(t, i.List(), 1)
	status, _ := login(i)
	require.EqualValues(t, 0x0203, status)
}

// Rules that name a portal or a protocol endpoint that is not there are refused with what is,
// volumes, containers and hosts may come yet; rules that were kept stay.
func TestImpossible(t *testing.T) {
	engine := mem.New()
	defer func() { require.NoError(t, engine.Close()) }()
	o := Options{Meta: engine.Meta(), Portals: 3, Endpoints: []Endpoint{{"pe0", "naa.60"}, {"my pe", "naa.61"}}}
	i := open(t, o)
	for rule, want := range map[string]string{
		"lu portal=4 -> pdl":           "invalid argument: fault rule: portal=4: the array's portals are 1 to 3",
		"path portal=4 -> down":        "portal=4",
		"login portal=4 -> hang":       "portal=4",
		"lu pe=pe1 -> pdl":             "invalid argument: fault rule: pe=pe1: the array has the protocol endpoints pe0 (naa.60), my pe (naa.61)",
		"lu pe=naa.62 portal=1 -> pdl": "pe=naa.62",
	} {
		_, err := i.Add(t.Context(), rule)
		require.ErrorIs(t, err, vvol.ErrInvalid, rule)
		require.ErrorContains(t, err, want)
	}
	require.Empty(t, i.List())
	for _, rule := range []string{"lu portal=3 pe=pe0 keep -> pdl", `lu pe="my pe" -> pdl`, "lu pe=naa.61 keep -> busy", "path portal=3 keep -> down", "login portal=1 -> hang",
		"lu vvol=later container=later host=iqn.later -> pdl"} {
		add(t, i, rule)
	}
	require.Empty(t, i.Impossible())
	i.Close()
	o.Portals, o.Endpoints = 2, o.Endpoints[:1]
	i = open(t, o)
	require.Len(t, i.List(), 3)
	var texts []string
	for _, err := range i.Impossible() {
		texts = append(texts, err.Error())
	}
	require.Equal(t, []string{"1: invalid argument: fault rule: portal=3: the array's portals are 1 to 2",
		"3: invalid argument: fault rule: pe=naa.61: the array has the protocol endpoints pe0 (naa.60)",
		"4: invalid argument: fault rule: portal=3: the array's portals are 1 to 2"}, texts)
}

func TestTooMany(t *testing.T) {
	i := open(t, Options{})
	for range MaxRules {
		add(t, i, "login host=b -> reject 0x0203")
	}
	_, err := i.Add(t.Context(), "login -> reject 0x0203")
	require.ErrorIs(t, err, vvol.ErrTooMany)
}

// invoked is a provider that counts.
type invoked struct{ n int }

func (v *invoked) Invoke(context.Context, string, any) (any, error) {
	v.n++
	return v.n, nil
}

var errFault, errSilence = errors.New("ResourceInUse"), errors.New("silence")

func TestProvider(t *testing.T) {
	declared := func(op, fault string) (error, bool) {
		return errFault, op == "bind" && fault == "ResourceInUse"
	}
	i := open(t, Options{Named: func(_, fault string) error {
		if fault == "NotThere" {
			return fmt.Errorf("%w: there is no %s", vvol.ErrInvalid, fault)
		}
		return nil
	}})
	behind := &invoked{}
	p := i.NewProvider(behind, Failures{Fault: declared, Silence: errSilence})
	call := func(op string) error {
		_, err := p.Invoke(t.Context(), op, nil)
		return err
	}
	require.NoError(t, call("bind"))
	_, err := i.Add(t.Context(), "vasa op=query -> fault NotThere")
	require.ErrorIs(t, err, vvol.ErrInvalid)
	add(t, i, "vasa -> fault ResourceInUse")
	require.ErrorIs(t, call("bind"), errFault)
	require.NoError(t, call("query"), "an operation that does not declare it")
	require.NoError(t, i.Clear(t.Context()))
	add(t, i, "vasa op=query -> fault ResourceInUse")
	require.ErrorIs(t, call("query"), errFault, "unless it is named")
	require.NoError(t, i.Clear(t.Context()))
	add(t, i, "vasa op=query -> drop")
	require.ErrorIs(t, call("query"), errSilence)
	require.NoError(t, call("bind"))
	require.Equal(t, 3, behind.n, "what fails is not done")

	require.NoError(t, i.Clear(t.Context()))
	hang := add(t, i, "vasa op=bind -> hang")
	done := make(chan error)
	go func() { done <- call("bind") }()
	awaitHits(t, i, hang.ID, 1)
	require.NoError(t, call("query"))
	require.NoError(t, i.Remove(t.Context(), hang.ID))
	require.NoError(t, <-done)

	hang = add(t, i, "vasa -> hang")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, err := p.Invoke(ctx, "bind", nil)
		done <- err
	}()
	awaitHits(t, i, hang.ID, 1)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	go func() { done <- call("bind") }()
	awaitHits(t, i, hang.ID, 2)
	i.Close()
	require.ErrorIs(t, <-done, errSilence)

	_, err = p.Invoke(t.Context(), "bind", nil)
	require.NoError(t, err, "no rule is left")

	_, err = open(t, Options{}).Add(t.Context(), "vasa -> hang")
	require.ErrorIs(t, err, vvol.ErrInvalid)
}

// Rules of layer vasa with vvol=, container= and host= meet operations that are about these,
// each condition by itself. What they are about is asked for once, and not without need.
func TestProviderScopes(t *testing.T) {
	a, b, in, other := vvol.ID{1}, vvol.ID{2}, vvol.ContainerID{7}, vvol.ContainerID{8}
	i := open(t, Options{Named: func(string, string) error { return nil },
		Name:          func(id vvol.ID) string { return map[vvol.ID]string{a: "my disk", b: "b"}[id] },
		Container:     func(id vvol.ID) vvol.ContainerID { return map[vvol.ID]vvol.ContainerID{a: in, b: other}[id] },
		ContainerName: func(id vvol.ContainerID) string { return map[vvol.ContainerID]string{in: "pool", other: "b"}[id] }})
	var about Subjects
	looked := 0
	p := i.NewProvider(&invoked{}, Failures{Fault: func(string, string) (error, bool) { return errFault, true }, Subjects: func(_ context.Context, req any) Subjects {
		require.Equal(t, "request", req)
		looked++
		return about
	}})
	call := func(s Subjects) bool {
		about = s
		_, err := p.Invoke(t.Context(), "bind", "request")
		return errors.Is(err, errFault)
	}
	ofA, ofB, inPool, elsewhere := Subjects{VVols: []vvol.ID{a}}, Subjects{VVols: []vvol.ID{b}}, Subjects{Containers: []vvol.ContainerID{in}}, Subjects{Containers: []vvol.ContainerID{other}}
	both := Subjects{VVols: []vvol.ID{b, a}, Containers: []vvol.ContainerID{other}, Initiators: []string{"iqn.two", "iqn.one"}}
	gone := Subjects{VVols: []vvol.ID{{9}}}
	hits := []Subjects{ofA, ofB, inPool, elsewhere, both, gone, {}}
	for conditions, want := range map[string]string{
		"":                            "xxxxxxx",
		"op=other":                    ".......",
		`vvol="my disk"`:              "x...x..",
		"vvol=" + a.String():          "x...x..",
		"vvol=" + vvol.ID{9}.String(): ".....x.",
		"container=pool":              "x.x.x..",
		"container=" + in.String():    "x.x.x..",
		"container=b":                 ".x.xx..",
		"container=nowhere":           ".......",
		"host=iqn.one":                "....x..",
		"host=IQN.One":                "....x..",
		"host=iqn.on":                 ".......",
		"vvol=b container=b":          ".x..x..",
		"vvol=b container=pool":       "....x..",
		"op=bind vvol=b host=iqn.two": "....x..",
		"op=other vvol=b":             ".......",
		"vvol=b count=1":              ".x.....",
	} {
		add(t, i, "vasa "+conditions+" -> fault OutOfResource")
		got := ""
		for _, s := range hits {
			if call(s) {
				got += "x"
			} else {
				got += "."
			}
		}
		require.Equal(t, want, got, conditions)
		require.EqualValues(t, strings.Count(want, "x"), i.List()[0].Hits, conditions)
		require.NoError(t, i.Clear(t.Context()))
	}
	looked = 0
	add(t, i, "vasa op=other vvol=b -> hang")
	add(t, i, "vasa for=1h after=99 -> hang")
	require.False(t, call(ofB))
	require.Zero(t, looked, "nobody wants to know")
	add(t, i, "vasa vvol=c -> hang")
	add(t, i, "vasa container=c -> hang")
	require.False(t, call(ofB))
	require.Equal(t, 1, looked)
	require.NoError(t, i.Clear(t.Context()))
	add(t, i, "vasa vvol=b -> fault OutOfResource")
	_, err := i.NewProvider(&invoked{}, Failures{Fault: func(string, string) (error, bool) { return errFault, true }}).Invoke(t.Context(), "bind", nil)
	require.NoError(t, err, "a provider that can't tell")
}

// What rules do to a provider's connections, sessions and events.
func TestProviderUnrest(t *testing.T) {
	i := open(t, Options{Named: func(string, string) error { return nil }})
	var did []string
	session := false
	reconnected := 0
	i.OnReconnect(func() { reconnected++ })
	p := i.NewProvider(&invoked{}, Failures{Silence: errSilence, Fault: func(string, string) (error, bool) { return errFault, true },
		HasSession: func(context.Context) bool { return session },
		EndSession: func(context.Context) error { did = append(did, "end"); return errFault },
		LoseEvents: func(context.Context) { did = append(did, "lose") },
		Storm:      func(_ context.Context, n int) { did = append(did, fmt.Sprint("storm ", n)) }})
	call := func(op string) error {
		_, err := p.Invoke(t.Context(), op, nil)
		return err
	}
	add(t, i, "vasa -> drop-session")
	require.NoError(t, call("bind"), "there is no session")
	require.Zero(t, i.List()[0].Hits)
	session = true
	require.ErrorIs(t, call("bind"), errFault)
	require.NoError(t, i.Clear(t.Context()))
	add(t, i, "vasa -> event-storm 7")
	add(t, i, "vasa op=getEvents -> lose-events")
	require.NoError(t, call("bind"))
	require.NoError(t, call("getEvents"))
	require.NoError(t, i.Remove(t.Context(), i.List()[0].ID))
	require.NoError(t, call("getEvents"))
	require.Equal(t, []string{"end", "storm 7", "lose"}, did)
	require.NoError(t, i.Clear(t.Context()))
	require.Zero(t, reconnected)

	down, flaw := i.Handshake()
	require.False(t, down || flaw != "")
	add(t, i, "vasa -> hang")
	down, flaw = i.Handshake()
	require.False(t, down || flaw != "", "it is about operations")
	require.NoError(t, i.Clear(t.Context()))
	add(t, i, "vasa count=1 -> certificate wrong-name")
	require.Equal(t, 1, reconnected)
	require.NoError(t, call("bind"))
	down, flaw = i.Handshake()
	require.False(t, down)
	require.Equal(t, "wrong-name", flaw)
	_, flaw = i.Handshake()
	require.Empty(t, flaw)
	add(t, i, "vasa -> down")
	require.Equal(t, 2, reconnected)
	down, _ = i.Handshake()
	require.True(t, down)
	require.ErrorIs(t, call("bind"), errSilence)
	require.NoError(t, i.Clear(t.Context()))
	require.Equal(t, 4, reconnected)
}

// awaitHits returns when a rule has broken n events.
func awaitHits(t testing.TB, i *Injector, id string, n uint64) {
	t.Helper()
	require.Eventually(t, func() bool {
		s, err := i.Show(id)
		return err == nil && s.Hits >= n
	}, time.Minute, time.Millisecond)
}

// What several rules hold goes on in the order in which it came when all rules go.
func TestHeldInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := open(t, Options{})
		add(t, i, "lu -> apd")
		add(t, i, "engine -> delay 1h")
		var mu sync.Mutex
		var went []int
		var wait sync.WaitGroup
		for k := range 40 {
			wait.Go(func() {
				require.True(t, i.entries[k%2].wait(nil))
				mu.Lock()
				went = append(went, k)
				mu.Unlock()
			})
			synctest.Wait()
		}
		require.Empty(t, went)
		require.NoError(t, i.Clear(t.Context()))
		wait.Wait()
		require.Len(t, went, 40)
		require.IsIncreasing(t, went)
	})
}
