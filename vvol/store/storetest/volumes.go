package storetest

import (
	"context"
	"slices"
	"sync"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
)

// concurrentCallers is how many goroutines do the same thing at once.
const concurrentCallers = 8

func limits() []sentence {
	return []sentence{
		{"make sense together", func(f *fixture) {
			l := f.lim
			require.Zero(f.T, l.BlockSize%sector)
			require.Positive(f.T, l.BlockSize)
			require.Zero(f.T, l.BlockSize&(l.BlockSize-1), "BlockSize is a power of two")
			require.GreaterOrEqual(f.T, l.MaxTransfer, l.BlockSize)
			require.Zero(f.T, l.MaxTransfer%l.BlockSize)
			require.GreaterOrEqual(f.T, l.AtomicWrite, sector)
			require.LessOrEqual(f.T, l.AtomicWrite, l.MaxTransfer)
			require.GreaterOrEqual(f.T, l.MaxUnmap, uint64(l.MaxTransfer))
			require.GreaterOrEqual(f.T, l.MaxSize, l.MaxUnmap)
			require.GreaterOrEqual(f.T, l.MaxDepth, 3)
			require.GreaterOrEqual(f.T, l.MaxSnapshot, 2)
		}},
		{"do not change", func(f *fixture) { require.Equal(f.T, f.lim, f.e.Limits()) }},
		{"a transfer of MaxTransfer works, one over it is ErrInvalid", func(f *fixture) {
			n := uint64(f.lim.MaxTransfer)
			o := f.create(n/f.bs + 1)
			p := pattern(n+sector, 1)
			f.write(o, sector, p[:n])
			f.holds(o, sector, p[:n])
			f.ok(o.CompareAndWrite(f.ctx, p[:n], p[sector:], sector, store.WriteOptions{}))
			f.fails(o.WriteAt(f.ctx, p, 0, store.WriteOptions{}), store.ErrInvalid)
			f.fails(o.CompareAndWrite(f.ctx, p, p, 0, store.WriteOptions{}), store.ErrInvalid)
			f.fails(o.ReadAt(f.ctx, make([]byte, n+sector), 0), store.ErrInvalid)
			f.holds(o, sector, p[sector:])
			f.zeros(o, 0, sector)
		}},
		{"MaxUnmap bounds Unmap and Zero", func(f *fixture) {
			if f.lim.MaxUnmap == f.lim.MaxSize {
				f.Skip("every range that a volume can have is within MaxUnmap")
			}
			o := f.create(f.lim.MaxUnmap/f.bs + 1)
			p := f.fill(o, f.lim.MaxUnmap/f.bs, 1, 1)
			f.ok(o.Unmap(f.ctx, 0, f.lim.MaxUnmap, store.WriteOptions{}))
			f.ok(o.Zero(f.ctx, 0, f.lim.MaxUnmap, store.WriteOptions{}))
			f.fails(o.Unmap(f.ctx, 0, f.lim.MaxUnmap+sector, store.WriteOptions{}), store.ErrInvalid)
			f.fails(o.Zero(f.ctx, 0, f.lim.MaxUnmap+sector, store.WriteOptions{}), store.ErrInvalid)
			f.holds(o, f.lim.MaxUnmap, p)
		}},
		{"MaxSize bounds Create", func(f *fixture) {
			id := newID()
			f.fails(f.e.Create(f.ctx, id, store.CreateOptions{Size: f.lim.MaxSize + f.bs, Pool: f.pool}), store.ErrInvalid)
			f.ok(f.e.Create(f.ctx, id, store.CreateOptions{Size: f.lim.MaxSize, Pool: f.pool}))
			o := f.open(id)
			end := f.lim.MaxSize / f.bs
			p := f.fill(o, end-1, 1, 3)
			f.holds(o, f.lim.MaxSize-f.bs, p)
			require.Equal(f.T, f.blocks(end-1, 1), f.ranges(o, store.Allocated, store.ID{}, 0))
			f.fails(f.e.Resize(f.ctx, id, f.lim.MaxSize+f.bs), store.ErrInvalid)
		}},
	}
}

func volumes() []sentence {
	return slices.Concat(lifecycle(), idempotence(), deletion())
}

