package latency

import "time"

// Instant is a reading of the monotonic clock, in nanoseconds since some time before
// the first. It costs a third of time.Now.
type Instant int64

var origin = time.Now()

// Now reads the clock.
func Now() Instant { return Instant(time.Since(origin)) }

// Sub is the time from u to t.
func (t Instant) Sub(u Instant) time.Duration { return time.Duration(t - u) }

// Add is the instant d after t.
func (t Instant) Add(d time.Duration) Instant { return t + Instant(d) }
