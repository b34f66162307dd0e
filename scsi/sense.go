package scsi

import (
	"encoding/binary"
	"fmt"
	"math"
)

// SenseData is the content of sense data, independent of its format.
type SenseData struct {
	Key      SenseKey
	Code     ASC
	Deferred bool
	// Info is the INFORMATION field: an LBA, or a byte offset for MISCOMPARE.
	Info *uint64
	// Specific is the COMMAND-SPECIFIC INFORMATION field.
	Specific *uint64
	// Field points at the offending byte, with ILLEGAL REQUEST.
	Field *FieldPointer
	// SenseKeySpecific holds the three raw bytes of other sense key specific
	// fields, such as a progress indication; used when Field is nil and SKSV is set
	// in it (bit 7 of the first byte).
	SenseKeySpecific [3]byte
}

// FieldPointer says which byte of the CDB or of the parameter list is in error
// (SPC-4 4.5.2.4.2).
type FieldPointer struct {
	InCDB    bool  // C/D
	BitValid bool  // BPV
	Bit      uint8 // most significant bit of the field, 0-7
	Byte     uint16
}

func (f *FieldPointer) bytes() [3]byte {
	b := [3]byte{0x80, byte(f.Byte >> 8), byte(f.Byte)}
	if f.InCDB {
		b[0] |= 0x40
	}
	if f.BitValid {
		b[0] |= 0x08 | f.Bit&7
	}
	return b
}

// FixedSenseLength is the length of fixed format sense data as the array sends it.
const FixedSenseLength = 18

// sks returns the sense key specific bytes; valid when bit 7 of the first is set.
func (s *SenseData) sks() [3]byte {
	if s.Field != nil {
		return s.Field.bytes()
	}
	return s.SenseKeySpecific
}

// AppendFixed appends s in fixed format, FixedSenseLength bytes (SPC-4 4.5.3).
// An INFORMATION or COMMAND-SPECIFIC value above 32 bits is left out with VALID
// zero.
func (s *SenseData) AppendFixed(b []byte) []byte {
	var f [FixedSenseLength]byte
	f[0] = 0x70
	if s.Deferred {
		f[0] = 0x71
	}
	if s.Info != nil && *s.Info <= math.MaxUint32 {
		f[0] |= 0x80
		binary.BigEndian.PutUint32(f[3:], uint32(*s.Info))
	}
	f[2] = byte(s.Key)
	f[7] = FixedSenseLength - 8
	if s.Specific != nil && *s.Specific <= math.MaxUint32 {
		binary.BigEndian.PutUint32(f[8:], uint32(*s.Specific))
	}
	f[12], f[13] = byte(s.Code>>8), byte(s.Code)
	if k := s.sks(); k[0]&0x80 != 0 {
		copy(f[15:], k[:])
	}
	return append(b, f[:]...)
}

// AppendDescriptor appends s in descriptor format (SPC-4 4.5.2).
func (s *SenseData) AppendDescriptor(b []byte) []byte {
	start := len(b)
	code := byte(0x72)
	if s.Deferred {
		code = 0x73
	}
	b = append(b, code, byte(s.Key), byte(s.Code>>8), byte(s.Code), 0, 0, 0, 0)
	if s.Info != nil {
		b = append(b, 0x00, 0x0a, 0x80, 0)
		b = binary.BigEndian.AppendUint64(b, *s.Info)
	}
	if s.Specific != nil {
		b = append(b, 0x01, 0x0a, 0, 0)
		b = binary.BigEndian.AppendUint64(b, *s.Specific)
	}
	if k := s.sks(); k[0]&0x80 != 0 {
		b = append(b, 0x02, 0x06, 0, 0, k[0], k[1], k[2], 0)
	}
	b[start+7] = byte(len(b) - start - 8)
	return b
}

// ParseSense reads fixed or descriptor format sense data, tolerating truncation
// after the additional sense code qualifier.
func ParseSense(b []byte) (s SenseData, err error) {
	if len(b) == 0 {
		return s, fmt.Errorf("sense data: empty")
	}
	code := b[0] & 0x7f
	s.Deferred = code&1 != 0
	switch {
	case code>>1 == 0x70>>1 && len(b) >= 14:
		s.parseFixed(b)
	case code>>1 == 0x72>>1 && len(b) >= 4:
		s.parseDescriptor(b)
	default:
		return SenseData{}, fmt.Errorf("sense data: response code %02Xh with %d bytes", code, len(b))
	}
	return s, nil
}

func (s *SenseData) parseFixed(b []byte) {
	s.Key = SenseKey(b[2] & 0xf)
	s.Code = ASC(binary.BigEndian.Uint16(b[12:]))
	if b[0]&0x80 != 0 {
		v := uint64(binary.BigEndian.Uint32(b[3:]))
		s.Info = &v
	}
	if v := uint64(binary.BigEndian.Uint32(b[8:])); v != 0 {
		s.Specific = &v
	}
	if len(b) >= 18 {
		s.parseSKS(b[15:18])
	}
}

