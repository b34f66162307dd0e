package vasa

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/vasa/policy"
	"vvsim/vasa/wire"
	"vvsim/vvol"
)

// messages reads a catalog.
func messages(t *testing.T, body string) map[string]string {
	line := regexp.MustCompile(`^([a-zA-Z0-9.]+) = "([^"]+)"$`)
	m := map[string]string{}
	for _, l := range strings.Split(strings.TrimSuffix(body, "\n"), "\n") {
		found := line.FindStringSubmatch(l)
		require.NotNil(t, found, "line %q", l)
		require.NotContains(t, m, found[1])
		m[found[1]] = found[2]
	}
	return m
}

// TestCatalogs fetches them as vCenter does, and finds in them all keys that the code
// has, and no others.
func TestCatalogs(t *testing.T) {
	l := newLab(t, nil)
	c := l.vcenter("one")
	all, kinds := map[string]string{}, []wire.StorageCatalog{}
	for _, row := range do[wire.QueryCatalogResponse](l, c, &wire.QueryCatalog{}).Return {
		require.Equal(t, "en", *row.Locale)
		require.Equal(t, "vvsim", *row.ModuleName)
		require.Equal(t, "1.0", *row.CatalogVersion)
		body, header, err := c.Get(t.Context(), *row.CatalogURI)
		require.NoError(t, err)
		require.Equal(t, "text/plain; charset=utf-8", header.Get("Content-Type"))
		changed, err := http.ParseTime(header.Get("Last-Modified"))
		require.NoError(t, err)
		require.True(t, changed.Equal(*row.LastModified))
		found := messages(t, string(body))
		require.NotEmpty(t, found)
		for key, text := range found {
			require.NotContains(t, all, key)
			prefix := Namespace + "." + strings.ToLower(string(*row.CatalogName)) + "."
			if *row.CatalogName == wire.StorageCatalogPolicy {
				prefix = policy.KeyPrefix
			}
			require.True(t, strings.HasPrefix(key, prefix), "%s in catalog %s", key, *row.CatalogName)
			all[key] = text
		}
		kinds = append(kinds, *row.CatalogName)
	}
	require.ElementsMatch(t, wire.StorageCatalog("").Values(), kinds)
	inCode := keysInCode(t)
	for _, about := range descriptions(do[wire.QueryCapabilityMetadataResponse](l, c, &wire.QueryCapabilityMetadata{}).Return) {
		for _, key := range []string{about.MessageCatalogKeyPrefix + ".label", about.MessageCatalogKeyPrefix + ".summary"} {
			require.Contains(t, all, key)
		}
	}
	for key := range policy.Keys() {
		inCode = append(inCode, key)
	}
	require.ElementsMatch(t, inCode, slices.Collect(maps.Keys(all)))
	l.fault(l.issued("nobody"), "InvalidSession", &wire.QueryCatalog{})
}

// descriptions are all that people read in schemas.
func descriptions(schemas []wire.CapabilitySchema) (all []wire.ExtendedElementDescription) {
	for _, s := range schemas {
		all = append(all, s.VendorInfo.Info)
		for _, g := range s.CapabilityMetadataPerCategory {
			for _, m := range g.CapabilityMetadata {
				all = append(all, m.Summary)
				for _, x := range m.PropertyMetadata {
					all = append(all, x.Summary)
				}
			}
		}
	}
	return all
}

// keysInCode are the texts in the package that begin as keys of catalogs do.
func keysInCode(t *testing.T) (keys []string) {
	packages, err := parser.ParseDir(token.NewFileSet(), ".", nil, 0) //nolint:staticcheck // one directory without build tags
	require.NoError(t, err)
	for name, f := range packages["vasa"].Files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if x, ok := n.(*ast.BasicLit); ok && x.Kind == token.STRING {
				if s, err := strconv.Unquote(x.Value); err == nil && strings.HasPrefix(s, Namespace+".") && !slices.Contains(keys, s) {
					keys = append(keys, s)
				}
			}
			return true
		})
	}
	return keys
}

func TestNoCatalog(t *testing.T) {
	l := newLab(t, nil)
	for _, path := range []string{"de/event.vmsg", "en/nonsense.vmsg", "en/", "en/..%2f..%2fcatalog.go", "..%2f..%2f/catalog.go", "%2e%2e/en", "en"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, l.server.URL+CatalogPath+path, nil)
		require.NoError(t, err)
		answer, err := l.plain().Do(r)
		require.NoError(t, err, path)
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		answer.Body.Close()
		require.Equal(t, http.StatusNotFound, answer.StatusCode, "%s: %s", path, body)
	}
}

// TestParameters: what a message is told with is what its text names.
func TestParameters(t *testing.T) {
	body, err := catalogFiles.ReadFile("catalog/en/event.vmsg")
	require.NoError(t, err)
	more, err := catalogFiles.ReadFile("catalog/en/alarm.vmsg")
	require.NoError(t, err)
	texts := messages(t, string(body)+string(more))
	l := newLab(t, nil)
	check := func(key string, parameters []wire.NameValuePair) {
		var want, got []string
		for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(texts[key], -1) {
			want = append(want, m[1])
		}
		for _, x := range parameters {
			got = append(got, *x.ParameterName)
		}
		require.ElementsMatch(t, want, got, "%s = %q", key, texts[key])
		delete(texts, key)
	}
	for kind := range stories {
		for _, e := range l.translate(vvol.Event{Kind: kind, Object: "x", Message: "x"}) {
			check(*e.MessageID, e.ParameterList)
		}
	}
	for change := range endpointMessages {
		e := l.endpointEvent(l.endpoints()[0], change)
		check(*e.MessageID, e.ParameterList)
	}
	check("dev.vvsim.event.array.update", l.arrayEvent().ParameterList)
	l.o.Health = func() error { return io.EOF }
	l.container("full", 4, 4)
	l.container("half", 4, 2)
	l.noncompliant("disk")
	l.tend()
	alarms, err := l.alarms(t.Context(), nil)
	require.NoError(t, err)
	for _, a := range alarms {
		check(*a.Base().MessageID, a.Base().ParameterList)
	}
	require.Empty(t, texts, "not checked")
}
