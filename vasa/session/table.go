package session

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"vvsim/vasa/wire"
)

// Errors of a Table.
var (
	// ErrNone is an id of no session, or of one of another certificate.
	ErrNone = errors.New("no such session")
	// ErrTooMany is a session more than there may be.
	ErrTooMany = errors.New("too many sessions")
	// ErrTooManyNames is a client that calls itself more than its certificate may.
	ErrTooManyNames = errors.New("too many names behind one certificate")
	// ErrNobody is a usage context that names neither a host nor a vCenter.
	ErrNobody = errors.New("the usage context names neither a host nor a vCenter")
)

// NoID is reserved for "no session" (vasa.md 1.4).
const NoID = "0"

// idBytes of randomness make a session's id: 160 bits (vasa.md 1.4 asks for 128).
const idBytes = 20

// maxGUID bounds the name of a client, in bytes.
const maxGUID = 255

// Options of a Table. All are needed.
type Options struct {
	Sessions int // open at a time
	Clients  int // that are remembered
	// PerCertificate is how many sessions are open behind one certificate at a time: a
	// client that opens more loses the one that it has not used for the longest time.
	PerCertificate int
	// Names is how many clients and initiators one certificate may speak for: each of them
	// is remembered here and as a host of the array.
	Names   int
	Timeout time.Duration
	MaxTime time.Duration // the longest time-out that a client gets
	// PerSession is how many requests of one session run at a time.
	PerSession int
	// Origin is the first id of events and alarms; Cursor the next number of the provider's
	// events, where a new client begins.
	Origin func() int64
	Cursor func() uint64
	Clock  func() time.Time
	Random io.Reader // default crypto/rand
}

// Table of sessions and clients.
type Table struct {
	o        Options
	mu       sync.Mutex // guards all below
	sessions map[string]*Session
	clients  map[string]*Client
	speakers map[string]*speaker // by certificate
}

// speaker is what a certificate has called itself.
type speaker struct {
	names map[string]struct{} // keys of clients and initiators
	seen  time.Time
}

// New returns an empty table.
func New(o Options) *Table {
	if o.Random == nil {
		o.Random = rand.Reader
	}
	return &Table{o: o, sessions: map[string]*Session{}, clients: map[string]*Client{}, speakers: map[string]*speaker{}}
}

// Session of a client. Fields do not change.
type Session struct {
	ID          string
	Client      *Client
	Certificate string // fingerprint
	Remote      string
	Opened      time.Time
	Timeout     time.Duration

	running    chan struct{}
	previous   atomic.Pointer[string] // operation
	used       time.Time              // guarded by the table
	expires    time.Time              // guarded by the table
	initiators []string
}

// Initiators are the iSCSI names that the session's context named, in lower case, each
// once: those of this host, even if another one has the same hostGuid.
func (s *Session) Initiators() []string { return slices.Clone(s.initiators) }

// Enter counts a request in; false when as many run as may. Leave counts it out.
func (s *Session) Enter() bool {
	select {
	case s.running <- struct{}{}:
		return true
	default:
		return false
	}
}

// Leave ends what Enter began.
func (s *Session) Leave() { <-s.running }

// Follows notes an operation of the session and returns the one before it, "" for none.
func (s *Session) Follows(operation string) string {
	if p := s.previous.Swap(&operation); p != nil {
		return *p
	}
	return ""
}

// Conflict is another session of the same host with other initiators: two hosts that
// share a hostGuid, as clones of one image do (vasa.md 10).
type Conflict struct {
	GUID              string
	Remote, Other     string // addresses of the new session and the one that is open
	Initiators, Their []string
}

func (c *Conflict) String() string {
	return fmt.Sprintf("two hosts share the hostGuid %s: %s with initiators %s, and %s with %s; binds of one may reach the other. "+
		"Give each host a SMBIOS UUID of its own", c.GUID, c.Remote, strings.Join(c.Initiators, " "), c.Other, strings.Join(c.Their, " "))
}

