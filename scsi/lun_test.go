package scsi

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func lun(t testing.TB, s string) LUN {
	l, err := ParseLUN(s)
	require.NoError(t, err)
	require.Equal(t, s, l.String())
	return l
}

// TestSingleLevel decodes each addressing method (SAM-5 4.7.7; scsi.md 1.3).
func TestSingleLevel(t *testing.T) {
	for text, want := range map[string]struct {
		method AddressMethod
		n      uint64
		ok     bool
	}{
		"0000000000000000": {AddressSimple, 0, true},
		"0005000000000000": {AddressSimple, 5, true},
		"00ff000000000000": {AddressSimple, 255, true},
		"0100000000000000": {AddressSimple, 256, true}, // a protocol endpoint; no disk
		"3fff000000000000": {AddressSimple, 16383, true},
		"4001000000000000": {AddressFlat, 1, true},
		"4100000000000000": {AddressFlat, 256, true},
		"7fff000000000000": {AddressFlat, 16383, true},
		"8021000000000000": {AddressLogicalUnit, 0x21, true},
		"c101000000000000": {AddressWellKnown, 1, true},
		"d200000100000000": {AddressExtendedFlat, 1, true},
		"d2ffffff00000000": {AddressExtendedFlat, 1<<24 - 1, true},
		"e200000000010000": {AddressLongFlat, 1, true},
		"e2ffffffffff0000": {AddressLongFlat, 1<<40 - 1, true},
		// What does not end in zeros is of more than one level, or wrong.
		"0001000100000000": {AddressSimple, 1, false},
		"4001000000000001": {AddressFlat, 1, false},
		"d200000100000001": {AddressExtendedFlat, 1, false},
		"e200000000010001": {AddressLongFlat, 1, false},
		// Extended methods that nobody assigned, and "not specified".
		"c201000000000000": {AddressInvalid, 0, false},
		"f200000000000001": {AddressInvalid, 0, false},
		"ffffffffffffffff": {AddressInvalid, 0, false},
	} {
		method, n, ok := lun(t, text).SingleLevel()
		require.Equal(t, want.ok, ok, text)
		require.Equal(t, want.method, method, text)
		require.Equal(t, want.n, n, text)
	}
}

// TestConglomerate reads the examples of scsi.md 1.3: an administrative element in
// simple form before a subsidiary one of 2, 4 or 6 bytes.
func TestConglomerate(t *testing.T) {
	for text, want := range map[string]struct {
		admin string
		id    uint64
	}{
		"0001000000000000": {"0001000000000000", 0}, // the endpoint itself
		"00fee20000000001": {"00fe000000000000", 1}, // as a real array shows it
		"0100000000000000": {"0100000000000000", 0},
		"0100e200000000a6": {"0100000000000000", 0xa6},
		"00ff000100000000": {"00ff000000000000", 1}, // "255:1"
		"0300000000000000": {"0300000000000000", 0},
		"0001d20001020000": {"0001000000000000", 0x102},
		"01003fff00000000": {"0100000000000000", 16383},
		"0100e2ffffffffff": {"0100000000000000", MaxSubsidiary},
		// Not a subsidiary logical unit: zero ids, flat and other methods inside, bytes
		// behind the element, an administrative element that is not simple.
		"0100e20000000000": {"0100000000000000", 0},
		"0100d20000000000": {"0100000000000000", 0},
		"0100400100000000": {"0100000000000000", 0},
		"0100800100000000": {"0100000000000000", 0},
		"0100c10100000000": {"0100000000000000", 0},
		"0100000100000001": {"0100000000000000", 0},
		"0100d20000010001": {"0100000000000000", 0},
		"4100e20000000001": {"4100000000000000", 0},
		"ffffffffffffffff": {"ffff000000000000", 0},
	} {
		l := lun(t, text)
		id, ok := l.Subsidiary()
		require.Equal(t, want.admin, l.Administrative().String(), text)
		require.Equal(t, want.id != 0, ok, text)
		if ok {
			require.Equal(t, want.id, id, text)
		}
	}
}