func lifecycle() []sentence {
	return []sentence{
		{"a new volume reads as zeros and holds nothing", func(f *fixture) {
			o := f.create(16)
			f.zeros(o, 0, 16*f.bs)
			require.Equal(f.T, store.Info{Size: 16 * f.bs, Depth: 1, Pool: f.pool}, f.stat(o.ID()))
			require.Empty(f.T, f.ranges(o, store.Allocated, store.ID{}, 0))
			require.Zero(f.T, f.e.PoolUsage(f.pool))
		}},
		{"an object knows its id, size and that it may be written", func(f *fixture) {
			id := newID()
			f.ok(f.e.Create(f.ctx, id, store.CreateOptions{Size: 4 * f.bs}))
			o := f.open(id)
			require.Equal(f.T, id, o.ID())
			require.Equal(f.T, 4*f.bs, o.Size())
			require.False(f.T, o.ReadOnly())
		}},
		{"Create refuses sizes that are no multiple of BlockSize", func(f *fixture) {
			for _, size := range []uint64{1, sector, f.bs - sector, f.bs + sector} {
				if size%f.bs == 0 {
					continue
				}
				id := newID()
				f.fails(f.e.Create(f.ctx, id, store.CreateOptions{Size: size}), store.ErrInvalid, size)
				_, err := f.e.Stat(f.ctx, id)
				f.fails(err, store.ErrNotFound)
			}
		}},
		{"Open, Stat, Resize, Clone, Snapshot and Revert of what is not there are ErrNotFound", func(f *fixture) {
			o, id, other := f.create(1), newID(), newID()
			_, err := f.e.Open(f.ctx, id)
			f.fails(err, store.ErrNotFound)
			_, err = f.e.Stat(f.ctx, id)
			f.fails(err, store.ErrNotFound)
			f.fails(f.e.Resize(f.ctx, id, f.bs), store.ErrNotFound)
			f.fails(f.e.Clone(f.ctx, id, other, f.pool), store.ErrNotFound)
			f.fails(f.e.Snapshot(f.ctx, []store.SnapshotSpec{{Source: id, Snapshot: other}}), store.ErrNotFound)
			f.fails(f.e.Revert(f.ctx, id, o.ID()), store.ErrNotFound)
			f.fails(f.e.Revert(f.ctx, o.ID(), id), store.ErrNotFound)
			_, err = f.e.Stat(f.ctx, other)
			f.fails(err, store.ErrNotFound)
		}},
		{"a volume may be open many times", func(f *fixture) {
			a := f.create(4)
			b := f.open(a.ID())
			p := f.fill(a, 1, 2, 7)
			f.holds(b, f.bs, p)
			c, err := f.e.Open(f.ctx, a.ID())
			f.ok(err)
			f.ok(c.Close())
			f.holds(a, f.bs, p)
			q := f.fill(b, 0, 1, 8)
			f.holds(a, 0, q)
		}},
		{"Volumes lists every volume once", func(f *fixture) {
			v := f.create(1)
			s, c := f.snapshot(v), f.clone(v)
			ids, err := f.e.Volumes(f.ctx)
			f.ok(err)
			for _, o := range []store.Object{v, s, c} {
				n := 0
				for _, id := range ids {
					if id == o.ID() {
						n++
					}
				}
				require.Equal(f.T, 1, n)
			}
			f.ok(f.e.Delete(f.ctx, s.ID()))
			ids, err = f.e.Volumes(f.ctx)
			f.ok(err)
			require.NotContains(f.T, ids, s.ID())
		}},
	}
}

