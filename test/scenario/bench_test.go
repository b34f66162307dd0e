package scenario

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/array"
	"vvsim/scsi/iscsi/initiator"
	"vvsim/test/loads"
)

// BenchmarkArray puts the loads of docs/performance.md on a Badger volume over real
// sessions: make bench PKG=./test/scenario, then benchstat. Every load starts on a
// volume that is written from end to end, those for which it was overwritten at random also
// so.
func BenchmarkArray(b *testing.B) {
	for _, l := range loads.All() {
		b.Run(l.Name, func(b *testing.B) {
			lab := newLab(b, b.TempDir(), func(c *array.Config) { c.Store.JournalMiB = 256 })
			v := lab.create("disk", 2*loads.Span)
			var units []*initiator.Unit
			for i := range l.Sessions {
				host := fmt.Sprintf("esx%d", i)
				units = append(units, lab.unit(lab.login(host, 0), lab.bind(v, host).LUN))
			}
			require.NoError(b, loads.Fill(b.Context(), units[0]))
			if l.Overwritten {
				require.NoError(b, loads.Overwrite(b.Context(), units[0]))
			}
			l.Count = uint64(max(b.N/l.Sessions, 1))
			b.ResetTimer()
			s, err := l.Run(b.Context(), units...)
			require.NoError(b, err)
			b.StopTimer()
			b.SetBytes(int64(s.Bytes) / int64(b.N))
			b.ReportMetric(s.IOPS(), "IOPS")
			b.ReportMetric(float64(s.Latency().Quantile(0.99))/float64(time.Microsecond), "p99-µs")
		})
	}
}
