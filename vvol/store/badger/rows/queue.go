package rows

import (
	"sync"

	bdb "github.com/dgraph-io/badger/v4"

	"vvsim/vvol/store/badger/journal"
)

// Threshold is the length from which Badger puts values into the value log, in bytes.
const Threshold = 4096

// Queue holds the groups of rows that were appended to the journal and are not in
// Badger yet. The drainer sets them when it comes to them, or the collector before; who
// changes something waits for the journal alone, as Badger's one writer has large
// records before it.
type Queue struct {
	mu    sync.Mutex
	all   []Group
	bytes int    // of all
	last  uint64 // number of the last group that was appended
	set   uint64 // number of the last group that is in Badger
	err   error  // of the journal or Badger; final

	setting sync.Mutex // held by who sets groups, which is done in their order
}

// Group is a group of rows.
type Group struct {
	End    uint64 // page of the journal behind the group
	Rows   []journal.Row
	Bytes  int // in the journal
	Weight Weight

	number uint64
}

// Weight is what Badger counts of rows against the limits of a transaction.
type Weight struct{ rows, bytes int64 }

// Weigh adds rows up.
func Weigh(rows []journal.Row) (w Weight) {
	const more = 12 // of a row: version and flags
	for _, r := range rows {
		w = w.and(Weight{1, int64(len(r.Key)+more) + min(int64(len(r.Value)), Threshold)})
	}
	return w
}

func (w Weight) and(o Weight) Weight { return Weight{w.rows + o.rows, w.bytes + o.bytes} }

// Fits tells whether one transaction takes them. It leaves a row for Badger, which marks the end of a transaction with one.
func (w Weight) Fits(db *bdb.DB) bool {
	const end = 64
	return w.rows+1 < db.MaxBatchCount() && w.bytes+end < db.MaxBatchSize()
}

// Limits of groups that wait. Who appends one more sets all.
const (
	MaxGroups = 1024
	maxBytes  = 8 << 20 // bytes
)

// Push adds a group and returns its number.
func (q *Queue) Push(g Group) uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last++
	g.number = q.last
	q.all = append(q.all, g)
	q.bytes += g.Bytes
	return g.number
}

// Newest is the number of the last group.
func (q *Queue) Newest() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.last
}

// IsSet tells whether a group is in Badger.
func (q *Queue) IsSet(number uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return number <= q.set
}

// Crowded tells whether more wait than may.
func (q *Queue) Crowded() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.all) > MaxGroups || q.bytes > maxBytes
}

// next returns the oldest groups up to a number, as many as one transaction sets.
func (q *Queue) next(number uint64, db *bdb.DB) ([]Group, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var sum Weight
	n := 0
	for n < len(q.all) && q.all[n].number <= number && sum.and(q.all[n].Weight).Fits(db) {
		sum = sum.and(q.all[n].Weight)
		n++
	}
	return q.all[:n:n], q.err
}

// done takes groups that next returned away, or keeps them for ever.
func (q *Queue) done(groups []Group, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err = err; err != nil {
		return
	}
	q.set = groups[len(groups)-1].number
	for i := range groups {
		q.bytes -= groups[i].Bytes
	}
	clear(groups)
	if q.all = q.all[len(groups):]; len(q.all) == 0 {
		q.all = nil
	}
}

// Set has set put the groups up to a number into Badger, as many at once as one
// transaction takes, in their order. An error is final.
func (q *Queue) Set(number uint64, db *bdb.DB, set func([]Group) error) error {
	q.setting.Lock()
	defer q.setting.Unlock()
	for {
		groups, err := q.next(number, db)
		if len(groups) == 0 || err != nil {
			return err
		}
		err = set(groups)
		q.done(groups, err)
		if err != nil {
			return err
		}
	}
}

// Write sets and deletes rows in a transaction.
func Write(tx *bdb.Txn, rows []journal.Row) error {
	for _, r := range rows {
		if r.Value == nil {
			if err := tx.Delete(r.Key); err != nil {
				return err
			}
			continue
		}
		if err := tx.Set(r.Key, r.Value); err != nil {
			return err
		}
	}
	return nil
}
