package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Module is the import path of the tree.
const Module = "vvsim"

// File is one parsed Go file. Path is relative to the root, with slashes.
type File struct {
	Path   string
	Source []byte
	AST    *ast.File
}

// Test tells whether only tests compile the file.
func (f *File) Test() bool { return strings.HasSuffix(f.Path, "_test.go") }

// Package is the Go files of one directory, external tests included. Dir is
// relative to the root; "." is the root itself.
type Package struct {
	Dir   string
	Files []*File
	Set   *token.FileSet
}

// Finding is one broken rule.
type Finding struct{ Where, What string }

func (f Finding) String() string { return f.Where + ": " + f.What }

func (p *Package) finding(f *File, pos token.Pos, format string, args ...any) Finding {
	return Finding{fmt.Sprintf("%s:%d", f.Path, p.Set.Position(pos).Line), fmt.Sprintf(format, args...)}
}

// Load parses all Go files below root, those of nested modules too. Directories
// that Go ignores, and bin, are left out.
func Load(root string) ([]*Package, error) {
	byDir := map[string]*Package{}
	err := walk(root, func(path string) error {
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		b, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		p := byDir[dir]
		if p == nil {
			p = &Package{Dir: dir, Set: token.NewFileSet()}
			byDir[dir] = p
		}
		return p.add(filepath.ToSlash(path), b)
	})
	if err != nil {
		return nil, err
	}
	all := make([]*Package, 0, len(byDir))
	for _, p := range byDir {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *Package) int { return strings.Compare(a.Dir, b.Dir) })
	return all, nil
}

func (p *Package) add(path string, source []byte) error {
	f, err := parser.ParseFile(p.Set, path, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	p.Files = append(p.Files, &File{Path: path, Source: source, AST: f})
	return nil
}

// walk calls visit with every file's path relative to root.
func walk(root string, visit func(path string) error) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			ours := name == ".ci" || path == root
			if !ours && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" ||
				name == "bin" || name == "vvsim-data") {
				return filepath.SkipDir
			}
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return visit(rel)
	})
}
