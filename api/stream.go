package api

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"vvsim/vvol"
)

// pingInterval is how long an event stream may be silent; a reader that is gone
// is found out at the next ping.
const pingInterval = 15 * time.Second

func writeProblem(w http.ResponseWriter, e *huma.ErrorModel) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(e.Status)
	_ = json.NewEncoder(w).Encode(e) // the client may have gone
}

// stream sends events as they happen (server-sent events): those after the serial
// of Last-Event-ID, or from the serial of ?from= on, that are kept; else from now on.
func (h *handlers) stream(w http.ResponseWriter, r *http.Request) {
	from, err := firstSerial(r)
	if err != nil {
		writeProblem(w, refusal(http.StatusBadRequest, err.Error()))
		return
	}
	events := h.o.Service.Subscribe(r.Context()) // before the past is read, so that nothing falls between
	select {
	case _, ok := <-events:
		if !ok {
			writeProblem(w, refusal(http.StatusServiceUnavailable, "no more event streams: too many are open, or the array is stopping"))
			return
		}
	default:
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	s := &eventWriter{w: w, control: http.NewResponseController(w)}
	if from > 0 {
		for _, e := range h.o.Service.Events(from, math.MaxInt) {
			s.send(e)
		}
	}
	s.flush()
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	for s.err == nil {
		select {
		case e, ok := <-events:
			if !ok {
				return
			}
			s.send(e)
		case <-ping.C:
			s.print(": ping\n\n")
		}
		s.flush()
	}
}

// firstSerial is the first event that a stream begins with; 0 for the next one.
func firstSerial(r *http.Request) (uint64, error) {
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		n, err := strconv.ParseUint(last, 10, 64)
		if err != nil || n == math.MaxUint64 {
			return 0, fmt.Errorf("Last-Event-ID: %q is no serial", last)
		}
		return n + 1, nil
	}
	if from := r.URL.Query().Get("from"); from != "" {
		n, err := strconv.ParseUint(from, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("from: %q is no serial", from)
		}
		return n, nil
	}
	return 0, nil
}

// eventWriter writes one stream; the first error ends it.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	last    uint64 // serial sent
	err     error
}

func (s *eventWriter) send(e vvol.Event) {
	if e.Serial <= s.last {
		return // the past had it already
	}
	b, err := json.Marshal(e)
	if err != nil {
		s.err = err
		return
	}
	s.last = e.Serial
	s.print("id: %d\nevent: %s\ndata: %s\n\n", e.Serial, e.Kind, b)
}

func (s *eventWriter) print(format string, args ...any) {
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.w, format, args...)
	}
}

func (s *eventWriter) flush() {
	if s.err == nil {
		s.err = s.control.Flush()
	}
}
