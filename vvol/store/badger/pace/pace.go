package pace

import "time"

// shares from which files are rewritten while nothing comes in, one after the other, each
// when the one before gives nothing any more.
var shares = [...]float64{0.5, 0.35, 0.2}

const (
	// start is what value logs hold for each live byte from which on calm rounds collect.
	start = 1.15
	// step is what more there has to be for a calm round before its time.
	step = 0.05
	// mostRests bounds the rounds between two that give nothing back.
	mostRests = 63
)

// Calm paces collections while nothing comes in: the zero value and what Ended made of it.
// For one goroutine.
type Calm struct {
	share       int     // of shares that is next
	rest, rests int     // rounds to let pass, and how many there were last time
	least       float64 // crowding that was reached; 0 before the first round
	settled     bool    // of the round that has begun
}

// Begin begins a round, and tells from which dead share on files are to be collected; ok is
// false when none is. crowding is what value logs hold for each live byte; settled tells that no
// record waits to be deleted or cleaned: until then files die of themselves, and nothing is
// moved that is half alive.
func (c *Calm) Begin(crowding float64, settled bool) (from float64, ok bool) {
	if c.least == 0 || crowding > c.least+step { // as after a deletion
		*c = Calm{least: crowding}
	}
	c.least = min(c.least, crowding)
	if c.rest > 0 {
		c.rest--
		return 0, false
	}
	if c.settled = settled; !settled {
		c.share = 0
	}
	return shares[c.share], crowding > start
}

// Ended tells whether the round that Begin began has given anything back.
func (c *Calm) Ended(gave bool) {
	switch {
	case gave:
		c.rests = 0
	case !c.settled: // there will be more
	case c.share+1 < len(shares):
		c.share++
	default:
		// What is left is too much alive to be worth it, and a round is not free:
		// nothing but time, in which tables are merged, may change that.
		c.rests = min(2*c.rests+1, mostRests)
		c.rest = c.rests
	}
}

// Barren remembers collections that gave nothing back. For one goroutine at a time.
type Barren struct {
	is   bool
	from float64
	dead uint64
}

const (
	// deadPerTree is how much more has to be dead, for each byte of the tree, than at a
	// collection that gave nothing: each merges the tree.
	deadPerTree = 4
	// shareStep is by how much a share has to be less than one that gave nothing.
	shareStep = 0.1
)

// Is tells whether a collection from that share on is hardly worth its work. dead is what is
// known to be dead in value logs, tree the size of the tree, file that of a value log file, in
// bytes. Writers that wait for it are worth more.
func (b *Barren) Is(from float64, waits bool, dead, tree, file uint64) bool {
	more := deadPerTree * tree
	if waits {
		more = tree
	}
	return b.is && from > b.from-shareStep && dead < b.dead+max(file, more)
}

// Ended tells how a collection from that share on has ended, with what is still dead.
func (b *Barren) Ended(gave bool, from float64, dead uint64) {
	*b = Barren{is: !gave, from: from, dead: dead}
}

// Lull is what had been written and read at a tick. For one goroutine.
type Lull struct{ Head, Reads uint64 }

// lullReads is how many reads a second leave the processors to what can wait: long reads of
// few hosts do, those that keep a processor busy do not.
const lullReads = 5000

// Since tells whether nothing was written, and little was read, since the last tick. head is
// where the journal ends, reads how many there were, every the time between ticks.
func (l *Lull) Since(head, reads uint64, every time.Duration) bool {
	before := *l
	l.Head, l.Reads = head, reads
	return head == before.Head && reads-before.Reads < uint64(lullReads*every.Seconds())
}
