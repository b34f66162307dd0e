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
		require.Regexp(t, `wire\.`+op.Request.Name()+`\b|(?i)\bl\.(made|createdBy|binds?|bind)\(`, bodies[test], "%s does not call %s", test, name)
		named[name] = true
	}
	require.Len(t, named, len(operations))
}

// testBodies are the sources of this package's tests, by name.
func testBodies(t *testing.T) map[string]string {
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	start := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
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
			bodies[string(source[m[2]:m[3]])] = string(source[m[0]:end])
		}
	}
	return bodies
}
