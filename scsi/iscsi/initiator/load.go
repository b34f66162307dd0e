package initiator

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Pattern says where operations go.
type Pattern uint8

const (
	Random     Pattern = iota // uniformly over the span
	Sequential                // one after the other, from the beginning again at the end
)

// Load keeps logical units busy and measures. Zero values take the defaults
// named here.
type Load struct {
	QueueDepth  int // operations in flight per unit; default 32
	BlockSize   int // bytes of one operation, a multiple of the logical block; default 4096
	Pattern     Pattern
	ReadPercent int   // 0 only writes, 100 only reads
	FlushEvery  int   // a SYNCHRONIZE CACHE after so many writes per unit; 0 none
	FUA         bool  // of writes
	Offset      int64 // where the span begins, a multiple of BlockSize
	Span        int64 // bytes; default to the end of the unit

	// Duration and Count end the load, whichever comes first; Count is per unit.
	// One of them is needed.
	Duration time.Duration
	Count    uint64
	Seed     uint64

	// Verify stamps every write and compares every read of a block that this run
	// wrote; at the end everything written is read once more. It takes 4 bytes of
	// memory per BlockSize of span, and no two operations in flight touch one block.
	Verify bool
	// MaxErrors is the number of failed operations that ends the run; default 1.
	MaxErrors uint64
	// Drain is how long operations in flight may take once the load has ended,
	// before they are aborted; default 30 s.
	Drain time.Duration
}

// Defaults and limits of Load.
const (
	DefaultQueueDepth = 32
	DefaultBlockSize  = 4096
	DefaultDrain      = 30 * time.Second

	maxVerifyBlocks = 1 << 28 // 1 GiB of bookkeeping
	maxQueueDepth   = maxCommands
)

// Stats is what a Load did. Latencies are of operations that succeeded.
type Stats struct {
	Reads, Writes, Flushes uint64
	Bytes                  uint64 // of reads and writes
	Errors                 uint64 // failed operations, miscompares included
	Aborted                uint64 // in flight when the time to drain was over
	Verified               uint64 // blocks compared
	FirstError             error
	Elapsed                time.Duration // without the last pass of Verify
	Read, Write, Flush     Histogram
}

// Ops is the number of operations that succeeded.
func (s *Stats) Ops() uint64 { return s.Reads + s.Writes + s.Flushes }

// IOPS is reads and writes per second.
func (s *Stats) IOPS() float64 {
	if s.Elapsed <= 0 {
		return 0
	}
	return float64(s.Reads+s.Writes) / s.Elapsed.Seconds()
}

// Throughput is bytes per second.
func (s *Stats) Throughput() float64 {
	if s.Elapsed <= 0 {
		return 0
	}
	return float64(s.Bytes) / s.Elapsed.Seconds()
}

// Latency is of reads and writes together.
func (s *Stats) Latency() *Histogram {
	h := s.Read
	h.Merge(&s.Write)
	return &h
}

// String is one line.
func (s *Stats) String() string {
	h := s.Latency()
	return fmt.Sprintf("%.0f IOPS %.1f MiB/s p50 %v p99 %v p99.9 %v max %v errors %d", s.IOPS(), s.Throughput()/(1<<20),
		h.Quantile(0.5), h.Quantile(0.99), h.Quantile(0.999), h.Max(), s.Errors)
}

func (s *Stats) merge(o *Stats) {
	s.Reads += o.Reads
	s.Writes += o.Writes
	s.Flushes += o.Flushes
	s.Bytes += o.Bytes
	s.Errors += o.Errors
	s.Aborted += o.Aborted
	s.Verified += o.Verified
	if s.FirstError == nil {
		s.FirstError = o.FirstError
	}
	s.Read.Merge(&o.Read)
	s.Write.Merge(&o.Write)
	s.Flush.Merge(&o.Flush)
}

func (l *Load) ensureDefaults() {
	fill(&l.QueueDepth, DefaultQueueDepth)
	fill(&l.BlockSize, DefaultBlockSize)
	fill(&l.MaxErrors, 1)
	fill(&l.Drain, DefaultDrain)
}

