package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Limits of a network.
const (
	backlog   = 64        // connections that nobody has accepted yet
	firstPort = 20000     // that port 0 stands for
	lastPort  = 1<<16 - 1 // of an address
)

// Network connects by address, host:port. Safe for concurrent use.
type Network struct {
	mu        sync.Mutex // guards what follows
	next      int
	listeners map[string]*listener
	conns     map[*conn]bool // those whose dialer has not closed them
}

// New is a network on which nobody listens.
func New() *Network {
	return &Network{next: firstPort, listeners: map[string]*listener{}, conns: map[*conn]bool{}}
}

// Listen is net.ListenConfig's, for arrays (array.Array.ListenWith). Port 0 takes a free one.
func (n *Network) Listen(_ context.Context, _, address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if port == "0" {
		if n.next > lastPort {
			return nil, &net.OpError{Op: "listen", Net: "memory", Err: syscall.EADDRNOTAVAIL}
		}
		port = strconv.Itoa(n.next)
		n.next++
	}
	address = net.JoinHostPort(host, port)
	if n.listeners[address] != nil {
		return nil, &net.OpError{Op: "listen", Net: "memory", Addr: addr(address), Err: syscall.EADDRINUSE}
	}
	l := &listener{network: n, address: addr(address), waiting: make(chan net.Conn, backlog), closed: make(chan struct{})}
	n.listeners[address] = l
	return l, nil
}

// Dial connects to a listener, without a delay.
func (n *Network) Dial(ctx context.Context, address string) (net.Conn, error) {
	return n.DialOver(ctx, address, 0, 0)
}

// DialOver connects to a listener that is so far away: what either end does, closing included,
// comes to the other after there or back. What happens on connections of different delays
// happens at different times.
func (n *Network) DialOver(ctx context.Context, address string, there, back time.Duration) (net.Conn, error) {
	if there+back > 0 {
		select {
		case <-time.After(there + back):
		case <-ctx.Done():
			return nil, fmt.Errorf("dial %s: %w", address, context.Cause(ctx))
		}
	}
	refused := &net.OpError{Op: "dial", Net: "memory", Addr: addr(address), Err: syscall.ECONNREFUSED}
	n.mu.Lock()
	l := n.listeners[address]
	if l == nil {
		n.mu.Unlock()
		return nil, refused
	}
	near, far := connect("127.0.0.1:1", l.address, newPipe(there), newPipe(back), n.forget)
	n.conns[near] = true
	n.mu.Unlock()
	select {
	case l.waiting <- far:
		return near, nil
	case <-l.closed:
		near.Close()
		return nil, refused
	case <-ctx.Done():
		near.Close()
		return nil, fmt.Errorf("dial %s: %w", address, context.Cause(ctx))
	}
}

func (n *Network) forget(c *conn) {
	n.mu.Lock()
	delete(n.conns, c)
	n.mu.Unlock()
}

// Cut does what the death of all who listen does: connections are reset, with what is under
// way, and the addresses are free.
func (n *Network) Cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.listeners)
	for c := range n.conns {
		c.in.cut()
		c.out.cut()
	}
}

// DialNetwork is Dial for net/http.
func (n *Network) DialNetwork(ctx context.Context, _, address string) (net.Conn, error) {
	return n.Dial(ctx, address)
}

type addr string

func (a addr) Network() string { return "memory" }
func (a addr) String() string  { return string(a) }

type listener struct {
	network *Network
	address addr
	waiting chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.waiting:
		return c, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: "memory", Addr: l.address, Err: net.ErrClosed}
	}
}

func (l *listener) Addr() net.Addr { return l.address }

// Close resets those that were not accepted.
func (l *listener) Close() error {
	err := errors.New("closed before")
	l.once.Do(func() {
		err = nil
		close(l.closed)
		l.network.mu.Lock()
		if l.network.listeners[string(l.address)] == l { // it may be another's after Cut
			delete(l.network.listeners, string(l.address))
		}
		l.network.mu.Unlock()
		for {
			select {
			case c := <-l.waiting:
				c.Close()
			default:
				return
			}
		}
	})
	return err
}
