package badger

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
)

// scaleFixture is an engine of usual size under a benchmark.
type scaleFixture struct {
	b    *testing.B
	e    *Engine
	next uint64
}

func newScale(b *testing.B) *scaleFixture {
	e, err := Open(b.Context(), Options{Dir: b.TempDir()})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, e.Close()) })
	return &scaleFixture{b: b, e: e}
}

func (f *scaleFixture) newID() (id store.ID) {
	f.next++
	for i := range 8 {
		id[i] = byte(f.next >> (8 * i))
	}
	return id
}

func (f *scaleFixture) create(size uint64) store.Object {
	id := f.newID()
	require.NoError(f.b, f.e.Create(context.Background(), id, store.CreateOptions{Size: size}))
	return f.open(id)
}

func (f *scaleFixture) open(id store.ID) store.Object {
	o, err := f.e.Open(context.Background(), id)
	require.NoError(f.b, err)
	return o
}

// write writes n blocks whose numbers block gives, by many goroutines.
func (f *scaleFixture) write(o store.Object, n int, block func(i int) uint64) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			p := make([]byte, blockSize)
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				p[0] = byte(i)
				if err := o.WriteAt(context.Background(), p, block(i)*blockSize, store.WriteOptions{}); err != nil {
					f.b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

func (f *scaleFixture) snapshot(o store.Object) store.ID {
	id := f.newID()
	require.NoError(f.b, f.e.Snapshot(context.Background(), []store.SnapshotSpec{{Source: o.ID(), Snapshot: id}}))
	return id
}

// settle waits until all is in Badger, and the journal on stable storage.
func (f *scaleFixture) settle() {
	require.NoError(f.b, f.e.committer.call(func() error { return nil }))
	for f.e.drainer.reached.Load() < f.e.journal.Head() || f.e.journal.Stable() < f.e.journal.Head() {
		require.NoError(f.b, f.e.drainer.awaitCollection(context.Background()))
	}
}

// BenchmarkChain reads 4 KiB at random by 32 goroutines from a volume of 1 GiB: a flat
// one, and ones whose blocks lie in 16 and in 60 layers of snapshots, each near
// everywhere.
func BenchmarkChain(b *testing.B) {
	const blocks = 1 << 30 / blockSize
	for _, depth := range []int{1, 16, 60} {
		b.Run(fmt.Sprintf("layers=%d", depth), func(b *testing.B) {
			f := newScale(b)
			o := f.create(blocks * blockSize)
			order := rand.New(rand.NewPCG(1, 2)).Perm(blocks)
			for k := range depth {
				part := order[k*blocks/depth : (k+1)*blocks/depth]
				f.write(o, len(part), func(i int) uint64 { return uint64(part[i]) })
				if k < depth-1 {
					f.snapshot(o)
				}
			}
			f.settle()
			b.SetParallelism(16)
			b.SetBytes(blockSize)
			b.ReportAllocs()
			b.ResetTimer()
			var seed atomic.Uint64
			b.RunParallel(func(pb *testing.PB) {
				r := rand.New(rand.NewPCG(seed.Add(1), 2))
				p := make([]byte, blockSize)
				for pb.Next() {
					if err := o.ReadAt(context.Background(), p, r.Uint64N(blocks)*blockSize); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkLarge makes snapshots and clones of a volume of 1 TiB with a million blocks, one
// in each MiB, and asks for its figures.
func BenchmarkLarge(b *testing.B) {
	const blocks, apart = 1 << 20, 1 << 20 / blockSize
	ctx := context.Background()
	f := newScale(b)
	o := f.create(blocks * apart * blockSize)
	f.write(o, blocks, func(i int) uint64 { return uint64(i) * apart })
	f.settle()
	start := time.Now()
	last := f.snapshot(o)
	first := time.Since(start)
	b.Run("Snapshot", func(b *testing.B) {
		f.b = b
		for b.Loop() {
			b.StopTimer()
			id := f.newID()
			require.NoError(b, f.e.Clone(ctx, last, id, store.Pool{}))
			c := f.open(id)
			f.write(c, 1, func(int) uint64 { return 7 })
			b.StartTimer()
			f.snapshot(c)
		}
		b.ReportMetric(first.Seconds()*1000, "ms-first")
	})
	b.Run("Clone", func(b *testing.B) {
		f.b = b
		for b.Loop() {
			id := f.newID()
			require.NoError(b, f.e.Clone(ctx, last, id, store.Pool{}))
			b.StopTimer()
			require.NoError(b, f.e.Delete(ctx, id))
			b.StartTimer()
		}
	})
	b.Run("CloneOfLive", func(b *testing.B) {
		f.b = b
		for b.Loop() {
			b.StopTimer()
			f.write(o, 1, func(int) uint64 { return 0 })
			id := f.newID()
			b.StartTimer()
			require.NoError(b, f.e.Clone(ctx, o.ID(), id, store.Pool{}))
			b.StopTimer()
			require.NoError(b, f.e.Delete(ctx, id))
			b.StartTimer()
		}
	})
	b.Run("Stat", func(b *testing.B) {
		for b.Loop() {
			info, err := f.e.Stat(ctx, o.ID())
			require.NoError(b, err)
			require.EqualValues(b, blocks*blockSize, info.Allocated)
		}
	})
	b.Run("Delete", func(b *testing.B) {
		f.b = b
		for b.Loop() {
			b.StopTimer()
			id := f.newID()
			require.NoError(b, f.e.Clone(ctx, last, id, store.Pool{}))
			b.StartTimer()
			require.NoError(b, f.e.Delete(ctx, id))
		}
	})
}

// BenchmarkStatFamily asks for the figures of every volume of a family of 400 snapshots
// and clones, all of which have written.
func BenchmarkStatFamily(b *testing.B) {
	const blocks = 1 << 16
	ctx := context.Background()
	f := newScale(b)
	o := f.create(blocks * blockSize)
	f.write(o, blocks, func(i int) uint64 { return uint64(i) })
	all := []store.Object{o}
	for i := range 400 {
		id := f.newID()
		require.NoError(b, f.e.Clone(ctx, all[i%(i/40+1)].ID(), id, store.Pool{}))
		c := f.open(id)
		f.write(c, 100, func(k int) uint64 { return uint64(k*613+i) % blocks })
		all = append(all, c)
	}
	for b.Loop() {
		for _, v := range all {
			_, err := f.e.Stat(ctx, v.ID())
			require.NoError(b, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(all)), "ns/volume")
}

// BenchmarkDeleteClones reads and writes 4 KiB at random by 32 goroutines, while a thousand
// clones of another volume, which have written, are deleted one after the other and collected,
// and for some seconds before and afterwards: x-alone is the rate meanwhile against those.
func BenchmarkDeleteClones(b *testing.B) {
	const blocks, clones, alone = 1 << 16, 1000, 5 * time.Second
	ctx := context.Background()
	f := newScale(b)
	busy, golden := f.create(blocks*blockSize), f.create(blocks*blockSize)
	for _, o := range []store.Object{busy, golden} {
		f.write(o, blocks, func(i int) uint64 { return uint64(i) })
	}
	var toDelete, toDrop, before, meanwhile, after float64
	rate := func(window func()) float64 {
		start, from := time.Now(), f.ios()
		window()
		return float64(f.ios()-from) / time.Since(start).Seconds()
	}
	for b.Loop() {
		b.StopTimer()
		all := f.clones(golden, clones, blocks)
		f.settle()
		b.StartTimer()
		stop := make(chan struct{})
		var work sync.WaitGroup
		for w := range 32 {
			work.Go(func() { f.mixed(busy, uint64(w), blocks, 3, stop) })
		}
		<-time.After(alone) // the journal takes what comes at first
		before += rate(func() { <-time.After(alone) })
		meanwhile += rate(func() {
			start := time.Now()
			for _, id := range all {
				require.NoError(b, f.e.Delete(ctx, id))
			}
			toDelete += time.Since(start).Seconds()
			f.awaitDrops()
			toDrop += time.Since(start).Seconds()
		})
		after += rate(func() { <-time.After(alone) })
		close(stop)
		work.Wait()
	}
	n := float64(b.N)
	b.ReportMetric(toDelete/n, "s-to-delete")
	b.ReportMetric(toDrop/n, "s-to-drop")
	b.ReportMetric(before/n, "IOPS-before")
	b.ReportMetric(meanwhile/n, "IOPS-meanwhile")
	b.ReportMetric(after/n, "IOPS-after")
	b.ReportMetric(2*meanwhile/(before+after), "x-alone")
}

// ios is how much was read and written.
func (f *scaleFixture) ios() uint64 { return f.e.counts.reads.Load() + f.e.counts.writes.Load() }

// awaitDrops returns when no layer waits to be dropped.
func (f *scaleFixture) awaitDrops() {
	for {
		f.e.index.RLock()
		left := len(f.e.index.Orphans(1))
		f.e.index.RUnlock()
		if left == 0 {
			return
		}
		<-time.After(time.Millisecond)
	}
}

// BenchmarkFirstSnapshot writes 4 KiB at random by 32 goroutines for four seconds and then
// makes a snapshot, after them and while they go on.
func BenchmarkFirstSnapshot(b *testing.B) {
	const blocks = 1 << 18
	for _, beside := range []bool{false, true} {
		b.Run(fmt.Sprintf("beside=%v", beside), func(b *testing.B) {
			f := newScale(b)
			o := f.create(blocks * blockSize)
			var writes atomic.Int64
			var all []float64
			for b.Loop() {
				b.StopTimer()
				stop := make(chan struct{})
				var work sync.WaitGroup
				for w := range 32 {
					work.Go(func() { writes.Add(f.mixed(o, uint64(w), blocks, 10, stop)) })
				}
				end := func() { close(stop); work.Wait() }
				<-time.After(4 * time.Second)
				if !beside {
					end()
				}
				b.StartTimer()
				t0 := time.Now()
				f.snapshot(o)
				all = append(all, time.Since(t0).Seconds()*1000)
				b.StopTimer()
				if beside {
					end()
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(writes.Load())/float64(b.N*4), "writes/s")
			slices.Sort(all)
			b.ReportMetric(all[len(all)/2], "ms-median")
			b.ReportMetric(all[len(all)-1], "ms-longest")
		})
	}
}

// clones makes clones of a volume and writes to each.
func (f *scaleFixture) clones(of store.Object, n int, blocks uint64) []store.ID {
	all := make([]store.ID, n)
	for i := range all {
		all[i] = f.newID()
		require.NoError(f.b, f.e.Clone(context.Background(), of.ID(), all[i], store.Pool{}))
		f.write(f.open(all[i]), 64, func(k int) uint64 { return uint64(k*1021+i) % blocks })
	}
	return all
}

// mixed reads and writes at random until told to stop, so many writes in ten, and counts.
func (f *scaleFixture) mixed(o store.Object, seed, blocks uint64, writes int, stop chan struct{}) (n int64) {
	r := rand.New(rand.NewPCG(seed, 1))
	p := make([]byte, blockSize)
	for ; ; n++ {
		select {
		case <-stop:
			return n
		default:
		}
		var err error
		if off := r.Uint64N(blocks) * blockSize; r.IntN(10) >= writes {
			err = o.ReadAt(context.Background(), p, off)
		} else {
			err = o.WriteAt(context.Background(), p, off, store.WriteOptions{})
		}
		if err != nil {
			f.b.Error(err)
			return n
		}
	}
}
