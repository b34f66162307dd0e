package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/test/process"
)

const leastCommands = 10 // of the README that can be followed here

// step is a command line of the README and the output under it.
type step struct{ command, output string }

// TestREADME follows the quick start in one shell and compares what is printed with
// what the README shows. Blocks with commands of others (make, iscsi-ls, qemu-img)
// are left out.
func TestREADME(t *testing.T) {
	if process.Program() == "" {
		t.Skip("needs the program at VVSIM_BIN: run make e2e")
	}
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	var steps []step
	for _, block := range blocks(string(text)) {
		if followable(block) {
			steps = append(steps, block...)
		}
	}
	require.GreaterOrEqual(t, len(steps), leastCommands, "commands of the README")

	a := process.Start(t, t.TempDir())
	const mark = "== end of step"
	var script strings.Builder
	script.WriteString("exec 2>&1\nPATH=" + filepath.Dir(process.Program()) + ":$PATH\n")
	for _, s := range steps {
		script.WriteString(s.command + "\necho; echo '" + mark + "'\n")
	}
	outputs := strings.Split(a.Shell(script.String()), mark)
	require.GreaterOrEqual(t, len(outputs), len(steps))
	for i, s := range steps {
		require.Equal(t, settled(s.output), settled(outputs[i]), "$ %s", s.command)
	}
	require.NoError(t, a.End(syscall.SIGTERM))
}

// blocks are the fenced blocks of a text that show commands.
func blocks(text string) (all [][]step) {
	for i, part := range strings.Split(text, "```") {
		if i%2 == 0 {
			continue
		}
		var steps []step
		for line := range strings.Lines(part) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				steps = append(steps, step{command: strings.TrimSpace(command)})
			} else if n := len(steps); n > 0 {
				steps[n-1].output += line
			}
		}
		all = append(all, steps)
	}
	return all
}

var ownCommand = regexp.MustCompile(`^(vvsim |[A-Z]+=|echo .*\| vvsim )`)

func followable(block []step) bool {
	for _, s := range block {
		if !ownCommand.MatchString(s.command) {
			return false
		}
	}
	return len(block) > 0
}

// settled replaces what differs from run to run, ids and sizes that the engine
// reports, and drops blanks that nobody sees.
func settled(output string) string {
	for pattern, name := range map[string]string{
		`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`:            "UUID",
		`naa\.[0-9a-f]{32}`:                                    "naa.ID",
		`live \S+, on disk \S+, garbage \S+, reclaimed [^\n]*`: "ENGINE",
		`(?m)[ \t]+$`: "",
	} {
		output = regexp.MustCompile(pattern).ReplaceAllString(output, name)
	}
	return strings.TrimSpace(output)
}
