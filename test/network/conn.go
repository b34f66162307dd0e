package network

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// capacity is how many bytes a connection holds in each direction.
const capacity = 256 << 10

// pipe is one direction of a connection.
type pipe struct {
	mu    sync.Mutex // guards what follows
	data  []byte
	ended bool // no more is written
	left  bool // nobody reads any more
	reset bool // both ends are lost at once
	read  waiter
	write waiter
}

// waiter is one end of a pipe: those who wait, and until when.
type waiter struct {
	changed  sync.Cond
	deadline time.Time
	timer    *time.Timer
}

func newPipe() *pipe {
	p := &pipe{}
	p.read.changed.L, p.write.changed.L = &p.mu, &p.mu
	return p
}

// wake has all look again. Called with mu held.
func (p *pipe) wake() {
	p.read.changed.Broadcast()
	p.write.changed.Broadcast()
}

// wait returns an error when the time of w is over. Called with mu held.
func (w *waiter) wait() error {
	if !w.deadline.IsZero() && !time.Now().Before(w.deadline) {
		return os.ErrDeadlineExceeded
	}
	w.changed.Wait()
	return nil
}

func (p *pipe) limit(w *waiter, t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.deadline = t
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	if !t.IsZero() {
		w.timer = time.AfterFunc(time.Until(t), func() {
			p.mu.Lock()
			w.changed.Broadcast()
			p.mu.Unlock()
		})
	}
	w.changed.Broadcast()
}

func (p *pipe) take(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.left:
			return 0, net.ErrClosed
		case p.reset:
			return 0, syscall.ECONNRESET
		case len(p.data) > 0 || len(b) == 0:
			n := copy(b, p.data)
			if p.data = p.data[n:]; len(p.data) == 0 {
				p.data = nil
			}
			p.write.changed.Broadcast()
			return n, nil
		case p.ended:
			return 0, io.EOF
		}
		if err := p.read.wait(); err != nil {
			return 0, err
		}
	}
}

func (p *pipe) put(b []byte) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.ended:
			return n, net.ErrClosed
		case p.reset:
			return n, syscall.ECONNRESET
		case p.left:
			return n, syscall.EPIPE
		case len(b) == 0:
			return n, nil
		}
		if room := min(capacity-len(p.data), len(b)); room > 0 {
			p.data = append(p.data, b[:room]...)
			b, n = b[room:], n+room
			p.read.changed.Broadcast()
			continue
		}
		if err := p.write.wait(); err != nil {
			return n, err
		}
	}
}

// end is the end of one side, ended or left.
func (p *pipe) end(side *bool, w *waiter) {
	p.limit(w, time.Time{}) // no timer is left
	p.mu.Lock()
	defer p.mu.Unlock()
	*side = true
	if p.left {
		p.data = nil
	}
	p.wake()
}

// cut loses what is under way, and tells both ends.
func (p *pipe) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reset, p.data = true, nil
	p.wake()
}

// conn is one end of a connection.
type conn struct {
	in, out       *pipe
	local, remote addr
	once          sync.Once
	closed        func() // when this end is closed
}

func connect(a, b addr, closed func(*conn)) (near, far *conn) {
	there, back := newPipe(), newPipe()
	near, far = &conn{in: back, out: there, local: a, remote: b}, &conn{in: there, out: back, local: b, remote: a}
	near.closed, far.closed = func() { closed(near) }, func() {}
	return near, far
}

func (c *conn) failed(op string, err error) error {
	if err == nil || err == io.EOF { //nolint:errorlint // readers compare with io.EOF itself
		return err
	}
	return &net.OpError{Op: op, Net: "memory", Source: c.local, Addr: c.remote, Err: err}
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.in.take(b)
	return n, c.failed("read", err)
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.out.put(b)
	return n, c.failed("write", err)
}

// Close lets the other end read what was written; its own writes fail.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.out.end(&c.out.ended, &c.out.write)
		c.in.end(&c.in.left, &c.in.read)
		c.closed()
	})
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	c.in.limit(&c.in.read, t)
	c.out.limit(&c.out.write, t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.limit(&c.in.read, t)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.limit(&c.out.write, t)
	return nil
}
