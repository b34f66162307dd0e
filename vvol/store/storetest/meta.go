package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
)

// shelf is a part of the key space that one subtest has to itself.
type shelf struct {
	*fixture
	prefix string
}

func (f *fixture) shelf() shelf { return shelf{f, "storetest/" + newID().String() + "/"} }

func (s shelf) key(name string) []byte { return []byte(s.prefix + name) }

// set writes pairs of name and value in one transaction.
func (s shelf) set(pairs ...string) {
	s.Helper()
	s.ok(s.e.Meta().Update(s.ctx, func(tx store.MetaTx) error {
		for i := 0; i+1 < len(pairs); i += 2 {
			if err := tx.Set(s.key(pairs[i]), []byte(pairs[i+1])); err != nil {
				return err
			}
		}
		return nil
	}))
}

// listed is the content of the shelf as "name=value".
func (s shelf) listed() (all []string) {
	s.Helper()
	s.ok(s.e.Meta().View(s.ctx, func(tx store.MetaTx) error {
		all = scan(tx, s.prefix)
		return nil
	}))
	return all
}

// scan lists what has prefix as "name=value", without the prefix.
func scan(tx store.MetaTx, prefix string) (all []string) {
	for k, v := range tx.Scan([]byte(prefix)) {
		all = append(all, string(bytes.TrimPrefix(k, []byte(prefix)))+"="+string(v))
	}
	return all
}

var errRollback = errors.New("rolled back")

func metas() []sentence {
	return slices.Concat(metaRows(), metaLimits(), metaIsolation())
}

