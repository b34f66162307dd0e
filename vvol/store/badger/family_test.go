package badger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
)

// keepers is how many goroutines of a child keep families.
const keepers = 2

// content is the word of each region of a volume, 0 for zeros.
type content [regions]uint64

// absent and unknown are states of a volume besides its content; unknown is a volume that
// has just been made of one that is being written.
const (
	absent  = "absent"
	unknown = "unknown"
)

func (c content) String() string {
	words := make([]string, regions)
	for i, w := range c {
		words[i] = strconv.FormatUint(w, 16)
	}
	return strings.Join(words, ",")
}

// observe reads a volume; a region that is not whole is an error.
func observe(ctx context.Context, e *Engine, id store.ID) (c content, err error) {
	o, err := e.Open(ctx, id)
	if err != nil {
		return c, err
	}
	p := make([]byte, regionBlocks*blockSize)
	for r := range c {
		if err := o.ReadAt(ctx, p, uint64(r*len(p))); err != nil {
			return c, errors.Join(err, o.Close())
		}
		c[r] = binary.BigEndian.Uint64(p)
		if !slices.Equal(filled(c[r]), p) {
			err = fmt.Errorf("volume %v holds a torn write in region %d", id, r)
		}
	}
	return c, errors.Join(err, o.Close())
}

// keeper is a goroutine of a child that has one family after the other: a snapshot of the
// base, a clone of it or of the base, and a clone of that clone, which are written,
// unmapped, reverted and deleted, also before what was made of them. Before each step it
// tells what it tries ("try ID STATE"), behind it what is ("is ID STATE").
type keeper struct {
	*load
	number byte
	n      uint16 // of the family
	known  map[store.ID]content
}

func (k *keeper) run() error {
	ctx := context.Background()
	k.known = map[store.ID]content{}
	var before []store.ID
	for ; ; k.n++ {
		family, err := k.found(ctx)
		if err != nil {
			return err
		}
		if err := k.live(ctx, family); err != nil {
			return err
		}
		if k.n%2 == 0 { // clones before that of which they were made
			slices.Reverse(before)
		}
		for _, id := range before {
			if err := k.remove(ctx, id); err != nil {
				return err
			}
		}
		before = slices.DeleteFunc(family, func(id store.ID) bool { _, there := k.known[id]; return !there })
		if err := k.note(ctx); err != nil {
			return err
		}
	}
}

// id names a volume of the present family.
func (k *keeper) id(kind byte) store.ID {
	id := store.ID{2, k.number, kind}
	binary.BigEndian.PutUint32(id[4:], k.round)
	binary.BigEndian.PutUint16(id[8:], k.n)
	return id
}

// found makes the snapshot, the clone, and the clone's clone.
func (k *keeper) found(ctx context.Context) ([]store.ID, error) {
	s, c, d := k.id(0), k.id(1), k.id(2)
	err := k.change(ctx, s, unknown, func() error {
		return k.e.Snapshot(ctx, []store.SnapshotSpec{{Source: crashVolume, Snapshot: s}})
	})
	if err != nil {
		return nil, err
	}
	if k.n%2 == 0 {
		err = k.change(ctx, c, unknown, func() error { return k.e.Clone(ctx, crashVolume, c, store.Pool{}) })
	} else {
		err = k.change(ctx, c, k.known[s].String(), func() error { return k.e.Clone(ctx, s, c, store.Pool{}) })
	}
	if err == nil {
		err = k.put(ctx, c, 0)
	}
	if err == nil {
		err = k.change(ctx, d, k.known[c].String(), func() error { return k.e.Clone(ctx, c, d, store.Pool{}) })
	}
	return []store.ID{s, c, d}, err
}

