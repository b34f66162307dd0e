package lint

import (
	"errors"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// allowedState are the package-level variables that change: they recycle memory
// and hold no meaning, so that two arrays in one process cannot meet in them; and what
// the handler of a signal knows, of which a process has one.
func allowedState() []string {
	return []string{"scsi bufferPools", "scsi/iscsi commandPool", "vvol/store/badger/sigbus process"}
}

// State finds init functions and package-level variables that something changes:
// by assignment, increment or taking the address, by writing an element or a
// field, or because their type exists to be changed (sync, sync/atomic). Constants
// that Go cannot write as such (tables, sentinels, patterns) pass.
func State(p *Package) (all []Finding) {
	inits := p.inits()
	variables := map[types.Object]bool{}
	info := p.resolve()
	for _, f := range p.Files {
		if f.Test() {
			continue
		}
		for _, d := range f.AST.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, s := range g.Specs {
				v := s.(*ast.ValueSpec)
				for _, name := range v.Names {
					if name.Name == "_" || slices.Contains(allowedState(), p.Dir+" "+name.Name) {
						continue
					}
					variables[info.Defs[name]] = true
					if kind := changing(v); kind != "" {
						all = append(all, p.finding(f, name.Pos(), "package-level %s %s is state", kind, name.Name))
					}
				}
			}
		}
	}
	delete(variables, nil)
	for _, f := range p.Files {
		if !f.Test() {
			all = append(all, p.changes(f, info, variables)...)
		}
	}
	return append(inits, all...)
}

func (p *Package) inits() (all []Finding) {
	for _, f := range p.Files {
		for _, d := range f.AST.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				all = append(all, p.finding(f, fn.Pos(), "init: wire things where they are made"))
			}
		}
	}
	return all
}

// resolve binds the package's identifiers to its own declarations. Imports are
// left open: what belongs to others does not matter here.
func (p *Package) resolve() *types.Info {
	info := &types.Info{Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}}
	var files []*ast.File
	for _, f := range p.Files {
		if !f.Test() {
			files = append(files, f.AST)
		}
	}
	c := types.Config{Error: func(error) {}, Importer: noImports{}, FakeImportC: true}
	_, _ = c.Check(p.Dir, p.Set, files, info) // errors are those of the imports left open
	return info
}

type noImports struct{}

// Import knows unsafe alone.
func (noImports) Import(path string) (*types.Package, error) {
	if path == "unsafe" {
		return types.Unsafe, nil
	}
	return nil, errors.New(path + " is left open")
}

// changing names a type that exists to be changed, or "".
func changing(v *ast.ValueSpec) (kind string) {
	look := func(n ast.Node) bool {
		if _, ok := n.(*ast.FuncLit); ok {
			return false
		}
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := s.X.(*ast.Ident); ok && (x.Name == "sync" || x.Name == "atomic") && !strings.HasPrefix(s.Sel.Name, "OnceValue") {
			kind = x.Name + "." + s.Sel.Name
		}
		return true
	}
	if v.Type != nil {
		ast.Inspect(v.Type, look)
	}
	for _, e := range v.Values {
		ast.Inspect(e, look)
	}
	return kind
}

// changes finds statements of f that write one of the variables.
func (p *Package) changes(f *File, info *types.Info, variables map[types.Object]bool) (all []Finding) {
	report := func(e ast.Expr) {
		if id := root(e); id != nil && variables[info.Uses[id]] {
			all = append(all, p.finding(f, e.Pos(), "package-level variable %s is changed", id.Name))
		}
	}
	ast.Inspect(f.AST, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, e := range n.Lhs {
					report(e)
				}
			}
		case *ast.IncDecStmt:
			report(n.X)
		case *ast.RangeStmt:
			if n.Tok == token.ASSIGN {
				report(n.Key)
				report(n.Value)
			}
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				if _, direct := n.X.(*ast.Ident); direct {
					report(n.X)
				}
			}
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && (id.Name == "delete" || id.Name == "clear" || id.Name == "copy") {
				report(n.Args[0])
			}
		}
		return true
	})
	return all
}

// root is the variable at the start of x.f[i].
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		default:
			return nil
		}
	}
}
