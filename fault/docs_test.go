package fault

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// docs/faults.md has every condition and every action, and examples that are rules.
func TestDocumentation(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "docs", "faults.md"))
	require.NoError(t, err)
	text := string(b)
	for _, c := range conditions {
		require.Contains(t, text, "| `"+c.key, c.key)
	}
	for _, a := range actions {
		require.Contains(t, text, "`"+a.name, a.name)
	}
	_, examples, ok := strings.Cut(text, "## Examples")
	require.True(t, ok)
	n := 0
	for line := range strings.Lines(strings.Split(examples, "```")[1]) {
		if line = strings.TrimSpace(line); line != "" {
			_, err := Parse(line)
			require.NoError(t, err)
			n++
		}
	}
	require.Greater(t, n, 10)
}
