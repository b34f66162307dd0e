package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/fault"
	"vvsim/test/process"
	"vvsim/test/sim"
)

const (
	abuseRounds  = 25
	abuseTime    = 400 * time.Millisecond // of the load in a round, if it gets anywhere
	abuseLimit   = 2 * time.Second        // after which it is killed
	settleLimit  = time.Minute
	moreRoutines = 12 // goroutines that an array may have more than before
)

// lies are rules that the simulation leaves out, as no oracle knows what is right then.
func lies(r *rand.Rand) string {
	list := []string{"corrupt", "corrupt 3", "torn 0", "torn 512 silent", "late 1ms..50ms", "duplicate", "short 512", "residual 512", "residual 3 over",
		"digest", "digest header", "reservation-lost", "miscompare"}
	return "lu vvol=conformance" + []string{"", " portal=1", " portal=2"}[r.IntN(3)] + []string{"", " count=3", " p=0.2"}[r.IntN(3)] + " -> " + list[r.IntN(len(list))]
}

// anyRule draws a rule of any layer.
func anyRule(r *rand.Rand) string {
	provider := []string{"vasa -> hang", "vasa -> delay 1s", "vasa -> drop", "vasa p=0.5 -> drop", "vasa container=default -> hang", "vasa vvol=conformance p=0.5 -> drop"}
	for {
		rule := quick(sim.AnyRule(r, "conformance", "conformance", "frozen"))
		switch r.IntN(6) {
		case 0, 1:
			rule = lies(r)
		case 2:
			rule = provider[r.IntN(len(provider))]
		}
		if _, err := fault.Parse(rule); err == nil {
			return rule
		}
	}
}

var (
	hosts   = regexp.MustCompile(`host=\S+`)
	seconds = regexp.MustCompile(`(for|each)=(\d+)\d{3}ms`)
)

// quick makes a rule of the simulation one that a load of moments meets.
func quick(rule string) string {
	rule = hosts.ReplaceAllString(rule, "host=iqn.2026-11.dev.vvsim:io") // of vvsim io
	return seconds.ReplaceAllString(strings.ReplaceAll(rule, "from=10007ms", "from=50ms"), "$1=${2}ms")
}

// abuse adds rules, puts a load on the array that they break, and takes them away, again and
// again; then it waits until the array is at rest.
func abuse(t *testing.T, a *process.Array) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("VVSIM_FAULT_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 0, 64)
		require.NoError(t, err)
	}
	t.Logf("VVSIM_FAULT_SEED=%d", seed)
	before := goroutines(t, a)
	r := rand.New(rand.NewPCG(seed, 0))
	for range abuseRounds {
		for range 1 + r.IntN(4) {
			rule := anyRule(r)
			t.Log(rule)
			a.Run("fault", "add", rule)
		}
		ctx, cancel := context.WithTimeout(t.Context(), abuseLimit)
		load := a.Command(ctx, "io", "bench", "--lun", "0", "--sessions", "2", "--depth", "8", "--reads", "50", "--time", abuseTime.String(),
			"--flush-every", "10", "--portal", portal(a, 0), "--portal", portal(a, 1))
		_ = load.Run() // it may end in any way
		cancel()
		a.Run("fault", "clear")
	}
	require.Eventually(t, func() bool {
		var open []any
		require.NoError(t, json.Unmarshal([]byte(a.Run("session", "list", "-o", "json")), &open))
		return len(open) == 0 && goroutines(t, a) <= before+moreRoutines
	}, settleLimit, 200*time.Millisecond, "the array comes to rest with the sessions and goroutines that it had; %d before", before)
	require.Equal(t, "[]", a.Run("fault", "list", "-o", "json"))
	a.Run("doctor")
}

var gauge = regexp.MustCompile(`(?m)^go_goroutines (\d+)$`)

// goroutines is how many the array has.
func goroutines(t *testing.T, a *process.Array) int {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.Variable("VVSIM_API")+"/metrics", nil)
	require.NoError(t, err)
	req.Close = true // a connection that is kept is two goroutines
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	m := gauge.FindSubmatch(b)
	require.NotNil(t, m, "/metrics has no go_goroutines")
	n := 0
	_, err = fmt.Sscan(string(m[1]), &n)
	require.NoError(t, err)
	return n
}

// portal is the address of one.
func portal(a *process.Array, i int) string { return strings.Split(a.Variable("VVSIM_ISCSI"), ",")[i] }
