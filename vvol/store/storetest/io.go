package storetest

import (
	"bytes"
	"context"
	"errors"
	"math"
	"sync"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
)

func transfers() []sentence {
	return []sentence{
		{"offsets and lengths are multiples of 512 and need not be of BlockSize", func(f *fixture) {
			o := f.create(8)
			want := make([]byte, 8*f.bs)
			tag := uint64(1)
			for _, span := range [][2]uint64{{0, sector}, {sector, f.bs}, {f.bs - sector, 2 * sector}, {3 * f.bs, f.bs},
				{3*f.bs + sector, sector}, {5*f.bs - sector, 2*f.bs + 2*sector}, {8*f.bs - sector, sector}} {
				p := pattern(span[1], tag)
				f.write(o, span[0], p)
				copy(want[span[0]:], p)
				f.holds(o, 0, want, span)
				tag++
			}
			for off := uint64(0); off+3*sector <= 8*f.bs; off += sector {
				f.holds(o, off, want[off:off+3*sector], off)
			}
		}},
		{"a partial write to a shared block keeps the rest of it", func(f *fixture) {
			o := f.create(4)
			p := f.fill(o, 0, 4, 1)
			s := f.snapshot(o)
			q := pattern(sector, 2)
			f.write(o, f.bs+sector, q)
			f.holds(s, 0, p)
			copy(p[f.bs+sector:], q)
			f.holds(o, 0, p)
		}},
		{"WriteAll performs each write by itself, in order where they overlap", writingAll},
		{"WriteAll of many callers and WriteAt leave what each wrote", writingAllAtOnce},
		{"a transfer of nothing succeeds", func(f *fixture) {
			o := f.create(4)
			for _, off := range []uint64{0, f.bs, 4 * f.bs} {
				f.ok(o.ReadAt(f.ctx, nil, off))
				f.ok(o.WriteAt(f.ctx, nil, off, store.WriteOptions{}))
				f.ok(o.CompareAndWrite(f.ctx, nil, nil, off, store.WriteOptions{}))
				f.ok(o.Zero(f.ctx, off, 0, store.WriteOptions{}))
				f.ok(o.Unmap(f.ctx, off, 0, store.WriteOptions{}))
				f.ok(o.CopyFrom(f.ctx, off, o, off, 0))
			}
			require.Zero(f.T, f.stat(o.ID()).Allocated)
		}},
		{"slices are borrowed for the duration of the call", func(f *fixture) {
			o := f.create(4)
			p := pattern(2*f.bs, 1)
			want := bytes.Clone(p)
			f.write(o, 0, p)
			clear(p)
			f.holds(o, 0, want)
			c, d := bytes.Clone(want), pattern(2*f.bs, 2)
			want = bytes.Clone(d)
			f.ok(o.CompareAndWrite(f.ctx, c, d, 0, store.WriteOptions{}))
			require.True(f.T, bytes.Equal(want, d), "data is not changed")
			clear(c)
			clear(d)
			f.holds(o, 0, want)
			r := f.read(o, 0, 2*f.bs)
			clear(r)
			f.holds(o, 0, want)
		}},
		{"FUA and Flush succeed and what was written stays", func(f *fixture) {
			o := f.create(4)
			p := pattern(f.bs, 1)
			f.ok(o.WriteAt(f.ctx, p, 0, store.WriteOptions{FUA: true}))
			q := pattern(f.bs, 2)
			f.ok(o.CompareAndWrite(f.ctx, p, q, 0, store.WriteOptions{FUA: true}))
			f.ok(o.WriteAt(f.ctx, p, f.bs, store.WriteOptions{FUA: true}))
			f.ok(o.Zero(f.ctx, f.bs, sector, store.WriteOptions{FUA: true}))
			f.ok(o.Unmap(f.ctx, 2*f.bs, f.bs, store.WriteOptions{FUA: true}))
			f.ok(o.Flush(f.ctx))
			f.holds(o, 0, q)
			f.zeros(o, f.bs, sector)
			f.holds(o, f.bs+sector, p[sector:])
			f.ok(f.snapshot(o).Flush(f.ctx))
		}},
		{"volumes do not share what they did not inherit", func(f *fixture) {
			a, b := f.create(4), f.create(4)
			p, q := f.fill(a, 0, 4, 1), f.fill(b, 0, 4, 2)
			f.holds(a, 0, p)
			f.holds(b, 0, q)
		}},
		{"counters of Metrics count", func(f *fixture) {
			o := f.create(4)
			before := f.e.Metrics()
			p := f.fill(o, 0, 4, 1)
			f.holds(o, 0, p)
			f.ok(o.Flush(f.ctx))
			after := f.e.Metrics()
			require.Equal(f.T, before.Writes+1, after.Writes)
			require.Equal(f.T, before.WrittenBytes+4*f.bs, after.WrittenBytes)
			require.Equal(f.T, before.Reads+1, after.Reads)
			require.Equal(f.T, before.ReadBytes+4*f.bs, after.ReadBytes)
			require.Equal(f.T, before.Flushes+1, after.Flushes)
			require.GreaterOrEqual(f.T, after.Live, 4*f.bs)
			ids, err := f.e.Volumes(f.ctx)
			f.ok(err)
			require.Equal(f.T, len(ids), after.Volumes)
			require.GreaterOrEqual(f.T, after.Layers, after.Volumes)
		}},
	}
}

