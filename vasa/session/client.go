package session

import (
	"slices"
	"strings"
	"sync"
	"time"

	"vvsim/vasa/wire"
)

// Client is a host or a vCenter that has set its context at least once.
type Client struct {
	Host   bool
	GUID   string // hostGuid or vcGuid, in lower case
	Events *Queue[wire.AnyEvent]
	Alarms *Queue[wire.AnyAlarm]

	mu         sync.Mutex // guards what follows; held for moments, under the table's
	initiators []string   // of its last usage context, as are the next
	subscribed []wire.EventType
	seen       time.Time
	endpoints  []wire.ProtocolEndpoint
	statistics map[wire.EntityType][]int32

	turns       sync.Mutex // guards what follows, and keeps what is put into queues in order; taken before mu
	cursor      uint64     // of the provider's events: the next to look at
	endpointsIn string     // id of the session that told the endpoints
	told        map[string]wire.AnyAlarm
}

// Key names the client among all: "host GUID" or "vcenter GUID".
func (c *Client) Key() string { return key(c.Host, c.GUID) }

func key(host bool, guid string) string {
	if host {
		return "host " + guid
	}
	return "vcenter " + guid
}

// Initiators are the iSCSI names of the client's last usage context, in lower case, each
// once. Shared: read only.
func (c *Client) Initiators() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.initiators
}

// InitiatorsOf are the iSCSI names in a usage context, in lower case, each once.
func InitiatorsOf(u *wire.UsageContext) (names []string) {
	for _, h := range u.HostInitiator {
		if h.ISCSIIdentifier == nil {
			continue
		}
		if n := strings.ToLower(strings.TrimSpace(*h.ISCSIIdentifier)); n != "" && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// Wants tells whether the client subscribed to events of a type: an empty list means
// all.
func (c *Client) Wants(t wire.EventType) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.subscribed) == 0 || slices.Contains(c.subscribed, t)
}

// Advance calls f with the number of the first of the provider's events that the client's
// queue has not seen, and keeps what f returns as the next one. One call at a time.
func (c *Client) Advance(f func(next uint64) uint64) {
	c.turns.Lock()
	defer c.turns.Unlock()
	c.cursor = f(c.cursor)
}

// Endpoints are the protocol endpoints that a host sees in-band.
func (c *Client) Endpoints() []wire.ProtocolEndpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.endpoints
}

// UpdateEndpoints replaces them. It calls f with the former ones before, and with whether
// they were told in the same session. One call at a time.
func (c *Client) UpdateEndpoints(session string, list []wire.ProtocolEndpoint, f func(former []wire.ProtocolEndpoint, sameSession bool)) {
	c.turns.Lock()
	defer c.turns.Unlock()
	f(c.Endpoints(), c.endpointsIn == session)
	c.endpointsIn = session
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endpoints = list
}

// UpdateAlarms calls f with the alarms that the client was told of and that are not over,
// by their key, and keeps what f returns as the next ones. One call at a time.
func (c *Client) UpdateAlarms(f func(told map[string]wire.AnyAlarm) map[string]wire.AnyAlarm) {
	c.turns.Lock()
	defer c.turns.Unlock()
	c.told = f(c.told)
}

// Statistics are the counters of each type in the client's statistics context: nil before
// it was set. Shared: read only.
func (c *Client) Statistics() map[wire.EntityType][]int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.statistics
}

// SetStatistics replaces it.
func (c *Client) SetStatistics(counters map[wire.EntityType][]int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.statistics = counters
}
