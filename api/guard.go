package api

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Limits of requests.
const (
	maxBody      = 1 << 20          // bytes of a request's body
	maxRequests  = 256              // at a time, event streams and public paths aside
	maxScrapes   = 8                // of /metrics at a time
	bodyTimeout  = 30 * time.Second // for the whole body to arrive
	writeTimeout = 30 * time.Second // for one piece of the answer to be taken
)

// public tells what needs no token: what carries nothing of the array but figures.
func public(path string) bool {
	switch path {
	case "/", "/healthz", "/readyz", "/version", "/metrics":
		return true
	}
	return strings.HasPrefix(path, "/openapi")
}

// guard stands before the routes: it asks for the token where one is set, refuses
// what a page of another site sends, bounds bodies, waits and the number of
// requests, and sees to it that every error is a problem.
func (h *handlers) guard(mux *http.ServeMux) http.Handler {
	origins := http.NewCrossOriginProtection()
	private := atMost(maxRequests, mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		timed := &timedWriter{ResponseWriter: w, control: http.NewResponseController(w)}
		w = timed
		defer timed.extend() // the server flushes after the handler
		defer func() {
			if v := recover(); v != nil {
				h.recovered(timed, r, v)
			}
		}()
		if r.Body != nil && r.Body != http.NoBody {
			_ = timed.control.SetReadDeadline(time.Now().Add(bodyTimeout)) // a recorder in a test has none
		}
		if refused := h.refuse(w, r, origins); refused != nil {
			w.Header().Set("Connection", "close") // whatever body there is stays unread
			writeProblem(w, refused)
			return
		}
		if r.URL.Path == "/api/v1/events" && r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
			h.stream(w, r)
			return
		}
		if !readBody(w, r) {
			return
		}
		if _, pattern := mux.Handler(r); pattern == "" {
			refuseRoute(w, r, mux)
			return
		}
		if public(r.URL.Path) {
			mux.ServeHTTP(w, r)
			return
		}
		private.ServeHTTP(w, r)
	})
}

// refuse tells why a request may not come in, nil when it may.
func (h *handlers) refuse(w http.ResponseWriter, r *http.Request, origins *http.CrossOriginProtection) *huma.ErrorModel {
	if !public(r.URL.Path) && !h.admitted(r) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		return refusal(http.StatusUnauthorized, "a valid bearer token is needed")
	}
	if err := origins.Check(r); err != nil {
		return refusal(http.StatusForbidden, err.Error())
	}
	return nil
}

func (h *handlers) admitted(r *http.Request) bool {
	if h.o.Token == "" {
		return true
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && subtle.ConstantTimeCompare([]byte(given), []byte(h.o.Token)) == 1
}

// recovered turns the panic of a request into a problem, or into an answer that
// breaks off where it had begun; the process lives.
func (h *handlers) recovered(w *timedWriter, r *http.Request, v any) {
	if h.o.Panic != nil {
		h.o.Panic(r.Method+" "+r.URL.Path, v, debug.Stack())
	}
	if w.begun {
		w.broken = true
		w.extend()
		return
	}
	writeProblem(w, newProblem(http.StatusInternalServerError, "internal", "the request failed inside the array; its log has more"))
}

// readBody takes the whole body before anything else happens, so that a slow
// sender holds nothing and a long operation is not cut off by the body's deadline.
// Where a body is refused its deadline stays, as the server reads on a little.
func readBody(w http.ResponseWriter, r *http.Request) (ok bool) {
	if r.Body == nil || r.Body == http.NoBody {
		return true
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
		r.Body = io.NopCloser(bytes.NewReader(b))
		return true
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		writeProblem(w, refusal(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", large.Limit)))
	case errors.Is(err, os.ErrDeadlineExceeded):
		writeProblem(w, refusal(http.StatusRequestTimeout, "the body did not arrive within "+bodyTimeout.String()))
	default:
		writeProblem(w, refusal(http.StatusBadRequest, "body: "+err.Error()))
	}
	return false
}

// refuseRoute answers for a path or method that nothing serves.
func refuseRoute(w http.ResponseWriter, r *http.Request, mux *http.ServeMux) {
	seen := &statusWriter{header: http.Header{}}
	mux.ServeHTTP(seen, r)
	if seen.status == http.StatusMethodNotAllowed {
		allow := seen.header.Get("Allow")
		w.Header().Set("Allow", allow)
		writeProblem(w, refusal(http.StatusMethodNotAllowed, fmt.Sprintf("%s is not served at %s, but %s", r.Method, r.URL.Path, allow)))
		return
	}
	writeProblem(w, refusal(http.StatusNotFound, "nothing is served at "+r.URL.Path))
}

// statusWriter keeps status and header of an answer and drops its body.
type statusWriter struct {
	header http.Header
	status int
}

func (s *statusWriter) Header() http.Header         { return s.header }
func (s *statusWriter) Write(p []byte) (int, error) { return len(p), nil }
func (s *statusWriter) WriteHeader(status int)      { s.status = status }

// timedWriter gives every piece of an answer its own deadline: a reader that
// stops reading ends its request.
type timedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	begun   bool // a part of the answer may be on its way
	broken  bool // nothing more may go out, so that the client sees an end too early
}

// extend moves the deadline; a recorder in a test has none.
func (w *timedWriter) extend() {
	deadline := time.Now().Add(writeTimeout)
	if w.broken {
		deadline = time.Unix(1, 0)
	}
	_ = w.control.SetWriteDeadline(deadline)
}

func (w *timedWriter) WriteHeader(status int) {
	w.begun = true
	w.extend()
	w.ResponseWriter.WriteHeader(status)
}

func (w *timedWriter) Write(p []byte) (int, error) {
	w.begun = true
	w.extend()
	return w.ResponseWriter.Write(p)
}

// Flush implements http.Flusher.
func (w *timedWriter) Flush() {
	w.extend()
	_ = w.control.Flush() // the next write tells
}

// Unwrap lets http.ResponseController reach the connection.
func (w *timedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
