package api

import (
	"context"
	"crypto/subtle"
	"embed"
	"errors"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"vvsim/vvol"
)

// Options of the API.
type Options struct {
	Service  *vvol.Service
	Sessions SessionSource
	Knobs    KnobSource
	Health   []Check // each probed by /healthz with ProbeTimeout
	Ready    func() error
	Gatherer prometheus.Gatherer
	// LUN is the wire form of a subsidiary LUN below the protocol endpoint at pe.
	LUN     func(pe uint16, secondary uint64) [8]byte
	Token   string // "" for none
	Version string
}

// SessionSource lists and drops iSCSI sessions.
type SessionSource interface {
	Sessions() []Session
	Drop(id uint64) bool
}

// KnobSource holds the run-time settings under `esxi:`. Set applies a JSON merge
// patch as a whole or refuses it as a whole with vvol.ErrInvalid.
type KnobSource interface {
	Get() map[string]any
	Set(patch map[string]any) error
}

// Check is one part that /healthz asks.
type Check struct {
	Name  string
	Probe func(ctx context.Context) error
}

// ProbeTimeout bounds each probe of /healthz.
const ProbeTimeout = 5 * time.Second

// maxBody bounds request bodies in bytes.
const maxBody = 1 << 20

//go:embed page.html
var page embed.FS

// New returns the handler of all that the API's address serves.
func New(o Options) (http.Handler, error) {
	mux := http.NewServeMux()
	c := huma.DefaultConfig("vvsim", o.Version)
	c.CreateHooks = nil // bodies carry what contract.md names and nothing else
	c.DocsPath, c.SchemasPath = "", ""
	c.Info.Description = "Control API of the vvsim storage array."
	h := &handlers{o: o}
	h.register(humago.New(mux, c))
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Gatherer, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", h.healthz)
	mux.HandleFunc("GET /readyz", h.readyz)
	mux.HandleFunc("GET /api/v1/events/stream", h.stream)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.Handle("GET /{$}", pageHandler())
	return h.guard(mux), nil
}

func pageHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		b, err := page.ReadFile("page.html")
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(b) // the client may have gone
	})
}

// guard asks for the token where one is set, bounds bodies, and sends readers of
// the event stream to it.
func (h *handlers) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		private := strings.HasPrefix(r.URL.Path, "/api/") || strings.HasPrefix(r.URL.Path, "/debug/")
		if private && h.o.Token != "" {
			given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			if !ok || subtle.ConstantTimeCompare([]byte(given), []byte(h.o.Token)) != 1 {
				w.Header().Set("WWW-Authenticate", "Bearer")
				writeProblem(w, &huma.ErrorModel{Type: "urn:vvsim:unauthorized", Title: "Unauthorized",
					Status: http.StatusUnauthorized, Detail: "a valid bearer token is needed"})
				return
			}
		}
		if r.URL.Path == "/api/v1/events" && strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
			h.stream(w, r)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// healthz probes every part; the first that fails is named.
func (h *handlers) healthz(w http.ResponseWriter, r *http.Request) {
	for _, c := range h.o.Health {
		if err := probe(r.Context(), c); err != nil {
			writeProblem(w, &huma.ErrorModel{Type: "urn:vvsim:unhealthy", Title: "Service Unavailable",
				Status: http.StatusServiceUnavailable, Detail: c.Name + ": " + err.Error()})
			return
		}
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// probe runs one check; a check that hangs beyond its deadline has failed, and
// ends by itself later.
func probe(ctx context.Context, c Check) error {
	ctx, cancel := context.WithTimeout(ctx, ProbeTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- c.Probe(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.New("no answer within " + ProbeTimeout.String())
	}
}

func (h *handlers) readyz(w http.ResponseWriter, _ *http.Request) {
	if err := h.o.Ready(); err != nil {
		writeProblem(w, &huma.ErrorModel{Type: "urn:vvsim:not-ready", Title: "Service Unavailable",
			Status: http.StatusServiceUnavailable, Detail: err.Error()})
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}
