package trace

import (
	"net/http"
	"slices"
	"strings"
)

// known are headers of every HTTP client.
var known = []string{"Accept", "Accept-Encoding", "Cache-Control", "Connection", "Content-Length", "Content-Type", "Cookie", "Expect",
	"Host", "Pragma", "Soapaction", "Transfer-Encoding"}

// secret are those that may let somebody in.
var secret = []string{"Cookie", "Authorization", "Proxy-Authorization"}

// Headers is the request line and, in order, the headers that not every client has, or all
// of them; never those that hold secrets. Without all it is empty if there is none.
func Headers(r *http.Request, all bool) string {
	var lines []string
	for name, values := range r.Header {
		if slices.Contains(secret, name) || !all && slices.Contains(known, name) {
			continue
		}
		lines = append(lines, name+": "+strings.Join(values, ", "))
	}
	if len(lines) == 0 && !all {
		return ""
	}
	slices.Sort(lines)
	return strings.Join(append([]string{r.Method + " " + r.URL.RequestURI() + " " + r.Proto}, lines...), "\n")
}

// MediaType is the content type without the action, which is another for each operation.
func MediaType(r *http.Request) string {
	media, rest, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	for part := range strings.SplitSeq(rest, ";") {
		if part = strings.TrimSpace(part); part != "" && !strings.HasPrefix(part, "action=") {
			media += "; " + part
		}
	}
	return media
}
