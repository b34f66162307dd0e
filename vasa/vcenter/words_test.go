package vcenter

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	smstypes "github.com/vmware/govmomi/sms/types"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// faultTypes are the structs of the SMS API's package that are faults: what a type
// XFault names that X is.
func faultTypes(t *testing.T) (names []string) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}}", "github.com/vmware/govmomi/sms/types").Output()
	require.NoError(t, err)
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(strings.TrimSpace(string(out)), "types.go"), nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, s := range g.Specs {
			spec, ok := s.(*ast.TypeSpec)
			if !ok {
				continue
			}
			base, isName := spec.Type.(*ast.Ident)
			if name, ok := strings.CutSuffix(spec.Name.Name, "Fault"); ok && isName && strings.TrimPrefix(base.Name, "Base") == name {
				names = append(names, name)
			}
		}
	}
	return names
}

// TestEveryFaultHasWords walks the fault types that govmomi knows of SMS, decodes each as
// it comes over the wire, and wants it explained.
func TestEveryFaultHasWords(t *testing.T) {
	names := faultTypes(t)
	require.Greater(t, len(names), 40)
	words := explanations()
	for _, name := range names {
		x, ok := words[name]
		require.True(t, ok, "%s has no words", name)
		require.NotEmpty(t, x.means, name)
		require.NotEqual(t, x.means, strings.ToUpper(x.means[:1])+x.means[1:], "%s: goes behind a colon", name)
		kind, ok := types.TypeFunc()("sms:" + name)
		require.True(t, ok, name)
		require.Equal(t, name, kind.Name())
	}
	require.Subset(t, names, []string{"CertificateNotTrusted", "DuplicateEntry", "IncorrectUsernamePassword", "ProviderRegistrationFault"})
	for name := range words {
		_, isSMS := types.TypeFunc()("sms:" + name)
		_, isVIM := types.TypeFunc()(name)
		require.True(t, isSMS || isVIM, "%s is no fault", name)
	}
}

func TestFaultText(t *testing.T) {
	f := &smstypes.ProviderRegistrationFault{}
	f.FaultCause = &types.LocalizedMethodFault{Fault: &smstypes.ProviderBusy{}, LocalizedMessage: "two at once"}
	text := localized(types.LocalizedMethodFault{Fault: f, LocalizedMessage: "it failed"}).Error()
	for _, part := range []string{"ProviderRegistrationFault", "it failed", "ProviderBusy: two at once", "sps.log"} {
		require.Contains(t, text, part)
	}
	loop := &smstypes.SmsFault{}
	loop.FaultCause = &types.LocalizedMethodFault{Fault: loop}
	require.Len(t, localized(types.LocalizedMethodFault{Fault: loop}).Causes, maxCauses)
	unknown := localized(types.LocalizedMethodFault{LocalizedMessage: "something new"})
	require.ErrorContains(t, unknown, "something new")
	require.ErrorContains(t, unknown, "no words")
	err := explained(soap.WrapSoapFault(&soap.Fault{Code: "ServerFaultCode", String: "boom"}))
	require.ErrorContains(t, err, "boom")
	plain := errors.New("plain")
	require.Equal(t, plain, explained(plain))
}

func TestFromEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, []byte("from the file\n"), 0o600))
	large := filepath.Join(t.TempDir(), "large")
	require.NoError(t, os.WriteFile(large, make([]byte, maxSecretFile+1), 0o600))
	for name, c := range map[string]struct {
		env  map[string]string
		want Target
		url  string
		err  string
	}{
		"bare host":  {env: map[string]string{"GOVC_URL": "vc.example", "GOVC_USERNAME": "root", "GOVC_PASSWORD": "x"}, want: Target{User: "root", Password: "x"}, url: "https://vc.example/sdk"},
		"in the URL": {env: map[string]string{"GOVC_URL": "https://a:b@vc.example:444/sdk", "GOVC_INSECURE": "true"}, want: Target{User: "a", Password: "b", Insecure: true}, url: "https://vc.example:444/sdk"},
		"over the URL": {env: map[string]string{"GOVC_URL": "a:b@vc.example", "GOVC_PASSWORD": file, "GOVC_TLS_CA_CERTS": "ca.pem", "GOVC_TLS_KNOWN_HOSTS": "known"},
			want: Target{User: "a", Password: "from the file", CAs: "ca.pem", KnownHosts: "known"}, url: "https://vc.example/sdk"},
		"nothing":        {err: "GOVC_URL is not set"},
		"no user":        {env: map[string]string{"GOVC_URL": "vc.example"}, err: "GOVC_USERNAME"},
		"malformed":      {env: map[string]string{"GOVC_URL": "https://u:sesame@[::1/sdk"}, err: "GOVC_URL"},
		"other scheme":   {env: map[string]string{"GOVC_URL": "ftp://u:sesame@vc"}, err: "GOVC_URL"},
		"insecure":       {env: map[string]string{"GOVC_URL": "u@vc", "GOVC_INSECURE": "perhaps"}, err: "GOVC_INSECURE"},
		"no such secret": {env: map[string]string{"GOVC_URL": "u@vc", "GOVC_PASSWORD": large}, err: "GOVC_PASSWORD"},
	} {
		got, err := FromEnvironment(func(k string) string { return c.env[k] })
		if c.err != "" {
			require.ErrorIs(t, err, ErrInvalid, name)
			require.ErrorContains(t, err, c.err, name)
			require.NotContains(t, err.Error(), "sesame", name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, c.url, got.URL.String(), name)
		got.URL = nil
		require.Equal(t, c.want, got, name)
	}
}
