package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// example is one command of a document and the output that stands below it.
type example struct{ command, output string }

// examples reads the fenced blocks of a document: lines that begin with "$ " are
// commands, the rest is output.
func examples(text string) (blocks [][]example) {
	for i, part := range strings.Split(text, "```") {
		if i%2 == 0 {
			continue
		}
		var block []example
		for line := range strings.Lines(strings.TrimPrefix(part, "\n")) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				block = append(block, example{command: command})
			} else if len(block) > 0 {
				block[len(block)-1].output += line
			}
		}
		blocks = append(blocks, block)
	}
	return blocks
}

// varies are parts of an output that differ from run to run, and what stands for them.
var varies = []struct {
	pattern *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`rfc4122\.[0-9a-f-]{36}`), "VVOL"},
	{regexp.MustCompile(`naa\.[0-9a-f]{32}`), "PE"},
	{regexp.MustCompile(`array-[0-9a-f]{9}`), "ARRAY"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "ADDRESS"},
	{regexp.MustCompile(`in \d+\.\d\ds`), "in SECONDS"},
	{regexp.MustCompile(`\d\d\d\d-\d\d-\d\dT[0-9:.]+Z`), "TIME"},
	{regexp.MustCompile(`(?m)^ +\d+\.\ds  `), "TIME  "},
	{regexp.MustCompile(`(live|on disk|garbage|reclaimed) [0-9.]+([KMG]iB)?`), "$1 SIZE"},
	{regexp.MustCompile(`(certificate) .* until \d\d\d\d-\d\d-\d\d`), "$1 NAME until DATE"},
	{regexp.MustCompile(`, its CA is not checked without VVSIM_CA`), ""}, // where an env file was read
	{regexp.MustCompile(`(, target) \S+`), ""},                           // of the doctor, where an env file was read
}

func alike(s string) string {
	for _, v := range varies {
		s = v.pattern.ReplaceAllString(s, v.name)
	}
	return s
}

// TestREADME does what the quick start says and compares what comes out with what
// the README shows: same text but for ids, addresses, times and sizes on disk.
func TestREADME(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	require.NoError(t, err)
	blocks := examples(string(text))
	require.GreaterOrEqual(t, len(blocks), 3)
	require.Equal(t, "make run\n", blocks[0][0].command)

	dir := t.TempDir()
	env := filepath.Join(dir, "env")
	serve := exec.Command("vvsim", "serve", "--data", filepath.Join(dir, "data"), "--iscsi", "127.0.0.1:0", "--api", "127.0.0.1:0", "--vasa", "127.0.0.1:0", "-E", env, "--log-level", "error")
	var ready strings.Builder
	serve.Stdout, serve.Stderr = &ready, os.Stderr
	require.NoError(t, serve.Start())
	_, err = awaitFile(env)
	require.NoError(t, err)
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			require.NoError(t, serve.Process.Signal(syscall.SIGTERM))
			require.NoError(t, serve.Wait())
		}
	}
	defer stop()

	script := &strings.Builder{}
	fmt.Fprintf(script, ". %s\n", env)
	var shown []example
	for _, block := range blocks[1:] {
		if program := missing(block); program != "" {
			t.Logf("%s is not installed: its example is not run", program)
			continue
		}
		for _, e := range block {
			fmt.Fprintf(script, "%secho '=== %d' $?\n", strings.ReplaceAll(e.command, "127.0.0.1:3260", "$VVSIM_ISCSI"), len(shown))
			shown = append(shown, e)
		}
	}
	require.GreaterOrEqual(t, len(shown), 12)
	ctx, cancel := context.WithTimeout(t.Context(), readyLimit)
	defer cancel()
	sh := exec.CommandContext(ctx, "sh", "-c", script.String())
	sh.Dir = dir
	out, err := sh.CombinedOutput()
	require.NoError(t, err, "%s", out)
	rest := string(out)
	for i, e := range shown {
		output, after, ok := strings.Cut(rest, fmt.Sprintf("=== %d 0\n", i))
		require.True(t, ok, "%s failed:\n%s", e.command, rest)
		require.Equal(t, alike(e.output), alike(output), "after $ %s", e.command)
		rest = after
	}
	stop()
	require.Equal(t, alike(blocks[0][0].output), alike(ready.String()))
}

// TestREADMEFaults holds the README to its word that ten lines show a permanent loss and silence of
// a volume, and all paths of a host down. That they work as printed shows TestREADME.
func TestREADMEFaults(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	require.NoError(t, err)
	_, after, ok := strings.Cut(string(text), "in ten lines:\n\n```\n")
	require.True(t, ok)
	block, _, ok := strings.Cut(after, "```")
	require.True(t, ok)
	require.LessOrEqual(t, strings.Count(block, "\n"), 10)
	for _, shown := range []string{"'lu vvol=disk1 -> pdl'", "05/25/00", "'lu vvol=disk1 for=2s -> apd'", `"lu host=$IQN -> apd"`, "esx.problem.storage.apd.start"} {
		require.Contains(t, block, shown)
	}
	require.Len(t, examples("```\n" + block + "```")[0], 5)
}

// missing names a program that a block needs and that is not here: those of Debian
// packages, which the whole test installs.
func missing(block []example) string {
	for _, e := range block {
		for _, program := range []string{"iscsi-ls", "qemu-img"} {
			if !strings.HasPrefix(e.command, program) {
				continue
			}
			if _, err := exec.LookPath(program); err != nil {
				return program
			}
		}
	}
	if out, err := exec.Command("qemu-img", "--help").Output(); err == nil && !strings.Contains(string(out), " iscsi") {
		for _, e := range block {
			if strings.Contains(e.command, "qemu-img") {
				return "qemu-block-extra"
			}
		}
	}
	return ""
}
