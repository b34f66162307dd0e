package storetest

import (
	"errors"
	"slices"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
)

func snapshots() []sentence {
	return slices.Concat(snapshotContent(), snapshotSets(), depth())
}

func snapshotContent() []sentence {
	return []sentence{
		{"a snapshot is a frozen, read-only image of its source", func(f *fixture) {
			o := f.create(8)
			p := f.fill(o, 2, 4, 1)
			want := make([]byte, 8*f.bs)
			copy(want[2*f.bs:], p)
			s := f.snapshot(o)
			f.fill(o, 0, 8, 2)
			f.holds(s, 0, want)
			info := f.stat(s.ID())
			require.True(f.T, info.ReadOnly)
			require.True(f.T, s.ReadOnly())
			require.Equal(f.T, f.pool, info.Pool)
			require.Equal(f.T, 8*f.bs, info.Size)
			require.Equal(f.T, 4*f.bs, info.Allocated)
		}},
		{"a writable snapshot is written like a clone; the source never sees it", func(f *fixture) {
			o := f.create(8)
			p := f.fill(o, 0, 8, 1)
			id := newID()
			f.ok(f.e.Snapshot(f.ctx, []store.SnapshotSpec{{Source: o.ID(), Snapshot: id, Writable: true}}))
			s := f.open(id)
			require.False(f.T, s.ReadOnly())
			require.False(f.T, f.stat(id).ReadOnly)
			q := f.fill(s, 3, 2, 2)
			f.holds(o, 0, p)
			r := f.fill(o, 6, 1, 3)
			copy(p[3*f.bs:], q)
			f.holds(s, 0, p)
			f.holds(o, 6*f.bs, r)
			f.ok(f.e.Resize(f.ctx, id, 2*f.bs))
			require.Equal(f.T, 8*f.bs, o.Size())
		}},
		{"a snapshot keeps the size of its time", func(f *fixture) {
			o := f.create(8)
			p := f.fill(o, 0, 8, 1)
			s := f.snapshot(o)
			f.ok(f.e.Resize(f.ctx, o.ID(), 2*f.bs))
			f.holds(s, 0, p)
			require.Equal(f.T, 8*f.bs, s.Size())
			f.ok(f.e.Resize(f.ctx, o.ID(), 32*f.bs))
			f.fails(s.ReadAt(f.ctx, make([]byte, f.bs), 8*f.bs), store.ErrOutOfRange)
		}},
		{"snapshots of snapshots, of clones and in a row each keep their time", func(f *fixture) {
			o := f.create(4)
			var all []store.Object
			var want [][]byte
			p := make([]byte, 4*f.bs)
			for i := range uint64(8) {
				copy(p[i%4*f.bs:], f.fill(o, i%4, 1, i+1))
				all, want = append(all, f.snapshot(o)), append(want, slices.Clone(p))
				if i%3 == 2 {
					all, want = append(all, f.snapshot(all[i-1])), append(want, want[i-1])
				}
			}
			c := f.clone(all[2])
			all, want = append(all, f.snapshot(c)), append(want, want[2])
			f.fill(c, 0, 4, 99)
			for i, s := range all {
				f.holds(s, 0, want[i], i)
			}
			f.holds(o, 0, p)
		}},
		{"an object opened before the snapshot goes on with the source", func(f *fixture) {
			o := f.create(4)
			other := f.open(o.ID())
			s := f.snapshot(o)
			p := f.fill(o, 0, 4, 1)
			f.holds(other, 0, p)
			f.zeros(s, 0, 4*f.bs)
		}},
	}
}

