package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
)

func concurrent() []sentence {
	return append(blockSentences(), instants()...)
}

func blockSentences() []sentence {
	return []sentence{
		{"a read sees each block wholly before or after a write", func(f *fixture) {
			const rounds, blocks = 150, 4
			o := f.create(blocks)
			for i := range uint64(blocks) {
				f.write(o, i*f.bs, bytes.Repeat([]byte{1}, int(f.bs)))
			}
			f.together(func(w int) error {
				p := make([]byte, blocks*f.bs)
				for i := range rounds {
					if w%2 == 0 { // writers: from one to all blocks
						first := i % blocks
						q := p[:uint64(blocks-first)*f.bs]
						for k := range q {
							q[k] = byte(w*31 + i + 1)
						}
						if err := o.WriteAt(f.ctx, q, uint64(first)*f.bs, store.WriteOptions{}); err != nil {
							return err
						}
						continue
					}
					if err := o.ReadAt(f.ctx, p, 0); err != nil {
						return err
					}
					for at := 0; at < len(p); at += int(f.bs) {
						block := p[at : at+int(f.bs)]
						if n := bytes.Count(block, block[:1]); n != len(block) {
							return fmt.Errorf("block at %d mixes %02x with others: %d bytes of it", at, block[0], n)
						}
					}
				}
				return nil
			})
		}},
		{"writers of parts of one block do not undo each other", func(f *fixture) {
			const rounds = 60
			o := f.create(2)
			s := f.clone(o)
			parts := f.bs / sector
			for _, v := range []store.Object{o, s} {
				f.together(func(w int) error {
					off := uint64(w) % parts * sector
					if uint64(w) >= parts {
						off = f.bs + uint64(w)%parts*sector
					}
					return countUp(f.ctx, v, off, rounds)
				})
			}
		}},
		{"CompareAndWrite is atomic against everything", func(f *fixture) {
			const rounds = 30
			o := f.create(2)
			// The counter lies across two blocks; a writer changes its neighbours all the while.
			at, n := f.bs-sector, uint64(2*sector)
			stop := make(chan struct{})
			var neighbour error
			var all sync.WaitGroup
			all.Go(func() {
				for i := uint64(0); neighbour == nil; i++ {
					select {
					case <-stop:
						return
					default:
						neighbour = errors.Join(o.WriteAt(f.ctx, pattern(sector, i), at+n, store.WriteOptions{}),
							o.WriteAt(f.ctx, pattern(at, i), 0, store.WriteOptions{}))
					}
				}
			})
			f.together(func(int) error {
				for range rounds {
					if err := addOne(f.ctx, o, at, n); err != nil {
						return err
					}
				}
				return nil
			})
			close(stop)
			all.Wait()
			f.ok(neighbour)
			require.Equal(f.T, uint64(concurrentCallers*rounds), binary.BigEndian.Uint64(f.read(o, at, sector)))
		}},
		{"objects of one volume, and volumes, work beside each other", func(f *fixture) {
			shared := f.create(concurrentCallers)
			f.together(func(w int) error {
				o, err := f.e.Open(f.ctx, shared.ID())
				if err != nil {
					return err
				}
				err = countUp(f.ctx, o, uint64(w)*f.bs, 40)
				return errors.Join(err, o.Close())
			})
		}},
	}
}

// countUp writes 1, 2, … to a sector of its own and reads each back.
func countUp(ctx context.Context, o store.Object, off uint64, rounds uint64) error {
	p := make([]byte, sector)
	for i := uint64(1); i <= rounds; i++ {
		want := pattern(sector, off+i)
		if err := o.WriteAt(ctx, want, off, store.WriteOptions{}); err != nil {
			return err
		}
		if err := o.ReadAt(ctx, p, off); err != nil {
			return err
		}
		if err := compare(p, want, off); err != nil {
			return fmt.Errorf("write %d was lost: %w", i, err)
		}
	}
	return nil
}

