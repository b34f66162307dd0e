package lint

import (
	"slices"
	"strconv"
	"strings"
)

// row is what one package may import: of ours always (imports), and in test
// files besides (tests). "*" is everything of ours but commands.
type row struct {
	imports, tests []string
}

// importTable is the architecture (docs/design.md). A package that is not in it
// may not exist; an edge that is not in it may not be drawn.
func importTable() map[string]row {
	return map[string]row{
		"scsi":                 {},
		"scsi/cdb":             {imports: []string{"scsi"}},
		"scsi/latency":         {},
		"scsi/device":          {imports: []string{"scsi", "scsi/cdb"}},
		"scsi/iscsi":           {imports: []string{"scsi", "scsi/iscsi/chap", "scsi/iscsi/line", "scsi/iscsi/negotiate", "scsi/iscsi/pdu", "scsi/iscsi/work", "scsi/latency"}, tests: []string{"scsi/iscsi/initiator", "scsi/cdb"}},
		"scsi/iscsi/chap":      {imports: []string{"scsi/iscsi/negotiate", "scsi/iscsi/pdu"}},
		"scsi/iscsi/line":      {imports: []string{"scsi", "scsi/iscsi/pdu", "scsi/iscsi/work", "scsi/latency"}, tests: []string{"scsi/iscsi/host/clock"}},
		"scsi/iscsi/negotiate": {imports: []string{"scsi/iscsi/pdu"}},
		"scsi/iscsi/work":      {imports: []string{"scsi/latency"}},
		"scsi/iscsi/pdu":       {imports: []string{"scsi"}},
		"scsi/iscsi/initiator": {imports: []string{"scsi", "scsi/cdb", "scsi/iscsi/pdu"}, tests: []string{"scsi/iscsi", "scsi/device"}},

		"scsi/iscsi/host":       {imports: []string{"scsi", "scsi/cdb", "scsi/iscsi/host/clock", "scsi/iscsi/initiator", "scsi/iscsi/pdu"}},
		"scsi/iscsi/host/clock": {},
		"scsi/iscsi/host/watch": {imports: []string{"scsi", "scsi/iscsi/host", "scsi/iscsi/host/clock", "scsi/iscsi/initiator"}},

		"vvol/store": {},
		"vvol/store/badger": {imports: []string{"vvol/store", "vvol/store/badger/complaints", "vvol/store/badger/files", "vvol/store/badger/index", "vvol/store/badger/inuse", "vvol/store/badger/journal", "vvol/store/badger/pace", "vvol/store/badger/places", "vvol/store/badger/rows", "vvol/store/badger/values"},
			tests: []string{"vvol/store/storetest", "vvol/store/mem"}},
		"vvol/store/badger/complaints": {imports: []string{"vvol/store/badger/values"}},
		"vvol/store/badger/files":      {imports: []string{"vvol/store/badger/journal", "vvol/store/badger/sigbus"}},
		"vvol/store/badger/index":      {imports: []string{"vvol/store", "vvol/store/badger/sum"}},
		"vvol/store/badger/inuse":      {},
		"vvol/store/badger/journal":    {imports: []string{"vvol/store/badger/sum"}},
		"vvol/store/badger/pace":       {},
		"vvol/store/badger/places":     {imports: []string{"vvol/store", "vvol/store/badger/index", "vvol/store/badger/prefetch", "vvol/store/badger/values"}},
		"vvol/store/badger/prefetch":   {},
		"vvol/store/badger/rows":       {imports: []string{"vvol/store/badger/index", "vvol/store/badger/journal"}},
		"vvol/store/badger/sigbus":     {},
		"vvol/store/badger/sum":        {},
		"vvol/store/badger/values":     {imports: []string{"vvol/store/badger/files"}},
		"vvol/store/mem":               {imports: []string{"vvol/store"}, tests: []string{"vvol/store/storetest"}},
		"vvol/store/storetest":         {imports: []string{"vvol/store"}, tests: []string{"vvol/store/mem"}},
		"vvol/alarm":                   {},
		"vvol/index":                   {},
		"vvol/kept":                    {},
		"vvol/lock":                    {},
		"vvol/policy":                  {},
		"vvol/secondary":               {},
		"vvol":                         {imports: []string{"vvol/alarm", "vvol/index", "vvol/kept", "vvol/lock", "vvol/policy", "vvol/secondary", "vvol/store"}, tests: []string{"vvol/store/mem"}},

		"pe": {imports: []string{"scsi", "scsi/device", "scsi/latency", "vvol", "vvol/store"},
			tests: []string{"scsi/cdb", "scsi/iscsi", "scsi/iscsi/initiator", "vvol/store/mem"}},
		"vasa":                 {imports: []string{"vvol", "vasa/door", "vasa/policy", "vasa/session", "vasa/trace", "vasa/trust", "vasa/wire"}, tests: []string{"test/schema", "vasa/vasatest", "vvol/store", "vvol/store/mem"}},
		"vasa/policy":          {imports: []string{"vvol", "vasa/wire"}},
		"vasa/door":            {},
		"vasa/session":         {imports: []string{"vasa/wire"}},
		"vasa/trace":           {},
		"vasa/trust":           {},
		"vasa/wire":            {imports: []string{"vasa/wire/xsd"}, tests: []string{"test/schema"}},
		"vasa/wire/xsd":        {},
		"vasa/vasatest":        {imports: []string{"vasa/wire"}},
		"vasa/vasatest/blocks": {imports: []string{"scsi", "scsi/iscsi/initiator", "vasa/vasatest"}},
		"fault/codes":          {imports: []string{"scsi"}, tests: []string{"fault", "scsi/iscsi/pdu", "vasa/wire"}},
		"fault/bad":            {},
		"fault/loss":           {imports: []string{"scsi"}},
		"fault/command":        {imports: []string{"scsi", "scsi/cdb"}},
		"fault/preset":         {imports: []string{"fault/codes"}, tests: []string{"fault"}},
		"fault/network":        {imports: []string{"scsi/iscsi/line"}},
		"fault/grammar":        {},
		"fault/tally":          {},
		"fault/turn":           {},
		"fault/schedule":       {},
		"fault/kept":           {imports: []string{"vvol/store"}, tests: []string{"vvol/store/mem"}},
		"fault":                {imports: []string{"fault/grammar", "fault/bad", "fault/command", "fault/kept", "fault/loss", "fault/network", "fault/schedule", "fault/tally", "fault/turn", "scsi", "scsi/cdb", "scsi/iscsi/line", "vvol/store", "vvol"}, tests: []string{"vvol/store/mem"}},
		"api":                  {imports: []string{"vvol", "vasa/trust"}, tests: []string{"vvol/store", "vvol/store/mem"}},
		"array":                {imports: []string{"*"}},
		"cmd/vvsim":            {imports: []string{"array", "api", "fault/codes", "scsi", "scsi/cdb", "scsi/iscsi/host", "scsi/iscsi/host/watch", "scsi/iscsi/initiator", "scsi/iscsi/pdu", "vasa/trust", "vasa/vasatest", "vasa/vasatest/blocks", "vasa/vcenter", "vasa/wire"}, tests: []string{"*"}},

		"vasa/vcenter":         {imports: []string{"vasa/trust"}, tests: []string{"test/schema", "vasa/trust", "vasa/vasatest", "vasa/vcenter/smstest"}},
		"vasa/vcenter/smstest": {imports: []string{"vasa", "vasa/trust", "vasa/vasatest", "vasa/vcenter", "vasa/wire", "vvol", "vvol/store/mem"}},

		"internal/lint":    {},
		"test/conformance": {imports: []string{"test/process"}, tests: []string{"test/unrest", "vasa/vasatest"}},
		"test/e2e":         {imports: []string{"test/process"}, tests: []string{"scsi", "scsi/iscsi/initiator", "test/loads", "test/schema", "vasa/vasatest", "vasa/vasatest/blocks", "vasa/wire"}},
		"test/loads":       {imports: []string{"scsi/iscsi/initiator"}},
		"test/network":     {},
		"test/oracle":      {},
		"test/process":     {},
		"test/peer/gotgt": {imports: []string{"vvol/store", "vvol/store/badger", "vvol/store/mem"},
			tests: []string{"scsi", "scsi/cdb", "scsi/iscsi/initiator", "scsi/iscsi/pdu", "test/process"}},
		"test/scenario": {imports: []string{"*"}},
		"test/schema":   {},
		"test/sim":      {imports: []string{"*"}},
		"test/soak":     {imports: []string{"*"}},
		"test/unrest":   {imports: []string{"fault", "vasa/vasatest", "vasa/wire"}, tests: []string{"vasa"}},
	}
}

