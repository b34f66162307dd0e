package vasa

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"vvsim/vasa/door"
	"vvsim/vasa/session"
	"vvsim/vasa/trace"
	"vvsim/vasa/wire"
)

// Provider answers VASA requests. Safe for concurrent use.
type Provider struct {
	o         Options
	sessions  *session.Table
	handlers  map[string]handler
	invoker   Invoker
	trace     *trace.Trace
	running   chan struct{} // requests
	bytes     *door.Quota   // of requests and answers
	strangers *door.Quota   // requests
	number    atomic.Uint64
	prefix    string // of request ids, so that those of two runs differ
	tasks     tasks
	feed      feed
	began     time.Time
}

// New makes a provider; it serves nothing until Handler is put behind a TLS listener
// with Options.Trust's configuration.
func New(o Options) (*Provider, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	o.Limits.ensureDefaults()
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	prefix := make([]byte, 3)
	if _, err := io.ReadFull(o.Random, prefix); err != nil {
		return nil, fmt.Errorf("vasa: %w", err)
	}
	p := &Provider{o: o, running: make(chan struct{}, o.Limits.Requests), bytes: door.NewQuota(maxHeldBytes, maxHeldBytesPerHolder),
		strangers: door.NewQuota(maxStrangers, maxStrangersPerHost), prefix: hex.EncodeToString(prefix)}
	p.trace = trace.New(trace.Options{Entries: o.Limits.Trace, Strangers: o.Limits.StrangerTrace, Shared: map[string]int{kindOrder: o.Limits.TraceOrder}, New: o.Events.Traced})
	p.tasks.init(o.Limits.Copies)
	p.began = o.Clock().UTC().Truncate(time.Second)
	p.feedBegins()
	p.sessions = session.New(session.Options{Sessions: o.Limits.Sessions, Clients: o.Limits.Clients,
		PerCertificate: o.Limits.PerCertificate, Names: o.Limits.Names, Timeout: o.Limits.SessionTimeout,
		MaxTime: o.Limits.MaxTimeout, PerSession: o.Limits.PerSession, Origin: p.firstID, Cursor: p.nextSerial, Clock: o.Clock, Random: o.Random})
	p.handlers = p.operations()
	p.invoker = direct{p}
	return p, nil
}

// Decorate puts an Invoker in front of the present one. Not safe beside requests: call
// it before Handler serves.
func (p *Provider) Decorate(wrap func(Invoker) Invoker) { p.invoker = wrap(p.invoker) }

// Close cancels copies that run and waits for them. Idempotent.
func (p *Provider) Close() error {
	p.tasks.close()
	return nil
}

// Probe asks one query through the same way as requests, for health checks.
func (p *Provider) Probe(ctx context.Context) error {
	c := &caller{request: p.requestID(), remote: "probe"}
	_, err := p.invoker.Invoke(c.in(ctx), "queryStorageContainer", &wire.QueryStorageContainer{})
	return err
}

// Sessions lists the open sessions, oldest first.
func (p *Provider) Sessions() []*session.Session { return p.sessions.Sessions() }

// Trace lists what clients sent that was not expected, in the order of its first appearance.
func (p *Provider) Trace() []trace.Entry { return p.trace.Entries() }

// requestID is a new id, unique over restarts for what logs are kept for.
func (p *Provider) requestID() string { return fmt.Sprintf("%s-%d", p.prefix, p.number.Add(1)) }

// firstID is the id of the first event or alarm after StartOver.
func (p *Provider) firstID() int64 {
	if p.o.Knobs().EventsFromZero {
		return 0
	}
	return 1
}