// addOne adds one to the number at off with CompareAndWrite, as often as it takes.
func addOne(ctx context.Context, o store.Object, off, n uint64) error {
	old := make([]byte, n)
	for {
		if err := o.ReadAt(ctx, old, off); err != nil {
			return err
		}
		fresh := bytes.Clone(old)
		count := binary.BigEndian.Uint64(old) + 1
		binary.BigEndian.PutUint64(fresh, count)
		binary.BigEndian.PutUint64(fresh[n-8:], count)
		err := o.CompareAndWrite(ctx, old, fresh, off, store.WriteOptions{})
		if err == nil || !errors.Is(err, store.ErrMiscompare) {
			return err
		}
	}
}

// clock numbers what one goroutine does to two volumes, in order.
type clock struct{ submitted, acknowledged atomic.Uint64 }

func instants() []sentence {
	return []sentence{
		{"a snapshot of several sources is of one instant", func(f *fixture) {
			const sets = 25
			a, b := f.create(2), f.create(2)
			var c clock
			stop := make(chan struct{})
			var failed error
			var all sync.WaitGroup
			all.Go(func() { failed = tick(f.ctx, stop, &c, a, b) })
			type taken struct {
				a, b          store.ID
				before, after uint64
			}
			var seen []taken
			for range sets {
				s := taken{a: newID(), b: newID(), before: c.acknowledged.Load()}
				if err := f.e.Snapshot(f.ctx, []store.SnapshotSpec{{Source: b.ID(), Snapshot: s.b}, {Source: a.ID(), Snapshot: s.a}}); err != nil {
					failed = errors.Join(failed, err)
					break
				}
				s.after = c.submitted.Load()
				seen = append(seen, s)
			}
			close(stop)
			all.Wait()
			f.ok(failed)
			require.Len(f.T, seen, sets)
			for i, s := range seen {
				inA, inB := binary.BigEndian.Uint64(f.read(f.open(s.a), 0, sector)), binary.BigEndian.Uint64(f.read(f.open(s.b), 0, sector))
				require.LessOrEqual(f.T, inB, inA, "set %d holds the later write only", i)
				require.LessOrEqual(f.T, inA, inB+1, "set %d lacks an acknowledged write", i)
				require.GreaterOrEqual(f.T, inB, s.before, "set %d lacks a write acknowledged before", i)
				require.LessOrEqual(f.T, inA, s.after, "set %d holds a write submitted after", i)
			}
		}},
		{"changes of a volume do not fail its running I/O", func(f *fixture) {
			o := f.create(concurrentCallers)
			stop := make(chan struct{})
			var all sync.WaitGroup
			errs := make([]error, concurrentCallers)
			for w := range errs {
				all.Go(func() {
					for n := uint64(0); errs[w] == nil; n += 5 {
						select {
						case <-stop:
							return
						default:
							errs[w] = countUp(f.ctx, o, uint64(w)*f.bs+sector, 5)
						}
					}
				})
			}
			var made []store.ID
			var failed error
			for i := range 30 {
				s, c := newID(), newID()
				failed = errors.Join(failed,
					f.e.Snapshot(f.ctx, []store.SnapshotSpec{{Source: o.ID(), Snapshot: s}}),
					f.e.Clone(f.ctx, s, c, f.pool),
					f.e.Resize(f.ctx, o.ID(), (concurrentCallers+uint64(i))*f.bs))
				if made = append(made, s, c); i%2 == 1 {
					failed = errors.Join(failed, f.e.Delete(f.ctx, made[0]), f.e.Delete(f.ctx, made[1]))
					made = made[2:]
				}
			}
			close(stop)
			all.Wait()
			f.ok(failed)
			f.ok(errors.Join(errs...))
		}},
		{"reverts are whole for those who read and write meanwhile", func(f *fixture) {
			o := f.create(1)
			old := f.fill(o, 0, 1, 1)
			s := f.snapshot(o)
			fresh := pattern(f.bs, 2)
			f.together(func(w int) error {
				p := make([]byte, f.bs)
				for range 20 {
					switch {
					case w == 0:
						if err := f.e.Revert(f.ctx, o.ID(), s.ID()); err != nil {
							return err
						}
					case w%2 == 0:
						if err := o.WriteAt(f.ctx, fresh, 0, store.WriteOptions{}); err != nil {
							return err
						}
					default:
						if err := o.ReadAt(f.ctx, p, 0); err != nil {
							return err
						}
						if !bytes.Equal(p, old) && !bytes.Equal(p, fresh) {
							return errors.New("a block that was never written")
						}
					}
				}
				return nil
			})
			f.holds(s, 0, old)
		}},
		{"writes that a shrink meets are done or ErrOutOfRange, and do not come back", func(f *fixture) {
			o := f.create(4)
			at := 3 * f.bs
			var acknowledged atomic.Uint64
			stop, wrote := make(chan struct{}), make(chan struct{}, 1)
			var all sync.WaitGroup
			var failed error
			all.Go(func() {
				defer close(wrote)
				failed = keepWriting(f.ctx, stop, wrote, o, at, &acknowledged)
			})
			var errs error
			for i := 0; i < 40 && errs == nil; i++ {
				<-wrote
				before := acknowledged.Load()
				errs = errors.Join(errs, f.e.Resize(f.ctx, o.ID(), 2*f.bs), f.e.Resize(f.ctx, o.ID(), 4*f.bs))
				p := make([]byte, sector)
				errs = errors.Join(errs, o.ReadAt(f.ctx, p, at))
				if n := binary.BigEndian.Uint64(p); n > 0 && n <= before {
					errs = errors.Join(errs, fmt.Errorf("write %d came back, %d was acknowledged before the shrink", n, before))
				}
			}
			close(stop)
			all.Wait()
			f.ok(errors.Join(errs, failed))
		}},
		{"a write that is cancelled while it runs has happened or not, as a whole", func(f *fixture) {
			const blocks = 4
			o := f.create(blocks)
			want := f.fill(o, 0, blocks, 1)
			for tag := uint64(2); tag < 60; tag++ {
				fresh := pattern(blocks*f.bs, tag)
				ctx, cancel := context.WithCancel(f.ctx)
				var all sync.WaitGroup
				all.Go(cancel)
				err := o.WriteAt(ctx, fresh, 0, store.WriteOptions{FUA: tag%4 == 0})
				all.Wait()
				if got := f.read(o, 0, blocks*f.bs); err == nil || bytes.Equal(got, fresh) {
					want = fresh
				} else {
					f.fails(err, context.Canceled)
				}
				f.holds(o, 0, want, tag)
			}
		}},
		{"sets that several callers take are each of one instant", func(f *fixture) {
			const sets = 4
			a, b := f.create(2), f.create(2)
			var c clock
			stop := make(chan struct{})
			var all sync.WaitGroup
			var failed error
			all.Go(func() { failed = tick(f.ctx, stop, &c, a, b) })
			f.together(func(int) error {
				for range sets {
					specs := []store.SnapshotSpec{{Source: a.ID(), Snapshot: newID()}, {Source: b.ID(), Snapshot: newID()}}
					if err := f.e.Snapshot(f.ctx, specs); err != nil {
						return err
					}
					inA, err := f.count(specs[0].Snapshot)
					if err != nil {
						return err
					}
					inB, err := f.count(specs[1].Snapshot)
					if err != nil {
						return err
					}
					if inA < inB || inA > inB+1 {
						return fmt.Errorf("a set holds write %d of the first and %d of the second", inA, inB)
					}
					if err := errors.Join(f.e.Delete(f.ctx, specs[1].Snapshot), f.e.Delete(f.ctx, specs[0].Snapshot)); err != nil {
						return err
					}
				}
				return nil
			})
			close(stop)
			all.Wait()
			f.ok(failed)
		}},
		{"calls that a deletion meets are done or ErrGone", func(f *fixture) {
			o := f.create(concurrentCallers)
			started := make(chan struct{}, concurrentCallers)
			var all sync.WaitGroup
			errs := make([]error, concurrentCallers)
			for w := range errs {
				all.Go(func() { errs[w] = untilFailure(f.ctx, o, uint64(w)*f.bs, started) })
			}
			for range concurrentCallers {
				<-started
			}
			err := f.e.Delete(f.ctx, o.ID())
			all.Wait()
			f.ok(err)
			for _, err := range errs {
				f.fails(err, store.ErrGone)
			}
		}},
		{"Close of an object ends the calls that run on it first", func(f *fixture) {
			const rounds = 30
			id := newID()
			f.ok(f.e.Create(f.ctx, id, store.CreateOptions{Size: 16 * f.bs, Pool: f.pool}))
			f.fill(f.open(id), 0, 16, 1)
			for range rounds {
				o, err := f.e.Open(f.ctx, id)
				f.ok(err)
				// A call that still ran after Close would race with the use of its buffer.
				p, q := make([]byte, 16*f.bs), pattern(16*f.bs, 2)
				started := make(chan struct{}, 2)
				ended := [2]error{}
				var all sync.WaitGroup
				all.Go(func() { ended[0] = repeat(started, func() error { return o.ReadAt(f.ctx, p, 0) }) })
				all.Go(func() {
					ended[1] = repeat(started, func() error { return o.WriteAt(f.ctx, q, 0, store.WriteOptions{}) })
				})
				<-started
				<-started
				err = o.Close()
				clear(p)
				clear(q)
				all.Wait()
				f.ok(err)
				f.fails(ended[0], store.ErrUnavailable)
				f.fails(ended[1], store.ErrUnavailable)
			}
		}},
	}
}

