package lint

import (
	"bytes"
	"go/ast"
	"go/format"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Limits of size, in lines. Functions aim at a screen (80); tests, and packages
// that are for tests alone, are exempt: a chapter of a suite is as long as the contract.
const (
	maxFunctionLines = 100
	maxFileLines     = 900
	maxPackageLines  = 2500 // of code: no tests, blank lines or comments
)

// largerPackages may exceed maxPackageLines up to these ceilings: the device server has
// a handler per command, the provider one per operation of its contract, the domain
// is one state machine whose records commit together, a provider's keys, certificates and
// trust are one store, and the command line has a file per noun.
func largerPackages() map[string]int {
	return map[string]int{"scsi/device": 3420, "vvol": 4900, "vvol/store/badger": 3200, "scsi/iscsi/initiator": 3100, "vasa": 3800, "vasa/trust": 2550, "cmd/vvsim": 2900}
}

// allowedPanics are functions that panic on what only a programmer can get wrong:
// file and function.
func allowedPanics() []string {
	return []string{
		"scsi/lun.go SimpleLUN", "scsi/lun.go SubsidiaryLUN",
		"vvol/store/badger/index/row.go EncodeRow", // rows of plain fields always encode
	}
}

// Documented finds packages without a doc.go that holds the package comment.
func Documented(p *Package) (all []Finding) {
	documented := false
	for _, f := range p.Files {
		if f.AST.Doc == nil {
			continue
		}
		if strings.HasSuffix(f.Path, "/doc.go") || f.Path == "doc.go" {
			documented = true
		} else {
			all = append(all, p.finding(f, f.AST.Package, "package comment outside doc.go"))
		}
	}
	if !documented {
		all = append(all, Finding{p.Dir, "no doc.go with a package comment"})
	}
	return all
}

// Formatted finds files that gofmt would change.
func Formatted(p *Package) (all []Finding) {
	for _, f := range p.Files {
		if b, err := format.Source(f.Source); err != nil || !bytes.Equal(b, f.Source) {
			all = append(all, Finding{f.Path, "is not as gofmt writes it"})
		}
	}
	return all
}

// Sized finds functions, files and packages above the limits.
func Sized(p *Package) (all []Finding) {
	total := 0
	for _, f := range p.Files {
		lines := bytes.Count(f.Source, []byte("\n"))
		if lines > maxFileLines {
			all = append(all, Finding{f.Path, "is longer than a file may be"})
		}
		if f.Test() || forTests(p.Dir) {
			continue
		}
		total += codeLines(f.Source)
		for _, d := range f.AST.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := p.Set.Position(fn.End()).Line - p.Set.Position(fn.Pos()).Line + 1; n > maxFunctionLines {
				all = append(all, p.finding(f, fn.Pos(), "%s has %d lines, more than %d", fn.Name.Name, n, maxFunctionLines))
			}
		}
	}
	limit := maxPackageLines
	if larger, ok := largerPackages()[p.Dir]; ok {
		limit = larger
	}
	if total > limit {
		all = append(all, Finding{p.Dir, "is larger than a package may be: " + strconv.Itoa(total) + " lines of code, limit " + strconv.Itoa(limit)})
	}
	return all
}

// codeLines counts lines that are neither blank nor a comment alone.
func codeLines(source []byte) (n int) {
	for line := range bytes.Lines(source) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && !bytes.HasPrefix(line, []byte("//")) {
			n++
		}
	}
	return n
}

// Calls finds banned calls: printing in libraries, ending the process outside
// main, waiting by the clock in tests, panic outside the list.
func Calls(p *Package) (all []Finding) {
	for _, f := range p.Files {
		main := f.AST.Name.Name == "main"
		for _, d := range f.AST.Decls {
			fn, _ := d.(*ast.FuncDecl)
			ast.Inspect(d, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				if what := banned(f, fn, callee(call.Fun), main); what != "" {
					all = append(all, p.finding(f, call.Pos(), "%s", what))
				}
				return true
			})
		}
	}
	return all
}

// callee spells a called name: "panic", "os.Exit"; "" for anything else.
func callee(fun ast.Expr) string {
	switch fun := fun.(type) {
	case *ast.Ident:
		return fun.Name
	case *ast.SelectorExpr:
		if x, ok := fun.X.(*ast.Ident); ok {
			return x.Name + "." + fun.Sel.Name
		}
	}
	return ""
}

func banned(f *File, fn *ast.FuncDecl, name string, main bool) string {
	where := f.Path
	if fn != nil {
		where += " " + fn.Name.Name
	}
	inTestMain := f.Test() && fn != nil && fn.Name.Name == "TestMain"
	switch name {
	case "fmt.Print", "fmt.Printf", "fmt.Println", "print", "println":
		if !main && !f.Test() {
			return name + " in a library"
		}
	case "os.Exit":
		if !main && !inTestMain {
			return "os.Exit outside main"
		}
	case "time.Sleep":
		// In a synctest bubble the clock is fake.
		if f.Test() && !bytes.Contains(f.Source, []byte(`"testing/synctest"`)) {
			return "time.Sleep in a test: wait for the condition"
		}
	case "panic":
		if !f.Test() && !slices.Contains(allowedPanics(), where) {
			return "panic: return an error"
		}
	}
	return ""
}

// contractNames are types that have their name from a standard.
func contractNames() []string { return []string{"vasa/wire BaseStorageEntity"} }

var vagueName = regexp.MustCompile(`(Manager|Helper|Utils?|Common|Base)([A-Z]|$)`)

// Named finds packages and types with names that say nothing.
func Named(p *Package) (all []Finding) {
	for _, f := range p.Files {
		switch name := strings.TrimSuffix(f.AST.Name.Name, "_test"); name {
		case "manager", "helper", "helpers", "util", "utils", "common", "base", "misc":
			all = append(all, p.finding(f, f.AST.Name.Pos(), "package name %s says nothing", name))
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			t, ok := n.(*ast.TypeSpec)
			if ok && vagueName.MatchString(strings.ToUpper(t.Name.Name[:1])+t.Name.Name[1:]) && !slices.Contains(contractNames(), p.Dir+" "+t.Name.Name) {
				all = append(all, p.finding(f, t.Pos(), "type name %s says nothing", t.Name.Name))
			}
			return true
		})
	}
	return all
}

// The words are put together here so that this file does not hold them.
var (
	unfinished  = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	machinePath = regexp.MustCompile(`(^|[\s"'` + "`" + `(=])(/ro` + `ot/|/wo` + `rk/|/ho` + `me/[a-z])|\.\./sha` + `red\b`)
)

// Text finds marks of unfinished work and paths of somebody's machine in any text.
func Text(path string, b []byte) (all []Finding) {
	for i, line := range strings.Split(string(b), "\n") {
		for _, re := range []*regexp.Regexp{unfinished, machinePath} {
			if m := re.FindString(line); m != "" {
				all = append(all, Finding{path, "line " + strconv.Itoa(i+1) + " holds " + strings.TrimSpace(m)})
			}
		}
	}
	return all
}
