package smstest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/sms/methods"
	sms "github.com/vmware/govmomi/sms/types"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"vvsim/vasa/vasatest"
	"vvsim/vasa/vcenter"
	"vvsim/vasa/wire"
)

// taskLimit bounds what a task does, in time.
const taskLimit = time.Minute

// Options of a VCenter.
type Options struct {
	User, Password string // that it takes; empty: any
	// Imported are the CAs in its trust store besides its own.
	Imported []*x509.Certificate
	// RequireImport refuses a provider that keeps a certificate of a CA that is not
	// imported, as the API says of CertificateNotImported.
	RequireImport bool
	// Bare is how certificates are told and wanted: base64 without PEM's armour.
	Bare bool
	// Seen, if set, is given each exchange with a provider.
	Seen func(vasatest.Exchange)
}

// VCenter is a vCenter with an SMS.
type VCenter struct {
	URL       *url.URL            // of its API, without user
	Authority *vasatest.Authority // VMCA

	o        Options
	model    *simulator.Model
	server   *simulator.Server
	registry *simulator.Registry
	identity *tls.Certificate // of SMS as a client
	guid     string
	tasks    sync.WaitGroup
	ctx      context.Context
	stop     context.CancelFunc

	mu        sync.Mutex
	providers []*provider
}

// New starts a vCenter. Close ends it.
func New(o Options) (*VCenter, error) {
	v := &VCenter{o: o, model: simulator.VPX(), registry: simulator.NewRegistry(), guid: rand.Text()}
	v.model.Datacenter, v.model.Machine = 0, 0
	var err error
	if v.Authority, err = vasatest.NewAuthority("CA of " + v.guid); err != nil {
		return nil, err
	}
	if v.identity, err = v.Authority.Issue("sms "+v.guid, nil); err != nil {
		return nil, err
	}
	if err := v.model.Create(); err != nil {
		return nil, err
	}
	v.ctx, v.stop = context.WithCancel(context.Background())
	v.registry.Namespace, v.registry.Path, v.registry.Cookie = vcenter.Namespace, vcenter.Path, simulator.SOAPCookie
	v.registry.Put(&serviceInstance{ManagedObjectReference: vcenter.ServiceInstance()})
	v.registry.Put(&smsStorage{ManagedObjectReference: managerRef(), v: v})
	service := v.model.Service
	service.TLS = new(tls.Config)
	if o.User != "" {
		service.Listen = &url.URL{User: url.UserPassword(o.User, o.Password)}
	}
	service.RegisterSDK(v.registry)
	v.server = service.NewServer()
	u := *v.server.URL
	u.User = nil
	v.URL = &u
	return v, nil
}

// Close ends the vCenter and its tasks.
func (v *VCenter) Close() {
	v.stop()
	v.tasks.Wait()
	v.server.Close()
	v.model.Remove()
}

// Certificate is what the vCenter's API presents.
func (v *VCenter) Certificate() *x509.Certificate { return v.server.Certificate() }

func managerRef() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: string(sms.ManagedObjectTypeSmsStorageManager), Value: "storageManager"}
}

// serviceInstance is the root object.
type serviceInstance struct{ types.ManagedObjectReference }

// QueryStorageManager leads to the storage manager.
func (*serviceInstance) QueryStorageManager(*sms.QueryStorageManager) soap.HasFault {
	return &methods.QueryStorageManagerBody{Res: &sms.QueryStorageManagerResponse{Returnval: managerRef()}}
}

// smsStorage keeps the providers.
type smsStorage struct {
	types.ManagedObjectReference
	v *VCenter
}

// RegisterProviderTask starts a registration.
func (m *smsStorage) RegisterProviderTask(_ *simulator.Context, q *sms.RegisterProvider_Task) soap.HasFault {
	spec, ok := q.ProviderSpec.(*sms.VasaProviderSpec)
	if !ok {
		return &methods.RegisterProvider_TaskBody{Fault_: simulator.Fault("providerSpec is no VasaProviderSpec", &types.InvalidArgument{InvalidProperty: "providerSpec"})}
	}
	ref := m.v.start(func(ctx context.Context) (types.AnyType, error) { return m.v.register(ctx, *spec) })
	return &methods.RegisterProvider_TaskBody{Res: &sms.RegisterProvider_TaskResponse{Returnval: ref}}
}

// UnregisterProviderTask starts the end of a registration. The provider is not told: what
// a vCenter calls then is not documented.
func (m *smsStorage) UnregisterProviderTask(_ *simulator.Context, q *sms.UnregisterProvider_Task) soap.HasFault {
	ref := m.v.start(func(context.Context) (types.AnyType, error) {
		m.v.mu.Lock()
		defer m.v.mu.Unlock()
		for i, p := range m.v.providers {
			if p.info.Uid == q.ProviderId {
				m.v.registry.Remove(nil, p.ManagedObjectReference)
				m.v.providers = append(m.v.providers[:i:i], m.v.providers[i+1:]...)
				return nil, nil
			}
		}
		return nil, refusal{&sms.ProviderNotFound{}, "no provider " + q.ProviderId}
	})
	return &methods.UnregisterProvider_TaskBody{Res: &sms.UnregisterProvider_TaskResponse{Returnval: ref}}
}

