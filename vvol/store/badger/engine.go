package badger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	bdb "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"vvsim/vvol/store"
	"vvsim/vvol/store/badger/complaints"
	"vvsim/vvol/store/badger/files"
	"vvsim/vvol/store/badger/index"
	"vvsim/vvol/store/badger/inuse"
	"vvsim/vvol/store/badger/journal"
	"vvsim/vvol/store/badger/pace"
	"vvsim/vvol/store/badger/places"
	"vvsim/vvol/store/badger/rows"
	"vvsim/vvol/store/badger/values"
)

// Engine implements store.Engine on Badger.
type Engine struct {
	o           Options
	db          *bdb.DB
	log         *complaints.Log
	dir         string // Badger's directory
	lock        *os.File
	files       *files.Directory
	checkpoints *journal.Checkpoints // drainer only
	journal     *journal.Ring
	values      *values.Log
	collecting  sync.Mutex   // held while values are collected
	barren      pace.Barren  // guarded by collecting
	writing     sync.RWMutex // held for reading by transactions
	meta        *meta
	views       inuse.Views
	places      places.Places

	committer committer
	joined    sync.Pool // of *joined
	drainer   drainer
	stop      chan struct{} // closed to end the drainer and the value log's collection
	wait      sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
	closed    atomic.Bool
	use       sync.RWMutex // held for reading by reads, which Close waits for

	nextID atomic.Uint64 // of records, zero entries and layers
	counts counters

	// structure is held while layers get and lose children and volumes, by the
	// committer and by the drainer. Whoever holds it does not wait for room in the
	// journal, which the drainer makes.
	structure sync.Mutex

	rows    rows.Queue
	index   *index.Index
	pending pendingGroups // guarded by index
}

type counters struct {
	reads, readBytes, writes, writtenBytes, flushes atomic.Uint64
	moved, collected, rescued                       atomic.Uint64
	reclaimed                                       store.Meter
}

// Open opens or creates the engine in o.Dir, which belongs to it alone until
// Close. A directory that another process uses, or that is damaged, is an error
// which names it.
func Open(ctx context.Context, o Options) (_ *Engine, err error) {
	o.ensureDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	e := &Engine{o: o, dir: filepath.Join(o.Dir, "badger"), stop: make(chan struct{}), log: complaints.New(o.Warn)}
	e.joined.New = func() any { return &joined{from: newCaller()} }
	e.index = index.New(func() uint64 { return e.journal.Head() })
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return nil, err
	}
	if e.lock, err = files.Lock(o.Dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.releaseAll())
		}
	}()
	e.files = files.New(e.dir, o.ValueLogBytes, memTableBytes)
	if err := e.inspectFiles(); err != nil {
		return nil, err
	}
	db, err := values.Open(e.badgerOptions(), e.files)
	if err != nil {
		return nil, fmt.Errorf("badger: %s: %w", e.dir, err) // what Badger returns besides cannot be closed
	}
	e.db = db
	renew := func() { e.views.Renew(db) }
	e.values = values.New(db, e.files, values.Options{Fill: keyFill, Record: keyRecord, Entry: keyEntry, FileBytes: o.ValueLogBytes, TableBytes: memTableBytes,
		Threshold: valueThreshold, End: !o.LeaveLogs, Rewrites: &e.log.Rewrites, Locks: &e.log.Locks, Writing: &e.writing,
		Renew: renew, Moved: func() { renew(); e.meta.reads.Wait() }, Warn: e.o.Warn})
	e.meta = &meta{e: e}
	renew()
	if err := e.recover(ctx); err != nil {
		return nil, fmt.Errorf("badger: %s: %w", o.Dir, err)
	}
	e.committer.init(e)
	e.wait.Go(e.drainer.run)
	e.wait.Go(e.collectValueLog)
	e.wait.Go(func() { e.journal.WriteOut(e.stop) })
	return e, nil
}

// inspectFiles looks at the directory before Badger does, which would delete or cut off what
// leads to damage.
func (e *Engine) inspectFiles() error {
	if err := errors.Join(e.files.CheckUsed(journal.CheckpointName(e.o.Dir)), e.files.Check()); err != nil {
		return fmt.Errorf("badger: %w", err)
	}
	if err := errors.Join(e.files.GiveUp(), e.files.RemoveUnborn()); err != nil {
		return err
	}
	if err := e.room(minFreeToOpen); err != nil {
		return err
	}
	return e.files.Seal()
}

