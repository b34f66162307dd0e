package storetest

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
)

func spaces() []sentence {
	return append(accounting(), poolLimits()...)
}

func accounting() []sentence {
	return []sentence{
		{"PoolUsage counts what is written, each block once", func(f *fixture) {
			o := f.create(16)
			f.fill(o, 0, 4, 1)
			require.Equal(f.T, 4*f.bs, f.e.PoolUsage(f.pool))
			f.fill(o, 2, 4, 2)
			require.Equal(f.T, 6*f.bs, f.e.PoolUsage(f.pool))
			f.write(o, 10*f.bs+sector, pattern(sector, 3))
			require.Equal(f.T, 7*f.bs, f.e.PoolUsage(f.pool))
			s := f.snapshot(o)
			require.Equal(f.T, 7*f.bs, f.e.PoolUsage(f.pool))
			f.fill(o, 0, 1, 4)
			require.Equal(f.T, 8*f.bs, f.e.PoolUsage(f.pool))
			require.Equal(f.T, 7*f.bs, f.stat(s.ID()).Allocated)
		}},
		{"unmapped and deleted space returns", func(f *fixture) {
			o := f.create(16)
			f.fill(o, 0, 16, 1)
			f.ok(o.Unmap(f.ctx, 0, 6*f.bs, store.WriteOptions{}))
			f.eventually("unmapped space", func() bool { return f.e.PoolUsage(f.pool) == 10*f.bs })
			f.ok(f.e.Resize(f.ctx, o.ID(), 8*f.bs))
			f.eventually("space that was cut off", func() bool { return f.e.PoolUsage(f.pool) == 2*f.bs })
			f.ok(f.e.Delete(f.ctx, o.ID()))
			f.eventually("deleted space", func() bool { return f.e.PoolUsage(f.pool) == 0 })
		}},
		{"deleting a volume alone returns its Unshared bytes", func(f *fixture) {
			o := f.create(16)
			f.fill(o, 0, 8, 1)
			first := f.snapshot(o)
			f.fill(o, 0, 3, 2)
			f.snapshot(o)
			f.fill(o, 2, 3, 3)
			for _, v := range []store.Object{o, first} {
				used, alone := f.e.PoolUsage(f.pool), f.stat(v.ID()).Unshared
				require.Equal(f.T, 3*f.bs, alone)
				f.ok(f.e.Delete(f.ctx, v.ID()))
				f.eventually("unshared space", func() bool { return f.e.PoolUsage(f.pool) == used-alone })
			}
		}},
		{"what a family held returns with its last member", func(f *fixture) {
			o := f.create(16)
			all := []store.Object{o}
			for i := range uint64(6) {
				f.fill(o, i, 6, i+1)
				all = append(all, f.snapshot(o))
				c := f.clone(o)
				f.fill(c, 0, 2, 100+i)
				all = append(all, c)
			}
			for _, i := range []int{5, 0, 3, 12, 1, 8, 2, 10, 4, 6, 11, 7} {
				f.ok(f.e.Delete(f.ctx, all[i].ID()))
			}
			last := all[9]
			f.eventually("space of relatives", func() bool {
				return f.e.PoolUsage(f.pool) == f.stat(last.ID()).Allocated
			})
			require.Equal(f.T, f.stat(last.ID()).Allocated, f.stat(last.ID()).Unshared)
			f.ok(f.e.Delete(f.ctx, last.ID()))
			f.eventually("all space", func() bool { return f.e.PoolUsage(f.pool) == 0 })
		}},
		{"shared layers count in the pool of the volume that wrote them", func(f *fixture) {
			o, id, pool := f.create(8), newID(), store.Pool(newID())
			f.fill(o, 0, 8, 1)
			f.ok(f.e.Clone(f.ctx, o.ID(), id, pool))
			require.Zero(f.T, f.e.PoolUsage(pool))
			f.fill(f.open(id), 0, 2, 2)
			require.Equal(f.T, 2*f.bs, f.e.PoolUsage(pool))
			require.Equal(f.T, 8*f.bs, f.e.PoolUsage(f.pool))
			f.fill(o, 4, 1, 3)
			require.Equal(f.T, 9*f.bs, f.e.PoolUsage(f.pool))
			require.Equal(f.T, 2*f.bs, f.e.PoolUsage(pool))
		}},
		{"InPlace bytes are written again without more space", func(f *fixture) {
			o := f.create(16)
			f.fill(o, 0, 8, 1)
			require.Equal(f.T, 8*f.bs, f.stat(o.ID()).InPlace)
			s := f.snapshot(o)
			require.Zero(f.T, f.stat(o.ID()).InPlace)
			require.Zero(f.T, f.stat(s.ID()).InPlace)
			f.fill(o, 2, 3, 2)
			c := f.clone(s)
			f.fill(c, 0, 2, 3)
			require.Equal(f.T, 3*f.bs, f.stat(o.ID()).InPlace)
			require.Equal(f.T, 2*f.bs, f.stat(c.ID()).InPlace)
			f.limit(0)
			f.fill(o, 2, 3, 4)
			f.fill(c, 0, 2, 4)
			f.fails(o.WriteAt(f.ctx, pattern(f.bs, 5), 5*f.bs, store.WriteOptions{}), store.ErrNoSpace)
			f.ok(o.Unmap(f.ctx, 2*f.bs, f.bs, store.WriteOptions{}))
			require.Equal(f.T, 2*f.bs, f.stat(o.ID()).InPlace)
			f.ok(f.e.Revert(f.ctx, o.ID(), s.ID()))
			require.Zero(f.T, f.stat(o.ID()).InPlace)
		}},
		{"SetPool moves what is in place, and as much of the limits", func(f *fixture) {
			o, pool := f.create(16), store.Pool(newID())
			f.fill(o, 0, 8, 1)
			s := f.snapshot(o)
			p := f.fill(o, 0, 3, 2)
			f.e.SetPoolLimit(f.pool, 12*f.bs)
			f.e.SetPoolLimit(pool, 2*f.bs)
			for range 2 { // the second changes nothing
				f.ok(f.e.SetPool(f.ctx, o.ID(), pool))
				require.Equal(f.T, 3*f.bs, f.e.PoolUsage(pool))
				require.Equal(f.T, 8*f.bs, f.e.PoolUsage(f.pool))
			}
			require.Equal(f.T, pool, f.stat(o.ID()).Pool)
			require.Equal(f.T, f.pool, f.stat(s.ID()).Pool)
			f.holds(o, 0, p)
			other := f.create(16)
			f.fill(other, 0, 1, 3)
			f.fails(other.WriteAt(f.ctx, pattern(f.bs, 4), f.bs, store.WriteOptions{}), store.ErrNoSpace)
			f.fill(o, 8, 2, 5)
			f.fails(o.WriteAt(f.ctx, pattern(f.bs, 6), 10*f.bs, store.WriteOptions{}), store.ErrNoSpace)
			require.Equal(f.T, 5*f.bs, f.e.PoolUsage(pool))
			f.ok(f.e.SetPool(f.ctx, o.ID(), f.pool))
			require.Zero(f.T, f.e.PoolUsage(pool))
			require.Equal(f.T, 14*f.bs, f.e.PoolUsage(f.pool))
			f.fails(o.WriteAt(f.ctx, pattern(f.bs, 7), 10*f.bs, store.WriteOptions{}), store.ErrNoSpace)
			f.fill(o, 0, 3, 8)
			f.fails(f.e.SetPool(f.ctx, newID(), pool), store.ErrNotFound)
		}},
		{"SetPool leaves no limit where there is nothing left but one that lets nothing in", func(f *fixture) {
			o, other := f.create(4), f.create(4)
			f.fill(o, 0, 4, 1)
			f.e.SetPoolLimit(f.pool, 4*f.bs)
			f.ok(f.e.SetPool(f.ctx, o.ID(), store.Pool(newID())))
			f.fails(other.WriteAt(f.ctx, pattern(f.bs, 2), 0, store.WriteOptions{}), store.ErrNoSpace)
		}},
		{"what can be written everywhere once can be so whatever the relatives do", func(f *fixture) {
			// The room that a thick volume reserves: usage and size less what is in place.
			const blocks = 8
			o := f.create(blocks)
			pool, others := store.Pool(newID()), []store.ID{}
			add := func(id store.ID, err error) {
				f.ok(err)
				others = append(others, id)
			}
			for i := range uint64(12) {
				f.fill(o, i%blocks, 1, i+1)
				switch id := newID(); i % 3 {
				case 0:
					add(id, f.e.Snapshot(f.ctx, []store.SnapshotSpec{{Source: o.ID(), Snapshot: id}}))
				case 1:
					add(id, f.e.Clone(f.ctx, o.ID(), id, pool))
				case 2:
					f.ok(f.e.Revert(f.ctx, o.ID(), others[i/3]))
				}
				if i%4 == 3 {
					f.ok(f.e.Delete(f.ctx, others[0]))
					others = others[1:]
				}
				f.e.SetPoolLimit(f.pool, f.e.PoolUsage(f.pool)+blocks*f.bs-f.stat(o.ID()).InPlace)
				for b := range uint64(blocks) {
					f.fill(o, b, 1, 100+i)
				}
				f.e.SetPoolLimit(f.pool, 0)
			}
		}},
		{"Metrics counts live data", func(f *fixture) {
			before := f.e.Metrics().Live
			o := f.create(16)
			f.fill(o, 0, 16, 1)
			require.LessOrEqual(f.T, f.e.Metrics().Live, before+16*f.bs)
			require.GreaterOrEqual(f.T, f.e.Metrics().Live, 16*f.bs)
		}},
	}
}

