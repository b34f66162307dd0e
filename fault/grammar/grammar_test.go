package grammar

import (
	"strings"
	"testing"

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