func snapshotSets() []sentence {
	return []sentence{
		{"one call takes several sources", func(f *fixture) {
			var specs []store.SnapshotSpec
			var sources []store.Object
			for i := range uint64(5) {
				o := f.create(4)
				f.fill(o, 0, 4, i+1)
				sources = append(sources, o)
				specs = append(specs, store.SnapshotSpec{Source: o.ID(), Snapshot: newID(), Writable: i%2 == 1})
			}
			f.ok(f.e.Snapshot(f.ctx, specs))
			for i, s := range specs {
				f.fill(sources[i], 0, 4, 100)
				o := f.open(s.Snapshot)
				f.holds(o, 0, pattern(4*f.bs, uint64(i)+1))
				require.Equal(f.T, !s.Writable, o.ReadOnly())
			}
		}},
		{"a call that fails has made nothing", func(f *fixture) {
			a, b := f.create(2), f.create(2)
			taken := f.create(2)
			for _, c := range []struct {
				second store.SnapshotSpec
				kind   error
			}{
				{store.SnapshotSpec{Source: newID(), Snapshot: newID()}, store.ErrNotFound},
				{store.SnapshotSpec{Source: b.ID(), Snapshot: taken.ID()}, store.ErrExists},
			} {
				first := newID()
				f.fails(f.e.Snapshot(f.ctx, []store.SnapshotSpec{{Source: a.ID(), Snapshot: first}, c.second}), c.kind)
				_, err := f.e.Stat(f.ctx, first)
				f.fails(err, store.ErrNotFound)
			}
		}},
		{"one snapshot of two sources is refused", func(f *fixture) {
			a, b, id := f.create(2), f.create(2), newID()
			err := f.e.Snapshot(f.ctx, []store.SnapshotSpec{{Source: a.ID(), Snapshot: id}, {Source: b.ID(), Snapshot: id}})
			if !errors.Is(err, store.ErrExists) {
				f.fails(err, store.ErrInvalid)
			}
			_, err = f.e.Stat(f.ctx, id)
			f.fails(err, store.ErrNotFound)
		}},
		{"MaxSnapshot sources work, one more is ErrInvalid", func(f *fixture) {
			sources := []store.Object{f.create(2), f.create(2)}
			for i, o := range sources {
				f.fill(o, 0, 2, uint64(i)+1)
			}
			specs := make([]store.SnapshotSpec, f.lim.MaxSnapshot+1)
			for i := range specs {
				specs[i] = store.SnapshotSpec{Source: sources[i%2].ID(), Snapshot: newID()}
			}
			f.fails(f.e.Snapshot(f.ctx, specs), store.ErrInvalid)
			_, err := f.e.Stat(f.ctx, specs[0].Snapshot)
			f.fails(err, store.ErrNotFound)
			specs = specs[:f.lim.MaxSnapshot]
			f.ok(f.e.Snapshot(f.ctx, specs))
			for i := range specs {
				if i < 4 || i >= len(specs)-4 {
					f.holds(f.open(specs[i].Snapshot), 0, pattern(2*f.bs, uint64(i)%2+1), i)
				}
			}
		}},
	}
}

func depth() []sentence {
	return []sentence{
		{"a chain deeper than MaxDepth is ErrTooDeep and changes nothing", func(f *fixture) {
			o := f.create(4)
			made, want, refused := f.deepest(o)
			require.LessOrEqual(f.T, f.stat(o.ID()).Depth, f.lim.MaxDepth)
			require.GreaterOrEqual(f.T, len(made), f.lim.MaxDepth-2, "the depth that Limits promise is there")
			_, err := f.e.Stat(f.ctx, refused)
			f.fails(err, store.ErrNotFound)
			dst := newID()
			f.fails(f.e.Clone(f.ctx, o.ID(), dst, f.pool), store.ErrTooDeep)
			_, err = f.e.Stat(f.ctx, dst)
			f.fails(err, store.ErrNotFound)
			for i, s := range made {
				f.holds(f.open(s), 0, want[i], i)
			}
			copy(want[len(want)-1], f.fill(o, 0, 1, 1000))
			f.holds(o, 0, want[len(want)-1])
		}},
		{"a chain of clones ends at MaxDepth too", func(f *fixture) {
			o := f.create(4)
			want := make([]byte, 4*f.bs)
			for i := range uint64(f.lim.MaxDepth) + 1 {
				copy(want[i%4*f.bs:], f.fill(o, i%4, 1, i+1))
				id := newID()
				if err := f.e.Clone(f.ctx, o.ID(), id, f.pool); err != nil {
					f.fails(err, store.ErrTooDeep)
					f.holds(o, 0, want)
					require.GreaterOrEqual(f.T, i, uint64(f.lim.MaxDepth)-2)
					return
				}
				require.LessOrEqual(f.T, f.stat(id).Depth, f.lim.MaxDepth)
				o = f.open(id)
				f.holds(o, 0, want)
			}
			require.FailNow(f.T, "a chain deeper than MaxDepth was made")
		}},
		{"deleting snapshots makes a chain shorter", func(f *fixture) {
			o := f.create(4)
			made, want, _ := f.deepest(o)
			for _, s := range made[:len(made)-1] {
				f.ok(f.e.Delete(f.ctx, s))
			}
			id := newID()
			f.eventually("a snapshot of a chain that became shorter", func() bool {
				err := f.e.Snapshot(f.ctx, []store.SnapshotSpec{{Source: o.ID(), Snapshot: id}})
				if err != nil {
					f.fails(err, store.ErrTooDeep)
				}
				return err == nil
			})
			f.holds(f.open(id), 0, want[len(want)-1])
			f.holds(f.open(made[len(made)-1]), 0, want[len(made)-1])
		}},
		{"a snapshot at the depth limit can be reverted to, or it is ErrTooDeep and changes nothing", func(f *fixture) {
			o := f.create(4)
			made, want, _ := f.deepest(o)
			last := len(made) - 1
			err := f.e.Revert(f.ctx, o.ID(), made[last])
			if err != nil {
				f.fails(err, store.ErrTooDeep)
				last++
			}
			f.holds(o, 0, want[last])
			require.LessOrEqual(f.T, f.stat(o.ID()).Depth, f.lim.MaxDepth)
		}},
	}
}

