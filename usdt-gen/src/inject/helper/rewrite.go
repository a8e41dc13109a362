package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"sort"
	"strings"
)

// The largest number of argument words that leaves room for the goroutine id, which is the last
// argument of every probe.
const maxWords = 11

// An edit replaces the bytes from..to of a file.
type edit struct {
	from, to int
	text     string
}

// A rewriter collects the edits of a package's files.
type rewriter struct {
	pkg *sourcePackage
	// panics is true if the probes have the argument panicked.
	panics bool
	edits  map[*sourceFile][]edit
	// appended is Go source for the end of a file.
	appended map[*sourceFile]string
}

func newRewriter(pkg *sourcePackage, panics bool) *rewriter {
	return &rewriter{pkg, panics, map[*sourceFile][]edit{}, map[*sourceFile]string{}}
}

// A rewrittenFunction is a function with everything that its rewritten source needs.
type rewrittenFunction struct {
	function
	// resultEdits give names to results. They are empty if no result is used.
	resultEdits []edit
	// declared are the names of the function's receiver, parameters and results.
	declared map[string]bool
}

// declaredNames returns the names of a function's receiver, parameters and results. They hide the
// same names of packages, types and functions in the function's body.
func declaredNames(decl *ast.FuncDecl) map[string]bool {
	names := map[string]bool{}
	for _, list := range []*ast.FieldList{decl.Recv, decl.Type.TypeParams, decl.Type.Params, decl.Type.Results} {
		for _, id := range fieldNames(list) {
			names[id.Name] = true
		}
	}
	return names
}

// isTypeParameter reports whether a name is that of a type parameter, which types can refer to.
func isTypeParameter(decl *ast.FuncDecl, name string) bool {
	for _, id := range fieldNames(decl.Type.TypeParams) {
		if id.Name == name {
			return true
		}
	}
	return false
}

// hiddenBy returns the reason why a value cannot be shown in a function that declares these names.
// It is empty if the value can be shown.
func (s shown) hiddenBy(declared map[string]bool) string {
	if s.suffix == "_len" && declared["len"] {
		return "the function declares a `len` of its own"
	}
	return s.reason
}

// function decides what the probes of a function show.
func (w *rewriter) function(c *candidate, res *response) *rewrittenFunction {
	position := w.pkg.fset.PositionFor(c.decl.Pos(), true)
	f := &rewrittenFunction{function: function{
		Rule: c.rule.ID, Name: c.name, File: position.Filename, Line: position.Line,
		Provider: c.rule.Provider, Probe: c.rule.Probe,
		Entry: []value{}, Return: []value{}, Hidden: []hidden{}, Notes: []string{},
	}, declared: declaredNames(c.decl)}
	if f.Provider == "" {
		f.Provider = ascii(w.pkg.files[0].ast.Name.Name)
	}
	if f.Probe == "" {
		f.Probe = probeName(c.decl)
	}
	var note string
	if f.Form, note = c.facts.chooseForm(c.rule.Form, c.decl); note != "" {
		f.Notes = append(f.Notes, note)
	}
	if c.facts.isInlined(c.decl) {
		f.Notes = append(f.Notes, "the compiler no longer inlines it")
	}
	f.Hidden = append(f.Hidden, c.hidden...)
	s := w.scope(c)
	if c.rule.Args == nil {
		w.showParameters(c, f)
	}
	usesResults := false
	if c.rule.Returns == nil {
		usesResults = w.showResults(c, f)
	}
	for _, e := range c.exprs {
		if e.failed {
			continue
		}
		v, p := s.compile(e)
		if p != nil && c.rule.Optional {
			f.Hidden = append(f.Hidden, hidden{e.Name, p.Message})
			continue
		}
		if p != nil {
			p.Rule = c.rule.ID
			res.Problems = append(res.Problems, *p)
			continue
		}
		if note := s.escapeNote(e); note != "" {
			f.Notes = append(f.Notes, note)
		}
		if e.field == "args" {
			f.add(&f.Entry, v, maxWords)
		} else {
			f.add(&f.Return, v, w.resultWords())
			usesResults = true
		}
	}
	if usesResults {
		f.resultEdits = w.nameResults(c)
	}
	if w.panics {
		f.Return = append(f.Return, value{Name: "panicked", Kind: "bool", Type: "bool", code: prefix + "Panic() != " + prefix + "P"})
	}
	f.Return = append(f.Return, value{Name: "duration_ns", Kind: "duration", Type: "time.Duration", code: prefix + "Now() - " + prefix + "T"})
	return f
}