// Open makes a session for the client that usage names, behind a certificate, in place of
// a former one unless that is nil; after an error the former one goes on.
// Of the sessions of a certificate that has too many, or the most while the table is full,
// the one that was not used for the longest time ends. Errors: ErrNobody, ErrTooMany,
// ErrTooManyNames.
func (t *Table) Open(usage wire.UsageContext, certificate, remote string, former *Session) (*Session, *Conflict, error) {
	host, guid, err := who(&usage)
	if err != nil {
		return nil, nil, err
	}
	id := make([]byte, idBytes)
	if _, err := io.ReadFull(t.o.Random, id); err != nil {
		return nil, nil, fmt.Errorf("session id: %w", err)
	}
	s := &Session{ID: strings.ToLower(base32.StdEncoding.EncodeToString(id)), Certificate: certificate, Remote: remote, Opened: t.o.Clock(),
		Timeout: t.timeout(usage.SessionTimeoutInSeconds), running: make(chan struct{}, t.o.PerSession), initiators: InitiatorsOf(&usage)}
	s.used, s.expires = s.Opened, s.Opened.Add(s.Timeout)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(s.Opened)
	if err := t.speak(s, key(host, guid)); err != nil {
		return nil, nil, err
	}
	if former != nil {
		delete(t.sessions, former.ID) // what may still fail is for lack of room
	}
	if err := t.makeRoom(certificate); err != nil {
		return nil, nil, err
	}
	s.Client = t.client(host, guid)
	conflict := t.conflict(s)
	s.Client.mu.Lock()
	// The rest of the usage context is of no use here, and as long as the client likes.
	s.Client.initiators, s.Client.subscribed, s.Client.seen = s.initiators, usage.SubscribeEvent, s.Opened
	s.Client.mu.Unlock()
	t.sessions[s.ID] = s
	return s, conflict, nil
}

// speak notes the names that a session brings; the table is locked.
func (t *Table) speak(s *Session, client string) error {
	sp := t.speakers[s.Certificate]
	if sp == nil {
		if len(t.speakers) >= t.o.Clients {
			t.forgetSpeaker()
		}
		sp = &speaker{names: map[string]struct{}{}}
		t.speakers[s.Certificate] = sp
	}
	sp.seen = s.Opened
	fresh := []string{}
	for _, n := range append([]string{client}, s.initiators...) {
		if _, known := sp.names[n]; !known {
			fresh = append(fresh, n)
		}
	}
	if n := len(sp.names) + len(fresh); n > t.o.Names {
		return fmt.Errorf("%w: %d, at most %d", ErrTooManyNames, n, t.o.Names)
	}
	for _, n := range fresh {
		sp.names[n] = struct{}{}
	}
	return nil
}

// forgetSpeaker forgets the certificate that opened a session longest ago.
func (t *Table) forgetSpeaker() {
	oldest := ""
	for c, sp := range t.speakers {
		if oldest == "" || sp.seen.Before(t.speakers[oldest].seen) {
			oldest = c
		}
	}
	delete(t.speakers, oldest)
}

// makeRoom ends a session, if need be, for one more of a certificate; the table is locked.
func (t *Table) makeRoom(certificate string) error {
	of := map[string]int{}
	for _, s := range t.sessions {
		of[s.Certificate]++
	}
	switch {
	case of[certificate] >= t.o.PerCertificate:
	case len(t.sessions) < t.o.Sessions:
		return nil
	default:
		for c, n := range of {
			if n > of[certificate] {
				certificate = c
			}
		}
		if of[certificate] < 2 { // each has its one
			return fmt.Errorf("%w: %d are open", ErrTooMany, len(t.sessions))
		}
	}
	var oldest *Session
	for _, s := range t.sessions {
		if s.Certificate == certificate && (oldest == nil || s.used.Before(oldest.used)) {
			oldest = s
		}
	}
	delete(t.sessions, oldest.ID)
	return nil
}