// deepest writes and snapshots until the chain is too deep. want holds the content
// of each snapshot and, as its last, that of o.
func (f *fixture) deepest(o store.Object) (made []store.ID, want [][]byte, refused store.ID) {
	f.Helper()
	p := make([]byte, o.Size())
	for i := range uint64(f.lim.MaxDepth) + 1 {
		at := i % (o.Size() / f.bs)
		copy(p[at*f.bs:], f.fill(o, at, 1, i+1))
		want = append(want, slices.Clone(p))
		id := newID()
		err := f.e.Snapshot(f.ctx, []store.SnapshotSpec{{Source: o.ID(), Snapshot: id}})
		if err != nil {
			f.fails(err, store.ErrTooDeep)
			return made, want, id
		}
		require.LessOrEqual(f.T, f.stat(id).Depth, f.lim.MaxDepth)
		made = append(made, id)
	}
	require.FailNow(f.T, "a chain deeper than MaxDepth was made")
	return nil, nil, store.ID{}
}

func clones() []sentence {
	return []sentence{
		{"a clone has the content of its source and goes its own way", func(f *fixture) {
			o := f.create(8)
			p := f.fill(o, 0, 6, 1)
			c := f.clone(o)
			require.False(f.T, c.ReadOnly())
			require.Equal(f.T, 8*f.bs, c.Size())
			f.holds(c, 0, p)
			f.zeros(c, 6*f.bs, 2*f.bs)
			q := f.fill(c, 0, 2, 2)
			f.holds(o, 0, p)
			r := f.fill(o, 4, 4, 3)
			copy(p, q)
			f.holds(c, 0, p)
			f.zeros(c, 6*f.bs, 2*f.bs)
			f.holds(o, 4*f.bs, r)
			f.ok(f.e.Resize(f.ctx, c.ID(), 16*f.bs))
			require.Equal(f.T, 8*f.bs, o.Size())
		}},
		{"a clone of a read-only snapshot can be written", func(f *fixture) {
			o := f.create(4)
			p := f.fill(o, 0, 4, 1)
			s := f.snapshot(o)
			c := f.clone(s)
			f.fill(c, 0, 4, 2)
			f.holds(s, 0, p)
			f.holds(o, 0, p)
		}},
		{"a clone is in the pool that was asked for", func(f *fixture) {
			o, id, pool := f.create(4), newID(), store.Pool(newID())
			f.ok(f.e.Clone(f.ctx, o.ID(), id, pool))
			require.Equal(f.T, pool, f.stat(id).Pool)
			require.Equal(f.T, f.pool, f.stat(o.ID()).Pool)
		}},
		{"clones of clones share and part", func(f *fixture) {
			o := f.create(4)
			p := f.fill(o, 0, 4, 1)
			all := []store.Object{o}
			for i := range uint64(6) {
				c := f.clone(all[i])
				f.holds(c, 0, p)
				all = append(all, c)
			}
			for i, c := range all {
				f.fill(c, uint64(i)%4, 1, uint64(i)+10)
			}
			for i, c := range all {
				want := slices.Clone(p)
				copy(want[uint64(i)%4*f.bs:], pattern(f.bs, uint64(i)+10))
				f.holds(c, 0, want, i)
			}
		}},
	}
}

