package initiator

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"

	"vvsim/scsi"
	"vvsim/scsi/cdb"
)

// Limits of typed commands.
const (
	maxAttentions    = 32       // TEST UNIT READY in ClearAttentions
	maxParameterData = 1 << 20  // of one parameter data transfer
	defaultTransfer  = 1 << 20  // bytes of one READ or WRITE when the unit names no limit
	maxBlockSize     = 64 << 10 // a logical block
	maxUnmapRanges   = 4095     // descriptors of one UNMAP (its list length has 16 bits)
	firstAllocation  = 4096     // of a page whose length is not known
	lunListOverhead  = 8        // bytes before the first LUN of REPORT LUNS
)

// Path carries commands to a target: a Session, or whatever chooses among
// several.
type Path interface {
	// Execute runs one command; see Session.Execute.
	Execute(ctx context.Context, c Command) (Result, error)
	// Start and Cancel are Session.Start and Session.Cancel.
	Start(c *Call) error
	Cancel(c *Call) bool
}

// Unit is one logical unit, with a method per command. Methods return a
// *CheckConditionError or a *StatusError for a status other than GOOD, and the
// errors of Path. All are safe for concurrent use.
type Unit struct {
	path Path
	lun  scsi.LUN

	mu       sync.Mutex
	geometry *Geometry
}

// Unit returns the logical unit lun of the session; nothing is sent.
func (s *Session) Unit(lun scsi.LUN) *Unit { return NewUnit(s, lun) }

// NewUnit returns a logical unit behind a path; nothing is sent.
func NewUnit(p Path, lun scsi.LUN) *Unit { return &Unit{path: p, lun: lun} }

// LUN is the unit's LUN.
func (u *Unit) LUN() scsi.LUN { return u.lun }

// Execute runs any command; the Result is there with an error of status, too. in
// is the length of Data-In.
func (u *Unit) Execute(ctx context.Context, cdb, out []byte, in int) (Result, error) {
	return u.execute(ctx, Command{CDB: cdb, DataOut: out, DataInLength: in})
}

func (u *Unit) execute(ctx context.Context, c Command) (Result, error) {
	c.LUN = u.lun
	if c.Attribute == scsi.Untagged {
		c.Attribute = scsi.Simple
	}
	r, err := u.path.Execute(ctx, c)
	if err != nil {
		return r, fmt.Errorf("LUN %v: %w", u.lun, err)
	}
	err = r.Err(&c)
	return r, err
}

// block runs a command on a range of logical blocks.
func (u *Unit) block(ctx context.Context, c cdb.Block, out, in []byte) error {
	r, err := u.execute(ctx, Command{CDB: c.AppendTo(nil), DataOut: out, DataIn: in})
	if err == nil && len(r.DataIn) != len(in) {
		return fmt.Errorf("%w: %v brought %d bytes of %d", ErrData, c.Op, len(r.DataIn), len(in))
	}
	return err
}

// ParameterIn runs a command that returns parameter data.
func (u *Unit) ParameterIn(ctx context.Context, c cdb.Parameter) ([]byte, error) {
	if c.Length > maxParameterData {
		return nil, invalid("allocation length %d", c.Length)
	}
	r, err := u.Execute(ctx, c.AppendTo(nil), nil, int(c.Length))
	return r.DataIn, err
}

// ParameterOut runs a command that takes a parameter list; its length is filled
// in.
func (u *Unit) ParameterOut(ctx context.Context, c cdb.Parameter, list []byte) error {
	c.Length = uint32(len(list))
	_, err := u.Execute(ctx, c.AppendTo(nil), list, 0)
	return err
}

