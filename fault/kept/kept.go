package kept

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"vvsim/vvol/store"
)

// prefix is where the rows are; they sort by id.
const prefix = "fault/r/"

// Rule is one that is kept.
type Rule struct {
	ID    uint64     `json:"id"`
	Text  string     `json:"rule"`
	Since *time.Time `json:"since,omitempty"` // of rules with a time that do not wait for others
}

func row(id uint64) []byte { return fmt.Appendf(nil, "%s%016x", prefix, id) }

// All returns those in m by id, or the error of m or of a row that can't be read.
func All(ctx context.Context, m store.Meta) (all []Rule, err error) {
	err = m.View(ctx, func(tx store.MetaTx) error {
		all = nil
		for _, b := range tx.Scan([]byte(prefix)) {
			var r Rule
			if err := json.Unmarshal(b, &r); err != nil {
				return err
			}
			all = append(all, r)
		}
		return nil
	})
	return all, err
}

// Put keeps all the rules or, with an error, none.
func Put(ctx context.Context, m store.Meta, rules ...Rule) error {
	return m.Update(ctx, func(tx store.MetaTx) error {
		for _, r := range rules {
			b, err := json.Marshal(r)
			if err == nil {
				err = tx.Set(row(r.ID), b)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Delete forgets all the rules of these ids or, with an error, none. Ids that are not there
// are passed over.
func Delete(ctx context.Context, m store.Meta, ids ...uint64) error {
	return m.Update(ctx, func(tx store.MetaTx) error {
		for _, id := range ids {
			if err := tx.Delete(row(id)); err != nil {
				return err
			}
		}
		return nil
	})
}
