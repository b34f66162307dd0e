package work

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"

	"vvsim/scsi/latency"
)

// PollTime is how long a Poller asks the socket again and again before it sleeps: to
// be woken takes longer than an initiator that has one command at a time takes to
// send the next.
const PollTime = 50 * time.Microsecond

// Poller reads from a connection, for a while without sleeping if asked to. Used by
// one goroutine.
type Poller struct {
	nc    net.Conn
	raw   syscall.RawConn // nil: not a socket
	p     []byte
	n     int
	err   error
	until latency.Instant
	try   func(fd uintptr) bool
}

// NewPoller returns a reader of nc, which stays the caller's.
func NewPoller(nc net.Conn) *Poller {
	r := &Poller{nc: nc}
	if s, ok := nc.(syscall.Conn); ok {
		r.raw, _ = s.SyscallConn()
	}
	r.try = r.attempt
	return r
}

// Read is net.Conn's. With poll it does not sleep before PollTime has gone since now.
func (r *Poller) Read(p []byte, now latency.Instant, poll bool) (int, error) {
	if r.raw == nil {
		return r.nc.Read(p)
	}
	r.p, r.until = p, 0
	if poll {
		r.until = now.Add(PollTime)
	}
	if err := r.raw.Read(r.try); err != nil {
		return 0, err
	}
	switch {
	case r.err != nil:
		return 0, os.NewSyscallError("read", r.err)
	case r.n == 0:
		return 0, io.EOF
	}
	return r.n, nil
}

// attempt reads what is there; false sleeps until something is.
func (r *Poller) attempt(fd uintptr) bool {
	for {
		r.n, r.err = syscall.Read(int(fd), r.p)
		switch {
		case errors.Is(r.err, syscall.EINTR):
			continue
		case !errors.Is(r.err, syscall.EAGAIN):
			return true
		case r.until == 0 || latency.Now() > r.until:
			return false
		}
		runtime.Gosched() // others first
	}
}
