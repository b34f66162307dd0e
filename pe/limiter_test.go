package pe

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// passed runs n I/Os of some bytes through a limiter, one after the other, and tells how
// long that took.
func passed(l *limiter, n int, bytes uint64) time.Duration {
	start := time.Now()
	for range n {
		l.wait(context.Background(), bytes)
	}
	return time.Since(start)
}

// A limiter lets I/O pass at its rates; after a pause a burst goes at once.
func TestLimiterRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, x := range []struct {
			rates
			n     int
			bytes uint64
			want  time.Duration
		}{
			{rates{iops: 100}, 101, 1 << 20, time.Second},
			{rates{iops: 1}, 4, 0, 3 * time.Second},
			{rates{iops: 50_000}, 50_001, 512, time.Second},
			{rates{bytes: 1 << 20}, 17, 64 << 10, time.Second},
			{rates{bytes: 1 << 20}, 2, 4 << 20, 4 * time.Second}, // larger than the burst
			{rates{iops: 10, bytes: 1 << 30}, 11, 1 << 20, time.Second},
			{rates{iops: 1000, bytes: 1 << 20}, 11, 1 << 20, 10 * time.Second},
		} {
			l := newLimiter(x.rates)
			require.InDelta(t, x.want.Seconds(), passed(l, x.n, x.bytes).Seconds(), 0.001, "%+v", x)
		}
		l := newLimiter(rates{iops: 100})
		passed(l, 1, 0)
		time.Sleep(time.Hour)
		require.Zero(t, passed(l, 11, 0), "a burst of 100 ms, and one")
		require.Equal(t, 10*time.Millisecond, passed(l, 1, 0))
	})
}

// Whatever comes from how many sides, with pauses, and whoever gives up: over any time
// no more passes than the rate allows, and what waits all the time gets the rate.
func TestLimiterProperty(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for round := range 20 {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, uint64(round)))
			rate := rates{iops: 1 + r.Uint64N(2000), bytes: 64<<10 + r.Uint64N(64<<20)}
			l := newLimiter(rate)
			start := time.Now()
			var (
				mu          sync.Mutex // guards count and sum
				count, sum  uint64
				side        sync.WaitGroup
				clients, n  = 1 + r.IntN(32), 30
				largest     uint64
				impatient   = r.IntN(2) == 0
				pauses      = r.IntN(2) == 0
				clientSeeds []uint64
			)
			for range clients {
				clientSeeds = append(clientSeeds, r.Uint64())
			}
			for _, s := range clientSeeds {
				side.Go(func() {
					r := rand.New(rand.NewPCG(s, 1))
					for range n {
						bytes := r.Uint64N(256 << 10)
						ctx, cancel := context.WithCancel(t.Context())
						if impatient && r.IntN(4) == 0 {
							ctx, cancel = context.WithTimeout(t.Context(), time.Duration(r.IntN(50))*time.Millisecond)
						}
						l.wait(ctx, bytes)
						if ctx.Err() == nil {
							mu.Lock()
							count, sum, largest = count+1, sum+bytes, max(largest, bytes)
							mu.Unlock()
						}
						cancel()
						if pauses && r.IntN(8) == 0 {
							time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
						}
					}
				})
			}
			side.Wait()
			took := time.Since(start).Seconds() + burst.Seconds()
			require.LessOrEqual(t, float64(count), float64(rate.iops)*took+2)
			require.LessOrEqual(t, float64(sum), float64(rate.bytes)*took+2*float64(largest))
			if !pauses && !impatient {
				least := max(float64(count-1)/float64(rate.iops), float64(sum)/float64(rate.bytes))
				both := float64(count)/float64(rate.iops) + float64(sum)/float64(rate.bytes)
				require.LessOrEqual(t, time.Since(start).Seconds(), both+0.001, "%v at least", least)
			}
			require.Empty(t, l.waiting)
		})
	}
}

// Those who wait pass in order of arrival; one that leaves holds up nobody and does
// not count.
func TestLimiterOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(rates{iops: 1})
		start := time.Now()
		l.wait(t.Context(), 0)
		ends := make(chan string, 10)
		cancels := map[int]context.CancelFunc{}
		for i := range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			cancels[i] = cancel
			go func() {
				l.wait(ctx, 0)
				ends <- fmt.Sprint(i, " after ", time.Since(start), " ", ctx.Err())
			}()
			synctest.Wait()
		}
		cancels[0]()
		require.Equal(t, "0 after 0s context canceled", <-ends)
		cancels[2]()
		require.Equal(t, "2 after 0s context canceled", <-ends)
		require.Equal(t, "1 after 1s <nil>", <-ends)
		require.Equal(t, "3 after 2s <nil>", <-ends)
		require.Equal(t, "4 after 3s <nil>", <-ends)
	})
}

// A change of the rates holds at once, for what waits and what is owed.
func TestLimiterChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		l := newLimiter(rates{bytes: 1 << 20})
		l.wait(t.Context(), 100<<20)
		done := make(chan time.Duration, 3)
		for range 3 {
			go func() {
				l.wait(t.Context(), 1<<20)
				done <- time.Since(start)
			}()
		}
		time.Sleep(20 * time.Second)
		l.set(rates{bytes: 8 << 20})
		require.Equal(t, 30*time.Second, <-done, "80 MiB were owed")
		l.set(rates{bytes: 8 << 20, iops: 1})
		require.Equal(t, rates{bytes: 8 << 20, iops: 1}, l.rates())
		require.Equal(t, 30*time.Second+125*time.Millisecond, <-done)
		l.set(rates{})
		require.Equal(t, 30*time.Second+125*time.Millisecond, <-done)
		require.Zero(t, passed(l, 1000, 1<<20))
	})
}

// With no limits set there is nothing to pay.
func BenchmarkThrottleOff(b *testing.B) {
	h := &throttle{}
	n := 0
	for b.Loop() {
		if h.limits.Load() != nil {
			n++
		}
	}
	require.Zero(b, n)
}

func BenchmarkLimiterPass(b *testing.B) {
	l := newLimiter(rates{iops: 1 << 40, bytes: 1 << 50})
	for b.Loop() {
		l.wait(b.Context(), 4096)
	}
}