func metaRows() []sentence {
	return []sentence{
		{"what an Update set is there, and nothing else", func(f *fixture) {
			s := f.shelf()
			s.set("a", "1", "b", "2")
			f.ok(f.e.Meta().View(f.ctx, func(tx store.MetaTx) error {
				v, err := tx.Get(s.key("a"))
				f.ok(err)
				require.Equal(f.T, "1", string(v))
				_, err = tx.Get(s.key("c"))
				f.fails(err, store.ErrNotFound)
				return nil
			}))
			s.set("a", "3")
			require.Equal(f.T, []string{"a=3", "b=2"}, s.listed())
		}},
		{"an Update whose f fails changes nothing and returns f's error", func(f *fixture) {
			s := f.shelf()
			s.set("a", "1")
			err := f.e.Meta().Update(f.ctx, func(tx store.MetaTx) error {
				f.ok(tx.Set(s.key("a"), []byte("2")))
				f.ok(tx.Set(s.key("b"), []byte("2")))
				f.ok(tx.Delete(s.key("a")))
				return errRollback
			})
			f.fails(err, errRollback)
			require.Equal(f.T, []string{"a=1"}, s.listed())
			f.fails(f.e.Meta().View(f.ctx, func(store.MetaTx) error { return errRollback }), errRollback)
		}},
		{"changes show in later reads of the same transaction", func(f *fixture) {
			s := f.shelf()
			s.set("a", "1", "c", "3", "d", "4")
			f.ok(f.e.Meta().Update(f.ctx, func(tx store.MetaTx) error {
				f.ok(tx.Set(s.key("b"), []byte("2")))
				f.ok(tx.Set(s.key("c"), []byte("33")))
				f.ok(tx.Delete(s.key("d")))
				v, err := tx.Get(s.key("c"))
				f.ok(err)
				require.Equal(f.T, "33", string(v))
				_, err = tx.Get(s.key("d"))
				f.fails(err, store.ErrNotFound)
				require.Equal(f.T, []string{"a=1", "b=2", "c=33"}, scan(tx, s.prefix))
				f.ok(tx.Set(s.key("d"), []byte("5")))
				f.ok(tx.Delete(s.key("b")))
				require.Equal(f.T, []string{"a=1", "c=33", "d=5"}, scan(tx, s.prefix))
				return nil
			}))
			require.Equal(f.T, []string{"a=1", "c=33", "d=5"}, s.listed())
		}},
		{"Delete of what is not there succeeds", func(f *fixture) {
			s := f.shelf()
			f.ok(f.e.Meta().Update(f.ctx, func(tx store.MetaTx) error { return tx.Delete(s.key("a")) }))
			require.Empty(f.T, s.listed())
		}},
		{"Scan yields the keys with the prefix in order of bytes", func(f *fixture) {
			s := f.shelf()
			names := []string{"\x00", "a", "a\x00", "a\x00\xff", "aa", "ab", "b", "\x7f", "\x80", "\xff", "\xff\xff", "\xff\xff\x00"}
			pairs := []string{}
			for i, n := range slices.Backward(names) {
				pairs = append(pairs, n, fmt.Sprint(i))
			}
			s.set(pairs...)
			for _, prefix := range []string{"", "a", "a\x00", "aa", "\xff", "\xff\xff", "x"} {
				var want []string
				for i, n := range names {
					if rest, ok := bytes.CutPrefix([]byte(n), []byte(prefix)); ok {
						want = append(want, string(rest)+"="+fmt.Sprint(i))
					}
				}
				slices.Sort(want)
				f.ok(f.e.Meta().View(f.ctx, func(tx store.MetaTx) error {
					got := scan(tx, s.prefix+prefix)
					keys := slices.Clone(got)
					slices.Sort(keys)
					require.Equal(f.T, want, keys, "%q", prefix)
					require.True(f.T, slices.IsSortedFunc(got, func(a, b string) int {
						return bytes.Compare([]byte(a[:bytes.LastIndexByte([]byte(a), '=')]), []byte(b[:bytes.LastIndexByte([]byte(b), '=')]))
					}), "%q: %q", prefix, got)
					return nil
				}))
			}
		}},
		{"Scan may be left early, and Get works during it", func(f *fixture) {
			s := f.shelf()
			s.set("a", "1", "b", "2", "c", "3")
			look := func(tx store.MetaTx) error {
				n := 0
				for k, v := range tx.Scan([]byte(s.prefix)) {
					w, err := tx.Get(k)
					f.ok(err)
					require.Equal(f.T, string(v), string(w))
					if n++; n == 2 {
						break
					}
				}
				require.Equal(f.T, 2, n)
				require.Len(f.T, scan(tx, s.prefix), 3)
				return nil
			}
			f.ok(f.e.Meta().View(f.ctx, look))
			f.ok(f.e.Meta().Update(f.ctx, look))
		}},
		{"values of Get are valid until the transaction ends", func(f *fixture) {
			s := f.shelf()
			s.set("a", "first", "b", "second")
			f.ok(f.e.Meta().Update(f.ctx, func(tx store.MetaTx) error {
				a, err := tx.Get(s.key("a"))
				f.ok(err)
				_, err = tx.Get(s.key("b"))
				f.ok(err)
				f.ok(tx.Set(s.key("a"), []byte("other")))
				_ = scan(tx, s.prefix)
				require.Equal(f.T, "first", string(a))
				return nil
			}))
		}},
		{"an empty value is a value", func(f *fixture) {
			s := f.shelf()
			s.set("a", "")
			require.Equal(f.T, []string{"a="}, s.listed())
		}},
		{"slices may be used again after the transaction", func(f *fixture) {
			s := f.shelf()
			key, value := s.key("a"), []byte("1")
			f.ok(f.e.Meta().Update(f.ctx, func(tx store.MetaTx) error { return tx.Set(key, value) }))
			key[len(key)-1], value[0] = 'z', '9'
			require.Equal(f.T, []string{"a=1"}, s.listed())
		}},
	}
}