// resultWords returns the number of words for results: the last arguments are panicked and
// duration_ns.
func (w *rewriter) resultWords() int { return maxWords - 2 }

// add adds a value to a probe if there is room, under a name that is unique there.
func (f *rewrittenFunction) add(list *[]value, v value, room int) {
	used := words(v.Kind)
	taken := map[string]bool{"panicked": true, "duration_ns": true, "goid": true}
	for _, other := range *list {
		used += words(other.Kind)
		taken[other.Name] = true
	}
	if used > room {
		f.Hidden = append(f.Hidden, hidden{v.Name, "a probe has at most 12 argument words; choose arguments in the rule"})
		return
	}
	v.Name = ascii(v.Name)
	for taken[v.Name] {
		v.Name += "_"
	}
	*list = append(*list, v)
}

// showParameters shows the parameters that can be shown, and a receiver that is not a pointer or
// struct.
func (w *rewriter) showParameters(c *candidate, f *rewrittenFunction) {
	for _, id := range fieldNames(c.decl.Recv) {
		if t := w.typeOf(id); id.Name != "_" && t != nil && show(t).reason == "" && show(t).suffix == "" {
			w.showVariable(f, &f.Entry, id.Name, id.Name, t, maxWords)
		}
	}
	for _, field := range c.decl.Type.Params.List {
		for _, id := range field.Names {
			if t := w.typeOf(id); id.Name != "_" && t != nil {
				w.showParameter(f, id.Name, t)
			}
		}
	}
}

func (w *rewriter) typeOf(id *ast.Ident) types.Type {
	if object := w.pkg.info.Defs[id]; object != nil && object.Type() != types.Typ[types.Invalid] {
		return object.Type()
	}
	return nil
}

// showParameter shows a parameter. A context is shown by the span in it. An error is shown by its
// type, because its message would make it escape to the heap.
func (w *rewriter) showParameter(f *rewrittenFunction, name string, t types.Type) {
	switch {
	case isNamed(t, "context", "Context"):
		if !w.pkg.importsTrace() {
			f.Hidden = append(f.Hidden, hidden{name, "the package does not import " + tracePackage + ", so its span is not known"})
			return
		}
		for _, id := range []string{"Trace", "Span"} {
			code := prefix + id + "ID(" + name + ")"
			f.add(&f.Entry, value{Name: strings.ToLower(id) + "_id", Kind: "string", Type: "string", Expr: name, code: code}, maxWords)
		}
	case show(t).kind == "error":
		how := dynamicType()
		v := value{Name: name + how.suffix, Kind: how.kind, Type: how.typeOf(t), Expr: how.describe(name), code: fmt.Sprintf(how.convert, name)}
		f.add(&f.Entry, v, maxWords)
	default:
		w.showVariable(f, &f.Entry, name, name, t, maxWords)
	}
}

// showResults shows the results that can be shown. It returns true if there is one.
func (w *rewriter) showResults(c *candidate, f *rewrittenFunction) bool {
	object, ok := w.pkg.info.Defs[c.decl.Name].(*types.Func)
	if !ok {
		return false
	}
	signature := object.Type().(*types.Signature)
	for k, r := range results(c.decl) {
		if k < signature.Results().Len() {
			w.showVariable(f, &f.Return, resultLabel(k, r), resultVariable(k, r), signature.Results().At(k).Type(), w.resultWords())
		}
	}
	return len(f.Return) > 0
}

func (w *rewriter) showVariable(f *rewrittenFunction, list *[]value, label, variable string, t types.Type, room int) {
	how := show(t)
	if reason := how.hiddenBy(f.declared); reason != "" {
		if strings.Contains(reason, "%[1]s") {
			reason = fmt.Sprintf(reason, label)
		}
		f.Hidden = append(f.Hidden, hidden{label, reason})
		return
	}
	f.add(list, value{Name: label + how.suffix, Kind: how.kind, Type: how.typeOf(t), Expr: how.describe(label), Labels: how.labels, code: fmt.Sprintf(how.convert, variable)}, room)
}

