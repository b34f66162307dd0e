package array

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// table reads the rows of a Markdown table by the key in their first cell.
func table(t *testing.T, text, head string) map[string][]string {
	_, rest, ok := strings.Cut(text, head)
	require.True(t, ok, head)
	_, rest, ok = strings.Cut(rest, "|---|---|---|---|\n")
	require.True(t, ok)
	rows := map[string][]string{}
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		require.Len(t, cells, 4, line)
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		key := strings.Trim(cells[0], "`")
		require.NotContains(t, rows, key)
		rows[key] = cells[1:]
	}
	return rows
}

// TestKeysOfTheProvider: each key that docs/vasa.md names is one.
func TestKeysOfTheProvider(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "vasa.md"))
	require.NoError(t, err)
	named := regexp.MustCompile("`((?:vasa|esxi|iscsi)\\.[a-z_]+)").FindAllSubmatch(page, -1)
	require.Greater(t, len(named), 12)
	for _, m := range named {
		require.Contains(t, configKeys(), string(m[1]))
	}
}

// written is a value as the documentation writes it: "none" for nothing, a list of
// names with commas, anything else as YAML in one line.
func written(t *testing.T, v reflect.Value) string {
	if list, ok := v.Interface().([]string); ok && len(list) > 0 {
		return "`" + strings.Join(list, ",") + "`"
	}
	if v.IsZero() && v.Kind() != reflect.Bool && v.Kind() != reflect.Int {
		return "none"
	}
	var n yaml.Node
	require.NoError(t, n.Encode(v.Interface()))
	n.Style |= yaml.FlowStyle
	for _, item := range n.Content {
		item.Style |= yaml.FlowStyle
	}
	b, err := yaml.Marshal(&n)
	require.NoError(t, err)
	return "`" + strings.Trim(strings.TrimSpace(string(b)), `"`) + "`"
}

// valueOf is the value of a key in c; the zero value below a nil pointer.
func valueOf(c *Config, key string) reflect.Value {
	v := reflect.ValueOf(c).Elem()
	for part := range strings.SplitSeq(key, ".") {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v = reflect.New(v.Type().Elem())
			}
			v = v.Elem()
		}
		f, _ := fieldOf(v.Type(), part)
		v = v.FieldByIndex(f.Index)
	}
	return v
}

// TestDocumentation compares the tables of docs/operating.md with the code: every
// key, its default, its short variable, and for esxi: every value that it takes.
func TestDocumentation(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "docs", "operating.md"))
	require.NoError(t, err)
	text, c := string(b), DefaultConfig()
	rows, knobs := table(t, text, "| key | flag, short variable |"), table(t, text, "| key under `esxi:` |")
	short := map[string]string{}
	for name, key := range shortVariables {
		short[key] = name
	}
	for _, key := range configKeys() {
		if knob, ok := strings.CutPrefix(key, "esxi."); ok {
			row, ok := knobs[knob]
			require.True(t, ok, "%s is not in docs/operating.md", key)
			require.Equal(t, row[0], written(t, valueOf(&c, key)), "default of %s", key)
			require.Regexp(t, `\(\d`, row[2], "%s has no reason with a section", key)
			delete(knobs, knob)
			requireValues(t, knob, row[1])
			continue
		}
		row, ok := rows[key]
		require.True(t, ok, "%s is not in docs/operating.md", key)
		require.Equal(t, row[1], written(t, valueOf(&c, key)), "default of %s", key)
		if name, ok := short[key]; ok {
			require.Contains(t, row[0], "`"+name+"`", key)
		}
		delete(rows, key)
	}
	require.Empty(t, rows, "keys that there are not")
	require.Empty(t, knobs, "keys that there are not")
	for _, limit := range []int{maxVolumesShown, maxSessionsShown, maxInitiators, maxPortals} {
		require.Contains(t, text, fmt.Sprint(limit))
	}
}

// requireValues checks that a setting takes the values in a cell, and that what
// it says about another value names no more.
func requireValues(t *testing.T, knob, cell string) {
	var values []string
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
		values = append(values, m[1])
		e := defaultESXi()
		var v any = m[1]
		if m[1] == "true" || m[1] == "false" {
			v = m[1] == "true"
		}
		require.NoError(t, e.patch(map[string]any{knob: v}))
	}
	e := defaultESXi()
	err := e.patch(map[string]any{knob: "other"})
	require.Error(t, err)
	if slices.Contains(values, "true") {
		return
	}
	_, list, ok := strings.Cut(err.Error(), `"other" is `)
	require.True(t, ok, "%v", err)
	words := regexp.MustCompile(`[0-9a-z][0-9a-z/-]*`).FindAllString(list, -1)
	words = slices.DeleteFunc(words, func(w string) bool { return slices.Contains([]string{"none", "of", "neither", "nor"}, w) })
	require.ElementsMatch(t, words, slices.DeleteFunc(values, func(v string) bool { return v == "none" }), knob)
}
