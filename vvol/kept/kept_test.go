package kept

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRingModel compares a ring with a map under random changes.
func TestRingModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var r Ring[int]
	model := map[uint64]int{}
	for range 5000 {
		n := rnd.Uint64N(64)
		if rnd.IntN(2) == 0 {
			r.Put(n, int(n)+rnd.IntN(100))
			model[n] = r.Get(n)
		} else {
			r.Remove(n)
			delete(model, n)
		}
		require.Equal(t, len(model), r.Len())
		first, most := rnd.Uint64N(64), rnd.IntN(8)-1
		var want []int
		for _, k := range slices.Sorted(maps.Keys(model)) {
			if k >= first && len(want) < most {
				want = append(want, model[k])
			}
		}
		require.Equal(t, want, append([]int(nil), r.From(first, most)...))
		require.ElementsMatch(t, slices.Collect(maps.Values(model)), r.All())
	}
	require.Zero(t, r.Get(1000))
}

// TestEnded: things end in an order that is not that of their numbers.
func TestEnded(t *testing.T) {
	var e Ended
	start := time.Unix(1000, 0)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	for i, s := range []int{3, 1, 2, 2, 9} {
		e.Add(uint64(i), at(s))
	}
	all := Limits{AtOnce: 100}
	require.Equal(t, []uint64{1, 2, 3, 0, 4}, e.Due(at(9), 0, all))
	require.Equal(t, []uint64{1, 2}, e.Due(at(9), 0, Limits{AtOnce: 2}))
	e.Remove(3, at(2))
	e.Remove(3, at(2))
	e.Remove(4, at(2))
	require.Equal(t, 4, e.Len())
	require.Equal(t, []uint64{1, 2, 0, 4}, e.Due(at(9), 0, all))
	l := Limits{Most: 100, For: 7 * time.Second, AtOnce: 100}
	require.Equal(t, []uint64{1, 2}, e.Due(at(9), 0, l), "seven seconds after their end")
	l.Least = 3
	require.Equal(t, []uint64{1}, e.Due(at(9), 0, l), "three stay")
	require.Equal(t, []uint64{1, 2}, e.Due(at(9), 1, l), "and with one that comes")
	l.Most = 4
	require.Empty(t, e.Due(at(3), 0, l))
	require.Equal(t, []uint64{1, 2}, e.Due(at(3), 2, l), "young, but too many")
}

// TestEndedModel: the list is that of a stable sort.
func TestEndedModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var e Ended
	var model []end
	for n := range uint64(3000) {
		at := time.Unix(0, int64(n)-rnd.Int64N(20))
		e.Add(n, at)
		model = append(model, end{n, at.UnixNano()})
		slices.SortStableFunc(model, func(a, b end) int { return int(a.at - b.at) })
		if len(model) > 50 {
			i := rnd.IntN(len(model))
			e.Remove(model[i].number, time.Unix(0, model[i].at))
			model = slices.Delete(model, i, i+1)
		}
		require.Equal(t, model, e.list)
	}
}
