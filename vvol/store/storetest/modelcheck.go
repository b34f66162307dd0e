package storetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"vvsim/vvol/store"
)

// Defaults and limits of model checks.
const (
	defaultOps   = 300
	defaultRuns  = 3
	maxVolumes   = 10 // of one sequence
	maxBlocks    = 48 // of one volume
	shownSteps   = 40 // of a failed sequence
	checkEvery   = 25 // operations between two looks at everything
	reopenEvery  = 60 // operations between two openings, for engines that can
	badArguments = 20 // one in so many operations has arguments that must be refused
)

// setting reads a number from the environment.
func setting(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// runModel checks sequences of random operations against the model. open returns
// an engine and, when it is durable, how to open it again after Close.
func runModel(t *testing.T, open func(t *testing.T) (store.Engine, func() store.Engine)) {
	seed := setting(t, "STORETEST_SEED", uint64(time.Now().UnixNano()))
	ops, runs := setting(t, "STORETEST_OPS", defaultOps), setting(t, "STORETEST_RUNS", defaultRuns)
	for i := range runs {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			e, reopen := open(t)
			w := newWalk(t.Context(), e, reopen, seed+i)
			t.Cleanup(func() { closeEngine(t, w.e) })
			t.Logf("seed %d; to replay: STORETEST_SEED=%d STORETEST_OPS=%d STORETEST_RUNS=1", seed+i, seed+i, ops)
			if err := w.run(int(ops)); err != nil {
				t.Fatalf("seed %d: %v\nlast steps:\n%s", seed+i, err, strings.Join(w.steps, "\n"))
			}
		})
	}
}

// walk is one random sequence: an engine, the model, and the objects that are open.
type walk struct {
	ctx    context.Context
	e      store.Engine
	reopen func() store.Engine // nil for engines that forget
	m      *model
	r      *rand.Rand
	pools  [2]store.Pool
	open   map[store.ID]store.Object
	steps  []string
	tag    uint64
	names  map[store.ID]string
}

func newWalk(ctx context.Context, e store.Engine, reopen func() store.Engine, seed uint64) *walk {
	w := &walk{ctx: ctx, e: e, reopen: reopen, m: newModel(e.Limits().BlockSize), r: rand.New(rand.NewPCG(seed, 1)),
		open: map[store.ID]store.Object{}, names: map[store.ID]string{}}
	for i := range w.pools {
		w.pools[i] = store.Pool(w.id())
	}
	return w
}

// id draws a volume id from the seed.
func (w *walk) id() (id store.ID) {
	binary.BigEndian.PutUint64(id[:], w.r.Uint64())
	binary.BigEndian.PutUint64(id[8:], w.r.Uint64())
	return id
}

// name is a short name for an id in the list of steps.
func (w *walk) name(id store.ID) string {
	if w.names[id] == "" {
		w.names[id] = "v" + strconv.Itoa(len(w.names))
	}
	return w.names[id]
}

func (w *walk) note(format string, a ...any) {
	w.steps = append(w.steps, fmt.Sprintf(format, a...))
	if len(w.steps) > shownSteps {
		w.steps = slices.Delete(w.steps, 0, 1)
	}
}

func (w *walk) run(ops int) error {
	if err := w.create(); err != nil {
		return err
	}
	for i := 1; i <= ops; i++ {
		if err := w.step(); err != nil {
			return fmt.Errorf("operation %d: %w", i, err)
		}
		if w.reopen != nil && i%reopenEvery == 0 {
			if err := w.again(); err != nil {
				return fmt.Errorf("after operation %d: %w", i, err)
			}
		}
		if i%checkEvery == 0 || i == ops {
			if err := w.checkAll(); err != nil {
				return fmt.Errorf("after operation %d: %w", i, err)
			}
		}
	}
	return w.end()
}

// weighted is a kind of operation and how often it is drawn.
type weighted struct {
	weight int
	do     func() error
}

func (w *walk) step() error {
	all := []weighted{{30, w.write}, {15, w.read}, {8, w.unmap}, {4, w.zero}, {6, w.compareAndWrite}, {6, w.copy},
		{4, w.create}, {4, w.delete}, {8, w.snapshot}, {5, w.clone}, {4, w.revert}, {4, w.resize}, {4, w.checkOne},
		{2, w.flush}, {2, w.setPool}, {2, w.repeat}, {3, w.readOnly}}
	if w.r.IntN(badArguments) == 0 {
		return w.outOfRange()
	}
	sum := 0
	for _, x := range all {
		sum += x.weight
	}
	n := w.r.IntN(sum)
	for _, x := range all {
		if n -= x.weight; n < 0 {
			return x.do()
		}
	}
	return nil
}

