package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"vvsim/api"
)

const (
	apiPath    = "/api/v1"
	defaultAPI = "http://127.0.0.1:8474"
)

// client talks to the API that the environment names.
func client() *api.Client {
	base := os.Getenv("VVSIM_API")
	if base == "" {
		base = defaultAPI
	}
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	return &api.Client{Base: base, Token: os.Getenv("VVSIM_TOKEN")}
}

// call sends a request and decodes the answer.
func call[T any](ctx context.Context, method, path string, body any) (v T, err error) {
	b, err := client().Do(ctx, method, apiPath+path, body)
	if err == nil && len(b) > 0 {
		err = decode(b, &v)
	}
	return v, err
}

// decode reads an answer; what is no JSON comes from another server.
func decode(b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("VVSIM_API: %s does not answer as an array does: %w", client().Base, err)
	}
	return nil
}

// seg escapes a name for a path.
func seg(s string) string { return url.PathEscape(s) }

// column is one column of a table.
type column[T any] struct {
	head string
	cell func(T) any
}

// table prints rows with tabs; -o json prints the API's body as it came.
func table[T any](c *cobra.Command, path string, columns ...column[T]) error {
	b, err := client().Do(c.Context(), http.MethodGet, apiPath+path, nil)
	if err != nil {
		return err
	}
	if wantsJSON(c) {
		_, err := c.OutOrStdout().Write(b)
		return err
	}
	var rows []T
	if err := decode(b, &rows); err != nil {
		return err
	}
	return writeTable(c.OutOrStdout(), rows, columns)
}

func writeTable[T any](w io.Writer, rows []T, columns []column[T]) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	line := func(cell func(column[T]) any) {
		cells := make([]string, len(columns))
		for i, col := range columns {
			cells[i] = fmt.Sprint(cell(col))
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	line(func(c column[T]) any { return c.head })
	for _, r := range rows {
		line(func(c column[T]) any { return c.cell(r) })
	}
	return t.Flush()
}

// show prints one object: JSON always, as it has fields of many shapes.
func show(c *cobra.Command, path string) error {
	b, err := client().Do(c.Context(), http.MethodGet, apiPath+path, nil)
	if err != nil {
		return err
	}
	if !wantsJSON(c) {
		if b, err = indent(b); err != nil {
			return err
		}
	}
	_, err = c.OutOrStdout().Write(b)
	return err
}

func indent(b []byte) ([]byte, error) {
	var v any
	if err := decode(b, &v); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(v, "", "  ")
	return append(b, '\n'), err
}

// outputFlag adds -o to a command that lists or shows.
func outputFlag(c *cobra.Command) *cobra.Command {
	c.Flags().StringP("output", "o", "table", "table or json")
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if o := c.Flag("output").Value.String(); o != "table" && o != "json" {
			return wrongUsage(c, fmt.Errorf("--output: %q is neither table nor json", o))
		}
		return run(c, args)
	}
	return c
}

func wantsJSON(c *cobra.Command) bool {
	f := c.Flag("output")
	return f != nil && f.Value.String() == "json"
}

// result prints what a change answered: the given line, or the body with -o json.
func result(c *cobra.Command, b []byte, line string) error {
	if wantsJSON(c) {
		_, err := c.OutOrStdout().Write(b)
		return err
	}
	_, err := fmt.Fprintln(c.OutOrStdout(), line)
	return err
}

// change sends a request and prints its outcome.
func change[T any](c *cobra.Command, method, path string, body any, line func(T) string) error {
	b, err := client().Do(c.Context(), method, apiPath+path, body)
	if err != nil {
		return err
	}
	var v T
	if len(b) > 0 {
		if err := decode(b, &v); err != nil {
			return err
		}
	}
	return result(c, b, line(v))
}

var sizeUnits = []struct {
	suffix string
	factor uint64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}}

// parseSize reads bytes, or a number with a binary suffix.
func parseSize(s string) (uint64, error) {
	digits, factor := s, uint64(1)
	for _, u := range sizeUnits {
		if d, ok := strings.CutSuffix(s, u.suffix); ok {
			digits, factor = d, u.factor
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n > math.MaxUint64/factor {
		return 0, fmt.Errorf("%q is no size: a number of bytes, or of KiB, MiB, GiB or TiB", s)
	}
	return n * factor, nil
}

// human prints a size with the largest suffix that keeps it exact or short.
func human(n uint64) string {
	for i := len(sizeUnits) - 1; i >= 0; i-- {
		u := sizeUnits[i]
		if n >= u.factor {
			if n%u.factor == 0 {
				return fmt.Sprintf("%d%s", n/u.factor, u.suffix)
			}
			return fmt.Sprintf("%.1f%s", float64(n)/float64(u.factor), u.suffix)
		}
	}
	return fmt.Sprint(n)
}
