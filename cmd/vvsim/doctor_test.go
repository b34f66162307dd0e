package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSpace is in order, worth a look while garbage is given back, and wrong when it is not.
func TestSpace(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		s          space
		warn, fail bool
		says       string
	}{
		{s: space{}, says: "live 0, on disk 0, garbage 0, reclaimed 0, in the last minute 0/s"},
		{s: space{live: 4 << 20, disk: 500 << 20}, says: "on disk 500MiB"},
		{s: space{live: gib, disk: 3 * gib, garbage: 2 * gib}, says: "garbage 2GiB"},
		{s: space{live: gib, disk: 5 * gib, rate: 1 << 20, reclaimed: 3 * gib}, warn: true, says: "reclaimed 3GiB, in the last minute 1MiB/s: more than 3 x live on disk"},
		{s: space{live: gib, disk: 5 * gib}, warn: true, fail: true, says: "and nothing is given back"},
	} {
		f := c.s.finding()
		require.Equal(t, c.warn, f.warn)
		if c.fail {
			require.ErrorContains(t, f.err, c.says)
			continue
		}
		require.NoError(t, f.err)
		require.Contains(t, f.detail, c.says)
	}
}
