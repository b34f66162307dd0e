package device

import (
	"bytes"
	"sync"
	"sync/atomic"

	"vvsim/scsi"
	"vvsim/scsi/cdb"
)

// Mode pages that the device server has (SPC-4 7.5, SBC-3 6.4).
const (
	pageCaching       = 0x08
	pageControl       = 0x0a
	pageExceptions    = 0x1c
	pageAll           = 0x3f
	subpageAll        = 0xff
	modeDPOFUA        = 0x10
	modeWriteProtect  = 0x80
	controlDSense     = 0x04 // byte 2
	controlTAS        = 0x40 // byte 5
	controlSWP        = 0x08 // byte 4
	cachingWCE        = 0x04 // byte 2
	blockDescriptor   = 8
	longBlockDescript = 16
)

// modePages holds the current values of the changeable pages. Flags that every
// command reads are atomics.
type modePages struct {
	dSense, tas, swp atomic.Bool
	wce              atomic.Bool

	mu      sync.Mutex // guards changes and what follows
	through bool       // the medium is write-through: WCE stays zero
	control [12]byte
	caching [20]byte
}

// reset sets the default values.
func (m *modePages) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.control = [12]byte{pageControl, 10, 0, 0x10} // unrestricted reordering, QERR 0 (scsi.md 0 rule 14)
	m.caching = [20]byte{pageCaching, 18}
	m.caching[2] = cachingWCE
	m.publish()
}

// setWriteThrough says whether the medium is write-through, which it tells when it has
// changed. The cache is enabled, as by default, when it is no more.
func (m *modePages) setWriteThrough(on bool) (changed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.through == on {
		return false
	}
	m.through = on
	m.caching[2] |= cachingWCE
	m.publish()
	return true
}

func (m *modePages) writeThrough() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.through
}

// publish is called with mu held, after changes.
func (m *modePages) publish() {
	if m.through {
		m.caching[2] &^= cachingWCE
	}
	m.dSense.Store(m.control[2]&controlDSense != 0)
	m.tas.Store(m.control[5]&controlTAS != 0)
	m.swp.Store(m.control[4]&controlSWP != 0)
	m.wce.Store(m.caching[2]&cachingWCE != 0)
}

func (m *modePages) descriptorSense() bool   { return m.dSense.Load() }
func (m *modePages) taskAbortedStatus() bool { return m.tas.Load() }
func (m *modePages) writeProtected() bool    { return m.swp.Load() }

// writeCache tells whether writes may wait in a cache.
func (m *modePages) writeCache() bool { return m.wce.Load() }

// pageControlField values (SPC-4 6.11).
const (
	currentValues    = 0
	changeableValues = 1
	defaultValues    = 2
	savedValues      = 3
)

// page returns a page by page control field.
func (m *modePages) page(code byte, pc byte, k Kind) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	var current, changeable []byte
	switch code {
	case pageCaching:
		if k != Volume {
			return nil
		}
		current, changeable = m.caching[:], make([]byte, len(m.caching))
		if !m.through {
			changeable[2] = cachingWCE
		}
	case pageControl:
		current, changeable = m.control[:], make([]byte, len(m.control))
		changeable[2], changeable[4], changeable[5] = controlDSense, controlSWP, controlTAS
	case pageExceptions:
		current = []byte{pageExceptions, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
		changeable = make([]byte, len(current))
	default:
		return nil
	}
	switch pc {
	case changeableValues:
		copy(changeable, current[:2])
		return changeable
	case defaultValues:
		var d modePages
		d.through = m.through
		d.reset()
		switch code {
		case pageCaching:
			return d.caching[:]
		case pageControl:
			return d.control[:]
		}
	}
	return bytes.Clone(current)
}

// modeSense is SPC-4 6.11 and 6.12.
func modeSense(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	if lu.c.Kind == Administrative && !lu.c.Knobs().EndpointModes {
		return fail(scsi.InvalidOpCode())
	}
	var c cdb.Parameter
	c.Parse(t.CDB)
	six := c.Op == scsi.OpModeSense6
	pc, code, sub := c.Byte2>>6, c.Byte2&0x3f, c.Byte3
	if pc == savedValues {
		return fail(scsi.Sense(scsi.IllegalRequest, scsi.SavingParametersNotSupported))
	}
	if sub != 0 && sub != subpageAll {
		return fail(scsi.InvalidFieldInCDB(3))
	}
	var pages []byte
	if code == pageAll {
		for _, code := range []byte{pageCaching, pageControl, pageExceptions} {
			pages = append(pages, lu.mode.page(code, pc, lu.c.Kind)...)
		}
	} else if pages = lu.mode.page(code, pc, lu.c.Kind); pages == nil {
		return fail(scsi.InvalidFieldInCDB(2))
	}
	return parameterData(t, append(lu.modeHeader(six, c.Byte1, len(pages)), pages...), c.Length)
}

