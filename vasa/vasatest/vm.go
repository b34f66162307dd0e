package vasatest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"

	"vvsim/vasa/wire"
)

// vm is the virtual machine of the exercise, and what is known of its virtual volumes.
type vm struct {
	id, name string // instance UUID and folder
	config   string
	disks    []string
	swap     string
	memory   string
	first    []string                            // snapshots of the disks, without memory
	second   []string                            // with memory
	linked   string                              // linked clone
	made     map[string]bool                     // everything that is still there
	metadata map[string]map[string]string        // as it was set
	size     map[string]int64                    // MB
	content  map[string]map[uint64]uint64        // by offset: the number of what was written last
	handles  map[string]wire.VirtualVolumeHandle // of the host that runs the VM
	written  uint64
}

func newVM() vm {
	id := newUUID()
	return vm{id: id, name: "exercise-" + id[:8], made: map[string]bool{}, metadata: map[string]map[string]string{}, size: map[string]int64{},
		content: map[string]map[uint64]uint64{}, handles: map[string]wire.VirtualVolumeHandle{}}
}

func keysOf[K comparable, V any](m map[K]V) iter.Seq[K] { return maps.Keys(m) }

// ioBlock is the size of what is written and read at a time, and of its alignment, in bytes.
const ioBlock = 4096

// minDiskMB keeps the places that are written in chunks of their own.
const minDiskMB = 4

// Places in a disk that the exercise writes, in bytes.
const (
	placeStart  = 0
	placeMiddle = 2 << 20
)

// pattern is the block with a number: no two are alike.
func pattern(number uint64) []byte {
	p := make([]byte, 0, ioBlock)
	for i := uint64(0); len(p) < ioBlock; i++ {
		p = binary.LittleEndian.AppendUint64(p, number<<16|i)
	}
	return p
}

// access is the way to what the running host has bound.
func (x *exercise) access(id string) (Access, error) {
	h, ok := x.vm.handles[id]
	if !ok || h.PEInBandID.LUNID == nil {
		return Access{}, fmt.Errorf("%s is not bound", id)
	}
	return Access{VVol: id, PE: *h.PEInBandID.LUNID, SecondaryID: h.VVolSecondaryID, Host: x.host().GUID, Initiators: x.host().Initiators}, nil
}

// write puts a new block to each place of a bound virtual volume.
func (x *exercise) write(ctx context.Context, id string, places ...uint64) error {
	if x.o.IO == nil {
		return nil
	}
	a, err := x.access(id)
	if err != nil {
		return err
	}
	if x.vm.content[id] == nil {
		x.vm.content[id] = map[uint64]uint64{}
	}
	for _, at := range places {
		x.vm.written++
		if err := x.o.IO.Write(ctx, a, at, pattern(x.vm.written)); err != nil {
			return fmt.Errorf("write to %s at %d: %w", id, at, err)
		}
		x.vm.content[id][at] = x.vm.written
	}
	return nil
}

// verify reads what a bound virtual volume must contain: what was written, and zeros
// where nothing was.
func (x *exercise) verify(ctx context.Context, id string) error {
	if x.o.IO == nil {
		x.note("contents were not checked: there is no data path")
		return nil
	}
	a, err := x.access(id)
	if err != nil {
		return err
	}
	for _, at := range []uint64{placeStart, placeMiddle} {
		got, want := make([]byte, ioBlock), make([]byte, ioBlock)
		if number, written := x.vm.content[id][at]; written {
			want = pattern(number)
		}
		if err := x.o.IO.Read(ctx, a, at, got); err != nil {
			return fmt.Errorf("read of %s at %d: %w", id, at, err)
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("%s at %d has other contents than it should: %x... and not %x...", id, at, got[:16], want[:16])
		}
	}
	return nil
}

// derive notes that a virtual volume has the contents and size of another one.
func (x *exercise) derive(id, from string) {
	x.vm.made[id] = true
	x.vm.content[id] = maps.Clone(x.vm.content[from])
	x.vm.size[id] = x.vm.size[from]
}

// metadata is that of a new virtual volume, as a host sets it (vasa.md 6).
func (x *exercise) metadata(kind wire.VirtualVolumeType, name string) []wire.NameValuePair {
	list := Pairs("VMW_VVolType", string(kind), "VMW_VVolName", name, "VMW_ContainerId", x.container)
	if x.vm.config != "" {
		list = append(list, Pairs("VMW_VVolNamespace", x.namespace())...)
	}
	return list
}

// namespace is the path of the VM's folder, as its virtual volumes name it.
func (x *exercise) namespace() string { return "/vmfs/volumes/vvol:exercise/" + x.vm.config }

// noted keeps metadata that were set.
func (x *exercise) noted(id string, pairs []wire.NameValuePair) {
	if x.vm.metadata[id] == nil {
		x.vm.metadata[id] = map[string]string{}
	}
	for _, p := range pairs {
		x.vm.metadata[id][*p.ParameterName] = *p.ParameterValue
	}
}

// create makes a virtual volume of the VM.
func (x *exercise) create(ctx context.Context, kind wire.VirtualVolumeType, name string, mb int64) (string, error) {
	pairs := x.metadata(kind, name)
	id, err := x.host().Create(ctx, &wire.CreateVirtualVolume{ContainerID: x.container, VVolType: kind, SizeInMB: mb, Metadata: pairs})
	if err != nil {
		return "", err
	}
	x.vm.made[id], x.vm.size[id] = true, mb
	x.noted(id, pairs)
	return id, checkVVolID(id)
}

// bind binds for the running host and checks what comes with the handles.
func (x *exercise) bind(ctx context.Context, ids ...string) error {
	handles, err := x.bindOn(ctx, x.host(), wire.BindContextNormal, ids...)
	if err == nil {
		maps.Copy(x.vm.handles, handles)
	}
	return err
}

// bindOn binds for a host, and checks the rows.
func (x *exercise) bindOn(ctx context.Context, h *Host, how wire.BindContext, ids ...string) (map[string]wire.VirtualVolumeHandle, error) {
	rows, err := h.Bind(ctx, how, ids...)
	if err != nil {
		return nil, err
	}
	handles := map[string]wire.VirtualVolumeHandle{}
	for i, row := range rows {
		if err := x.checkRow(row, ids[i]); err != nil {
			return nil, err
		}
		handles[ids[i]] = *row.VVolHandle
	}
	return handles, nil
}

// unbind takes handles of the running host back.
func (x *exercise) unbind(ctx context.Context, ids ...string) error {
	var list []wire.VirtualVolumeHandle
	for _, id := range ids {
		list = append(list, x.vm.handles[id])
		delete(x.vm.handles, id)
	}
	return x.host().Unbind(ctx, wire.UnbindContextNormal, list...)
}

// remove deletes a virtual volume, after which it must be gone.
func (x *exercise) remove(ctx context.Context, ids ...string) error {
	for _, id := range ids {
		if err := x.host().Delete(ctx, id); err != nil {
			return err
		}
		delete(x.vm.made, id)
		if err := refused(x.host().Delete(ctx, id), "deleting "+id+" again", "NotFound"); err != nil {
			return err
		}
		if _, found, err := x.host().Metadata(ctx, id); err != nil || found {
			return errorOr(err, "%s was deleted and is still told", id)
		}
	}
	return nil
}

// errorOr is err if there is one, else what the format says.
func errorOr(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return fmt.Errorf(format, args...)
}