// limit sets a limit some blocks above what the pool holds.
func (f *fixture) limit(blocks uint64) {
	f.e.SetPoolLimit(f.pool, f.e.PoolUsage(f.pool)+blocks*f.bs)
}

func poolLimits() []sentence {
	return []sentence{
		{"a write beyond the limit is ErrNoSpace and changes nothing", func(f *fixture) {
			o := f.create(16)
			p := f.fill(o, 0, 4, 1)
			f.limit(2)
			f.fails(o.WriteAt(f.ctx, pattern(5*f.bs, 2), 2*f.bs, store.WriteOptions{}), store.ErrNoSpace)
			f.fails(o.CompareAndWrite(f.ctx, make([]byte, 3*f.bs), pattern(3*f.bs, 2), 8*f.bs, store.WriteOptions{}), store.ErrNoSpace)
			f.holds(o, 0, p)
			f.zeros(o, 4*f.bs, 12*f.bs)
			require.Equal(f.T, 4*f.bs, f.e.PoolUsage(f.pool))
			require.Equal(f.T, 4*f.bs, f.stat(o.ID()).Allocated)
			f.fill(o, 2, 4, 3)
			f.fails(o.WriteAt(f.ctx, pattern(sector, 4), 6*f.bs, store.WriteOptions{}), store.ErrNoSpace)
		}},
		{"what is there stays and can be read and overwritten", func(f *fixture) {
			o := f.create(16)
			p := f.fill(o, 0, 8, 1)
			f.e.SetPoolLimit(f.pool, 3*f.bs)
			f.holds(o, 0, p)
			f.fails(o.WriteAt(f.ctx, pattern(f.bs, 2), 8*f.bs, store.WriteOptions{}), store.ErrNoSpace)
			q := f.fill(o, 0, 8, 3)
			f.holds(o, 0, q)
		}},
		{"overwriting what a snapshot shares needs space", func(f *fixture) {
			o := f.create(8)
			p := f.fill(o, 0, 8, 1)
			f.limit(1)
			s := f.snapshot(o)
			f.fails(o.WriteAt(f.ctx, pattern(2*f.bs, 2), 0, store.WriteOptions{}), store.ErrNoSpace)
			f.holds(o, 0, p)
			f.fill(o, 0, 1, 3)
			f.fails(o.WriteAt(f.ctx, pattern(sector, 2), f.bs, store.WriteOptions{}), store.ErrNoSpace)
			f.holds(s, 0, p)
		}},
		{"unmapping, snapshotting and deleting need none, and make some", func(f *fixture) {
			o := f.create(8)
			f.fill(o, 0, 8, 1)
			f.limit(0)
			s := f.snapshot(o)
			f.ok(o.Unmap(f.ctx, 0, 4*f.bs, store.WriteOptions{}))
			f.ok(f.e.Delete(f.ctx, s.ID()))
			f.eventually("a write to fit again", func() bool {
				err := o.WriteAt(f.ctx, pattern(4*f.bs, 2), 0, store.WriteOptions{})
				if err != nil {
					f.fails(err, store.ErrNoSpace)
				}
				return err == nil
			})
			f.holds(o, 0, pattern(4*f.bs, 2))
		}},
		{"a limit of 0 is none", func(f *fixture) {
			o := f.create(8)
			f.fill(o, 0, 1, 1)
			f.limit(0)
			f.fails(o.WriteAt(f.ctx, pattern(f.bs, 2), f.bs, store.WriteOptions{}), store.ErrNoSpace)
			f.e.SetPoolLimit(f.pool, 0)
			f.fill(o, 0, 8, 3)
		}},
		{"pools do not limit each other", func(f *fixture) {
			a := f.create(4)
			f.fill(a, 0, 1, 1)
			f.limit(0)
			id, pool := newID(), store.Pool(newID())
			f.ok(f.e.Clone(f.ctx, a.ID(), id, pool))
			f.fill(f.open(id), 0, 4, 2)
			f.fails(a.WriteAt(f.ctx, pattern(f.bs, 3), f.bs, store.WriteOptions{}), store.ErrNoSpace)
		}},
		{"writers at once get what there is and no more", func(f *fixture) {
			const room = 20
			o := f.create(concurrentCallers * room)
			f.limit(room)
			var done atomic.Uint64
			errs := make([]error, concurrentCallers)
			var all sync.WaitGroup
			for w := range errs {
				all.Go(func() {
					for i := range uint64(room) {
						err := o.WriteAt(f.ctx, pattern(f.bs, 1), (uint64(w)*room+i)*f.bs, store.WriteOptions{})
						if err == nil {
							done.Add(1)
						} else if !errors.Is(err, store.ErrNoSpace) {
							errs[w] = err
						}
					}
				})
			}
			all.Wait()
			f.ok(errors.Join(errs...))
			require.Equal(f.T, uint64(room), done.Load())
			require.Equal(f.T, room*f.bs, f.e.PoolUsage(f.pool))
			require.Equal(f.T, room*f.bs, f.stat(o.ID()).Allocated)
		}},
	}
}
