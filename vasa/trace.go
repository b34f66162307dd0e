package vasa

import (
	"container/list"
	"slices"
	"strings"
	"sync"
	"time"
)

// TraceEntry is something that a client sent and the provider did not expect, or that
// the reference does not settle (vasa.md 13): what a first lab with a real vCenter teaches.
type TraceEntry struct {
	Kind      string    `json:"kind"` // "header", "action", "element", "version.xml", …
	Operation string    `json:"operation,omitempty"`
	Client    string    `json:"client,omitempty"`
	Text      string    `json:"text"`
	Count     int       `json:"count"`
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
	Request   string    `json:"request"` // id of the last one
}

// maxTraceText bounds the text of an entry, in bytes.
const maxTraceText = 2048

// trace keeps the entries; equal ones are counted, and of too many the longest unseen goes.
type trace struct {
	mu      sync.Mutex
	max     int
	entries map[traceKey]*list.Element // of seen
	seen    list.List                  // of *TraceEntry: the longest unseen first
}

type traceKey struct{ kind, operation, client, text string }

func (e *TraceEntry) key() traceKey { return traceKey{e.Kind, e.Operation, e.Client, e.Text} }

func (t *trace) init(limit int) { t.max, t.entries = limit, map[traceKey]*list.Element{} }

func (t *trace) add(now time.Time, e TraceEntry) {
	if len(e.Text) > maxTraceText {
		e.Text = strings.ToValidUTF8(e.Text[:maxTraceText], "") + "…"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.entries[e.key()]
	if at == nil {
		if oldest := t.seen.Front(); oldest != nil && len(t.entries) >= t.max {
			delete(t.entries, t.seen.Remove(oldest).(*TraceEntry).key())
		}
		e.First = now
		at = t.seen.PushBack(&e)
		t.entries[e.key()] = at
	}
	known := at.Value.(*TraceEntry)
	known.Count++
	known.Last, known.Request = now, e.Request
	t.seen.MoveToBack(at)
}

// Trace lists what was traced, in the order of its first appearance.
func (p *Provider) Trace() []TraceEntry {
	t := &p.trace
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]TraceEntry, 0, len(t.entries))
	for _, at := range t.entries {
		all = append(all, *at.Value.(*TraceEntry))
	}
	slices.SortFunc(all, func(a, b TraceEntry) int { return a.First.Compare(b.First) })
	return all
}
