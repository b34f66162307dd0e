package door

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Listener bounds the connections that are open at one time, in all and from one address.
// One beyond takes the place of the one that has waited longest for a request of its peer,
// in its handshake or idle; if all are being served it is closed itself. Its State belongs
// into http.Server.ConnState.
type Listener struct {
	net.Listener
	all, each int
	refused   atomic.Uint64

	mu    sync.Mutex // guards what follows
	conns map[*conn]struct{}
	hosts map[string]int // connections by address
}

// conn is a connection of a Listener.
type conn struct {
	net.Conn
	l    *Listener
	host string
	once sync.Once

	// Guarded by the listener.
	serving bool
	since   time.Time // of waiting
}

// Limit bounds what inner accepts. TLS belongs around it, not into it.
func Limit(inner net.Listener, all, each int) *Listener {
	return &Listener{Listener: inner, all: all, each: each, conns: map[*conn]struct{}{}, hosts: map[string]int{}}
}

// Accept waits for a connection that may be open.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: inner, l: l, host: Host(inner.RemoteAddr().String())}
		victim, ok := l.admit(c)
		if victim != nil {
			_ = victim.Close() // its peer has no right to a word
		}
		if ok {
			return c, nil
		}
		l.refused.Add(1)
		_ = inner.Close()
	}
}

// Host is the host of an address host:port.
func Host(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}

// admit counts a connection in, and tells which one has to go for it.
func (l *Listener) admit(c *conn) (victim *conn, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	crowded := l.hosts[c.host] >= l.each
	if crowded || len(l.conns) >= l.all {
		for other := range l.conns {
			if !other.serving && (!crowded || other.host == c.host) && (victim == nil || other.since.Before(victim.since)) {
				victim = other
			}
		}
		if victim == nil {
			return nil, false
		}
		l.forget(victim)
	}
	c.since = time.Now()
	l.conns[c] = struct{}{}
	l.hosts[c.host]++
	return victim, true
}

// forget counts a connection out, once. The listener is locked.
func (l *Listener) forget(c *conn) {
	if _, has := l.conns[c]; !has {
		return
	}
	delete(l.conns, c)
	if l.hosts[c.host]--; l.hosts[c.host] == 0 {
		delete(l.hosts, c.host)
	}
}

// State notes what a http.Server does with a connection.
func (l *Listener) State(nc net.Conn, state http.ConnState) {
	if wrapped, ok := nc.(interface{ NetConn() net.Conn }); ok { // TLS
		nc = wrapped.NetConn()
	}
	c, ok := nc.(*conn)
	if !ok || c.l != l {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c.serving, c.since = state == http.StateActive, time.Now()
}

// Open counts the connections that are open, and those that were refused since the start.
func (l *Listener) Open() (open int, refused uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns), l.refused.Load()
}

// Close closes the connection, and makes room for another. Idempotent.
func (c *conn) Close() (err error) {
	c.once.Do(func() {
		c.l.mu.Lock()
		c.l.forget(c)
		c.l.mu.Unlock()
		err = c.Conn.Close()
	})
	return err
}
