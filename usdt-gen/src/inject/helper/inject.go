package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"path/filepath"
	"sort"
	"strings"
)

// A candidate is a function that a rule chooses.
type candidate struct {
	rule *rule
	file *sourceFile
	decl *ast.FuncDecl
	name string
	// body is the function's own body. For the type check, decl.Body has the rule's expressions.
	body  *ast.BlockStmt
	facts bodyFacts
	exprs []*expression
	// aliases are variables that stand for results without a name in expressions, by result index.
	aliases map[int]*ast.Ident
	// hidden are expressions of an optional rule that do not fit the function.
	hidden []hidden
}

// inject rewrites the functions that rules choose.
func inject(req request) (*response, error) {
	res := &response{
		Files: []changedFile{}, Functions: []function{}, Skipped: []skipped{}, Problems: []problem{}, Names: []string{},
	}
	if inRuntime(req.GOROOT, req.Package) {
		res.Refused = "it belongs to the Go runtime"
		return res, nil
	}
	pkg, err := parse(req.Files)
	if err == errSyntax {
		return res, nil
	}
	if err != nil {
		return nil, err
	}
	if len(pkg.files) > 0 {
		res.PackageName = pkg.files[0].ast.Name.Name
	}
	candidates := findCandidates(pkg, req.Rules, res)
	if len(candidates) == 0 {
		return res, nil
	}
	prepareBodies(pkg, candidates, res)
	if err := pkg.check(req); err != nil {
		return nil, err
	}
	for _, name := range predeclared {
		if pkg.types.Scope().Lookup(name) != nil {
			res.Refused = "it declares a `" + name + "` of its own"
			return res, nil
		}
	}
	reportTypeErrors(pkg, candidates, res)
	res.PanicOffset = panicOffset(req.GOROOT)
	rewrite := newRewriter(pkg, res.PanicOffset != 0)
	names := map[string]bool{}
	named := map[int]bool{}
	for i := range candidates {
		c := &candidates[i]
		if reason := refusal(pkg, c.file, c.decl); reason != "" {
			res.skip(c, reason)
			continue
		}
		if !isExact(c.rule.Name) && c.rule.Form == "" && c.facts.isInlined(c.decl) {
			res.skip(c, "it is so small that the compiler inlines it; name it exactly to give it probes")
			continue
		}
		if c.rule.Probe != "" && named[c.rule.ID] {
			res.Problems = append(res.Problems, problem{Rule: c.rule.ID, Field: "name", Message: "the rule matches several functions, which cannot have the same name"})
			continue
		}
		named[c.rule.ID] = true
		f := rewrite.function(c, res)
		f.Probe = uniqueName(f.Probe, names)
		rewrite.emit(c, f)
		res.Functions = append(res.Functions, f.function)
	}
	if len(res.Problems) == 0 && len(res.Functions) > 0 {
		res.Files = rewrite.files()
		res.Support = support(res.PackageName, pkg, res.PanicOffset != 0)
	}
	return res, nil
}

func (res *response) skip(c *candidate, reason string) {
	res.Skipped = append(res.Skipped, skipped{c.rule.ID, c.name, reason})
}

// findCandidates returns the functions that rules choose. It lists the names of all functions.
func findCandidates(pkg *sourcePackage, rules []rule, res *response) []candidate {
	var candidates []candidate
	for i := range pkg.files {
		file := &pkg.files[i]
		base := filepath.Base(file.path)
		// The files of cgo have functions that nobody has written.
		if strings.HasSuffix(base, "_test.go") || strings.HasPrefix(base, "_cgo_") {
			continue
		}
		for _, d := range file.ast.Decls {
			decl, ok := d.(*ast.FuncDecl)
			if !ok || strings.HasPrefix(decl.Name.Name, "_cgo") || strings.HasPrefix(decl.Name.Name, "_Cfunc") {
				continue
			}
			name := functionName(decl)
			res.Names = append(res.Names, name)
			if r := choose(rules, name); r != nil {
				c := candidate{rule: r, file: file, decl: decl, name: name, body: decl.Body}
				if decl.Body != nil {
					c.facts = inspectBody(decl, decl.Body)
				}
				candidates = append(candidates, c)
			}
		}
	}
	sort.Strings(res.Names)
	return candidates
}