func metaLimits() []sentence {
	return []sentence{
		{"keys and values of the largest size work, larger ones are ErrInvalid", func(f *fixture) {
			s := f.shelf()
			key := append(s.key(""), bytes.Repeat([]byte("k"), store.MaxMetaKey-len(s.prefix))...)
			value := bytes.Repeat([]byte("v"), store.MaxMetaValue)
			f.ok(f.e.Meta().Update(f.ctx, func(tx store.MetaTx) error { return tx.Set(key, value) }))
			f.ok(f.e.Meta().Update(f.ctx, func(tx store.MetaTx) error {
				got, err := tx.Get(key)
				f.ok(err)
				require.True(f.T, bytes.Equal(value, got))
				f.fails(tx.Set(append(key, 'k'), nil), store.ErrInvalid)
				f.fails(tx.Set(s.key("a"), append(value, 'v')), store.ErrInvalid)
				f.fails(tx.Set(nil, value), store.ErrInvalid)
				f.fails(tx.Delete(append(key, 'k')), store.ErrInvalid)
				f.fails(tx.Delete(nil), store.ErrInvalid)
				return nil
			}))
			f.ok(f.e.Meta().Update(f.ctx, func(tx store.MetaTx) error { return tx.Delete(key) }))
			require.Empty(f.T, s.listed())
		}},
		{"Set and Delete in a View are ErrInvalid", func(f *fixture) {
			s := f.shelf()
			s.set("a", "1")
			f.ok(f.e.Meta().View(f.ctx, func(tx store.MetaTx) error {
				f.fails(tx.Set(s.key("b"), []byte("1")), store.ErrInvalid)
				f.fails(tx.Delete(s.key("a")), store.ErrInvalid)
				return nil
			}))
			require.Equal(f.T, []string{"a=1"}, s.listed())
		}},
		{"a cancelled Update has happened or not, as a whole", func(f *fixture) {
			s := f.shelf()
			ctx, cancel := context.WithCancel(f.ctx)
			cancel()
			err := f.e.Meta().Update(ctx, func(tx store.MetaTx) error { return tx.Set(s.key("a"), []byte("1")) })
			if err == nil {
				require.Equal(f.T, []string{"a=1"}, s.listed())
				return
			}
			f.fails(err, context.Canceled)
			require.Empty(f.T, s.listed())
		}},
	}
}

func metaIsolation() []sentence {
	return []sentence{
		{"updates that count lose nothing", func(f *fixture) {
			const each = 20
			s := f.shelf()
			f.together(func(int) error {
				for range each {
					if err := f.e.Meta().Update(f.ctx, func(tx store.MetaTx) error { return increment(tx, s.key("n")) }); err != nil {
						return err
					}
				}
				return nil
			})
			f.ok(f.e.Meta().View(f.ctx, func(tx store.MetaTx) error {
				v, err := tx.Get(s.key("n"))
				f.ok(err)
				require.Equal(f.T, uint64(concurrentCallers*each), binary.BigEndian.Uint64(v))
				return nil
			}))
		}},
		{"of two updates that each look at what the other sets, one sees the other", func(f *fixture) {
			s := f.shelf()
			for round := range 30 {
				names := []string{fmt.Sprint(round, "x"), fmt.Sprint(round, "y")}
				f.skew(s, names)
			}
		}},
		{"no update sees a row come into a range that another has looked at", func(f *fixture) {
			s := f.shelf()
			f.together(func(i int) error {
				return f.e.Meta().Update(f.ctx, func(tx store.MetaTx) error {
					// Each takes the number after the last: with phantoms two would be equal.
					n := len(scan(tx, s.prefix))
					return tx.Set(s.key(fmt.Sprintf("%03d", n)), []byte{byte('a' + i)})
				})
			})
			require.Len(f.T, s.listed(), concurrentCallers)
		}},
		{"a View is of one state", func(f *fixture) {
			s := f.shelf()
			s.set("a", "0", "b", "0")
			var all sync.WaitGroup
			var written, read error
			all.Go(func() {
				for i := range 100 {
					v := []byte(fmt.Sprint(i))
					written = errors.Join(written, f.e.Meta().Update(f.ctx, func(tx store.MetaTx) error {
						return errors.Join(tx.Set(s.key("a"), v), tx.Set(s.key("b"), v))
					}))
				}
			})
			all.Go(func() {
				for range 200 {
					read = errors.Join(read, f.e.Meta().View(f.ctx, func(tx store.MetaTx) error { return sameRows(tx, s) }))
				}
			})
			all.Wait()
			f.ok(written)
			f.ok(read)
		}},
	}
}

