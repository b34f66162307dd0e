package line

import (
	"errors"
	"net"
	"os"
	"time"

	"vvsim/scsi/iscsi/work"
	"vvsim/scsi/latency"
)

const (
	// MaxHeld is how many bytes a Reader holds; the socket keeps the rest. Beyond it a peer
	// that hangs up is not noticed before its bytes go on.
	MaxHeld = 4 << 20
	// readPiece is how many bytes a disturbed Reader takes from the socket at once.
	readPiece = 64 << 10
)

// Reader reads from a connection what its Line lets on. Used by one goroutine.
type Reader struct {
	line     *Line
	poller   *work.Poller
	deadline time.Time // of the owner; it rests while bytes are held, or stand still

	judged  *state // by which the times of held are
	held    []piece
	bytes   int   // of held
	failure error // of the socket, behind what is held
}

// piece is bytes that wait.
type piece struct {
	b     []byte
	due   time.Time
	still bool // not before the line changes
}

// NewReader returns the reader of a line.
func NewReader(l *Line) *Reader { return &Reader{line: l, poller: work.NewPoller(l.nc)} }

// SetDeadline limits the reads that follow; the zero time does not.
func (r *Reader) SetDeadline(at time.Time) error {
	r.deadline = at
	return r.line.nc.SetReadDeadline(at)
}

// Read is work.Poller's, for what the line lets on.
func (r *Reader) Read(p []byte, now latency.Instant, poll bool) (int, error) {
	if in, _ := r.line.state.Load().ways(); in != nil || len(r.held) > 0 || r.failure != nil {
		return r.readLate(p)
	}
	n, err := r.poller.Read(p, now, poll)
	if err == nil && r.line.state.Load() == nil {
		return n, nil
	}
	switch {
	case n > 0:
		r.hold(r.line.state.Load(), p[:n])
	case !errors.Is(err, os.ErrDeadlineExceeded):
		r.failure = err
	case r.expired(): // else the line has changed
		return 0, err
	}
	return r.readLate(p)
}

func (r *Reader) expired() bool { return !r.deadline.IsZero() && !time.Now().Before(r.deadline) }

// readLate waits for the first bytes that may go on.
func (r *Reader) readLate(p []byte) (int, error) {
	err := r.await()
	if err == nil && len(r.held) == 0 {
		err = r.failure
	}
	if again := r.line.nc.SetReadDeadline(r.deadline); err == nil && len(r.held) == 0 {
		err = again
	}
	switch {
	case err != nil:
		return 0, err
	case len(r.held) == 0:
		return r.Read(p, latency.Now(), false)
	}
	n := copy(p, r.held[0].b)
	r.held[0].b = r.held[0].b[n:]
	r.bytes -= n
	if len(r.held[0].b) == 0 {
		r.held = r.held[1:]
	}
	return n, nil
}

// Stay keeps the owner from going on with what it has read for as long as that would wait if
// it came only now. The error is the connection's.
func (r *Reader) Stay() error {
	s := r.line.state.Load()
	if in, _ := s.ways(); in != nil {
		r.judge(s)
		at, ok := due(in, 0)
		r.held = append([]piece{{due: at, still: !ok}}, r.held...)
		if err := r.await(); err != nil {
			return err
		}
		r.held = r.held[1:]
		if err := r.line.nc.SetReadDeadline(r.deadline); err != nil {
			return err
		}
	}
	if r.line.closed() {
		return net.ErrClosed
	}
	return nil
}

// hold keeps bytes until they may go on by s.
func (r *Reader) hold(s *state, b []byte) {
	r.judge(s)
	in, _ := s.ways()
	at, ok := due(in, len(b))
	r.held = append(r.held, piece{append([]byte(nil), b...), at, !ok})
	r.bytes += len(b)
}

// judge gives what is held the times of the state in force.
func (r *Reader) judge(s *state) {
	if r.judged == s {
		return
	}
	r.judged = s
	in, _ := s.ways()
	for k := range r.held {
		at, ok := due(in, len(r.held[k].b))
		r.held[k].due, r.held[k].still = at, !ok
	}
}

// await returns when the first of what is held may go on, or when nothing is held and the
// line is undisturbed. The errors are the socket's: at once when the bytes before it stand
// still, else behind them.
func (r *Reader) await() error {
	for {
		s := r.line.state.Load()
		r.judge(s)
		in, _ := s.ways()
		if len(r.held) > 0 && !r.held[0].still && passed(in, r.held[0].due) || in == nil && len(r.held) == 0 {
			return nil
		}
		if r.failure != nil && (len(r.held) == 0 || r.held[0].still) {
			return r.failure
		}
		if err := r.pass(s, in); err != nil {
			return err
		}
	}
}

// pass spends time: it holds what comes next, or waits. The error says that the owner's
// deadline has passed, or that the connection is closed.
func (r *Reader) pass(s *state, in Way) error {
	_, moves := due(in, 0)
	resting := !moves || len(r.held) > 0
	until, at := r.deadline, time.Time{} // the socket's time, and the way's
	if resting {
		until = time.Time{}
		if len(r.held) > 0 {
			at = r.held[0].due
		}
	}
	began := time.Now()
	if r.failure != nil || r.bytes >= MaxHeld {
		r.line.wait(s, in, at)
		if r.line.closed() {
			return net.ErrClosed
		}
	} else if err := r.take(s, in, until, at); err != nil {
		if !resting && r.expired() || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	if resting && !r.deadline.IsZero() {
		r.deadline = r.deadline.Add(time.Since(began))
	}
	return nil
}

// take holds what the socket has next, unless it is until, or at by the way, before.
func (r *Reader) take(s *state, in Way, until, at time.Time) error {
	if err := r.line.nc.SetReadDeadline(until); err != nil {
		return err
	}
	stop := ring(in, at, r.line.rouse)
	defer stop()
	if r.line.state.Load() != s {
		return nil // whoever has changed it may have woken us before the deadline was set
	}
	size := readPiece
	if n := in.Piece(); n > 0 {
		size = min(size, n)
	}
	b := make([]byte, size)
	n, err := r.poller.Read(b, latency.Now(), false)
	switch {
	case n > 0:
		r.hold(s, b[:n])
	case errors.Is(err, os.ErrDeadlineExceeded):
		return err
	default:
		r.failure = err
	}
	return nil
}
