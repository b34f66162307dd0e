package values

import (
	"errors"

	bdb "github.com/dgraph-io/badger/v4"

	"vvsim/vvol/store/badger/files"
)

// Open opens the database in dir, and has its statistics count what is dead. Badger adds to them
// once, when merged tables show what is dead, in a file that it never syncs: what a power cut
// takes from it nothing would ever give back. So what the tree does not lead to in any
// version, and the statistics do not count, is added, if it comes to a file or more, and there
// is room to close the database for it. What they count too much does no harm: what lives in a
// file is moved before it goes.
func Open(o bdb.Options, dir *files.Directory) (*bdb.DB, error) {
	db, err := bdb.Open(o)
	if err != nil {
		return nil, err
	}
	missed, err := uncounted(db, dir)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	sum := int64(0)
	for _, n := range missed {
		sum += n
	}
	if sum < o.ValueLogFileSize {
		return db, nil
	}
	if free, err := files.Free(o.Dir); err != nil {
		return nil, errors.Join(err, db.Close())
	} else if free < roomToCount {
		return db, nil
	}
	if err := errors.Join(db.Close(), dir.Count(missed)); err != nil {
		return nil, err
	}
	return bdb.Open(o)
}

// roomToCount is how much has to be free for the database to be closed and opened again, in bytes.
const roomToCount = 256 << 20

// uncounted tells how much is dead in value logs, by number, that statistics do not count, and that
// no merge of tables will find. Not of the newest, whose end is not known.
func uncounted(db *bdb.DB, dir *files.Directory) (map[uint64]int64, error) {
	all, newest, err := dir.ValueLogs()
	if err != nil {
		return nil, err
	}
	delete(all, newest)
	for number := range all {
		all[number] -= files.LogHeader
	}
	err = each(db, true, func(_ *bdb.Item, at pointer) error {
		if _, ok := all[uint64(at.file)]; ok {
			all[uint64(at.file)] -= int64(at.length)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	// Afterwards: what a merge that ends meanwhile counts may be taken off twice, and is not missed.
	counted, err := dir.Discards()
	if err != nil {
		return nil, err
	}
	for _, d := range counted {
		if _, ok := all[d.File]; ok {
			all[d.File] -= d.Dead
		}
	}
	for number, n := range all {
		if n <= 0 {
			delete(all, number)
		}
	}
	return all, nil
}
