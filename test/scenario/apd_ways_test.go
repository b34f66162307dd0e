package scenario

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/api"
	"vvsim/fault/preset"
	"vvsim/scsi/iscsi/host"
)

// TestWaysOfAPD takes a host with the defaults of ESXi through each way of the preset apd (scsi.md
// 2.4). It writes while everything goes down; what is compared is the second in which it says
// that all paths are down, or that it never does. After the array has healed, every write is
// there, and the host finds its device as it was.
func TestWaysOfAPD(t *testing.T) {
	ways := map[string]struct {
		apd   string // in the device's history; "" for a way that is no APD
		state host.DeviceState
	}{
		"down":        {"10s apd", host.APD},   // RecoveryTimeout; it can't log in
		"stall":       {"35s apd", host.APD},   // NoopInterval, NoopTimeout, RecoveryTimeout
		"silent":      {"1m10s apd", host.APD}, // on each path a command, 30 s, and TEST UNIT READY, 10 s; the second path has its command from the 30 s on
		"forgotten":   {"1m10s apd", host.APD}, // as silent
		"login":       {"10s apd", host.APD},   // as down
		"unavailable": {"", host.Degraded},
		"media":       {"", host.On},
	}
	p, ok := preset.Find("apd")
	require.True(t, ok)
	require.Len(t, p.Ways, len(ways))
	for _, w := range p.Ways {
		want, ok := ways[w.Name]
		require.True(t, ok, w.Name)
		t.Run(w.Name, func(t *testing.T) {
			story(t, func(t *testing.T, l *lab) {
				x := l.esx("esx1", nil)
				d := x.open(l.create("victim", 8<<20), host.ByGuest)
				content := random(1, 4096)
				l.write(d.unit, 0, content)
				added := call[api.PlayedPreset](l, "POST", "/api/v1/fault-presets/apd", map[string]any{"way": w.Name}, http.StatusCreated).Added
				next := random(2, 4096)
				written := d.write(0, next)
				pass(2 * time.Minute)
				require.Empty(t, written)
				require.Equal(t, want.state, d.State(), d.history())
				if want.apd == "" {
					for _, told := range d.history() {
						require.NotContains(t, told, "apd")
					}
				} else {
					require.Contains(t, d.history(), want.apd)
				}
				for _, f := range added {
					l.removeFault(f)
				}
				pass(10 * time.Minute)
				require.NoError(t, <-written)
				require.Equal(t, host.On, d.State())
				l.holds(d.unit, 0, next)
			})
		})
	}
}
