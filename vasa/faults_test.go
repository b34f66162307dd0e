package vasa

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/session"
	"vvsim/vasa/trust"
	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// TestEverySentinelHasAFault walks the sentinels of all that the provider calls.
func TestEverySentinelHasAFault(t *testing.T) {
	rows := map[error]bool{}
	for _, row := range faultTable() {
		require.False(t, rows[row.err], "%v twice", row.err)
		rows[row.err] = true
	}
	for _, err := range append(vvol.Errors(), session.ErrLostAlarm, session.ErrLostEvent, session.ErrInvalidID, session.ErrTooMany,
		trust.ErrLogin, trust.ErrNotRegistered, trust.ErrRetained, context.Canceled, context.DeadlineExceeded) {
		require.True(t, rows[err], "%v has no row", err)
	}
}

// TestFaultsAreDeclared: no operation ends with a fault that it does not declare.
func TestFaultsAreDeclared(t *testing.T) {
	all := []error{errors.New("anything else"), refuse(&wire.TooMany{}, "too many"), &trust.InvalidError{Certificates: []string{"c"}, Reasons: []string{"r"}},
		&wire.Error{Detail: "no envelope"}}
	for _, row := range faultTable() {
		all = append(all, fmt.Errorf("%w: facts", row.err))
	}
	for _, op := range wire.Operations() {
		for _, err := range all {
			f := soapFault(op, err, "id-1")
			require.True(t, op.Declares(f.Detail), "%s answers %v with %s", op.Name, err, wire.FaultName(f.Detail))
			require.Contains(t, f.Reason, "(request id-1)")
		}
	}
	bad := soapFault(wire.Lookup("registerVASACertificate"), all[2], "x").Detail.(*wire.InvalidCertificate)
	require.Equal(t, []string{"c"}, bad.Certificate)
}
