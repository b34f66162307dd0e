package storetest

import (
	"context"
	"errors"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
)

func ranging() []sentence {
	return []sentence{
		{"Allocated are the blocks that hold data, wherever they live", func(f *fixture) {
			o := f.create(32)
			f.fill(o, 1, 2, 1)
			f.write(o, 5*f.bs+sector, pattern(sector, 2))
			f.snapshot(o)
			f.fill(o, 2, 2, 3)
			f.fill(o, 31, 1, 4)
			want := f.blocks(1, 3, 5, 1, 31, 1)
			require.Equal(f.T, want, f.ranges(o, store.Allocated, store.ID{}, 0))
			require.Equal(f.T, total(want), f.stat(o.ID()).Allocated)
			require.Equal(f.T, want, f.ranges(f.clone(o), store.Allocated, store.ID{}, 0))
		}},
		{"Unshared are the blocks that no other volume can see", func(f *fixture) {
			o := f.create(32)
			f.fill(o, 0, 10, 1)
			require.Equal(f.T, f.blocks(0, 10), f.ranges(o, store.Unshared, store.ID{}, 0))
			s := f.snapshot(o)
			require.Empty(f.T, f.ranges(o, store.Unshared, store.ID{}, 0))
			require.Empty(f.T, f.ranges(s, store.Unshared, store.ID{}, 0))
			f.fill(o, 3, 2, 2)
			f.fill(o, 20, 1, 3)
			f.ok(o.Unmap(f.ctx, 7*f.bs, f.bs, store.WriteOptions{}))
			require.Equal(f.T, f.blocks(3, 2, 20, 1), f.ranges(o, store.Unshared, store.ID{}, 0))
			require.Equal(f.T, f.blocks(3, 2, 7, 1), f.ranges(s, store.Unshared, store.ID{}, 0))
			require.Equal(f.T, 3*f.bs, f.stat(o.ID()).Unshared)
			require.Equal(f.T, 3*f.bs, f.stat(s.ID()).Unshared)
			f.ok(f.e.Delete(f.ctx, o.ID()))
			require.Equal(f.T, f.blocks(0, 10), f.ranges(s, store.Unshared, store.ID{}, 0))
		}},
		{"what a shrunk relative cut off is not shared with it", func(f *fixture) {
			o := f.create(8)
			f.fill(o, 0, 8, 1)
			c := f.clone(o)
			f.ok(f.e.Resize(f.ctx, c.ID(), 3*f.bs))
			require.Equal(f.T, f.blocks(3, 5), f.ranges(o, store.Unshared, store.ID{}, 0))
		}},
		{"Different are the blocks that were changed on either side", func(f *fixture) {
			o := f.create(32)
			f.fill(o, 0, 10, 1)
			s := f.snapshot(o)
			require.Empty(f.T, f.ranges(o, store.Different, s.ID(), 0))
			f.fill(o, 4, 3, 2)
			f.ok(o.Unmap(f.ctx, 8*f.bs, f.bs, store.WriteOptions{}))
			f.fill(o, 30, 2, 3)
			c := f.clone(s)
			f.fill(c, 0, 1, 4)
			require.Equal(f.T, f.blocks(4, 3, 8, 1, 30, 2), f.ranges(o, store.Different, s.ID(), 0))
			require.Equal(f.T, f.blocks(4, 3, 8, 1, 30, 2), f.ranges(s, store.Different, o.ID(), 0))
			require.Equal(f.T, f.blocks(0, 1, 4, 3, 8, 1, 30, 2), f.ranges(o, store.Different, c.ID(), 0))
			require.Empty(f.T, f.ranges(o, store.Different, o.ID(), 0))
		}},
		{"Different compares to the end of the volume, with a base of another size too", func(f *fixture) {
			o := f.create(8)
			f.fill(o, 0, 8, 1)
			s := f.snapshot(o)
			f.ok(f.e.Resize(f.ctx, o.ID(), 4*f.bs))
			require.Empty(f.T, f.ranges(o, store.Different, s.ID(), 0))
			require.Equal(f.T, f.blocks(4, 4), f.ranges(s, store.Different, o.ID(), 0))
			f.ok(f.e.Resize(f.ctx, o.ID(), 12*f.bs))
			f.fill(o, 10, 1, 2)
			require.Equal(f.T, f.blocks(4, 4, 10, 1), f.ranges(o, store.Different, s.ID(), 0))
			require.Equal(f.T, f.blocks(4, 4), f.ranges(s, store.Different, o.ID(), 0))
		}},
		{"a base of another family is ErrInvalid", func(f *fixture) {
			a, b := f.create(4), f.create(4)
			f.fill(a, 0, 4, 1)
			_, err := listRanges(f.ctx, a, store.Different, b.ID(), 0)
			f.fails(err, store.ErrInvalid)
			_, err = listRanges(f.ctx, a, store.Different, newID(), 0)
			require.Error(f.T, err)
		}},
		{"begin at from", func(f *fixture) {
			o := f.create(32)
			f.fill(o, 0, 4, 1)
			f.fill(o, 8, 4, 2)
			require.Equal(f.T, f.blocks(2, 2, 8, 4), f.ranges(o, store.Allocated, store.ID{}, 2*f.bs))
			require.Equal(f.T, f.blocks(8, 4), f.ranges(o, store.Allocated, store.ID{}, 4*f.bs))
			require.Equal(f.T, f.blocks(11, 1), f.ranges(o, store.Unshared, store.ID{}, 11*f.bs))
			require.Empty(f.T, f.ranges(o, store.Allocated, store.ID{}, 12*f.bs))
			require.Empty(f.T, f.ranges(o, store.Allocated, store.ID{}, 32*f.bs))
			require.Empty(f.T, f.ranges(o, store.Allocated, store.ID{}, 64*f.bs))
			require.Equal(f.T, []store.Range{{Offset: 9*f.bs + sector, Length: 3*f.bs - sector}},
				f.ranges(o, store.Allocated, store.ID{}, 9*f.bs+sector))
		}},
		{"are found far apart in a volume of MaxSize", func(f *fixture) {
			end := f.lim.MaxSize / f.bs
			o := f.create(end)
			at := []uint64{0, 1000, end / 3, end / 2, end - 1}
			var want []store.Range
			for i, n := range at {
				f.fill(o, n, 1, uint64(i)+1)
				want = append(want, f.blocks(n, 1)...)
			}
			require.Equal(f.T, want, f.ranges(o, store.Allocated, store.ID{}, 0))
			s := f.snapshot(o)
			f.fill(o, end/2, 1, 9)
			require.Equal(f.T, f.blocks(end/2, 1), f.ranges(o, store.Different, s.ID(), 0))
			require.Equal(f.T, f.blocks(end/2, 1), f.ranges(o, store.Unshared, store.ID{}, f.bs))
		}},
		{"may be left early, and the volume changed in between", func(f *fixture) {
			o := f.create(64)
			for i := uint64(0); i < 64; i += 2 {
				f.fill(o, i, 1, i+1)
			}
			seen := 0
			for r, err := range o.Ranges(f.ctx, store.Allocated, store.ID{}, 0) {
				f.ok(err)
				f.fill(o, r.Offset/f.bs, 1, 100)
				f.ok(f.e.Resize(f.ctx, o.ID(), 64*f.bs))
				if seen++; seen == 3 {
					break
				}
			}
			require.Equal(f.T, 3, seen)
			f.fill(o, 1, 1, 7)
			require.Equal(f.T, 33*f.bs, f.stat(o.ID()).Allocated)
		}},
		{"a cancelled listing ends with ctx.Err() or is whole", func(f *fixture) {
			o := f.create(8)
			f.fill(o, 0, 4, 1)
			ctx, cancel := context.WithCancel(f.ctx)
			cancel()
			all, err := listRanges(ctx, o, store.Allocated, store.ID{}, 0)
			if errors.Is(err, context.Canceled) {
				return
			}
			f.ok(err)
			require.Equal(f.T, f.blocks(0, 4), all)
		}},
	}
}

