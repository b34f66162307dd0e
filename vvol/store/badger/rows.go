package badger

import (
	"encoding/binary"
	"fmt"
	"sync"

	bdb "github.com/dgraph-io/badger/v4"

	"vvsim/vvol/store"
	"vvsim/vvol/store/badger/index"
	"vvsim/vvol/store/badger/journal"
)

// First bytes of keys; see the package comment.
const (
	keyRecord = 'r'
	keyEntry  = 'e'
	keyZeros  = 'z'
	keyLayer  = 'l'
	keyVolume = 'v'
	keyState  = 's'
	keyMeta   = 'm'
	keyFill   = 'f' // filling, see package values
)

func numberKey(kind byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kind}, n)
}

func volumeKey(id store.ID) []byte { return append([]byte{keyVolume}, id[:]...) }

// stateRow is the row of the state, JSON.
type stateRow struct {
	Format int `json:"format"`
}

// format of the directory. An engine refuses others.
const format = 4

// rowQueue holds the groups of rows that were appended to the journal and are not in
// Badger yet. The drainer sets them when it comes to them, or the collector before; who
// changes something waits for the journal alone, as Badger's one writer has large
// records before it.
type rowQueue struct {
	mu    sync.Mutex
	all   []rowGroup
	bytes int    // of all
	last  uint64 // number of the last group that was appended
	set   uint64 // number of the last group that is in Badger
	err   error  // of the journal or Badger; final

	setting sync.Mutex // held by who sets groups, which is done in their order
}

type rowGroup struct {
	number uint64
	end    uint64 // page of the journal behind the group
	rows   []journal.Row
	bytes  int // in the journal
	weight weight
}

// weight is what Badger counts of rows against the limits of a transaction.
type weight struct{ rows, bytes int64 }

func weigh(rows []journal.Row) (w weight) {
	const more = 12 // of a row: version and flags
	for _, r := range rows {
		w = w.and(weight{1, int64(len(r.Key)+more) + min(int64(len(r.Value)), valueThreshold)})
	}
	return w
}

func (w weight) and(o weight) weight { return weight{w.rows + o.rows, w.bytes + o.bytes} }

// fits leaves a row for Badger, which marks the end of a transaction with one.
func (w weight) fits(db *bdb.DB) bool {
	const end = 64
	return w.rows+1 < db.MaxBatchCount() && w.bytes+end < db.MaxBatchSize()
}

// Limits of groups that wait. Who appends one more sets all.
const (
	maxRowGroups   = 1024
	maxRowsWaiting = 8 << 20 // bytes
)

// push adds a group and returns its number.
func (q *rowQueue) push(g rowGroup) uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last++
	g.number = q.last
	q.all = append(q.all, g)
	q.bytes += g.bytes
	return g.number
}

// newest is the number of the last group.
func (q *rowQueue) newest() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.last
}

// isSet tells whether a group is in Badger.
func (q *rowQueue) isSet(number uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return number <= q.set
}

func (q *rowQueue) crowded() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.all) > maxRowGroups || q.bytes > maxRowsWaiting
}

// next returns the oldest groups up to a number, as many as one transaction sets.
func (q *rowQueue) next(number uint64, db *bdb.DB) ([]rowGroup, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var sum weight
	n := 0
	for n < len(q.all) && q.all[n].number <= number && sum.and(q.all[n].weight).fits(db) {
		sum = sum.and(q.all[n].weight)
		n++
	}
	return q.all[:n:n], q.err
}

// done takes groups that next returned away, or keeps them for ever.
func (q *rowQueue) done(groups []rowGroup, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err = err; err != nil {
		return
	}
	q.set = groups[len(groups)-1].number
	for i := range groups {
		q.bytes -= groups[i].bytes
	}
	clear(groups)
	if q.all = q.all[len(groups):]; len(q.all) == 0 {
		q.all = nil
	}
}

// rowChange is a change of rows and what goes with it.
type rowChange struct {
	rows    []journal.Row
	zeros   *index.Change    // whose zeros are in the group, or nil
	install func(end uint64) // nil, or what changes in memory once the journal has the group, which ends at that page; called with the index held for writing
}

// appendRows puts a change into the journal and then into memory. It is on stable
// storage after the next flush of the journal, which the caller waits for, and as
// everything that builds on it stands behind it in the journal, others need not wait.
// The caller has waited for room of maxRowPages. Committer only.
func (e *Engine) appendRows(c rowChange) (number uint64, err error) {
	if err := e.room(minFreeForRows); err != nil {
		return 0, err
	}
	if err := e.begin(valuesAhead); err != nil {
		return 0, err
	}
	e.files.End() // what was allocated waits for setRows
	blob := journal.EncodeRows(c.rows)
	length := uint64(len(blob))
	heavy := weigh(c.rows)
	if length > maxRows || !heavy.fits(e.db) {
		return 0, fmt.Errorf("%w: %d rows of %d bytes", store.ErrTooBig, len(c.rows), length)
	}
	blob = append(blob, make([]byte, -length%journal.PageSize)...)
	if j := e.journal; j.Used()+j.Needs(uint64(len(blob))/journal.PageSize+1) > j.Pages() {
		return 0, fmt.Errorf("%w: the journal is full, and the file system", store.ErrNoSpace)
	}
	b := &e.committer.batch
	defer b.reset()
	b.add(nil, journal.Run{Kind: journal.Rows, First: length, Count: uint32(uint64(len(blob)) / journal.PageSize)})
	if p := c.zeros; p != nil && p.Zero.First < p.Zero.Last {
		e.committer.stageZero(p.Heads[0].Layer, p.Zero.First, p.Zero.Last)
	}
	found, err := e.journal.Append(b.runs, [][]byte{blob})
	if err != nil {
		return 0, err
	}
	g := group{Group: found, layers: b.layers, number: e.rows.push(rowGroup{end: found.End, rows: c.rows, bytes: int(length), weight: heavy})}
	e.index.Lock()
	defer e.index.Unlock()
	e.pending.push(g)
	if c.install != nil {
		c.install(g.End)
	}
	e.apply(&g)
	return g.number, nil
}

// settle returns when what was appended so far is on stable storage in the journal.
func (e *Engine) settle() error {
	if e.rows.crowded() {
		return e.finish(e.rows.newest())
	}
	return e.journal.Flush()
}

// finish puts rows that were appended, up to those of a group, on stable storage in the
// journal first and then into Badger, which so never holds one that a power cut takes
// from the journal.
func (e *Engine) finish(number uint64) error {
	q := &e.rows
	if q.isSet(number) {
		return nil
	}
	if err := e.journal.Flush(); err != nil {
		return err
	}
	q.setting.Lock()
	defer q.setting.Unlock()
	for {
		groups, err := q.next(number, e.db)
		if len(groups) == 0 || err != nil {
			return err
		}
		err = e.setRows(groups)
		q.done(groups, err)
		if err != nil {
			return err
		}
	}
}

func (e *Engine) setRows(groups []rowGroup) error {
	if e.begin(valuesAhead) == nil { // else appendRows had
		defer e.files.End()
	}
	err := e.transact(func(tx *bdb.Txn) error {
		for i := range groups {
			if err := setRows(tx, groups[i].rows); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return e.journal.Fail(err) // the journal says otherwise: only a restart makes them agree
	}
	e.index.Lock()
	defer e.index.Unlock()
	e.index.RowsSet = groups[len(groups)-1].end
	return nil
}

func setRows(tx *bdb.Txn, rows []journal.Row) error {
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
