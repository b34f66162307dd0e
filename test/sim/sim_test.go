package sim

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
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
	usualSeeds    = 20
	replayedSeeds = 5
	usualSteps    = 40
	linesShown    = 60 // of the log of a run that failed
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

// eachSeed tests seeds at once: so many from the time of the day on, or as VVSIM_SIM_SEED says
// from that one on, alone unless VVSIM_SIM_SEEDS says how many.
func eachSeed(t *testing.T, usual uint64, f func(t *testing.T, seed uint64)) {
	first := setting(t, "VVSIM_SIM_SEED", 0)
	if first == 0 {
		first = uint64(time.Now().UnixNano()) / 1000
	} else {
		usual = 1
	}
	for i := range setting(t, "VVSIM_SIM_SEEDS", usual) {
		t.Run(fmt.Sprint("seed=", first+i), func(t *testing.T) {
			t.Parallel()
			f(t, first+i)
		})
	}
}

// TestSeeds plays seeds, VVSIM_SIM_STEPS steps of each.
func TestSeeds(t *testing.T) {
	eachSeed(t, usualSeeds, func(t *testing.T, seed uint64) { playSeed(t, seed) })
}

// plantedLie is the variable that has a run fail: what is read from this step on is wrong.
const plantedLie = "VVSIM_SIM_LIE"

// playSeed plays one run, and returns its log.
func playSeed(t *testing.T, seed uint64) (log []string) {
	synctest.Test(t, func(t *testing.T) {
		s := &run{t: t, seed: seed, lie: int(setting(t, plantedLie, 0))}
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

// TestReplay shows that a seed repeats its run: the same steps and outcomes at the same times.
func TestReplay(t *testing.T) {
	eachSeed(t, replayedSeeds, func(t *testing.T, seed uint64) {
		first, second := playSeed(t, seed), playSeed(t, seed)
		require.NotEmpty(t, first)
		at := 0
		for at < min(len(first), len(second)) && first[at] == second[at] {
			at++
		}
		require.Equal(t, first[at:min(at+1, len(first))], second[at:min(at+1, len(second))], "line %d of VVSIM_SIM_SEED=%d", at, seed)
	})
}

var printedSeed = regexp.MustCompile(`VVSIM_SIM_SEED=(\d+) repeats it`)

// TestFailure has a run fail, and shows that it prints its seed, and that TestSeeds with this seed
// fails in the same way: same steps, outcomes and times. Without the lie it does not fail.
func TestFailure(t *testing.T) {
	play := func(variables ...string) (string, error) {
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSeeds$", "-test.v")
		c.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "VVSIM_SIM_") }), variables...)
		out, err := c.CombinedOutput()
		return string(out), err
	}
	const lie = plantedLie + "=20"
	first, err := play("VVSIM_SIM_SEEDS=1", lie)
	require.Error(t, err, first)
	m := printedSeed.FindStringSubmatch(first)
	require.NotNil(t, m, "a seed is not printed:\n%s", first)
	seed := strings.TrimSuffix(m[0], " repeats it")
	second, err := play(seed, lie)
	require.Error(t, err, second)
	require.Equal(t, told(t, first), told(t, second), "%s does not repeat its failure", seed)
	third, err := play(seed)
	require.NoError(t, err, third)
}

// told is what a run that failed tells of its failure, without how long it took.
func told(t *testing.T, out string) string {
	_, out, ok := strings.Cut(out, "=== CONT ")
	require.True(t, ok, out)
	out, _, ok = strings.Cut(out, "\n--- FAIL")
	require.True(t, ok, out)
	require.Contains(t, out, "the array holds something else than was written")
	return out
}
