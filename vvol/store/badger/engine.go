package badger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	bdb "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"vvsim/vvol/store"
)

// Engine implements store.Engine on Badger.
type Engine struct {
	o    Options
	db   *bdb.DB
	dir  string // Badger's directory
	lock *os.File
	sync *syncer
	meta *meta

	committer committer
	stop      chan struct{} // closed to end the collector
	wait      sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
	closed    atomic.Bool

	nextID atomic.Uint64 // of records, zero entries and layers
	counts counters

	maps    sync.RWMutex // guards all below and every layer and volume
	volumes map[store.ID]*volume
	layers  map[uint64]*layer
	records map[uint64]*record
	pools   map[store.Pool]uint64 // bytes held by layers
	limits  map[store.Pool]uint64
	dead    []uint64 // records to delete
	held    uint64   // blocks in all records
	live    uint64   // of these, blocks that a map leads to
}

type counters struct {
	reads, readBytes, writes, writtenBytes, flushes atomic.Uint64
	moved, collected, reclaimed                     atomic.Uint64
}

// Open opens or creates the engine in o.Dir, which belongs to it alone until
// Close. A directory that another process uses, or that is damaged, is an error
// which names it.
func Open(ctx context.Context, o Options) (_ *Engine, err error) {
	o.ensureDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	e := &Engine{o: o, dir: filepath.Join(o.Dir, "badger"), stop: make(chan struct{}), volumes: map[store.ID]*volume{},
		layers: map[uint64]*layer{}, records: map[uint64]*record{}, pools: map[store.Pool]uint64{}, limits: map[store.Pool]uint64{}}
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return nil, err
	}
	if err := e.acquire(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.releaseAll())
		}
	}()
	if e.db, err = bdb.Open(e.badgerOptions()); err != nil {
		return nil, fmt.Errorf("badger: %s: %w", e.dir, err)
	}
	e.sync = newSyncer(e.dir)
	e.meta = &meta{e: e}
	if err := e.rebuild(ctx); err != nil {
		return nil, fmt.Errorf("badger: %s: %w", e.dir, err)
	}
	e.committer.init(e)
	e.wait.Add(2)
	go func() { defer e.wait.Done(); e.committer.run() }()
	go func() { defer e.wait.Done(); e.collect() }()
	return e, nil
}

// acquire takes the directory's lock, which the kernel gives back when the
// process ends in any way.
func (e *Engine) acquire() error {
	name := filepath.Join(e.o.Dir, "lock")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errors.Join(fmt.Errorf("data directory %s is in use by another process", e.o.Dir), f.Close())
	}
	e.lock = f
	return nil
}

func (e *Engine) badgerOptions() bdb.Options {
	return bdb.DefaultOptions(e.dir).
		WithLogger(nil).
		WithDetectConflicts(false). // Meta serialises its updates, volumes have the committer
		WithNumVersionsToKeep(1).
		WithMemTableSize(e.o.JournalBytes).
		WithNumMemtables(3).
		WithValueThreshold(1 << 10). // records go to the value log, entries and rows stay in the tree
		WithValueLogFileSize(e.o.ValueLogBytes).
		WithBlockCacheSize(16 << 20).
		WithIndexCacheSize(16 << 20).
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
	e.maps.RLock()
	defer e.maps.RUnlock()
	v, err := e.lookup(id)
	if err != nil {
		return nil, err
	}
	return &object{e: e, v: v}, nil
}

// lookup is called with maps held.
func (e *Engine) lookup(id store.ID) (*volume, error) {
	v := e.volumes[id]
	if v == nil {
		return nil, fmt.Errorf("%w: %v", store.ErrNotFound, id)
	}
	return v, nil
}

