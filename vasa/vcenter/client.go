package vcenter

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	sms "github.com/vmware/govmomi/sms/methods"
	smstypes "github.com/vmware/govmomi/sms/types"
	"github.com/vmware/govmomi/vim25"
	vim "github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// Where SMS is in a vCenter, and the object that leads to all others.
const (
	Path      = "/sms/sdk"
	Namespace = "sms"
)

// ServiceInstance is the root object of SMS.
func ServiceInstance() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: string(smstypes.ManagedObjectTypeSmsServiceInstance), Value: "ServiceInstance"}
}

const (
	logoutTimeout = 5 * time.Second        // of the call that ends a session
	pollFirst     = 100 * time.Millisecond // between looks at a task; doubled each time
	pollMost      = 2 * time.Second
)

// Session is a login to a vCenter, with its SMS.
type Session struct {
	target  Target
	client  *vim25.Client
	sms     *soap.Client
	storage types.ManagedObjectReference // SMS's storage manager
}

// Connect logs in.
func Connect(ctx context.Context, t Target) (*Session, error) {
	sc := soap.NewClient(t.URL, t.Insecure)
	if t.CAs != "" {
		if err := sc.SetRootCAs(t.CAs); err != nil {
			return nil, fmt.Errorf("%w: GOVC_TLS_CA_CERTS: %w", ErrInvalid, err)
		}
	}
	if err := sc.LoadThumbprints(t.KnownHosts); err != nil {
		return nil, fmt.Errorf("%w: GOVC_TLS_KNOWN_HOSTS: %w", ErrInvalid, err)
	}
	s := &Session{target: t}
	client, err := vim25.NewClient(ctx, sc)
	if err != nil {
		sc.CloseIdleConnections()
		return nil, s.unreachable(ctx, err)
	}
	s.client = client
	if !client.IsVC() || client.ServiceContent.SessionManager == nil {
		sc.CloseIdleConnections()
		return nil, fmt.Errorf("%w: %s is a %s, not a vCenter", ErrInvalid, t.URL.Host, client.ServiceContent.About.Name)
	}
	if _, err := vim.Login(ctx, client, &types.Login{This: *client.ServiceContent.SessionManager, UserName: t.User, Password: t.Password}); err != nil {
		sc.CloseIdleConnections()
		return nil, explained(err)
	}
	if err := s.openSMS(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// openSMS finds the storage manager. SMS knows the caller by the session's cookie in the
// SOAP header.
func (s *Session) openSMS(ctx context.Context) error {
	s.sms = s.client.NewServiceClient(Path, Namespace)
	s.sms.Cookie = s.client.SessionCookie
	all := s.client.Types
	s.sms.Types = func(name string) (reflect.Type, bool) {
		// Names that SMS shares with the vCenter's API mean SMS's.
		if t, ok := all(Namespace + ":" + name); ok {
			return t, true
		}
		return all(name)
	}
	r, err := sms.QueryStorageManager(ctx, s.sms, &smstypes.QueryStorageManager{This: ServiceInstance()})
	if err != nil {
		if strings.HasPrefix(withoutURL(err).Error(), strconv.Itoa(http.StatusNotFound)) {
			return fmt.Errorf("%s has no storage monitoring service at %s (a simulator has none; on a vCenter the service vmware-sps is not running)", s.target.URL.Host, Path)
		}
		return explained(err)
	}
	s.storage = r.Returnval
	return nil
}

// Close logs out. Idempotent.
func (s *Session) Close() error {
	if s.client == nil {
		return nil
	}
	// The caller's context may be the reason for the end.
	ctx, cancel := context.WithTimeout(context.Background(), logoutTimeout)
	defer cancel()
	_, err := vim.Logout(ctx, s.client, &types.Logout{This: *s.client.ServiceContent.SessionManager})
	s.client.CloseIdleConnections()
	if s.sms != nil {
		s.sms.CloseIdleConnections()
	}
	s.client = nil
	if err != nil {
		return fmt.Errorf("logging out of vCenter: %w", explained(err))
	}
	return nil
}

// unreachable says why a vCenter could not be talked to; what is wrong with its
// certificate is looked up on a connection that does not verify it.
func (s *Session) unreachable(ctx context.Context, err error) error {
	host := s.target.URL.Host
	if !soap.IsCertificateUntrusted(err) && !isCertificateError(err) {
		return fmt.Errorf("vCenter at %s: %w", host, withoutURL(err))
	}
	var anchors []*x509.Certificate
	if s.target.CAs != "" {
		anchors = readCAs(s.target.CAs)
	}
	reason := withoutURL(err).Error()
	if p, err := Present(ctx, s.target.URL.String(), anchors, time.Now()); err == nil {
		if p.Diagnosis.Broken != nil {
			reason = p.Diagnosis.Broken.Text
		}
		reason += " (it presents SHA-256 " + p.Certificate.SHA256 + ")"
	}
	return fmt.Errorf("vCenter's certificate at %s is not trusted: %s; name its CA in GOVC_TLS_CA_CERTS, or its thumbprint in a file that GOVC_TLS_KNOWN_HOSTS names, "+
		"or set GOVC_INSECURE=1 in a lab", host, reason)
}

func isCertificateError(err error) bool {
	_, ok := errors.AsType[x509.CertificateInvalidError](err)
	return ok
}

// withoutURL takes the request's URL off an error of package http: the host is told
// already.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// wait follows a task of SMS to its end, or to that of ctx.
func (s *Session) wait(ctx context.Context, task types.ManagedObjectReference) (types.AnyType, error) {
	for pause := pollFirst; ; pause = min(2*pause, pollMost) {
		r, err := sms.QuerySmsTaskInfo(ctx, s.sms, &smstypes.QuerySmsTaskInfo{This: task})
		if err != nil {
			return nil, s.late(ctx, explained(err))
		}
		switch info := r.Returnval; smstypes.SmsTaskState(info.State) {
		case smstypes.SmsTaskStateSuccess:
			return info.Result, nil
		case smstypes.SmsTaskStateError:
			if info.Error == nil {
				return nil, errors.New("vCenter's task failed and does not say why")
			}
			return nil, localized(*info.Error)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, s.late(ctx, ctx.Err())
		case <-timer.C:
		}
	}
}

// late says what is true when a task outlives the wait for it.
func (s *Session) late(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("the wait for vCenter's task ended before the task did (%w); it goes on in vCenter: see vvsim vcenter status", ctx.Err())
}

// readCAs reads what can be read of files of CA certificates.
func readCAs(list string) (all []*x509.Certificate) {
	for _, path := range filepath.SplitList(list) {
		if certs, err := ReadCertificates(path); err == nil { // soap.Client.SetRootCAs has read the same files
			all = append(all, certs...)
		}
	}
	return all
}
