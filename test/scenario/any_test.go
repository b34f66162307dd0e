package scenario

import (
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/api"
	"vvsim/scsi/iscsi/initiator"
	"vvsim/test/unrest"
	"vvsim/vasa"
	"vvsim/vasa/vasatest"
)

// TestAnyFaults throws commands, logins and two hosts that use the provider at rules with any
// action, aborts some, and shows that nothing is left once the rules are gone: data and provider
// are as ever, and there are the same volumes, bindings and sessions. VVSIM_FAULT_SEED repeats a run.
func TestAnyFaults(t *testing.T) {
	seed := rand.Uint64()
	if x := os.Getenv("VVSIM_FAULT_SEED"); x != "" {
		_, err := fmt.Sscan(x, &seed)
		require.NoError(t, err)
	}
	s := &disorder{stage: newStage(t), r: rand.New(rand.NewPCG(seed, 1)), hits: map[string]uint64{}}
	t.Logf("seed %d", seed)
	s.names = unrest.Names{VVols: []string{"victim", "sister", "tenant"}, Containers: []string{"default"}, Hosts: []string{iqn("esx1"), iqn("esx3")}, Redirect: s.a.Ready().ISCSI[1]}
	v, roots := s.a.Ready().VASA, x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(v.CA))
	var err error
	s.tenants, err = unrest.NewTenants(s.ctx, vasatest.Options{URL: strings.TrimSuffix(v.URL, vasa.VersionPath) + vasa.ServicePath, Roots: roots}, v.User, v.Password, s.names.Hosts...)
	require.NoError(t, err)
	t.Cleanup(func() {
		for _, x := range s.tenants {
			x.Close()
		}
	})
	for range 30 {
		s.round()
	}
	t.Logf("rules have met events: %v", s.hits)
	for _, layer := range []string{"lu", "vasa"} {
		require.NotZero(t, s.hits[layer], "no rule of %s met anything", layer)
	}
}

// disorder is a stage with rules of any kind.
type disorder struct {
	*stage
	r       *rand.Rand
	names   unrest.Names
	tenants []*unrest.Tenant
	hits    map[string]uint64 // by layer
	rules   []string          // of the present round
}

// round adds rules, throws everything at them, and takes them away.
func (s *disorder) round() {
	before := ""
	s.rules = nil
	for range 1 + s.r.IntN(5) {
		rule := unrest.Any(s.t, s.r, s.names, before)
		before = call[api.Fault](s.lab, "POST", "/api/v1/faults", map[string]any{"rule": rule}, http.StatusCreated).ID
		s.rules = append(s.rules, rule)
		s.t.Log(rule)
	}
	visit, lives := begun(s.visit), begun(func() {
		var all sync.WaitGroup
		for _, x := range s.tenants {
			all.Go(func() { _ = x.Life(s.ctx) }) // it may end in any way
		}
		all.Wait()
	})
	all := s.load()
	s.met(lives)
	call[any](s.lab, "DELETE", "/api/v1/faults", nil, http.StatusNoContent)
	for _, f := range all {
		s.path1.Cancel(&f.call) // what a rule forgot is not answered
	}
	for what, over := range map[string]<-chan struct{}{"a login": visit, "an operation of the provider": lives} {
		select {
		case <-over:
		case <-time.After(time.Minute):
			require.Fail(s.t, what+" hangs, without rules")
		}
	}
	s.awaitIdle()
	s.settled()
}

// begun runs f, and tells when it is over.
func begun(f func()) <-chan struct{} {
	over := make(chan struct{})
	go func() { defer close(over); f() }()
	return over
}

// load sends commands on one path as long as it is there, and aborts half of them.
func (s *disorder) load() (all []*flying) {
	for range 16 {
		var f *flying
		var err error
		switch s.r.IntN(3) {
		case 0:
			f, err = s.start(tur, nil, 0)
		case 1:
			f, err = s.start(read8, nil, stageBytes)
		default:
			f, err = s.start(write8, s.content, 0)
		}
		if err == nil {
			all = append(all, f)
		}
	}
	for _, f := range all[:len(all)/2] {
		s.path1.Cancel(&f.call)
	}
	return all
}

// visit logs in and out again, if it gets so far.
func (s *disorder) visit() {
	r := s.a.Ready()
	x, err := initiator.Dial(s.ctx, initiator.Options{Address: r.ISCSI[0], TargetName: r.IQN, InitiatorName: iqn("esx3")})
	if err == nil {
		_ = x.Close()
	}
}

// met waits until rules have met the hosts that use the provider, or those are through, and
// counts what rules have met.
func (s *disorder) met(over <-chan struct{}) {
	count := func() (n map[string]uint64) {
		n = map[string]uint64{}
		for _, f := range call[[]api.Fault](s.lab, "GET", "/api/v1/faults", nil, 0) {
			layer, _, _ := strings.Cut(f.Rule, " ")
			n[layer] += f.Hits
		}
		return n
	}
	require.Eventually(s.t, func() bool {
		select {
		case <-over:
			return true
		default:
			return count()["vasa"] > 0
		}
	}, time.Minute, 5*time.Millisecond, "hosts that use the provider are held, and no rule has met them")
	for layer, n := range count() {
		s.hits[layer] += n
	}
}

// ending are actions that end sessions.
var ending = []string{" -> down", " -> reset", " -> logout", " -> drop-", " -> duplicate"}

// settled shows that all is as ever.
func (s *disorder) settled() {
	s.t.Helper()
	for _, x := range s.tenants {
		left, err := x.Sweep(s.ctx)
		require.NoError(s.t, err)
		require.Empty(s.t, left)
		require.NoError(s.t, x.Life(s.ctx))
	}
	lost := false
	for _, x := range []*initiator.Session{s.path1, s.path2, s.host2} {
		lost = x.NOP(s.ctx, nil) != nil || lost
	}
	if lost {
		may := false
		for _, rule := range s.rules {
			for _, action := range ending {
				may = may || strings.Contains(rule, action)
			}
		}
		require.True(s.t, may, "a session has ended")
		s.reconnect()
	}
	for _, u := range []*initiator.Unit{s.v1, s.v2, s.vh, s.sister, s.pe} {
		_, err := u.ClearAttentions(s.ctx)
		require.NoError(s.t, err)
	}
	s.write(s.v2, 0, s.content)
	s.write(s.sister, 0, s.sisterContent)
	s.healed()
	s.othersUnharmed()
	require.Len(s.t, call[[]api.VVol](s.lab, "GET", "/api/v1/vvols", nil, 0), 2)
	require.Len(s.t, call[[]api.Binding](s.lab, "GET", "/api/v1/bindings", nil, 0), 3)
	require.Eventually(s.t, func() bool { return len(call[[]api.Session](s.lab, "GET", "/api/v1/sessions", nil, 0)) == 3 }, time.Minute, time.Millisecond)
}

// awaitIdle returns when no session has a command.
func (s *stage) awaitIdle() {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		for _, x := range call[[]api.Session](s.lab, "GET", "/api/v1/sessions", nil, 0) {
			if x.InFlight > 0 {
				return false
			}
		}
		return true
	}, time.Minute, time.Millisecond)
}
