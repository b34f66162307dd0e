package places

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	bdb "github.com/dgraph-io/badger/v4"

	"vvsim/vvol/store"
	"vvsim/vvol/store/badger/index"
	"vvsim/vvol/store/badger/prefetch"
	"vvsim/vvol/store/badger/values"
)

// Place is where a record lies, and what its blocks have to be.
type Place struct {
	item     *bdb.Item
	sums     []uint32
	value    atomic.Uintptr // where it was in memory when it was last read
	verified atomic.Uint64  // by index: compared with its sum since the place is remembered
}

// Locate looks a record up by the keys of its entry and of itself. Errors: those of Badger,
// index.ErrCorrupt.
func Locate(tx *bdb.Txn, entry, record []byte) (*Place, error) {
	t, err := Entry(tx, entry)
	if err != nil {
		return nil, err
	}
	item, err := tx.Get(record)
	if err != nil {
		return nil, err
	}
	return &Place{item: item, sums: t.Sums}, nil
}

// Entry reads the entry of a record.
func Entry(tx *bdb.Txn, key []byte) (t index.Entry, err error) {
	item, err := tx.Get(key)
	if err != nil {
		return t, err
	}
	err = values.Value(item, func(b []byte) (err error) { t, err = index.DecodeEntry(b); return err })
	return t, err
}

// Append appends blocks of a record with an entry to p, all or none, and verifies each. Errors:
// those of Badger, index.ErrShort, index.ErrCorrupt.
func Append(p []byte, item *bdb.Item, t *index.Entry, blocks []index.Move) ([]byte, error) {
	all := p
	err := values.Value(item, func(value []byte) error {
		for _, m := range blocks {
			start, at := len(all), m.From.Index()
			all = slices.Grow(all, index.BlockSize)[:start+index.BlockSize]
			if err := index.CopyBlock(all[start:], value, at); err != nil {
				return err
			}
			if err := index.VerifyBlock(all[start:], m.Block, t.Sums, at); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return p, err
	}
	return all, nil
}

// Expect brings what CopyBlocks is going to touch into the processor's caches: the pages
// of value logs are cold, and to wait for header and block one after the other took as
// long as to copy the block. Where the value was last read is good enough: that nobody
// reads from there is Badger's business, and what is no memory any more does no harm.
func (at *Place) Expect(locs []index.Location) {
	value := at.value.Load()
	prefetch.Lines(value-prefetch.Line, prefetch.Line) // of Badger's header, in front of the key
	expect(value, locs[0])
}

// expect does so for one block of the value.
func expect(value uintptr, loc index.Location) {
	prefetch.Lines(value+uintptr(loc.Index()*index.BlockSize), index.BlockSize)
}

// CopyBlocks copies blocks of the record, which are those from first on. The first copy of
// each is verified. The next block is asked for while one is copied: by itself the processor sees
// what comes next within a page only.
func (at *Place) CopyBlocks(first uint64, locs []index.Location, p []byte) error {
	bad := func(block uint64, err error) error {
		return &store.MediumError{Offset: block * index.BlockSize, Err: fmt.Errorf("record %d: %w", locs[0].Record(), err)}
	}
	err := values.Value(at.item, func(value []byte) error {
		where := uintptr(unsafe.Pointer(unsafe.SliceData(value)))
		if at.value.Load() != where {
			at.value.Store(where)
		}
		for k, loc := range locs {
			if k+1 < len(locs) {
				expect(where, locs[k+1])
			}
			i, block := loc.Index(), first+uint64(k)
			part := p[k*index.BlockSize : (k+1)*index.BlockSize]
			err := index.CopyBlock(part, value, i)
			if mark := uint64(1) << i; err == nil && at.verified.Load()&mark == 0 {
				if err = index.VerifyBlock(part, block, at.sums, i); err == nil {
					at.verified.Or(mark)
				}
			}
			if err != nil {
				return bad(block, err)
			}
		}
		return nil
	})
	if errors.Is(err, values.ErrDamaged) {
		return bad(first, err)
	}
	return err
}

// Places remembers records, so that a block of one that was read before costs no
// look-up in the tree. A record never changes, and its
// id is never given again; when Badger moves its value or deletes it, the item reads as
// empty, which its reader takes for a reason to look it up again.
//
// An item outlives the transaction that it was read in, which Badger does not promise:
// TestPlaces notices a version in which that does not hold.
//
// All are forgotten after a while, so that what the kernel drops from its cache and reads
// from the disk anew does not stay unverified.
type Places struct {
	shards  [placeShards]placeShard
	expired time.Time // Expire only
}

type placeShard struct {
	mu  sync.RWMutex
	all map[uint64]*Place
}

const (
	placeShards = 64
	placeAge    = time.Minute // a block is returned unverified for as long after it was verified
	maxPlaces   = 1 << 16     // about 300 bytes each, and 4 for a block; 16 GiB of full records
)

func (p *Places) shard(id uint64) *placeShard { return &p.shards[id%placeShards] }

// Get returns the place of a record, or nil.
func (p *Places) Get(id uint64) *Place {
	s := p.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.all[id]
}

// Put remembers a place whose value has been read once, which makes it safe to be read
// by many at once. A shard that is full forgets what it has.
func (p *Places) Put(id uint64, at *Place) {
	s := p.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil || len(s.all) >= maxPlaces/placeShards {
		s.all = map[uint64]*Place{}
	}
	s.all[id] = at
}

// Forget drops the place of a record.
func (p *Places) Forget(id uint64) {
	s := p.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, id)
}

// Expire forgets all places when the oldest may be older than placeAge. For one goroutine.
func (p *Places) Expire(now time.Time) {
	if now.Sub(p.expired) < placeAge {
		return
	}
	p.expired = now
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		s.all = nil
		s.mu.Unlock()
	}
}
