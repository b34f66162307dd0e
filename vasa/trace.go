package vasa

import (
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
	entries map[traceKey]*TraceEntry
}

type traceKey struct{ kind, operation, client, text string }

func (t *trace) add(now time.Time, e TraceEntry) {
	if len(e.Text) > maxTraceText {
		e.Text = strings.ToValidUTF8(e.Text[:maxTraceText], "") + "…"
	}
	k := traceKey{e.Kind, e.Operation, e.Client, e.Text}
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.entries[k]
	if known == nil {
		if len(t.entries) >= t.max {
			t.forgetOldest()
		}
		e.First = now
		known = &e
		t.entries[k] = known
	}
	known.Count++
	known.Last, known.Request = now, e.Request
}

func (t *trace) forgetOldest() {
	var oldest traceKey
	var at time.Time
	for k, e := range t.entries {
		if at.IsZero() || e.Last.Before(at) {
			oldest, at = k, e.Last
		}
	}
	delete(t.entries, oldest)
}

// Trace lists what was traced, in the order of its first appearance.
func (p *Provider) Trace() []TraceEntry {
	t := &p.trace
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]TraceEntry, 0, len(t.entries))
	for _, e := range t.entries {
		list = append(list, *e)
	}
	slices.SortFunc(list, func(a, b TraceEntry) int { return a.First.Compare(b.First) })
	return list
}
