package conformance

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/test/process"
)

var (
	update = flag.Bool("update", false, "write what happened to expectations.txt, keeping reasons")
	only   = flag.String("only", "", "regular expression of test names")
)

const (
	expectationFile = "expectations.txt"
	testLimit       = 20 * time.Second // for one test
	volumeSize      = "64MiB"          // SANITIZE OVERWRITE writes all of it, several times
)

// expectation is one line: outcome, test, reason. The outcome is fail, skip, or
// race: the test passes or fails by timing, where both of what it may see is right.
type expectation struct{ outcome, name, reason string }

// allows tells whether a test that is listed as e may end so.
func (e expectation) allows(outcome string) bool {
	return outcome == e.outcome || e.outcome == "race" && outcome != "skip"
}

// TestConformance needs the built program (VVSIM_BIN) and iscsi-test-cu, Debian's
// libiscsi-bin; `make conformance` sees to both.
func TestConformance(t *testing.T) {
	if process.Program() == "" {
		t.Skip("needs the program at VVSIM_BIN: run make conformance")
	}
	tool, err := exec.LookPath("iscsi-test-cu")
	require.NoError(t, err, "iscsi-test-cu is of Debian's libiscsi-bin: run make conformance")
	_, volume, snapshot := startArray(t)
	runSuite(t, tool, volume, snapshot)
}

// TestConformanceAfterFaults throws rules of all kinds at an array under load, and shows that
// nothing is left of them once they are gone: no session, no goroutine, and the suite ends as
// ever. VVSIM_FAULT_SEED repeats the rules.
func TestConformanceAfterFaults(t *testing.T) {
	if process.Program() == "" {
		t.Skip("needs the program at VVSIM_BIN: run make conformance")
	}
	tool, err := exec.LookPath("iscsi-test-cu")
	require.NoError(t, err, "iscsi-test-cu is of Debian's libiscsi-bin: run make conformance")
	a, volume, snapshot := startArray(t)
	abuse(t, a)
	runSuite(t, tool, volume, snapshot)
}

