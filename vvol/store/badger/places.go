package badger

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	bdb "github.com/dgraph-io/badger/v4"

	"vvsim/vvol/store"
	"vvsim/vvol/store/badger/index"
	"vvsim/vvol/store/badger/prefetch"
)

// place is where a record lies, and what its blocks have to be.
type place struct {
	item     *bdb.Item
	sums     []uint32
	value    atomic.Uintptr // where it was in memory when it was last read
	verified atomic.Uint64  // by index: compared with its sum since the place is remembered
}

// locate looks a record up.
func locate(tx *bdb.Txn, id uint64) (*place, error) {
	var t index.Entry
	if err := readEntry(tx, id, &t); err != nil {
		return nil, err
	}
	item, err := tx.Get(numberKey(keyRecord, id))
	if err != nil {
		return nil, err
	}
	return &place{item: item, sums: t.Sums}, nil
}

// expect brings what copyBlocks is going to touch into the processor's caches: the pages
// of value logs are cold, and to wait for header and block one after the other took as
// long as to copy the block. Where the value was last read is good enough: that nobody
// reads from there is Badger's business, and what is no memory any more does no harm.
func (at *place) expect(locs []index.Location) {
	value := at.value.Load()
	prefetch.Lines(value-prefetch.Line, prefetch.Line) // of Badger's header, in front of the key
	prefetch.Lines(value+uintptr(locs[0].Index()*blockSize), uintptr(min(len(locs)*blockSize, maxExpect)))
}

// maxExpect is how many bytes are worth asking for beforehand: in long copies the
// processor sees by itself what comes next.
const maxExpect = 2 * blockSize

// copyBlocks copies blocks of the record, which are those from first on. The first copy of
// each is verified.
func (at *place) copyBlocks(first uint64, locs []index.Location, p []byte) error {
	return at.item.Value(func(value []byte) error {
		if where := uintptr(unsafe.Pointer(unsafe.SliceData(value))); at.value.Load() != where {
			at.value.Store(where)
		}
		for k, loc := range locs {
			i, block := loc.Index(), first+uint64(k)
			part := p[k*blockSize : (k+1)*blockSize]
			err := index.CopyBlock(part, value, i)
			if mark := uint64(1) << i; err == nil && at.verified.Load()&mark == 0 {
				if err = index.VerifyBlock(part, block, at.sums, i); err == nil {
					at.verified.Or(mark)
				}
			}
			if err != nil {
				return &store.MediumError{Offset: block * blockSize, Err: fmt.Errorf("record %d: %w", loc.Record(), err)}
			}
		}
		return nil
	})
}

// places remembers records, so that a block of one that was read before costs no
// look-up in the tree. A record never changes, and its
// id is never given again; when Badger moves its value or deletes it, the item reads as
// empty, which its reader takes for a reason to look it up again.
//
// An item outlives the transaction that it was read in, which Badger does not promise:
// TestPlaces notices a version in which that does not hold.
//
// All are forgotten after a while, so that what the kernel drops from its cache and reads
// from the disk anew does not stay unverified.
type places struct {
	shards  [placeShards]placeShard
	expired time.Time // drainer only
}

type placeShard struct {
	mu  sync.RWMutex
	all map[uint64]*place
}

const (
	placeShards = 64
	placeAge    = time.Minute // a block is returned unverified for as long after it was verified
	maxPlaces   = 1 << 16     // about 300 bytes each, and 4 for a block; 16 GiB of full records
)

func (p *places) shard(id uint64) *placeShard { return &p.shards[id%placeShards] }

func (p *places) get(id uint64) *place {
	s := p.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.all[id]
}

// put remembers a place whose value has been read once, which makes it safe to be read
// by many at once. A shard that is full forgets what it has.
func (p *places) put(id uint64, at *place) {
	s := p.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil || len(s.all) >= maxPlaces/placeShards {
		s.all = map[uint64]*place{}
	}
	s.all[id] = at
}

func (p *places) forget(id uint64) {
	s := p.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, id)
}

// expire forgets all places when the oldest may be older than placeAge. Drainer only.
func (p *places) expire(now time.Time) {
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
