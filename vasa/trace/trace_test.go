package trace

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func texts(entries []Entry) (list []string) {
	for _, e := range entries {
		list = append(list, e.Text)
	}
	return list
}

// TestForgets has more come than a kind keeps: what was unseen for longest goes, and
// what was counted meanwhile stays with its count.
func TestForgets(t *testing.T) {
	tr := New(Options{Entries: 3, Strangers: 1})
	now := time.Unix(1, 0)
	for _, text := range []string{"a", "b", "c", "a", "d", "a", "e"} {
		now = now.Add(time.Second)
		tr.Add(now, Entry{Kind: "header", Text: text, Request: text})
	}
	require.Equal(t, []string{"a", "d", "e"}, texts(tr.Entries()))
	require.Equal(t, Entry{Kind: "header", Text: "a", Count: 3, Clients: 1, First: time.Unix(2, 0), Last: time.Unix(7, 0), Request: "a"}, tr.Entries()[0])
}

// TestApart: neither another kind, nor a stranger with the same kind, pushes an entry out,
// and each has its bound.
func TestApart(t *testing.T) {
	tr := New(Options{Entries: 4, Strangers: 2, Shared: map[string]int{"order": 8}})
	now := time.Unix(1, 0)
	tr.Add(now, Entry{Kind: "unknown element", Client: "host a", Text: "novelty"})
	tr.Add(now, Entry{Kind: "HTTP header", Stranger: true, Text: "X-First: contact"})
	for i := range 1000 {
		tr.Add(now, Entry{Kind: "order", Client: fmt.Sprint("host ", i%64), Text: fmt.Sprint(i)})
		tr.Add(now, Entry{Kind: "HTTP header", Client: fmt.Sprint("host ", i), Text: "X"})
		for _, kind := range []string{"unknown element", "version.xml", "order"} {
			tr.Add(now, Entry{Kind: kind, Stranger: true, Text: fmt.Sprint(i)})
		}
	}
	kept := map[potKey]int{}
	for _, e := range tr.Entries() {
		kept[potKey{e.Kind, e.Stranger}]++
	}
	require.Equal(t, map[potKey]int{{"unknown element", false}: 1, {"order", false}: 8, {"HTTP header", false}: 4,
		{"unknown element", true}: 2, {"version.xml", true}: 2, {"HTTP header", true}: 1, {"order", true}: 2}, kept)
	require.Equal(t, []string{"novelty", "X-First: contact"}, texts(tr.Entries())[:2], "in the order of their first appearance")
}

// TestShared: a shared kind has an entry for each role and counts clients, up to a bound.
func TestShared(t *testing.T) {
	tr := New(Options{Entries: 4, Strangers: 4, Shared: map[string]int{"order": 4}})
	now := time.Unix(1, 0)
	for i := range 2 * MaxClients {
		for range 2 {
			tr.Add(now, Entry{Kind: "order", Client: fmt.Sprint("host ", i), Text: "a → b"})
		}
		if i < 3 {
			tr.Add(now, Entry{Kind: "order", Client: fmt.Sprint("vcenter ", i), Text: "a → b"})
		}
		tr.Add(now, Entry{Kind: "SOAP", Client: "host x", Text: "1.1"})
	}
	e := tr.Entries()
	require.Len(t, e, 3)
	require.Equal(t, Entry{Kind: "order", Client: fmt.Sprint("host ", 2*MaxClients-1), Clients: MaxClients, Text: "a → b", Count: 4 * MaxClients, First: now, Last: now}, e[0])
	require.Equal(t, Entry{Kind: "order", Client: "vcenter 2", Clients: 3, Text: "a → b", Count: 3, First: now, Last: now}, e[1])
	require.Equal(t, 1, e[2].Clients)
}

// TestNew tells of each entry once, and of no more than a bound of a kind.
func TestNew(t *testing.T) {
	var told []Entry
	tr := New(Options{Entries: 2, Strangers: 2, New: func(e Entry) { told = append(told, e) }})
	now := time.Unix(1, 0)
	for range 3 {
		tr.Add(now, Entry{Kind: "a", Text: "x", Request: "1"})
	}
	require.Equal(t, []Entry{{Kind: "a", Text: "x", Request: "1", Count: 1, Clients: 1, First: now, Last: now}}, told)
	for i := range 3 * Told {
		tr.Add(now, Entry{Kind: "a", Stranger: true, Text: fmt.Sprint(i)})
	}
	require.Len(t, told, 1+Told)
	tr.Add(now, Entry{Kind: "a", Text: "y"})
	require.Equal(t, "y", told[len(told)-1].Text, "strangers do not use up what clients may tell")
}

// TestLong cuts what is too long, between characters.
func TestLong(t *testing.T) {
	tr := New(Options{Entries: 2, Strangers: 2})
	for range 2 {
		tr.Add(time.Unix(1, 0), Entry{Kind: "a", Client: "host " + strings.Repeat("g", 2*MaxName), Text: strings.Repeat("é", MaxText) + "tail"})
	}
	e := tr.Entries()
	require.Len(t, e, 1)
	require.Equal(t, strings.Repeat("é", MaxText/2)+"…", e[0].Text)
	require.Len(t, e[0].Client, MaxName+len("…"))
}

// TestConcurrent adds and lists from many goroutines.
func TestConcurrent(t *testing.T) {
	var told atomic.Int64
	tr := New(Options{Entries: 8, Strangers: 8, New: func(Entry) { told.Add(1) }})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 200 {
				tr.Add(time.Unix(1, 0), Entry{Kind: "a", Text: fmt.Sprint(i % 8)})
				tr.Entries()
			}
		})
	}
	wg.Wait()
	total := 0
	for _, e := range tr.Entries() {
		total += e.Count
	}
	require.Equal(t, 1600, total)
	require.EqualValues(t, 8, told.Load())
}
