package kept

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vvol/store"
	"vvsim/vvol/store/mem"
)

// Rules come back in order of their ids, with their time, and are put and deleted together.
func TestRows(t *testing.T) {
	engine := mem.New()
	m := engine.Meta()
	since := time.Now().UTC().Truncate(time.Second)
	a, b, c := Rule{ID: 2, Text: "lu keep -> pdl"}, Rule{ID: 0x10, Text: "lu keep for=1m -> pdl", Since: &since}, Rule{ID: 9, Text: "lu keep -> busy"}
	require.NoError(t, Put(t.Context(), m, b, a))
	require.NoError(t, Put(t.Context(), m, c))
	all, err := All(t.Context(), m)
	require.NoError(t, err)
	require.Equal(t, []Rule{a, c, b}, all)
	require.NoError(t, Delete(t.Context(), m, 2, 9, 77))
	all, err = All(t.Context(), m)
	require.NoError(t, err)
	require.Equal(t, []Rule{b}, all)

	require.NoError(t, m.Update(t.Context(), func(tx store.MetaTx) error { return tx.Set(row(3), []byte("{")) }))
	_, err = All(t.Context(), m)
	require.ErrorContains(t, err, "JSON")
	require.NoError(t, engine.Close())
	require.Error(t, Put(t.Context(), m, a))
	require.Error(t, Delete(t.Context(), m, 2))
}