func who(u *wire.UsageContext) (host bool, guid string, err error) {
	switch {
	case u.HostGUID != nil && *u.HostGUID != "":
		host, guid = true, *u.HostGUID
	case u.VCGUID != nil && *u.VCGUID != "":
		guid = *u.VCGUID
	default:
		return false, "", ErrNobody
	}
	if len(guid) > maxGUID {
		return false, "", fmt.Errorf("%w: its name has %d bytes, more than %d", ErrNobody, len(guid), maxGUID)
	}
	return host, strings.ToLower(guid), nil
}

// timeout is what a client gets that asks for seconds.
func (t *Table) timeout(seconds *int64) time.Duration {
	if seconds == nil || *seconds <= 0 {
		return t.o.Timeout
	}
	if *seconds > int64(t.o.MaxTime/time.Second) {
		return t.o.MaxTime
	}
	return time.Duration(*seconds) * time.Second
}

// client finds or makes a client; the table is locked.
func (t *Table) client(host bool, guid string) *Client {
	k := key(host, guid)
	if c := t.clients[k]; c != nil {
		return c
	}
	if len(t.clients) >= t.o.Clients {
		t.forgetOldest()
	}
	c := &Client{Host: host, GUID: guid, Events: newQueue[wire.AnyEvent](t.o.Origin(), ErrLostEvent),
		Alarms: newQueue[wire.AnyAlarm](t.o.Origin(), ErrLostAlarm), cursor: t.o.Cursor()}
	t.clients[k] = c
	return c
}

// forgetOldest drops the client without session that was seen longest ago, if any.
func (t *Table) forgetOldest() {
	busy := map[*Client]bool{}
	for _, s := range t.sessions {
		busy[s.Client] = true
	}
	oldest, at := "", time.Time{}
	for k, c := range t.clients {
		c.mu.Lock()
		seen := c.seen
		c.mu.Unlock()
		if !busy[c] && (oldest == "" || seen.Before(at)) {
			oldest, at = k, seen
		}
	}
	delete(t.clients, oldest)
}

// conflict finds a session of the same host that has initiators, but none of the new one's.
func (t *Table) conflict(s *Session) *Conflict {
	if !s.Client.Host || len(s.initiators) == 0 {
		return nil
	}
	for _, other := range t.sessions {
		if other.Client != s.Client || len(other.initiators) == 0 {
			continue
		}
		if !slices.ContainsFunc(other.initiators, func(n string) bool { return slices.Contains(s.initiators, n) }) {
			return &Conflict{s.Client.GUID, s.Remote, other.Remote, s.initiators, other.initiators}
		}
	}
	return nil
}

// Find returns the session with an id if it belongs to a certificate, and starts its
// time anew. Errors: ErrNone.
func (t *Table) Find(id, certificate string) (*Session, error) {
	now := t.o.Clock()
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.sessions[id]
	if s == nil || s.Certificate != certificate {
		return nil, ErrNone
	}
	if !now.Before(s.expires) {
		delete(t.sessions, id)
		return nil, fmt.Errorf("%w: it timed out", ErrNone)
	}
	s.used, s.expires = now, now.Add(s.Timeout)
	s.Client.mu.Lock()
	s.Client.seen = now
	s.Client.mu.Unlock()
	return s, nil
}

// End ends a session; one that is unknown is ended already.
func (t *Table) End(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.sessions, id)
}

// expire drops sessions that have timed out; the table is locked.
func (t *Table) expire(now time.Time) {
	for id, s := range t.sessions {
		if !now.Before(s.expires) {
			delete(t.sessions, id)
		}
	}
}

// Sessions lists those that are open, oldest first.
func (t *Table) Sessions() []*Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(t.o.Clock())
	list := make([]*Session, 0, len(t.sessions))
	for _, s := range t.sessions {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *Session) int { return a.Opened.Compare(b.Opened) })
	return list
}

// Clients lists those that are remembered, by key.
func (t *Table) Clients() []*Client {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*Client, 0, len(t.clients))
	for _, c := range t.clients {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *Client) int { return strings.Compare(a.Key(), b.Key()) })
	return list
}
