package api

import (
	"context"
	"embed"
	"fmt"
	"net/http"
	"net/http/pprof"
	runtimepprof "runtime/pprof"

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
	Provider ProviderSource
	Faults   FaultSource // nil: the array knows no fault rules
	Health   []Check     // each probed by /healthz with ProbeTimeout
	Ready    func() error
	Gatherer prometheus.Gatherer
	// LUN is the wire form of a subsidiary LUN below the protocol endpoint at pe.
	LUN     func(pe uint16, secondary uint64) [8]byte
	Token   string // "" for none
	Version string
	// Panic is told of a request that panicked; nil passes over it.
	Panic func(request string, value any, stack []byte)
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

//go:embed page.html
var page embed.FS

// New returns the handler of all that the API's address serves.
func New(o Options) (http.Handler, error) {
	if o.Service == nil || o.Sessions == nil || o.Knobs == nil || o.Provider == nil || o.Ready == nil || o.Gatherer == nil || o.LUN == nil {
		return nil, fmt.Errorf("%w: api: Service, Sessions, Knobs, Provider, Ready, Gatherer and LUN are needed", vvol.ErrInvalid)
	}
	h := &handlers{o: o}
	for _, c := range o.Health {
		h.probes = append(h.probes, &probe{Check: c})
	}
	mux := http.NewServeMux()
	c := huma.DefaultConfig("vvsim", o.Version)
	c.CreateHooks = nil // bodies carry what contract.md names and nothing else
	c.DocsPath, c.SchemasPath = "", ""
	c.Info.Description = "Control API of the vvsim storage array."
	c.Transformers = []huma.Transformer{complete}
	a := humago.New(mux, c)
	h.register(a)
	describeRest(a.OpenAPI(), o.Token != "")
	mux.Handle("GET /metrics", atMost(maxScrapes, promhttp.HandlerFor(o.Gatherer, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})))
	mux.HandleFunc("GET /debug/pprof/{$}", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/{name}", showProfile)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /{$}", showPage)
	return h.guard(mux), nil
}

// atMost bounds the requests of one handler that run at a time.
func atMost(n int, next http.Handler) http.Handler {
	running := make(chan struct{}, n)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case running <- struct{}{}:
			defer func() { <-running }()
			next.ServeHTTP(w, r)
		default:
			writeProblem(w, refusal(http.StatusServiceUnavailable, fmt.Sprintf("%d requests of this kind run already", n)))
		}
	})
}

func showProfile(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if runtimepprof.Lookup(name) == nil {
		writeProblem(w, refusal(http.StatusNotFound, fmt.Sprintf("no profile %q", name)))
		return
	}
	pprof.Handler(name).ServeHTTP(w, r)
}

func showPage(w http.ResponseWriter, _ *http.Request) {
	b, err := page.ReadFile("page.html")
	if err != nil {
		writeProblem(w, newProblem(http.StatusInternalServerError, "internal", err.Error()))
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'")
	_, _ = w.Write(b) // the client may have gone
}
