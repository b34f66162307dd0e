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

// bench is the workbench of one subtest: an engine, what is known of it, and the
// usual steps, each of which ends the test when it fails. Steps that end a test
// belong to the test's own goroutine.
type bench struct {
	*testing.T
	ctx  context.Context
	e    store.Engine
	lim  store.Limits
	bs   uint64 // Limits.BlockSize
	pool store.Pool
}

func newBench(t *testing.T, e store.Engine) *bench {
	lim := e.Limits()
	return &bench{T: t, ctx: t.Context(), e: e, lim: lim, bs: uint64(lim.BlockSize), pool: store.Pool(newID())}
}

// newID is a random id: subtests share engines.
func newID() (id store.ID) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// ok ends the test on an error.
func (b *bench) ok(err error, what ...any) {
	b.Helper()
	require.NoError(b.T, err, what...)
}

// fails demands an error of a kind.
func (b *bench) fails(err, kind error, what ...any) {
	b.Helper()
	require.ErrorIs(b.T, err, kind, what...)
}

// create makes a volume of some blocks and opens it.
func (b *bench) create(blocks uint64) store.Object {
	b.Helper()
	id := newID()
	b.ok(b.e.Create(b.ctx, id, store.CreateOptions{Size: blocks * b.bs, Pool: b.pool}))
	return b.open(id)
}

// open opens a volume until the end of the subtest.
func (b *bench) open(id store.ID) store.Object {
	b.Helper()
	o, err := b.e.Open(b.ctx, id)
	b.ok(err)
	b.Cleanup(func() {
		if err := o.Close(); err != nil {
			b.Errorf("Close of %v: %v", id, err)
		}
	})
	return o
}

// snapshot makes a read-only snapshot and opens it.
func (b *bench) snapshot(o store.Object) store.Object {
	b.Helper()
	id := newID()
	b.ok(b.e.Snapshot(b.ctx, []store.SnapshotSpec{{Source: o.ID(), Snapshot: id}}))
	return b.open(id)
}

// clone makes a clone in the pool of the bench and opens it.
func (b *bench) clone(o store.Object) store.Object {
	b.Helper()
	id := newID()
	b.ok(b.e.Clone(b.ctx, o.ID(), id, b.pool))
	return b.open(id)
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

func (b *bench) write(o store.Object, off uint64, p []byte) {
	b.Helper()
	b.ok(o.WriteAt(b.ctx, p, off, store.WriteOptions{}))
}

// fill writes a pattern over some blocks and returns it.
func (b *bench) fill(o store.Object, first, blocks, tag uint64) []byte {
	b.Helper()
	p := pattern(blocks*b.bs, tag)
	b.write(o, first*b.bs, p)
	return p
}

// read returns n bytes at off. The buffer is dirty before, so that what the
// engine does not fill shows.
func (b *bench) read(o store.Object, off, n uint64) []byte {
	b.Helper()
	p := make([]byte, n)
	for i := range p {
		p[i] = 0xa5
	}
	b.ok(o.ReadAt(b.ctx, p, off))
	return p
}

// holds demands bytes at off.
func (b *bench) holds(o store.Object, off uint64, want []byte, what ...any) {
	b.Helper()
	if err := compare(b.read(o, off, uint64(len(want))), want, off); err != nil {
		require.NoError(b.T, err, what...)
	}
}

// zeros demands zeros.
func (b *bench) zeros(o store.Object, off, n uint64, what ...any) {
	b.Helper()
	b.holds(o, off, make([]byte, n), what...)
}

// ranges lists ranges and demands that they are well formed: see listRanges.
func (b *bench) ranges(o store.Object, kind store.RangeKind, base store.ID, from uint64) []store.Range {
	b.Helper()
	all, err := listRanges(b.ctx, o, kind, base, from)
	b.ok(err)
	return all
}

// blocks makes ranges of pairs of first block and number of blocks.
func (b *bench) blocks(pairs ...uint64) (all []store.Range) {
	for i := 0; i+1 < len(pairs); i += 2 {
		all = append(all, store.Range{Offset: pairs[i] * b.bs, Length: pairs[i+1] * b.bs})
	}
	return all
}

func (b *bench) stat(id store.ID) store.Info {
	b.Helper()
	i, err := b.e.Stat(b.ctx, id)
	b.ok(err)
	return i
}

// eventually waits for a condition.
func (b *bench) eventually(what string, condition func() bool) {
	b.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			require.FailNow(b.T, "did not happen within "+patience.String(), what)
		}
		<-tick.C
	}
}