// resultVariable returns the variable of a result in the rewritten function.
func resultVariable(k int, r result) string {
	if r.name != "" {
		return r.name
	}
	return fmt.Sprintf("%sR%d", prefix, k)
}

// scope returns what expressions in a function refer to.
func (w *rewriter) scope(c *candidate) *scope {
	s := &scope{
		pkg: w.pkg, renamed: map[types.Object]string{}, results: map[types.Object]bool{}, typeText: map[types.Object]string{},
		function: w.pkg.info.Defs[c.decl.Name], declared: declaredNames(c.decl),
	}
	lists := []*ast.FieldList{c.decl.Recv, c.decl.Type.Params, c.decl.Type.Results}
	setType := func(object types.Object, typ ast.Expr) {
		text := ""
		if variadic, ok := typ.(*ast.Ellipsis); ok {
			text, typ = "[]", variadic.Elt
		}
		// A parameter hides a type or package of the same name in the body.
		isHidden := false
		ast.Inspect(typ, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			isHidden = isHidden || ok && s.declared[id.Name] && !isTypeParameter(c.decl, id.Name)
			return true
		})
		if object != nil && !isHidden {
			s.typeText[object] = text + c.file.slice(w.pkg.fset, typ.Pos(), typ.End())
		}
	}
	for _, list := range lists {
		if list == nil {
			continue
		}
		for _, field := range list.List {
			for _, id := range field.Names {
				setType(w.pkg.info.Defs[id], field.Type)
			}
		}
	}
	for k, r := range results(c.decl) {
		if r.name != "" {
			s.results[w.pkg.info.Defs[r.id]] = true
		} else if alias := c.aliases[k]; alias != nil {
			object := w.pkg.info.Defs[alias]
			s.results[object] = true
			s.renamed[object] = resultVariable(k, r)
			setType(object, r.typ)
		}
	}
	delete(s.results, nil)
	delete(s.renamed, nil)
	return s
}

// nameResults returns the edits that give all results names.
func (w *rewriter) nameResults(c *candidate) []edit {
	list := c.decl.Type.Results
	if list == nil {
		return nil
	}
	var edits []edit
	at := func(pos token.Pos) int { return offset(w.pkg.fset, pos) }
	for k, r := range results(c.decl) {
		variable := resultVariable(k, r)
		switch {
		case r.id == nil && list.Opening == token.NoPos:
			edits = append(edits, edit{at(r.typ.Pos()), at(r.typ.Pos()), "(" + variable + " "}, edit{at(r.typ.End()), at(r.typ.End()), ")"})
		case r.id == nil:
			edits = append(edits, edit{at(r.typ.Pos()), at(r.typ.Pos()), variable + " "})
		case r.name == "":
			edits = append(edits, edit{at(r.id.Pos()), at(r.id.End()), variable})
		}
	}
	return edits
}

// emit adds the edits of a function.
func (w *rewriter) emit(c *candidate, f *rewrittenFunction) {
	brace := offset(w.pkg.fset, c.body.Lbrace) + 1
	entry, exit := prefix+f.Probe+"__entry", prefix+f.Probe+"__return"
	gate := fmt.Sprintf(" if %sEnabled() || %sEnabled() { ", entry, exit)
	prologue := w.prologue(f, entry, exit)
	back := w.lineComment(c.body.Lbrace + 1)
	if f.Form == "defer" {
		w.edits[c.file] = append(w.edits[c.file], f.resultEdits...)
		w.edits[c.file] = append(w.edits[c.file], edit{brace, brace, gate + prologue + "}; " + back})
		return
	}
	naming, call := w.forwardCall(c)
	if len(results(c.decl)) > 0 {
		call = "return " + call
	} else {
		call += "; return"
	}
	w.edits[c.file] = append(w.edits[c.file], naming...)
	w.edits[c.file] = append(w.edits[c.file], edit{brace, brace, gate + call + " }; " + back})
	name := offset(w.pkg.fset, c.decl.Name.Pos())
	edits := append(append([]edit{}, naming...), f.resultEdits...)
	edits = append(edits, edit{name, name, prefix + "Copy_"}, edit{brace, brace, " " + prologue + back})
	from, to := offset(w.pkg.fset, c.decl.Pos()), offset(w.pkg.fset, c.decl.End())
	w.appended[c.file] += "\n" + w.lineDirective(c.decl.Pos()) + apply(c.file.text, from, to, edits) + "\n"
}