// modeHeader builds the mode parameter header and the block descriptor (SPC-4
// 7.5.5, 7.5.6), which flags of byte 1 may disable (DBD) or lengthen (LLBAA).
func (lu *LogicalUnit) modeHeader(six bool, flags byte, pages int) []byte {
	const dbd, llbaa = 0x08, 0x10
	var descriptor []byte
	if flags&dbd == 0 && lu.c.Kind == Volume {
		blocks := lu.blocks()
		if !six && flags&llbaa != 0 {
			descriptor = make([]byte, longBlockDescript)
			put64(descriptor, blocks)
			put32(descriptor[12:], BlockLength)
		} else {
			descriptor = make([]byte, blockDescriptor)
			put32(descriptor, uint32(min(blocks, 1<<32-1)))
			put32(descriptor[4:], BlockLength)
		}
	}
	var specific byte
	if lu.c.Kind == Volume {
		specific = modeDPOFUA
		if lu.mode.writeProtected() || lu.c.Medium.ReadOnly() {
			specific |= modeWriteProtect
		}
	}
	if six {
		return append([]byte{byte(min(3+len(descriptor)+pages, 255)), 0, specific, byte(len(descriptor))}, descriptor...)
	}
	h := make([]byte, 8)
	put16(h, uint16(6+len(descriptor)+pages))
	h[3] = specific
	if len(descriptor) == longBlockDescript {
		h[4] = 0x01 // LONGLBA
	}
	put16(h[6:], uint16(len(descriptor)))
	return append(h, descriptor...)
}

// modeSelect is SPC-4 6.9 and 6.10: nothing changes unless all of the list is good.
func modeSelect(lu *LogicalUnit, t *scsi.Task) scsi.Response {
	var c cdb.Parameter
	c.Parse(t.CDB)
	const pageFormat, savePages = 0x10, 0x01
	switch {
	case c.Byte1&savePages != 0:
		return fail(scsi.InvalidBitInCDB(1, 0))
	case c.Byte1&pageFormat == 0:
		return fail(scsi.InvalidBitInCDB(1, 4))
	case c.Length == 0:
		return scsi.Good()
	case len(t.DataOut) < int(c.Length):
		return fail(scsi.ParameterListLength())
	}
	at, sense := lu.skipModeHeader(t.DataOut, c.Op == scsi.OpModeSelect6)
	if sense != nil {
		return fail(*sense)
	}
	changed, sense := lu.mode.change(t.DataOut, at, lu.c.Kind)
	if sense != nil {
		return fail(*sense)
	}
	if changed {
		lu.Attention(scsi.ModeParametersChanged, func(n *scsi.Nexus) bool { return n != t.Nexus })
	}
	return scsi.Response{TransferLength: uint64(c.Length)}
}

// skipModeHeader checks header and block descriptor and returns where pages start.
func (lu *LogicalUnit) skipModeHeader(p []byte, six bool) (at int, sense *scsi.SenseData) {
	header := 8
	if six {
		header = 4
	}
	if len(p) < header {
		s := scsi.ParameterListLength()
		return 0, &s
	}
	descriptors := int(p[header-1])
	if !six {
		descriptors = int(get16(p[6:]))
	}
	if len(p) < header+descriptors {
		s := scsi.ParameterListLength()
		return 0, &s
	}
	length := blockDescriptor
	if !six && p[4]&0x01 != 0 { // LONGLBA
		length = longBlockDescript
	}
	if descriptors != 0 && descriptors != length {
		s := scsi.InvalidFieldInParameters(header - 1)
		return 0, &s
	}
	if descriptors > 0 {
		if at := lu.checkBlockDescriptor(p[header : header+descriptors]); at >= 0 {
			s := scsi.InvalidFieldInParameters(header + at)
			return 0, &s
		}
	}
	return header + descriptors, nil
}

// checkBlockDescriptor finds the field of a block descriptor that asks for a format
// or a capacity that the unit does not have; -1 when there is none. Zero blocks, and
// all ones, leave the capacity as it is (SBC-3 6.4.2).
func (lu *LogicalUnit) checkBlockDescriptor(d []byte) int {
	blocks, all := uint64(get32(d)), uint64(1<<32-1)
	if len(d) == longBlockDescript {
		blocks, all = get64(d), 1<<64-1
	}
	var have uint64
	if lu.c.Kind == Volume {
		have = min(lu.blocks(), all)
	}
	switch {
	case blocks != 0 && blocks != all && blocks != have:
		return 0
	case get32(d[len(d)-4:])&0xffffff != BlockLength:
		return len(d) - 3
	}
	return -1
}

// change applies the pages of a parameter list from offset at on, or none of them.
func (m *modePages) change(p []byte, at int, k Kind) (changed bool, sense *scsi.SenseData) {
	type edit struct{ page []byte }
	var edits []edit
	for at < len(p) {
		if len(p)-at < 2 {
			s := scsi.ParameterListLength()
			return false, &s
		}
		code := p[at] & 0x3f
		current, changeable := m.page(code, currentValues, k), m.page(code, changeableValues, k)
		switch {
		case current == nil || p[at]&0x40 != 0:
			s := scsi.InvalidFieldInParameters(at)
			return false, &s
		case p[at+1] != current[1]:
			s := scsi.InvalidFieldInParameters(at + 1)
			return false, &s
		case len(p)-at < len(current):
			s := scsi.ParameterListLength()
			return false, &s
		}
		page := bytes.Clone(p[at : at+len(current)])
		page[0] = current[0]
		for i := 2; i < len(page); i++ {
			if (page[i]^current[i])&^changeable[i] != 0 {
				s := scsi.InvalidFieldInParameters(at + i)
				return false, &s
			}
		}
		edits = append(edits, edit{page})
		at += len(current)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range edits {
		var target []byte
		switch e.page[0] {
		case pageCaching:
			target = m.caching[:]
		case pageControl:
			target = m.control[:]
		default:
			continue
		}
		changed = changed || !bytes.Equal(target, e.page)
		copy(target, e.page)
	}
	m.publish()
	return changed, nil
}
