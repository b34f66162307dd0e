package scsi

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// LUN is an eight-byte logical unit number exactly as it stands on the wire
// (SAM-5 4.7, iSCSI BHS bytes 8-15). It is comparable and may be a map key; it
// is never converted to an integer as a whole.
type LUN [8]byte

// Largest numbers of the addressing methods.
const (
	MaxSimpleLUN     = 1<<14 - 1 // simple and flat space addressing carry 14 bits
	MaxPeripheralLUN = 1<<8 - 1
	MaxSubsidiary    = 1<<40 - 1 // long extended flat space addressing carries 40 bits
)

// Well-known logical units (SAM-5 4.7.7.5.1).
var (
	ReportLUNsWellKnown = LUN{0xc1, 0x01}
)

// AddressMethod is the addressing method of one LUN element (SAM-5 4.7.7).
type AddressMethod uint8

const (
	AddressInvalid      AddressMethod = iota
	AddressSimple                     // 00b: peripheral device, or simple logical unit where LU_CONG is one
	AddressFlat                       // 01b: flat space
	AddressLogicalUnit                // 10b: logical unit (bus, target, LUN)
	AddressExtendedFlat               // D2h: extended flat space, 24 bits
	AddressLongFlat                   // E2h: long extended flat space, 40 bits
	AddressWellKnown                  // C1h: well-known logical unit
)

// element decodes one LUN element at the start of b. size is the number of
// bytes that the element occupies; AddressInvalid has size 0.
func element(b []byte) (method AddressMethod, value uint64, size int) {
	switch b[0] >> 6 {
	case 0:
		return AddressSimple, uint64(b[0]&0x3f)<<8 | uint64(b[1]), 2
	case 1:
		return AddressFlat, uint64(b[0]&0x3f)<<8 | uint64(b[1]), 2
	case 2:
		return AddressLogicalUnit, uint64(b[0]&0x3f)<<8 | uint64(b[1]), 2
	}
	switch {
	case b[0] == 0xc1:
		return AddressWellKnown, uint64(b[1]), 2
	case b[0] == 0xd2 && len(b) >= 4:
		return AddressExtendedFlat, uint64(b[1])<<16 | uint64(binary.BigEndian.Uint16(b[2:])), 4
	case b[0] == 0xe2 && len(b) >= 6:
		return AddressLongFlat, uint64(b[1])<<32 | uint64(binary.BigEndian.Uint32(b[2:])), 6
	}
	return AddressInvalid, 0, 0
}

func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// SimpleLUN returns the LUN of number n in simple logical unit (or, up to 255,
// peripheral device) addressing: the form of protocol endpoints, which ESXi
// before 6.7 needs above 255 (scsi.md 0 rule 4). n is at most MaxSimpleLUN.
func SimpleLUN(n uint16) LUN {
	if n > MaxSimpleLUN {
		panic(fmt.Sprintf("scsi: LUN %d exceeds simple addressing", n))
	}
	return LUN{byte(n >> 8), byte(n)}
}

// DiskLUN returns the LUN under which REPORT LUNS lists an ordinary logical
// unit: peripheral device addressing up to 255, flat space above (SAM-5 4.7.7).
// n is at most MaxSimpleLUN.
func DiskLUN(n uint16) LUN {
	l := SimpleLUN(n)
	if n > MaxPeripheralLUN {
		l[0] |= 0x40
	}
	return l
}

// SubsidiaryLUN returns the conglomerate LUN of subsidiary id below the
// administrative LUN admin, in the six-byte E2h form (scsi.md 1.3). id is 1 to
// MaxSubsidiary.
func SubsidiaryLUN(admin LUN, id uint64) LUN {
	if id == 0 || id > MaxSubsidiary {
		panic(fmt.Sprintf("scsi: subsidiary id %d out of range", id))
	}
	l := LUN{admin[0], admin[1], 0xe2, byte(id >> 32)}
	binary.BigEndian.PutUint32(l[4:], uint32(id))
	return l
}

// SubsidiaryForm is one of the forms that a subsidiary element may have (scsi.md 1.3).
type SubsidiaryForm uint8

const (
	LongForm     SubsidiaryForm = iota // E2h and 40 bits
	ExtendedForm                       // D2h and 24 bits
	SimpleForm                         // 14 bits
)

// SubsidiaryLUNIn is SubsidiaryLUN in another form; an id that is too large for it
// takes the long form.
func SubsidiaryLUNIn(form SubsidiaryForm, admin LUN, id uint64) LUN {
	l := SubsidiaryLUN(admin, id)
	switch {
	case form == SimpleForm && id <= MaxSimpleLUN:
		return LUN{l[0], l[1], byte(id >> 8), byte(id)}
	case form == ExtendedForm && id < 1<<24:
		return LUN{l[0], l[1], 0xd2, byte(id >> 16), byte(id >> 8), byte(id)}
	}
	return l
}

// Administrative returns the first-level element of l with the rest zero: the
// LUN of the administrative logical unit of a conglomerate.
func (l LUN) Administrative() LUN { return LUN{l[0], l[1]} }

// Subsidiary returns the subsidiary id of a conglomerate LUN, whichever of the
// 2-, 4- and 6-byte forms it has. ok is false when l has no subsidiary element,
// its administrative element is not in simple form, or its bytes do not form a
// legal element followed by zeros.
func (l LUN) Subsidiary() (id uint64, ok bool) {
	if l[0]>>6 != 0 || zeros(l[2:]) {
		return 0, false
	}
	method, v, n := element(l[2:])
	switch method {
	case AddressSimple, AddressExtendedFlat, AddressLongFlat:
		return v, v != 0 && zeros(l[2+n:])
	}
	return 0, false
}

// SingleLevel decodes a LUN of one level: its method, its number, and whether
// the remaining bytes are zero as they must be.
func (l LUN) SingleLevel() (method AddressMethod, n uint64, ok bool) {
	method, n, size := element(l[:])
	return method, n, size > 0 && zeros(l[size:])
}

// DiskNumber returns the number of an ordinary logical unit addressed in
// peripheral device form (0-255) or flat space form.
func (l LUN) DiskNumber() (n uint16, ok bool) {
	method, v, ok := l.SingleLevel()
	if !ok || method == AddressSimple && v > MaxPeripheralLUN || method != AddressSimple && method != AddressFlat {
		return 0, false
	}
	return uint16(v), true
}

// WellKnown tells whether l addresses a well-known logical unit, and which.
func (l LUN) WellKnown() (n uint8, ok bool) {
	method, v, ok := l.SingleLevel()
	return uint8(v), ok && method == AddressWellKnown
}

// String is the sixteen hex digits of the LUN in wire order.
func (l LUN) String() string { return hex.EncodeToString(l[:]) }

// ParseLUN reads what String prints.
func ParseLUN(s string) (l LUN, err error) {
	if len(s) != 16 {
		return l, fmt.Errorf("LUN %q: want 16 hex digits", s)
	}
	if _, err := hex.Decode(l[:], []byte(s)); err != nil {
		return LUN{}, fmt.Errorf("LUN %q: %w", s, err)
	}
	return l, nil
}