// live writes to the clones, and takes the one or the other of those that a clone stands on.
func (k *keeper) live(ctx context.Context, family []store.ID) error {
	s, c, d := family[0], family[1], family[2]
	if err := errors.Join(k.put(ctx, d, 1), k.put(ctx, c, 2), k.unmap(ctx, d, 3)); err != nil {
		return err
	}
	switch k.n % 3 {
	case 0:
		return errors.Join(k.remove(ctx, c), k.put(ctx, d, 4))
	case 1:
		return errors.Join(k.remove(ctx, s), k.put(ctx, c, 4), k.put(ctx, d, 4))
	}
	revert := func() error { return k.e.Revert(ctx, d, s) }
	return errors.Join(k.change(ctx, d, k.known[s].String(), revert), k.put(ctx, d, 5))
}

// change tells of a step of a volume and takes it.
func (k *keeper) change(ctx context.Context, id store.ID, state string, step func() error) error {
	k.tell("try %v %s", id, state)
	if err := step(); err != nil {
		return fmt.Errorf("%v to %s: %w", id, state, err)
	}
	if state == absent {
		delete(k.known, id)
		k.tell("is %v %s", id, state)
		return nil
	}
	now, err := observe(ctx, k.e, id)
	if err == nil && state != unknown && state != now.String() {
		err = fmt.Errorf("%v became %v, not %s", id, now, state)
	}
	k.known[id] = now
	k.tell("is %v %v", id, now)
	return err
}

func (k *keeper) remove(ctx context.Context, id store.ID) error {
	return k.change(ctx, id, absent, func() error { return k.e.Delete(ctx, id) })
}

// put writes a region of a volume, of this keeper's own words.
func (k *keeper) put(ctx context.Context, id store.ID, step int) error {
	r := (int(k.n) + step) % regions
	want := k.known[id]
	want[r] = 1<<63 | uint64(k.number)<<56 | uint64(k.round)<<32 | uint64(k.n)<<8 | uint64(step)
	return k.io(ctx, id, want, func(o store.Object) error {
		return o.WriteAt(ctx, filled(want[r]), uint64(r)*regionBlocks*blockSize, store.WriteOptions{})
	})
}

// unmap takes a region of a volume away.
func (k *keeper) unmap(ctx context.Context, id store.ID, step int) error {
	r := (int(k.n) + step) % regions
	want := k.known[id]
	want[r] = 0
	return k.io(ctx, id, want, func(o store.Object) error {
		return o.Unmap(ctx, uint64(r)*regionBlocks*blockSize, regionBlocks*blockSize, store.WriteOptions{})
	})
}

func (k *keeper) io(ctx context.Context, id store.ID, want content, f func(store.Object) error) error {
	return k.change(ctx, id, want.String(), func() error {
		o, err := k.e.Open(ctx, id)
		if err != nil {
			return err
		}
		if err = f(o); err == nil && k.flushed {
			err = o.Flush(ctx)
		}
		return errors.Join(err, o.Close())
	})
}

// note keeps the number of the family in the catalog.
func (k *keeper) note(ctx context.Context) error {
	value := fmt.Sprintf("%d.%d", k.round, k.n)
	k.tell("try %s %s", noteKey(k.number), value)
	err := k.e.Meta().Update(ctx, func(tx store.MetaTx) error { return tx.Set([]byte(noteKey(k.number)), []byte(value)) })
	k.tell("is %s %s", noteKey(k.number), value)
	return err
}

func noteKey(number byte) string { return fmt.Sprintf("keeper-%d", number) }

// oracle knows what a directory has to hold.
type oracle struct {
	t            *testing.T
	acknowledged [regions]uint64 // generations of the base
	next         uint64          // generation
	round        uint32
	things       map[string]*thing // volumes of families by id, and notes
	checked      int               // things that were found as told
	open         int               // of them in the middle of a step
}

// thing is a volume or a note: is what was acknowledged last, or what is being tried.
type thing struct {
	is, trying string
	base       [regions]uint64 // of an unknown one: what had been acknowledged before
	round      uint32
}

func newOracle(t *testing.T) *oracle { return &oracle{t: t, next: 1, things: map[string]*thing{}} }

// String says what was done.
func (o *oracle) String() string {
	return fmt.Sprintf("%d rounds, %d generations; %d volumes and notes as told, %d of them in the middle of a step", o.round, o.next, o.checked, o.open)
}