func sameRows(tx store.MetaTx, s shelf) error {
	a, err := tx.Get(s.key("a"))
	if err != nil {
		return err
	}
	b, err := tx.Get(s.key("b"))
	if err != nil {
		return err
	}
	if rows := scan(tx, s.prefix); !bytes.Equal(a, b) || rows[0] != "a="+string(a) || rows[1] != "b="+string(a) {
		return fmt.Errorf("a view of two states: %q, %q, then %q", a, b, rows)
	}
	return nil
}

// skew lets two updates each set one row if the other's is not there: with write
// skew both would be.
func (f *fixture) skew(s shelf, names []string) {
	f.Helper()
	errs := make([]error, 2)
	var all sync.WaitGroup
	for i := range names {
		all.Go(func() {
			errs[i] = f.e.Meta().Update(f.ctx, func(tx store.MetaTx) error {
				_, err := tx.Get(s.key(names[1-i]))
				if !errors.Is(err, store.ErrNotFound) {
					return err
				}
				return tx.Set(s.key(names[i]), []byte("1"))
			})
		})
	}
	all.Wait()
	f.ok(errors.Join(errs...))
	n := 0
	f.ok(f.e.Meta().View(f.ctx, func(tx store.MetaTx) error {
		for _, name := range names {
			if _, err := tx.Get(s.key(name)); err == nil {
				n++
			}
		}
		return nil
	}))
	require.Equal(f.T, 1, n, "both updates missed each other")
}

func increment(tx store.MetaTx, key []byte) error {
	v, err := tx.Get(key)
	if errors.Is(err, store.ErrNotFound) {
		v, err = make([]byte, 8), nil
	}
	if err != nil {
		return err
	}
	return tx.Set(key, binary.BigEndian.AppendUint64(nil, binary.BigEndian.Uint64(v)+1))
}

// fullTransaction is more than a transaction has to take, in values of MaxMetaValue.
const fullTransaction = 64

// metaAlone needs an engine to itself.
func metaAlone() []sentence {
	return []sentence{
		{"an empty prefix lists everything", func(f *fixture) {
			f.create(4)
			f.ok(f.e.Meta().Update(f.ctx, func(tx store.MetaTx) error {
				return errors.Join(tx.Set([]byte{0}, nil), tx.Set([]byte("b"), nil), tx.Set([]byte{0xff, 0xff}, nil))
			}))
			f.ok(f.e.Meta().View(f.ctx, func(tx store.MetaTx) error {
				require.Equal(f.T, []string{"\x00=", "b=", "\xff\xff="}, scan(tx, ""))
				return nil
			}))
		}},
		{"a transaction that is full is ErrTooBig and changes nothing", func(f *fixture) {
			value := bytes.Repeat([]byte("v"), store.MaxMetaValue)
			err := f.e.Meta().Update(f.ctx, func(tx store.MetaTx) error {
				for i := range fullTransaction {
					if err := tx.Set([]byte{byte(i)}, value); err != nil {
						return err
					}
				}
				return nil
			})
			want := fullTransaction
			if err != nil {
				f.fails(err, store.ErrTooBig)
				want = 0
			}
			f.ok(f.e.Meta().View(f.ctx, func(tx store.MetaTx) error {
				require.Len(f.T, scan(tx, ""), want)
				return nil
			}))
			f.ok(f.e.Meta().Update(f.ctx, func(tx store.MetaTx) error { return tx.Set([]byte("k"), value) }))
		}},
		{"a thousand rows fit in one transaction", func(f *fixture) {
			f.ok(f.e.Meta().Update(f.ctx, func(tx store.MetaTx) error {
				for i := range 1000 {
					if err := tx.Set(fmt.Appendf(nil, "%04d", i), bytes.Repeat([]byte("v"), 500)); err != nil {
						return err
					}
				}
				return nil
			}))
			f.ok(f.e.Meta().View(f.ctx, func(tx store.MetaTx) error {
				require.Len(f.T, scan(tx, "0"), 1000)
				require.Len(f.T, scan(tx, "05"), 100)
				return nil
			}))
		}},
	}
}
