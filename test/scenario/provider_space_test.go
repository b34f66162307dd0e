package scenario

import (
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/api"
	"vvsim/vasa/vasatest"
	"vvsim/vasa/wire"
)

// Steps of TestProviderModel that are about thick volumes and about space, and the container's
// balance.

// spaceLimit is how long the engine may take to give back what nobody holds any more.
const spaceLimit = 30 * time.Second

// thick tells whether the array has to reserve space for a volume. Snapshots have none of
// their own.
func (v *volume) thick() bool { return v.level == "thick" && !v.readOnly }

// profile is a policy that asks for a service level, of a generation of its own.
func (m *model) profile(level string) *wire.StorageProfile {
	return profile("model", m.birth(), map[string]any{"serviceLevel": level})
}

// convert makes a thin volume thick, or a thick one thin, bound or not.
func (m *model) convert(v *volume) {
	if v == nil {
		return
	}
	next := "thick"
	if v.level == next {
		next = "thin"
	}
	m.no(m.site.apply(m.ctx, m.host(), v.id, m.profile(next)))
	v.level = next
}

// tooMuch asks for a thick volume that is larger than what can be free, which is refused and
// reserves nothing; a thin one of that size is made, and does not become thick.
func (m *model) tooMuch() {
	_, live, reserved := m.held()
	q := &wire.CreateVirtualVolume{ContainerID: m.site.container, VVolType: wire.VirtualVolumeTypeData, SizeInMB: modelContainerMB - int64((live+reserved)/modelMB) + 1,
		Metadata: pairs([]string{"VMW_VVolName", "huge"}), StorageProfile: m.profile("thick")}
	_, err := m.host().Call(m.ctx, q)
	require.Equal(m.t, "OutOfResource", vasatest.Fault(err), "%s: %v", m.log, err)
	q.StorageProfile = m.profile("thin")
	id, err := created(m.ctx, m.host(), q)
	m.no(err)
	err = m.site.apply(m.ctx, m.host(), id, m.profile("thick"))
	require.Equal(m.t, "OutOfResource", vasatest.Fault(err), "%s: %v", m.log, err)
	m.no(m.site.delete(m.ctx, m.host(), id))
}

// writeSame writes one logical block many times.
func (m *model) writeSame(v *volume) {
	if v == nil {
		return
	}
	u := m.opened(v)
	first := m.r.IntN(len(v.content) / modelLogical)
	n := min(1+m.r.IntN(512), len(v.content)/modelLogical-first)
	p := m.random(modelLogical)
	m.no(u.WriteSame(m.ctx, uint64(first), uint32(n), p, m.r.IntN(2) == 0)) // unmap is for zeros alone
	m.written(v, first*modelLogical, slices.Repeat(p, n))
}

// compareAndWrite writes a block where it holds what it should, and nothing where it does not.
func (m *model) compareAndWrite(v *volume) {
	if v == nil {
		return
	}
	u := m.opened(v)
	lba := m.r.IntN(len(v.content) / modelLogical)
	off := lba * modelLogical
	now, p := slices.Clone(v.content[off:off+modelLogical]), m.random(modelLogical)
	if m.r.IntN(3) == 0 {
		now[m.r.IntN(modelLogical)] ^= 1
		require.Equal(m.t, "e/1D/00", m.site.sense(u.CompareAndWrite(m.ctx, uint64(lba), now, p)), m.log)
		return
	}
	m.no(u.CompareAndWrite(m.ctx, uint64(lba), now, p))
	m.written(v, off, p)
}

// random are bytes none of which is zero.
func (m *model) random(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(m.r.Uint32()) | 1
	}
	return p
}

// held is what the volumes have to hold in all: logical, each for itself; live, what is shared
// counted once; and reserved, what the thick ones have not written yet, if all that nobody
// shares with them is written again in place.
func (m *model) held() (logical, live, reserved int) {
	owners := map[uint64]int{}
	for _, v := range m.all {
		for _, b := range v.blocks {
			if b.allocated {
				logical += modelBlock
				owners[b.birth]++
			}
		}
	}
	for _, v := range m.all {
		if !v.thick() {
			continue
		}
		for _, b := range v.blocks {
			if !b.allocated || owners[b.birth] > 1 {
				reserved += modelBlock
			}
		}
	}
	return logical, len(owners) * modelBlock, reserved
}

// balance compares what the array tells of the container, over SOAP and in the API, with each
// other and with the model. What nobody holds any more is given back later, so that there may
// be more in use than the model knows of, and never less.
func (m *model) balance() wire.ContainerSpaceStats {
	logical, live, reserved := m.held()
	k := m.shown()
	require.EqualValues(m.t, logical, k.LogicalBytes, "%s: logical bytes", m.log)
	require.Equal(m.t, len(m.order), k.Volumes, m.log)
	require.GreaterOrEqual(m.t, int(k.UsedBytes), live+reserved, "%s: used bytes; %d are live, %d to be reserved", m.log, live, reserved)
	require.GreaterOrEqual(m.t, int(k.ReservedBytes), reserved, "%s: reserved bytes", m.log)
	s, err := m.site.space(m.ctx, m.host())
	m.no(err)
	require.EqualValues(m.t, modelContainerMB, s.PhysicalTotal, m.log)
	require.Equal(m.t, s.PhysicalTotal, s.PhysicalUsed+s.PhysicalFree, "%s: %+v", m.log, s)
	require.Equal(m.t, s.LogicalLimit, s.LogicalUsed+s.LogicalFree, "%s: %+v", m.log, s)
	require.Equal(m.t, s.PhysicalFree, s.LogicalFree, "%s: %+v", m.log, s)
	require.GreaterOrEqual(m.t, s.PhysicalUsed, megabytes(live+reserved), "%s: %+v", m.log, s)
	require.GreaterOrEqual(m.t, s.LogicalUsed, megabytes(logical+reserved), "%s: %+v", m.log, s)
	return s
}

func (m *model) shown() api.Container {
	return call[api.Container](m.site.lab, "GET", "/api/v1/containers/model", nil, 0)
}

func megabytes(bytes int) int64 { return int64((bytes + modelMB - 1) / modelMB) }

// empty deletes until no volume has a relative: then the container holds what they hold and
// reserve, to the byte; then the rest.
func (m *model) empty() {
	families := map[uint64]bool{}
	for _, id := range slices.Clone(m.order) {
		v := m.all[id]
		if families[v.family] {
			m.delete(v)
		}
		families[v.family] = true
	}
	m.exactly("without relatives")
	for len(m.order) > 0 {
		m.delete(m.all[m.order[0]])
	}
	m.exactly("empty")
}

// exactly waits until all that nobody holds was given back.
func (m *model) exactly(when string) {
	_, live, reserved := m.held()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(spaceLimit); m.shown().UsedBytes != uint64(live+reserved); <-tick.C {
		if time.Now().After(deadline) {
			m.t.Fatalf("%s, %s: %d bytes are used, %d of them reserved; %d are live, %d to be reserved", m.log, when, m.shown().UsedBytes, m.shown().ReservedBytes, live, reserved)
		}
	}
	s := m.balance()
	require.Equal(m.t, megabytes(live+reserved), s.PhysicalUsed, "%s, %s", m.log, when)
	require.Equal(m.t, megabytes(live+reserved), s.LogicalUsed, "%s, %s", m.log, when)
}
