package vasa

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/trace"
	"vvsim/vasa/vasatest"
	"vvsim/vasa/wire"
)

const soap11 = `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>%s</s:Body></s:Envelope>`

func setTask(id string) string {
	return fmt.Sprintf(soap11, `<getTaskUpdate xmlns="http://com.vmware.vim.vasa/2.0/xsd"><taskId>`+id+`</taskId></getTaskUpdate>`)
}

// TestBadInput is answered with a fault or a 4xx, and changes nothing.
func TestBadInput(t *testing.T) {
	l := newLab(t, nil)
	c := l.vcenter("vc")
	bomb := `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>`
	for name, x := range map[string]struct {
		action, body, fault string
		status              int
	}{
		"nothing":         {"urn:getTaskUpdate", "", "Sender", 400},
		"no XML":          {"urn:getTaskUpdate", "<<<", "Sender", 400},
		"no action":       {"", setTask("nothing:1"), "NotFound", 500},
		"quoted action":   {`"urn:getTaskUpdate"`, setTask("nothing:1"), "NotFound", 500},
		"foreign action":  {"urn:setContext", setTask("x"), "InvalidArgument", 500},
		"no operation":    {"urn:formatArray", fmt.Sprintf(soap11, `<formatArray xmlns="http://com.vmware.vim.vasa/2.0/xsd"/>`), "Sender", 400},
		"empty":           {"urn:getTaskUpdate", fmt.Sprintf(soap11, ""), "InvalidArgument", 500},
		"empty id":        {"urn:getTaskUpdate", setTask(""), "InvalidArgument", 500},
		"missing element": {"urn:getTaskUpdate", strings.ReplaceAll(setTask("x"), "taskId", "task"), "InvalidArgument", 500},
		"wrong namespace": {"urn:getTaskUpdate", strings.ReplaceAll(setTask("x"), "vasa/2.0", "vasa/3.0"), "InvalidArgument", 500},
		"document type":   {"urn:getTaskUpdate", bomb + setTask("&b;"), "Sender", 400},
		"external entity": {"urn:getTaskUpdate", `<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>` + setTask("&f;"), "Sender", 400},
		"bad UTF-8":       {"urn:getTaskUpdate", setTask("\xff\xfe"), "Sender", 400},
		"truncated":       {"urn:getTaskUpdate", setTask("x")[:150], "InvalidArgument", 500},
		"deep":            {"urn:getTaskUpdate", fmt.Sprintf(soap11, strings.Repeat("<a>", 10000)), "InvalidArgument", 500},
		"a header that must be understood": {"urn:getTaskUpdate", strings.Replace(setTask("x"), "<s:Body>",
			`<s:Header><w:Security xmlns:w="urn:w" s:mustUnderstand="1"/></s:Header><s:Body>`, 1), "MustUnderstand", 400},
	} {
		t.Run(name, func(t *testing.T) {
			answer, status, err := c.Post(t.Context(), x.action, []byte(x.body))
			require.NoError(t, err)
			require.Equal(t, x.status, status, "%s", answer)
			_, err = wire.DecodeResponse(answer, wire.Lookup("getTaskUpdate"), wire.Options{})
			require.Equal(t, x.fault, vasatest.Fault(err), "%s", answer)
			require.NotContains(t, string(answer), "root:")
		})
	}
	_, status, err := c.Post(t.Context(), "urn:getTaskUpdate", bytes.Repeat([]byte(" "), 50<<20))
	if err == nil { // the server may close the connection while the body is on its way
		require.Equal(t, http.StatusRequestEntityTooLarge, status)
	}
	require.Len(t, l.Sessions(), 1)
	_, err = c.Call(t.Context(), &wire.QueryCACertificates{})
	require.NoError(t, err, "the session goes on")
}