// start is the variable that begins a round.
func (o *oracle) start() string {
	o.round++
	return fmt.Sprintf("%s=%d,%d", startVariable, o.next, o.round)
}

// hear takes in a line of the child.
func (o *oracle) hear(line string) {
	word := strings.Fields(line)
	require.Len(o.t, word, 3, line)
	switch word[0] {
	case "w":
		r, err := strconv.Atoi(word[1])
		require.NoError(o.t, err, line)
		o.acknowledged[r], err = strconv.ParseUint(word[2], 10, 64)
		require.NoError(o.t, err, line)
	case "try":
		x := o.things[word[1]]
		if x == nil {
			x = &thing{is: absent, base: o.acknowledged}
			o.things[word[1]] = x
		}
		x.trying, x.round = word[2], o.round
	case "is":
		x := o.things[word[1]]
		x.is, x.trying = word[2], ""
	default:
		require.Fail(o.t, line)
	}
}

// verify opens the directory and compares; what it finds is what is, from then on. Volumes
// of earlier rounds go.
func (o *oracle) verify(dir string) {
	t := o.t
	e, err := Open(t.Context(), small(dir))
	require.NoError(t, err)
	base, err := observe(t.Context(), e, crashVolume)
	require.NoError(t, err)
	o.requireBase(base, &o.acknowledged)
	for _, word := range base {
		o.next = max(o.next, word&(1<<48-1)+1)
	}
	present := map[string]bool{crashVolume.String(): true}
	for name, x := range o.things {
		o.compare(e, name, x)
		if x.is == absent {
			delete(o.things, name)
		} else if !strings.HasPrefix(name, "keeper") {
			present[name] = true
		}
	}
	ids, err := e.Volumes(t.Context())
	require.NoError(t, err)
	for _, id := range ids {
		require.True(t, present[id.String()], "volume %v is there, and was not made or was deleted", id)
	}
	require.Len(t, ids, len(present), "a volume is missing in the list")
	for _, id := range ids {
		if name := id.String(); id != crashVolume && o.things[name].round < o.round {
			require.NoError(t, e.Delete(t.Context(), id))
			delete(o.things, name)
		}
	}
	require.NoError(t, e.Close())
}

// requireBase finds in each region what was acknowledged, or something newer.
func (o *oracle) requireBase(c content, acknowledged *[regions]uint64) {
	for r, word := range c {
		require.GreaterOrEqual(o.t, word&(1<<48-1), acknowledged[r], "region %d lost an acknowledged write", r)
		if word != 0 {
			require.EqualValues(o.t, r, word>>48, "region %d holds another's data", r)
		}
	}
}

// compare finds a thing as it was acknowledged, or as it was about to be.
func (o *oracle) compare(e *Engine, name string, x *thing) {
	t, found := o.t, absent
	if strings.HasPrefix(name, "keeper") {
		require.NoError(t, e.Meta().View(t.Context(), func(tx store.MetaTx) error {
			value, err := tx.Get([]byte(name))
			if err == nil {
				found = string(value)
			} else {
				require.ErrorIs(t, err, store.ErrNotFound)
			}
			return nil
		}))
	} else {
		id, err := store.ParseID(name)
		require.NoError(t, err)
		switch c, err := observe(t.Context(), e, id); {
		case err == nil && x.trying == unknown:
			o.requireBase(c, &x.base)
			x.trying = c.String()
			fallthrough
		case err == nil:
			found = c.String()
			info, err := e.Stat(t.Context(), id)
			require.NoError(t, err)
			require.EqualValues(t, crashSize, info.Size)
			require.Equal(t, id[2] == 0, info.ReadOnly, "a snapshot, and nothing else")
		default:
			require.ErrorIs(t, err, store.ErrNotFound)
		}
	}
	if found != x.is {
		require.Equal(t, x.trying, found, "%s was %s", name, x.is)
	}
	o.checked++
	if x.trying != "" {
		o.open++
	}
	x.is, x.trying = found, ""
}
