package loads

import (
	"context"

	"vvsim/scsi/iscsi/initiator"
)

const (
	// Span is how many bytes of a volume the loads touch: several times the journal.
	Span = 1 << 30

	small, medium, large = 4 << 10, 64 << 10, 256 << 10 // bytes of one operation
)

// Load is one of the loads. It is the caller's.
type Load struct {
	Name        string
	Sessions    int  // of which each has the whole span
	Overwritten bool // at random, since the span was written from end to end
	initiator.Load
}

// All are the loads, to which the caller adds how long they take.
func All() []Load {
	all := []Load{
		{"RandomRead4K/QD1", 1, false, initiator.Load{QueueDepth: 1, ReadPercent: 100}},
		{"RandomRead4K/QD32", 1, false, initiator.Load{QueueDepth: 32, ReadPercent: 100}},
		{"RandomRead4K/QD8x8", 8, false, initiator.Load{QueueDepth: 8, ReadPercent: 100}},
		{"RandomWrite4K/QD1", 1, false, initiator.Load{QueueDepth: 1}},
		{"RandomWrite4K/QD32", 1, false, initiator.Load{QueueDepth: 32}},
		{"RandomWrite4K/QD8x8", 8, false, initiator.Load{QueueDepth: 8}},
		{"Mixed4K/QD32", 1, false, initiator.Load{QueueDepth: 32, ReadPercent: 70}},
		{"WriteFlush4K/QD1", 1, false, initiator.Load{QueueDepth: 1, FlushEvery: 1}},
		{"Write32Flush4K/QD32", 1, false, initiator.Load{QueueDepth: 32, FlushEvery: 32}},
		{"WriteFUA4K/QD32", 1, false, initiator.Load{QueueDepth: 32, FUA: true}},
		{"SequentialRead64K/QD8", 1, false, sequential(medium, 100)},
		{"SequentialRead256K/QD8", 1, false, sequential(large, 100)},
		{"SequentialRead64KOverwritten/QD8", 1, true, sequential(medium, 100)},
		{"SequentialRead256KOverwritten/QD8", 1, true, sequential(large, 100)},
		{"SequentialWrite64K/QD8", 1, false, sequential(medium, 0)},
		{"SequentialWrite256K/QD8", 1, false, sequential(large, 0)},
	}
	for i := range all {
		all[i].Span, all[i].Seed = Span, 1
	}
	return all
}

func sequential(blockSize, readPercent int) initiator.Load {
	return initiator.Load{QueueDepth: 8, BlockSize: blockSize, ReadPercent: readPercent, Pattern: initiator.Sequential}
}

// Fill writes the span from end to end.
func Fill(ctx context.Context, u *initiator.Unit) error {
	l := sequential(large, 0)
	l.Span, l.Count = Span, Span/large
	_, err := l.Run(ctx, u)
	return err
}

// Overwrite writes to the span at random, as often as it has blocks.
func Overwrite(ctx context.Context, u *initiator.Unit) error {
	_, err := (&initiator.Load{QueueDepth: 32, Span: Span, Count: Span / small, Seed: 2}).Run(ctx, u)
	return err
}
