package line

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vvsim/scsi"
	"vvsim/scsi/iscsi/host/clock"
	"vvsim/scsi/latency"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// way lets all on at a time, or never.
type way struct {
	after time.Duration
	still bool
	piece int
	by    Clock // nil: the wall's

	mu   sync.Mutex
	seen []int
}

func (w *way) Due(n int) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, n)
	if w.still {
		return time.Time{}
	}
	return w.Clock().Now().Add(w.after)
}
func (w *way) Piece() int { return w.piece }

func (w *way) Clock() Clock {
	if w.by == nil {
		return Wall{}
	}
	return w.by
}

// stepped is a clock of tests as a Clock.
type stepped struct{ *clock.Clock }

func (s stepped) After(d time.Duration, f func()) func() bool { return s.AfterFunc(d, f).Stop }

// asked waits until the way has been asked for n bytes.
func (w *way) asked(t *testing.T, n int) {
	require.Eventually(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, k := range w.seen {
			if k == n {
				return true
			}
		}
		return false
	}, 20*time.Second, time.Millisecond)
}

// ends are a peer and what reads from it.
type ends struct {
	t    *testing.T
	peer net.Conn
	nc   net.Conn
	line *Line
	r    *Reader
	done chan struct{}
}

func newEnds(t *testing.T) *ends {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	e := &ends{t: t, done: make(chan struct{})}
	e.peer, err = net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	e.nc, err = ln.Accept()
	require.NoError(t, err)
	e.line = New(e.nc, e.done)
	e.r = NewReader(e.line)
	t.Cleanup(func() { e.peer.Close(); e.nc.Close() })
	return e
}

func (e *ends) close() {
	close(e.done)
	e.nc.Close()
}

func (e *ends) send(b string) {
	_, err := e.peer.Write([]byte(b))
	require.NoError(e.t, err)
}

// got is the outcome of a Read.
type got struct {
	s   string
	err error
}

func (e *ends) read() <-chan got {
	c := make(chan got, 1)
	go func() {
		p := make([]byte, 1<<20)
		n, err := e.r.Read(p, latency.Now(), false)
		c <- got{string(p[:n]), err}
	}()
	return c
}

// What comes while a way stands still is held, whether the reader waits for it already or
// not; it comes when the way goes, and nothing is lost or doubled.
func TestReaderStill(t *testing.T) {
	for _, waiting := range []bool{false, true} {
		e := newEnds(t)
		var c <-chan got
		if waiting {
			c = e.read()
		}
		w := &way{still: true}
		e.line.Disturb(w, nil)
		e.send("abc")
		if !waiting {
			c = e.read()
		}
		w.asked(t, 3)
		select {
		case x := <-c:
			t.Fatalf("%q passed: %v", x.s, x.err)
		default:
		}
		other := &way{still: true}
		e.line.Disturb(other, nil)
		other.asked(t, 3)
		e.line.Disturb(nil, nil)
		require.Equal(t, got{"abc", nil}, <-c)
		e.send("def")
		require.Equal(t, got{"def", nil}, <-e.read())
	}
}

// A line that changes between a read and the look at what it brought holds by the new state.
func TestReaderChange(t *testing.T) {
	e := newEnds(t)
	e.line.Disturb(&way{still: true}, nil)
	e.r.hold(e.line.state.Load(), []byte("abc"))
	e.line.Disturb(nil, nil)
	require.Equal(t, got{"abc", nil}, <-e.read())
	w := &way{still: true}
	e.r.hold(e.line.state.Load(), []byte("def"))
	e.line.Disturb(w, nil)
	c := e.read()
	w.asked(t, 3)
	require.Empty(t, c)
	e.line.Disturb(nil, nil)
	require.Equal(t, got{"def", nil}, <-c)
}

