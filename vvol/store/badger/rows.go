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
// Badger yet. They are set in their order by whoever finishes one of them or a later one.
type rowQueue struct {
	last uint64 // number of the last group; changed by who leads the committer

	mu  sync.Mutex
	all []rowGroup
	set uint64 // number of the last group that is in Badger
	err error  // of the journal or Badger; final
}

// isSet tells whether a group is in Badger.
func (q *rowQueue) isSet(number uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return number <= q.set
}

type rowGroup struct {
	rowChange
	group
}

// rowChange is a change of rows and what goes with it. Both functions may be nil, and are
// called with the index held for writing.
type rowChange struct {
	rows    []journal.Row
	zeros   *index.Change       // whose zeros are in the group, or nil
	append  func()              // when it is in the journal
	install func(before uint64) // when it is in Badger; before is the page behind the group
}

// appendRows puts a change into the journal. finish has to be called with the number that
// it returns. The caller has waited for room of maxRowPages. Committer only.
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
	if length > maxRows {
		return 0, fmt.Errorf("%w: %d bytes of rows", store.ErrTooBig, length)
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
	q := &e.rows
	q.last++
	g := group{Group: found, layers: b.layers, number: q.last}
	q.mu.Lock()
	q.all = append(q.all, rowGroup{c, g})
	q.mu.Unlock()
	e.index.Lock()
	defer e.index.Unlock()
	e.pending.push(g)
	if c.append != nil {
		c.append()
	}
	return q.last, nil
}

// finish puts rows that were appended, up to those of a group, on stable storage in the
// journal first and then into Badger, which so never holds one that a power cut takes
// from the journal.
func (e *Engine) finish(number uint64) error {
	q := &e.rows
	if q.isSet(number) {
		return nil
	}
	err := e.journal.Flush()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
	}
	for q.err == nil && q.set < number {
		if q.err = e.setRows(&q.all[0]); q.err == nil {
			q.set = q.all[0].number
			q.all[0] = rowGroup{}
			q.all = q.all[1:]
		}
	}
	if number <= q.set {
		return nil
	}
	return q.err
}

func (e *Engine) setRows(g *rowGroup) error {
	if e.begin(valuesAhead) == nil { // else appendRows had
		defer e.files.End()
	}
	if err := e.transact(func(tx *bdb.Txn) error { return setRows(tx, g.rows) }); err != nil {
		return e.journal.Fail(err) // the journal says otherwise: only a restart makes them agree
	}
	e.index.Lock()
	defer e.index.Unlock()
	if g.install != nil {
		g.install(g.End)
	}
	e.apply(&g.group)
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