// change is a call that changes n bytes at off.
type change struct {
	name string
	call func(ctx context.Context, o store.Object, off, n uint64) error
}

func changes() []change {
	return []change{
		{"WriteAt", func(ctx context.Context, o store.Object, off, n uint64) error {
			return o.WriteAt(ctx, make([]byte, n), off, store.WriteOptions{})
		}},
		{"CompareAndWrite", func(ctx context.Context, o store.Object, off, n uint64) error {
			return o.CompareAndWrite(ctx, make([]byte, n), make([]byte, n), off, store.WriteOptions{})
		}},
		{"Zero", func(ctx context.Context, o store.Object, off, n uint64) error {
			return o.Zero(ctx, off, n, store.WriteOptions{})
		}},
		{"Unmap", func(ctx context.Context, o store.Object, off, n uint64) error {
			return o.Unmap(ctx, off, n, store.WriteOptions{})
		}},
	}
}

func refusals() []sentence {
	return []sentence{
		{"beyond the size is ErrOutOfRange and changes nothing", func(f *fixture) {
			o, src := f.create(4), f.create(8)
			p := f.fill(o, 0, 4, 1)
			size := 4 * f.bs
			for _, s := range [][2]uint64{{size, sector}, {size - sector, 2 * sector}, {0, size + sector}, {size + f.bs, sector},
				{math.MaxUint64 - sector + 1, sector}, {math.MaxUint64 - f.bs + 1, 2 * f.bs}} {
				f.fails(o.ReadAt(f.ctx, make([]byte, s[1]), s[0]), store.ErrOutOfRange, s)
				for _, c := range changes() {
					f.fails(c.call(f.ctx, o, s[0], s[1]), store.ErrOutOfRange, c.name, s)
				}
				f.fails(o.CopyFrom(f.ctx, s[0], src, 0, s[1]), store.ErrOutOfRange, s)
				f.fails(src.CopyFrom(f.ctx, 0, o, s[0], s[1]), store.ErrOutOfRange, s)
			}
			f.holds(o, 0, p)
			f.zeros(src, 0, 8*f.bs)
		}},
		{"an offset or length that is no multiple of 512 is ErrInvalid", func(f *fixture) {
			o, src := f.create(4), f.create(4)
			p := f.fill(o, 0, 4, 1)
			for _, s := range [][2]uint64{{1, sector}, {0, sector - 1}, {sector, 1}, {sector / 2, sector / 2}} {
				f.fails(o.ReadAt(f.ctx, make([]byte, s[1]), s[0]), store.ErrInvalid, s)
				for _, c := range changes() {
					f.fails(c.call(f.ctx, o, s[0], s[1]), store.ErrInvalid, c.name, s)
				}
				f.fails(o.CopyFrom(f.ctx, s[0], src, 0, s[1]), store.ErrInvalid, s)
			}
			f.holds(o, 0, p)
		}},
		{"CopyFrom refuses a source offset that is no multiple of 512", func(f *fixture) {
			o, src := f.create(4), f.create(4)
			f.fails(o.CopyFrom(f.ctx, 0, src, 1, sector), store.ErrInvalid)
		}},
		{"CompareAndWrite of unequal lengths is ErrInvalid", func(f *fixture) {
			o := f.create(4)
			f.fails(o.CompareAndWrite(f.ctx, make([]byte, sector), pattern(f.bs, 1), 0, store.WriteOptions{}), store.ErrInvalid)
			f.zeros(o, 0, f.bs)
		}},
		{"changes of a read-only snapshot are ErrReadOnly", func(f *fixture) {
			o := f.create(4)
			p := f.fill(o, 0, 4, 1)
			s := f.snapshot(o)
			require.True(f.T, s.ReadOnly())
			for _, c := range changes() {
				f.fails(c.call(f.ctx, s, 0, f.bs), store.ErrReadOnly, c.name)
			}
			f.fails(s.CopyFrom(f.ctx, 0, o, 0, f.bs), store.ErrReadOnly)
			f.holds(s, 0, p)
		}},
		{"a cancelled call answers ctx.Err() or is done as a whole", func(f *fixture) {
			o := f.create(4)
			ctx, cancel := context.WithCancel(f.ctx)
			cancel()
			want := f.fill(o, 0, 4, 1)
			for tag := uint64(2); tag < 10; tag++ {
				p := pattern(4*f.bs, tag)
				switch err := o.WriteAt(ctx, p, 0, store.WriteOptions{}); {
				case err == nil:
					want = p
				case !errors.Is(err, context.Canceled):
					f.fails(err, context.Canceled)
				}
				f.holds(o, 0, want)
			}
			if err := o.ReadAt(ctx, make([]byte, f.bs), 0); err != nil {
				f.fails(err, context.Canceled)
			}
		}},
		{"a call on a closed object fails", func(f *fixture) {
			id := newID()
			f.ok(f.e.Create(f.ctx, id, store.CreateOptions{Size: 4 * f.bs, Pool: f.pool}))
			o, err := f.e.Open(f.ctx, id)
			f.ok(err)
			f.ok(o.Close())
			f.everyCall(o, store.ErrUnavailable)
		}},
	}
}

