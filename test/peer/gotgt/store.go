package main

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/gostor/gotgt/pkg/api"
	"github.com/gostor/gotgt/pkg/scsi"

	"vvsim/vvol/store"
)

// backing is gotgt's view of one open volume. gotgt calls it from the goroutine of
// each connection.
type backing struct {
	scsi.BaseBackingStore
	object   store.Object
	transfer int   // bytes of one call of the engine
	gate     *gate // nil: reads wait for nobody
}

// gate lets a test see how many reads gotgt has in the device at once, and decide
// when each of them goes on, without any clock.
type gate struct {
	out     io.Writer
	in      io.Reader
	writing sync.Mutex // held while out is written
	reading sync.Mutex // held while in is read
	inside  int        // under writing
}

func (g *gate) enter() error {
	g.writing.Lock()
	g.inside++
	_, err := fmt.Fprintf(g.out, "%d\n", g.inside)
	g.writing.Unlock()
	if err != nil {
		return err
	}
	g.reading.Lock()
	defer g.reading.Unlock()
	_, err = io.ReadFull(g.in, make([]byte, 1))
	return err
}

func (g *gate) leave() {
	g.writing.Lock()
	defer g.writing.Unlock()
	g.inside--
}

func (b *backing) Open(*api.SCSILu, string) error { return nil }
func (b *backing) Close(*api.SCSILu) error        { return nil }
func (b *backing) Init(*api.SCSILu, string) error { return nil }
func (b *backing) Exit(*api.SCSILu) error         { return nil }
func (b *backing) Size(*api.SCSILu) uint64        { return b.object.Size() }

// Read returns n bytes at offset in a new slice, as gotgt's interface wants it.
func (b *backing) Read(offset, n int64) ([]byte, error) {
	if b.gate != nil {
		defer b.gate.leave()
		if err := b.gate.enter(); err != nil {
			return nil, err
		}
	}
	p := make([]byte, n)
	return p, b.pieces(p, offset, b.object.ReadAt)
}

func (b *backing) Write(p []byte, offset int64) error {
	return b.pieces(p, offset, func(ctx context.Context, p []byte, off uint64) error {
		return b.object.WriteAt(ctx, p, off, store.WriteOptions{})
	})
}

// pieces cuts a transfer, which gotgt does not bound, to the engine's size.
func (b *backing) pieces(p []byte, offset int64, do func(context.Context, []byte, uint64) error) error {
	for len(p) > 0 {
		n := min(len(p), b.transfer)
		if err := do(context.Background(), p[:n], uint64(offset)); err != nil {
			return err
		}
		p, offset = p[n:], offset+int64(n)
	}
	return nil
}

func (b *backing) DataSync(int64, int64) error           { return b.object.Flush(context.Background()) }
func (b *backing) DataAdvise(int64, int64, uint32) error { return nil }

// Unmap takes what UNMAP names, in bytes.
func (b *backing) Unmap(ranges []api.UnmapBlockDescriptor) error {
	for _, r := range ranges {
		if err := b.object.Unmap(context.Background(), r.Offset, uint64(r.TL), store.WriteOptions{}); err != nil {
			return err
		}
	}
	return nil
}
