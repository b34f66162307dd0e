package array

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"vvsim/api"
	"vvsim/scsi"
	"vvsim/scsi/iscsi"
	"vvsim/vvol"
	"vvsim/vvol/store"
)

// newAPI builds the control API over the parts.
func (a *Array) newAPI(g prometheus.Gatherer) (http.Handler, error) {
	return api.New(api.Options{Service: a.service, Sessions: sessions{a.iscsi}, Knobs: &knobSource{a: a}, Provider: providerSource{a}, Faults: faultSource{a.faults}, LUN: a.wireLUN, Gatherer: g,
		Token: a.c.API.Token, Version: a.version, Ready: a.readiness,
		Health: []api.Check{{Name: "engine", Probe: a.probeEngine}, {Name: "catalog", Probe: a.probeCatalog},
			{Name: "VASA provider", Probe: a.probeProvider}},
		Panic: func(request string, value any, stack []byte) {
			a.log.Error("panic in a request", zap.String("request", request), zap.Any("panic", value), zap.ByteString("stack", stack))
		}})
}

// probeEngine reads one row of the engine's.
func (a *Array) probeEngine(ctx context.Context) error {
	return a.engine.Meta().View(ctx, func(tx store.MetaTx) error {
		for range tx.Scan(nil) {
			return nil
		}
		return errors.New("the catalog has no row")
	})
}

// probeCatalog asks the control plane for its first container.
func (a *Array) probeCatalog(context.Context) error {
	all := a.service.Containers()
	if len(all) == 0 {
		return nil // the last one was deleted
	}
	_, err := a.service.Container(all[0].ID.String())
	return err
}

var errNotReady = errors.New("the array is starting or stopping")

func (a *Array) readiness() error {
	if a.ready.Load() == nil {
		return errNotReady
	}
	return nil
}

// sessions shows the iSCSI server to the API.
type sessions struct{ s *iscsi.Server }

func (s sessions) Sessions() []api.Session {
	var all []api.Session
	for _, i := range s.s.Sessions() {
		all = append(all, api.Session{ID: fmt.Sprint(i.ID), Initiator: i.Initiator, ISID: hex.EncodeToString(i.ISID[:]), TSIH: i.TSIH,
			Portal: i.Portal, PortalGroup: i.Group, Remote: i.Remote, Discovery: i.Discovery, ConnectedSince: i.Since,
			InFlight: i.InFlight, Commands: i.Commands, Errors: i.Errors, BytesIn: i.BytesIn, BytesOut: i.BytesOut})
	}
	return all
}

func (s sessions) Drop(id uint64) bool { return s.s.Drop(id) }

// wireLUN is the LUN that a binding is told with.
func (a *Array) wireLUN(endpoint uint16, secondary uint64) [8]byte {
	return scsi.SubsidiaryLUNIn(forms[a.esxi.Load().SecondaryForm], scsi.SimpleLUN(endpoint), secondary)
}

// knobSource shows the settings under esxi: to the API.
type knobSource struct {
	a  *Array
	mu sync.Mutex // held by changes
}

func (k *knobSource) Get() map[string]any { return k.a.esxi.Load().values() }

func (k *knobSource) Set(patch map[string]any) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := *k.a.esxi.Load()
	if err := next.patch(patch); err != nil {
		return fmt.Errorf("%w: %w", vvol.ErrInvalid, err)
	}
	k.a.esxi.Store(&next)
	return nil
}
