package pdu

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// checkStable decodes, encodes and decodes again. Reserved bits of h need not
// survive; what the struct holds must.
func checkStable(t interface {
	require.TestingT
	Helper()
}, h Header) {
	t.Helper()
	p, err := Decode(h)
	if err != nil {
		require.ErrorIs(t, err, ErrOpCode)
		return
	}
	first := p.AppendTo(nil)
	require.Len(t, first, HeaderLength)
	require.Equal(t, h.OpCode(), Header(first).OpCode())
	again, err := Decode(first)
	require.NoError(t, err)
	require.Equal(t, p, again, "%v read back", h.OpCode())
}

// TestRoundTrip decodes arbitrary bytes under every operation code: what a
// struct read, it writes and reads again.
func TestRoundTrip(t *testing.T) {
	ops := slices.Sorted(maps.Keys(constructors))
	rapid.Check(t, func(t *rapid.T) {
		h := Header(rapid.SliceOfN(rapid.Byte(), HeaderLength, HeaderLength).Draw(t, "bhs"))
		op := rapid.SampledFrom(ops).Draw(t, "op")
		h[0] = h[0]&0x40 | byte(op)
		checkStable(t, h)
	})
}

func FuzzDecode(f *testing.F) {
	for _, g := range goldens {
		f.Add(g.pdu.AppendTo(nil))
	}
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) { checkStable(t, Header(b)) })
}

func TestAHS(t *testing.T) {
	cdb := make([]byte, 33)
	for i := range cdb {
		cdb[i] = byte(i)
	}
	require.Empty(t, AppendExtendedCDB(nil, cdb[:16]))
	wire := AppendReadLength(AppendExtendedCDB(nil, cdb), 0x01020304)
	want := append([]byte{0, 18, 1, 0}, cdb[16:]...) // AHSLength = CDB length - 15
	want = append(want, 0, 0, 0)                     // padding
	want = append(want, 0, 5, 2, 0, 1, 2, 3, 4)
	require.Equal(t, want, wire)

	var got []Segment
	for s, err := range AHS(wire) {
		require.NoError(t, err)
		got = append(got, s)
	}
	require.Equal(t, []Segment{{Type: AHSExtendedCDB, Data: cdb[16:]}, {Type: AHSReadLength, Data: []byte{1, 2, 3, 4}}}, got)
	for range AHS(wire) {
		break // stopping early is the caller's right
	}
	for range AHS(nil) {
		t.Fatal("no segment in no bytes")
	}
}

func TestAHSMalformed(t *testing.T) {
	for name, b := range map[string][]byte{
		"too short for a header":    {0, 1, 1},
		"length zero":               {0, 0, 1, 0},
		"longer than what is there": {0, 2, 1, 0},
		"padding missing":           {0, 2, 1, 0, 9},
		"all ones":                  {0xff, 0xff, 0xff, 0xff},
	} {
		n := 0
		for _, err := range AHS(b) {
			require.ErrorIs(t, err, ErrAHS, name)
			n++
		}
		require.Equal(t, 1, n, name)
	}
}

func FuzzAHS(f *testing.F) {
	f.Add(AppendReadLength(AppendExtendedCDB(nil, make([]byte, 32)), 7))
	f.Add([]byte{0, 2, 1, 0, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		var wire []byte
		for s, err := range AHS(b) {
			if err != nil {
				require.ErrorIs(t, err, ErrAHS)
				return
			}
			wire = s.AppendTo(wire)
		}
		require.Len(t, wire, len(b), "segments cover the bytes")
	})
}

func TestParseKeys(t *testing.T) {
	keys, err := ParseKeys([]byte("A=1\x00B=\x00C=x=y,z\x00\x00\x00"))
	require.NoError(t, err)
	require.Equal(t, Keys{{"A", "1"}, {"B", ""}, {"C", "x=y,z"}}, keys)
	v, ok := keys.Get("B")
	require.True(t, ok)
	require.Empty(t, v)
	_, ok = keys.Get("D")
	require.False(t, ok)
	require.Equal(t, "A=1\x00B=\x00C=x=y,z\x00", string(keys.AppendTo(nil)))
	keys, err = ParseKeys(nil)
	require.NoError(t, err)
	require.Empty(t, keys)
	keys, err = ParseKeys([]byte(strings.Repeat("k", MaxKeyLength) + "=" + strings.Repeat("v", MaxValueLength) + "\x00"))
	require.NoError(t, err)
	require.Len(t, keys, 1)
}

func TestParseKeysMalformed(t *testing.T) {
	many := bytes.Buffer{}
	for i := range MaxKeys + 1 {
		fmt.Fprintf(&many, "k%d=\x00", i)
	}
	for name, b := range map[string]string{
		"no end":         "A=1",
		"no equals":      "A\x00",
		"no key":         "=1\x00",
		"key too long":   strings.Repeat("k", MaxKeyLength+1) + "=\x00",
		"value too long": "A=" + strings.Repeat("v", MaxValueLength+1) + "\x00",
		"too many":       many.String(),
		"too much":       strings.Repeat("\x00", MaxTextLength+1),
		"twice":          "A=1\x00B=1\x00A=1\x00",
	} {
		_, err := ParseKeys([]byte(b))
		require.ErrorIs(t, err, ErrText, name)
		if name != "twice" {
			_, err = ParsePairs([]byte(b))
			require.ErrorIs(t, err, ErrText, name)
		}
	}
	pairs, err := ParsePairs([]byte("TargetName=a\x00TargetAddress=1\x00TargetAddress=2\x00"))
	require.NoError(t, err)
	require.Equal(t, Keys{{"TargetName", "a"}, {"TargetAddress", "1"}, {"TargetAddress", "2"}}, pairs)
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte("InitiatorName=iqn.2026-01.test:host\x00SessionType=Normal\x00"))
	f.Add([]byte("A=1\x00A=2\x00"))
	f.Add([]byte("\x00=\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		pairs, pairsErr := ParsePairs(b)
		keys, err := ParseKeys(b)
		if err != nil {
			require.ErrorIs(t, err, ErrText)
		}
		if pairsErr != nil {
			require.Error(t, err)
			return
		}
		again, err := ParsePairs(pairs.AppendTo(nil))
		require.NoError(t, err)
		require.Equal(t, pairs, again)
		for _, k := range keys {
			v, ok := keys.Get(k.Key)
			require.True(t, ok)
			require.Equal(t, k.Value, v)
		}
	})
}