// Stat implements store.Engine.
func (e *Engine) Stat(ctx context.Context, id store.ID) (store.Info, error) {
	e.maps.RLock()
	v, err := e.lookup(id)
	if err != nil {
		e.maps.RUnlock()
		return store.Info{}, err
	}
	i := store.Info{Size: v.size, InPlace: v.head.mapped * blockSize, ReadOnly: v.readOnly, Depth: v.head.depth(), Pool: v.pool}
	e.maps.RUnlock()
	for kind, sum := range map[store.RangeKind]*uint64{store.Allocated: &i.Allocated, store.Unshared: &i.Unshared} {
		err := e.walk(ctx, v, nil, kind, 0, func(r store.Range) bool {
			*sum += r.Length
			return true
		})
		if err != nil {
			return store.Info{}, err
		}
	}
	return i, nil
}

// Volumes implements store.Engine.
func (e *Engine) Volumes(context.Context) ([]store.ID, error) {
	if e.closed.Load() {
		return nil, store.ErrUnavailable
	}
	e.maps.RLock()
	defer e.maps.RUnlock()
	all := make([]store.ID, 0, len(e.volumes))
	for id := range e.volumes {
		all = append(all, id)
	}
	return all, nil
}

// SetPoolLimit implements store.Engine.
func (e *Engine) SetPoolLimit(pool store.Pool, bytes uint64) {
	e.maps.Lock()
	defer e.maps.Unlock()
	e.limits[pool] = bytes
}

// PoolUsage implements store.Engine.
func (e *Engine) PoolUsage(pool store.Pool) uint64 {
	e.maps.RLock()
	defer e.maps.RUnlock()
	return e.pools[pool]
}

// Metrics implements store.Engine.
func (e *Engine) Metrics() store.Metrics {
	c := &e.counts
	m := store.Metrics{Reads: c.reads.Load(), ReadBytes: c.readBytes.Load(), Writes: c.writes.Load(), WrittenBytes: c.writtenBytes.Load(),
		Flushes: c.flushes.Load(), Compactions: c.collected.Load(), Reclaimed: c.reclaimed.Load()}
	tree, values := e.files()
	m.Disk = tree + values
	e.maps.RLock()
	defer e.maps.RUnlock()
	m.Live = e.live * blockSize
	if values > m.Live {
		m.Garbage = values - m.Live
	}
	for _, l := range e.layers {
		if l.volume == nil && l.children == 0 {
			m.Pending += l.mapped * blockSize
		}
	}
	m.Volumes, m.Layers = len(e.volumes), len(e.layers)
	m.Extra = map[string]float64{"records": float64(len(e.records)), "dead_records": float64(len(e.dead)),
		"held_bytes": float64(e.held * blockSize), "moved_bytes": float64(c.moved.Load() * blockSize),
		"tree_bytes": float64(tree), "value_log_bytes": float64(values)}
	return m
}

// Close implements store.Engine.
func (e *Engine) Close() error {
	e.closeOnce.Do(func() {
		e.closed.Store(true)
		close(e.stop)
		e.committer.close()
		e.wait.Wait()
		e.meta.close()
		e.closeErr = errors.Join(e.sync.sync(), e.saveState(true), e.releaseAll())
	})
	return e.closeErr
}

// releaseAll closes what is open.
func (e *Engine) releaseAll() error {
	var errs []error
	if e.db != nil {
		errs = append(errs, e.db.Close())
	}
	if e.lock != nil {
		errs = append(errs, e.lock.Close())
	}
	return errors.Join(errs...)
}

// saveState writes the state row. clean says that nothing follows it.
func (e *Engine) saveState(clean bool) error {
	row := encodeRow(stateRow{Format: format, Synced: e.sync.durable(), Clean: clean, Boot: bootID()})
	return e.write(func(tx *bdb.Txn) error { return tx.Set([]byte{keyState}, row) })
}

// bootID names the running kernel; empty where it cannot be told, which makes
// every unclean end count as a power cut.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// write runs one Badger transaction.
func (e *Engine) write(f func(tx *bdb.Txn) error) error {
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
