package vasa

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/wire"
)

// TestDocumentation: docs/vasa.md has a row for each operation, in the contract's order,
// with a test that there is and that names the operation.
func TestDocumentation(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "vasa.md"))
	require.NoError(t, err)
	rows := regexp.MustCompile("(?m)^\\| `(\\w+)` \\| .* \\| `(Test\\w+)` \\|$").FindAllSubmatch(page, -1)
	operations := wire.Operations()
	require.Len(t, rows, len(operations))
	bodies := testBodies(t)
	l := newLab(t, nil)
	named := map[string]bool{}
	for _, r := range rows {
		name, test := string(r[1]), string(r[2])
		op := wire.Lookup(name)
		require.NotNil(t, op, name)
		require.Contains(t, l.handlers, name)
		require.Contains(t, bodies, test, name)
		require.True(t, makes(bodies, test, op.Request.Name(), 3), "%s does not call %s", test, name)
		named[name] = true
	}
	require.Len(t, named, len(operations))
}

// makes tells whether a test, or what it calls of the lab, makes a request of that type.
func makes(bodies map[string]string, function, request string, depth int) bool {
	body, known := bodies[function]
	if !known || depth == 0 {
		return false
	}
	if regexp.MustCompile(`&wire\.` + request + `\{`).MatchString(body) {
		return true
	}
	for _, m := range regexp.MustCompile(`\bl\.(\w+)\(`).FindAllStringSubmatch(body, -1) {
		if m[1] != function && makes(bodies, m[1], request, depth-1) {
			return true
		}
	}
	return false
}

// testBodies are the sources of this package's tests and of the lab's methods, by name.
func testBodies(t *testing.T) map[string]string {
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	start := regexp.MustCompile(`(?m)^func (?:\(l \*lab\) (\w+)|(Test\w+)|.*)\(`)
	bodies := map[string]string{}
	for _, f := range files {
		source, err := os.ReadFile(f)
		require.NoError(t, err)
		at := start.FindAllSubmatchIndex(source, -1)
		for i, m := range at {
			end := len(source)
			if i+1 < len(at) {
				end = at[i+1][0]
			}
			for _, g := range []int{2, 4} {
				if m[g] >= 0 {
					bodies[string(source[m[g]:m[g+1]])] = string(source[m[0]:end])
				}
			}
		}
	}
	return bodies
}
