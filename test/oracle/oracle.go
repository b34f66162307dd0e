package oracle

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// ErrWrong is what every error of the Oracle is: bytes that no order of the writes explains.
var ErrWrong = errors.New("the array holds something else than was written")

// Oracle knows what every image holds. Its methods are safe for concurrent use.
type Oracle struct {
	mu         sync.Mutex // guards all of it, images and their parts included
	clock      uint64     // counts begins and ends
	generation uint64     // of the last write
	images     uint32     // that were made
	forks      map[*Fork]bool
}

// New knows of nothing.
func New() *Oracle { return &Oracle{forks: map[*Fork]bool{}} }

// An Image is what one volume holds. Guarded by the Oracle.
type Image struct {
	number  uint32
	sectors uint64
	owner   *int     // of chunks that no other image has
	chunks  []*chunk // nil is zeros
	maybe   map[uint64][]choice
	writes  []*Write // in flight
	reads   []*Read  // in flight
}

// chunk holds cells; an image changes its own only.
type chunk struct {
	owner *int
	cells [chunkCells]cell
}

const chunkCells = 512

// A Write is a range that holds a cell from some moment between begin and end on.
type Write struct {
	LBA, N     uint64
	image      *Image // while it runs
	cell       cell
	idle       bool   // it changes nothing, and keeps others away
	begin, end uint64 // of Oracle.clock; end is 0 while it runs
}

func (w *Write) meets(lba, n uint64) bool { return w.LBA < lba+n && lba < w.LBA+w.N }

// choice is what a sector of a fork holds if a write went in.
type choice struct {
	in   *inclusion
	cell cell
}

// inclusion tells whether a write went into a fork.
type inclusion struct {
	fork   *Fork
	source int // that the write went to
	write  *Write
	state  state
}

type state uint8

const (
	unknown state = iota
	inside
	outside
)

// A Fork is one call that makes images of sources at one instant.
type Fork struct {
	sources, images []*Image     // until it has ended: an image keeps no other alive
	writes          []*inclusion // in the order of their begins
}

// A Read is one that runs, with what it may find.
type Read struct {
	image  *Image
	lba    uint64
	base   []cell
	maybe  map[uint64][]choice // what settles before writes
	writes []*Write
}

// Blank is the image of a fresh volume, zeros all over.
func (o *Oracle) Blank(sectors uint64) *Image {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.blank(sectors)
}

func (o *Oracle) blank(sectors uint64) *Image {
	o.images++
	return &Image{number: o.images, sectors: sectors, owner: new(int), maybe: map[uint64][]choice{},
		chunks: make([]*chunk, (sectors+chunkCells-1)/chunkCells)}
}

// Sectors is the length of the image.
func (im *Image) Sectors() uint64 { return im.sectors }

func (im *Image) get(lba uint64) cell {
	if c := im.chunks[lba/chunkCells]; c != nil {
		return c.cells[lba%chunkCells]
	}
	return 0
}

func (im *Image) set(lba uint64, v cell) {
	at := &im.chunks[lba/chunkCells]
	if *at == nil {
		*at = &chunk{owner: im.owner}
	} else if (*at).owner != im.owner {
		*at = &chunk{owner: im.owner, cells: (*at).cells}
	}
	(*at).cells[lba%chunkCells] = v
}

func (o *Oracle) tick() uint64 {
	o.clock++
	return o.clock
}

// Content is what a write puts on its range.
type Content int

const (
	Fresh   Content = iota // bytes of its own
	Same                   // one sector of its own, all over
	Zeros                  // zeros
	Nothing                // keeps what is there
)

// BeginWrite announces a write of n sectors at lba; nil when one in flight is in its way.
func (o *Oracle) BeginWrite(im *Image, lba, n uint64, what Content) *Write {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, w := range im.writes {
		if w.meets(lba, n) {
			return nil
		}
	}
	w := &Write{LBA: lba, N: n, image: im, begin: o.tick(), idle: what == Nothing}
	if what != Zeros {
		o.generation++
		w.cell = newCell(im.number, o.generation)
	}
	if what == Same {
		w.cell |= repeated
	}
	im.writes = append(im.writes, w)
	if w.idle {
		return w
	}
	for _, r := range im.reads {
		if w.meets(r.lba, uint64(len(r.base))) {
			r.writes = append(r.writes, w)
		}
	}
	for f := range o.forks {
		f.add(w)
	}
	return w
}

