package vasa

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/trust"
	"vvsim/vasa/vasatest"
	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// world is what hostile requests may name: one of each.
type world struct {
	volume, snapshot, container, array, endpoint string
}

func (l *lab) world(h *vasatest.Client) world {
	v := l.create("victim", 4)
	snapshot, err := l.service.Snapshot(l.t.Context(), v.ID, vvol.SnapshotSpec{})
	require.NoError(l.t, err)
	_, err = h.Call(l.t.Context(), &wire.BindVirtualVolume{VVolID: []string{v.ID.String()}, BindContext: wire.BindContextNormal})
	require.NoError(l.t, err)
	return world{v.ID.String(), snapshot.ID.String(), v.Container.String(), l.arrayID(), l.endpoints()[0].id}
}

// digest is all that a request may change and a refused one must not.
func (l *lab) digest() string {
	all := []any{l.service.VVols(vvol.Filter{}), l.service.Bindings(vvol.BindingFilter{}), l.service.Containers(), l.service.Hosts(), l.trust.Roots(), l.trust.CRLs(), l.trust.Report()}
	b, err := json.Marshal(all)
	require.NoError(l.t, err)
	return string(b)
}

// valid is a request of plausible arguments, as deep as its types go.
func (w world) valid(t reflect.Type, name string, depth int) reflect.Value {
	v := reflect.New(t).Elem()
	switch {
	case t == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)))
		return v
	case t == reflect.TypeFor[any]():
		v.Set(reflect.ValueOf("value"))
		return v
	case depth > 20:
		return v
	}
	switch t.Kind() {
	case reflect.String:
		v.SetString(w.plausible(t, name))
	case reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		v.Elem().Set(w.valid(t.Elem(), name, depth+1))
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte{1})
			return v
		}
		if item := w.valid(t.Elem(), name, depth+1); t.Elem().Kind() != reflect.Interface || !item.IsNil() {
			v.Set(reflect.Append(v, item))
		}
	case reflect.Interface:
		of := map[reflect.Type]any{reflect.TypeFor[wire.AnyProfile](): wire.StorageProfile{}, reflect.TypeFor[wire.AnySubProfile](): wire.SubProfile{}}
		if x, has := of[t]; has {
			v.Set(w.valid(reflect.PointerTo(reflect.TypeOf(x)), name, depth+1))
		}
	case reflect.Struct:
		for i := range t.NumField() {
			v.Field(i).Set(w.valid(t.Field(i).Type, t.Field(i).Name, depth+1))
		}
	}
	return v
}

// plausible is a text for a field by its name; enumerations get a value of theirs.
func (w world) plausible(t reflect.Type, name string) string {
	known := map[reflect.Type]string{reflect.TypeFor[wire.BindContext](): string(wire.BindContextNormal),
		reflect.TypeFor[wire.EntityType]():           string(wire.EntityTypeStorageArray),
		reflect.TypeFor[wire.ProtocolEndpointType](): string(wire.ProtocolEndpointTypeSCSI)}
	if s, has := known[t]; has {
		return s
	}
	if m := reflect.New(t).Elem().MethodByName("Values"); m.IsValid() {
		return m.Call(nil)[0].Index(0).String()
	}
	lower := strings.ToLower(name)
	switch {
	case strings.Contains(lower, "iscsiidentifier"):
		return hostIQN("hostile")
	case strings.Contains(lower, "wwn"):
		return ""
	case strings.Contains(lower, "guid"):
		return hostGUID("hostile")
	case strings.Contains(lower, "username"):
		return "vasa"
	case strings.Contains(lower, "password"):
		return "secret-of-the-lab"
	case strings.Contains(lower, "container"):
		return w.container
	case strings.Contains(lower, "array"):
		return w.array
	case strings.Contains(lower, "snapshot"), strings.Contains(lower, "base"):
		return w.snapshot
	case strings.Contains(lower, "vvol"), strings.Contains(lower, "object"), strings.Contains(lower, "uniqueidentifier"):
		return w.volume
	case strings.Contains(lower, "peid"):
		return w.endpoint
	}
	return "text"
}

// element is where an element is in an envelope.
type element struct{ start, inner, innerEnd, end int }

