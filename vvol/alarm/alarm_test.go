package alarm

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Alarms come at their thresholds, and go two percent below.
func TestLevel(t *testing.T) {
	for _, x := range []struct {
		warn  int
		steps []uint64 // of 1000
		want  []Status
	}{
		{80, []uint64{0, 799, 800, 799, 780, 779, 799, 800}, []Status{Green, Green, Yellow, Yellow, Yellow, Green, Green, Yellow}},
		{80, []uint64{979, 980, 979, 960, 959, 980, 100}, []Status{Yellow, Red, Red, Red, Yellow, Red, Green}},
		{0, []uint64{979, 980, 960, 959}, []Status{Green, Red, Red, Green}},
		{100, []uint64{980, 959, 1000, 2000}, []Status{Red, Green, Red, Red}},
		{1, []uint64{9, 10, 0}, []Status{Green, Yellow, Yellow}},
	} {
		s := Green
		for i, used := range x.steps {
			s = Level(s, used, 1000, x.warn)
			require.Equal(t, x.want[i], s, "warning at %d, step %d", x.warn, i)
		}
	}
	require.Equal(t, Red, Level(Green, 1<<63, 1<<63, 0), "no overflow")
	require.Equal(t, Green, Level(Green, 0, 0, 1))
}

func TestBoard(t *testing.T) {
	var b Board
	k, start := Key{"k", "o"}, time.Unix(0, 0)
	require.True(t, b.Changes(k, Yellow))
	b.Set(k, Yellow, "a", start)
	b.Set(k, Yellow, "b", start.Add(1))
	require.Equal(t, []Alarm{{"k", "o", Yellow, "b", start}}, b.All())
	b.Set(k, Red, "c", start.Add(2))
	require.Equal(t, []Alarm{{"k", "o", Red, "c", start.Add(2)}}, b.All())
	require.False(t, b.Changes(k, Red))
	require.Equal(t, 1, b.Count("k"))
	require.Zero(t, b.Count("other"))
	b.Set(k, Green, "", start)
	require.Empty(t, b.All())
	require.Equal(t, Green, b.Status(k))
}

func TestRecent(t *testing.T) {
	var r Recent
	now := time.Unix(0, 0)
	fresh := func(text string) bool { return r.Fresh(text, now, time.Minute, 2) }
	require.True(t, fresh("a"))
	require.False(t, fresh("a"))
	now = now.Add(time.Minute)
	require.True(t, fresh("a"), "again after a minute")
	require.True(t, fresh("b"))
	require.True(t, fresh("c"), "a and b are forgotten")
	require.True(t, fresh("b"))
	require.False(t, fresh("c"))
}