// TestOtherDoors of the HTTP server are closed.
func TestOtherDoors(t *testing.T) {
	l := newLab(t, nil)
	for _, x := range []struct {
		method, path string
		status       int
	}{
		{"GET", ServicePath, 405}, {"PUT", ServicePath, 405}, {"GET", "/", 404}, {"POST", VersionPath, 405}, {"GET", "/vasa/../../etc/passwd", 404}, {"HEAD", VersionPath, 200},
	} {
		r, err := http.NewRequestWithContext(t.Context(), x.method, l.server.URL+x.path, nil)
		require.NoError(t, err)
		resp, err := l.plain().Do(r)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, x.status, resp.StatusCode, "%s %s", x.method, x.path)
	}
}

// stopper holds requests until it is told to go on.
type stopper struct {
	next     Invoker
	entered  chan struct{}
	released chan struct{}
}

func (s *stopper) Invoke(ctx context.Context, op string, req any) (any, error) {
	if op == "queryCACertificates" {
		s.entered <- struct{}{}
		<-s.released
	}
	if op == "requestCSR" {
		panic("a mistake of ours")
	}
	return s.next.Invoke(ctx, op, req)
}

// TestAdmission bounds what runs at a time, of one session and in all.
func TestAdmission(t *testing.T) {
	for name, limits := range map[string]Limits{"of a session": {PerSession: 2}, "in all": {Requests: 2}} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, func(o *Options) { o.Limits = limits })
			s := &stopper{entered: make(chan struct{}), released: make(chan struct{})}
			c := l.vcenter("vc")
			l.Decorate(func(next Invoker) Invoker { s.next = next; return s })
			ended := make(chan error)
			for range 2 {
				go func() { _, err := c.Call(t.Context(), &wire.QueryCACertificates{}); ended <- err }()
				<-s.entered
			}
			l.fault(c, "VasaProviderBusy", &wire.QueryCACertificateRevocationLists{})
			l.fault(c, "StorageFault", &wire.QueryCatalog{}) // does not declare the other
			close(s.released)
			for range 2 {
				require.NoError(t, <-ended)
			}
			_, err := c.Call(t.Context(), &wire.QueryCACertificateRevocationLists{})
			require.NoError(t, err)
		})
	}
}

// TestPanic becomes a StorageFault, and the provider lives.
func TestPanic(t *testing.T) {
	var panicked []Call
	l := newLab(t, func(o *Options) { o.Events.Panic = func(c Call, _ any, _ []byte) { panicked = append(panicked, c) } })
	c := l.vcenter("vc")
	l.Decorate(func(next Invoker) Invoker { return &stopper{next: next} })
	l.fault(c, "StorageFault", &wire.RequestCSR{})
	require.Len(t, panicked, 1)
	require.Equal(t, "requestCSR", panicked[0].Operation)
	_, err := c.Call(t.Context(), &wire.QueryCACertificateRevocationLists{})
	require.NoError(t, err)
}

// TestTrace keeps what clients sent that was not expected, and no secret.
func TestTrace(t *testing.T) {
	l := newLab(t, func(o *Options) { o.Limits.Trace = 16 })
	c := l.vcenter("vc")
	body := strings.Replace(setTask("nothing:1"), "<taskId>", "<novelty>secret-of-the-lab</novelty><taskId>", 1)
	for range 3 {
		_, _, err := c.Post(t.Context(), "urn:vim25/8.0:getTaskUpdate", []byte(body))
		require.NoError(t, err)
	}
	found := map[string]int{}
	for _, e := range l.Trace() {
		require.NotContains(t, e.Text, "secret-of-the-lab")
		require.NotContains(t, e.Text, cookieName)
		found[e.Kind] += e.Count
	}
	require.Equal(t, 3, found["unknown element"], "%v", found)
	require.Equal(t, 3, found["action spelled otherwise"])
	for i := range 100 {
		_, _, err := c.Post(t.Context(), fmt.Sprint("urn:", i), []byte(body))
		require.NoError(t, err)
	}
	kept := map[string]int{}
	for _, e := range l.Trace() {
		kept[e.Kind]++
		require.LessOrEqual(t, kept[e.Kind], 16, e.Kind)
	}
	require.Equal(t, 16, kept["action spelled otherwise"], "bounded")
	l.set(Knobs{Strict: true})
	answer, _, err := c.Post(t.Context(), "urn:getTaskUpdate", []byte(body))
	require.NoError(t, err)
	require.Contains(t, string(answer), "InvalidArgument")
}

