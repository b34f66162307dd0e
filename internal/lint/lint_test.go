package lint

import (
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// rules are run over every package of the tree.
func rules() map[string]func(*Package) []Finding {
	return map[string]func(*Package) []Finding{
		"imports": Imports, "documented": Documented, "formatted": Formatted, "sized": Sized,
		"calls": Calls, "named": Named, "state": State,
	}
}

func treeRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(root, "go.mod")); err != nil || !strings.HasPrefix(string(b), "module "+Module+"\n") {
		t.Fatalf("%s is not the root of module %s: %v", root, Module, err)
	}
	return root
}

// parse makes a package of one file.
func parse(path, source string) (*Package, error) {
	p := &Package{Dir: filepath.ToSlash(filepath.Dir(path)), Set: token.NewFileSet()}
	return p, p.add(path, []byte(source))
}

func TestTree(t *testing.T) {
	packages, err := Load(treeRoot(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < 5 {
		t.Fatalf("found only %d packages", len(packages))
	}
	for name, rule := range rules() {
		t.Run(name, func(t *testing.T) {
			for _, p := range packages {
				for _, f := range rule(p) {
					t.Error(f)
				}
			}
		})
	}
}

func TestTexts(t *testing.T) {
	root := treeRoot(t)
	err := walk(root, func(path string) error {
		switch filepath.Ext(path) {
		case ".go", ".md", ".yml", ".yaml", ".txt", ".mod", ".sh", "":
		default:
			return nil
		}
		b, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return err
		}
		for _, f := range Text(path, b) {
			t.Error(f)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Every module that go.mod asks for by itself has a row, with its version, on a page
// of docs/decisions.
func TestDependenciesAreDecided(t *testing.T) {
	root := treeRoot(t)
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(root, "docs/decisions/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	var decided strings.Builder
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		decided.Write(b)
	}
	direct := 0
	for line := range strings.Lines(string(mod)) {
		f := strings.Fields(line)
		if len(f) != 2 || !strings.HasPrefix(f[1], "v") || !strings.Contains(f[0], ".") {
			continue // not a requirement, or an indirect one
		}
		direct++
		if row := strings.TrimPrefix(f[0], "github.com/") + " " + f[1]; !strings.Contains(decided.String(), row) {
			t.Errorf("no page of docs/decisions has %q", row)
		}
	}
	if direct < 5 {
		t.Fatalf("found only %d requirements in go.mod", direct)
	}
}

// Each rule sees its offender and lets the decent file beside it pass.
func TestRulesSeeOffenders(t *testing.T) {
	for _, c := range []struct {
		name, rule, path, source string
		want                     string // part of the only finding; "" is none
	}{
		{"edge", "imports", "vvol/a.go", "package vvol\n\nimport _ \"vvsim/scsi\"\n", "vvol may not import scsi"},
		{"edge of the table", "imports", "vvol/a.go", "package vvol\n\nimport _ \"vvsim/vvol/store\"\n", ""},
		{"edge in a test", "imports", "vvol/a_test.go", "package vvol_test\n\nimport _ \"vvsim/vvol/store/mem\"\n", ""},
		{"edge only for tests", "imports", "vvol/a.go", "package vvol\n\nimport _ \"vvsim/vvol/store/mem\"\n", "may not import vvol/store/mem"},
		{"command", "imports", "array/a.go", "package array\n\nimport _ \"vvsim/cmd/vvsim\"\n", "array may not import cmd/vvsim"},
		{"unknown package", "imports", "attic/a.go", "package attic\n", "import table"},
		{"engine outside its room", "imports", "vvol/a.go", "package vvol\n\nimport _ \"github.com/dgraph-io/badger/v4\"\n", "may not import github.com/dgraph-io"},
		{"engine in its room", "imports", "vvol/store/badger/a.go", "package badger\n\nimport _ \"github.com/dgraph-io/badger/v4\"\n", ""},
		{"logging domain", "imports", "vvol/a.go", "package vvol\n\nimport _ \"go.uber.org/zap\"\n", "may not import go.uber.org/zap"},
		{"unknown module", "imports", "vvol/a.go", "package vvol\n\nimport _ \"example.org/x\"\n", "not among the dependencies"},
		{"test library", "imports", "vvol/a.go", "package vvol\n\nimport _ \"pgregory.net/rapid\"\n", "is for tests"},
		{"standard log", "imports", "array/a.go", "package array\n\nimport _ \"log\"\n", "zap"},
		{"no doc.go", "documented", "vvol/a.go", "package vvol\n", "no doc.go"},
		{"doc.go", "documented", "vvol/doc.go", "// Package vvol is.\npackage vvol\n", ""},
		{"format", "formatted", "vvol/a.go", "package vvol\nvar  x int\n", "gofmt"},
		{"long function", "sized", "vvol/a.go", "package vvol\n\nfunc f() {\n" + strings.Repeat("\n", maxFunctionLines) + "}\n", "f has"},
		{"long function of a suite", "sized", "vvol/store/storetest/a.go", "package storetest\n\nfunc f() {\n" + strings.Repeat("\n", maxFunctionLines) + "}\n", ""},
		{"long file", "sized", "vvol/a_test.go", "package vvol\n" + strings.Repeat("\n", maxFileLines), "longer"},
		{"large package", "sized", "vvol/a_test.go", "package vvol\n", ""},
		{"print", "calls", "vvol/a.go", "package vvol\n\nfunc f() { fmt.Println() }\n", "fmt.Println in a library"},
		{"print in main", "calls", "cmd/vvsim/a.go", "package main\n\nfunc f() { fmt.Println() }\n", ""},
		{"exit", "calls", "vvol/a.go", "package vvol\n\nfunc f() { os.Exit(1) }\n", "os.Exit"},
		{"exit in TestMain", "calls", "vvol/a_test.go", "package vvol\n\nfunc TestMain() { os.Exit(1) }\n", ""},
		{"sleep", "calls", "vvol/a_test.go", "package vvol\n\nfunc f() { time.Sleep(1) }\n", "time.Sleep"},
		{"sleep in a bubble", "calls", "vvol/a_test.go", "package vvol\n\nimport _ \"testing/synctest\"\n\nfunc f() { time.Sleep(1) }\n", ""},
		{"panic", "calls", "vvol/a.go", "package vvol\n\nfunc f() { panic(1) }\n", "panic"},
		{"vague type", "named", "vvol/a.go", "package vvol\n\ntype lockManager struct{}\n", "lockManager"},
		{"vague package", "named", "util/a.go", "package util\n", "util"},
		{"telling name", "named", "vvol/a.go", "package vvol\n\ntype Database struct{}\n", ""},
		{"init", "state", "vvol/a.go", "package vvol\n\nfunc init() {}\n", "init"},
		{"assigned", "state", "vvol/a.go", "package vvol\n\nvar n = 1\n\nfunc f() { n = 2 }\n", "n is changed"},
		{"counted", "state", "vvol/a.go", "package vvol\n\nvar n int\n\nfunc f() { n++ }\n", "n is changed"},
		{"element", "state", "vvol/a.go", "package vvol\n\nvar m = map[int]int{}\n\nfunc f() { m[1] = 2 }\n", "m is changed"},
		{"deleted", "state", "vvol/a.go", "package vvol\n\nvar m = map[int]int{}\n\nfunc f() { delete(m, 1) }\n", "m is changed"},
		{"address", "state", "vvol/a.go", "package vvol\n\nvar n int\n\nfunc f() *int { return &n }\n", "n is changed"},
		{"lock", "state", "vvol/a.go", "package vvol\n\nvar mu sync.Mutex\n", "sync.Mutex mu is state"},
		{"table", "state", "vvol/a.go", "package vvol\n\nvar m = map[int]int{1: 2}\n\nfunc f() int { return m[1] }\n", ""},
		{"local of the same name", "state", "vvol/a.go", "package vvol\n\nvar n = 1\n\nfunc f() { n := 1; n = 2; _ = n }\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := parse(c.path, c.source)
			if err != nil {
				t.Fatal(err)
			}
			got := rules()[c.rule](p)
			switch {
			case c.want == "" && len(got) > 0:
				t.Fatalf("unexpected: %v", got)
			case c.want != "" && (len(got) != 1 || !strings.Contains(got[0].String(), c.want)):
				t.Fatalf("got %v, want one finding with %q", got, c.want)
			}
		})
	}
}

func TestTextSeesOffenders(t *testing.T) {
	for _, bad := range []string{"// TO" + "DO later", "// FIX" + "ME", "open(\"/ro" + "ot/x\")", "see /wo" + "rk/main", "../sha" + "red/design.md"} {
		if len(Text("a.go", []byte(bad))) != 1 {
			t.Errorf("passed: %q", bad)
		}
	}
	for _, good := range []string{"dev/work/x", "a network/home page", "MaXXXx", "the root/home"} {
		if f := Text("a.go", []byte(good)); len(f) != 0 {
			t.Errorf("%q: %v", good, f)
		}
	}
}

func TestLargePackage(t *testing.T) {
	p, err := parse("pe/a.go", "package pe\n"+strings.Repeat("\n// note\nvar _ = 1\n", 200))
	if err != nil {
		t.Fatal(err)
	}
	file := p.Files[0]
	for len(p.Files)*201 <= maxPackageLines-201 {
		p.Files = append(p.Files, file)
	}
	if got := Sized(p); len(got) != 0 {
		t.Fatalf("below the limit: %v", got)
	}
	p.Files = append(p.Files, file)
	if got := Sized(p); len(got) != 1 || !strings.Contains(got[0].What, "package") {
		t.Fatalf("above the limit: %v", got)
	}
}
