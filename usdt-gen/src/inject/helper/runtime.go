package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
)

// panicOffset returns the offset of the innermost panic in the runtime's type g, which assembly
// reads through the register of the goroutine. It returns zero if the fields before it are not
// those that all supported releases have.
func panicOffset(goroot string) int {
	path := filepath.Join(goroot, "src", "runtime", "runtime2.go")
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return 0
	}
	var names []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != "g" {
			return true
		}
		if g, ok := spec.Type.(*ast.StructType); ok {
			for _, field := range g.Fields.List {
				for _, name := range field.Names {
					names = append(names, name.Name)
				}
			}
		}
		return false
	})
	// stack has two words.
	if len(names) > 3 && strings.Join(names[:4], " ") == "stack stackguard0 stackguard1 _panic" {
		return 32
	}
	return 0
}

// inRuntime reports whether a package is runtime or one that runtime imports. Their functions run
// where the stack must not grow, or before the runtime works.
func inRuntime(goroot, path string) bool {
	if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") {
		return false
	}
	source := func(path string) string { return filepath.Join(goroot, "src", filepath.FromSlash(path)) }
	// Programs and modules whose paths have no dot are not in the standard library.
	if info, err := os.Stat(source(path)); err != nil || !info.IsDir() {
		return false
	}
	seen := map[string]bool{}
	var visit func(path string) bool
	visit = func(current string) bool {
		if current == path {
			return true
		}
		if seen[current] || current == "unsafe" || current == "C" {
			return false
		}
		seen[current] = true
		for _, imported := range importsOf(source(current)) {
			if visit(imported) {
				return true
			}
		}
		return false
	}
	return visit("runtime")
}

// importsOf returns the paths that the Go files in a folder import, on any platform.
func importsOf(folder string) []string {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil
	}
	var paths []string
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(folder, name), nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil || file.Name.Name == "main" || isIgnored(file) {
			continue
		}
		for _, spec := range file.Imports {
			paths = append(paths, strings.Trim(spec.Path.Value, "\""))
		}
	}
	return paths
}

// isIgnored reports whether the go command never compiles a file, as for programs in the folder of
// a package.
func isIgnored(file *ast.File) bool {
	for _, group := range file.Comments {
		for _, comment := range group.List {
			if strings.HasPrefix(comment.Text, "//go:build ignore") {
				return true
			}
		}
	}
	return false
}