func comparing() []sentence {
	return []sentence{
		{"writes when the bytes are equal", func(f *fixture) {
			o := f.create(8)
			old := f.fill(o, 0, 8, 1)
			for _, s := range [][2]uint64{{0, sector}, {f.bs, f.bs}, {3*f.bs - sector, 2 * sector}, {4*f.bs + sector, 3 * f.bs}} {
				data := pattern(s[1], 9+s[0])
				f.ok(o.CompareAndWrite(f.ctx, old[s[0]:s[0]+s[1]], data, s[0], store.WriteOptions{}), s)
				copy(old[s[0]:], data)
				f.holds(o, 0, old, s)
			}
		}},
		{"compares unallocated blocks as zeros", func(f *fixture) {
			o := f.create(4)
			data := pattern(f.bs, 1)
			f.ok(o.CompareAndWrite(f.ctx, make([]byte, f.bs), data, f.bs, store.WriteOptions{}))
			f.holds(o, f.bs, data)
		}},
		{"tells the offset of the first byte that differs and writes nothing", func(f *fixture) {
			o := f.create(8)
			old := f.fill(o, 0, 8, 1)
			for _, at := range []uint64{0, 1, sector - 1, sector, f.bs - 1, f.bs, 2*f.bs - 1, 2*f.bs + 17} {
				off, n := f.bs-sector, 2*f.bs+2*sector
				c := bytes.Clone(old[off : off+n])
				c[at] ^= 0xff
				c[n-1] ^= 0xff
				err := o.CompareAndWrite(f.ctx, c, pattern(n, 2), off, store.WriteOptions{})
				f.fails(err, store.ErrMiscompare)
				var m *store.MiscompareError
				require.ErrorAs(f.T, err, &m)
				require.Equal(f.T, at, m.Offset)
				f.holds(o, 0, old, at)
			}
		}},
		{"compares with what a clone shares and writes to the clone alone", func(f *fixture) {
			o := f.create(4)
			p := f.fill(o, 0, 4, 1)
			c := f.clone(o)
			q := pattern(f.bs, 2)
			f.ok(c.CompareAndWrite(f.ctx, p[f.bs:2*f.bs], q, f.bs, store.WriteOptions{}))
			f.holds(o, 0, p)
			f.holds(c, f.bs, q)
		}},
	}
}

