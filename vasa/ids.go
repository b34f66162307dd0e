package vasa

import (
	"strings"

	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// mib is VASA's MB (vasa.md 5, sizes).
const mib = 1 << 20

// arrayID is the array's uniqueIdentifier.
func (p *Provider) arrayID() string { return "StorageArray:" + p.o.Service.ArrayID() }

// checkArray refuses the id of another array; absent is an error that has its own fault.
func (p *Provider) checkArray(id string) error {
	switch id {
	case p.arrayID():
		return nil
	case "":
		return invalid("the array's id is empty")
	}
	return refuse(&wire.NotFound{}, "no array %q", id)
}

// container finds a container by its UUID. A text that is no UUID is InvalidArgument, an
// unknown one NotFound.
func (p *Provider) container(id string) (vvol.StorageContainer, error) {
	var parsed vvol.ContainerID
	if err := parsed.UnmarshalText([]byte(strings.ToLower(id))); err != nil {
		return vvol.StorageContainer{}, invalid("container id %q is no UUID", id)
	}
	return p.o.Service.Container(parsed.String())
}

// volumeID reads a VVol's id as it travels: with its prefix.
func volumeID(s string) (vvol.ID, error) {
	if !strings.HasPrefix(s, "rfc4122.") {
		return vvol.ID{}, invalid("vvol id %q does not begin with rfc4122.", s)
	}
	id, err := vvol.ParseID(strings.ToLower(s))
	if err != nil {
		return vvol.ID{}, invalid("vvol id %q: %v", s, err)
	}
	return id, nil
}

// volume finds a VVol that can be used: prepared snapshots cannot be yet.
func (p *Provider) volume(s string) (vvol.VirtualVolume, error) {
	id, err := volumeID(s)
	if err != nil {
		return vvol.VirtualVolume{}, err
	}
	v, err := p.o.Service.VVol(id)
	if err == nil && v.State == vvol.Prepared {
		return vvol.VirtualVolume{}, refuse(&wire.NotFound{}, "snapshot %s was prepared and not taken yet", s)
	}
	return v, err
}

// checkLength refuses a list that is too long.
func (p *Provider) checkLength(n int) error {
	if limit := p.o.Limits.Batch; n > limit {
		return refuse(&wire.TooMany{MaxBatchSize: new(int64(limit))}, "%d items, at most %d", n, limit)
	}
	return nil
}

// checkBatch refuses an empty batch and one that is too long.
func (p *Provider) checkBatch(n int) error {
	if n == 0 {
		return invalid("the list is empty")
	}
	return p.checkLength(n)
}