// prepareBodies replaces function bodies by the expressions of their rules, so that the type check
// looks at nothing else.
func prepareBodies(pkg *sourcePackage, candidates []candidate, res *response) {
	for _, file := range pkg.files {
		for _, d := range file.ast.Decls {
			if decl, ok := d.(*ast.FuncDecl); ok {
				decl.Body = nil
			}
		}
	}
	reported := map[string]bool{}
	for i := range candidates {
		c := &candidates[i]
		if c.body == nil {
			continue
		}
		for _, part := range []struct {
			field string
			list  *[]argument
		}{{"args", c.rule.Args}, {"returns", c.rule.Returns}} {
			if part.list == nil {
				continue
			}
			for _, arg := range *part.list {
				e, p := parseExpression(pkg.fset, part.field, arg)
				if p == nil {
					c.exprs = append(c.exprs, e)
				} else if key := fmt.Sprint(c.rule.ID, p.Field); !reported[key] {
					reported[key] = true
					p.Rule = c.rule.ID
					res.Problems = append(res.Problems, *p)
				}
			}
		}
		c.decl.Body = c.checkedBody()
	}
}

// checkedBody returns a body that assigns each expression to the blank identifier.
func (c *candidate) checkedBody() *ast.BlockStmt {
	body := &ast.BlockStmt{Lbrace: c.body.Lbrace, Rbrace: c.body.Rbrace}
	c.aliases = map[int]*ast.Ident{}
	taken := declaredNames(c.decl)
	for k, r := range results(c.decl) {
		name := resultLabel(k, r)
		if r.name != "" || taken[name] {
			continue
		}
		taken[name] = true
		id := ast.NewIdent(name)
		c.aliases[k] = id
		body.List = append(body.List, &ast.DeclStmt{Decl: &ast.GenDecl{Tok: token.VAR, Specs: []ast.Spec{
			&ast.ValueSpec{Names: []*ast.Ident{id}, Type: r.typ},
		}}})
	}
	for _, e := range c.exprs {
		body.List = append(body.List, &ast.AssignStmt{
			Lhs: []ast.Expr{ast.NewIdent("_")}, Tok: token.ASSIGN, TokPos: e.ast.Pos(), Rhs: []ast.Expr{e.ast},
		})
	}
	return body
}

// reportTypeErrors turns type errors in expressions into problems of their rules.
func reportTypeErrors(pkg *sourcePackage, candidates []candidate, res *response) {
	seen := map[string]bool{}
	for _, err := range pkg.errors {
		if err.Soft || !err.Pos.IsValid() {
			continue
		}
		file := pkg.fset.File(err.Pos)
		for i := range candidates {
			c := &candidates[i]
			for _, e := range c.exprs {
				if e.file != file {
					continue
				}
				e.failed = true
				if c.rule.Optional {
					if !c.hides(e.Name) {
						c.hidden = append(c.hidden, hidden{e.Name, err.Msg})
					}
					continue
				}
				p := e.located(err.Pos, err.Pos, err.Msg)
				p.Rule = c.rule.ID
				if key := fmt.Sprint(p.Rule, p.Field); !seen[key] {
					seen[key] = true
					if !isExact(c.rule.Name) {
						p.Message += " (in " + c.name + ")"
					}
					res.Problems = append(res.Problems, *p)
				}
			}
		}
	}
}

// hides reports whether an expression is hidden already.
func (c *candidate) hides(name string) bool {
	for _, h := range c.hidden {
		if h.Name == name {
			return true
		}
	}
	return false
}

// uniqueName returns a name that no other function of the package has, and reserves it.
func uniqueName(name string, taken map[string]bool) string {
	unique := name
	for n := 2; taken[unique]; n++ {
		unique = fmt.Sprintf("%s_%d", name, n)
	}
	taken[unique] = true
	return unique
}

// probeName derives the name of a function's probes from the function's name.
func probeName(decl *ast.FuncDecl) string {
	name := decl.Name.Name
	if receiver, _ := receiverType(decl); receiver != "" {
		name = receiver + "_" + name
	}
	return ascii(name)
}

// ascii replaces the characters that names of probes cannot have.
func ascii(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return '_'
	}, name)
}

// A result is one result of a function.
type result struct {
	// name is empty for a result without a name, or with the blank one.
	name string
	id   *ast.Ident
	typ  ast.Expr
}

// results returns the results of a function, one for each value.
func results(decl *ast.FuncDecl) []result {
	if decl.Type.Results == nil {
		return nil
	}
	var all []result
	for _, field := range decl.Type.Results.List {
		if len(field.Names) == 0 {
			all = append(all, result{typ: field.Type})
		}
		for _, id := range field.Names {
			r := result{name: id.Name, id: id, typ: field.Type}
			if id.Name == "_" {
				r.name = ""
			}
			all = append(all, r)
		}
	}
	return all
}

// resultLabel returns the name that probes and expressions use for a result.
func resultLabel(k int, r result) string {
	if r.name != "" {
		return r.name
	}
	if id, ok := r.typ.(*ast.Ident); ok && id.Name == "error" {
		return "err"
	}
	return fmt.Sprintf("r%d", k)
}

func fieldNames(list *ast.FieldList) []*ast.Ident {
	var names []*ast.Ident
	if list != nil {
		for _, field := range list.List {
			names = append(names, field.Names...)
		}
	}
	return names
}