func reverting() []sentence {
	return []sentence{
		{"makes content and size those of the snapshot, at once for open objects too", func(f *fixture) {
			o := f.create(8)
			other := f.open(o.ID())
			p := f.fill(o, 0, 5, 1)
			s := f.snapshot(o)
			f.fill(o, 0, 8, 2)
			f.ok(f.e.Resize(f.ctx, o.ID(), 16*f.bs))
			f.fill(o, 12, 4, 3)
			f.ok(f.e.Revert(f.ctx, o.ID(), s.ID()))
			for _, v := range []store.Object{o, other} {
				require.Equal(f.T, 8*f.bs, v.Size())
				f.holds(v, 0, p)
				f.zeros(v, 5*f.bs, 3*f.bs)
			}
			info := f.stat(o.ID())
			require.Equal(f.T, 5*f.bs, info.Allocated)
			require.Equal(f.T, 8*f.bs, info.Size)
			require.False(f.T, info.ReadOnly)
			f.ok(f.e.Resize(f.ctx, o.ID(), 16*f.bs))
			f.zeros(o, 8*f.bs, 8*f.bs)
		}},
		{"leaves the snapshot as it is, whatever is written after", func(f *fixture) {
			o := f.create(4)
			p := f.fill(o, 0, 4, 1)
			s := f.snapshot(o)
			f.fill(o, 0, 4, 2)
			for i := range uint64(3) {
				f.ok(f.e.Revert(f.ctx, o.ID(), s.ID()))
				f.holds(o, 0, p)
				f.fill(o, i, 1, i+3)
				f.holds(s, 0, p)
			}
		}},
		{"leaves the other snapshots and clones as they are", func(f *fixture) {
			o := f.create(4)
			p := f.fill(o, 0, 4, 1)
			first := f.snapshot(o)
			q := f.fill(o, 0, 4, 2)
			second, c := f.snapshot(o), f.clone(o)
			f.fill(o, 0, 4, 3)
			f.ok(f.e.Revert(f.ctx, o.ID(), first.ID()))
			f.holds(o, 0, p)
			f.holds(second, 0, q)
			f.holds(c, 0, q)
			f.ok(f.e.Revert(f.ctx, o.ID(), second.ID()))
			f.holds(o, 0, q)
			f.holds(first, 0, p)
		}},
		{"takes any volume of the same family", func(f *fixture) {
			o := f.create(4)
			f.fill(o, 0, 4, 1)
			c := f.clone(f.snapshot(o))
			p := f.fill(c, 1, 2, 2)
			f.ok(f.e.Revert(f.ctx, o.ID(), c.ID()))
			f.holds(o, f.bs, p)
			f.fill(o, 0, 4, 3)
			f.holds(c, f.bs, p)
			f.fill(c, 0, 4, 4)
			f.holds(o, 0, pattern(4*f.bs, 3))
		}},
		{"to a volume of another family is ErrInvalid and changes nothing", func(f *fixture) {
			a, b := f.create(4), f.create(8)
			p := f.fill(a, 0, 4, 1)
			f.fill(b, 0, 8, 2)
			s := f.snapshot(b)
			f.fails(f.e.Revert(f.ctx, a.ID(), b.ID()), store.ErrInvalid)
			f.fails(f.e.Revert(f.ctx, a.ID(), s.ID()), store.ErrInvalid)
			f.holds(a, 0, p)
			require.Equal(f.T, 4*f.bs, a.Size())
		}},
		{"gives back what was written since", func(f *fixture) {
			o := f.create(8)
			f.fill(o, 0, 4, 1)
			s := f.snapshot(o)
			f.fill(o, 0, 8, 2)
			require.Equal(f.T, 12*f.bs, f.e.PoolUsage(f.pool))
			f.ok(f.e.Revert(f.ctx, o.ID(), s.ID()))
			f.eventually("space to return", func() bool { return f.e.PoolUsage(f.pool) == 4*f.bs })
		}},
		{"works after the source of the snapshot was deleted", func(f *fixture) {
			o := f.create(4)
			p := f.fill(o, 0, 4, 1)
			s, c := f.snapshot(o), f.clone(o)
			f.fill(c, 0, 4, 2)
			f.ok(f.e.Delete(f.ctx, o.ID()))
			f.ok(f.e.Revert(f.ctx, c.ID(), s.ID()))
			f.holds(c, 0, p)
		}},
	}
}
