package network

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Listener is a portal that refuses connections while it is shut: its socket is closed then,
// with the port kept from others, and opened anew. Safe for concurrent use.
type Listener struct {
	addr   net.Addr
	listen Listen
	leave  func() // called by Close

	mu      sync.Mutex    // guards what follows
	inner   net.Listener  // nil while it is down
	keeper  int           // socket that keeps the port meanwhile; -1 for none
	down    bool          // as Shut wants it
	closed  bool          // for ever
	changed chan struct{} // closed when one of them changes
}

// Listen opens a listener, as net.Listen does.
type Listen func(network, address string) (net.Listener, error)

// NewListener decorates the listener of a portal, and owns it; listen opens it again. leave is
// called when the portal is closed for ever.
func NewListener(inner net.Listener, listen Listen, leave func()) *Listener {
	return &Listener{addr: inner.Addr(), listen: listen, leave: leave, inner: inner, keeper: -1, changed: make(chan struct{})}
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.addr }

// listenAgain is how often a portal tries to come up whose port somebody else has.
const listenAgain = 100 * time.Millisecond

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		l.mu.Lock()
		inner, changed, down, closed := l.inner, l.changed, l.down, l.closed
		l.mu.Unlock()
		switch {
		case closed:
			return nil, fmt.Errorf("portal %v: %w", l.addr, net.ErrClosed)
		case inner != nil:
			nc, err := inner.Accept()
			if err == nil || !l.left(inner) {
				return nc, err
			}
		case down:
			<-changed
		default: // the port is another's for now
			t := time.NewTimer(listenAgain)
			select {
			case <-changed:
			case <-t.C:
			}
			t.Stop()
			l.mu.Lock()
			l.open()
			l.mu.Unlock()
		}
	}
}

// left tells whether inner is not what accepts any more.
func (l *Listener) left(inner net.Listener) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inner != inner
}

// Close implements net.Listener.
func (l *Listener) Close() error {
	l.leave()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	l.tell()
	l.giveUp()
	if l.inner == nil {
		return nil
	}
	return l.inner.Close() // stays inner, so that Accept tells the error
}

// tell wakes Accept. Called with mu held.
func (l *Listener) tell() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Shut closes or opens the portal.
func (l *Listener) Shut(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.down == down {
		return
	}
	l.down = down
	if !down {
		l.open()
	} else if inner := l.inner; inner != nil {
		l.inner = nil
		_ = inner.Close() // it was open; what its close says changes nothing
		l.keeper = keepPort(l.addr)
	}
	l.tell()
}

// open listens again, where Shut wants it. Called with mu held.
func (l *Listener) open() {
	if l.down || l.closed || l.inner != nil {
		return
	}
	if inner, err := l.listen(l.addr.Network(), l.addr.String()); err == nil {
		l.inner = inner
		l.giveUp()
	}
}

// giveUp closes the keeper. Called with mu held.
func (l *Listener) giveUp() {
	if l.keeper >= 0 {
		_ = syscall.Close(l.keeper)
		l.keeper = -1
	}
}

// keepPort binds a socket that does not listen, so that the kernel gives the port to nobody
// and refuses whoever connects to it. -1 when that fails: the port is free to take then, as
// it is while an array is down.
func keepPort(addr net.Addr) int {
	a, ok := addr.(*net.TCPAddr)
	if !ok {
		return -1
	}
	fd, err := boundSocket(a)
	if err != nil {
		return -1
	}
	return fd
}

func boundSocket(a *net.TCPAddr) (fd int, err error) {
	family, to := syscall.AF_INET6, syscall.Sockaddr(&syscall.SockaddrInet6{Port: a.Port, Addr: [16]byte(a.IP.To16())})
	if ip := a.IP.To4(); ip != nil {
		family, to = syscall.AF_INET, &syscall.SockaddrInet4{Port: a.Port, Addr: [4]byte(ip)}
	}
	if fd, err = syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0); err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	// As net.Listen does, so that both may be bound at once.
	err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if family == syscall.AF_INET6 && a.IP.IsUnspecified() {
		err = errors.Join(err, syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, 0))
	}
	if err = errors.Join(err, syscall.Bind(fd, to)); err != nil {
		return -1, errors.Join(os.NewSyscallError("bind", err), syscall.Close(fd))
	}
	return fd, nil
}