// Stamp fills p, one sector long, with what the write puts on sector i of its range.
func (w *Write) Stamp(p []byte, i uint64) { w.cell.stamp(p, w.LBA+i) }

// Abandon says that nobody knows whether the array has executed the write, which has
// ended: as a whole or not at all, as the next read settles, and not later.
func (o *Oracle) Abandon(w *Write) {
	o.mu.Lock()
	defer o.mu.Unlock()
	im := o.ended(w)
	if w.idle {
		return
	}
	in := &inclusion{fork: &Fork{}, write: w}
	for lba := w.LBA; lba < w.LBA+w.N; lba++ {
		im.maybe[lba] = append(slices.Clip(im.maybe[lba]), choice{in, w.cell})
	}
}

// ended takes a write out of those in flight, and returns the image that it was for.
func (o *Oracle) ended(w *Write) *Image {
	im := w.image
	w.end, w.image = o.tick(), nil
	im.writes = slices.DeleteFunc(im.writes, func(x *Write) bool { return x == w })
	return im
}

// EndWrite says that the array has acknowledged the write.
func (o *Oracle) EndWrite(w *Write) {
	o.mu.Lock()
	defer o.mu.Unlock()
	im := o.ended(w)
	if w.idle {
		return
	}
	for lba := w.LBA; lba < w.LBA+w.N; lba++ {
		im.set(lba, w.cell)
	}
	for lba := w.LBA; lba < w.LBA+w.N && len(im.maybe) > 0; lba++ {
		delete(im.maybe, lba)
	}
}

// Present fills p with what the range of a write held before it, and tells whether
// that is certain.
func (o *Oracle) Present(w *Write, p []byte) (certain bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range w.N {
		if _, ok := w.image.maybe[w.LBA+i]; ok {
			return false
		}
		w.image.get(w.LBA+i).stamp(p[i*SectorSize:][:SectorSize], w.LBA+i)
	}
	return true
}

// BeginRead announces a read of n sectors at lba.
func (o *Oracle) BeginRead(im *Image, lba, n uint64) *Read {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := &Read{image: im, lba: lba, base: make([]cell, n)}
	for i := range n {
		r.base[i] = im.get(lba + i)
		if c, ok := im.maybe[lba+i]; ok {
			if r.maybe == nil {
				r.maybe = map[uint64][]choice{}
			}
			r.maybe[lba+i] = c
		}
	}
	for _, w := range im.writes {
		if !w.idle && w.meets(lba, n) {
			r.writes = append(r.writes, w)
		}
	}
	im.reads = append(im.reads, r)
	return r
}

// EndRead compares what the read brought with what it may have found.
func (o *Oracle) EndRead(r *Read, p []byte) error {
	im := r.image
	o.DropRead(r) // nothing is added to it any more
	var want [SectorSize]byte
	for i := range r.base {
		lba, sector := r.lba+uint64(i), p[i*SectorSize:][:SectorSize]
		got := found(sector)
		got.stamp(want[:], lba)
		if !bytes.Equal(want[:], sector) {
			return fmt.Errorf("%w: image %d LBA %d: %s; expected %s", ErrWrong, im.number, lba, describe(sector), r.expected(lba))
		}
		if got == r.base[i] && len(r.maybe) == 0 {
			continue
		}
		if err := o.judge(r, lba, got); err != nil {
			return err
		}
	}
	return nil
}

// DropRead says that the read brought nothing.
func (o *Oracle) DropRead(r *Read) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r.image.reads = slices.DeleteFunc(r.image.reads, func(x *Read) bool { return x == r })
}

