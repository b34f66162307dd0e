package array

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/initiator"
	"vvsim/vvol"
)

// waitLimit bounds the wait for something that happens soon.
const (
	waitLimit = 10 * time.Second
	tick      = 10 * time.Millisecond
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"),
		goleak.IgnoreAnyFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// start starts an array in memory on free ports; edit may change its configuration.
func start(t testing.TB, edit ...func(*Config)) *Array { return startLogged(t, zap.NewNop(), edit...) }

// startLogged starts one that logs there.
func startLogged(t testing.TB, log *zap.Logger, edit ...func(*Config)) *Array {
	c := DefaultConfig()
	c.Data, c.API.Addr, c.VASA.Addr, c.ISCSI.Portals = InMemory, "127.0.0.1:0", "127.0.0.1:0", []string{"127.0.0.1:0"}
	c.Drain = Duration(minWait)
	for _, e := range edit {
		e(&c)
	}
	require.NoError(t, c.Validate())
	a, err := Open(t.Context(), c, "test", log)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close(context.Background())) })
	require.NoError(t, a.Start(t.Context()))
	return a
}

// get asks the API.
func get(t testing.TB, a *Array, path string) (status int, body string) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.Ready().API+path, nil)
	require.NoError(t, err)
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(b)
}

func login(t testing.TB, a *Array, name string) *initiator.Session {
	r := a.Ready()
	s, err := initiator.Dial(t.Context(), initiator.Options{Address: r.ISCSI[0], TargetName: r.IQN, InitiatorName: name})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// volume makes a volume of 1 MiB and a session's unit of it.
func volume(t testing.TB, a *Array, name, host string) (vvol.VirtualVolume, *initiator.Unit) {
	v, err := a.service.Create(t.Context(), vvol.CreateSpec{Container: "default", Size: 1 << 20, Type: vvol.Data, Name: name})
	require.NoError(t, err)
	b, err := a.service.Bind(t.Context(), v.ID, host)
	require.NoError(t, err)
	u := login(t, a, host).Unit(scsi.LUN(a.wireLUN(256, b.Secondary)))
	_, err = u.ClearAttentions(t.Context())
	require.NoError(t, err)
	return v, u
}

// TestTwoArrays runs two in one process: they share nothing.
func TestTwoArrays(t *testing.T) {
	a, b := start(t), start(t)
	require.NotEqual(t, a.Ready().IQN, b.Ready().IQN)
	require.NotEqual(t, a.Ready().API, b.Ready().API)
	_, ua := volume(t, a, "disk", "iqn.2026-01.test:host")
	_, ub := volume(t, b, "disk", "iqn.2026-01.test:host")
	ones, zeros := []byte(strings.Repeat("\x01", 4096)), make([]byte, 4096)
	_, err := ua.WriteAt(t.Context(), ones, 0, false)
	require.NoError(t, err)
	p := make([]byte, 4096)
	_, err = ub.ReadAt(t.Context(), p, 0)
	require.NoError(t, err)
	require.Equal(t, zeros, p)

	require.NoError(t, (&knobSource{a: a}).Set(map[string]any{"bind_attention": "none"}))
	require.Equal(t, "3f/0e", (&knobSource{a: b}).Get()["bind_attention"])
	require.NoError(t, a.Close(t.Context()))
	_, err = ub.ReadAt(t.Context(), p, 0)
	require.NoError(t, err, "the end of one is nothing to the other")
	require.Empty(t, a.Ready().API)
}

// TestKnobPatch refuses a change as a whole and names the key.
func TestKnobPatch(t *testing.T) {
	a := start(t)
	k := &knobSource{a: a}
	before := k.Get()
	for want, patch := range map[string]map[string]any{
		"esxi.colour: unknown key":                         {"colour": "red", "pe_media": "zeros"},
		"esxi.pe_media: 3 is no text":                      {"pe_media": 3.0},
		"esxi.explicit_alua: yes is no truth value":        {"explicit_alua": "yes"},
		"esxi.explicit_alua: <nil> is no truth value":      {"explicit_alua": nil},
		`esxi.unbound_sense: "00/00" is neither 25/00 nor`: {"unbound_sense": "00/00", "pe_media": "zeros"},
	} {
		err := k.Set(patch)
		require.ErrorIs(t, err, vvol.ErrInvalid)
		require.ErrorContains(t, err, want)
		require.Equal(t, before, k.Get())
	}
	require.NoError(t, k.Set(map[string]any{"pe_media": "zeros", "explicit_alua": true}))
	require.Equal(t, "zeros", k.Get()["pe_media"])
	require.Equal(t, true, k.Get()["explicit_alua"])
}

// figureOf is the value of one series of /metrics; labels is a part of its labels.
func figureOf(t testing.TB, metrics, name, labels string) float64 {
	series := regexp.MustCompile(`(?m)^` + name + `(\{[^\n]*\})? ([0-9.e+]+)$`)
	for _, m := range series.FindAllStringSubmatch(metrics, -1) {
		if strings.Contains(m[1], labels) {
			v, err := strconv.ParseFloat(m[2], 64)
			require.NoError(t, err)
			return v
		}
	}
	t.Fatalf("no %s with %s in\n%s", name, labels, metrics)
	return 0
}

// TestMetrics counts a known load, and looks for the figures again when volume and
// session are gone.
func TestMetrics(t *testing.T) {
	a := start(t)
	const host = "iqn.2026-01.test:host"
	v, u := volume(t, a, "disk1", host)
	_, before := get(t, a, "/metrics")
	sessionBefore := figureOf(t, before, "vvsim_session_commands_total", host)
	stats, err := (&initiator.Load{BlockSize: 8192, Count: 50, QueueDepth: 4, Seed: 1}).Run(t.Context(), u)
	require.NoError(t, err)
	require.Equal(t, uint64(50), stats.Writes)
	stats, err = (&initiator.Load{BlockSize: 4096, Count: 30, QueueDepth: 4, ReadPercent: 100, Seed: 1}).Run(t.Context(), u)
	require.NoError(t, err)
	require.Equal(t, uint64(30), stats.Reads)
	_, err = u.Execute(t.Context(), []byte{0xff, 0, 0, 0, 0, 0}, nil, 0)
	require.ErrorContains(t, err, "05/20/00")

	status, m := get(t, a, "/metrics")
	require.Equal(t, http.StatusOK, status)
	of := func(op string) string { return fmt.Sprintf(`name="disk1",opcode="%s",vvol="%v"`, op, v.ID) }
	require.EqualValues(t, 50, figureOf(t, m, "vvsim_lu_commands_total", of("8Ah")))
	require.EqualValues(t, 0, figureOf(t, m, "vvsim_lu_errors_total", of("8Ah")))
	require.EqualValues(t, 50*8192, figureOf(t, m, "vvsim_lu_bytes_total", `direction="out",`+of("8Ah")))
	require.EqualValues(t, 0, figureOf(t, m, "vvsim_lu_bytes_total", `direction="in",`+of("8Ah")))
	require.EqualValues(t, 50, figureOf(t, m, "vvsim_lu_latency_seconds_count", of("8Ah")))
	require.EqualValues(t, 30, figureOf(t, m, "vvsim_lu_commands_total", of("88h")))
	require.EqualValues(t, 30*4096, figureOf(t, m, "vvsim_lu_bytes_total", `direction="in",`+of("88h")))
	require.EqualValues(t, 1, figureOf(t, m, "vvsim_lu_errors_total", of("FFh")))
	require.EqualValues(t, 1, figureOf(t, m, "vvsim_lu_attached", ""))
	require.EqualValues(t, 1, figureOf(t, m, "vvsim_sessions_open", ""))
	require.GreaterOrEqual(t, figureOf(t, m, "vvsim_session_commands_total", host)-sessionBefore, 81.0)
	require.GreaterOrEqual(t, figureOf(t, m, "vvsim_session_bytes_total", `direction="out",initiator="`+host), 50.0*8192)
	require.GreaterOrEqual(t, figureOf(t, m, "vvsim_session_errors_total", host), 1.0)
	require.GreaterOrEqual(t, figureOf(t, m, "vvsim_session_latency_seconds_count", host), 81.0)
	require.Positive(t, figureOf(t, m, "vvsim_session_latency_seconds_sum", host))
	require.Positive(t, figureOf(t, m, "vvsim_engine_live_bytes", ""))
	require.EqualValues(t, 1, figureOf(t, m, "vvsim_engine_volumes", ""))
	for _, name := range []string{"disk", "garbage", "reclaimed", "pending"} {
		require.Contains(t, m, "\nvvsim_engine_"+name+"_bytes")
	}
	require.Contains(t, m, "\nvvsim_engine_compactions_total")
	require.Contains(t, m, "\nvvsim_engine_reclaim_bytes_per_second ")
	require.Contains(t, m, "\nvvsim_engine_longest_hold_seconds ")

	require.NoError(t, a.service.UnbindAll(t.Context(), v.ID))
	for _, s := range a.iscsi.Sessions() {
		require.True(t, a.iscsi.Drop(s.ID))
	}
	require.Eventually(t, func() bool {
		_, m = get(t, a, "/metrics")
		return !strings.Contains(m, host) && !strings.Contains(m, "disk1")
	}, waitLimit, tick)
}

// TestNames lets an initiator log in whose name is not all ASCII, and refuses one whose
// name is no text: metrics and lists live on.
func TestNames(t *testing.T) {
	a := start(t)
	login(t, a, "iqn.2026-01.test:b\u00fccher")
	_, err := initiator.Dial(t.Context(), initiator.Options{Address: a.Ready().ISCSI[0], TargetName: a.Ready().IQN, InitiatorName: "iqn.2026-01.test:\xff\xfe\"\n"})
	require.ErrorContains(t, err, "0200")
	for _, path := range []string{"/metrics", "/api/v1/sessions", "/api/v1/hosts", "/healthz"} {
		status, body := get(t, a, path)
		require.Equal(t, http.StatusOK, status, "%s: %s", path, body)
	}
	_, m := get(t, a, "/metrics")
	require.EqualValues(t, 1, figureOf(t, m, "vvsim_sessions_open", ""))
}

// TestEveryAddress listens on every address: it is published as it was given, with
// the real port.
func TestEveryAddress(t *testing.T) {
	a := start(t, func(c *Config) {
		c.ISCSI.Portals, c.ISCSI.AllowAnonymous = []string{"0.0.0.0:0", "127.0.0.1:0"}, true
		c.API.Addr, c.API.Token = "0.0.0.0:0", "secret"
	})
	r := a.Ready()
	require.Regexp(t, `^0\.0\.0\.0:[1-9]\d*$`, r.ISCSI[0])
	require.Regexp(t, `^127\.0\.0\.1:[1-9]\d*$`, r.ISCSI[1])
	require.Regexp(t, `^http://0\.0\.0\.0:[1-9]\d*$`, r.API)
	login(t, a, "iqn.2026-01.test:host")
	status, _ := get(t, a, "/readyz")
	require.Equal(t, http.StatusOK, status)
	status, _ = get(t, a, "/api/v1/vvols")
	require.Equal(t, http.StatusUnauthorized, status)
}