// outsideTable tells which packages may import a module from outside, by prefix of the
// import path; a trailing "/" in a package name means all below it. Libraries for tests
// are in testLibraries.
func outsideTable() map[string][]string {
	return map[string][]string{
		"github.com/dgraph-io/badger":         {"vvol/store/badger", "vvol/store/badger/complaints", "vvol/store/badger/files", "vvol/store/badger/inuse", "vvol/store/badger/places", "vvol/store/badger/rows", "vvol/store/badger/values"},
		"github.com/RoaringBitmap/roaring":    {"vvol/store/badger"},
		"github.com/gostor/gotgt":             {"test/peer/gotgt"},
		"github.com/sirupsen/logrus":          {"test/peer/gotgt"}, // to silence gotgt
		"github.com/vmware/govmomi":           {"vasa/vcenter", "vasa/vcenter/smstest"},
		"go.uber.org/zap":                     {"array", "api", "cmd/vvsim", "vasa", "test/"},
		"github.com/danielgtaylor/huma":       {"api"},
		"github.com/prometheus/client_golang": {"array", "api"},
		"github.com/spf13/cobra":              {"cmd/vvsim"},
		"github.com/knadh/koanf":              {"array"},
		"go.yaml.in/yaml":                     {"array"},
		"github.com/google/uuid":              {"vvol", "vasa", "vasa/policy", "api"},
		"golang.org/x/sync":                   {"array", "api", "cmd/vvsim", "vasa", "vvol/store/badger", "test/"},
		"golang.org/x/sys":                    {"vvol/store/badger", "vvol/store/badger/files", "vvol/store/badger/journal", "vvol/store/badger/sigbus", "vvol/store/badger/values", "cmd/vvsim"},
		"golang.org/x/term":                   {"cmd/vvsim"},
	}
}

