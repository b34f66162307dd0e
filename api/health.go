package api

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// ProbeTimeout bounds each probe of /healthz.
const ProbeTimeout = 5 * time.Second

// probe runs a check for everyone who asks at the same time, so that a part that
// hangs holds one goroutine, however often it is asked.
type probe struct {
	Check
	mu      sync.Mutex // guards running
	running *probeRun
}

type probeRun struct {
	done chan struct{}
	err  error // valid when done is closed
}

// ask waits for the check's answer, at most ProbeTimeout.
func (p *probe) ask(ctx context.Context) error {
	p.mu.Lock()
	run := p.running
	if run == nil {
		run = &probeRun{done: make(chan struct{})}
		p.running = run
		go p.run(context.WithoutCancel(ctx), run)
	}
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, ProbeTimeout)
	defer cancel()
	select {
	case <-run.done:
		return run.err
	case <-ctx.Done():
		return errors.New("no answer within " + ProbeTimeout.String())
	}
}

func (p *probe) run(ctx context.Context, r *probeRun) {
	ctx, cancel := context.WithTimeout(ctx, ProbeTimeout)
	defer cancel()
	r.err = p.Probe(ctx)
	p.mu.Lock()
	p.running = nil
	p.mu.Unlock()
	close(r.done)
}

type status struct {
	Status string `json:"status" example:"ok"`
}

// healthz probes every part; the first that fails is named.
func (h *handlers) healthz(ctx context.Context, _ *struct{}) (*out[status], error) {
	for _, p := range h.probes {
		if err := p.ask(ctx); err != nil {
			return nil, newProblem(http.StatusServiceUnavailable, "unhealthy", p.Name+": "+err.Error())
		}
	}
	return &out[status]{status{"ok"}}, nil
}

func (h *handlers) readyz(context.Context, *struct{}) (*out[status], error) {
	if err := h.o.Ready(); err != nil {
		return nil, newProblem(http.StatusServiceUnavailable, "not-ready", err.Error())
	}
	return &out[status]{status{"ready"}}, nil
}
