package rows

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	bdb "github.com/dgraph-io/badger/v4"

	"vvsim/vvol/store/badger/index"
)

// Decode reads a row that is JSON.
func Decode(item *bdb.Item, to any) error {
	err := item.Value(func(b []byte) error { return json.Unmarshal(b, to) })
	if err != nil {
		return fmt.Errorf("row %q: %w", item.Key(), err)
	}
	return nil
}

// Scan calls f for every row of a kind, in order of key.
func Scan(tx *bdb.Txn, kind byte, f func(item *bdb.Item) error) error {
	o := bdb.DefaultIteratorOptions
	o.PrefetchValues, o.Prefix = false, []byte{kind}
	it := tx.NewIterator(o)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if err := f(it.Item()); err != nil {
			return err
		}
	}
	return nil
}

// Number is the number in the key of a row: a byte for its kind, and eight.
func Number(item *bdb.Item) (uint64, error) {
	k := item.Key()
	if len(k) != 9 {
		return 0, fmt.Errorf("%w: key %q", index.ErrCorrupt, k)
	}
	return binary.BigEndian.Uint64(k[1:]), nil
}