// runSuite runs all tests and compares their outcomes with the expectations.
func runSuite(t *testing.T, tool string, volume, snapshot paths) {
	expected := readExpectations(t)
	var got []expectation
	count := map[string]int{}
	unexpected := 0
	for _, name := range listTests(t, tool) {
		unit := volume
		if strings.HasPrefix(name, "ALL.ReadOnly.") {
			unit = snapshot // they skip a unit that can be written
		}
		e := runTest(t, tool, name, unit)
		count[e.outcome]++
		want, known := expected[name]
		if !known {
			want.outcome = "pass"
		}
		mark := ""
		if !want.allows(e.outcome) {
			mark = "  UNEXPECTED, should " + want.outcome
			unexpected++
		}
		fmt.Printf("%s %s %s%s\n", strings.ToUpper(e.outcome), name, e.reason, mark)
		delete(expected, name)
		if want.outcome == "race" {
			e = want // keep the line with -update
		}
		if known && want.reason != "" {
			e.reason = want.reason
		}
		got = append(got, e)
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", count["pass"], count["fail"], count["skip"])
	if *update {
		writeExpectations(t, got)
		return
	}
	require.Zero(t, unexpected, "outcomes that differ from %s", expectationFile)
	if *only == "" {
		require.Empty(t, expected, "%s lists tests that the suite does not have", expectationFile)
	}
}

func readExpectations(t *testing.T) map[string]expectation {
	b, err := os.ReadFile(expectationFile)
	require.NoError(t, err)
	all := map[string]expectation{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.SplitN(line, " ", 3)
		require.Len(t, f, 3, "%s: %q: want outcome, test and reason", expectationFile, line)
		require.Contains(t, []string{"fail", "skip", "race"}, f[0], "%s: %q", expectationFile, line)
		require.NotContains(t, all, f[1], "%s: %q stands twice", expectationFile, line)
		all[f[1]] = expectation{f[0], f[1], f[2]}
	}
	return all
}

func writeExpectations(t *testing.T, all []expectation) {
	var b strings.Builder
	b.WriteString("# Tests of libiscsi's suite that do not pass: outcome, name, reason. Every other one has to pass.\n")
	for _, e := range all {
		if e.outcome != "pass" {
			fmt.Fprintf(&b, "%s %s %s\n", e.outcome, e.name, e.reason)
		}
	}
	require.NoError(t, os.WriteFile(expectationFile, []byte(b.String()), 0o644))
}

// paths are the URLs of one logical unit, one for each portal.
type paths []string

// startArray runs the program with two portals, a volume at LUN 0 and a read-only
// snapshot of it at LUN 1, and returns the paths to both.
func startArray(t *testing.T) (a *process.Array, volume, snapshot paths) {
	a = process.Start(t, t.TempDir(), "--iscsi", "127.0.0.1:0")
	t.Cleanup(func() { require.NoError(t, a.End(syscall.SIGTERM), "the array ended badly") })
	a.Run("vvol", "create", "--container", "default", "--size", volumeSize, "--name", "conformance")
	a.Run("vvol", "snapshot", "conformance", "--name", "frozen")
	a.Run("lun", "map", "conformance", "--lun", "0")
	a.Run("lun", "map", "frozen", "--lun", "1")
	for _, portal := range strings.Split(a.Variable("VVSIM_ISCSI"), ",") {
		target := "iscsi://" + portal + "/" + a.Variable("VVSIM_IQN")
		volume, snapshot = append(volume, target+"/0"), append(snapshot, target+"/1")
	}
	require.Len(t, volume, 2)
	return a, volume, snapshot
}

// listTests asks the tool; a test has three parts, of the family ALL.
func listTests(t *testing.T, tool string) (all []string) {
	out, err := exec.Command(tool, "--list").Output()
	require.NoError(t, err)
	filter := regexp.MustCompile(*only)
	for line := range strings.Lines(string(out)) {
		name := strings.TrimSpace(line)
		if strings.HasPrefix(name, "ALL.") && strings.Count(name, ".") == 2 && filter.MatchString(name) {
			all = append(all, name)
		}
	}
	require.NotEmpty(t, all)
	return slices.Compact(all)
}

var summary = regexp.MustCompile(`(?m)^\s*(tests|asserts)\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)`)

// runTest runs one test with a limit of its own and reads CUnit's closing table.
func runTest(t *testing.T, tool, name string, unit paths) expectation {
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, tool, append([]string{"--dataloss", "--allow-sanitize", "--fail", "--verbose", "--Verbose-scsi", "--test=" + name}, unit...)...).CombinedOutput()
	var exit *exec.ExitError
	if ctx.Err() != nil {
		return expectation{"fail", name, "timeout"}
	}
	if errors.As(err, &exit) && exit.ExitCode() < 0 {
		return expectation{"fail", name, "the tool died: " + exit.String()}
	}
	failed, asserts := "", ""
	for _, m := range summary.FindAllStringSubmatch(string(out), -1) {
		if m[1] == "tests" {
			failed = m[5]
		} else {
			asserts = m[2]
		}
	}
	body := string(out)
	if i := strings.Index(body, "\nSuite:"); i >= 0 {
		body = body[i:]
	}
	switch {
	case failed == "":
		return expectation{"fail", name, "no result"}
	case failed != "0":
		return expectation{"fail", name, marked(body, "[FAILED]")}
	case strings.Contains(body, "[SKIPPED]"):
		return expectation{"skip", name, marked(body, "[SKIPPED]")}
	case asserts == "0":
		return expectation{"skip", name, "checks nothing here"}
	}
	return expectation{"pass", name, ""}
}

// marked is the first line of output with a mark.
func marked(body, mark string) string {
	for line := range strings.Lines(body) {
		if strings.Contains(line, mark) {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return "an assertion failed"
}