// whole fetches parameter data, and once more when they are longer than first
// thought. length reads the whole length from the beginning of the data, which
// has at least least bytes.
func (u *Unit) whole(ctx context.Context, c cdb.Parameter, least int, length func([]byte) int) ([]byte, error) {
	for range 2 {
		b, err := u.ParameterIn(ctx, c)
		if err != nil {
			return nil, err
		}
		if len(b) < least {
			return nil, fmt.Errorf("%w: %v with %d bytes", ErrData, c.Op, len(b))
		}
		n := length(b)
		if n <= len(b) {
			return b[:n], nil
		}
		if n > maxParameterData {
			return nil, fmt.Errorf("%w: %v announces %d bytes", ErrData, c.Op, n)
		}
		c.Length = uint32(n)
	}
	return nil, fmt.Errorf("%w: %v is shorter than it says", ErrData, c.Op)
}

// TestUnitReady is TEST UNIT READY (SPC-4 6.47).
func (u *Unit) TestUnitReady(ctx context.Context) error {
	_, err := u.Execute(ctx, make([]byte, 6), nil, 0)
	return err
}

// ClearAttentions sends TEST UNIT READY until the unit has no unit attention for
// this nexus any more, and returns those it had. Another condition is an error.
func (u *Unit) ClearAttentions(ctx context.Context) (cleared []scsi.SenseData, err error) {
	for range maxAttentions {
		err = u.TestUnitReady(ctx)
		s := SenseOf(err)
		if s == nil || s.Key != scsi.UnitAttention {
			return cleared, err
		}
		cleared = append(cleared, *s)
	}
	return cleared, err
}

// RequestSense is REQUEST SENSE (SPC-4 6.39).
func (u *Unit) RequestSense(ctx context.Context, descriptor bool) (scsi.SenseData, error) {
	c := cdb.Parameter{Op: scsi.OpRequestSense, Length: 252}
	if descriptor {
		c.Byte1 = 1
	}
	b, err := u.ParameterIn(ctx, c)
	if err != nil {
		return scsi.SenseData{}, err
	}
	s, err := scsi.ParseSense(b)
	if err != nil {
		return s, fmt.Errorf("%w: %w", ErrData, err)
	}
	return s, nil
}

// InquiryData is standard INQUIRY data (SPC-4 6.6.2).
type InquiryData struct {
	Qualifier, DeviceType     uint8
	Conglomerate              bool // LU_CONG
	Version                   uint8
	TPGS                      uint8
	ThirdPartyCopy            bool // 3PC
	Vendor, Product, Revision string
	Raw                       []byte
}

// Inquiry is INQUIRY without EVPD.
func (u *Unit) Inquiry(ctx context.Context) (InquiryData, error) {
	b, err := u.whole(ctx, cdb.Parameter{Op: scsi.OpInquiry, Length: 96}, 36, func(b []byte) int { return 5 + int(b[4]) })
	if err != nil {
		return InquiryData{}, err
	}
	if len(b) < 36 {
		return InquiryData{}, fmt.Errorf("%w: %d bytes of INQUIRY data", ErrData, len(b))
	}
	text := func(b []byte) string { return strings.TrimRight(string(b), " \x00") }
	return InquiryData{Qualifier: b[0] >> 5, DeviceType: b[0] & 0x1f, Conglomerate: b[1]&0x40 != 0, Version: b[2], TPGS: b[5] >> 4 & 3,
		ThirdPartyCopy: b[5]&8 != 0, Vendor: text(b[8:16]), Product: text(b[16:32]), Revision: text(b[32:36]), Raw: b}, nil
}

// VPD is INQUIRY with EVPD: a vital product data page with its header of four
// bytes (SPC-4 7.8).
func (u *Unit) VPD(ctx context.Context, page uint8) ([]byte, error) {
	c := cdb.Parameter{Op: scsi.OpInquiry, Byte1: 1, Byte2: page, Length: firstAllocation}
	b, err := u.whole(ctx, c, 4, func(b []byte) int { return 4 + int(binary.BigEndian.Uint16(b[2:])) })
	if err == nil && b[1] != page {
		return nil, fmt.Errorf("%w: VPD page %02Xh instead of %02Xh", ErrData, b[1], page)
	}
	return b, err
}

// Designator names something, in VPD page 83h (SPC-4 7.8.6).
type Designator struct {
	CodeSet, Association, Type uint8
	ID                         []byte
}

