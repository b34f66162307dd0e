package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"vvsim/vasa/trust"
	"vvsim/vvol"
)

// ProviderSource shows the VASA provider and changes its certificate. Errors are those
// of package trust.
type ProviderSource interface {
	Show() Provider
	Trace() []TraceEntry
	Certificates() trust.Report
	RequestCSR() (string, error)
	Renew() error
	// Import serves a certificate from elsewhere; without a key it answers an earlier RequestCSR.
	Import(certificates, key string) error
}

// Provider is the VASA provider as it is now.
type Provider struct {
	URL      string            `json:"url" doc:"what vCenter is told"`
	UID      string            `json:"uid"`
	User     string            `json:"user"`
	Sessions []ProviderSession `json:"sessions"`
}

// ProviderSession is a session of a vCenter or host.
type ProviderSession struct {
	Client         string    `json:"client" doc:"host GUID or vcenter GUID"`
	Remote         string    `json:"remote"`
	OpenedAt       time.Time `json:"openedAt"`
	TimeoutSeconds int       `json:"timeoutSeconds"`
	Initiators     []string  `json:"initiators"`
}

// TraceEntry is something that clients sent and the provider did not expect.
type TraceEntry struct {
	Kind      string    `json:"kind"`
	Operation string    `json:"operation,omitempty"`
	Client    string    `json:"client,omitempty" doc:"of kind order, the last one"`
	Clients   int       `json:"clients" doc:"that sent it; more than one is counted for kind order, up to 128"`
	Stranger  bool      `json:"stranger" doc:"sent without a trusted certificate"`
	Text      string    `json:"text"`
	Count     int       `json:"count"`
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
	Request   string    `json:"request" doc:"id of the last request, as in the log"`
}

func (h *handlers) showProvider(context.Context, *struct{}) (*out[Provider], error) {
	return &out[Provider]{h.o.Provider.Show()}, nil
}

func (h *handlers) traceProvider(_ context.Context, in *Paging) (*list[TraceEntry], error) {
	return listed(h.o.Provider.Trace(), *in, same), nil
}

func (h *handlers) showCertificate(context.Context, *struct{}) (*out[trust.Report], error) {
	return &out[trust.Report]{h.o.Provider.Certificates()}, nil
}

type csrResult struct {
	CSR string `json:"csr" doc:"PEM"`
}

func (h *handlers) requestCSR(context.Context, *struct{}) (*out[csrResult], error) {
	csr, err := h.o.Provider.RequestCSR()
	if err != nil {
		return nil, problem(certificateError(err))
	}
	return &out[csrResult]{csrResult{csr}}, nil
}

func (h *handlers) renewCertificate(context.Context, *struct{}) (*out[trust.Report], error) {
	if err := h.o.Provider.Renew(); err != nil {
		return nil, problem(certificateError(err))
	}
	return &out[trust.Report]{h.o.Provider.Certificates()}, nil
}

type certificateBody struct {
	Body struct {
		Certificate string `json:"certificate" doc:"PEM, the server's first, then its issuers"`
		Key         string `json:"key,omitempty" doc:"PEM; without it the certificate answers a signing request of the provider"`
	}
}

func (h *handlers) importCertificate(_ context.Context, in *certificateBody) (*out[trust.Report], error) {
	if err := h.o.Provider.Import(in.Body.Certificate, in.Body.Key); err != nil {
		return nil, problem(certificateError(err))
	}
	return &out[trust.Report]{h.o.Provider.Certificates()}, nil
}

// certificateError is an error of package trust as one of the domain's.
func certificateError(err error) error {
	_, invalid := errors.AsType[*trust.InvalidError](err)
	if invalid || errors.Is(err, trust.ErrRetained) || errors.Is(err, trust.ErrNotRegistered) {
		return fmt.Errorf("%w: %w", vvol.ErrInvalid, err)
	}
	return err
}
