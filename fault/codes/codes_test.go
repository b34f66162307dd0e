package codes

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vvsim/fault"
	"vvsim/scsi"
	"vvsim/scsi/iscsi/pdu"
	"vvsim/vasa/wire"
)

// docs/sense.md is the table as it is now; VVSIM_WRITE=1 writes it.
func TestDocument(t *testing.T) {
	page := filepath.Join("..", "..", "docs", "sense.md")
	if os.Getenv("VVSIM_WRITE") != "" {
		require.NoError(t, os.WriteFile(page, []byte(Document()), 0o644))
	}
	b, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Equal(t, Document(), string(b), "run make docs")
}

// Each entry can be printed, found by its code, and its rule can be added.
func TestEntries(t *testing.T) {
	seen := map[string]bool{}
	var known []Certainty
	for _, c := range certainties {
		known = append(known, c.name)
	}
	for _, e := range Table() {
		require.NotEmpty(t, e.Name, e.Code)
		require.True(t, strings.HasSuffix(e.Means, "."), e.Code)
		require.NotContains(t, e.Document(), "\n")
		require.False(t, seen[e.Kind.String()+e.Code], "%s stands twice", e.Code)
		seen[e.Kind.String()+e.Code] = true
		require.Equal(t, e.ESXi == "", len(e.Certainty) == 0, e.Code)
		for _, c := range e.Certainty {
			require.Contains(t, known, c)
		}
		found, ok := Find(e.Kind, e.Code)
		require.True(t, ok)
		require.Equal(t, e, found)
		explained, err := Explain(e.Code)
		require.NoError(t, err)
		require.Contains(t, explained, e)
		if e.Rule != "" {
			r, err := fault.Parse(e.Rule)
			require.NoError(t, err, e.Rule)
			require.Equal(t, e.Rule, r.String())
		}
	}
	for _, h := range headings {
		require.True(t, slices.ContainsFunc(Table(), func(e Entry) bool { return e.Kind == h.kind }), h.title)
	}
	require.Len(t, headings, len(kindNames))
}

// Document is one row, as it is in the page.
func (e Entry) Document() string {
	var b strings.Builder
	e.writeRow(&b)
	return strings.TrimSuffix(b.String(), "\n")
}

// constants are the names of a type's values in a file.
func constants(t *testing.T, kind string, file ...string) map[string]uint64 {
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(append([]string{"..", ".."}, file...)...), nil, 0)
	require.NoError(t, err)
	all := map[string]uint64{}
	ast.Inspect(f, func(node ast.Node) bool {
		v, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := v.Type.(*ast.Ident); ok && id.Name == kind {
			n, err := strconv.ParseUint(v.Values[0].(*ast.BasicLit).Value, 0, 16)
			require.NoError(t, err)
			all[v.Names[0].Name] = n
		}
		return true
	})
	return all
}

// Every additional sense code that package scsi names is in the table, and so is every
// sense, key and code, that a package of the data path puts together.
func TestEverySense(t *testing.T) {
	asc, keys := constants(t, "ASC", "scsi", "asc.go"), constants(t, "SenseKey", "scsi", "asc.go")
	require.Greater(t, len(asc), 70)
	listed := map[string]bool{}
	for _, e := range senses() {
		listed[e.Code], listed[e.Code[3:]] = true, true
	}
	for name, code := range asc {
		require.True(t, listed[scsi.ASC(code).String()], "%s %v", name, scsi.ASC(code))
	}
	together := regexp.MustCompile(`\bSense\((?:scsi\.)?(\w+), (?:scsi\.)?(\w+)\)|\bKey: (?:scsi\.)?(\w+), Code: (?:scsi\.)?(\w+)|\b(Attention)\((?:scsi\.)?(\w+)`)
	found := map[string]bool{}
	for _, dir := range []string{"scsi", "scsi/device", "scsi/iscsi", "pe", "fault"} {
		files, err := filepath.Glob(filepath.Join("..", "..", dir, "*.go"))
		require.NoError(t, err)
		for _, f := range files {
			source, err := os.ReadFile(f)
			require.NoError(t, err)
			for _, m := range together.FindAllStringSubmatch(string(source), -1) {
				key, named := keys[m[1]+m[3]]
				if m[5] != "" {
					key, named = uint64(scsi.UnitAttention), true
				}
				code, known := asc[m[2]+m[4]+m[6]]
				if !named || !known {
					continue // variables
				}
				s := SenseCode(scsi.Sense(scsi.SenseKey(key), scsi.ASC(code)))
				require.True(t, listed[s], "%s of %s", s, f)
				found[s] = true
			}
		}
	}
	require.Greater(t, len(found), 35)
}

