package sim

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"), goleak.IgnoreAnyFunction("go.opencensus.io/stats/view.(*worker).start"))
}

const (
	usualSeeds = 20
	usualSteps = 40
	linesShown = 60 // of the log of a run that failed
)

// setting reads an environment variable; def when it is not there.
func setting(t *testing.T, name string, def uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return def
	}
	n, err := strconv.ParseUint(text, 0, 64)
	require.NoError(t, err, name)
	return n
}

// TestSeeds plays seeds, from the time of the day on: VVSIM_SIM_SEEDS=N so many, VVSIM_SIM_SEED=N that one;
// VVSIM_SIM_STEPS=N steps of each.
func TestSeeds(t *testing.T) {
	first, n := setting(t, "VVSIM_SIM_SEED", 0), setting(t, "VVSIM_SIM_SEEDS", usualSeeds)
	if first == 0 {
		first = uint64(time.Now().UnixNano()) / 1000
	} else {
		n = 1
	}
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			playSeed(t, seed)
		})
	}
}

// playSeed plays one run, and returns its log.
func playSeed(t *testing.T, seed uint64) (log []string) {
	synctest.Test(t, func(t *testing.T) {
		s := &run{t: t, seed: seed}
		defer func() {
			s.close()
			log = s.log
			if t.Failed() {
				t.Logf("VVSIM_SIM_SEED=%d repeats it; its last steps:\n%s", seed, strings.Join(s.log[max(0, len(s.log)-linesShown):], "\n"))
			} else if testing.Verbose() {
				t.Logf("%v of time: %v", time.Since(s.began).Round(time.Second), s.counts)
			}
		}()
		s.start()
		s.play(int(setting(t, "VVSIM_SIM_STEPS", usualSteps)))
		if !t.Failed() {
			s.finish()
		}
	})
	return log
}

// replays is how often TestReplay plays a seed again until it has met its first run. Two
// things at one instant have no order, in the array as in life; seldom that shows in a run.
const replays = 6

// TestReplay shows that a seed repeats its run: the same steps and outcomes at the same times.
func TestReplay(t *testing.T) {
	seed := setting(t, "VVSIM_SIM_SEED", uint64(time.Now().UnixNano())/1000)
	t.Logf("VVSIM_SIM_SEED=%d", seed)
	first := playSeed(t, seed)
	require.NotEmpty(t, first)
	for range replays {
		second := playSeed(t, seed)
		if slices.Equal(first, second) {
			return
		}
		for i := range min(len(first), len(second)) {
			if first[i] != second[i] {
				t.Logf("line %d: %q, and %q before", i, second[i], first[i])
				break
			}
		}
	}
	t.Errorf("none of %d plays was as the first", replays)
}
