package storetest

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"vvsim/vvol/store"
)

// Shape of the benchmarks.
const (
	benchSize    = 256 << 20 // bytes of the volume
	benchRandom  = 4 << 10   // bytes of a random transfer
	benchStream  = 256 << 10 // bytes of a sequential transfer
	benchCallers = 32        // goroutines of random transfers
)

// Bench measures random transfers of 4 KiB by 32 goroutines and sequential ones of
// 256 KiB by one, on a written volume of 256 MiB. Besides time it reports the CPU
// time of the whole process for each transfer.
func Bench(b *testing.B, open func(b *testing.B) store.Engine) {
	e := open(b)
	defer func() {
		if err := e.Close(); err != nil {
			b.Error(err)
		}
	}()
	ctx := context.Background()
	id := newID()
	if err := e.Create(ctx, id, store.CreateOptions{Size: benchSize, Pool: store.Pool(newID())}); err != nil {
		b.Fatal(err)
	}
	o, err := e.Open(ctx, id)
	if err != nil {
		b.Fatal(err)
	}
	defer o.Close()
	p := pattern(benchStream, 1)
	for off := uint64(0); off < benchSize; off += benchStream {
		if err := o.WriteAt(ctx, p, off, store.WriteOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("write 4 KiB random", func(b *testing.B) {
		benchParallel(b, func(p []byte, off uint64) error { return o.WriteAt(ctx, p, off, store.WriteOptions{}) })
	})
	b.Run("read 4 KiB random", func(b *testing.B) {
		benchParallel(b, func(p []byte, off uint64) error { return o.ReadAt(ctx, p, off) })
	})
	b.Run("write 256 KiB sequential", func(b *testing.B) {
		benchSequential(b, func(p []byte, off uint64) error { return o.WriteAt(ctx, p, off, store.WriteOptions{}) })
	})
	b.Run("read 256 KiB sequential", func(b *testing.B) {
		benchSequential(b, func(p []byte, off uint64) error { return o.ReadAt(ctx, p, off) })
	})
}

func benchParallel(b *testing.B, do func(p []byte, off uint64) error) {
	procs := runtime.GOMAXPROCS(0)
	b.SetParallelism((benchCallers + procs - 1) / procs)
	b.SetBytes(benchRandom)
	b.ReportAllocs()
	var seed atomic.Uint64
	before := cpu()
	b.RunParallel(func(pb *testing.PB) {
		r := rand.New(rand.NewPCG(seed.Add(1), 2))
		p := pattern(benchRandom, 7)
		for pb.Next() {
			if err := do(p, r.Uint64N(benchSize/benchRandom)*benchRandom); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/1000/float64(b.N), "cpu-µs/op")
}

func benchSequential(b *testing.B, do func(p []byte, off uint64) error) {
	b.SetBytes(benchStream)
	b.ReportAllocs()
	p := pattern(benchStream, 7)
	before, off := cpu(), uint64(0)
	for b.Loop() {
		if err := do(p, off%benchSize); err != nil {
			b.Fatal(err)
		}
		off += benchStream
	}
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/1000/float64(b.N), "cpu-µs/op")
}

// cpu is the processor time that the process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0 // the metric is then 0 as well
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