// The owner's deadline rests while nothing moves, counts afterwards, and holds on an
// undisturbed line whoever has woken the reader.
func TestReaderDeadline(t *testing.T) {
	e := newEnds(t)
	require.NoError(t, e.r.SetDeadline(time.Now().Add(20*time.Millisecond)))
	w := &way{still: true}
	e.line.Disturb(w, nil)
	held := e.read()
	w.asked(t, 0)
	e.send("abc")
	w.asked(t, 3)
	require.Never(t, func() bool { return len(held) > 0 }, 60*time.Millisecond, 20*time.Millisecond)
	e.line.Disturb(nil, nil)
	require.Equal(t, got{"abc", nil}, <-held)
	require.ErrorIs(t, (<-e.read()).err, os.ErrDeadlineExceeded)

	require.NoError(t, e.r.SetDeadline(time.Time{}))
	c := e.read()
	e.line.Disturb(w, nil)
	e.line.Disturb(nil, nil) // wakes a reader that was not held
	e.send("def")
	require.Equal(t, got{"def", nil}, <-c)

	moving := &way{after: time.Hour}
	e.line.Disturb(moving, nil)
	require.NoError(t, e.r.SetDeadline(time.Now().Add(10*time.Millisecond)))
	require.ErrorIs(t, (<-e.read()).err, os.ErrDeadlineExceeded, "nothing is held")
}

// A peer that hangs up while its bytes stand still takes them along; behind bytes that are
// merely late its end comes late too. Whoever closes the connection wakes the reader.
func TestReaderEnd(t *testing.T) {
	e := newEnds(t)
	w := &way{still: true}
	e.line.Disturb(w, nil)
	e.send("abc")
	c := e.read()
	w.asked(t, 3)
	require.NoError(t, e.peer.Close())
	require.Equal(t, got{"", io.EOF}, <-c)
	e.line.Disturb(nil, nil)

	e = newEnds(t)
	e.line.Disturb(&way{after: time.Millisecond}, nil)
	e.send("abc")
	require.NoError(t, e.peer.Close())
	require.Equal(t, got{"abc", nil}, <-e.read())
	require.Equal(t, got{"", io.EOF}, <-e.read())

	e = newEnds(t)
	w = &way{still: true}
	e.line.Disturb(w, nil)
	e.send("abc")
	c = e.read()
	w.asked(t, 3)
	e.close()
	require.Error(t, (<-c).err)
	require.Error(t, e.r.Stay())
}

// No more than MaxHeld bytes are held; the rest waits in the socket and comes too.
func TestReaderBound(t *testing.T) {
	e := newEnds(t)
	w := &way{still: true}
	e.line.Disturb(w, nil)
	all := make([]byte, MaxHeld+MaxHeld/2)
	chacha := rand.NewChaCha8([32]byte{1})
	_, _ = chacha.Read(all)
	wrote := make(chan error, 1)
	go func() {
		_, err := e.peer.Write(all)
		wrote <- err
	}()
	first := e.read()
	require.Eventually(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		sum := 0
		for _, n := range w.seen {
			sum += n
		}
		return sum >= MaxHeld
	}, 20*time.Second, time.Millisecond)
	e.line.Disturb(nil, nil)
	x := <-first
	require.NoError(t, x.err)
	require.LessOrEqual(t, e.r.bytes+len(x.s), MaxHeld+readPiece)
	back := []byte(x.s)
	p := make([]byte, 1<<16)
	for len(back) < len(all) {
		n, err := e.r.Read(p, latency.Now(), false)
		require.NoError(t, err)
		back = append(back, p[:n]...)
	}
	require.NoError(t, <-wrote)
	require.True(t, bytes.Equal(all, back))
}

// Stay holds its owner as bytes would be held that come only now, before what came after.
func TestStay(t *testing.T) {
	e := newEnds(t)
	require.NoError(t, e.r.Stay())
	w := &way{still: true}
	e.line.Disturb(w, nil)
	e.send("abc")
	stayed := make(chan error, 1)
	go func() { stayed <- e.r.Stay() }()
	w.asked(t, 3)
	require.Empty(t, stayed)
	e.line.Disturb(nil, nil)
	require.NoError(t, <-stayed)
	require.Equal(t, got{"abc", nil}, <-e.read())

	e.line.Disturb(w, nil)
	go func() { stayed <- e.r.Stay() }()
	require.NoError(t, e.peer.Close())
	require.ErrorIs(t, <-stayed, io.EOF)
}