func unmapping() []sentence {
	return []sentence{
		{"an unmapped range reads as zeros and is deallocated", func(f *fixture) {
			o := f.create(16)
			p := f.fill(o, 0, 16, 1)
			f.ok(o.Unmap(f.ctx, 3*f.bs, 5*f.bs, store.WriteOptions{}))
			clear(p[3*f.bs : 8*f.bs])
			f.holds(o, 0, p)
			require.Equal(f.T, f.blocks(0, 3, 8, 8), f.ranges(o, store.Allocated, store.ID{}, 0))
			require.Equal(f.T, 11*f.bs, f.stat(o.ID()).Allocated)
		}},
		{"parts of blocks at its ends are zeroed", func(f *fixture) {
			o := f.create(8)
			p := f.fill(o, 0, 8, 1)
			for _, s := range [][2]uint64{{f.bs + sector, f.bs}, {3 * f.bs, sector}, {4*f.bs - sector, sector},
				{5*f.bs - sector, 2*f.bs + 2*sector}} {
				f.ok(o.Unmap(f.ctx, s[0], s[1], store.WriteOptions{}))
				clear(p[s[0] : s[0]+s[1]])
				f.holds(o, 0, p, s)
			}
			require.Equal(f.T, f.blocks(0, 5, 7, 1), f.ranges(o, store.Allocated, store.ID{}, 0))
		}},
		{"unmapping what holds nothing allocates nothing", func(f *fixture) {
			o := f.create(8)
			f.ok(o.Unmap(f.ctx, 0, 4*f.bs, store.WriteOptions{}))
			f.ok(o.Unmap(f.ctx, f.bs+sector, 2*f.bs, store.WriteOptions{}))
			f.ok(o.Unmap(f.ctx, sector, sector, store.WriteOptions{}))
			f.zeros(o, 0, 8*f.bs)
			require.Zero(f.T, f.stat(o.ID()).Allocated)
			require.Zero(f.T, f.e.PoolUsage(f.pool))
		}},
		{"a zeroed range reads as zeros", func(f *fixture) {
			o := f.create(8)
			p := f.fill(o, 0, 8, 1)
			for _, s := range [][2]uint64{{0, f.bs}, {f.bs + sector, sector}, {3*f.bs - sector, 3 * f.bs}} {
				f.ok(o.Zero(f.ctx, s[0], s[1], store.WriteOptions{}))
				clear(p[s[0] : s[0]+s[1]])
				f.holds(o, 0, p, s)
			}
		}},
		{"snapshots keep what is unmapped or zeroed in their source", func(f *fixture) {
			o := f.create(8)
			p := f.fill(o, 0, 8, 1)
			s := f.snapshot(o)
			f.ok(o.Unmap(f.ctx, 0, 4*f.bs+sector, store.WriteOptions{}))
			f.ok(o.Zero(f.ctx, 5*f.bs, 3*f.bs, store.WriteOptions{}))
			f.holds(s, 0, p)
			clear(p[:4*f.bs+sector])
			clear(p[5*f.bs:])
			f.holds(o, 0, p)
			c := f.clone(o)
			f.holds(c, 0, p)
		}},
		{"an unmapped block can be written again, in part too", func(f *fixture) {
			o := f.create(4)
			f.fill(o, 0, 4, 1)
			f.snapshot(o)
			f.ok(o.Unmap(f.ctx, 0, 4*f.bs, store.WriteOptions{}))
			q := pattern(sector, 2)
			f.write(o, f.bs+sector, q)
			want := make([]byte, 4*f.bs)
			copy(want[f.bs+sector:], q)
			f.holds(o, 0, want)
			require.Equal(f.T, f.blocks(1, 1), f.ranges(o, store.Allocated, store.ID{}, 0))
		}},
		{"large thin ranges are unmapped", func(f *fixture) {
			blocks := min(f.lim.MaxUnmap, f.lim.MaxSize) / f.bs
			o := f.create(blocks)
			f.fill(o, 0, 2, 1)
			p := f.fill(o, blocks-1, 1, 2)
			s := f.snapshot(o)
			f.ok(o.Unmap(f.ctx, f.bs, (blocks-2)*f.bs, store.WriteOptions{}))
			f.zeros(o, f.bs, f.bs)
			f.holds(o, (blocks-1)*f.bs, p)
			require.Equal(f.T, f.blocks(0, 1, blocks-1, 1), f.ranges(o, store.Allocated, store.ID{}, 0))
			require.Equal(f.T, f.blocks(1, 1), f.ranges(o, store.Different, s.ID(), 0))
		}},
	}
}

