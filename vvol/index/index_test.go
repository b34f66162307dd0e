package index

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestModel adds and removes, in few and in many, and compares with maps: no key stays
// without ids.
func TestModel(t *testing.T) {
	x, model := Of[string, int]{}, map[string]map[int]bool{"a": {}, "b": {}}
	for i := range 200 {
		key, id := []string{"a", "a", "a", "b"}[i%4], i*7%40
		if i%3 == 2 {
			delete(model[key], id)
			x.Remove(key, id)
		} else {
			model[key][id] = true
			x.Add(key, id)
		}
		keys := 0
		for key, ids := range model {
			require.Equal(t, len(ids), x.Size(key))
			require.Len(t, x.List(key), len(ids))
			x.Each(key, func(id int) { require.True(t, ids[id]) })
			if len(ids) > 0 {
				keys++
			}
		}
		require.Len(t, x, keys)
	}
	for key, ids := range model {
		for id := range ids {
			x.Remove(key, id)
		}
	}
	require.Empty(t, x)
	x.Remove("a", 1)
	require.Empty(t, x)
}
