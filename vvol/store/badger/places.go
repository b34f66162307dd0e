package badger

import (
	"sync"

	bdb "github.com/dgraph-io/badger/v4"
)

// places remembers where records lie, as Badger's items, so that a block of a record
// that was read before costs no look-up in the tree. A record never changes, and its
// id is never given again; when Badger moves its value or deletes it, the item reads as
// empty, which its reader takes for a reason to look it up again.
//
// An item outlives the transaction that it was read in, which Badger does not promise:
// TestPlaces notices a version in which that does not hold.
type places struct{ shards [placeShards]placeShard }

type placeShard struct {
	mu  sync.RWMutex
	all map[uint64]*bdb.Item
}

const (
	placeShards = 64
	maxPlaces   = 1 << 16 // about 300 bytes each; 16 GiB of full records
)

func (p *places) shard(id uint64) *placeShard { return &p.shards[id%placeShards] }

func (p *places) get(id uint64) *bdb.Item {
	s := p.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.all[id]
}

// put remembers an item whose value has been read once, which makes it safe to be read
// by many at once. A shard that is full forgets what it has.
func (p *places) put(id uint64, item *bdb.Item) {
	s := p.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil || len(s.all) >= maxPlaces/placeShards {
		s.all = map[uint64]*bdb.Item{}
	}
	s.all[id] = item
}

func (p *places) forget(id uint64) {
	s := p.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, id)
}