// QueryProvider lists the providers.
func (m *smsStorage) QueryProvider(*sms.QueryProvider) soap.HasFault {
	m.v.mu.Lock()
	defer m.v.mu.Unlock()
	res := &sms.QueryProviderResponse{}
	for _, p := range m.v.providers {
		res.Returnval = append(res.Returnval, p.ManagedObjectReference)
	}
	return &methods.QueryProviderBody{Res: res}
}

// provider is a registered one.
type provider struct {
	types.ManagedObjectReference
	v      *VCenter
	info   sms.VasaProviderInfo // under v.mu
	client *vasatest.Client     // with a session
}

// QueryProviderInfo tells about the provider.
func (p *provider) QueryProviderInfo(*sms.QueryProviderInfo) soap.HasFault {
	p.v.mu.Lock()
	defer p.v.mu.Unlock()
	info := p.info
	return &methods.QueryProviderInfoBody{Res: &sms.QueryProviderInfoResponse{Returnval: &info}}
}

// task is a call that runs.
type task struct {
	types.ManagedObjectReference
	mu   sync.Mutex
	info sms.SmsTaskInfo
}

// QuerySmsTaskInfo tells how far it is.
func (t *task) QuerySmsTaskInfo(*sms.QuerySmsTaskInfo) soap.HasFault {
	t.mu.Lock()
	defer t.mu.Unlock()
	return &methods.QuerySmsTaskInfoBody{Res: &sms.QuerySmsTaskInfoResponse{Returnval: t.info}}
}

// start runs do as a task.
func (v *VCenter) start(do func(context.Context) (types.AnyType, error)) types.ManagedObjectReference {
	t := &task{ManagedObjectReference: types.ManagedObjectReference{Type: string(sms.ManagedObjectTypeSmsTask), Value: "SmsTask-" + rand.Text()}}
	t.info = sms.SmsTaskInfo{Key: t.Value, Task: t.ManagedObjectReference, State: string(sms.SmsTaskStateRunning), StartTime: types.NewTime(time.Now())}
	v.registry.Put(t)
	v.tasks.Go(func() {
		ctx, cancel := context.WithTimeout(v.ctx, taskLimit)
		defer cancel()
		result, err := do(ctx)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.info.CompletionTime = types.NewTime(time.Now())
		if err == nil {
			t.info.State, t.info.Result = string(sms.SmsTaskStateSuccess), result
			return
		}
		r, ok := errors.AsType[refusal](err)
		if !ok {
			r = refusal{&sms.ProviderRegistrationFault{}, err.Error()}
		}
		t.info.State, t.info.Error = string(sms.SmsTaskStateError), &types.LocalizedMethodFault{Fault: r.fault, LocalizedMessage: r.text}
	})
	return t.ManagedObjectReference
}

// refusal is a fault as an error.
type refusal struct {
	fault types.BaseMethodFault
	text  string
}

func (r refusal) Error() string { return r.text }

// Sync reads a provider's inventory, as vCenter does by itself in time, and sets its state.
func (v *VCenter) Sync(ctx context.Context, uid string) error {
	p, err := v.find(uid)
	if err != nil {
		return err
	}
	arrays, err := vasatest.Do[wire.QueryArraysResponse](ctx, p.client, &wire.QueryArrays{})
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case err != nil && vasatest.Fault(err) != "":
		p.info.Status = string(sms.VasaProviderStatusSyncError)
		p.info.StatusFault = &types.LocalizedMethodFault{Fault: &sms.ProviderSyncFailed{}, LocalizedMessage: err.Error()}
	case err != nil:
		p.info.Status = string(sms.VasaProviderStatusOffline)
		p.info.StatusFault = &types.LocalizedMethodFault{Fault: &sms.ProviderUnavailable{}, LocalizedMessage: err.Error()}
	default:
		p.info.Status, p.info.StatusFault, p.info.LastSyncTime = string(sms.VasaProviderStatusOnline), nil, time.Now().UTC().Format(time.RFC3339)
		p.info.RelatedStorageArray = nil
		for _, a := range arrays.Return {
			if a.UniqueIdentifier != nil {
				p.info.RelatedStorageArray = append(p.info.RelatedStorageArray, sms.RelatedStorageArray{ArrayId: *a.UniqueIdentifier, Active: true, Manageable: true, Priority: a.Priority})
			}
		}
	}
	return nil
}

// SetState gives a provider states that a test cannot bring about.
func (v *VCenter) SetState(uid string, state sms.VasaProviderStatus, certificate sms.VasaProviderCertificateStatus) error {
	p, err := v.find(uid)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	p.info.Status, p.info.CertificateStatus = string(state), string(certificate)
	return nil
}

func (v *VCenter) find(uid string) (*provider, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, p := range v.providers {
		if p.info.Uid == uid {
			return p, nil
		}
	}
	return nil, fmt.Errorf("no provider %s", uid)
}

// taken finds a provider that has the name or URL of another.
func (v *VCenter) taken(name, rawURL string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, p := range v.providers {
		if p.info.Name == name || strings.EqualFold(p.info.Url, rawURL) {
			return true
		}
	}
	return false
}
