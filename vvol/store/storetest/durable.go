package storetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
)

// RunDurable shows what only holds for engines that keep their volumes: all of it
// is there after Close and the next open in the same directory, and the model
// check goes on over such ends.
func RunDurable(t *testing.T, open func(t *testing.T, dir string) store.Engine) {
	for _, s := range durable() {
		t.Run(s.says, func(t *testing.T) {
			d := &reopened{open: open, dir: t.TempDir()}
			d.fixture = newFixture(t, open(t, d.dir))
			t.Cleanup(func() { closeEngine(t, d.e) })
			s.show(d)
		})
	}
	t.Run("model", func(t *testing.T) {
		runModel(t, func(t *testing.T) (store.Engine, func() store.Engine) {
			dir := t.TempDir()
			return open(t, dir), func() store.Engine { return open(t, dir) }
		})
	})
}

// reopened is a fixture whose engine can be closed and opened.
type reopened struct {
	*fixture
	open DurableOpener
	dir  string
}

// again closes the engine and opens it anew; objects are opened again by id.
func (d *reopened) again(objects ...store.Object) (fresh []store.Object) {
	d.Helper()
	d.ok(d.e.Close())
	d.e = d.open(d.T, d.dir)
	for _, o := range objects {
		fresh = append(fresh, d.fixture.open(o.ID()))
	}
	return fresh
}

// lasting is a sentence about what lasts.
type lasting struct {
	says string
	show func(*reopened)
}