// pick draws a volume for which ok holds; nil when there is none.
func (w *walk) pick(ok func(*volume) bool) *volume {
	var all []*volume
	for _, id := range w.m.ids() {
		if v := w.m.volumes[id]; ok(v) {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[w.r.IntN(len(all))]
}

func anyVolume(*volume) bool   { return true }
func writable(v *volume) bool  { return !v.readOnly }
func forked(v *volume) bool    { return v.origin != store.ID{} }
func protected(v *volume) bool { return v.readOnly }

// object opens a volume, or takes the object that is open already.
func (w *walk) object(v *volume) (store.Object, error) {
	if o := w.open[v.id]; o != nil {
		if w.r.IntN(10) > 0 {
			return o, nil
		}
		delete(w.open, v.id)
		if err := o.Close(); err != nil {
			return nil, err
		}
	}
	o, err := w.e.Open(w.ctx, v.id)
	if err == nil {
		w.open[v.id] = o
	}
	return o, err
}

// span draws a range of sectors: often of whole blocks, rarely long.
func (w *walk) span(v *volume) (off, n uint64) {
	size := w.m.size(v)
	if w.r.IntN(2) == 0 {
		first := w.r.Uint64N(uint64(len(v.cells)))
		return first * w.m.bs, (1 + w.r.Uint64N(min(8, uint64(len(v.cells))-first))) * w.m.bs
	}
	off = w.r.Uint64N(size/sector) * sector
	longest := (size - off) / sector
	if w.r.IntN(4) > 0 {
		longest = min(longest, 3*w.m.bs/sector)
	}
	return off, (1 + w.r.Uint64N(longest)) * sector
}

// data is bytes that were never written before.
func (w *walk) data(n uint64) []byte {
	w.tag++
	return pattern(n, w.tag)
}

func (w *walk) options() store.WriteOptions { return store.WriteOptions{FUA: w.r.IntN(20) == 0} }

// again closes the engine and opens it anew.
func (w *walk) again() error {
	w.note("close and open again")
	for id, o := range w.open {
		if w.r.IntN(2) == 0 {
			if err := o.Close(); err != nil {
				return err
			}
		}
		delete(w.open, id)
	}
	if err := w.e.Close(); err != nil {
		return err
	}
	w.e = w.reopen()
	return w.checkAll()
}

// checkAll compares every volume and what the engine tells of itself.
func (w *walk) checkAll() error {
	ids, err := w.e.Volumes(w.ctx)
	if err != nil {
		return err
	}
	if len(ids) != len(w.m.volumes) {
		return fmt.Errorf("the engine lists %d volumes, the model %d", len(ids), len(w.m.volumes))
	}
	for _, id := range w.m.ids() {
		if !slices.Contains(ids, id) {
			return fmt.Errorf("the engine does not list %v", id)
		}
		if err := w.check(w.m.volumes[id]); err != nil {
			return fmt.Errorf("%s: %w", w.name(id), err)
		}
	}
	used, visible := w.used(), w.m.visible()
	if used < visible {
		return fmt.Errorf("pools hold %d bytes, less than the %d that can be seen", used, visible)
	}
	return nil
}

func (w *walk) used() uint64 { return w.e.PoolUsage(w.pools[0]) + w.e.PoolUsage(w.pools[1]) }

// check compares one volume: content, figures, ranges of all kinds.
func (w *walk) check(v *volume) error {
	o, err := w.object(v)
	if err != nil {
		return err
	}
	if o.Size() != w.m.size(v) || o.ReadOnly() != v.readOnly || o.ID() != v.id {
		return fmt.Errorf("object of %d bytes, read-only %v; want %d, %v", o.Size(), o.ReadOnly(), w.m.size(v), v.readOnly)
	}
	got := make([]byte, w.m.size(v))
	if err := o.ReadAt(w.ctx, got, 0); err != nil {
		return err
	}
	if err := compare(got, w.m.read(v, 0, w.m.size(v)), 0); err != nil {
		return err
	}
	held, err := w.m.checkRanges(w.ctx, o, v, store.Allocated, nil)
	if err != nil {
		return err
	}
	alone, err := w.m.checkRanges(w.ctx, o, v, store.Unshared, nil)
	if err != nil {
		return err
	}
	if base := w.pick(func(b *volume) bool { return b.family == v.family }); base != nil {
		if _, err := w.m.checkRanges(w.ctx, o, v, store.Different, base); err != nil {
			return err
		}
	}
	info, err := w.e.Stat(w.ctx, v.id)
	if err != nil {
		return err
	}
	want := store.Info{Size: w.m.size(v), Allocated: held, Unshared: alone, InPlace: info.InPlace, ReadOnly: v.readOnly, Depth: info.Depth, Pool: v.pool}
	if info != want || info.InPlace > info.Allocated || info.Depth < 1 || info.Depth > w.e.Limits().MaxDepth {
		return fmt.Errorf("Stat tells %+v, want %+v", info, want)
	}
	return nil
}

// end deletes all volumes but one, then that: space returns.
func (w *walk) end() error {
	ids := w.m.ids()
	w.r.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	for i, id := range ids {
		if i == len(ids)-1 {
			info, err := w.e.Stat(w.ctx, id)
			if err != nil {
				return err
			}
			if err := w.await(info.Allocated, "what the last volume holds"); err != nil {
				return err
			}
			if err := w.check(w.m.volumes[id]); err != nil {
				return err
			}
		}
		if err := w.remove(w.m.volumes[id]); err != nil {
			return err
		}
	}
	return w.await(0, "nothing")
}

// await waits until the pools hold so many bytes.
func (w *walk) await(bytes uint64, what string) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); w.used() != bytes; <-tick.C {
		if time.Now().After(deadline) {
			return fmt.Errorf("pools hold %d bytes, not %d: %s", w.used(), bytes, what)
		}
	}
	return nil
}

// remove deletes a volume in engine and model.
func (w *walk) remove(v *volume) error {
	w.note("delete %s", w.name(v.id))
	if err := w.e.Delete(w.ctx, v.id); err != nil {
		return err
	}
	delete(w.m.volumes, v.id)
	if o := w.open[v.id]; o != nil {
		delete(w.open, v.id)
		if err := o.Flush(w.ctx); !errors.Is(err, store.ErrGone) {
			return fmt.Errorf("an object of a deleted volume answers %w", err)
		}
		return o.Close()
	}
	return nil
}