// repeat calls do until it fails, and tells when the first call was done.
func repeat(started chan<- struct{}, do func() error) error {
	for first := true; ; first = false {
		err := do()
		if first {
			started <- struct{}{}
		}
		if err != nil {
			return err
		}
	}
}

// untilFailure writes and reads a block until a call fails.
func untilFailure(ctx context.Context, o store.Object, off uint64, started chan<- struct{}) error {
	p, tag := pattern(sector, off), off
	return repeat(started, func() error {
		tag++
		if err := o.WriteAt(ctx, pattern(sector, tag), off, store.WriteOptions{}); err != nil {
			return err
		}
		if err := o.ReadAt(ctx, p, off); err != nil {
			return err
		}
		return compare(p, pattern(sector, tag), off)
	})
}

// tick writes 1, 2, … to a and then to b, each after the one before it returned.
func tick(ctx context.Context, stop <-chan struct{}, c *clock, a, b store.Object) error {
	p := make([]byte, sector)
	for i := uint64(1); ; i++ {
		select {
		case <-stop:
			return nil
		default:
		}
		binary.BigEndian.PutUint64(p, i)
		c.submitted.Store(i)
		if err := a.WriteAt(ctx, p, 0, store.WriteOptions{}); err != nil {
			return err
		}
		if err := b.WriteAt(ctx, p, 0, store.WriteOptions{}); err != nil {
			return err
		}
		c.acknowledged.Store(i)
	}
}

