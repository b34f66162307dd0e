package api

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/stretchr/testify/require"

	"vvsim/vvol"
)

// TestEverySentinelHasProblem walks all errors of the domain.
func TestEverySentinelHasProblem(t *testing.T) {
	for _, err := range vvol.Errors() {
		var p *huma.ErrorModel
		require.ErrorAs(t, problem(fmt.Errorf("with facts: %w", err)), &p)
		require.NotEqual(t, "urn:vvsim:internal", p.Type, "%v has no row", err)
		require.Contains(t, p.Detail, "with facts")
	}
	var p *huma.ErrorModel
	require.ErrorAs(t, problem(errors.New("never seen")), &p)
	require.Equal(t, http.StatusInternalServerError, p.Status)
	require.NoError(t, problem(nil))
}
