package vasa

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// Every operation can be made to end with each fault of VASA, and Declares tells which are its own.
func TestFaultNamed(t *testing.T) {
	all := map[string]bool{}
	for _, o := range wire.Operations() {
		for _, name := range o.Faults {
			all[name] = true
		}
	}
	require.Greater(t, len(all), 20)
	for _, o := range wire.Operations() {
		require.NoError(t, Named(o.Name, ""))
		for name := range all {
			fault, err := FaultNamed(o.Name, name)
			require.NoError(t, err)
			f := soapFault(o, fault, "1")
			require.Equal(t, name, wire.FaultName(f.Detail), o.Name)
			_, err = wire.EncodeFault(wire.SOAP11, f)
			require.NoError(t, err, "%s of %s", name, o.Name)
			require.NoError(t, Named(o.Name, name))
			require.NoError(t, Named("", name))
			require.Equal(t, slices.Contains(o.Faults, name), Declares(o.Name, name))
		}
	}
	require.NoError(t, Named("", ""))
	require.False(t, Declares("bind", "StorageFault"))
	require.ErrorIs(t, Named("bind", ""), vvol.ErrInvalid)
	require.ErrorIs(t, Named("bind", "NotFound"), vvol.ErrInvalid)
	require.ErrorIs(t, Named("", "Exception"), vvol.ErrInvalid)
	require.ErrorIs(t, Named("bindVirtualVolume", "NotThere"), vvol.ErrInvalid)
	require.ErrorContains(t, Named("", "NotThere"), `no operation of VASA declares the fault "NotThere"`)
}

// silence is an Invoker that has nothing to say.
type silence struct{}

func (silence) Invoke(context.Context, string, any) (any, error) { return nil, ErrSilence }

// An Invoker can end the connection without an answer.
func TestSilence(t *testing.T) {
	l := newLab(t, nil)
	c := l.vcenter("11111111-1111-1111-1111-111111111111")
	next := l.invoker
	l.Decorate(func(Invoker) Invoker { return silence{} })
	_, err := c.Call(t.Context(), &wire.QueryArrays{})
	require.Error(t, err)
	require.True(t, strings.Contains(err.Error(), io.EOF.Error()), "%v", err)
	l.Decorate(func(Invoker) Invoker { return next })
	_, err = c.Call(t.Context(), &wire.QueryArrays{})
	require.NoError(t, err)
	resp, err := l.plain().Get(l.server.URL + VersionPath)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
}
