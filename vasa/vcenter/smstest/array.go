package smstest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"vvsim/vasa"
	"vvsim/vasa/trust"
	"vvsim/vvol"
	"vvsim/vvol/store/mem"
)

// Array is a provider behind TLS, over an array in memory that has no data path.
type Array struct {
	URL   string // of version.xml
	UID   string // of the provider
	Trust *trust.Store

	close []func() error
}

// NewArray starts an array. Close ends it.
func NewArray(ctx context.Context, o trust.Options) (a *Array, err error) {
	a = &Array{}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	if o.Addresses == nil {
		o.Addresses = []string{"127.0.0.1"}
	}
	if a.Trust, err = trust.Open("", o); err != nil {
		return a, err
	}
	engine := mem.New()
	a.close = append(a.close, engine.Close)
	service, err := vvol.Open(ctx, vvol.Options{Engine: engine, Endpoints: noEndpoints{}})
	if err != nil {
		return a, err
	}
	a.close = append(a.close, service.Close)
	if err := service.EnsureDefaults(ctx); err != nil {
		return a, err
	}
	if err := service.Start(ctx); err != nil {
		return a, err
	}
	a.UID = service.ArrayID()
	provider, err := vasa.New(vasa.Options{Service: service, Trust: a.Trust, Array: vasa.Array{Name: "smstest", Vendor: "vvsim", Model: "simulator", Firmware: "1.0", UID: a.UID},
		Portals: func() []vasa.Portal { return nil }, SecondaryID: func(n uint64) string { return fmt.Sprintf("0x%x", n) }, Knobs: func() vasa.Knobs { return vasa.Knobs{} }})
	if err != nil {
		return a, err
	}
	a.close = append(a.close, provider.Close)
	// Not httptest: its certificate goes before those that the configuration chooses.
	listener, err := tls.Listen("tcp", "127.0.0.1:0", a.Trust.ServerConfig())
	if err != nil {
		return a, err
	}
	server := &http.Server{Handler: provider.Handler(), ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	a.close = append(a.close, func() error { err := server.Close(); <-done; return err })
	a.URL = "https://" + listener.Addr().String() + vasa.VersionPath
	return a, nil
}

// Close ends the array. Idempotent.
func (a *Array) Close() (err error) {
	for n := len(a.close) - 1; n >= 0; n-- {
		err = errors.Join(err, a.close[n]())
	}
	a.close = nil
	return err
}

// noEndpoints is a data path that there is not: nothing is bound in what uses it.
type noEndpoints struct{ vvol.Endpoints }

func (noEndpoints) List() []vvol.ProtocolEndpoint { return nil }
