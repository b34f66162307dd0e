package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"vvsim/api"
)

// finding is one line of the doctor: in order, worth a look (warn), or wrong (err).
type finding struct {
	name, detail string
	warn         bool
	err          error
}

func newDoctor() *cobra.Command {
	return &cobra.Command{Use: "doctor", Short: "Check a running array", Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			bad := false
			for _, check := range []func(context.Context) finding{checkHealth, checkCatalog, checkEngine, checkContainers, checkAlarms, checkSessions, checkCertificate, checkProvider} {
				f := check(c.Context())
				mark := "ok  "
				switch {
				case f.err != nil:
					mark, f.detail, bad = "FAIL", f.err.Error(), true
				case f.warn:
					mark = "WARN"
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
	return finding{name: "health", detail: "all parts answer", err: err}
}

func checkCatalog(ctx context.Context) finding {
	r, err := call[struct {
		OK      bool
		Problem string
	}](ctx, http.MethodGet, "/check", nil)
	if err == nil && !r.OK {
		err = errors.New(r.Problem)
	}
	return finding{name: "catalog", detail: "catalog, engine and routes agree", err: err}
}

// What the engine promises of its disk, journal aside: garbageFactor times the live data, and besides
// what is in use or too little to be collected.
const (
	garbageFactor = 3
	garbageSlack  = 512 << 20
)

// space is what the engine tells of its disk, in bytes.
type space struct{ live, disk, garbage, reclaimed, rate uint64 }

func checkEngine(ctx context.Context) finding {
	m, err := client().Figures(ctx)
	if err != nil {
		return finding{name: "engine", err: err}
	}
	s := space{}
	for name, at := range map[string]*uint64{"live_bytes": &s.live, "disk_bytes": &s.disk, "garbage_bytes": &s.garbage,
		"reclaimed_bytes_total": &s.reclaimed, "reclaim_bytes_per_second": &s.rate} {
		v, ok := m["vvsim_engine_"+name]
		if !ok {
			return finding{name: "engine", err: fmt.Errorf("/metrics has no vvsim_engine_%s", name)}
		}
		*at = uint64(v)
	}
	return s.finding()
}

// finding complains when garbage is more than the engine promises, and calls it a
// failure when nothing of it was given back for a minute.
func (s space) finding() finding {
	f := finding{name: "engine", detail: fmt.Sprintf("live %s, on disk %s, garbage %s, reclaimed %s, in the last minute %s/s",
		human(s.live), human(s.disk), human(s.garbage), human(s.reclaimed), human(s.rate))}
	if s.disk <= garbageFactor*s.live+garbageSlack {
		return f
	}
	f.warn = true
	f.detail += fmt.Sprintf(": more than %d x live on disk", garbageFactor)
	if s.rate == 0 {
		f.err = errors.New(f.detail + ", and nothing is given back")
	}
	return f
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

func checkAlarms(ctx context.Context) finding {
	all, err := call[[]api.Alarm](ctx, http.MethodGet, "/alarms", nil)
	if err != nil {
		return finding{name: "alarms", err: err}
	}
	return alarmsFinding(all)
}

// alarmsFinding is wrong with the first alarm that is Red.
func alarmsFinding(all []api.Alarm) finding {
	f := finding{name: "alarms", detail: "none"}
	if len(all) == 0 {
		return f
	}
	worst := all[0]
	if i := slices.IndexFunc(all, func(a api.Alarm) bool { return a.Status == "Red" }); i >= 0 {
		worst = all[i]
	}
	f.warn, f.detail = true, fmt.Sprintf("%d, see vvsim alarm list: %s %s %s: %s", len(all), worst.Status, worst.Kind, worst.Object, worst.Message)
	if worst.Status == "Red" {
		f.err = errors.New(f.detail)
	}
	return f
}

func checkSessions(ctx context.Context) finding {
	all, err := call[[]api.Session](ctx, http.MethodGet, "/sessions", nil)
	detail := fmt.Sprintf("%d open", len(all))
	if path := os.Getenv("VVSIM_IQN"); path != "" {
		detail += ", target " + path
	}
	return finding{name: "sessions", detail: detail, err: err}
}