// elementsIn finds those below the body, the operation's first.
func elementsIn(t *testing.T, envelope []byte) (all []element) {
	d := xml.NewDecoder(bytes.NewReader(envelope))
	open, inBody := []int{}, false
	for {
		at := int(d.InputOffset())
		token, err := d.RawToken()
		if token == nil {
			return all
		}
		require.NoError(t, err)
		switch x := token.(type) {
		case xml.StartElement:
			if inBody {
				open, all = append(open, len(all)), append(all, element{start: at, inner: int(d.InputOffset())})
			}
			inBody = inBody || x.Name.Local == "Body"
		case xml.EndElement:
			if n := len(open); n > 0 {
				all[open[n-1]].innerEnd, all[open[n-1]].end = at, int(d.InputOffset())
				open = open[:n-1]
			}
		}
	}
}

// spoilings are what a client may do to an element of a request that is right otherwise.
func spoilings(w world) (all []func(envelope []byte, e element) []byte) {
	raw := func(s string) func([]byte, element) []byte {
		return func(x []byte, e element) []byte { return splice(x, e.inner, e.innerEnd, []byte(s)) }
	}
	for _, s := range []string{"", " ", "x", "rfc4122.", "rfc4122.zz", "rfc4122.00000000-0000-4000-8000-000000000000", "00000000-0000-4000-8000-000000000000",
		w.volume, strings.ToUpper(w.volume), w.snapshot, w.container, w.array, w.endpoint, "StorageArray:", "../../etc/passwd", "%s%n", "iqn.2026-11.dev.vvsim:x",
		"createVirtualVolume:1", "true", "-1", "0", "-9223372036854775808", "9223372036854775807", "99999999999999999999", "1e400", "2026-13-45T99:99:99Z",
		"\u00e9\u202e\ufffd", strings.Repeat("A", 1<<20)} {
		all = append(all, raw(s)) // nothing in them needs an escape
	}
	repeated := func(n int) func([]byte, element) []byte {
		return func(x []byte, e element) []byte {
			return splice(x, e.end, e.end, bytes.Repeat(x[e.start:e.end], n))
		}
	}
	nilled := func(x []byte, e element) []byte {
		return splice(x, e.inner-1, e.inner, []byte(` xmlns:n="http://www.w3.org/2001/XMLSchema-instance" n:nil="true">`))
	}
	return append(all, nilled, func(x []byte, e element) []byte { return splice(x, e.start, e.end, nil) }, repeated(1), repeated(DefaultBatch),
		raw("<a/>"), raw("&bomb;"), raw("\xff"), raw("\x00"), raw("</a>"), raw(strings.Repeat("<a>", 100)), raw("<![CDATA["+w.volume+"]]>"))
}

func splice(x []byte, from, to int, with []byte) []byte {
	return bytes.Join([][]byte{x[:from], with, x[to:]}, nil)
}

// direct sends a request past TLS, as a client with a certificate that is trusted and a
// session of its own.
type directClient struct {
	l    *lab
	leaf *x509.Certificate
	id   string
}

func (c *directClient) post(action string, body []byte) *httptest.ResponseRecorder {
	print, err := c.l.trust.Verify([]*x509.Certificate{c.leaf})
	if err != nil {
		c.l.registered()
		print, err = c.l.trust.Verify([]*x509.Certificate{c.leaf})
		require.NoError(c.l.t, err)
	}
	if _, err := c.l.sessions.Find(c.id, print.Fingerprint); err != nil {
		s, _, err := c.l.sessions.Open(*usageOf("hostile"), print.Fingerprint, "here", nil)
		require.NoError(c.l.t, err)
		c.id = s.ID
	}
	r := httptest.NewRequest(http.MethodPost, ServicePath, bytes.NewReader(body))
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c.leaf}}
	r.AddCookie(&http.Cookie{Name: cookieName, Value: c.id})
	r.Header.Set("Content-Type", "text/xml; charset=utf-8")
	r.Header.Set("SOAPAction", action)
	w := httptest.NewRecorder()
	c.l.serveSOAP(w, r)
	c.l.schema.Add(strings.TrimPrefix(action, "urn:"), w.Body.Bytes())
	return w
}

// hostile is a lab with a client of it.
func hostile(t testing.TB) (*lab, *directClient, *vasatest.Client) {
	l := newLab(t, func(o *Options) {
		o.Limits.Trace = 8
		o.Statistics = Statistics{Array: func() Counters { return Counters{} }, Volumes: func(ids []vvol.ID) []Counters { return make([]Counters, len(ids)) }}
	})
	h := l.host("hostile")
	cert, err := l.vmca.Issue("hostile", nil)
	require.NoError(t, err)
	return l, &directClient{l: l, leaf: cert.Leaf}, h
}

