package grammar

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Words stand in the text at their columns, in order, with nothing but blanks between them.
func FuzzSplit(f *testing.F) {
	for _, text := range []string{"", "lu -> pdl", "  lu\tvvol=\"a \\\" b\"  -> busy ", `"`, "a\x01b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		words, at, err := Split(text)
		if err != nil {
			require.True(t, at >= 1 && at <= len(text)+1, "column %d", at)
			return
		}
		end := 0
		for _, w := range words {
			require.NotEmpty(t, w.Text)
			require.Empty(t, strings.Trim(text[end:w.At-1], " \t"))
			end = w.At - 1 + len(w.Text)
			require.Equal(t, w.Text, text[w.At-1:end])
		}
		require.Empty(t, strings.Trim(text[end:], " \t"))
	})
}

func TestRate(t *testing.T) {
	for text, want := range map[string]int64{"1KiB/s": 1 << 10, "1024B/s": 1 << 10, "10MiB/s": 10 << 20, "1024GiB/s": 1 << 40, "1099511627776B/s": 1 << 40,
		"": 0, "0MiB/s": 0, "1023B/s": 0, "1025GiB/s": 0, "1.5MiB/s": 0, "10MB/s": 0, "18446744073709551616B/s": 0, "MiB/s": 0} {
		got, err := Rate(text)
		require.Equal(t, want == 0, err != nil, text)
		require.Equal(t, want, got, text)
	}
}

// What two bounds are read as, and what is none.
func TestBounds(t *testing.T) {
	for text, want := range map[string][2]uint64{"0": {0, 0}, "8-9": {8, 9}, "7-7": {7, 7}, "18446744073709551615": {math.MaxUint64, math.MaxUint64}} {
		first, last, err := Range(text)
		require.NoError(t, err, text)
		require.Equal(t, want, [2]uint64{first, last}, text)
	}
	for _, text := range []string{"", "-", "9-8", "1-", "-1", "1-2-3", "0x1", "18446744073709551616"} {
		_, _, err := Range(text)
		require.Error(t, err, text)
	}
	for text, want := range map[string][2]time.Duration{"1s": {time.Second, time.Second}, "5ms..1s": {5 * time.Millisecond, time.Second}, "1h": {time.Hour, time.Hour}} {
		least, longest, err := Durations(text, time.Hour)
		require.NoError(t, err, text)
		require.Equal(t, want, [2]time.Duration{least, longest}, text)
	}
	for _, text := range []string{"", "..", "0s", "2s..1s", "1s..", "61m", "1s..61m", "-1s"} {
		_, _, err := Durations(text, time.Hour)
		require.Error(t, err, text)
	}
}

// Codes of SCSI and iSCSI, and names.
func TestCodes(t *testing.T) {
	key, asc, ascq, err := Sense("0x3/11/0c")
	require.NoError(t, err)
	require.Equal(t, [3]byte{3, 0x11, 0xc}, [3]byte{key, asc, ascq})
	for _, text := range []string{"", "3/11", "10/0/0", "3/100/0", "3/0/0/0", "x/0/0"} {
		_, _, _, err := Sense(text)
		require.Error(t, err, text)
	}
	asc, ascq, err = Attention("2A/9")
	require.NoError(t, err)
	require.Equal(t, [2]byte{0x2a, 9}, [2]byte{asc, ascq})
	for _, text := range []string{"", "2A", "2A/", "/9", "100/0", "2A/9/0"} {
		_, _, err := Attention(text)
		require.Error(t, err, text)
	}
	for text, want := range map[string]uint16{"0x0200": 0x200, "0x020b": 0x20b, "0x0302": 0x302, "0x020c": 0, "0x0303": 0, "0x0101": 0, "0203": 0, "": 0} {
		status, err := LoginStatus(text)
		require.Equal(t, want == 0, err != nil, text)
		require.Equal(t, want, status, text)
	}
	for text, ok := range map[string]bool{"a": true, "1.b-c_D": true, "12": false, "": false, "a b": false, strings.Repeat("a", MaxNameLength): true, strings.Repeat("a", MaxNameLength+1): false} {
		require.Equal(t, ok, Name(text) == nil, text)
	}
	require.NoError(t, Choice("b", []string{"a", "b"}))
	require.ErrorContains(t, Choice("c", []string{"a", "b"}), `"c" is none of a or b`)
}