// foreign is an object that its engine does not know.
type foreign struct{ store.Object }

func copying() []sentence {
	return []sentence{
		{"makes a range equal to one of the source", func(f *fixture) {
			src, dst := f.create(16), f.create(16)
			p := f.fill(src, 0, 16, 1)
			want := f.fill(dst, 0, 16, 2)
			for _, s := range [][3]uint64{{0, 4 * f.bs, 3 * f.bs}, {5 * f.bs, sector, f.bs}, {7*f.bs + sector, sector, 2 * f.bs},
				{10 * f.bs, 2*f.bs + sector, sector}, {12*f.bs - sector, 3 * f.bs, 2*f.bs + 2*sector}} {
				f.ok(dst.CopyFrom(f.ctx, s[0], src, s[1], s[2]), s)
				copy(want[s[0]:s[0]+s[2]], p[s[1]:])
				f.holds(dst, 0, want, s)
			}
			f.holds(src, 0, p)
		}},
		{"makes unallocated what is unallocated in the source", func(f *fixture) {
			src, dst := f.create(32), f.create(32)
			f.fill(src, 2, 2, 1)
			f.fill(src, 9, 1, 2)
			f.fill(dst, 0, 32, 3)
			f.ok(dst.CopyFrom(f.ctx, 4*f.bs, src, 0, 12*f.bs))
			require.Equal(f.T, f.blocks(0, 4, 6, 2, 13, 1, 16, 16), f.ranges(dst, store.Allocated, store.ID{}, 0))
			f.zeros(dst, 8*f.bs, 5*f.bs)
			f.holds(dst, 6*f.bs, pattern(2*f.bs, 1))
			f.ok(dst.CopyFrom(f.ctx, 0, src, 16*f.bs, 16*f.bs))
			require.Equal(f.T, f.blocks(16, 16), f.ranges(dst, store.Allocated, store.ID{}, 0))
		}},
		{"copies between relatives, and what is written after parts them", func(f *fixture) {
			src := f.create(8)
			p := f.fill(src, 0, 8, 1)
			s := f.snapshot(src)
			c := f.clone(s)
			f.fill(c, 0, 8, 2)
			f.ok(c.CopyFrom(f.ctx, 0, s, 0, 8*f.bs))
			f.holds(c, 0, p)
			f.fill(c, 0, 8, 3)
			f.holds(s, 0, p)
			f.holds(src, 0, p)
		}},
		{"within one volume ranges may overlap", func(f *fixture) {
			const blocks = 16
			size := blocks * f.bs
			for _, c := range [][3]uint64{{f.bs, 0, 10 * f.bs}, {0, f.bs, 10 * f.bs}, {sector, 0, 10 * f.bs}, {0, sector, 10 * f.bs},
				{3*f.bs + sector, sector, 9*f.bs + sector}, {2 * f.bs, 2*f.bs + 3*sector, 8 * f.bs}, {f.bs, f.bs, f.bs}} {
				o := f.create(blocks)
				want := f.fill(o, 0, blocks, 1)
				f.ok(o.Unmap(f.ctx, 4*f.bs, 2*f.bs, store.WriteOptions{}))
				clear(want[4*f.bs : 6*f.bs])
				f.ok(f.open(o.ID()).CopyFrom(f.ctx, c[0], o, c[1], c[2]), c)
				copy(want[c[0]:c[0]+c[2]], want[c[1]:])
				require.Equal(f.T, size, uint64(len(want)))
				f.holds(o, 0, want, c)
			}
		}},
		{"within one volume holes are copied as holes", func(f *fixture) {
			o := f.create(32)
			f.fill(o, 0, 2, 1)
			f.fill(o, 16, 8, 2)
			f.ok(o.CopyFrom(f.ctx, 16*f.bs, o, 0, 8*f.bs))
			require.Equal(f.T, f.blocks(0, 2, 16, 2), f.ranges(o, store.Allocated, store.ID{}, 0))
		}},
		{"more than MaxTransfer is copied, overlapping too", func(f *fixture) {
			n := 2*uint64(f.lim.MaxTransfer) + 3*f.bs
			src := f.create(n/f.bs + 64)
			want := pattern(n, 1)
			for at := uint64(0); at < n; at += uint64(f.lim.MaxTransfer) {
				f.write(src, at, want[at:min(n, at+uint64(f.lim.MaxTransfer))])
			}
			dst := f.create(n/f.bs + 64)
			f.ok(dst.CopyFrom(f.ctx, sector, src, 0, n))
			f.zeros(dst, 0, sector)
			f.longHolds(dst, sector, want)
			f.ok(dst.CopyFrom(f.ctx, 8*f.bs, dst, sector, n))
			f.longHolds(dst, 8*f.bs, want)
			f.ok(dst.CopyFrom(f.ctx, 0, dst, 8*f.bs, n))
			f.longHolds(dst, 0, want)
		}},
		{"a thin volume of MaxSize is copied without a look at every block", func(f *fixture) {
			end := f.lim.MaxSize / f.bs
			src, dst := f.create(end), f.create(end)
			p, q := f.fill(src, 0, 1, 1), f.fill(src, end/2, 2, 2)
			f.fill(dst, end/3, 1, 3)
			f.ok(dst.CopyFrom(f.ctx, 0, src, 0, f.lim.MaxSize))
			require.Equal(f.T, f.blocks(0, 1, end/2, 2), f.ranges(dst, store.Allocated, store.ID{}, 0))
			f.holds(dst, 0, p)
			f.holds(dst, end/2*f.bs, q)
		}},
		{"of a foreign object is ErrInvalid or right", func(f *fixture) {
			src, dst := f.create(4), f.create(4)
			p := f.fill(src, 0, 4, 1)
			if err := dst.CopyFrom(f.ctx, 0, foreign{src}, 0, 4*f.bs); err != nil {
				f.fails(err, store.ErrInvalid)
				p = make([]byte, 4*f.bs)
			}
			f.holds(dst, 0, p)
		}},
		{"of at most MaxTransfer happens as a whole or not", func(f *fixture) {
			blocks := uint64(f.lim.MaxTransfer) / f.bs
			src, dst := f.create(blocks), f.create(blocks)
			f.fill(src, 0, blocks, 1)
			old := f.fill(dst, 0, 1, 2)
			f.e.SetPoolLimit(f.pool, f.e.PoolUsage(f.pool)+(blocks-2)*f.bs)
			f.fails(dst.CopyFrom(f.ctx, 0, src, 0, blocks*f.bs), store.ErrNoSpace)
			f.holds(dst, 0, old)
			require.Equal(f.T, f.blocks(0, 1), f.ranges(dst, store.Allocated, store.ID{}, 0))
			f.e.SetPoolLimit(f.pool, 0)
			f.ok(dst.CopyFrom(f.ctx, 0, src, 0, blocks*f.bs))
		}},
	}
}

// longHolds demands more bytes than one transfer takes.
func (f *fixture) longHolds(o store.Object, off uint64, want []byte) {
	f.Helper()
	for at := 0; at < len(want); at += f.lim.MaxTransfer {
		f.holds(o, off+uint64(at), want[at:min(len(want), at+f.lim.MaxTransfer)])
	}
}
