package values

import (
	"sync"

	bdb "github.com/dgraph-io/badger/v4"

	"vvsim/vvol/store/badger/files"
)

// Log is the value log of one database. Collect is for one goroutine and Prepare for
// another.
type Log struct {
	db    *bdb.DB
	files *files.Directory
	o     Options

	fruitless int // how many of the last Collects gave nothing back; Collect only

	view *bdb.Txn      // of keep
	keep *bdb.Iterator // keeps the file that was rewritten, until what it held is on stable storage; Collect only

	synced bool   // what Collect surveyed is on stable storage; Collect only
	ended  uint32 // number of the file that was ended and not rewritten yet; 0: none. Collect only

	prepared uint64 // number of the file that Prepare has seen; Prepare only
	small    bool   // the kernel has no large pages for files; Prepare only
}

// Options tell what the database was opened with.
type Options struct {
	Fill       byte // first byte of the keys of filling
	Record     byte // first byte of the keys of records: each belongs to a row whose key begins with Entry and ends alike
	Entry      byte
	FileBytes  int64 // of a value log file
	TableBytes int64 // of a memory table
	Threshold  int   // bytes from which a value goes to the value log

	End bool // have Badger delete files without reading them: the checksum of their first entry is made wrong

	Rewrites *Rewrites            // hears Badger's Logger
	Locks    *Locks               // as well
	Writing  sync.Locker          // nobody else writes rows while it is held, less filling
	Renew    func()               // before tables are merged: lets go of old views, for which deletions are kept
	Moved    func()               // before a file goes of which nothing is wanted any more: returns when nobody reads in a view from before
	Warn     func(message string) // is told of damage
}

// New returns the Log of db, whose files lie in dir.
func New(db *bdb.DB, dir *files.Directory, o Options) *Log {
	o.Locks.db.Store(db)
	return &Log{db: db, files: dir, o: o}
}

// mark writes a row whose value goes to the value log.
func (l *Log) mark(key []byte) error {
	l.o.Writing.Lock()
	defer l.o.Writing.Unlock()
	return l.db.Update(func(tx *bdb.Txn) error { return tx.Set(key, make([]byte, l.o.Threshold)) })
}

// key names rows: 0 and 1 mark files for Prepare, the others are filling.
func (l *Log) key(n int) []byte { return []byte{l.o.Fill, byte(n >> 8), byte(n)} }