// validate checks the load against one unit and completes the span.
func (l *Load) validate(g *Geometry) error {
	if l.BlockSize <= 0 || l.BlockSize%g.BlockSize != 0 || l.BlockSize > maxTransfer {
		return invalid("block size %d; logical blocks have %d", l.BlockSize, g.BlockSize)
	}
	if l.Span == 0 {
		l.Span = g.Size() - l.Offset
	}
	size := int64(l.BlockSize)
	slots := l.Span / size
	switch {
	case l.QueueDepth < 1 || l.QueueDepth > maxQueueDepth:
		return invalid("queue depth %d", l.QueueDepth)
	case g.MaxTransfer > 0 && l.BlockSize/g.BlockSize > int(g.MaxTransfer):
		return invalid("block size %d; the unit takes %d logical blocks", l.BlockSize, g.MaxTransfer)
	case l.Offset < 0 || l.Offset%size != 0 || l.Span < size || l.Offset > g.Size()-l.Span:
		return invalid("span of %d bytes at %d; the unit has %d", l.Span, l.Offset, g.Size())
	case l.ReadPercent < 0 || l.ReadPercent > 100 || l.FlushEvery < 0:
		return invalid("%d %% reads, a flush every %d", l.ReadPercent, l.FlushEvery)
	case l.Duration < 0 || l.Drain < 0 || l.Duration == 0 && l.Count == 0:
		return invalid("neither duration nor count")
	case l.Verify && slots > maxVerifyBlocks:
		return invalid("%d blocks to verify; up to %d", slots, maxVerifyBlocks)
	case l.Verify && slots < 2*int64(l.QueueDepth):
		return invalid("%d blocks to verify are too few for %d at once", slots, l.QueueDepth)
	}
	return nil
}

// Run puts the load on the units, all at once and each with its own sequence of
// operations, and returns when it has ended or ctx has. Unit attentions are
// cleared first. The error is that of the first operation that failed, or of ctx;
// the Stats count in any case.
func (l Load) Run(ctx context.Context, units ...*Unit) (*Stats, error) {
	l.ensureDefaults()
	if len(units) == 0 {
		return nil, invalid("no unit")
	}
	runners := make([]*runner, len(units))
	for i, u := range units {
		if _, err := u.ClearAttentions(ctx); err != nil {
			return nil, err
		}
		g, err := u.Geometry(ctx)
		if err != nil {
			return nil, err
		}
		own := l
		if err := own.validate(&g); err != nil {
			return nil, err
		}
		runners[i] = newRunner(own, u, &g, i)
	}
	total := &Stats{}
	start := time.Now()
	err := l.phase(ctx, runners, start)
	total.Elapsed = time.Since(start)
	if err == nil && l.Verify {
		err = l.recheck(ctx, runners)
	}
	for _, r := range runners {
		total.merge(&r.stats)
	}
	return total, errors.Join(err, total.FirstError)
}

// recheck reads everything that was written once more.
func (l *Load) recheck(ctx context.Context, runners []*runner) error {
	for _, r := range runners {
		if r.stats.FirstError == nil {
			r.beginRecheck()
		}
	}
	l.Duration = 0
	return l.phase(ctx, runners, time.Now())
}

// phase starts all runners and waits for them.
func (l *Load) phase(ctx context.Context, runners []*runner, start time.Time) error {
	if l.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, start.Add(l.Duration), errTimeIsUp)
		defer cancel()
	}
	for _, r := range runners {
		r.begin()
	}
	var cause error
	for _, r := range runners {
		select {
		case <-r.idle:
		case <-ctx.Done():
			cause = context.Cause(ctx)
		}
		if cause != nil {
			break
		}
	}
	if cause == nil {
		return nil
	}
	for _, r := range runners {
		r.stop()
	}
	l.drain(runners, errors.Is(cause, errTimeIsUp))
	if errors.Is(cause, errTimeIsUp) {
		return nil
	}
	return cause
}

// drain waits for what is in flight, for as long as Drain says when the load has
// run its time, and takes back the rest.
func (l *Load) drain(runners []*runner, patient bool) {
	wait := time.Duration(0)
	if patient {
		wait = l.Drain
	}
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	for _, r := range runners {
		select {
		case <-r.idle:
			continue
		case <-deadline.C:
			deadline.Reset(0)
		}
		r.abort()
		<-r.idle
	}
}

var errTimeIsUp = errors.New("time is up")

// operation kinds.
const (
	opRead = iota
	opWrite
	opFlush
)

// statusError turns an ended call into an error.
func statusError(c *Call, want int) error {
	if c.Err != nil {
		return c.Err
	}
	if err := c.Result.Err(&c.Command); err != nil {
		return err
	}
	if want > 0 && len(c.Result.DataIn) != want {
		return fmt.Errorf("%w: %d bytes of %d", ErrData, len(c.Result.DataIn), want)
	}
	return nil
}
