package array

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"vvsim/api"
	"vvsim/scsi"
	"vvsim/scsi/iscsi"
	"vvsim/vvol"
)

// newAPI builds the control API over the parts.
func (a *Array) newAPI(g prometheus.Gatherer) (http.Handler, error) {
	return api.New(api.Options{Service: a.service, Sessions: sessions{a.iscsi}, Knobs: &knobSource{a: a}, LUN: wireLUN, Gatherer: g,
		Token: a.c.API.Token, Version: a.version, Ready: a.readiness,
		Health: []api.Check{{Name: "engine", Probe: func(ctx context.Context) error {
			_, err := a.engine.Volumes(ctx)
			return err
		}}, {Name: "catalog", Probe: func(context.Context) error {
			if len(a.service.Endpoints()) == 0 {
				return errors.New("no protocol endpoint")
			}
			return nil
		}}}})
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
			InFlight: i.InFlight, Commands: i.Commands, BytesIn: i.BytesIn, BytesOut: i.BytesOut})
	}
	return all
}

func (s sessions) Drop(id uint64) bool { return s.s.Drop(id) }

func wireLUN(endpoint uint16, secondary uint64) [8]byte {
	return scsi.SubsidiaryLUN(scsi.SimpleLUN(endpoint), secondary)
}

// knobSource shows the settings under esxi: to the API.
type knobSource struct {
	a  *Array
	mu sync.Mutex // held by changes
}

func (k *knobSource) Get() map[string]any {
	e := k.a.esxi.Load()
	return map[string]any{"pe_capacity": e.EndpointCapacity, "pe_media": e.EndpointMedia, "unbound_sense": e.UnboundSense,
		"bind_attention": e.BindAttention, "reset_subsidiaries": e.ResetSubsidiaries, "conglomerate_reports": e.ConglomerateReports,
		"explicit_alua": e.ExplicitALUA, "login_unavailable": e.LoginUnavailable}
}

func (k *knobSource) Set(patch map[string]any) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := *k.a.esxi.Load()
	b, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("%w: %w", vvol.ErrInvalid, err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&next); err != nil {
		return fmt.Errorf("%w: %w", vvol.ErrInvalid, err)
	}
	if err := next.validate(); err != nil {
		return fmt.Errorf("%w: %w", vvol.ErrInvalid, err)
	}
	k.a.esxi.Store(&next)
	return nil
}
