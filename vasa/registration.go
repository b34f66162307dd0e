package vasa

import (
	"context"
	"errors"
	"time"

	"vvsim/vasa/session"
	"vvsim/vasa/trust"
	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// Namespace is the provider's, with which vCenter makes ids unique (vasa.md 5).
const Namespace = "dev.vvsim"

// registration are the operations of vasa.md 2.1.
func (p *Provider) registration() map[string]handler {
	bootstrap := needNothing
	return map[string]handler{
		"registerVASACertificate":             answers(p.registerVASACertificate).with(bootstrap),
		"unregisterVASACertificate":           obeys(p.unregisterVASACertificate).with(bootstrap),
		"registerCACertificatesAndCRLs":       answers(p.registerCACertificatesAndCRLs).with(bootstrap),
		"requestCSR":                          answers(p.requestCSR).with(bootstrap),
		"registerCASignedProviderCertificate": obeys(p.registerCASignedProviderCertificate).with(bootstrap),
		"refreshCACertificatesAndCRLs":        obeys(p.refreshCACertificatesAndCRLs),
		"queryCACertificates":                 answers(p.queryCACertificates),
		"queryCACertificateRevocationLists":   answers(p.queryCACertificateRevocationLists),
		"setContext":                          answers(p.setContext).with(needCertificate),
		"activateProvider":                    obeys(p.activateProvider),
		"activateProviderEx":                  answers(p.activateProviderEx),
		"setStorageContainerContext":          answers(p.setStorageContainerContext),
	}
}

// info is what registration and setContext answer; s is nil without a session.
func (p *Provider) info(s *session.Session) *wire.VasaProviderInfo {
	a, l := p.o.Array, p.o.Limits
	i := &wire.VasaProviderInfo{
		DefaultNamespace: new(Namespace), DefaultSessionTimeoutInSeconds: new(int64(l.SessionTimeout.Seconds())),
		MaxBatchSize: new(int64(l.Batch)), MaxConcurrentRequestsPerSession: new(int64(l.PerSession)), Name: new(a.Name),
		NeedsExplicitActivation: new(false), RetainVasaProviderCertificate: new(p.o.Trust.Retain()), SessionID: new(session.NoID),
		SupportedProfile:     []wire.ProviderProfile{wire.ProviderProfileBasedManagement},
		SupportedVendorModel: []wire.VendorModel{{ModelID: new(a.Model), VendorID: new(a.Vendor)}},
		UID:                  a.UID, VasaApiVersion: new("2.0"), VasaProviderVersion: new(a.Firmware),
	}
	if s != nil {
		*i.SessionID = s.ID
		*i.DefaultSessionTimeoutInSeconds = int64(s.Timeout.Seconds())
	}
	return i
}

// registerVASACertificate checks the login before it looks at the certificate (vasa.md 1.5).
func (p *Provider) registerVASACertificate(_ context.Context, c *caller, q *wire.RegisterVASACertificate) (*wire.RegisterVASACertificateResponse, error) {
	if err := p.o.Trust.Login(value(q.UserName), value(q.Password)); err != nil {
		return nil, err
	}
	if value(q.NewCertificate) == "" {
		return nil, refuse(&wire.InvalidCertificate{}, "newCertificate is missing")
	}
	if _, err := p.o.Trust.RegisterCertificate("", *q.NewCertificate); err != nil {
		return nil, err
	}
	p.dropSession(c)
	return &wire.RegisterVASACertificateResponse{Return: p.info(nil)}, nil
}

// unregisterVASACertificate ends the trust in a certificate for a caller that is trusted, by
// whatever; that in a root, for those who are trusted by it.
func (p *Provider) unregisterVASACertificate(_ context.Context, c *caller, q *wire.UnregisterVASACertificate) error {
	if value(q.ExistingCertificate) == "" {
		return refuse(&wire.InvalidCertificate{}, "existingCertificate is missing")
	}
	bad := &wire.InvalidCertificate{Certificate: echoed([]string{*q.ExistingCertificate})}
	if c.untrusted != nil { // certificates are no secret: who ends trust must be trusted
		return refuse(bad, "the client certificate is not trusted: %v", c.untrusted)
	}
	if err := p.o.Trust.Unregister(*q.ExistingCertificate, c.identity.Owners); errors.Is(err, trust.ErrNotRegistered) {
		return refuse(bad, "the certificate is not registered by itself, and is no root that the caller is trusted by")
	} else if err != nil {
		return err
	}
	p.dropSession(c)
	return nil
}

func (p *Provider) registerCACertificatesAndCRLs(_ context.Context, c *caller, q *wire.RegisterCACertificatesAndCRLs) (*wire.RegisterCACertificatesAndCRLsResponse, error) {
	if err := p.o.Trust.Login(q.ProviderUserName, q.ProviderPassword); err != nil {
		return nil, err
	}
	if _, err := p.o.Trust.Register("", q.CARootCert, q.CACRL); err != nil {
		return nil, err
	}
	p.dropSession(c)
	return &wire.RegisterCACertificatesAndCRLsResponse{Return: *p.info(nil)}, nil
}

// dropSession ends the caller's session: registering and unregistering do (vasa.md 1.4).
func (p *Provider) dropSession(c *caller) {
	if c.session != nil {
		p.sessions.End(c.session.ID)
		c.session = nil
	}
	c.setCookie(session.NoID)
}

// refreshCACertificatesAndCRLs replaces the roots of the registration that the caller's
// certificate is trusted by.
func (p *Provider) refreshCACertificatesAndCRLs(_ context.Context, c *caller, q *wire.RefreshCACertificatesAndCRLs) error {
	owner := ""
	if len(c.identity.Owners) > 0 {
		owner = c.identity.Owners[0]
	}
	_, err := p.o.Trust.Refresh(owner, q.CARootCert, q.CACRL)
	return err
}

func (p *Provider) queryCACertificates(context.Context, *caller, *wire.QueryCACertificates) (*wire.QueryCACertificatesResponse, error) {
	return &wire.QueryCACertificatesResponse{Return: p.o.Trust.Roots()}, nil
}

func (p *Provider) queryCACertificateRevocationLists(context.Context, *caller, *wire.QueryCACertificateRevocationLists) (*wire.QueryCACertificateRevocationListsResponse, error) {
	return &wire.QueryCACertificateRevocationListsResponse{Return: p.o.Trust.CRLs()}, nil
}

// bootstrapAllowed is the door of the certificate operations that have no password of
// their own: open as in the providers known, unless the knob closes it.
func (p *Provider) bootstrapAllowed(c *caller) error {
	if p.o.Knobs().ClosedBootstrap && c.untrusted != nil {
		return refuse(&wire.InvalidSession{}, "the client certificate is not trusted: %v", c.untrusted)
	}
	return nil
}

func (p *Provider) requestCSR(_ context.Context, c *caller, _ *wire.RequestCSR) (*wire.RequestCSRResponse, error) {
	if err := p.bootstrapAllowed(c); err != nil {
		return nil, err
	}
	csr, err := p.o.Trust.RequestCSR()
	if err != nil {
		return nil, err
	}
	return &wire.RequestCSRResponse{Return: csr}, nil
}

func (p *Provider) registerCASignedProviderCertificate(_ context.Context, c *caller, q *wire.RegisterCASignedProviderCertificate) error {
	if err := p.bootstrapAllowed(c); err != nil {
		return err
	}
	return p.o.Trust.InstallSigned(q.ProviderCert, q.ForceApply)
}

// setContext begins a session, in place of the one that the caller has.
func (p *Provider) setContext(ctx context.Context, c *caller, q *wire.SetContext) (*wire.SetContextResponse, error) {
	if q.UsageContext == nil {
		return nil, invalid("usageContext is missing")
	}
	if err := checkUsage(q.UsageContext); err != nil {
		return nil, err
	}
	if host := value(q.UsageContext.HostGUID) != ""; host {
		if err := vvol.CheckInitiators(session.InitiatorsOf(q.UsageContext)); err != nil {
			return nil, err // before the first is noted
		}
	}
	s, conflict, err := p.sessions.Open(*q.UsageContext, c.certificate, c.remote, c.session)
	if errors.Is(err, session.ErrNobody) {
		return nil, invalid("%v", err)
	} else if err != nil {
		return nil, err
	}
	if conflict != nil {
		p.conflict(c, conflict.String())
	}
	if s.Client.Host {
		if err := p.declareHost(ctx, c, s, conflict != nil); err != nil {
			p.sessions.End(s.ID)
			c.setCookie(session.NoID)
			return nil, err
		}
	}
	c.session = s
	c.setCookie(s.ID)
	return &wire.SetContextResponse{Return: p.info(s)}, nil
}

// How often and after what time a host is declared again while a binding of one of its
// initiators is being made.
const (
	declareTries = 50
	declareEvery = 20 * time.Millisecond
)

// declareHost tells the domain which initiators a host has, so that binds reach all of
// its paths. Hosts that cannot be told apart are reported, and known by their initiators
// alone: each has its own bindings, and loses none to the other (vasa.md 10). reported
// tells that the session of the other one is open, and that this is known already.
func (p *Provider) declareHost(ctx context.Context, c *caller, s *session.Session, reported bool) error {
	names := s.Initiators()
	if len(names) == 0 {
		return nil
	}
	_, err := p.o.Service.DeclareHost(ctx, s.Client.GUID, names, reported)
	for try := 1; errors.Is(err, vvol.ErrBusy) && try < declareTries; try++ {
		select {
		case <-time.After(declareEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
		_, err = p.o.Service.DeclareHost(ctx, s.Client.GUID, names, reported)
	}
	if !errors.Is(err, vvol.ErrInUse) {
		return err
	}
	if !reported {
		p.conflict(c, err.Error())
	}
	for _, name := range names {
		if err := p.o.Service.SawInitiator(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// Bounds of a usage context; what a client says is kept as long as the client is.
const (
	maxUsageList = 1024 // entries of each list; hosts mount up to 256 exports
	maxAdapters  = 64   // of one host, as the array keeps them
	maxISCSIName = 223  // bytes (RFC 7143 4.2.7.2)
)

// checkUsage refuses what is too long, and what an adapter cannot be (vasa.md 5, host ids).
func checkUsage(u *wire.UsageContext) error {
	for _, n := range []int{len(u.CHAPUsername), len(u.HostIOIPAddress), len(u.ISCSIInitiatorIPAddress), len(u.MountPoint), len(u.SubscribeEvent)} {
		if n > maxUsageList {
			return invalid("a list of usageContext has %d entries, at most %d", n, maxUsageList)
		}
	}
	if n := len(u.HostInitiator); n > maxAdapters {
		return invalid("%d entries of hostInitiator, at most %d", n, maxAdapters)
	}
	for _, h := range u.HostInitiator {
		if n := len(value(h.ISCSIIdentifier)); n > maxISCSIName {
			return invalid("an iscsiIdentifier has %d bytes, at most %d", n, maxISCSIName)
		}
		if value(h.ISCSIIdentifier) != "" && (value(h.PortWWN) != "" || value(h.NodeWWN) != "") {
			return invalid("hostInitiator %q has an iSCSI name and a world wide name", *h.ISCSIIdentifier)
		}
	}
	return nil
}

func (p *Provider) conflict(c *caller, text string) {
	p.trace.Add(p.o.Clock(), c.entry("host conflict", text))
	if p.o.Events.Conflict != nil {
		p.o.Events.Conflict(text)
	}
}

// activateProvider has nothing to do: the only provider of its array is active.
func (p *Provider) activateProvider(_ context.Context, _ *caller, q *wire.ActivateProvider) error {
	return p.checkEntity(q.EntityID)
}

func (p *Provider) activateProviderEx(ctx context.Context, _ *caller, q *wire.ActivateProviderEx) (*wire.ActivateProviderExResponse, error) {
	if err := p.checkEntity(q.ActivationSpec.EntityID); err != nil {
		return nil, err
	}
	t, err := p.noted(ctx, "activateProviderEx", vvol.ID{})
	if err != nil {
		return nil, err
	}
	return &wire.ActivateProviderExResponse{Return: t}, nil
}

// checkEntity refuses entities that are neither the array nor one of its containers.
func (p *Provider) checkEntity(id string) error {
	if id == p.arrayID() {
		return nil
	}
	if _, err := p.container(id); err != nil {
		return invalid("entity %q is neither the array nor a container of it", id)
	}
	return nil
}

// setStorageContainerContext hands out a cookie that nothing depends on (vasa.md 13).
func (p *Provider) setStorageContainerContext(_ context.Context, _ *caller, q *wire.SetStorageContainerContext) (*wire.SetStorageContainerContextResponse, error) {
	k, err := p.container(q.ContainerID)
	if err != nil {
		return nil, err
	}
	return &wire.SetStorageContainerContextResponse{Return: "container-" + k.ID.String()}, nil
}

// value of a text that may be absent.
func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
