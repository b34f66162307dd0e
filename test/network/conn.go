package network

import (
	"bytes"
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
	delay time.Duration // until what one end does has come to the other, all of one instant at once

	mu     sync.Mutex // guards what follows
	data   []byte     // that has come
	coming int        // bytes that have not
	events []event    // what is coming, in order, bytes and ends
	ended  bool       // no more is written
	eof    bool       // which the reader knows
	left   bool       // nobody reads any more
	broken bool       // which the writer knows
	lost   bool       // no more comes
	reset  bool       // which both ends know
	read   waiter
	write  waiter
}

// waiter is one end of a pipe: those who wait, and until when.
type waiter struct {
	changed  sync.Cond
	deadline time.Time
	timer    *time.Timer
}

// event is something that comes at a time.
type event struct {
	due time.Time
	do  func()
}

func newPipe(delay time.Duration) *pipe {
	p := &pipe{delay: delay}
	p.read.changed.L, p.write.changed.L = &p.mu, &p.mu
	return p
}

// wake has all look again. Called with mu held.
func (p *pipe) wake() {
	p.read.changed.Broadcast()
	p.write.changed.Broadcast()
}

// arrive does f, with mu held, when what one end does has come to the other: now, without a
// delay, else behind all that is coming. Called with mu held.
func (p *pipe) arrive(f func()) {
	if p.delay == 0 {
		f()
		return
	}
	p.events = append(p.events, event{time.Now().Add(p.delay), f})
	time.AfterFunc(p.delay, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for len(p.events) > 0 && !p.events[0].due.After(time.Now()) {
			first := p.events[0]
			p.events = p.events[1:]
			first.do()
		}
	})
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
		case p.eof:
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
		case p.broken:
			return n, syscall.EPIPE
		case p.lost:
			return n + len(b), nil
		case len(b) == 0:
			return n, nil
		}
		if room := min(capacity-len(p.data)-p.coming, len(b)); room > 0 {
			p.send(b[:room])
			b, n = b[room:], n+room
			continue
		}
		if err := p.write.wait(); err != nil {
			return n, err
		}
	}
}

// send has bytes come to the reader, unless nobody is there any more. Called with mu held.
func (p *pipe) send(b []byte) {
	if p.delay > 0 {
		b = bytes.Clone(b)
	}
	p.coming += len(b)
	p.arrive(func() {
		p.coming -= len(b)
		if !p.left && !p.lost {
			p.data = append(p.data, b...)
		}
		p.read.changed.Broadcast()
	})
}

// end is the end of one side, ended or left, which the other end knows as eof or broken.
func (p *pipe) end(side, known *bool, w *waiter) {
	p.limit(w, time.Time{}) // no timer is left
	p.mu.Lock()
	defer p.mu.Unlock()
	*side = true
	if p.left {
		p.data = nil
	}
	p.arrive(func() {
		*known = true
		p.wake()
	})
	p.wake()
}

// cut loses what is under way, and tells both ends.
func (p *pipe) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost, p.data = true, nil
	p.arrive(func() {
		p.reset = true
		p.wake()
	})
}

// conn is one end of a connection.
type conn struct {
	in, out       *pipe
	local, remote addr
	once          sync.Once
	closed        func() // when this end is closed
}

func connect(a, b addr, there, back *pipe, closed func(*conn)) (near, far *conn) {
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
		c.out.end(&c.out.ended, &c.out.eof, &c.out.write)
		c.in.end(&c.in.left, &c.in.broken, &c.in.read)
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