// Designators is VPD page 83h.
func (u *Unit) Designators(ctx context.Context) (list []Designator, err error) {
	b, err := u.VPD(ctx, 0x83)
	if err != nil {
		return nil, err
	}
	for b = b[4:]; len(b) > 0; {
		if len(b) < 4 || len(b) < 4+int(b[3]) {
			return nil, fmt.Errorf("%w: designator cut off", ErrData)
		}
		n := 4 + int(b[3])
		list = append(list, Designator{CodeSet: b[0] & 0xf, Association: b[1] >> 4 & 3, Type: b[1] & 0xf, ID: b[4:n:n]})
		b = b[n:]
	}
	return list, nil
}

// Values of SELECT REPORT (SPC-4 6.33, scsi.md 1.6).
const (
	ReportAddressable    = 0x00
	ReportWellKnown      = 0x01
	ReportAll            = 0x02
	ReportAdministrative = 0x10
	ReportAdminBelow     = 0x11
	ReportSubsidiary     = 0x12
)

// ReportLUNs is REPORT LUNS (SPC-4 6.33).
func (u *Unit) ReportLUNs(ctx context.Context, selectReport uint8) ([]scsi.LUN, error) {
	c := cdb.Parameter{Op: scsi.OpReportLUNs, Byte2: selectReport, Length: firstAllocation}
	b, err := u.whole(ctx, c, lunListOverhead, func(b []byte) int {
		return lunListOverhead + int(min(binary.BigEndian.Uint32(b), 2*maxParameterData))
	})
	if err != nil {
		return nil, err
	}
	b = b[lunListOverhead:]
	if len(b)%8 != 0 {
		return nil, fmt.Errorf("%w: LUN list of %d bytes", ErrData, len(b))
	}
	luns := make([]scsi.LUN, 0, len(b)/8)
	for ; len(b) > 0; b = b[8:] {
		luns = append(luns, scsi.LUN(b))
	}
	return luns, nil
}

// PersistentReserveIn returns the parameter data of PERSISTENT RESERVE IN
// (SPC-4 6.15).
func (u *Unit) PersistentReserveIn(ctx context.Context, serviceAction uint8) ([]byte, error) {
	c := cdb.Parameter{Op: scsi.OpPersistentReserveIn, Byte1: serviceAction, Length: firstAllocation}
	if serviceAction == scsi.SAPersistentReportCapabilities {
		return u.ParameterIn(ctx, c)
	}
	return u.whole(ctx, c, 8, func(b []byte) int { return 8 + int(min(binary.BigEndian.Uint32(b[4:]), 2*maxParameterData)) })
}

// PersistentReservation is what PERSISTENT RESERVE OUT says (SPC-4 6.16), but for
// REGISTER AND MOVE.
type PersistentReservation struct {
	ServiceAction         uint8
	Type                  uint8 // 1, 3, 5, 6, 7 or 8
	Key, ServiceActionKey uint64
	AllTargetPorts, APTPL bool
}

// PersistentReserveOut is PERSISTENT RESERVE OUT.
func (u *Unit) PersistentReserveOut(ctx context.Context, p PersistentReservation) error {
	list := make([]byte, 24)
	binary.BigEndian.PutUint64(list, p.Key)
	binary.BigEndian.PutUint64(list[8:], p.ServiceActionKey)
	if p.AllTargetPorts {
		list[20] |= 0x04
	}
	if p.APTPL {
		list[20] |= 0x01
	}
	return u.ParameterOut(ctx, cdb.Parameter{Op: scsi.OpPersistentReserveOut, Byte1: p.ServiceAction, Byte2: p.Type & 0xf}, list)
}

// unsupported tells whether an error says that the unit lacks a page or command.
func unsupported(err error) bool {
	check, ok := errors.AsType[*CheckConditionError](err)
	return ok && check.Sense != nil && check.Sense.Key == scsi.IllegalRequest && check.Sense.Code != scsi.LogicalUnitNotSupported
}
