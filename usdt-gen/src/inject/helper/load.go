package main

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// A sourcePackage is a package as the compiler sees it: parsed, and with the types of its
// declarations.
type sourcePackage struct {
	fset  *token.FileSet
	files []sourceFile
	types *types.Package
	info  *types.Info
	// problems are type errors at positions in expressions of rules.
	errors []types.Error
	// imports are the paths that any of the files imports.
	imports map[string]bool
}

type sourceFile struct {
	// index is that in the request.
	index int
	path  string
	text  []byte
	ast   *ast.File
}

// parse reads and parses the files of a package.
func parse(files []string) (*sourcePackage, error) {
	pkg := &sourcePackage{fset: token.NewFileSet(), imports: map[string]bool{}}
	for i, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		absolute, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		// The rewritten file begins with a line directive, and a byte order mark is allowed only
		// at the beginning.
		text = []byte(strings.TrimPrefix(string(text), "\ufeff"))
		file, err := parser.ParseFile(pkg.fset, absolute, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, errSyntax
		}
		pkg.files = append(pkg.files, sourceFile{i, absolute, text, file})
		for _, spec := range file.Imports {
			pkg.imports[strings.Trim(spec.Path.Value, "`\"")] = true
		}
	}
	return pkg, nil
}

// errSyntax is returned for files that Go cannot parse. The compiler reports what is wrong.
var errSyntax = fmt.Errorf("the package has syntax errors")

// check determines the types of the package's declarations. Function bodies are checked as far as
// they are left in the syntax trees.
func (pkg *sourcePackage) check(req request) error {
	lookup, err := exportData(req.ImportConfig)
	if err != nil {
		return err
	}
	config := types.Config{
		Importer: importer.ForCompiler(pkg.fset, "gc", lookup),
		Sizes:    types.SizesFor("gc", req.GOARCH),
		// The compiler reports errors of the package. Those of expressions are kept.
		Error: func(err error) {
			if err, ok := err.(types.Error); ok {
				pkg.errors = append(pkg.errors, err)
			}
		},
	}
	pkg.info = &types.Info{
		Defs:       map[*ast.Ident]types.Object{},
		Uses:       map[*ast.Ident]types.Object{},
		Types:      map[ast.Expr]types.TypeAndValue{},
		Selections: map[*ast.SelectorExpr]*types.Selection{},
	}
	var files []*ast.File
	for _, f := range pkg.files {
		files = append(files, f.ast)
	}
	// Errors went to config.Error.
	pkg.types, _ = config.Check(req.Package, pkg.fset, files, pkg.info)
	return nil
}

// exportData returns a function that opens the export data of an import path, from the compiler's
// -importcfg file.
func exportData(path string) (importer.Lookup, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	archives, renamed := map[string]string{}, map[string]string{}
	for _, line := range strings.Split(string(text), "\n") {
		verb, rest, _ := strings.Cut(line, " ")
		name, target, found := strings.Cut(rest, "=")
		if !found {
			continue
		}
		switch verb {
		case "packagefile":
			archives[name] = target
		case "importmap":
			renamed[name] = target
		}
	}
	return func(path string) (io.ReadCloser, error) {
		if target, ok := renamed[path]; ok {
			path = target
		}
		archive, ok := archives[path]
		if !ok {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(archive)
	}, nil
}

// text returns the source between two positions of a file.
func (f *sourceFile) slice(fset *token.FileSet, from, to token.Pos) string {
	return string(f.text[offset(fset, from):offset(fset, to)])
}

// offset returns the offset in bytes of a position in its file.
func offset(fset *token.FileSet, pos token.Pos) int {
	return fset.PositionFor(pos, false).Offset
}