func idempotence() []sentence {
	return []sentence{
		{"creating again succeeds and changes nothing", func(f *fixture) {
			o := f.create(4)
			p := f.fill(o, 0, 4, 1)
			f.ok(f.e.Create(f.ctx, o.ID(), store.CreateOptions{Size: 4 * f.bs, Pool: f.pool}))
			f.holds(o, 0, p)
			f.holds(f.open(o.ID()), 0, p)
		}},
		{"creating where a snapshot or a clone is is ErrExists", func(f *fixture) {
			o := f.create(4)
			p := f.fill(o, 0, 4, 1)
			for _, other := range []store.Object{f.snapshot(o), f.clone(o)} {
				f.fails(f.e.Create(f.ctx, other.ID(), store.CreateOptions{Size: 4 * f.bs, Pool: f.pool}), store.ErrExists)
				f.holds(other, 0, p)
			}
		}},
		{"snapshotting again succeeds and changes nothing", func(f *fixture) {
			o := f.create(4)
			p := f.fill(o, 0, 4, 1)
			s := f.snapshot(o)
			f.fill(o, 0, 4, 2)
			f.ok(f.e.Snapshot(f.ctx, []store.SnapshotSpec{{Source: o.ID(), Snapshot: s.ID()}}))
			f.holds(s, 0, p)
		}},
		{"snapshots of which some are there make the rest", func(f *fixture) {
			a, b := f.create(4), f.create(4)
			p, q := f.fill(a, 0, 4, 1), f.fill(b, 0, 4, 2)
			s := f.snapshot(a)
			f.fill(a, 0, 4, 3)
			id := newID()
			f.ok(f.e.Snapshot(f.ctx, []store.SnapshotSpec{{Source: a.ID(), Snapshot: s.ID()}, {Source: b.ID(), Snapshot: id}}))
			f.holds(s, 0, p)
			f.holds(f.open(id), 0, q)
		}},
		{"cloning again succeeds and changes nothing", func(f *fixture) {
			o := f.create(4)
			f.fill(o, 0, 4, 1)
			c := f.clone(o)
			p := f.fill(c, 0, 4, 2)
			f.ok(f.e.Clone(f.ctx, o.ID(), c.ID(), f.pool))
			f.holds(c, 0, p)
		}},
		{"a snapshot or clone to an id of another origin is ErrExists", func(f *fixture) {
			a, b := f.create(4), f.create(4)
			p := f.fill(b, 0, 4, 1)
			s, c := f.snapshot(b), f.clone(b)
			for _, dst := range []store.ID{b.ID(), s.ID(), c.ID(), a.ID()} {
				f.fails(f.e.Snapshot(f.ctx, []store.SnapshotSpec{{Source: a.ID(), Snapshot: dst}}), store.ErrExists)
				f.fails(f.e.Clone(f.ctx, a.ID(), dst, f.pool), store.ErrExists)
			}
			f.holds(b, 0, p)
			f.holds(s, 0, p)
			f.holds(c, 0, p)
		}},
		{"deleting what is not there succeeds", func(f *fixture) { f.ok(f.e.Delete(f.ctx, newID())) }},
		{"callers that make the same change at once all succeed", func(f *fixture) {
			src, created, snapshotted, cloned := f.create(2), newID(), newID(), newID()
			p := f.fill(src, 0, 2, 1)
			f.together(func(int) error {
				return f.e.Create(f.ctx, created, store.CreateOptions{Size: 2 * f.bs, Pool: f.pool})
			})
			f.together(func(int) error {
				return f.e.Snapshot(f.ctx, []store.SnapshotSpec{{Source: src.ID(), Snapshot: snapshotted}})
			})
			f.together(func(int) error { return f.e.Clone(f.ctx, src.ID(), cloned, f.pool) })
			f.zeros(f.open(created), 0, 2*f.bs)
			f.holds(f.open(snapshotted), 0, p)
			f.holds(f.open(cloned), 0, p)
			f.together(func(int) error { return f.e.Delete(f.ctx, cloned) })
			_, err := f.e.Stat(f.ctx, cloned)
			f.fails(err, store.ErrNotFound)
		}},
	}
}

// together calls do from concurrentCallers goroutines and demands success of all.
func (f *fixture) together(do func(i int) error) {
	f.Helper()
	errs := make([]error, concurrentCallers)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { errs[i] = do(i) })
	}
	all.Wait()
	for i, err := range errs {
		f.ok(err, i)
	}
}

func deletion() []sentence {
	return []sentence{
		{"open objects of a deleted volume answer ErrGone", func(f *fixture) {
			o := f.create(4)
			f.fill(o, 0, 4, 1)
			f.ok(f.e.Delete(f.ctx, o.ID()))
			f.everyCall(o, store.ErrGone)
			_, err := f.e.Open(f.ctx, o.ID())
			f.fails(err, store.ErrNotFound)
		}},
		{"a volume made anew under the id of a deleted one is another", func(f *fixture) {
			old := f.create(4)
			f.fill(old, 0, 4, 1)
			f.ok(f.e.Delete(f.ctx, old.ID()))
			f.ok(f.e.Create(f.ctx, old.ID(), store.CreateOptions{Size: 8 * f.bs, Pool: f.pool}))
			fresh := f.open(old.ID())
			f.zeros(fresh, 0, 8*f.bs)
			f.everyCall(old, store.ErrGone)
		}},
		{"deleting a source leaves its snapshots and clones unharmed", func(f *fixture) {
			o := f.create(8)
			p := f.fill(o, 0, 8, 1)
			s, c := f.snapshot(o), f.clone(o)
			q := f.fill(c, 2, 2, 2)
			f.ok(f.e.Delete(f.ctx, o.ID()))
			f.holds(s, 0, p)
			copy(p[2*f.bs:], q)
			f.holds(c, 0, p)
			r := f.fill(c, 7, 1, 3)
			copy(p[7*f.bs:], r)
			f.holds(c, 0, p)
		}},
		{"deleting a snapshot leaves its source and its other snapshots unharmed", func(f *fixture) {
			o := f.create(8)
			var snaps []store.Object
			var want [][]byte
			p := make([]byte, 8*f.bs)
			for i := range uint64(5) {
				copy(p[i*f.bs:], f.fill(o, i, 2, i+1))
				snaps, want = append(snaps, f.snapshot(o)), append(want, slices.Clone(p))
			}
			for _, victim := range []int{2, 0, 4} {
				f.ok(f.e.Delete(f.ctx, snaps[victim].ID()))
				snaps[victim] = nil
				for i, s := range snaps {
					if s != nil {
						f.holds(s, 0, want[i], victim, i)
					}
				}
				f.holds(o, 0, p)
			}
		}},
	}
}

