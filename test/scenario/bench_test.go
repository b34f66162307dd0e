package scenario

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/array"
	"vvsim/scsi/iscsi/initiator"
)

// benchSpan is how much of the volume the loads touch: several times the journal.
const benchSpan = 1 << 30

// BenchmarkArray puts the loads of docs/performance.md on a Badger volume over real
// sessions: make bench PKG=./test/scenario, then benchstat. Every load starts on a
// volume that is written from end to end; Overwritten: and then at random, as often as it has
// blocks.
func BenchmarkArray(b *testing.B) {
	k := func(n int) int { return n << 10 }
	for _, l := range []struct {
		name     string
		sessions int
		load     initiator.Load
	}{
		{"RandomRead4K/QD1", 1, initiator.Load{QueueDepth: 1, ReadPercent: 100}},
		{"RandomRead4K/QD32", 1, initiator.Load{QueueDepth: 32, ReadPercent: 100}},
		{"RandomRead4K/QD8x8", 8, initiator.Load{QueueDepth: 8, ReadPercent: 100}},
		{"RandomWrite4K/QD1", 1, initiator.Load{QueueDepth: 1}},
		{"RandomWrite4K/QD32", 1, initiator.Load{QueueDepth: 32}},
		{"RandomWrite4K/QD8x8", 8, initiator.Load{QueueDepth: 8}},
		{"Mixed4K/QD32", 1, initiator.Load{QueueDepth: 32, ReadPercent: 70}},
		{"WriteFlush4K/QD1", 1, initiator.Load{QueueDepth: 1, FlushEvery: 1}},
		{"Write32Flush4K/QD32", 1, initiator.Load{QueueDepth: 32, FlushEvery: 32}},
		{"WriteFUA4K/QD32", 1, initiator.Load{QueueDepth: 32, FUA: true}},
		{"SequentialRead64K/QD8", 1, initiator.Load{QueueDepth: 8, BlockSize: k(64), ReadPercent: 100, Pattern: initiator.Sequential}},
		{"SequentialRead256K/QD8", 1, initiator.Load{QueueDepth: 8, BlockSize: k(256), ReadPercent: 100, Pattern: initiator.Sequential}},
		{"SequentialRead64KOverwritten/QD8", 1, initiator.Load{QueueDepth: 8, BlockSize: k(64), ReadPercent: 100, Pattern: initiator.Sequential}},
		{"SequentialRead256KOverwritten/QD8", 1, initiator.Load{QueueDepth: 8, BlockSize: k(256), ReadPercent: 100, Pattern: initiator.Sequential}},
		{"SequentialWrite64K/QD8", 1, initiator.Load{QueueDepth: 8, BlockSize: k(64), Pattern: initiator.Sequential}},
		{"SequentialWrite256K/QD8", 1, initiator.Load{QueueDepth: 8, BlockSize: k(256), Pattern: initiator.Sequential}},
	} {
		b.Run(l.name, func(b *testing.B) {
			lab := newLab(b, b.TempDir(), func(c *array.Config) { c.Store.JournalMiB = 256 })
			v := lab.create("disk", 2*benchSpan)
			var units []*initiator.Unit
			for i := range l.sessions {
				host := fmt.Sprintf("esx%d", i)
				units = append(units, lab.unit(lab.login(host, 0), lab.bind(v, host).LUN))
			}
			fill := initiator.Load{QueueDepth: 8, BlockSize: k(256), Pattern: initiator.Sequential, Span: benchSpan, Count: benchSpan / (256 << 10)}
			_, err := fill.Run(b.Context(), units[0])
			require.NoError(b, err)
			if strings.Contains(l.name, "Overwritten") {
				_, err := (&initiator.Load{QueueDepth: 32, Span: benchSpan, Count: benchSpan / (4 << 10), Seed: 2}).Run(b.Context(), units[0])
				require.NoError(b, err)
			}
			l.load.Span, l.load.Seed = benchSpan, 1
			l.load.Count = uint64(max(b.N/l.sessions, 1))
			b.ResetTimer()
			s, err := l.load.Run(b.Context(), units...)
			require.NoError(b, err)
			b.StopTimer()
			b.SetBytes(int64(s.Bytes) / int64(b.N))
			b.ReportMetric(s.IOPS(), "IOPS")
			b.ReportMetric(float64(s.Latency().Quantile(0.99))/float64(time.Microsecond), "p99-µs")
		})
	}
}