// Every reason of Reject with a name and every event of Asynchronous Message is in the table,
// and no other.
func TestMessages(t *testing.T) {
	reasons := map[string]Entry{}
	for _, e := range rejects() {
		reasons[e.Code] = e
	}
	for n := range 1 << 8 {
		e, listed := reasons[rejectCode(uint64(n))]
		_, name, named := strings.Cut(pdu.RejectReason(n).String(), " ")
		require.Equal(t, named, listed, rejectCode(uint64(n)))
		require.Equal(t, strings.Trim(name, "()"), e.Name)
	}
	known := constants(t, "AsyncEvent", "scsi", "iscsi", "pdu", "response.go")
	require.Len(t, events(), len(known))
	for name, n := range known {
		_, ok := Find(Event, eventCode(n))
		require.True(t, ok, name)
	}
}

// Every login status with a name, every SCSI status, and every fault that an operation of
// VASA declares is in the table, and no other.
func TestComplete(t *testing.T) {
	entries := map[string]Entry{}
	for _, e := range slices.Concat(loginStatuses(), statuses()) {
		entries[e.Code] = e
	}
	for n := range 1 << 16 {
		e, listed := entries[loginCode(uint64(n))]
		_, name, named := strings.Cut(pdu.LoginStatus(n).String(), " ")
		require.Equal(t, named, listed, loginCode(uint64(n)))
		require.Equal(t, strings.Trim(name, "()"), e.Name)
		if n > 0xff {
			continue
		}
		e, listed = entries[numbered("D", uint64(n))]
		name = scsi.Status(n).String()
		require.Equal(t, !strings.HasPrefix(name, "status "), listed, name)
		if listed {
			require.Equal(t, name, e.Name)
		}
	}
	declared := map[string]bool{}
	for _, op := range wire.Operations() {
		for _, f := range op.Faults {
			declared[f] = true
		}
	}
	for f := range declared {
		_, ok := Find(Fault, f)
		require.True(t, ok, f)
	}
	require.Len(t, faults(), len(declared))
	for n := range uint64(9) {
		_, ok := Find(Plugin, numbered("P", n))
		require.True(t, ok)
	}
	for n := range uint64(13) {
		_, ok := Find(Host, numbered("H", n))
		require.True(t, ok)
	}
}

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"0x5 0x25 0x0", []string{"05/25/00"}}, {"05/25/00", []string{"05/25/00"}}, {"5/25/0", []string{"05/25/00"}},
		{" 5 25 0 ", []string{"05/25/00"}}, {"Valid sense data: 0x5 0x25 0x0.", []string{"05/25/00"}},
		{"H:0x0 D:0x2 P:0x0 Valid sense data: 0x5 0x25 0x0", []string{"H:0x0", "D:0x2", "P:0x0", "05/25/00"}},
		{"H:0x0 D:0x2 P:0x0 0x5 0x25 0x0", []string{"H:0x0", "D:0x2", "P:0x0", "05/25/00"}},
		{"H:0x5 D:0x0 P:0x0 Possible sense data: 0x5 0x25 0x0", []string{"H:0x5", "D:0x0", "P:0x0"}},
		{"H:0x1 D:0x0 P:0x0 Valid sense data: 0x0 0x0 0x0.", []string{"H:0x1", "D:0x0", "P:0x0"}},
		{`2026-11-26T17:02:08.123Z cpu4:2097180)ScsiDeviceIO: 4167: Cmd(0x45b9c1c8f1c0) 0x28, CmdSN 0x1a from world 0 to dev "naa.600a098038304437415d4b6a59685745" failed H:0x0 D:0x28 P:0x0`,
			[]string{"H:0x0", "D:0x28", "P:0x0"}},
		{`NMP: nmp_ThrottleLogForDevice:3856: Cmd 0xa3 (0x459a40b8f1c0, 0) to dev "naa.1" on path "vmhba64:C0:T0:L256" Failed: H:0x0 D:0x2 P:0x0 Valid sense data: 0x5 0x25 0x0. Act:NONE`,
			[]string{"H:0x0", "D:0x2", "P:0x0", "05/25/00"}},
		{"H:0x0 D:0x2 P:0x5 Invalid sense data: 0x80 0x41 0x0", []string{"H:0x0", "D:0x2", "P:0x5"}},
		{"Sense data: 0x6 0x3f 0xe", []string{"06/3F/0E"}}, {"login status 0x0203", []string{"0x0203"}}, {"Login status: 0203h", []string{"0x0203"}},
		{"com.vmware.vim.vasa.v20.fault.ResourceInUse", []string{"ResourceInUse"}}, {"ns3:lostevent", []string{"LostEvent"}},
		{"01/18/02", []string{"01/18/02"}}, {"0xb 0x4b 0x3", []string{"0B/4B/03"}}, {"06/29/05", []string{"06/29/05"}}, {"05/26/13", []string{"05/26/13"}},
		{"D:0x8", []string{"D:0x8"}}, {"p:8", []string{"P:0x8"}}, {"0x0203", []string{"0x0203"}}, {"0203", []string{"0x0203"}}, {"020Bh", []string{"0x020b"}},
		{"reject 0x09", []string{"reject 0x09"}}, {"Reject: reason 9", []string{"reject 0x09"}}, {"rejected with reason=0Ah", []string{"reject 0x0a"}}, {"snack reject", []string{"reject 0x03"}},
		{"async 1", []string{"async 1"}}, {"Asynchronous message event 255", []string{"async 255"}}, {"out of resources", []string{"0x0302", "reject 0x0a"}},
		{"ResourceInUse", []string{"ResourceInUse"}}, {"lostevent", []string{"LostEvent"}}, {"task set full", []string{"D:0x28"}},
		{"CONDITION MET", []string{"D:0x4"}}, {"NO ADDITIONAL SENSE INFORMATION", []string{"00/00/00", "0A/00/00", "0B/00/00"}},
		{"04/40/93", []string{"04/40/80"}},
		{"70 00 05 00 00 00 00 0a 00 00 00 00 25 00 00 00 00 00", []string{"05/25/00"}}, {"F0000300000001 0a000000000c02 00000000", []string{"03/0C/02"}},
		{"0x72 0x06 0x2a 0x09 0x00 0x00 0x00 0x00", []string{"06/2A/09"}}, {"72:02:04:0c:00:00:00:00", []string{"02/04/0C"}},
	} {
		all, err := Explain(c.text)
		require.NoError(t, err, c.text)
		var got []string
		for _, e := range all {
			got = append(got, e.Code)
		}
		require.Equal(t, c.want, got, c.text)
	}
	for text, want := range map[string]error{"": ErrNotCode, "hello": ErrNotCode, "0x5 0x25": ErrNotCode, "0x15 0x25 0x0": ErrNotCode, "5 25 0 1": ErrNotCode, "74 05 25 00 00 00 00 00": ErrNotCode, "70 00 05 00 00 00 00 0a": ErrNotCode, "72 05 77 00 00 00 00 00": ErrUnknown,
		strings.Repeat("x", MaxText+1): ErrNotCode, "0x0299": ErrUnknown, "reject 0x0d": ErrUnknown, "async 6": ErrUnknown, "reject": ErrNotCode, "reject 1000": ErrNotCode, "5/77/0": ErrUnknown, "3/18/2": ErrUnknown, "hello.ResourceInUseX": ErrNotCode, "D:0x7": ErrUnknown} {
		_, err := Explain(text)
		require.ErrorIs(t, err, want, text)
	}
	all, err := Explain("H:0x0 D:0x2 P:0x99 Valid sense data: 0x5 0x77 0x0")
	require.ErrorIs(t, err, ErrUnknown)
	require.ErrorContains(t, err, "05/77/00 (ILLEGAL REQUEST)")
	require.Len(t, all, 2)
}

// FuzzExplain: any text is explained or refused.
func FuzzExplain(f *testing.F) {
	for _, text := range []string{"H:0x0 D:0x2 P:0x0 Valid sense data: 0x5 0x25 0x0", "05/25/00", "0x0203", "ResourceInUse", "4 40 ff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := Explain(text)
		if len(all) == 0 && err == nil {
			t.Fatal("nothing, and no error")
		}
	})
}
