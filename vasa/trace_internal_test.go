package vasa

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTraceForgets has more come than a trace keeps: what was unseen for longest goes, and
// what was counted meanwhile stays with its count.
func TestTraceForgets(t *testing.T) {
	p := &Provider{}
	p.trace.init(3)
	now := time.Unix(1, 0)
	for _, text := range []string{"a", "b", "c", "a", "d", "a", "e"} {
		now = now.Add(time.Second)
		p.trace.add(now, TraceEntry{Kind: "header", Text: text, Request: text})
	}
	var kept []string
	for _, e := range p.Trace() {
		kept = append(kept, e.Text)
		if e.Text == "a" {
			require.Equal(t, 3, e.Count)
			require.Equal(t, time.Unix(7, 0), e.Last)
		}
	}
	require.Equal(t, []string{"a", "d", "e"}, kept)
}