// TestTraceKeepsTheRare: an element that nobody knows is there after 64 hosts called all
// kinds of operations in turn, and a stranger asked for version.xml a thousand times and sent
// a thousand elements of the same kind.
func TestTraceKeepsTheRare(t *testing.T) {
	var mu sync.Mutex
	told := map[string]int{}
	l := newLab(t, func(o *Options) {
		o.Events.Traced = func(e trace.Entry) { mu.Lock(); defer mu.Unlock(); told[e.Kind]++ }
	})
	c := l.vcenter("vc")
	_, _, err := c.Post(t.Context(), "urn:getTaskUpdate", []byte(strings.Replace(setTask("nothing:1"), "<taskId>", "<novelty/><taskId>", 1)))
	require.NoError(t, err)
	requests := []any{&wire.QueryCatalog{}, &wire.QueryCACertificates{}, &wire.QueryStorageContainer{}, &wire.QueryCACertificateRevocationLists{}}
	const hosts = 64
	for n := range hosts {
		h := l.host(fmt.Sprintf("h%03d", n))
		for i := range requests {
			for _, r := range requests[i:] {
				_, err := h.Call(t.Context(), requests[i])
				require.NoError(t, err)
				_, err = h.Call(t.Context(), r)
				require.NoError(t, err)
			}
		}
	}
	plain, stranger := l.plain(), l.client(nil, wire.SOAP11)
	for i := range 1000 {
		_, _, err := stranger.Post(t.Context(), "urn:getTaskUpdate", []byte(strings.Replace(setTask("nothing:1"), "<taskId>", fmt.Sprintf("<flood%d/><taskId>", i), 1)))
		require.NoError(t, err)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, l.server.URL+VersionPath, nil)
		require.NoError(t, err)
		r.Header.Set("X-Flood", fmt.Sprint(i))
		resp, err := plain.Do(r)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	rare, order, strangers, floods := 0, 0, 0, 0
	for _, e := range l.Trace() {
		switch {
		case e.Kind == "unknown element" && e.Stranger:
			floods++
			require.Contains(t, e.Text, "flood")
		case e.Kind == "unknown element":
			rare++
			require.Contains(t, e.Text, "novelty")
		case e.Kind == kindOrder && strings.HasPrefix(e.Client, "host "):
			order++
			require.Equal(t, hosts, e.Clients, e.Text)
		case e.Kind == kindVersion:
			strangers++
			require.True(t, e.Stranger)
		}
	}
	require.Equal(t, 1, rare)
	require.Greater(t, order, len(requests)*len(requests)/2)
	require.Less(t, order, 2*len(requests)*len(requests), "one for all hosts")
	require.Equal(t, DefaultStrangerTrace, strangers)
	require.Equal(t, DefaultStrangerTrace, floods)
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, 1+1000, told["unknown element"])
	require.Equal(t, 1000, told[kindVersion])
}

// TestCalls are reported with the id that the fault's text has.
func TestCalls(t *testing.T) {
	l := newLab(t, nil)
	c := l.vcenter("vc")
	_, err := c.Call(t.Context(), &wire.GetTaskUpdate{TaskID: "nothing:1"})
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.calls[len(l.calls)-1]
	require.Equal(t, Call{ID: last.ID, Operation: "getTaskUpdate", Client: "vcenter vc", Remote: last.Remote, Took: last.Took, Outcome: "NotFound", Detail: last.Detail}, last)
	require.ErrorContains(t, err, "(request "+last.ID+")")
}
