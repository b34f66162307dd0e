package scenario

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/api"
)

// TestSecondaryForm tells bindings in another form: in the API and in REPORT LUNS;
// the forms told before go on working.
func TestSecondaryForm(t *testing.T) {
	l := newLab(t, ":memory:", nil)
	v := l.create("a", 1<<20)
	told := l.bind(v, "esx1")
	s := l.login("esx1", 0)
	pe := l.unit(s, "0100000000000000")
	for form, want := range map[string][2]string{
		"simple": {"0x000100000000", "0100000100000000"},
		"d2":     {"0xd20000010000", "0100d20000010000"},
		"e2":     {"0xe20000000001", "0100e20000000001"},
	} {
		call[map[string]any](l, "PATCH", "/api/v1/knobs", map[string]any{"secondary_form": form}, http.StatusOK)
		b := call[[]api.Binding](l, "GET", "/api/v1/bindings", nil, http.StatusOK)[0]
		require.Equal(t, want, [2]string{b.SecondaryID, b.LUN})
		list, err := pe.ReportLUNs(t.Context(), 0)
		require.NoError(t, err)
		require.Equal(t, []string{want[1]}, luns(list))
		block := random(uint64(len(form)), 512)
		l.write(l.unit(s, b.LUN), 0, block)
		l.holds(l.unit(s, told.LUN), 0, block)
	}
}

// TestEndpointModeSense refuses MODE SENSE on the protocol endpoint alone.
func TestEndpointModeSense(t *testing.T) {
	l := newLab(t, ":memory:", nil)
	b := l.bind(l.create("a", 1<<20), "esx1")
	s := l.login("esx1", 0)
	pe, u := l.unit(s, "0100000000000000"), l.unit(s, b.LUN)
	modeSense := []byte{0x1a, 0, 0x3f, 0, 0xff, 0}
	_, err := pe.Execute(t.Context(), modeSense, nil, 0xff)
	require.NoError(t, err)
	call[map[string]any](l, "PATCH", "/api/v1/knobs", map[string]any{"pe_mode_sense": "refuse"}, http.StatusOK)
	_, err = pe.Execute(t.Context(), modeSense, nil, 0xff)
	require.Equal(t, "5/20/00", l.sense(err))
	_, err = u.Execute(t.Context(), modeSense, nil, 0xff)
	require.NoError(t, err)
}
