package badger

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
)

// overwriting is the load of 32 goroutines that write 4 KiB at random at full speed.
type overwriting struct {
	f    *scaleFixture
	stop chan struct{}
	work sync.WaitGroup
	took [1 << 20]atomic.Int64 // writes, by whole microseconds; longer ones are in the last
	most float64               // times the live bytes that value logs held
}

func (f *scaleFixture) overwrite(o store.Object, blocks uint64) *overwriting {
	w := &overwriting{f: f, stop: make(chan struct{})}
	for n := range uint64(32) {
		w.work.Go(func() { w.write(o, blocks, n) })
	}
	w.work.Go(func() {
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			select {
			case <-w.stop:
				return
			case <-tick.C:
				w.most = max(w.most, f.crowding())
			}
		}
	})
	return w
}

func (w *overwriting) write(o store.Object, blocks, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 3))
	p := make([]byte, blockSize)
	for {
		select {
		case <-w.stop:
			return
		default:
		}
		start := time.Now()
		if err := o.WriteAt(context.Background(), p, r.Uint64N(blocks)*blockSize, store.WriteOptions{}); err != nil {
			w.f.b.Error(err)
			return
		}
		w.took[min(time.Since(start).Microseconds(), int64(len(w.took)-1))].Add(1)
	}
}

// report ends the load.
func (w *overwriting) report(d time.Duration) {
	close(w.stop)
	w.work.Wait()
	total := int64(0)
	for i := range w.took {
		total += w.took[i].Load()
	}
	rest := total
	for i := range w.took {
		if rest -= w.took[i].Load(); rest <= total/1000 {
			w.f.b.ReportMetric(float64(i)/1000, "ms-p99.9")
			break
		}
	}
	w.f.b.ReportMetric(float64(total)/d.Seconds(), "writes/s")
	w.f.b.ReportMetric(w.most, "x-live-most")
}

// crowding is what value logs hold for each live byte, without any slack.
func (f *scaleFixture) crowding() float64 {
	_, held := f.e.files.Sizes()
	f.e.index.RLock()
	defer f.e.index.RUnlock()
	n := f.e.index.Counts()
	return float64(held) / float64((n.Live+n.Dirty)*blockSize)
}

// BenchmarkOverwrite overwrites 1 GiB at random for a minute each time, and then lets a minute
// pass in calm.
func BenchmarkOverwrite(b *testing.B) {
	const blocks = 1 << 18
	f := newScale(b)
	o := f.create(blocks * blockSize)
	f.write(o, blocks, func(i int) uint64 { return uint64(i) })
	w := f.overwrite(o, blocks)
	for b.Loop() {
		<-time.After(time.Minute)
	}
	w.report(b.Elapsed())
	<-time.After(time.Minute)
	b.ReportMetric(f.crowding(), "x-live-calm")
}

// BenchmarkHalfOfSnapshots makes a hundred snapshots of 256 MiB, between which an eighth is
// overwritten, deletes every second while another volume is overwritten for a minute, and
// then lets a minute pass in calm.
func BenchmarkHalfOfSnapshots(b *testing.B) {
	const blocks, snapshots = 1 << 16, 100
	f := newScale(b)
	o, busy := f.create(blocks*blockSize), f.create(blocks*blockSize)
	for _, v := range []store.Object{o, busy} {
		f.write(v, blocks, func(i int) uint64 { return uint64(i) })
	}
	r := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		b.StopTimer()
		all := make([]store.ID, snapshots)
		for i := range all {
			all[i] = f.snapshot(o)
			part := r.Perm(blocks)[:blocks/8]
			f.write(o, len(part), func(i int) uint64 { return uint64(part[i]) })
		}
		f.settle()
		b.Logf("%s before", f.space())
		b.StartTimer()
		w := f.overwrite(busy, blocks)
		start := time.Now()
		for i := 0; i < snapshots; i += 2 {
			require.NoError(b, f.e.Delete(context.Background(), all[i]))
		}
		b.ReportMetric(time.Since(start).Seconds(), "s-to-delete")
		<-time.After(time.Minute - time.Since(start))
		b.StopTimer()
		w.report(time.Minute)
		<-time.After(time.Minute)
		b.ReportMetric(f.crowding(), "x-live-calm")
		b.Logf("%s after a calm minute", f.space())
		for i := 1; i < snapshots; i += 2 {
			require.NoError(b, f.e.Delete(context.Background(), all[i]))
		}
		b.StartTimer()
	}
}

// space tells what value logs hold, and what is live.
func (f *scaleFixture) space() string {
	_, held := f.e.files.Sizes()
	return fmt.Sprintf("%d MiB held, %.2f times what is live", held>>20, f.crowding())
}