// TestLUNsAsSent builds what REPORT LUNS and VASA hand out.
func TestLUNsAsSent(t *testing.T) {
	require.Equal(t, "0000000000000000", DiskLUN(0).String())
	require.Equal(t, "00ff000000000000", DiskLUN(255).String())
	require.Equal(t, "4100000000000000", DiskLUN(256).String(), "flat space above 255")
	require.Equal(t, "7fff000000000000", DiskLUN(MaxSimpleLUN).String())
	require.Equal(t, "0100000000000000", SimpleLUN(256).String(), "ESXi before 6.7 knows no flat form")
	require.Equal(t, "0100e200000000a6", SubsidiaryLUN(SimpleLUN(256), 0xa6).String())
	require.Equal(t, "0100e2ffffffffff", SubsidiaryLUN(SimpleLUN(256), MaxSubsidiary).String())
	require.Panics(t, func() { SimpleLUN(MaxSimpleLUN + 1) })
	require.Panics(t, func() { SubsidiaryLUN(LUN{}, 0) })
	require.Panics(t, func() { SubsidiaryLUN(LUN{}, MaxSubsidiary+1) })
	n, ok := ReportLUNsWellKnown.WellKnown()
	require.True(t, ok)
	require.Equal(t, uint8(1), n)
}

// TestDiskNumber accepts both forms of ordinary logical units and no other.
func TestDiskNumber(t *testing.T) {
	for text, want := range map[string]int{
		"0007000000000000": 7, "4007000000000000": 7, "4100000000000000": 256,
		"0100000000000000": -1, "8001000000000000": -1, "c101000000000000": -1, "d200000100000000": -1, "0007000100000000": -1,
	} {
		n, ok := lun(t, text).DiskNumber()
		require.Equal(t, want >= 0, ok, text)
		if ok {
			require.Equal(t, want, int(n), text)
		}
	}
}

func TestParseLUNRefuses(t *testing.T) {
	for _, s := range []string{"", "00", "01000000000000000", "0100e200000000g6", "0x01000000000000"} {
		_, err := ParseLUN(s)
		require.Error(t, err, s)
	}
}

// FuzzLUN takes any eight bytes: what decodes is one thing and encodes back.
func FuzzLUN(f *testing.F) {
	for _, s := range []string{"0000000000000000", "0100e200000000a6", "c101000000000000", "00ff000100000000", "ffffffffffffffff"} {
		l := lun(f, s)
		f.Add(l[:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 8 {
			return
		}
		l := LUN(b)
		again, err := ParseLUN(l.String())
		require.NoError(t, err)
		require.Equal(t, l, again)
		_, _, single := l.SingleLevel()
		id, subsidiary := l.Subsidiary()
		require.False(t, single && subsidiary, "%v is of one level and of two", l)
		if subsidiary {
			require.NotZero(t, id)
			sent, ok := SubsidiaryLUN(l.Administrative(), id).Subsidiary()
			require.True(t, ok)
			require.Equal(t, id, sent)
		}
		if n, ok := l.DiskNumber(); ok {
			back, ok := DiskLUN(n).DiskNumber()
			require.True(t, ok)
			require.Equal(t, n, back)
		}
	})
}

// TestSubsidiaryForms writes an id in each form, and reads it back.
func TestSubsidiaryForms(t *testing.T) {
	for _, x := range []struct {
		form SubsidiaryForm
		id   uint64
		want string
	}{
		{LongForm, 0xa6, "0100e200000000a6"},
		{ExtendedForm, 0x102, "0100d20001020000"},
		{ExtendedForm, 1<<24 - 1, "0100d2ffffff0000"},
		{ExtendedForm, 1 << 24, "0100e20001000000"},
		{SimpleForm, 1, "0100000100000000"},
		{SimpleForm, MaxSimpleLUN, "01003fff00000000"},
		{SimpleForm, MaxSimpleLUN + 1, "0100e20000004000"},
	} {
		l := SubsidiaryLUNIn(x.form, SimpleLUN(256), x.id)
		require.Equal(t, x.want, l.String())
		id, ok := l.Subsidiary()
		require.True(t, ok)
		require.Equal(t, x.id, id)
	}
}
