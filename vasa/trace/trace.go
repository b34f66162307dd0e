package trace

import (
	"cmp"
	"container/list"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"
)

// Entry is something that a client sent. Equal ones are one, with a count.
type Entry struct {
	Kind      string
	Operation string // empty: not of one
	Client    string // "host GUID", "vcenter GUID", or empty without a session; of a shared kind, the last one
	Clients   int    // that sent it, up to MaxClients
	Stranger  bool   // they have no trusted certificate
	Text      string
	Count     int
	First     time.Time
	Last      time.Time
	Request   string // id of the last one
}

// Bounds of an entry.
const (
	MaxText    = 2048 // bytes
	MaxName    = 256  // bytes of the client's name
	MaxClients = 128  // that are counted
)

// Options of a Trace. All numbers must be positive.
type Options struct {
	Entries   int // of each kind
	Strangers int // of each kind, of strangers
	// Shared has kinds that do not tell a client from others of its role, the first word of
	// its name, and counts them instead; the value is the bound, in place of Entries.
	Shared map[string]int
	// New is told of an entry when it comes for the first time, of the first Told of each
	// kind, so that a client that always says something else fills no log. It is called by
	// Add, from many goroutines. nil: nobody is.
	New func(Entry)
}

// Told bounds the calls of Options.New for each kind, strangers' apart.
const Told = 1024

// Trace keeps the entries.
type Trace struct {
	o    Options
	seed maphash.Seed

	mu    sync.Mutex
	pots  map[potKey]*pot
	first uint64 // how many entries were new
}

type potKey struct {
	kind     string
	stranger bool
}

// pot has the entries of one kind.
type pot struct {
	max, told int
	entries   map[key]*list.Element // of seen
	seen      list.List             // of *record: the longest unseen first
}

type key struct{ operation, client, text string }

type record struct {
	Entry
	key     key
	first   uint64
	clients map[uint64]struct{} // hashes of their names; of a shared kind
}

// New makes a Trace.
func New(o Options) *Trace {
	return &Trace{o: o, seed: maphash.MakeSeed(), pots: map[potKey]*pot{}}
}

// Add counts an entry of which Count, Clients, First and Last are not set.
func (t *Trace) Add(now time.Time, e Entry) {
	e.Text, e.Client = shortened(e.Text, MaxText), shortened(e.Client, MaxName)
	if e, tell := t.count(now, e); tell && t.o.New != nil {
		t.o.New(e)
	}
}

// count adds an entry, and says whether New is to be told of it.
func (t *Trace) count(now time.Time, e Entry) (_ Entry, tell bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := key{e.Operation, e.Client, e.Text}
	limit, shared := t.o.Shared[e.Kind]
	if shared {
		k.client, _, _ = strings.Cut(e.Client, " ")
	} else {
		limit = t.o.Entries
	}
	if e.Stranger {
		limit = t.o.Strangers
	}
	p := t.pots[potKey{e.Kind, e.Stranger}]
	if p == nil {
		p = &pot{max: limit, entries: map[key]*list.Element{}}
		t.pots[potKey{e.Kind, e.Stranger}] = p
	}
	at, known := p.entries[k]
	if !known {
		t.first++
		at = p.add(&record{Entry: e, key: k, first: t.first})
	}
	p.seen.MoveToBack(at)
	r := at.Value.(*record)
	r.Count++
	r.Client, r.Last, r.Request, r.Clients = e.Client, now, e.Request, 1
	if shared {
		r.Clients = r.met(maphash.String(t.seed, e.Client))
	}
	if !known {
		r.First = now
		p.told++
		tell = p.told <= Told
	}
	return r.Entry, tell
}

// met counts a client, and tells how many there are.
func (r *record) met(client uint64) int {
	if r.clients == nil {
		r.clients = map[uint64]struct{}{}
	}
	if len(r.clients) < MaxClients {
		r.clients[client] = struct{}{}
	}
	return len(r.clients)
}

// add keeps a record; of too many the longest unseen goes.
func (p *pot) add(r *record) *list.Element {
	if oldest := p.seen.Front(); oldest != nil && len(p.entries) >= p.max {
		delete(p.entries, p.seen.Remove(oldest).(*record).key)
	}
	at := p.seen.PushBack(r)
	p.entries[r.key] = at
	return at
}

// Entries lists what is kept, in the order of its first appearance.
func (t *Trace) Entries() []Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*record
	for _, p := range t.pots {
		for at := p.seen.Front(); at != nil; at = at.Next() {
			all = append(all, at.Value.(*record))
		}
	}
	slices.SortFunc(all, func(a, b *record) int { return cmp.Compare(a.first, b.first) })
	entries := make([]Entry, len(all))
	for i, r := range all {
		entries[i] = r.Entry
	}
	return entries
}

// shortened cuts a text that is longer than limit, in bytes.
func shortened(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