// writingAll mixes writes of all kinds of edges with ones that fail, more of them than an
// engine takes in one go.
func writingAll(f *fixture) {
	const blocks = 64
	o := f.create(blocks)
	want := f.fill(o, 0, blocks, 1)
	for round := range uint64(3) {
		var writes []store.Write
		var bad []int
		for i := range uint64(1500) {
			off, n := i*7%(8*(blocks-2))*sector, (1+i%17)*sector
			if i%100 == 99 {
				off, bad = blocks*f.bs-sector, append(bad, len(writes))
				n = 2 * sector
			}
			writes = append(writes, store.Write{Data: pattern(n, 2+i+1500*round), Offset: off})
		}
		writes = append(writes, store.Write{Offset: sector}, store.Write{Data: make([]byte, 1), Offset: 0})
		o.WriteAll(f.ctx, writes, store.WriteOptions{FUA: round == 1})
		last := len(writes) - 1
		f.fails(writes[last].Err, store.ErrInvalid)
		for i, w := range writes[:last] {
			if len(bad) > 0 && bad[0] == i {
				bad = bad[1:]
				f.fails(w.Err, store.ErrOutOfRange, i)
				continue
			}
			f.ok(w.Err, i)
			copy(want[w.Offset:], w.Data)
		}
		f.holds(o, 0, want, round)
	}
	o.WriteAll(f.ctx, nil, store.WriteOptions{})
	gone, cancel := context.WithCancel(f.ctx)
	cancel()
	one := []store.Write{{Data: pattern(f.bs, 9), Offset: 0}}
	o.WriteAll(gone, one, store.WriteOptions{})
	f.fails(one[0].Err, context.Canceled)
	f.holds(o, 0, want)
}

// writingAllAtOnce has callers that write blocks of their own.
func writingAllAtOnce(f *fixture) {
	const callers, blocks, rounds = 8, 16, 20
	o := f.create(callers * blocks)
	var wait sync.WaitGroup
	for c := range uint64(callers) {
		wait.Go(func() {
			for round := range uint64(rounds) {
				var writes []store.Write
				for b := range uint64(blocks) {
					writes = append(writes, store.Write{Data: pattern(f.bs, 1+c*1000+b+round*17), Offset: (c*blocks + b) * f.bs})
				}
				if c%4 == 3 {
					for i := range writes {
						writes[i].Err = o.WriteAt(f.ctx, writes[i].Data, writes[i].Offset, store.WriteOptions{})
					}
				} else {
					o.WriteAll(f.ctx, writes, store.WriteOptions{FUA: c == 0})
				}
				for _, w := range writes {
					assert.NoError(f.T, w.Err)
				}
			}
		})
	}
	wait.Wait()
	for c := range uint64(callers) {
		for b := range uint64(blocks) {
			f.holds(o, (c*blocks+b)*f.bs, pattern(f.bs, 1+c*1000+b+(rounds-1)*17), c, b)
		}
	}
}
