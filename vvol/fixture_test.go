package vvol_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"vvsim/vvol"
	"vvsim/vvol/store"
	"vvsim/vvol/store/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	mib = 1 << 20
	gib = 1 << 30
)

// counter is a source of random numbers that repeats: ids count up.
type counter struct{ n uint64 }

func (c *counter) Read(p []byte) (int, error) {
	c.n++
	clear(p)
	binary.BigEndian.PutUint64(p[max(0, len(p)-8):], c.n)
	return len(p), nil
}

// clock moves only when told.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// endpoints is a data path that only keeps books. It fails the test when calls
// for one volume overlap.
type endpoints struct {
	t   testing.TB
	pes []vvol.ProtocolEndpoint

	mu       sync.Mutex
	attached map[vvol.BindingID]vvol.Binding
	mapped   map[uint16]vvol.LUNMapping
	busy     map[vvol.ID]bool
	quality  map[vvol.ID]vvol.Quality // in force, of attached volumes and of those that were
	changes  []string
	refuse   error                              // of Attach and Map
	draining func(context.Context) error        // of Detach and Unmap
	do       func(func() error) error           // crash points, see crash_test.go
	onAttach func(vvol.Binding, vvol.Endpoints) // looks on while a call is under way
}

func newEndpoints(t testing.TB, pes int) *endpoints {
	e := &endpoints{t: t, attached: map[vvol.BindingID]vvol.Binding{}, mapped: map[uint16]vvol.LUNMapping{}, busy: map[vvol.ID]bool{},
		quality: map[vvol.ID]vvol.Quality{}}
	for i := range pes {
		e.pes = append(e.pes, vvol.ProtocolEndpoint{ID: vvol.PEID(fmt.Sprintf("naa.%032x", i+1)), Name: fmt.Sprintf("pe%d", i), LUN: uint16(256 + i)})
	}
	return e
}

// enter marks a volume as being worked on.
func (e *endpoints) enter(id vvol.ID) func() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.busy[id] {
		e.t.Errorf("two calls for %v at once", id)
	}
	e.busy[id] = true
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.busy, id)
	}
}

func (e *endpoints) stepped(f func() error) error {
	if e.do == nil {
		return f()
	}
	return e.do(f)
}

func (e *endpoints) Attach(_ context.Context, b vvol.Binding, v vvol.VirtualVolume, initiators []string) error {
	defer e.enter(b.VVol)()
	return e.stepped(func() error {
		if e.onAttach != nil {
			e.onAttach(b, e)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if v.ID != b.VVol || len(initiators) == 0 {
			e.t.Errorf("attach of %v with %v, initiators %v", b, v, initiators)
		}
		if e.refuse != nil {
			return e.refuse
		}
		e.attached[b.ID], e.quality[v.ID] = b, v.Quality
		return nil
	})
}

func (e *endpoints) Detach(ctx context.Context, b vvol.Binding) error {
	defer e.enter(b.VVol)()
	return e.stepped(func() error {
		if e.draining != nil {
			if err := e.draining(ctx); err != nil {
				return err
			}
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.attached, b.ID)
		return nil
	})
}

func (e *endpoints) Map(_ context.Context, m vvol.LUNMapping, v vvol.VirtualVolume) error {
	defer e.enter(m.VVol)()
	return e.stepped(func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.refuse != nil {
			return e.refuse
		}
		e.mapped[m.LUN], e.quality[v.ID] = m, v.Quality
		return nil
	})
}

func (e *endpoints) Unmap(ctx context.Context, m vvol.LUNMapping) error {
	defer e.enter(m.VVol)()
	return e.stepped(func() error {
		if e.draining != nil {
			if err := e.draining(ctx); err != nil {
				return err
			}
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.mapped, m.LUN)
		return nil
	})
}

func (e *endpoints) Changed(v vvol.VirtualVolume, capacity, content bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.changes = append(e.changes, fmt.Sprintf("%s %d capacity=%t content=%t", v.Name, v.Size, capacity, content))
}

func (e *endpoints) SetQuality(v vvol.VirtualVolume) {
	defer e.enter(v.ID)()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.quality[v.ID] = v.Quality
}

func (e *endpoints) Quality(id vvol.ID) (vvol.Quality, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, b := range e.attached {
		if b.VVol == id {
			return e.quality[id], true
		}
	}
	for _, m := range e.mapped {
		if m.VVol == id {
			return e.quality[id], true
		}
	}
	return vvol.Quality{}, false
}