func durable() []lasting {
	return []lasting{
		{"an empty engine can be opened again", func(d *reopened) {
			d.again()
			ids, err := d.e.Volumes(d.ctx)
			d.ok(err)
			require.Empty(d.T, ids)
		}},
		{"volumes, their content and what they are last", showVolumesLast},
		{"an acknowledged write lasts without Flush", func(d *reopened) {
			o := d.create(64)
			for i := range uint64(64) {
				d.write(o, i*d.bs+sector, pattern(sector, i+1))
			}
			o = d.again(o)[0]
			for i := range uint64(64) {
				d.zeros(o, i*d.bs, sector)
				d.holds(o, i*d.bs+sector, pattern(sector, i+1))
			}
		}},
		{"what was unmapped, zeroed or cut off does not come back", func(d *reopened) {
			o := d.create(32)
			p := d.fill(o, 0, 32, 1)
			s := d.snapshot(o)
			d.ok(o.Unmap(d.ctx, 2*d.bs, 4*d.bs+sector, store.WriteOptions{}))
			d.ok(o.Zero(d.ctx, 10*d.bs, d.bs, store.WriteOptions{}))
			d.ok(d.e.Resize(d.ctx, o.ID(), 20*d.bs))
			d.ok(d.e.Resize(d.ctx, o.ID(), 32*d.bs))
			q := d.fill(o, 3, 1, 2)
			fresh := d.again(o, s)
			d.holds(fresh[1], 0, p)
			clear(p[2*d.bs : 6*d.bs+sector])
			clear(p[10*d.bs : 11*d.bs])
			clear(p[20*d.bs:])
			copy(p[3*d.bs:], q)
			d.holds(fresh[0], 0, p)
		}},
		{"the order of writes and unmaps of one block lasts", func(d *reopened) {
			o := d.create(8)
			want := make([]byte, 8*d.bs)
			for i := range uint64(60) {
				at := i * 5 % 8
				if i%3 == 2 {
					d.ok(o.Unmap(d.ctx, at*d.bs, d.bs, store.WriteOptions{}))
					clear(want[at*d.bs : (at+1)*d.bs])
				} else {
					copy(want[at*d.bs:], d.fill(o, at, 1, i+1))
				}
				if i%20 == 19 {
					o = d.again(o)[0]
					d.holds(o, 0, want, i)
				}
			}
		}},
		{"deleted volumes stay deleted and their space returns", func(d *reopened) {
			o, kept := d.create(16), d.create(4)
			d.fill(o, 0, 16, 1)
			d.fill(kept, 0, 4, 2)
			d.ok(d.e.Delete(d.ctx, o.ID()))
			d.again()
			_, err := d.e.Open(d.ctx, o.ID())
			d.fails(err, store.ErrNotFound)
			d.eventually("deleted space", func() bool { return d.e.PoolUsage(d.pool) == 4*d.bs })
		}},
		{"changes are idempotent over an end", func(d *reopened) {
			o := d.create(4)
			p := d.fill(o, 0, 4, 1)
			s, c := d.snapshot(o), d.clone(o)
			q := d.fill(c, 0, 4, 2)
			fresh := d.again(s, c)
			d.ok(d.e.Create(d.ctx, o.ID(), store.CreateOptions{Size: 4 * d.bs, Pool: d.pool}))
			d.ok(d.e.Snapshot(d.ctx, []store.SnapshotSpec{{Source: o.ID(), Snapshot: s.ID()}}))
			d.ok(d.e.Clone(d.ctx, o.ID(), c.ID(), d.pool))
			d.fails(d.e.Create(d.ctx, s.ID(), store.CreateOptions{Size: 4 * d.bs, Pool: d.pool}), store.ErrExists)
			d.fails(d.e.Clone(d.ctx, s.ID(), c.ID(), d.pool), store.ErrExists)
			d.holds(fresh[0], 0, p)
			d.holds(fresh[1], 0, q)
		}},
		{"Meta lasts", func(d *reopened) {
			s := d.shelf()
			s.set("a", "1", "b", "2", "c", "3")
			d.ok(d.e.Meta().Update(d.ctx, func(tx store.MetaTx) error {
				return errors.Join(tx.Delete(s.key("b")), tx.Set(s.key("c"), []byte("4")))
			}))
			d.again()
			require.Equal(d.T, []string{"a=1", "c=4"}, s.listed())
		}},
		{"pool limits are set at every start", func(d *reopened) {
			o := d.create(4)
			d.fill(o, 0, 1, 1)
			d.limit(0)
			d.fails(o.WriteAt(d.ctx, pattern(d.bs, 2), d.bs, store.WriteOptions{}), store.ErrNoSpace)
			o = d.again(o)[0]
			d.fill(o, 1, 1, 2)
			require.Equal(d.T, 2*d.bs, d.e.PoolUsage(d.pool))
			d.limit(0)
			d.fails(o.WriteAt(d.ctx, pattern(d.bs, 3), 2*d.bs, store.WriteOptions{}), store.ErrNoSpace)
		}},
		{"SetPool lasts", func(d *reopened) {
			o, pool := d.create(8), store.Pool(newID())
			d.fill(o, 0, 6, 1)
			s := d.snapshot(o)
			d.fill(o, 0, 2, 2)
			d.ok(d.e.SetPool(d.ctx, o.ID(), pool))
			d.fill(o, 2, 1, 3)
			for range 2 {
				fresh := d.again(o, s)
				o, s = fresh[0], fresh[1]
				require.Equal(d.T, pool, d.stat(o.ID()).Pool)
				require.Equal(d.T, d.pool, d.stat(s.ID()).Pool)
				require.Equal(d.T, 3*d.bs, d.e.PoolUsage(pool))
				require.Equal(d.T, 6*d.bs, d.e.PoolUsage(d.pool))
			}
			d.ok(d.e.Delete(d.ctx, s.ID()))
			d.eventually("space that is shared no more", func() bool { return d.e.PoolUsage(pool)+d.e.PoolUsage(d.pool) == 6*d.bs })
			o = d.again(o)[0]
			require.Equal(d.T, pool, d.stat(o.ID()).Pool)
			require.Equal(d.T, 6*d.bs, d.e.PoolUsage(pool)+d.e.PoolUsage(d.pool))
		}},
		{"Revert lasts", func(d *reopened) {
			o := d.create(8)
			p := d.fill(o, 0, 4, 1)
			s := d.snapshot(o)
			d.ok(d.e.Resize(d.ctx, o.ID(), 16*d.bs))
			d.fill(o, 0, 16, 2)
			d.ok(d.e.Revert(d.ctx, o.ID(), s.ID()))
			q := d.fill(o, 3, 1, 3)
			fresh := d.again(o, s)
			d.holds(fresh[1], 0, p)
			copy(p[3*d.bs:], q)
			require.Equal(d.T, 8*d.bs, fresh[0].Size())
			d.holds(fresh[0], 0, p)
			d.zeros(fresh[0], 4*d.bs, 4*d.bs)
		}},
	}
}

func showVolumesLast(d *reopened) {
	o := d.create(16)
	d.fill(o, 0, 12, 1)
	s := d.snapshot(o)
	d.fill(o, 2, 3, 2)
	w := newID()
	d.ok(d.e.Snapshot(d.ctx, []store.SnapshotSpec{{Source: o.ID(), Snapshot: w, Writable: true}}))
	c := d.clone(s)
	d.fill(c, 10, 4, 3)
	d.ok(d.e.Resize(d.ctx, c.ID(), 24*d.bs))
	all := []store.Object{o, s, d.fixture.open(w), c}
	type facts struct {
		content              []byte
		info                 store.Info
		allocated, different []store.Range
	}
	look := func(v store.Object) facts {
		return facts{d.read(v, 0, v.Size()), d.stat(v.ID()), d.ranges(v, store.Allocated, store.ID{}, 0),
			d.ranges(v, store.Different, s.ID(), 0)}
	}
	var want []facts
	for _, v := range all {
		want = append(want, look(v))
	}
	used := d.e.PoolUsage(d.pool)
	for round := range 2 {
		all = d.again(all...)
		for i, v := range all {
			require.Equal(d.T, want[i], look(v), fmt.Sprint(round, i))
		}
		require.Equal(d.T, used, d.e.PoolUsage(d.pool))
	}
}
