package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vvol"
)

// fill makes volumes, each bound to some of the hosts and every tenth with a flat LUN.
func fill(t testing.TB, o Options, volumes, bindings, hosts int) {
	ctx := context.Background()
	for i := range volumes {
		v, err := o.Service.Create(ctx, vvol.CreateSpec{Container: "default", Size: 4096, Type: vvol.Data, Name: fmt.Sprint("disk", i)})
		require.NoError(t, err)
		for h := range bindings {
			_, err := o.Service.Bind(ctx, v.ID, fmt.Sprint("iqn.2026-01.test:host", (i+h)%hosts))
			require.NoError(t, err)
		}
		if i%10 == 0 {
			_, err := o.Service.MapLUN(ctx, v.ID, nil)
			require.NoError(t, err)
		}
	}
}

// TestListsAreWhole compares every item of a list with the object shown alone, and
// a list with its pages.
func TestListsAreWhole(t *testing.T) {
	o := newOptions(t)
	fill(t, o, 25, 3, 3)
	c := newCaller(t, o)
	all := ok[[]VVol](c, "GET", "/api/v1/vvols", "")
	require.Len(t, all, 25)
	for _, v := range all {
		require.Len(t, v.Bindings, 3)
		require.Equal(t, v, ok[VVol](c, "GET", "/api/v1/vvols/"+v.ID, ""))
	}
	require.Equal(t, []int{1}, all[10].LUNs)
	for path, total := range map[string]int{"vvols": 25, "bindings": 75, "luns": 3, "hosts": 3, "containers": 1, "pes": 1, "sessions": 1, "tasks": 25} {
		whole := ok[[]json.RawMessage](c, "GET", "/api/v1/"+path, "")
		require.Len(t, whole, total, path)
		var pages []json.RawMessage
		for offset := 0; offset <= total; offset += 10 {
			w := c.send("GET", fmt.Sprintf("/api/v1/%s?limit=10&offset=%d", path, offset), "", nil)
			require.Equal(t, http.StatusOK, w.Code)
			require.Equal(t, fmt.Sprint(total), w.Header().Get("X-Total-Count"), path)
			var some []json.RawMessage
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &some))
			pages = append(pages, some...)
		}
		require.Equal(t, whole, pages, path)
	}
}

// BenchmarkList lists 20,000 volumes with 100,000 bindings.
func BenchmarkList(b *testing.B) {
	o := newOptions(b)
	fill(b, o, 20_000, 5, 50)
	c := newCaller(b, o)
	for _, path := range []string{"vvols", "vvols?limit=100", "bindings", "containers", "hosts"} {
		b.Run(path, func(b *testing.B) {
			for b.Loop() {
				if w := c.send("GET", "/api/v1/"+path, "", nil); w.Code != http.StatusOK {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}
