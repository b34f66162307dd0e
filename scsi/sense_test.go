package scsi

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

// TestSenseLayouts compares both formats with bytes written by hand after SPC-4
// 4.5.2 and 4.5.3, and reads them back.
func TestSenseLayouts(t *testing.T) {
	lba, far, specific := uint64(0x12345678), uint64(1)<<32, uint64(7)
	for name, c := range map[string]struct {
		s                 SenseData
		fixed, descriptor string
		lost              bool // the fixed format cannot hold all of it
	}{
		"no sense":          {SenseData{}, "70 00 00 00000000 0a 00000000 0000 00 000000", "72 00 0000 000000 00", false},
		"unit attention":    {Attention(PowerOnResetOrBusDeviceReset), "70 00 06 00000000 0a 00000000 2900 00 000000", "72 06 2900 000000 00", false},
		"absent":            {UnsupportedLUN(), "70 00 05 00000000 0a 00000000 2500 00 000000", "72 05 2500 000000 00", false},
		"operation code":    {InvalidOpCode(), "70 00 05 00000000 0a 00000000 2000 00 c00000", "72 05 2000 000000 08 0206 0000 c00000 00", false},
		"bit of the CDB":    {InvalidBitInCDB(1, 5), "70 00 05 00000000 0a 00000000 2400 00 cd0001", "72 05 2400 000000 08 0206 0000 cd0001 00", false},
		"field of a list":   {InvalidFieldInParameters(300), "70 00 05 00000000 0a 00000000 2600 00 80012c", "72 05 2600 000000 08 0206 0000 80012c 00", false},
		"bit of a list":     {InvalidBitInParameters(20, 3), "70 00 05 00000000 0a 00000000 2600 00 8b0014", "72 05 2600 000000 08 0206 0000 8b0014 00", false},
		"LBA":               {ReadError(lba), "f0 00 03 12345678 0a 00000000 1100 00 000000", "72 03 1100 000000 0c 000a 8000 0000000012345678", false},
		"LBA above 32 bits": {WriteError(far), "70 00 03 00000000 0a 00000000 0c00 00 000000", "72 03 0c00 000000 0c 000a 8000 0000000100000000", true},
		"miscompare":        {MiscompareAt(612), "f0 00 0e 00000264 0a 00000000 1d00 00 000000", "72 0e 1d00 000000 0c 000a 8000 0000000000000264", false},
		"progress": {SenseData{Key: NotReady, Code: SanitizeInProgress, SenseKeySpecific: [3]byte{0x80, 0x40, 0}},
			"70 00 02 00000000 0a 00000000 041b 00 804000", "72 02 041b 000000 08 0206 0000 804000 00", false},
		"deferred, command specific": {SenseData{Key: CopyAborted, Code: CopyTargetNotReachable, Deferred: true, Specific: &specific},
			"71 00 0a 00000000 0a 00000007 0d02 00 000000", "73 0a 0d02 000000 0c 010a 0000 0000000000000007", false},
		"everything": {SenseData{Key: IllegalRequest, Code: LBAOutOfRangeASC, Info: &lba, Specific: &specific, Field: &FieldPointer{InCDB: true, Byte: 2}},
			"f0 00 05 12345678 0a 00000007 2100 00 c00002",
			"72 05 2100 000000 20 000a 8000 0000000012345678 010a 0000 0000000000000007 0206 0000 c00002 00", false},
	} {
		fixed, descriptor := c.s.AppendFixed([]byte{0xee}), c.s.AppendDescriptor([]byte{0xee})
		require.Equal(t, append([]byte{0xee}, unhex(t, c.fixed)...), fixed, name)
		require.Equal(t, append([]byte{0xee}, unhex(t, c.descriptor)...), descriptor, name)
		require.Len(t, fixed, 1+FixedSenseLength, name)
		parsed, err := ParseSense(descriptor[1:])
		require.NoError(t, err, name)
		require.Equal(t, c.s, parsed, name)
		parsed, err = ParseSense(fixed[1:])
		require.NoError(t, err, name)
		want := c.s
		if c.lost {
			want.Info = nil
		}
		require.Equal(t, want, parsed, name)
	}
}

// TestSenseTruncated reads what an allocation length left over, and refuses less
// than key and code.
func TestSenseTruncated(t *testing.T) {
	s := InvalidBitInCDB(1, 5)
	fixed, descriptor := s.AppendFixed(nil), s.AppendDescriptor(nil)
	for n := range fixed {
		got, err := ParseSense(fixed[:n])
		require.Equal(t, n < 14, err != nil, "%d bytes", n)
		if err == nil {
			require.Equal(t, s.Code, got.Code)
			require.Nil(t, got.Field)
		}
	}
	for n := range descriptor {
		got, err := ParseSense(descriptor[:n])
		require.Equal(t, n < 4, err != nil, "%d bytes", n)
		if err == nil {
			require.Equal(t, s.Code, got.Code)
		}
	}
	for _, code := range []byte{0x00, 0x6f, 0x74, 0x7f} {
		_, err := ParseSense(append([]byte{code}, make([]byte, 17)...))
		require.Error(t, err, "response code %02Xh", code)
	}
}

// TestSenseText is what logs and test failures show.
func TestSenseText(t *testing.T) {
	require.Equal(t, "05/25/00 (ILLEGAL REQUEST)", UnsupportedLUN().String())
	require.Equal(t, "UNIT ATTENTION", UnitAttention.String())
	require.Equal(t, "RESERVATION CONFLICT", StatusReservationConflict.String())
	require.Equal(t, "status 99h", Status(0x99).String())
}

// FuzzParseSense takes any bytes: what parses keeps key and code through both formats.
func FuzzParseSense(f *testing.F) {
	info := uint64(9)
	for _, s := range []SenseData{{}, InvalidBitInCDB(1, 5), ReadError(1 << 40), {Key: Miscompare, Info: &info, Specific: &info, Deferred: true}} {
		f.Add(s.AppendFixed(nil))
		f.Add(s.AppendDescriptor(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSense(b)
		if err != nil {
			require.Equal(t, SenseData{}, s, "no sense data together with an error")
			return
		}
		again, err := ParseSense(s.AppendDescriptor(nil))
		require.NoError(t, err)
		require.Equal(t, s, again)
		again, err = ParseSense(s.AppendFixed(nil))
		require.NoError(t, err)
		require.Equal(t, s.String(), again.String())
		require.Equal(t, s.Deferred, again.Deferred)
	})
}