// keepWriting counts up in a sector that comes and goes; wrote has room for one.
func keepWriting(ctx context.Context, stop <-chan struct{}, wrote chan<- struct{}, o store.Object, at uint64, acknowledged *atomic.Uint64) error {
	p := make([]byte, sector)
	for i := uint64(1); ; i++ {
		select {
		case <-stop:
			return nil
		default:
		}
		binary.BigEndian.PutUint64(p, i)
		switch err := o.WriteAt(ctx, p, at, store.WriteOptions{}); {
		case err == nil:
			acknowledged.Store(i)
			select {
			case wrote <- struct{}{}:
			default:
			}
		case !errors.Is(err, store.ErrOutOfRange):
			return err
		}
	}
}

// count reads the number that tick wrote.
func (f *fixture) count(id store.ID) (uint64, error) {
	o, err := f.e.Open(f.ctx, id)
	if err != nil {
		return 0, err
	}
	p := make([]byte, sector)
	err = o.ReadAt(f.ctx, p, 0)
	return binary.BigEndian.Uint64(p), errors.Join(err, o.Close())
}

func closing() []sentence {
	return []sentence{
		{"everything answers ErrUnavailable after Close, which is idempotent", func(f *fixture) {
			o := f.create(4)
			f.fill(o, 0, 4, 1)
			s := f.snapshot(o)
			f.ok(f.e.Close())
			f.ok(f.e.Close())
			f.everyCall(o, store.ErrUnavailable)
			_, err := f.e.Open(f.ctx, o.ID())
			f.fails(err, store.ErrUnavailable)
			_, err = f.e.Stat(f.ctx, o.ID())
			f.fails(err, store.ErrUnavailable)
			_, err = f.e.Volumes(f.ctx)
			f.fails(err, store.ErrUnavailable)
			f.fails(f.e.Create(f.ctx, newID(), store.CreateOptions{Size: f.bs}), store.ErrUnavailable)
			f.fails(f.e.Delete(f.ctx, o.ID()), store.ErrUnavailable)
			f.fails(f.e.Resize(f.ctx, o.ID(), f.bs), store.ErrUnavailable)
			f.fails(f.e.Snapshot(f.ctx, []store.SnapshotSpec{{Source: o.ID(), Snapshot: newID()}}), store.ErrUnavailable)
			f.fails(f.e.Clone(f.ctx, o.ID(), newID(), f.pool), store.ErrUnavailable)
			f.fails(f.e.Revert(f.ctx, o.ID(), s.ID()), store.ErrUnavailable)
			f.fails(f.e.Meta().View(f.ctx, func(store.MetaTx) error { return nil }), store.ErrUnavailable)
			f.fails(f.e.Meta().Update(f.ctx, func(store.MetaTx) error { return nil }), store.ErrUnavailable)
			require.Equal(f.T, f.lim, f.e.Limits())
			_ = f.e.Metrics() // must not panic
			_ = f.e.PoolUsage(f.pool)
			f.e.SetPoolLimit(f.pool, 0)
			require.Equal(f.T, 4*f.bs, o.Size())
		}},
		{"calls that Close meets are done or ErrUnavailable", func(f *fixture) {
			o := f.create(concurrentCallers)
			const others = 3
			started := make(chan struct{}, concurrentCallers+others)
			errs := make([]error, concurrentCallers+others)
			var all sync.WaitGroup
			for w := range concurrentCallers {
				all.Go(func() { errs[w] = untilFailure(f.ctx, o, uint64(w)*f.bs, started) })
			}
			all.Go(func() {
				errs[concurrentCallers] = repeat(started, func() error {
					return f.e.Meta().Update(f.ctx, func(tx store.MetaTx) error { return increment(tx, []byte("n")) })
				})
			})
			all.Go(func() {
				errs[concurrentCallers+1] = repeat(started, func() error {
					id := newID()
					return errors.Join(f.e.Snapshot(f.ctx, []store.SnapshotSpec{{Source: o.ID(), Snapshot: id}}), f.e.Delete(f.ctx, id))
				})
			})
			all.Go(func() { errs[concurrentCallers+2] = repeat(started, func() error { return o.Flush(f.ctx) }) })
			for range errs {
				<-started
			}
			var closed [2]error
			all.Go(func() { closed[1] = f.e.Close() })
			closed[0] = f.e.Close()
			all.Wait()
			f.ok(errors.Join(closed[:]...))
			for i, err := range errs {
				f.fails(err, store.ErrUnavailable, i)
			}
		}},
	}
}