// prologue returns the statements that fire the entry probe and defer the return probe.
func (w *rewriter) prologue(f *rewrittenFunction, entry, exit string) string {
	var out strings.Builder
	setup, args := arguments(f.Entry)
	out.WriteString(setup)
	fmt.Fprintf(&out, "%s(%s); ", entry, args)
	if w.panics {
		fmt.Fprintf(&out, "%sP := %sPanic(); ", prefix, prefix)
	}
	setup, args = arguments(f.Return)
	fmt.Fprintf(&out, "%sT := %sNow(); defer func() { %s%s(%s) }() ", prefix, prefix, setup, exit, args)
	return strings.TrimSuffix(out.String(), " ") + "; "
}

func arguments(values []value) (setup, args string) {
	var list []string
	for _, v := range values {
		setup += v.setup
		list = append(list, v.code)
	}
	return setup, strings.Join(list, ", ")
}

// forwardCall returns the call of a function's copy with the function's own arguments, and the
// edits that give names to parameters without one.
func (w *rewriter) forwardCall(c *candidate) (naming []edit, call string) {
	at := func(pos token.Pos) int { return offset(w.pkg.fset, pos) }
	count := 0
	name := func(field *ast.Field) []string {
		fresh := func() string {
			count++
			return fmt.Sprintf("%sA%d", prefix, count)
		}
		if len(field.Names) == 0 {
			n := fresh()
			naming = append(naming, edit{at(field.Type.Pos()), at(field.Type.Pos()), n + " "})
			return []string{n}
		}
		var names []string
		for _, id := range field.Names {
			n := id.Name
			if n == "_" {
				n = fresh()
				naming = append(naming, edit{at(id.Pos()), at(id.End()), n})
			}
			names = append(names, n)
		}
		return names
	}
	call = prefix + "Copy_" + c.decl.Name.Name
	if c.decl.Recv != nil {
		call = name(c.decl.Recv.List[0])[0] + "." + call
	} else if typeParams := fieldNames(c.decl.Type.TypeParams); len(typeParams) > 0 {
		var names []string
		for _, id := range typeParams {
			names = append(names, id.Name)
		}
		call += "[" + strings.Join(names, ", ") + "]"
	}
	var args []string
	for _, field := range c.decl.Type.Params.List {
		names := name(field)
		if _, ok := field.Type.(*ast.Ellipsis); ok {
			names[len(names)-1] += "..."
		}
		args = append(args, names...)
	}
	return naming, call + "(" + strings.Join(args, ", ") + ")"
}

// lineComment returns a directive that gives the following character the position that it has in
// the original.
func (w *rewriter) lineComment(pos token.Pos) string {
	if place := w.place(pos); place != "" {
		return "/*line " + place + "*/"
	}
	return ""
}

// lineDirective returns a line of its own that does the same for the next line.
func (w *rewriter) lineDirective(pos token.Pos) string {
	if place := w.place(pos); place != "" {
		return "//line " + place + "\n"
	}
	return ""
}

// place returns a position as line directives spell it. It is empty if they cannot.
func (w *rewriter) place(pos token.Pos) string {
	position := w.pkg.fset.PositionFor(pos, true)
	if !filepath.IsAbs(position.Filename) || strings.ContainsAny(position.Filename, "\n\r") || strings.Contains(position.Filename, "*/") {
		return ""
	}
	return fmt.Sprintf("%s:%d:%d", position.Filename, position.Line, position.Column)
}

// files returns the rewritten files.
func (w *rewriter) files() []changedFile {
	var files []changedFile
	for i := range w.pkg.files {
		file := &w.pkg.files[i]
		if len(w.edits[file]) == 0 {
			continue
		}
		text := apply(file.text, 0, len(file.text), w.edits[file]) + w.appended[file]
		files = append(files, changedFile{file.index, "//line " + file.path + ":1:1\n" + text})
	}
	return files
}

// apply returns the bytes from..to of a text after edits, which do not overlap.
func apply(text []byte, from, to int, edits []edit) string {
	sort.SliceStable(edits, func(i, j int) bool { return edits[i].from < edits[j].from })
	var out strings.Builder
	for _, e := range edits {
		out.Write(text[from:e.from])
		out.WriteString(e.text)
		from = e.to
	}
	out.Write(text[from:to])
	return out.String()
}