// TestEveryArgument: each field of each operation is spoiled in each way; the answer is a
// response, or a fault that the operation declares, and then nothing has changed.
func TestEveryArgument(t *testing.T) {
	stride := 10 // each way meets each kind of element in one operation or another
	if os.Getenv("VVSIM_ARGUMENTS") == "all" {
		stride = 1
	}
	for at, op := range wire.Operations() {
		t.Run(op.Name, func(t *testing.T) {
			l, c, h := hostile(t)
			w := l.world(h)
			before, outcomes, n := l.digest(), map[string]int{}, 0
			for i := 0; ; i++ {
				envelope, all := w.envelope(t, op)
				if i >= len(all) {
					break
				}
				ways := spoilings(w)
				for j := range ways {
					if (at+i+j)%stride != 0 {
						continue
					}
					body := ways[j](envelope, all[i])
					if strings.HasPrefix(op.Name, "register") {
						l.passes(trust.DefaultLockTime) // wrong passwords lock, which is not the point
					}
					answer := c.post(op.Action(), body)
					name := fmt.Sprintf("element %d, spoiled in way %d: %.300s\n%.1000s", i, j, envelope[all[i].start:], body)
					outcome := l.outcome(op, answer, name)
					outcomes[outcome]++
					n++
					switch after := l.digest(); {
					case outcome != "ok":
						require.Equal(t, before, after, "%s changed something: %s", outcome, name)
					case after != before:
						w = l.world(h)
						before, ways = l.digest(), spoilings(w)
						envelope, all = w.envelope(t, op)
					}
				}
			}
			require.NoError(t, l.service.Check(t.Context()))
			t.Logf("%d requests: %v", n, outcomes)
		})
	}
}

// envelope is a request of plausible arguments.
func (w world) envelope(t *testing.T, op *wire.Operation) ([]byte, []element) {
	request := w.valid(op.Request, "", 0).Addr().Interface()
	envelope, err := wire.EncodeRequest(wire.SOAP11, request)
	require.NoError(t, err)
	return envelope, elementsIn(t, envelope)
}

// outcome is "ok" or a declared fault; all else fails the test.
func (l *lab) outcome(op *wire.Operation, answer *httptest.ResponseRecorder, name string) string {
	_, err := wire.DecodeResponse(answer.Body.Bytes(), op, wire.Options{Strict: true})
	if err == nil {
		require.Equal(l.t, http.StatusOK, answer.Code, name)
		return "ok"
	}
	fault := vasatest.Fault(err)
	require.NotEmpty(l.t, fault, "%v: %s", err, name)
	require.Less(l.t, answer.Body.Len(), 256<<10, name)
	if slices.Contains([]string{"Client", "Sender", "VersionMismatch"}, fault) {
		require.Equal(l.t, http.StatusBadRequest, answer.Code, name)
		return fault
	}
	require.Contains(l.t, op.Faults, fault, name)
	return fault
}

// FuzzHandler: whatever comes with a certificate and a session, there is an envelope or a
// 4xx.
func FuzzHandler(f *testing.F) {
	l, c, h := hostile(f)
	w := l.world(h)
	for _, op := range wire.Operations() {
		for _, v := range []wire.Version{wire.SOAP11, wire.SOAP12} {
			envelope, err := wire.EncodeRequest(v, w.valid(op.Request, "", 0).Addr().Interface())
			require.NoError(f, err)
			f.Add(op.Action(), envelope)
		}
	}
	f.Fuzz(func(t *testing.T, action string, body []byte) {
		l.t = t
		answer := c.post(action, body)
		if answer.Code == http.StatusOK || answer.Code >= 500 {
			_, err := wire.DecodeResponse(answer.Body.Bytes(), wire.Lookup("queryCatalog"), wire.Options{})
			if fault := vasatest.Fault(err); answer.Code >= 500 && fault == "" {
				t.Fatalf("HTTP %d without a fault: %s", answer.Code, answer.Body)
			}
		} else if answer.Code < 400 || answer.Code >= 500 {
			t.Fatalf("HTTP %d", answer.Code)
		}
	})
}