// everyCall demands an error of kind from all methods of o that may fail.
func (f *fixture) everyCall(o store.Object, kind error) {
	f.Helper()
	p := make([]byte, f.bs)
	f.fails(o.ReadAt(f.ctx, p, 0), kind)
	f.fails(o.WriteAt(f.ctx, p, 0, store.WriteOptions{}), kind)
	f.fails(o.CompareAndWrite(f.ctx, p, p, 0, store.WriteOptions{}), kind)
	f.fails(o.Zero(f.ctx, 0, f.bs, store.WriteOptions{}), kind)
	f.fails(o.Unmap(f.ctx, 0, f.bs, store.WriteOptions{}), kind)
	f.fails(o.CopyFrom(f.ctx, 0, o, 0, f.bs), kind)
	f.fails(o.Flush(f.ctx), kind)
	for _, rk := range []store.RangeKind{store.Allocated, store.Unshared} {
		_, err := listRanges(context.Background(), o, rk, store.ID{}, 0)
		f.fails(err, kind)
	}
}

func resizing() []sentence {
	return []sentence{
		{"growth reads as zeros and shows in open objects at once", func(f *fixture) {
			o := f.create(4)
			p := f.fill(o, 0, 4, 1)
			f.ok(f.e.Resize(f.ctx, o.ID(), 16*f.bs))
			require.Equal(f.T, 16*f.bs, o.Size())
			require.Equal(f.T, 16*f.bs, f.stat(o.ID()).Size)
			f.holds(o, 0, p)
			f.zeros(o, 4*f.bs, 12*f.bs)
			f.fill(o, 15, 1, 2)
		}},
		{"data beyond a smaller size does not come back", func(f *fixture) {
			o := f.create(16)
			p := f.fill(o, 0, 16, 1)
			f.ok(f.e.Resize(f.ctx, o.ID(), 5*f.bs))
			require.Equal(f.T, 5*f.bs, o.Size())
			require.Equal(f.T, 5*f.bs, f.stat(o.ID()).Allocated)
			f.fails(o.ReadAt(f.ctx, make([]byte, f.bs), 5*f.bs), store.ErrOutOfRange)
			require.Equal(f.T, f.blocks(0, 5), f.ranges(o, store.Allocated, store.ID{}, 0))
			f.ok(f.e.Resize(f.ctx, o.ID(), 16*f.bs))
			f.holds(o, 0, p[:5*f.bs])
			f.zeros(o, 5*f.bs, 11*f.bs)
			require.Equal(f.T, f.blocks(0, 5), f.ranges(o, store.Allocated, store.ID{}, 0))
		}},
		{"nor does data that a snapshot or a clone still holds", func(f *fixture) {
			o := f.create(16)
			p := f.fill(o, 0, 16, 1)
			s, c := f.snapshot(o), f.clone(o)
			for _, v := range []store.Object{o, c} {
				f.ok(f.e.Resize(f.ctx, v.ID(), 5*f.bs))
				f.ok(f.e.Resize(f.ctx, v.ID(), 16*f.bs))
				f.zeros(v, 5*f.bs, 11*f.bs)
			}
			f.holds(s, 0, p)
			require.Equal(f.T, 16*f.bs, s.Size())
		}},
		{"a wrong size is ErrInvalid and changes nothing", func(f *fixture) {
			o := f.create(4)
			p := f.fill(o, 0, 4, 1)
			f.fails(f.e.Resize(f.ctx, o.ID(), 2*f.bs+sector), store.ErrInvalid)
			require.Equal(f.T, 4*f.bs, o.Size())
			f.holds(o, 0, p)
		}},
		{"of a read-only snapshot is ErrReadOnly", func(f *fixture) {
			s := f.snapshot(f.create(4))
			f.fails(f.e.Resize(f.ctx, s.ID(), 2*f.bs), store.ErrReadOnly)
			f.fails(f.e.Resize(f.ctx, s.ID(), 8*f.bs), store.ErrReadOnly)
			require.Equal(f.T, 4*f.bs, s.Size())
		}},
		{"of a big thin volume is quick enough to do twice", func(f *fixture) {
			o := f.create(f.lim.MaxSize / f.bs)
			p := f.fill(o, 0, 2, 1)
			f.fill(o, f.lim.MaxSize/f.bs-2, 2, 2)
			f.ok(f.e.Resize(f.ctx, o.ID(), f.bs))
			f.ok(f.e.Resize(f.ctx, o.ID(), f.lim.MaxSize))
			f.holds(o, 0, p[:f.bs])
			f.zeros(o, f.bs, f.bs)
			f.zeros(o, f.lim.MaxSize-2*f.bs, 2*f.bs)
		}},
	}
}
