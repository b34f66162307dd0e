package vasa

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"slices"

	"vvsim/vasa/policy"
	"vvsim/vasa/wire"
)

// CatalogPath is where the message catalogs are served, by locale and file.
const CatalogPath = "/vasa/catalog/"

// catalogFiles are the message catalogs: lines of a key, " = ", and a text in quotes that
// names parameters in braces (vasa.md 7.4).
//
//go:embed catalog
var catalogFiles embed.FS

// catalogs are the rows of queryCatalog: one for each locale and kind.
func catalogs() []struct {
	kind wire.StorageCatalog
	file string
} {
	return []struct {
		kind wire.StorageCatalog
		file string
	}{
		{wire.StorageCatalogEvent, "event.vmsg"}, {wire.StorageCatalogAlarm, "alarm.vmsg"}, {wire.StorageCatalogFault, "fault.vmsg"},
		{wire.StorageCatalogPolicy, policyFile},
	}
}

// policyFile is made of the table of capabilities, which has the texts too.
const policyFile = "policy.vmsg"

func catalogBody(locale, file string) ([]byte, error) {
	if !slices.Contains(locales, locale) || path.Base(file) != file {
		return nil, fs.ErrNotExist
	}
	if file != policyFile {
		return catalogFiles.ReadFile(path.Join("catalog", locale, file))
	}
	var b bytes.Buffer
	keys := policy.Keys()
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		fmt.Fprintf(&b, "%s = \"%s\"\n", k, keys[k])
	}
	return b.Bytes(), nil
}

// locales that there are catalogs for.
var locales = []string{"en"}

// queryCatalog tells where the catalogs are. They belong to the program, of which nobody
// knows when it was built: they are as old as its start.
func (p *Provider) queryCatalog(context.Context, *caller, *wire.QueryCatalog) (*wire.QueryCatalogResponse, error) {
	r := &wire.QueryCatalogResponse{}
	for _, locale := range locales {
		for _, x := range catalogs() {
			r.Return = append(r.Return, wire.MessageCatalog{CatalogName: &x.kind, CatalogURI: new(CatalogPath + locale + "/" + x.file),
				CatalogVersion: new(p.o.Array.Firmware), LastModified: new(p.began), Locale: &locale, ModuleName: new("vvsim")})
		}
	}
	return r, nil
}

// serveCatalog gives a catalog to whoever asks: it holds nothing of the array.
func (p *Provider) serveCatalog(w http.ResponseWriter, r *http.Request) {
	call := Call{ID: p.requestID(), Operation: "GET " + r.URL.Path, Remote: r.RemoteAddr, Outcome: "ok"}
	body, err := catalogBody(r.PathValue("locale"), r.PathValue("file"))
	if err != nil {
		call.Outcome, call.Detail = http.StatusText(http.StatusNotFound), err.Error()
		http.NotFound(w, r)
	} else {
		h := w.Header()
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("Last-Modified", p.began.Format(http.TimeFormat))
		_, _ = w.Write(body) // the client may have gone
	}
	p.called(call)
}
