package badger

import (
	"encoding/binary"
	"fmt"

	bdb "github.com/dgraph-io/badger/v4"

	"vvsim/vvol/store"
	"vvsim/vvol/store/badger/index"
	"vvsim/vvol/store/badger/journal"
	"vvsim/vvol/store/badger/rows"
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
	heavy := rows.Weigh(c.rows)
	if length > maxRows || !heavy.Fits(e.db) {
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
	g := group{Group: found, layers: b.layers, number: e.rows.Push(rows.Group{End: found.End, Rows: c.rows, Bytes: int(length), Weight: heavy})}
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
	if e.rows.Crowded() {
		return e.finish(e.rows.Newest())
	}
	return e.journal.Flush()
}

// finish puts rows that were appended, up to those of a group, on stable storage in the
// journal first and then into Badger, which so never holds one that a power cut takes
// from the journal.
func (e *Engine) finish(number uint64) error {
	if e.rows.IsSet(number) {
		return nil
	}
	if err := e.journal.Flush(); err != nil {
		return err
	}
	return e.rows.Set(number, e.db, e.setRows)
}

func (e *Engine) setRows(groups []rows.Group) error {
	if e.begin(valuesAhead) == nil { // else appendRows had
		defer e.files.End()
	}
	err := e.transact(func(tx *bdb.Txn) error {
		for i := range groups {
			if err := rows.Write(tx, groups[i].Rows); err != nil {
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
	e.index.RowsSet = groups[len(groups)-1].End
	return nil
}
