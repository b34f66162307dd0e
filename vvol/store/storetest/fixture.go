package storetest

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
)

// patience is how long the suite waits for what an engine does in the background.
const patience = 30 * time.Second

// poll is the pause between two looks at it.
const poll = 5 * time.Millisecond

// sector is the granularity of offsets and lengths.
const sector = 512

// fixture is what one subtest stands on: an engine, what is known of it, and the
// usual steps, each of which ends the test when it fails. Steps that end a test
// belong to the test's own goroutine.
type fixture struct {
	*testing.T
	ctx  context.Context
	e    store.Engine
	lim  store.Limits
	bs   uint64 // Limits.BlockSize
	pool store.Pool
}

func newFixture(t *testing.T, e store.Engine) *fixture {
	lim := e.Limits()
	return &fixture{T: t, ctx: t.Context(), e: e, lim: lim, bs: uint64(lim.BlockSize), pool: store.Pool(newID())}
}

// newID is a random id: subtests share engines.
func newID() (id store.ID) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// ok ends the test on an error.
func (f *fixture) ok(err error, what ...any) {
	f.Helper()
	require.NoError(f.T, err, what...)
}

// fails demands an error of a kind.
func (f *fixture) fails(err, kind error, what ...any) {
	f.Helper()
	require.ErrorIs(f.T, err, kind, what...)
}

// create makes a volume of some blocks and opens it.
func (f *fixture) create(blocks uint64) store.Object {
	f.Helper()
	id := newID()
	f.ok(f.e.Create(f.ctx, id, store.CreateOptions{Size: blocks * f.bs, Pool: f.pool}))
	return f.open(id)
}

// open opens a volume until the end of the subtest.
func (f *fixture) open(id store.ID) store.Object {
	f.Helper()
	o, err := f.e.Open(f.ctx, id)
	f.ok(err)
	f.Cleanup(func() {
		if err := o.Close(); err != nil {
			f.Errorf("Close of %v: %v", id, err)
		}
	})
	return o
}

// snapshot makes a read-only snapshot and opens it.
func (f *fixture) snapshot(o store.Object) store.Object {
	f.Helper()
	id := newID()
	f.ok(f.e.Snapshot(f.ctx, []store.SnapshotSpec{{Source: o.ID(), Snapshot: id}}))
	return f.open(id)
}

// clone makes a clone in the pool of the fixture and opens it.
func (f *fixture) clone(o store.Object) store.Object {
	f.Helper()
	id := newID()
	f.ok(f.e.Clone(f.ctx, o.ID(), id, f.pool))
	return f.open(id)
}

// pattern is n bytes, of which each sector differs from those of other tags and
// none is zero.
func pattern(n uint64, tag uint64) []byte {
	p := make([]byte, n)
	for at := uint64(0); at < n; at += sector {
		s := p[at:min(at+sector, n)]
		for i := range s {
			s[i] = byte(tag) | 1
		}
		if len(s) >= 16 {
			binary.BigEndian.PutUint64(s, tag)
			binary.BigEndian.PutUint64(s[8:], at)
		}
	}
	return p
}

func (f *fixture) write(o store.Object, off uint64, p []byte) {
	f.Helper()
	f.ok(o.WriteAt(f.ctx, p, off, store.WriteOptions{}))
}

// fill writes a pattern over some blocks and returns it.
func (f *fixture) fill(o store.Object, first, blocks, tag uint64) []byte {
	f.Helper()
	p := pattern(blocks*f.bs, tag)
	f.write(o, first*f.bs, p)
	return p
}

// read returns n bytes at off. The buffer is dirty before, so that what the
// engine does not fill shows.
func (f *fixture) read(o store.Object, off, n uint64) []byte {
	f.Helper()
	p := make([]byte, n)
	for i := range p {
		p[i] = 0xa5
	}
	f.ok(o.ReadAt(f.ctx, p, off))
	return p
}

// holds demands bytes at off.
func (f *fixture) holds(o store.Object, off uint64, want []byte, what ...any) {
	f.Helper()
	if err := compare(f.read(o, off, uint64(len(want))), want, off); err != nil {
		require.NoError(f.T, err, what...)
	}
}

// zeros demands zeros.
func (f *fixture) zeros(o store.Object, off, n uint64, what ...any) {
	f.Helper()
	f.holds(o, off, make([]byte, n), what...)
}

// ranges lists ranges and demands that they are well formed: see listRanges.
func (f *fixture) ranges(o store.Object, kind store.RangeKind, base store.ID, from uint64) []store.Range {
	f.Helper()
	all, err := listRanges(f.ctx, o, kind, base, from)
	f.ok(err)
	return all
}

// blocks makes ranges of pairs of first block and number of blocks.
func (f *fixture) blocks(pairs ...uint64) (all []store.Range) {
	for i := 0; i+1 < len(pairs); i += 2 {
		all = append(all, store.Range{Offset: pairs[i] * f.bs, Length: pairs[i+1] * f.bs})
	}
	return all
}

func (f *fixture) stat(id store.ID) store.Info {
	f.Helper()
	i, err := f.e.Stat(f.ctx, id)
	f.ok(err)
	return i
}

// eventually waits for a condition.
func (f *fixture) eventually(what string, condition func() bool) {
	f.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			require.FailNow(f.T, "did not happen within "+patience.String(), what)
		}
		<-tick.C
	}
}