// header is a PDU of nothing but a header.
type header byte

func (h header) AppendTo(b []byte) []byte { return append(b, bytes.Repeat([]byte{byte(h)}, 48)...) }

// Bytes that are late by a clock that stands still wait until it is stepped, those whose
// peer has hung up meanwhile too.
func TestSteppedClock(t *testing.T) {
	for _, hangUp := range []bool{false, true} {
		e, c := newEnds(t), clock.New(0)
		w := &way{after: time.Hour, by: stepped{c}}
		e.line.Disturb(w, w)
		read := e.read()
		e.send("abc")
		w.asked(t, 3)
		if hangUp {
			require.NoError(t, e.peer.Close())
		}
		q := NewQueue(e.line)
		q.Push(&Batch{}, 5)
		b, wait := q.Take()
		require.Nil(t, b)
		woken := make(chan struct{})
		go func() { wait(); close(woken) }()
		c.Step(time.Hour - 1)
		select {
		case <-read:
			t.Fatal("read before it was due")
		case <-woken:
			t.Fatal("gone before it was due")
		default:
		}
		b, _ = q.Take()
		require.Nil(t, b)
		c.Step(1)
		require.Equal(t, got{s: "abc"}, <-read)
		<-woken
		b, wait = q.Take()
		require.True(t, b != nil && wait == nil)
		e.close()
	}
}

// Batches wait in their order and go in pieces, the last of which releases what all have
// borrowed; a closed connection holds nothing.
func TestQueue(t *testing.T) {
	e := newEnds(t)
	q := NewQueue(e.line)
	_, held := q.Holds()
	require.False(t, held)
	b, wait := q.Take()
	require.True(t, b == nil && wait == nil)

	w := &way{still: true, piece: 100}
	e.line.Disturb(nil, w)
	piece, held := q.Holds()
	require.True(t, held)
	require.Equal(t, 100, piece)
	whole := &Batch{Reserved: 7}
	data := scsi.BufferOf(bytes.Repeat([]byte{9}, 301))
	whole.Put(header(1), data.Bytes(), true, true)
	whole.Put(header(2), nil, true, false)
	whole.Own(data)
	want := bytes.Join(whole.Parts, nil)
	require.Len(t, want, 48+4+304+4+48+4)
	require.Equal(t, 48+301+48, whole.Size)
	for whole.Cut(piece, q.Push) {
	}
	q.Push(whole, whole.Length())
	require.Equal(t, len(want), q.Size())
	_, wait = q.Take()
	require.NotNil(t, wait)
	woken := make(chan struct{})
	go func() { wait(); close(woken) }()
	e.line.Disturb(nil, nil)
	<-woken
	_, held = q.Holds()
	require.True(t, held, "in order")
	var went []byte
	for b, _ := q.Take(); b != nil; b, _ = q.Take() {
		part := bytes.Join(b.Parts, nil)
		require.LessOrEqual(t, len(part), 100)
		require.Equal(t, len(went)+len(part) == len(want), b.Reserved == 7, "the last owns")
		went = append(went, part...)
		b.Clear()
	}
	require.Equal(t, want, went)
	require.Zero(t, q.Size())

	e.line.Disturb(nil, w)
	q.Push(&Batch{}, 5)
	_, wait = q.Take()
	require.NotNil(t, wait)
	e.close()
	wait()
	b, _ = q.Take()
	require.NotNil(t, b)
}

// An undisturbed reader costs little more than the poller behind it.
func BenchmarkUndisturbed(b *testing.B) {
	l := New(nil, nil)
	q := NewQueue(l)
	for b.Loop() {
		if in, _ := l.state.Load().ways(); in != nil || l.state.Load() != nil {
			b.Fatal("disturbed")
		}
		if _, held := q.Holds(); held {
			b.Fatal("disturbed")
		}
		if x, wait := q.Take(); x != nil || wait != nil {
			b.Fatal("disturbed")
		}
	}
}
