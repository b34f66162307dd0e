package scenario

import (
	"fmt"
	"slices"

	"github.com/stretchr/testify/require"

	"vvsim/scsi/iscsi/initiator"
	"vvsim/vasa/vasatest"
)

// Hosts of TestProviderModel, what they have bound, and copies that the array makes for them.

// connect gives each host a certificate and a session with the provider, and one of iSCSI.
func (m *model) connect() {
	for i := range m.hosts {
		name := fmt.Sprint("esx", i+1)
		m.hosts[i] = modelHost{m.site.host(name), m.site.login(name, 0)}
	}
}

// host is any of the hosts, for what all of them may do.
func (m *model) host() *vasatest.Client { return m.hosts[m.r.IntN(modelHosts)].Client }

// restart stops and starts the array. Sessions and addresses are others afterwards; handles
// stay, and so does what they lead to.
func (m *model) restart() {
	for _, h := range m.hosts {
		m.no(h.session.Close())
	}
	m.site.restart()
	m.connect()
	for _, id := range m.order {
		for i, b := range m.all[id].bound {
			if b != nil {
				b.unit = m.site.unit(m.hosts[i].session, lunOf(b.handle))
			}
		}
	}
}

// openedAt is the logical unit of a volume at a host, bound if it is not yet, with the volume's
// present size.
func (m *model) openedAt(v *volume, host int) *initiator.Unit {
	h := m.hosts[host]
	if v.bound[host] == nil {
		handles, err := m.site.bind(m.ctx, h.Client, v.id)
		m.no(err)
		v.bound[host] = &modelBinding{handles[0], m.site.unit(h.session, lunOf(handles[0]))}
	}
	u := v.bound[host].unit
	_, err := u.ClearAttentions(m.ctx)
	m.no(err)
	g, err := u.ReadCapacity(m.ctx)
	m.no(err)
	require.EqualValues(m.t, len(v.content), g.Size(), m.log)
	return u
}

// releaseFrom takes a volume from a host, which reaches it no longer.
func (m *model) releaseFrom(v *volume, host int) {
	b := v.bound[host]
	if b == nil {
		return
	}
	m.no(m.site.unbind(m.ctx, m.hosts[host].Client, b.handle))
	v.bound[host] = nil
	_, err := b.unit.ReadAt(m.ctx, make([]byte, modelLogical), 0)
	require.Equal(m.t, "5/25/00", m.site.sense(err), "%s: host %d reads what it has not", m.log, host+1)
}

// unbind takes a volume from one host; it stays with the other, and cannot be deleted then.
func (m *model) unbind(v *volume) {
	if v == nil {
		return
	}
	m.releaseFrom(v, m.r.IntN(modelHosts))
	if v.bound != [modelHosts]*modelBinding{} {
		require.Equal(m.t, "ResourceInUse", vasatest.Fault(m.site.delete(m.ctx, m.host(), v.id)), m.log)
	}
}

// extendedCopy has the array copy ranges of logical blocks from one volume to another, or
// within one, sent to either of them.
func (m *model) extendedCopy(from, to *volume) {
	if to == nil {
		return
	}
	host := m.r.IntN(modelHosts)
	source, destination := m.openedAt(from, host), m.openedAt(to, host)
	var list []copySegment
	for range 1 + m.r.IntN(3) {
		s := copySegment{from: m.r.IntN(len(from.content) / modelLogical), to: m.r.IntN(len(to.content) / modelLogical)}
		if m.r.IntN(2) == 0 { // blocks lie alike
			s.to = min(s.to-s.to%8+s.from%8, len(to.content)/modelLogical-1)
		}
		s.blocks = min(1+m.r.IntN(1024), len(from.content)/modelLogical-s.from, len(to.content)/modelLogical-s.to)
		list = append(list, s)
	}
	manager := source
	if m.r.IntN(2) == 0 {
		manager = destination
	}
	m.no(m.site.extendedCopy(manager, source, destination, list...))
	for _, s := range list {
		m.copied(from, to, s)
	}
}

// copied notes what was copied: what is a hole as a whole, and holes that lie where blocks of
// the destination do, become holes; all else is written (store.Object, CopyFrom).
func (m *model) copied(from, to *volume, s copySegment) {
	const per = modelBlock / modelLogical
	source := slices.Clone(from.blocks)
	copy(to.content[s.to*modelLogical:], slices.Clone(from.content[s.from*modelLogical:(s.from+s.blocks)*modelLogical]))
	data := false
	for i := s.from / per; i*per < s.from+s.blocks; i++ {
		data = data || source[i].allocated
	}
	alike := s.from%per == s.to%per
	for i := s.to / per; i*per < s.to+s.blocks; i++ {
		whole := i*per >= s.to && (i+1)*per <= s.to+s.blocks
		switch {
		case !data:
			to.blocks[i] = block{m.birth(), to.blocks[i].allocated && !whole}
		case alike && whole:
			to.blocks[i] = block{m.birth(), source[i-s.to/per+s.from/per].allocated}
		default:
			to.blocks[i] = block{m.birth(), true}
		}
	}
}