// enter begins a read, which Close waits for; e.use.RUnlock ends it.
func (e *Engine) enter() error {
	e.use.RLock()
	if e.closed.Load() {
		e.use.RUnlock()
		return store.ErrUnavailable
	}
	return nil
}

func (e *Engine) badgerOptions() bdb.Options {
	return bdb.DefaultOptions(e.dir).
		WithLogger(e.log).
		WithChecksumVerificationMode(options.OnTableRead). // at open, and of what it wrote; iterators keep errors of blocks to themselves
		WithDetectConflicts(false).                        // Meta serialises its updates, volumes have the committer
		WithNumVersionsToKeep(1).
		WithMemTableSize(memTableBytes).
		WithBaseTableSize(tableBytes).
		WithNumMemtables(3).
		WithValueThreshold(valueThreshold). // records go to the value log, entries and rows stay in the tree
		WithValueLogFileSize(e.o.ValueLogBytes).
		WithBlockCacheSize(0). // blocks are slices of mapped tables, and the cache would charge each with the rest of its table
		WithIndexCacheSize(0). // all in memory: about 1 per cent of the tree
		WithCompression(options.None).
		WithNumCompactors(2).
		WithMetricsEnabled(false).
		WithBypassLockGuard(true) // our own lock says more
}

// Limits implements store.Engine.
func (e *Engine) Limits() store.Limits {
	return store.Limits{BlockSize: blockSize, MaxTransfer: maxTransfer, AtomicWrite: maxTransfer, MaxUnmap: maxUnmap,
		MaxSize: maxSize, MaxDepth: maxDepth, MaxSnapshot: maxSnapshot, Sync: e.o.Sync}
}

// Meta implements store.Engine.
func (e *Engine) Meta() store.Meta { return e.meta }

// Open implements store.Engine.
func (e *Engine) Open(_ context.Context, id store.ID) (store.Object, error) {
	if e.closed.Load() {
		return nil, store.ErrUnavailable
	}
	e.index.RLock()
	defer e.index.RUnlock()
	v, err := e.index.Lookup(id)
	if err != nil {
		return nil, err
	}
	return &object{e: e, v: v, uses: inuse.NewCalls()}, nil
}

// Stat implements store.Engine.
func (e *Engine) Stat(_ context.Context, id store.ID) (store.Info, error) {
	if e.closed.Load() {
		return store.Info{}, store.ErrUnavailable
	}
	e.index.RLock()
	defer e.index.RUnlock()
	v, err := e.index.Lookup(id)
	if err != nil {
		return store.Info{}, err
	}
	n := v.Stat()
	return store.Info{Size: v.Size, Allocated: n.Allocated * blockSize, Unshared: n.Unshared * blockSize, InPlace: n.InPlace * blockSize,
		ReadOnly: v.ReadOnly, Depth: v.Head.Depth(), Pool: v.Pool}, nil
}

// Volumes implements store.Engine.
func (e *Engine) Volumes(context.Context) ([]store.ID, error) {
	if e.closed.Load() {
		return nil, store.ErrUnavailable
	}
	e.index.RLock()
	defer e.index.RUnlock()
	all := make([]store.ID, 0, len(e.index.Volumes))
	for id := range e.index.Volumes {
		all = append(all, id)
	}
	return all, nil
}

// SetPoolLimit implements store.Engine.
func (e *Engine) SetPoolLimit(pool store.Pool, bytes uint64) {
	e.index.Lock()
	defer e.index.Unlock()
	e.index.Limits[pool] = bytes
}

// PoolUsage implements store.Engine.
func (e *Engine) PoolUsage(pool store.Pool) uint64 {
	e.index.RLock()
	defer e.index.RUnlock()
	return e.index.PoolUsage(pool)
}

