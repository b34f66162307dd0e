package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/api"
	"vvsim/array"
	"vvsim/scsi/iscsi/initiator"
	"vvsim/test/loads"
	"vvsim/vasa/vasatest"
	"vvsim/vasa/wire"
)

// Sizes of the benchmarks of the provider.
const (
	benchHosts    = 8
	benchVVols    = 1_000
	benchClients  = 200
	benchMany     = 20_000
	benchBound    = 5_000
	benchBatch    = 100
	benchSnapshot = 8
)

// benchSite is an array on Badger, as users have it, with an authority.
func benchSite(b *testing.B) *site {
	return newSite(newLab(b, b.TempDir(), func(c *array.Config) { c.Store.JournalMiB = 256 }))
}

// timed has how long the calls of one caller took.
type timed struct {
	took initiator.Histogram
}

func (t *timed) call(do func() error) error {
	began := time.Now()
	err := do()
	t.took.Add(time.Since(began))
	return err
}

// together runs n callers at once, and returns how long all took and their calls.
func together(b *testing.B, n int, do func(i int, t *timed) error) (time.Duration, *initiator.Histogram) {
	callers, errs := make([]timed, n), make([]error, n)
	var all sync.WaitGroup
	began := time.Now()
	for i := range n {
		all.Go(func() { errs[i] = do(i, &callers[i]) })
	}
	all.Wait()
	elapsed := time.Since(began)
	require.NoError(b, errors.Join(errs...))
	sum := &initiator.Histogram{}
	for i := range callers {
		sum.Merge(&callers[i].took)
	}
	return elapsed, sum
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// BenchmarkProviderLifecycle has hosts create, bind, unbind and delete VVols side by side,
// one call after the other by each.
func BenchmarkProviderLifecycle(b *testing.B) {
	s := benchSite(b)
	hosts := make([]*vasatest.Client, benchHosts)
	for i := range hosts {
		hosts[i] = s.host(fmt.Sprintf("esx%02d", i))
	}
	ids := make([][]string, benchHosts)
	handles := make([][]wire.VirtualVolumeHandle, benchHosts)
	steps := []struct {
		name string
		do   func(i, k int) error
	}{
		{"create", func(i, k int) (err error) {
			ids[i][k], err = s.create(b.Context(), hosts[i], 1024, "VMW_VVolName", fmt.Sprintf("vm%d-%d", i, k))
			return err
		}},
		{"bind", func(i, k int) error {
			h, err := s.bind(b.Context(), hosts[i], ids[i][k])
			if err == nil {
				handles[i][k] = h[0]
			}
			return err
		}},
		{"unbind", func(i, k int) error { return s.unbind(b.Context(), hosts[i], handles[i][k]) }},
		{"delete", func(i, k int) error { return s.delete(b.Context(), hosts[i], ids[i][k]) }},
	}
	const each = benchVVols / benchHosts
	elapsed, all, used := time.Duration(0), &initiator.Histogram{}, processorTime(b)
	for b.Loop() {
		for i := range hosts {
			ids[i], handles[i] = make([]string, each), make([]wire.VirtualVolumeHandle, each)
		}
		for _, step := range steps {
			took, calls := together(b, benchHosts, func(i int, t *timed) error {
				for k := range each {
					if err := t.call(func() error { return step.do(i, k) }); err != nil {
						return err
					}
				}
				return nil
			})
			elapsed += took
			all.Merge(calls)
			b.ReportMetric(milliseconds(calls.Quantile(0.99)), "ms-p99-"+step.name)
		}
	}
	b.ReportMetric(float64((processorTime(b)-used).Microseconds())/float64(all.Count()), "cpu-µs/op")
	b.ReportMetric(float64(all.Count())/elapsed.Seconds(), "ops/s")
	b.ReportMetric(milliseconds(all.Quantile(0.99)), "ms-p99")
	b.ReportMetric(milliseconds(all.Max()), "ms-max")
}

// processorTime is what this process has used: array and hosts.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// loaded runs do while a load is on units, and returns what the load did until then.
func loaded(b *testing.B, load initiator.Load, units []*initiator.Unit, do func()) *initiator.Stats {
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	var stats *initiator.Stats
	var err error
	ended := make(chan struct{})
	load.Duration, load.Drain = time.Hour, time.Second
	go func() {
		defer close(ended)
		stats, err = load.Run(ctx, units...)
	}()
	do()
	stop()
	<-ended
	require.ErrorIs(b, err, context.Canceled)
	return stats
}

// BenchmarkProviderBindLoaded binds VVols, one at a time, while another is read and written.
func BenchmarkProviderBindLoaded(b *testing.B) {
	const volumes = 200
	s := benchSite(b)
	c := s.host("esx00")
	busy, err := s.create(b.Context(), c, loads.Span>>20, "VMW_VVolName", "disk")
	require.NoError(b, err)
	h, err := s.bind(b.Context(), c, busy)
	require.NoError(b, err)
	u := s.unit(s.login("esx00", 0), lunOf(h[0]))
	require.NoError(b, loads.Fill(b.Context(), u))
	ids := make([]string, volumes)
	for i := range ids {
		ids[i], err = s.create(b.Context(), c, 1024, "VMW_VVolName", "disk")
		require.NoError(b, err)
	}
	for _, l := range []struct {
		name string
		load *initiator.Load
	}{{"idle", nil}, {"write", &initiator.Load{}}, {"mixed", &initiator.Load{ReadPercent: 70}}} {
		b.Run(l.name, func(b *testing.B) {
			var binds, unbinds timed
			work := func() {
				for b.Loop() {
					for _, id := range ids {
						var h []wire.VirtualVolumeHandle
						require.NoError(b, binds.call(func() (err error) { h, err = s.bind(b.Context(), c, id); return err }))
						require.NoError(b, unbinds.call(func() error { return s.unbind(b.Context(), c, h...) }))
					}
				}
			}
			if l.load == nil {
				work()
			} else {
				b.ReportMetric(loaded(b, *l.load, []*initiator.Unit{u}, work).IOPS(), "IOPS")
			}
			b.ReportMetric(milliseconds(binds.took.Quantile(0.5)), "ms-p50-bind")
			b.ReportMetric(milliseconds(binds.took.Quantile(0.99)), "ms-p99-bind")
			b.ReportMetric(milliseconds(unbinds.took.Quantile(0.99)), "ms-p99-unbind")
		})
	}
}

// span is a write as its host sees it.
type span struct{ began, ended time.Time }

// longestWithin is the longest of writes that were under way at some time of a window: what
// happened in the window can have held no others.
func longestWithin(writes []span, from, to time.Time) (longest time.Duration) {
	for _, w := range writes {
		if w.began.Before(to) && w.ended.After(from) {
			longest = max(longest, w.ended.Sub(w.began))
		}
	}
	return longest
}

// written writes 4 KiB at random places of units, so many of each at a time, while something
// is done, and returns when each write began and ended.
func written(b *testing.B, units []*initiator.Unit, depth int, length int64, do func()) (all []span) {
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	spans := make([][]span, depth*len(units))
	var wait sync.WaitGroup
	for i := range spans {
		wait.Go(func() {
			random, p := rand.New(rand.NewPCG(0, uint64(i))), make([]byte, 4096)
			for ctx.Err() == nil {
				began := time.Now()
				if _, err := units[i%len(units)].WriteAt(b.Context(), p, random.Int64N(length/4096)*4096, false); err != nil {
					b.Errorf("write: %v", err)
					return
				}
				spans[i] = append(spans[i], span{began, time.Now()})
			}
		})
	}
	do()
	stop()
	wait.Wait()
	return slices.Concat(spans...)
}

// BenchmarkProviderSnapshotSet takes snapshots of VVols at one instant while all of them
// are written. ms-during is the longest write that was under way during the call, ms-calm
// the longest in windows of the same length in the second before it, as such a load has
// long writes without snapshots as well: the middle of the rounds and the worst.
// ms-held is how long the engine kept writes from beginning during the call, in all; the rows
// of the catalog that belong to it are included.
func BenchmarkProviderSnapshotSet(b *testing.B) {
	const before, after, length = time.Second, 200 * time.Millisecond, 64 << 20
	s := benchSite(b)
	c := s.host("esx00")
	session := s.login("esx00", 0)
	ids, units := make([]string, benchSnapshot), make([]*initiator.Unit, benchSnapshot)
	for i := range ids {
		var err error
		ids[i], err = s.create(b.Context(), c, 1024, "VMW_VVolName", "disk")
		require.NoError(b, err)
		h, err := s.bind(b.Context(), c, ids[i])
		require.NoError(b, err)
		units[i] = s.unit(session, lunOf(h[0]))
	}
	_, err := initiator.Load{QueueDepth: 8, BlockSize: 256 << 10, Pattern: initiator.Sequential, Span: length, Count: 256}.Run(b.Context(), units...)
	require.NoError(b, err)
	var calm, during initiator.Histogram
	var calls, stood timed
	engineHeld := func() time.Duration {
		figures, err := (&api.Client{Base: s.a.Ready().API}).Figures(b.Context())
		require.NoError(b, err)
		return time.Duration(figures["vvsim_engine_held_seconds_total"] * float64(time.Second))
	}
	for b.Loop() {
		var taken []string
		for _, id := range ids {
			snapshot, err := s.prepare(b.Context(), c, id)
			require.NoError(b, err)
			taken = append(taken, snapshot)
		}
		var from, to time.Time
		// Eight units with four each are the 32 of one busy host.
		writes := written(b, units, 32/benchSnapshot, length, func() {
			<-time.After(before)
			earlier := engineHeld()
			from = time.Now()
			require.NoError(b, calls.call(func() error { return s.take(b.Context(), c, taken...) }))
			to = time.Now()
			stood.took.Add(engineHeld() - earlier)
			<-time.After(after)
		})
		during.Add(longestWithin(writes, from, to))
		for n := range 16 {
			window := to.Sub(from)
			start := from.Add(-before + time.Duration(n)*before/20)
			calm.Add(longestWithin(writes, start, start.Add(window)))
		}
		for _, id := range taken {
			require.NoError(b, s.delete(b.Context(), c, id))
		}
	}
	b.ReportMetric(milliseconds(calm.Quantile(0.5)), "ms-calm")
	b.ReportMetric(milliseconds(calm.Max()), "ms-worst-calm")
	b.ReportMetric(milliseconds(during.Quantile(0.5)), "ms-during")
	b.ReportMetric(milliseconds(during.Max()), "ms-worst-during")
	b.ReportMetric(milliseconds(calls.took.Quantile(0.5)), "ms-call")
	b.ReportMetric(milliseconds(stood.took.Quantile(0.5)), "ms-held")
	b.ReportMetric(milliseconds(stood.took.Max()), "ms-longest-held")
}

// BenchmarkProviderMany makes many VVols, asks for some by their metadata, and restarts the
// array with what is bound: the handles have to be the same.
func BenchmarkProviderMany(b *testing.B) {
	s := benchSite(b)
	hosts := make([]*vasatest.Client, benchHosts)
	for i := range hosts {
		hosts[i] = s.host(fmt.Sprintf("esx%02d", i))
	}
	const each, calls = benchMany / benchHosts, 4 // of a host at a time
	ids := make([][]string, benchHosts)
	for i := range ids {
		ids[i] = make([]string, each)
	}
	began := time.Now()
	together(b, benchHosts*calls, func(i int, _ *timed) (err error) {
		i, first := i/calls, i%calls
		for k := first; k < each && err == nil; k += calls {
			ids[i][k], err = s.create(b.Context(), hosts[i], 1024, "VMW_VVolName", fmt.Sprintf("vm%d-%d", i, k), "VMW_VmID", fmt.Sprintf("vm%d-%d", i, k/20),
				"VMW_VVolType", "Data")
		}
		return err
	})
	b.Logf("%d VVols created in %v", benchMany, time.Since(began))
	bindings := func(t testing.TB) map[string]wire.VirtualVolumeHandle {
		all := map[string]wire.VirtualVolumeHandle{}
		for i, c := range hosts {
			for k := 0; k < benchBound/benchHosts; k += benchBatch {
				list, err := s.bind(s.ctx, c, ids[i][k:min(k+benchBatch, benchBound/benchHosts)]...)
				require.NoError(t, err)
				for _, h := range list {
					all[*h.UniqueIdentifier] = h
				}
			}
		}
		return all
	}
	before := bindings(b)
	require.Len(b, before, benchBound)
	constraint := func(key, value string) wire.QueryConstraint { return wire.QueryConstraint{Key: key, Value: &value} }
	for _, q := range []struct {
		name        string
		constraints []wire.QueryConstraint
		found       int
	}{
		{"one", []wire.QueryConstraint{constraint("VMW_VVolName", "vm3-77")}, 1},
		{"vm", []wire.QueryConstraint{constraint("VMW_VVolType", "Data"), constraint("VMW_VmID", "vm3-77")}, 20},
		{"none", []wire.QueryConstraint{constraint("VMW_VVolType", "Data"), constraint("VMW_VmID", "nobody")}, 0},
		{"all", []wire.QueryConstraint{constraint("VMW_VVolType", "Data")}, benchMany},
	} {
		b.Run("query/"+q.name, func(b *testing.B) {
			var calls timed
			for b.Loop() {
				require.NoError(b, calls.call(func() error {
					r, err := vasatest.Do[wire.QueryVirtualVolumeResponse](b.Context(), hosts[0], &wire.QueryVirtualVolume{SearchConstraint: q.constraints})
					if err == nil && len(r.Return) != q.found {
						err = fmt.Errorf("%d VVols", len(r.Return))
					}
					return err
				}))
			}
			b.ReportMetric(milliseconds(calls.took.Quantile(0.99)), "ms-p99")
		})
	}
	b.Run("restart", func(b *testing.B) {
		var longest time.Duration
		for b.Loop() {
			require.NoError(b, s.a.Close(context.Background()))
			began := time.Now()
			s.start()
			longest = max(longest, time.Since(began))
			for i := range hosts {
				hosts[i] = s.host(fmt.Sprintf("esx%02d", i))
			}
			require.Equal(b, before, bindings(b))
		}
		b.ReportMetric(longest.Seconds(), "s-ready")
	})
}

// BenchmarkProviderBitmaps asks for bitmaps of a volume of 1 TiB with data all over it, and
// half of one GiB full of holes, against a snapshot that has the first half of its blocks.
func BenchmarkProviderBitmaps(b *testing.B) {
	const (
		tib, gib = 1 << 40, 1 << 30
		wide     = 1 << 17 // blocks somewhere in the TiB, before the snapshot and again after
		dense    = 1 << 16 // blocks in the first GiB, likewise
	)
	s := benchSite(b)
	c := s.host("esx00")
	id, err := s.create(b.Context(), c, tib>>20, "VMW_VVolName", "disk")
	require.NoError(b, err)
	h, err := s.bind(b.Context(), c, id)
	require.NoError(b, err)
	u := s.unit(s.login("esx00", 0), lunOf(h[0]))
	write := func(seed uint64) {
		for _, l := range []initiator.Load{{Seed: seed, Count: wide}, {Seed: seed + 1, Count: dense, Span: gib}} {
			_, err := l.Run(b.Context(), u)
			require.NoError(b, err)
		}
	}
	write(1)
	base, err := s.prepare(b.Context(), c, id)
	require.NoError(b, err)
	require.NoError(b, s.take(b.Context(), c, base))
	write(3)
	for _, l := range []struct {
		name                 string
		start, length, chunk int64
	}{
		{"GiB-64KiB", 0, gib, 64 << 10},
		{"GiB-4KiB", 0, gib, 4 << 10},
		{"TiB-1GiB", 0, tib, gib},
		{"TiB-64KiB", 0, tib, 64 << 10},
	} {
		measure := func(kind string, request any, read func(any) []byte) {
			b.Run(l.name+"/"+kind, func(b *testing.B) {
				var calls timed
				var was, is runtime.MemStats
				runtime.ReadMemStats(&was)
				n := 0
				for b.Loop() {
					n++
					require.NoError(b, calls.call(func() error {
						r, err := c.Call(b.Context(), request)
						if err == nil && int64(len(read(r))) != (l.length/l.chunk+7)/8 {
							err = fmt.Errorf("a bitmap of %d bytes", len(read(r)))
						}
						return err
					}))
				}
				runtime.ReadMemStats(&is)
				b.ReportMetric(float64(is.TotalAlloc-was.TotalAlloc)/float64(n)/(1<<20), "MiB-alloc/op")
				b.ReportMetric(milliseconds(calls.took.Max()), "ms-max")
			})
		}
		measure("allocated", &wire.AllocatedBitmapVirtualVolume{VVolID: id, SegmentStartOffsetBytes: l.start, SegmentLengthBytes: l.length, ChunkSizeBytes: l.chunk},
			func(r any) []byte { return r.(*wire.AllocatedBitmapVirtualVolumeResponse).Return.ChunkBitmap })
		measure("unshared", &wire.UnsharedBitmapVirtualVolume{VVolID: id, BaseVVolID: base, SegmentStartOffsetBytes: l.start, SegmentLengthBytes: l.length, ChunkSizeBytes: l.chunk},
			func(r any) []byte { return r.(*wire.UnsharedBitmapVirtualVolumeResponse).Return.ChunkBitmap })
	}
}

// BenchmarkProviderClients has many clients ask what clients ask all the time: paced, each
// of them every second, which is ten times what real ones do, and flat out.
func BenchmarkProviderClients(b *testing.B) {
	s := benchSite(b)
	maker := s.host("maker")
	var ids []string
	for range 32 {
		id, err := s.create(b.Context(), maker, 1024, "VMW_VVolName", "disk", "VMW_VmID", "vm")
		require.NoError(b, err)
		ids = append(ids, id)
	}
	clients := make([]*vasatest.Client, benchClients)
	for i := range clients {
		clients[i] = s.host(fmt.Sprintf("c%03d", i))
	}
	poll := func(ctx context.Context, i, round int, t *timed) error {
		for _, q := range []any{&wire.GetEvents{LastEventID: new(int64(-1))}, &wire.GetAlarms{LastAlarmID: new(int64(-1))},
			&wire.QueryVirtualVolumeInfo{VVolID: []string{ids[(i+round)%len(ids)]}}} {
			if err := t.call(func() error { _, err := clients[i].Call(ctx, q); return err }); err != nil {
				return fmt.Errorf("%T: %w", q, err)
			}
		}
		return nil
	}
	for _, l := range []struct {
		name   string
		rounds int
		every  time.Duration
	}{{"paced", 5, time.Second}, {"flat-out", 20, 0}} {
		b.Run(l.name, func(b *testing.B) {
			all, elapsed := &initiator.Histogram{}, time.Duration(0)
			for b.Loop() {
				took, calls := together(b, benchClients, func(i int, t *timed) error {
					next := time.Now().Add(l.every * time.Duration(i) / benchClients)
					for round := range l.rounds {
						<-time.After(time.Until(next))
						next = next.Add(l.every)
						if err := poll(b.Context(), i, round, t); err != nil {
							return err
						}
					}
					return nil
				})
				elapsed += took
				all.Merge(calls)
			}
			b.ReportMetric(float64(all.Count())/elapsed.Seconds(), "ops/s")
			b.ReportMetric(milliseconds(all.Quantile(0.5)), "ms-p50")
			b.ReportMetric(milliseconds(all.Quantile(0.99)), "ms-p99")
			b.ReportMetric(milliseconds(all.Max()), "ms-max")
		})
	}
}