func (e *endpoints) Busy(n uint16) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, alias := e.mapped[n]
	return alias || slices.ContainsFunc(e.pes, func(p vvol.ProtocolEndpoint) bool { return p.LUN == n })
}

func (e *endpoints) List() []vvol.ProtocolEndpoint { return slices.Clone(e.pes) }

func (e *endpoints) takeChanges() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.changes
	e.changes = nil
	return c
}

// lab is a Service over an engine in memory, and what a test needs around it.
type lab struct {
	t         testing.TB
	engine    store.Engine
	endpoints *endpoints
	clock     *clock
	random    *counter
	*vvol.Service
}

func newLab(t testing.TB, pes int) *lab {
	l := &lab{t: t, engine: newEngine(t), endpoints: newEndpoints(t, pes), clock: newClock(), random: &counter{}}
	l.open(vvol.Options{})
	require.NoError(t, l.EnsureDefaults(context.Background()))
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

func newEngine(t testing.TB) store.Engine {
	e := mem.New()
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

// options are those of a lab, on an engine around its own.
func (l *lab) options(e store.Engine) vvol.Options {
	return vvol.Options{Engine: e, Endpoints: l.endpoints, Clock: l.clock.now, Random: l.random}
}

func (l *lab) open(o vvol.Options) {
	l.t.Helper()
	if o.Engine == nil {
		o.Engine = l.engine
	}
	o.Endpoints, o.Clock, o.Random = l.endpoints, l.clock.now, l.random
	s, err := vvol.Open(context.Background(), o)
	require.NoError(l.t, err)
	l.Service = s
}

// restart ends the process and starts it again: routes are gone, rows are not.
func (l *lab) restart() {
	l.t.Helper()
	l.restartWith(vvol.Options{})
}

// restartWith is restart with other options.
func (l *lab) restartWith(o vvol.Options) {
	l.t.Helper()
	require.NoError(l.t, l.Close())
	fresh := newEndpoints(l.t, 0)
	fresh.pes = l.endpoints.pes
	l.endpoints = fresh
	l.open(o)
	require.NoError(l.t, l.Start(context.Background()))
}

// verify checks all invariants, those of the endpoints' books included.
func (l *lab) verify() {
	l.t.Helper()
	require.NoError(l.t, l.Check(context.Background()))
	bindings, luns := l.Unattached()
	require.Empty(l.t, bindings)
	require.Empty(l.t, luns)
	l.endpoints.mu.Lock()
	defer l.endpoints.mu.Unlock()
	all := l.Bindings(vvol.BindingFilter{})
	require.Len(l.t, l.endpoints.attached, len(all))
	for _, b := range all {
		if l.endpoints.attached[b.ID] != b {
			require.Equal(l.t, b, l.endpoints.attached[b.ID])
		}
	}
	require.Len(l.t, l.endpoints.mapped, len(l.LUNMappings()))
	for _, m := range l.LUNMappings() {
		require.Equal(l.t, m, l.endpoints.mapped[m.LUN])
	}
}

// create makes a volume of n MiB.
func (l *lab) create(name string, n uint64) vvol.VirtualVolume {
	l.t.Helper()
	v, err := l.Create(context.Background(), vvol.CreateSpec{Container: "default", Size: n * mib, Name: name})
	require.NoError(l.t, err)
	return v
}

// write fills a block of a volume.
func (l *lab) write(id vvol.ID, block uint64, fill byte) error {
	o, err := l.engine.Open(context.Background(), store.ID(id))
	if err != nil {
		return err
	}
	p := make([]byte, 4096)
	for i := range p {
		p[i] = fill
	}
	return errors.Join(o.WriteAt(context.Background(), p, block*4096, store.WriteOptions{}), o.Close())
}

// read returns the first byte of a block.
func (l *lab) read(id vvol.ID, block uint64) byte {
	l.t.Helper()
	o, err := l.engine.Open(context.Background(), store.ID(id))
	require.NoError(l.t, err)
	p := make([]byte, 4096)
	require.NoError(l.t, o.ReadAt(context.Background(), p, block*4096))
	require.NoError(l.t, o.Close())
	return p[0]
}

const iqn = "iqn.1998-01.com.vmware:esx"