// Metrics implements store.Engine.
func (e *Engine) Metrics() store.Metrics {
	c := &e.counts
	m := store.Metrics{Reads: c.reads.Load(), ReadBytes: c.readBytes.Load(), Writes: c.writes.Load(), WrittenBytes: c.writtenBytes.Load(),
		Flushes: c.flushes.Load(), Compactions: c.collected.Load(), Reclaimed: c.reclaimed.Load(), ReclaimRate: c.reclaimed.Rate()}
	tree, values := e.files.Sizes()
	m.Disk = tree + values
	e.index.RLock()
	defer e.index.RUnlock()
	n := e.index.Counts()
	m.Live = (n.Live + n.Dirty) * blockSize
	if values > m.Live {
		m.Garbage = values - m.Live
	}
	m.Pending = e.index.OrphanBlocks() * blockSize
	m.Dirty = e.journal.Used() * journal.PageSize
	m.Volumes, m.Layers = len(e.index.Volumes), len(e.index.Layers)
	m.Extra = map[string]float64{"records": float64(n.Records), "dead_records": float64(n.Dead),
		"journal_bytes": float64(e.journal.Pages() * journal.PageSize), "dirty_bytes": float64(n.Dirty * blockSize),
		"held_bytes": float64(n.Held * blockSize), "moved_bytes": float64(c.moved.Load() * blockSize),
		"rescued_values": float64(c.rescued.Load()),
		"tree_bytes":     float64(tree), "value_log_bytes": float64(values)}
	m.Holds, m.Held, m.LongestHold = uint64(e.committer.holds.Load()), time.Duration(e.committer.held.Load()), time.Duration(e.committer.longestHold.Load())
	return m
}

// Close implements store.Engine.
func (e *Engine) Close() error {
	e.closeOnce.Do(func() {
		e.closed.Store(true)
		e.committer.close()
		close(e.stop)
		e.drainer.report(nil) // those who wait for the collector see that it ends
		e.wait.Wait()
		e.use.Lock() // nobody reads any more
		defer e.use.Unlock()
		e.closeErr = errors.Join(e.drainer.finish(), e.journal.Flush(), e.releaseAll())
	})
	return e.closeErr
}

// releaseAll closes what is open.
func (e *Engine) releaseAll() error {
	var errs []error
	e.views.Close()
	if e.db != nil {
		errs = append(errs, e.files.GiveUp())
		err := e.room(minFreeToOpen)
		if err == nil {
			err = e.log.Close(e.db)
		} else {
			err = fmt.Errorf("%w: %w", complaints.ErrAbandoned, err)
		}
		if errors.Is(err, complaints.ErrAbandoned) {
			return err // which may still write: journal and lock stay until the process ends
		}
		errs = append(errs, err, e.files.MarkTables())
	}
	if e.journal != nil {
		errs = append(errs, e.journal.Close())
	}
	if e.checkpoints != nil {
		errs = append(errs, e.checkpoints.Close())
	}
	if e.lock != nil {
		errs = append(errs, e.lock.Close())
	}
	return errors.Join(errs...)
}

// newID numbers a record, a zero entry or a layer.
func (e *Engine) newID() uint64 { return e.nextID.Add(1) }

// write runs one Badger transaction for which there is room. Errors: ErrNoSpace.
func (e *Engine) write(f func(tx *bdb.Txn) error) error {
	if err := e.begin(valuesAhead); err != nil {
		return err
	}
	defer e.files.End()
	return e.transact(f)
}

// begin makes room for a transaction, of value logs so many bytes; files.End ends it.
func (e *Engine) begin(values int64) error { return translate(e.files.Begin(values)) }

// transact runs one Badger transaction; the caller has made room for it.
func (e *Engine) transact(f func(tx *bdb.Txn) error) error {
	e.writing.RLock()
	defer e.writing.RUnlock()
	tx := e.db.NewTransaction(true)
	defer tx.Discard()
	if err := f(tx); err != nil {
		return translate(err)
	}
	return translate(tx.Commit())
}

// translate turns Badger's errors into those of package store.
func translate(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bdb.ErrTxnTooBig):
		return fmt.Errorf("%w: %w", store.ErrTooBig, err)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w: %w", store.ErrNoSpace, err)
	case errors.Is(err, bdb.ErrDBClosed), errors.Is(err, bdb.ErrBlockedWrites):
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return err
}

var _ store.Engine = (*Engine)(nil)

// room tells whether the file system can take what may come before the next look,
// with so many bytes left. Badger writes through mapped files, where a full file
// system would end the process.
func (e *Engine) room(left uint64) error {
	free, err := files.Free(e.dir)
	if err == nil && free < left {
		err = fmt.Errorf("%w: less than %d MiB are left in the file system of %s", store.ErrNoSpace, left>>20, e.o.Dir)
	}
	return err
}
