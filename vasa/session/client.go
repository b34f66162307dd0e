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

	mu         sync.Mutex // guards all below
	usage      wire.UsageContext
	seen       time.Time
	cursor     uint64 // of the domain's events: the next to look at
	endpoints  []wire.ProtocolEndpoint
	statistics []wire.ArrayStatisticsManifest
}

// Key names the client among all: "host GUID" or "vcenter GUID".
func (c *Client) Key() string { return key(c.Host, c.GUID) }

func key(host bool, guid string) string {
	if host {
		return "host " + guid
	}
	return "vcenter " + guid
}

// Usage is the client's last usage context. Its slices are shared: read only.
func (c *Client) Usage() wire.UsageContext {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.usage
}

// Initiators are the iSCSI names of the client's last usage context, in lower case, each once.
func (c *Client) Initiators() []string {
	u := c.Usage()
	return InitiatorsOf(&u)
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
	return len(c.usage.SubscribeEvent) == 0 || slices.Contains(c.usage.SubscribeEvent, t)
}

// Advance calls f with the serial of the first of the domain's events that the client's
// queue has not seen, and keeps what f returns as the next one. One call at a time.
func (c *Client) Advance(f func(next uint64) uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cursor = f(c.cursor)
}

// Endpoints are the protocol endpoints that a host sees in-band.
func (c *Client) Endpoints() []wire.ProtocolEndpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.endpoints
}

// SetEndpoints replaces them and returns the former ones.
func (c *Client) SetEndpoints(list []wire.ProtocolEndpoint) (former []wire.ProtocolEndpoint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	former, c.endpoints = c.endpoints, list
	return former
}

// Statistics is the statistics context: nil before it was set.
func (c *Client) Statistics() []wire.ArrayStatisticsManifest {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.statistics
}

// SetStatistics replaces it.
func (c *Client) SetStatistics(m []wire.ArrayStatisticsManifest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.statistics = m
}
