package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"vvsim/api"
)

// finding is one line of the doctor.
type finding struct {
	name, detail string
	err          error
}

func newDoctor() *cobra.Command {
	return &cobra.Command{Use: "doctor", Short: "Check a running array", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			bad := false
			for _, check := range []func(context.Context) finding{checkHealth, checkCatalog, checkEngine, checkContainers, checkSessions} {
				f := check(c.Context())
				mark := "ok  "
				if f.err != nil {
					mark, f.detail, bad = "FAIL", f.err.Error(), true
				}
				fmt.Fprintf(c.OutOrStdout(), "%s  %-12s %s\n", mark, f.name, f.detail)
			}
			if bad {
				return errCheckFailed
			}
			return nil
		}}
}

func checkHealth(ctx context.Context) finding {
	_, err := client().Do(ctx, http.MethodGet, "/healthz", nil)
	return finding{"health", "all parts answer", err}
}

func checkCatalog(ctx context.Context) finding {
	r, err := call[struct {
		OK      bool
		Problem string
	}](ctx, http.MethodGet, "/check", nil)
	if err == nil && !r.OK {
		err = errors.New(r.Problem)
	}
	return finding{"catalog", "catalog, engine and routes agree", err}
}

// garbageFactor is how many times the live data the disk may hold.
const garbageFactor = 3

// smallArray is below what the ratio means nothing, as logs are preallocated.
const smallArray = 1 << 30

func checkEngine(ctx context.Context) finding {
	m, err := metrics(ctx, "vvsim_engine_live_bytes", "vvsim_engine_disk_bytes", "vvsim_engine_garbage_bytes", "vvsim_engine_reclaimed_bytes_total")
	if err != nil {
		return finding{"engine", "", err}
	}
	live, disk := uint64(m["vvsim_engine_live_bytes"]), uint64(m["vvsim_engine_disk_bytes"])
	f := finding{name: "engine", detail: fmt.Sprintf("live %s, on disk %s, garbage %s, reclaimed %s", human(live), human(disk),
		human(uint64(m["vvsim_engine_garbage_bytes"])), human(uint64(m["vvsim_engine_reclaimed_bytes_total"])))}
	if disk > smallArray && disk > garbageFactor*live+smallArray {
		f.err = fmt.Errorf("%s on disk for %s of live data", human(disk), human(live))
	}
	return f
}

// metrics reads gauges and counters without labels.
func metrics(ctx context.Context, names ...string) (map[string]float64, error) {
	resp, err := client().Open(ctx, http.MethodGet, "/metrics", nil, "text/plain")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	found := map[string]float64{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if !ok {
			continue
		}
		for _, n := range names {
			if n == name {
				if found[n], err = strconv.ParseFloat(value, 64); err != nil {
					return nil, err
				}
			}
		}
	}
	return found, lines.Err()
}

// nearlyFull is the percentage of a container from which on the doctor complains.
const nearlyFull = 95

func checkContainers(ctx context.Context) finding {
	all, err := call[[]api.Container](ctx, http.MethodGet, "/containers", nil)
	f := finding{name: "containers", detail: fmt.Sprintf("%d, none nearly full", len(all)), err: err}
	for _, c := range all {
		if c.UsedBytes > c.SizeBytes/100*nearlyFull {
			f.err = fmt.Errorf("%s is full to %d %%", c.Name, c.UsedBytes*100/c.SizeBytes)
		}
	}
	return f
}

func checkSessions(ctx context.Context) finding {
	all, err := call[[]api.Session](ctx, http.MethodGet, "/sessions", nil)
	detail := fmt.Sprintf("%d open", len(all))
	if path := os.Getenv("VVSIM_IQN"); path != "" {
		detail += ", target " + path
	}
	return finding{"sessions", detail, err}
}
