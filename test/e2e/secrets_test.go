package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/test/process"
	"vvsim/vasa/vasatest"
	"vvsim/vasa/vasatest/blocks"
	"vvsim/vasa/wire"
)

// secrets are texts that nobody but their owner may see, by what they are.
type secrets map[string]string

// keys adds the lines of the private keys in PEM text.
func (s secrets) keys(name string, text []byte) (found int) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if !strings.Contains(block.Type, "PRIVATE KEY") {
			continue
		}
		found++
		for i, line := range strings.Split(string(pem.EncodeToMemory(block)), "\n") {
			if len(line) >= 20 && !strings.HasPrefix(line, "-----") { // however lines are joined or escaped
				s[fmt.Sprintf("%s, key %d, line %d", name, found, i)] = line
			}
		}
	}
	return found
}

// in names the secrets that a text holds.
func (s secrets) in(text []byte) (names []string) {
	for name, secret := range s {
		if bytes.Contains(text, []byte(secret)) {
			names = append(names, name)
		}
	}
	return names
}

// imported writes a server's certificate and key of an authority outside, for
// `provider cert import`.
func imported(t *testing.T, dir, name string) (certificate, key string) {
	ca, err := vasatest.NewAuthority(name)
	require.NoError(t, err)
	c, err := ca.Issue(name, func(c *x509.Certificate) {
		c.ExtKeyUsage, c.IPAddresses = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, []net.IP{net.IPv4(127, 0, 0, 1)}
	})
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	require.NoError(t, err)
	certificate, key = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	require.NoError(t, os.WriteFile(certificate, []byte(vasatest.PEM(c.Leaf)+ca.PEM()), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	return certificate, key
}

// answers of the provider to logins that fail, and to requests that hold the password where
// nobody expects it.
func (s secrets) logins(t *testing.T, a *process.Array) (texts [][]byte) {
	url := strings.Replace(a.Variable("VVSIM_VASA_URL"), "version.xml", "services/vasaService", 1)
	c, err := vasatest.New(vasatest.Options{URL: url, Seen: func(x vasatest.Exchange) { texts = append(texts, x.Response) }})
	require.NoError(t, err)
	defer c.Close()
	user := a.Variable("VVSIM_VASA_USER")
	_, err = c.Call(t.Context(), &wire.RegisterCACertificatesAndCRLs{ProviderUserName: user, ProviderPassword: s["wrong password"], CARootCert: []string{"x"}})
	require.Equal(t, "InvalidLogin", vasatest.Fault(err))
	_, err = c.Call(t.Context(), &wire.RegisterVASACertificate{UserName: &user, Password: new(s["password"]), NewCertificate: new("no certificate")})
	require.Equal(t, "InvalidCertificate", vasatest.Fault(err))
	request, err := wire.EncodeRequest(wire.SOAP11, &wire.RegisterVASACertificate{UserName: &user, Password: new(s["password"])})
	require.NoError(t, err)
	for _, body := range []string{
		string(request[:len(request)-20]),                               // cut
		strings.Replace(string(request), "password>", "passphrase>", 2), // an element that is not known
		strings.Replace(string(request), "<soap:Body>", `<soap:Header><w:Security xmlns:w="urn:w">`+s["password"]+`</w:Security></soap:Header><soap:Body>`, 1),
		s["password"],
	} {
		answer, _, err := c.Post(t.Context(), "urn:registerVASACertificate", []byte(body))
		require.NoError(t, err)
		texts = append(texts, answer)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(request))
	require.NoError(t, err)
	r.SetBasicAuth(user, s["password"])
	r.Header.Set("Authorization", "Bearer "+s["password"])
	plain := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}}}
	defer plain.CloseIdleConnections()
	resp, err := plain.Do(r)
	require.NoError(t, err)
	answer, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return append(texts, answer)
}

