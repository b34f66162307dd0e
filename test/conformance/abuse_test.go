package conformance

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/test/process"
	"vvsim/test/unrest"
	"vvsim/vasa/vasatest"
)

const (
	abuseRounds  = 25
	abuseTime    = 400 * time.Millisecond // of the load in a round, if it gets anywhere
	abuseLimit   = 2 * time.Second        // after which it is killed
	settleLimit  = time.Minute
	moreRoutines = 12 // goroutines that an array may have more than before
)

// ioName is the initiator name of vvsim io.
const ioName = "iqn.2026-11.dev.vvsim:io"

// abuse adds rules with any action, puts a load on the array that they break, of commands and of
// hosts that use the provider, and takes them away, again and again; then it waits until the array
// is at rest, and shows that its provider is as ever.
func abuse(t *testing.T, a *process.Array) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("VVSIM_FAULT_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 0, 64)
		require.NoError(t, err)
	}
	t.Logf("VVSIM_FAULT_SEED=%d", seed)
	before := goroutines(t, a)
	tenants := newTenants(t, a)
	names := unrest.Names{VVols: []string{"conformance", "conformance", "frozen", "tenant"}, Containers: []string{"default"}, Hosts: []string{ioName, tenantName},
		Redirect: portal(a, 1), Keep: true}
	r := rand.New(rand.NewPCG(seed, 0))
	for range abuseRounds {
		last := ""
		for range 1 + r.IntN(4) {
			rule := unrest.Any(t, r, names, last)
			t.Log(rule)
			last = a.Run("fault", "add", rule)
		}
		lives := live(t, tenants)
		ctx, cancel := context.WithTimeout(t.Context(), abuseLimit)
		load := a.Command(ctx, "io", "bench", "--lun", "0", "--sessions", "2", "--depth", "8", "--reads", "50", "--time", abuseTime.String(),
			"--flush-every", "10", "--portal", portal(a, 0), "--portal", portal(a, 1))
		_ = load.Run() // it may end in any way
		cancel()
		a.Run("fault", "clear")
		lives()
	}
	for _, x := range tenants {
		left, err := x.Sweep(t.Context())
		require.NoError(t, err)
		require.Empty(t, left)
		require.NoError(t, x.Life(t.Context()))
		x.Close()
	}
	var volumes []any
	require.NoError(t, json.Unmarshal([]byte(a.Run("vvol", "list", "-o", "json")), &volumes))
	require.Len(t, volumes, 2, "of lives that failed nothing is left")
	a.Run("provider", "exercise")
	require.Eventually(t, func() bool {
		var open []any
		require.NoError(t, json.Unmarshal([]byte(a.Run("session", "list", "-o", "json")), &open))
		return len(open) == 0 && goroutines(t, a) <= before+moreRoutines
	}, settleLimit, 200*time.Millisecond, "the array comes to rest with the sessions and goroutines that it had; %d before", before)
	require.Equal(t, "[]", a.Run("fault", "list", "-o", "json"))
	a.Run("doctor")
}

// tenantName is the initiator of a host that uses the provider and has no sessions.
const tenantName = "iqn.1998-01.com.vmware:tenant"

// newTenants makes hosts that use the provider.
func newTenants(t *testing.T, a *process.Array) []*unrest.Tenant {
	roots := x509.NewCertPool()
	ca, err := os.ReadFile(a.Variable("VVSIM_CA"))
	require.NoError(t, err)
	require.True(t, roots.AppendCertsFromPEM(ca))
	url, err := vasatest.Locate(t.Context(), a.Variable("VVSIM_VASA_URL"))
	require.NoError(t, err)
	all, err := unrest.NewTenants(t.Context(), vasatest.Options{URL: url, Roots: roots}, a.Variable("VVSIM_VASA_USER"), a.Variable("VVSIM_VASA_PASSWORD"), ioName, tenantName)
	require.NoError(t, err)
	return all
}

// live has hosts use the provider until stop is called, which waits for what they do then.
func live(t *testing.T, tenants []*unrest.Tenant) (stop func()) {
	var enough atomic.Bool
	var lives sync.WaitGroup
	for _, x := range tenants {
		lives.Go(func() {
			for !enough.Load() {
				_ = x.Life(t.Context()) // it may end in any way
			}
		})
	}
	over := make(chan struct{})
	go func() { lives.Wait(); close(over) }()
	return func() {
		enough.Store(true)
		select {
		case <-over:
		case <-time.After(settleLimit):
			require.Fail(t, "an operation of the provider hangs, without rules")
		}
	}
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