// judge decides whether an intact sector may be where it was found, and keeps what that tells.
func (o *Oracle) judge(r *Read, lba uint64, got cell) error {
	for _, w := range r.writes {
		if w.meets(lba, 1) && w.cell == got {
			return nil
		}
	}
	choices, base := r.maybe[lba], r.base[lba-r.lba]
	at, matches := -1, 0
	if got == base {
		matches++
	}
	for i, c := range choices {
		if got == c.cell {
			at = i
			matches++
		}
	}
	if matches == 0 {
		return fmt.Errorf("%w: image %d LBA %d: %v; expected %s", ErrWrong, r.image.number, lba, got, r.expected(lba))
	}
	if matches > 1 || len(choices) == 0 { // zeros over zeros tell nothing
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, c := range choices[max(at, 0):] {
		is := outside
		if i == 0 && at >= 0 {
			is = inside
		}
		if err := c.in.settle(is); err != nil {
			return fmt.Errorf("%w, as image %d LBA %d shows, which holds %v", err, r.image.number, lba, got)
		}
	}
	// What is settled need not be kept, unless it was overwritten since.
	if now := r.image.maybe[lba]; len(now) == len(choices) && &now[0] == &choices[0] {
		delete(r.image.maybe, lba)
		r.image.set(lba, got)
	}
	return nil
}

// expected lists what a read may find in a sector.
func (r *Read) expected(lba uint64) string {
	text := r.base[lba-r.lba].String()
	for _, c := range r.maybe[lba] {
		text += fmt.Sprintf(" or (in flight at the fork) %v", c.cell)
	}
	for _, w := range r.writes {
		if w.meets(lba, 1) {
			text += fmt.Sprintf(" or (in flight) %v", w.cell)
		}
	}
	return text
}

// settle keeps whether a write is in a fork: as a whole, and not without what ended
// before it began.
func (i *inclusion) settle(s state) error {
	if i.state == s {
		return nil
	}
	if i.state != unknown {
		return fmt.Errorf("%w: a fork has a part of the write of %v", ErrWrong, i.write.cell)
	}
	i.state = s
	for _, other := range i.fork.writes {
		early, late := other, i
		if s == outside {
			early, late = i, other
		}
		if early.state == outside && late.state == inside && early.write.end != 0 && early.write.end < late.write.begin {
			return fmt.Errorf("%w: a fork has the write of %v without that of %v, which had ended before", ErrWrong, late.write.cell, early.write.cell)
		}
	}
	return nil
}

// add registers a write that runs during the fork.
func (f *Fork) add(w *Write) {
	if at := slices.Index(f.sources, w.image); at >= 0 {
		f.writes = append(f.writes, &inclusion{fork: f, source: at, write: w})
	}
}

// BeginFork announces a call that freezes or copies the sources, each once, at one instant.
func (o *Oracle) BeginFork(sources ...*Image) *Fork {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := &Fork{sources: sources}
	for _, s := range sources {
		im := o.blank(s.sectors)
		im.chunks = slices.Clone(s.chunks)
		s.owner = new(int) // all chunks are shared from now on
		for lba, c := range s.maybe {
			im.maybe[lba] = slices.Clip(c)
		}
		f.images = append(f.images, im)
		for _, w := range s.writes {
			if !w.idle {
				f.add(w)
			}
		}
	}
	slices.SortStableFunc(f.writes, func(a, b *inclusion) int { return cmp.Compare(a.write.begin, b.write.begin) })
	o.forks[f] = true
	return f
}

// EndFork says that the call has returned, and what it made of each source; without
// success nothing.
func (o *Oracle) EndFork(f *Fork) []*Image {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.forks, f)
	for _, i := range f.writes {
		im := f.images[i.source]
		for lba := i.write.LBA; lba < i.write.LBA+i.write.N; lba++ {
			im.maybe[lba] = append(slices.Clip(im.maybe[lba]), choice{i, i.write.cell})
		}
	}
	images := f.images
	f.sources, f.images = nil, nil
	return images
}

// Occupied is how many blocks of so many sectors are not all zeros for certain.
func (o *Oracle) Occupied(im *Image, sectors uint64) (blocks uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for first := uint64(0); first < im.sectors; first += sectors {
		for lba := first; lba < first+sectors; lba++ {
			if im.get(lba) != 0 {
				blocks++
				break
			}
		}
	}
	return blocks
}