// gets are the answers to all GET requests of the API, by path; of one thing of each list
// where a path names one.
func gets(t *testing.T, api string) map[string][]byte {
	client := &http.Client{Timeout: time.Minute}
	get := func(path string) []byte {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, api+path, nil)
		require.NoError(t, err)
		resp, err := client.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
		require.NoError(t, err, path)
		require.NotEqual(t, http.StatusUnauthorized, resp.StatusCode, path)
		return b
	}
	var document struct {
		Paths map[string]map[string]any
	}
	all := map[string][]byte{"/": get("/"), "/metrics": get("/metrics"), "/openapi.json": get("/openapi.json")}
	require.NoError(t, json.Unmarshal(all["/openapi.json"], &document))
	parameter := regexp.MustCompile(`\{(\w+)\}`)
	for path, item := range document.Paths {
		if _, has := item["get"]; !has {
			continue
		}
		one := parameter.ReplaceAllStringFunc(path, func(p string) string {
			list := []map[string]any{}
			before, _, _ := strings.Cut(path, "/{")
			if err := json.Unmarshal(get(before), &list); err != nil || len(list) == 0 {
				return "1"
			}
			for _, field := range []string{strings.Trim(p, "{}"), "id", "name", "lun"} {
				if v, has := list[0][field]; has {
					return fmt.Sprint(v)
				}
			}
			return "1"
		})
		all[path] = get(one)
	}
	return all
}

// TestSecrets: neither the provider's password nor a private key is in the log, however much
// it tells, in an answer, or in a file that others may read.
func TestSecrets(t *testing.T) {
	if process.Program() == "" {
		t.Skip("needs the program at VVSIM_BIN: run make e2e")
	}
	dir, files := t.TempDir(), t.TempDir()
	a := process.Start(t, dir, "--log-level", "debug")
	s := secrets{"password": a.Variable("VVSIM_VASA_PASSWORD"), "wrong password": "almost-the-right-one"}
	iqn := a.Variable("VVSIM_IQN")
	io := blocks.New(a.Variable("VVSIM_ISCSI"), iqn)
	defer io.Close()
	_, err := vasatest.Run(t.Context(), vasatest.ExerciseOptions{URL: a.Variable("VVSIM_VASA_URL"), User: a.Variable("VVSIM_VASA_USER"),
		Password: s["password"], KeepCertificate: true, IO: io, Seen: validated(t)})
	require.NoError(t, err)
	a.Run("vvol", "create", "--size", "8MiB", "--name", "disk")
	a.Run("lun", "map", "disk", "--lun", "0")
	a.Run("bind", "disk", "--initiator", "iqn.1998-01.com.vmware:esx1-1a2b3c4d")

	certificate, key := imported(t, files, "lab")
	_, another := imported(t, files, "another")
	for name, path := range map[string]string{"imported": key, "refused": another} {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, 1, s.keys(name, text))
	}
	refused, err := a.Command(t.Context(), "provider", "cert", "import", certificate, "--key", another).CombinedOutput()
	require.Error(t, err, "%s", refused)
	require.Empty(t, s.in(refused))
	require.Empty(t, s.in([]byte(a.Run("provider", "cert", "import", certificate, "--key", key))))
	require.Empty(t, s.in([]byte(a.Run("provider", "cert", "csr")+a.Run("provider", "cert", "show")+a.Run("provider", "trace")+a.Run("doctor"))))

	for _, answer := range s.logins(t, a) {
		require.Empty(t, s.in(answer), "%s", answer)
	}
	data := filepath.Join(dir, "data")
	kept := 0
	for path, mode := range below(t, filepath.Join(data, "provider")) {
		if mode.IsDir() {
			require.EqualValues(t, 0o700, mode.Perm(), path)
			continue
		}
		require.EqualValues(t, 0o600, mode.Perm(), path)
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		kept += s.keys(path, text)
	}
	require.GreaterOrEqual(t, kept, 2, "the CA's and the server's")

	answers := gets(t, a.Variable("VVSIM_API"))
	require.Contains(t, answers, "/api/v1/provider")
	for path, answer := range answers {
		require.Empty(t, s.in(answer), "GET %s: %s", path, answer)
	}
	env := filepath.Join(dir, "env")
	for path, mode := range below(t, dir) {
		if path == env {
			require.EqualValues(t, 0o600, mode.Perm())
		}
		if !mode.IsRegular() || mode.Perm()&0o077 == 0 {
			continue
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Empty(t, s.in(text), "%s, mode %v", path, mode)
	}
	text, err := os.ReadFile(env)
	require.NoError(t, err)
	require.Equal(t, []string{"password"}, s.in(text), "what is looked for is found where it is")
	require.NoError(t, a.End(syscall.SIGTERM))
	require.Contains(t, a.Log(), "VASA call", "the log tells much")
	require.Empty(t, s.in([]byte(a.Log())))
	t.Logf("%d texts in %d answers, %d bytes of log", len(s), len(answers), len(a.Log()))
}

// below are the modes of a directory and of all that is in it.
func below(t *testing.T, dir string) map[string]fs.FileMode {
	all := map[string]fs.FileMode{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		all[path] = info.Mode()
		return err
	}))
	return all
}
