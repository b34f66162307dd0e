package scenario

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/test/unrest"
)

// shown are the tests that show an action of a fault rule.
type shown struct {
	breaks string // what it does, to the byte where bytes come
	others string // that hosts, paths, devices and clients which the rule does not name see none of it
	// heals: that all is as ever when a rule in force is removed. What attention and
	// reservation-lost do is done when they are added, and goes by the host's next command.
	heals string
}

// by is an action that one test shows in all ways.
func by(test string) shown { return shown{test, test, test} }

// actions has each action of each layer.
var actions = map[string]map[string]shown{
	"lu": {
		"pdl": by("TestFaultAnswers"), "sense": by("TestFaultAnswers"), "busy": by("TestFaultAnswers"),
		"task-set-full": by("TestFaultAnswers"), "reservation-conflict": by("TestFaultAnswers"), "no-space": by("TestFaultAnswers"),
		"apd": by("TestAllPathsDown"), "delay": by("TestAllPathsDown"), "hang": by("TestAllPathsDown"),
		"drop-response": by("TestForgotten"),
		"corrupt":       by("TestLyingDisk"),
		"torn":          {"TestFaultAnswers", "TestLyingDisk", "TestLyingDisk"},
		"late":          by("TestAnswerLate"),
		"duplicate":     by("TestAnswerTwice"),
		"short":         by("TestAnswerShort"), "residual": by("TestAnswerShort"),
		"digest":      by("TestAnswerDigest"),
		"unavailable": by("TestAccessStates"), "alua": by("TestAccessStates"),
		"attention":        by("TestAttentions"),
		"reservation-lost": by("TestReservationLost"),
		"miscompare":       by("TestMiscompare"),
		"medium-error":     {"TestFaultAnswers", "TestFaultAnswers", "TestBadBlock"},
	},
	"path": {
		"delay": by("TestPathSlow"), "rate": by("TestPathSlow"),
		"stall":  by("TestPathStall"),
		"reset":  by("TestPathReset"),
		"down":   by("TestPathDown"),
		"logout": by("TestNotices"), "drop-connection": by("TestNotices"), "drop-session": by("TestNotices"),
	},
	"login": {
		"delay": by("TestLoginSilent"), "hang": by("TestLoginSilent"),
		"reject":   by("TestLoginStatuses"),
		"redirect": by("TestLoginRedirected"),
	},
	"engine": {
		"delay": by("TestEngineLies"), "corrupt": by("TestEngineLies"),
		"medium-error": by("TestEngineFaults"), "no-space": by("TestEngineFaults"),
	},
	"vasa": {
		"fault": {"TestCodes", "TestProviderInactive", "TestCodes"},
		"delay": by("TestProviderSilence"), "hang": by("TestProviderSilence"), "drop": by("TestProviderSilence"),
		"drop-session": by("TestProviderSessions"), "lose-events": by("TestProviderSessions"), "event-storm": by("TestProviderSessions"),
		"down": by("TestProviderConnections"), "certificate": by("TestProviderConnections"),
	},
}

// TestActions shows that each action has tests of what it does, of what it leaves alone and of
// how it heals, which are there and name it in a rule of its layer.
func TestActions(t *testing.T) {
	tests := testSources(t)
	layers := unrest.Layers(t)
	require.ElementsMatch(t, layers, slices.Collect(maps.Keys(actions)))
	for _, layer := range layers {
		names := unrest.Actions(t, layer)
		require.Subset(t, names, slices.Collect(maps.Keys(actions[layer])), "%s has no such action", layer)
		for _, action := range names {
			row, ok := actions[layer][action]
			require.True(t, ok, "no test shows %s of %s", action, layer)
			for what, name := range map[string]string{"breaks": row.breaks, "others": row.others, "heals": row.heals} {
				source, ok := tests[name]
				require.True(t, ok, "%s of %s, %s: there is no test %q", action, layer, what, name)
				if name != "TestCodes" { // its rules are those of the table
					require.Contains(t, source, action, "%s of %s, %s: %s has no such rule", action, layer, what, name)
				}
			}
		}
	}
}

// testSources are the strings in the tests of this package, by test.
func testSources(t *testing.T) map[string]string {
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	all := map[string]string{}
	for _, path := range files {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Test") {
				continue
			}
			var text strings.Builder
			ast.Inspect(fn.Body, func(n ast.Node) bool {
				if x, ok := n.(*ast.BasicLit); ok && x.Kind == token.STRING {
					text.WriteString(x.Value)
				}
				return true
			})
			all[fn.Name.Name] = text.String()
		}
	}
	return all
}