// testLibraries may be imported by test files anywhere, and by packages that are for tests.
func testLibraries() []string {
	return []string{"github.com/stretchr/testify", "pgregory.net/rapid", "github.com/cockroachdb/datadriven",
		"go.uber.org/goleak", "github.com/rogpeppe/go-internal"}
}

func forTests(dir string) bool {
	return dir == "vvol/store/storetest" || dir == "vasa/vasatest" || dir == "vasa/vcenter/smstest" || strings.HasPrefix(dir, "test/")
}

// Imports finds edges that importTable and outsideTable do not draw, packages
// that they do not know, and modules that nobody may import.
func Imports(p *Package) (all []Finding) {
	r, known := importTable()[p.Dir]
	if !known {
		return []Finding{{p.Dir, "is not in the import table of internal/lint"}}
	}
	for _, f := range p.Files {
		for _, spec := range f.AST.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				all = append(all, p.finding(f, spec.Pos(), "import %s: %v", spec.Path.Value, err))
				continue
			}
			if what := judge(p.Dir, r, path, f.Test()); what != "" {
				all = append(all, p.finding(f, spec.Pos(), "%s", what))
			}
		}
	}
	return all
}

// judge returns what is wrong with package dir importing path, or "".
func judge(dir string, r row, path string, test bool) string {
	if ours, ok := strings.CutPrefix(path, Module+"/"); ok {
		allowed := r.imports
		if test {
			allowed = slices.Concat(r.imports, r.tests, []string{dir})
		}
		everything := slices.Contains(allowed, "*") && !strings.HasPrefix(ours, "cmd/")
		if everything || slices.Contains(allowed, ours) {
			return ""
		}
		return dir + " may not import " + ours
	}
	host, _, _ := strings.Cut(path, "/")
	if !strings.Contains(host, ".") {
		return judgeStandard(dir, path)
	}
	if slices.ContainsFunc(testLibraries(), func(l string) bool { return under(path, l) }) {
		if test || forTests(dir) {
			return ""
		}
		return path + " is for tests"
	}
	for prefix, importers := range outsideTable() {
		if !under(path, prefix) {
			continue
		}
		if slices.ContainsFunc(importers, func(i string) bool { return i == dir || strings.HasSuffix(i, "/") && strings.HasPrefix(dir, i) }) {
			return ""
		}
		return dir + " may not import " + path
	}
	return path + " is not among the dependencies that internal/lint knows"
}

// judgeStandard bans packages of the standard library that break a rule by
// themselves.
func judgeStandard(dir, path string) string {
	switch path {
	case "log", "log/slog":
		return path + ": logging goes through zap at the edges"
	case "expvar", "math/rand":
		return path + ": keeps process-wide state"
	case "C":
		return "cgo: one static binary in pure Go"
	}
	return ""
}

func under(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}