func (s *SenseData) parseDescriptor(b []byte) {
	s.Key = SenseKey(b[1] & 0xf)
	s.Code = ASC(binary.BigEndian.Uint16(b[2:]))
	if len(b) < 8 {
		return
	}
	d := b[8:min(len(b), 8+int(b[7]))]
	for len(d) >= 2 && len(d) >= 2+int(d[1]) {
		n := 2 + int(d[1])
		switch {
		case d[0] == 0 && n >= 12 && d[2]&0x80 != 0:
			v := binary.BigEndian.Uint64(d[4:])
			s.Info = &v
		case d[0] == 1 && n >= 12:
			v := binary.BigEndian.Uint64(d[4:])
			s.Specific = &v
		case d[0] == 2 && n >= 8:
			s.parseSKS(d[4:7])
		}
		d = d[n:]
	}
}

func (s *SenseData) parseSKS(b []byte) {
	switch {
	case b[0]&0x80 == 0:
	case s.Key == IllegalRequest:
		s.Field = &FieldPointer{InCDB: b[0]&0x40 != 0, BitValid: b[0]&8 != 0, Byte: binary.BigEndian.Uint16(b[1:])}
		if s.Field.BitValid {
			s.Field.Bit = b[0] & 7
		}
	default:
		copy(s.SenseKeySpecific[:], b)
	}
}

// String is "5/25/00" style text with the key's name.
func (s SenseData) String() string {
	return fmt.Sprintf("%02X/%v (%v)", uint8(s.Key), s.Code, s.Key)
}

// Sense returns sense data of a key and code with nothing else.
func Sense(k SenseKey, c ASC) SenseData { return SenseData{Key: k, Code: c} }

// Attention returns UNIT ATTENTION sense data.
func Attention(c ASC) SenseData { return Sense(UnitAttention, c) }

// InvalidOpCode says that the operation code is not supported (SPC-4 4.5.6, field pointer byte 0).
func InvalidOpCode() SenseData {
	return SenseData{Key: IllegalRequest, Code: InvalidCommandOperationCode, Field: &FieldPointer{InCDB: true}}
}

// InvalidFieldInCDB points at byte i of the CDB.
func InvalidFieldInCDB(i int) SenseData {
	return SenseData{Key: IllegalRequest, Code: InvalidFieldInCDBASC, Field: &FieldPointer{InCDB: true, Byte: uint16(i)}}
}

// InvalidBitInCDB points at a bit of byte i of the CDB.
func InvalidBitInCDB(i int, bit uint8) SenseData {
	return SenseData{Key: IllegalRequest, Code: InvalidFieldInCDBASC,
		Field: &FieldPointer{InCDB: true, Byte: uint16(i), BitValid: true, Bit: bit}}
}

// InvalidFieldInParameters points at byte i of the parameter list.
func InvalidFieldInParameters(i int) SenseData {
	return SenseData{Key: IllegalRequest, Code: InvalidFieldInParameterASC, Field: &FieldPointer{Byte: uint16(i)}}
}

// InvalidBitInParameters points at a bit of byte i of the parameter list.
func InvalidBitInParameters(i int, bit uint8) SenseData {
	return SenseData{Key: IllegalRequest, Code: InvalidFieldInParameterASC,
		Field: &FieldPointer{Byte: uint16(i), BitValid: true, Bit: bit}}
}

// ParameterListLength says that the parameter list is shorter than its content
// or than what the CDB announces.
func ParameterListLength() SenseData { return Sense(IllegalRequest, ParameterListLengthError) }

// LBAOutOfRange carries the first LBA out of range in INFORMATION.
func LBAOutOfRange(lba uint64) SenseData {
	return SenseData{Key: IllegalRequest, Code: LBAOutOfRangeASC, Info: &lba}
}

// UnsupportedLUN is the answer for an absent, unbound or deleted logical unit;
// ESXi takes it as permanent device loss (scsi.md 2.2).
func UnsupportedLUN() SenseData { return Sense(IllegalRequest, LogicalUnitNotSupported) }

// MiscompareAt carries the byte offset of the first difference (SBC-3 5.2).
func MiscompareAt(offset uint64) SenseData {
	return SenseData{Key: Miscompare, Code: MiscompareDuringVerify, Info: &offset}
}

// ReadError is an unrecovered read error at lba.
func ReadError(lba uint64) SenseData {
	return SenseData{Key: MediumError, Code: UnrecoveredReadError, Info: &lba}
}

// WriteError is a medium error while writing at lba.
func WriteError(lba uint64) SenseData {
	return SenseData{Key: MediumError, Code: WriteErrorASC, Info: &lba}
}

// SpaceAllocationFailed says that a thin pool is full (SBC-3 4.7.3.6).
func SpaceAllocationFailed() SenseData { return Sense(DataProtect, SpaceAllocationFailedProtect) }

// WriteProtected refuses a write to a read-only logical unit.
func WriteProtected() SenseData { return Sense(DataProtect, WriteProtectedASC) }

// InternalTargetFailure is the answer to a defect of the array itself.
func InternalTargetFailure() SenseData { return Sense(HardwareError, InternalTargetFailureASC) }
