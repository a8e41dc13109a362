package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"go/types"
	"strings"
)

// An expression is a Go expression of a rule, in the scope of one function.
type expression struct {
	argument
	// field is "args" or "returns".
	field string
	ast   ast.Expr
	// file is the base of the expression's positions.
	file *token.File
	// failed is true if the expression has a type error, which is reported already.
	failed bool
}

// parseExpression parses an expression of a rule.
func parseExpression(fset *token.FileSet, field string, arg argument) (*expression, *problem) {
	// The parser adds one file to the set.
	name := field + "." + arg.Name
	x, err := parser.ParseExprFrom(fset, name, arg.Expr, parser.SkipObjectResolution)
	if err != nil {
		p := &problem{Field: name, Message: err.Error()}
		var list scanner.ErrorList
		if errors.As(err, &list) && len(list) > 0 {
			p.Message = list[0].Msg
			p.Offset = list[0].Pos.Offset
		}
		if p.Offset > len(arg.Expr) {
			p.Offset = len(arg.Expr)
		}
		return nil, p
	}
	return &expression{argument: arg, field: field, ast: x, file: fset.File(x.Pos())}, nil
}

// located returns a problem at a node of the expression.
func (e *expression) located(pos, end token.Pos, message string) *problem {
	p := &problem{Field: e.field + "." + e.Name, Message: message}
	if from := int(pos) - e.file.Base(); from >= 0 && from <= len(e.Expr) {
		p.Offset = from
		if to := int(end) - e.file.Base(); to > from && to <= len(e.Expr) {
			p.Length = to - from
		}
	}
	return p
}

// catch is the function that stops panics in expressions.
const catch = prefix + "Catch"

// A scope has the variables of a function that expressions use.
type scope struct {
	pkg *sourcePackage
	// renamed maps variables that have another name in the rewritten function.
	renamed map[types.Object]string
	// results are the function's result variables.
	results map[types.Object]bool
	// typeText has the source of the types of variables, for those whose type can be repeated in
	// the function's body.
	typeText map[types.Object]string
	function types.Object
	// declared are the names that hide others in the function's body.
	declared map[string]bool
}

// compile returns the value of a checked expression.
func (s *scope) compile(e *expression) (value, *problem) {
	typ := s.pkg.info.Types[e.ast]
	if typ.Type == nil || typ.Type == types.Typ[types.Invalid] {
		return value{}, e.located(e.ast.Pos(), e.ast.End(), "the type of this expression is not known")
	}
	how := show(typ.Type)
	if reason := how.hiddenBy(s.declared); reason != "" {
		if strings.Contains(reason, "%[1]s") {
			reason = fmt.Sprintf(reason, e.Expr)
		}
		return value{}, e.located(e.ast.Pos(), e.ast.End(), "cannot show this value: "+reason)
	}
	if p := s.reject(e); p != nil {
		return value{}, p
	}
	text := s.text(e, e.ast)
	v := value{Name: e.Name, Kind: how.kind, Type: how.typeOf(typ.Type), Expr: how.describe(e.Expr), Labels: how.labels}
	guards, safe := s.guards(e)
	variable := prefix + "V_" + e.Name
	converted := fmt.Sprintf(how.convert, "("+text+")")
	switch {
	case safe && len(guards) == 0:
		v.code = converted
	case safe:
		v.setup = fmt.Sprintf("var %s %s; if %s { %s = %s }; ", variable, how.alias, strings.Join(guards, " && "), variable, converted)
		v.code = variable
	default:
		params, args := s.parameters(e)
		v.code = fmt.Sprintf("func(%s) (%s %s) { defer %s(); %s = %s; return }(%s)", params, variable, how.alias, catch, variable, converted, args)
	}
	return v, nil
}

// reject returns a problem if the expression may stop the program in a way that recover does not
// catch, or cannot be evaluated where the probe fires.
func (s *scope) reject(e *expression) *problem {
	var p *problem
	ast.Inspect(e.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IndexExpr:
			if t := s.pkg.info.Types[n.X].Type; t != nil {
				if _, ok := t.Underlying().(*types.Map); ok {
					p = e.located(n.Pos(), n.End(), "reading a map stops the program if another goroutine writes to it at the same time; show its length instead")
				}
			}
		case *ast.FuncLit:
			p = e.located(n.Pos(), n.End(), "function literals are not allowed here")
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				p = e.located(n.Pos(), n.End(), "receiving from a channel would change the program")
			}
		case *ast.Ident:
			object := s.pkg.info.Uses[n]
			if object != nil && object == s.function {
				p = e.located(n.Pos(), n.End(), "the expression calls the function that it belongs to")
			}
			if e.field == "args" && s.results[object] {
				p = e.located(n.Pos(), n.End(), fmt.Sprintf("`%s` is a result; move this expression to `returns`", n.Name))
			}
		}
		return p == nil
	})
	return p
}

// text returns the source of a part of the expression, with renamed variables.
func (s *scope) text(e *expression, part ast.Expr) string {
	var text strings.Builder
	from, end := int(part.Pos())-e.file.Base(), int(part.End())-e.file.Base()
	ast.Inspect(part, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			if name, ok := s.renamed[s.pkg.info.Uses[id]]; ok {
				at := int(id.Pos()) - e.file.Base()
				text.WriteString(e.Expr[from:at] + name)
				from = at + len(id.Name)
			}
		}
		return true
	})
	return text.String() + e.Expr[from:end]
}

// guards returns the conditions under which the expression cannot panic. It returns false if there
// are none, and the expression has to be evaluated under a recover.
func (s *scope) guards(e *expression) (conditions []string, ok bool) {
	seen := map[string]bool{}
	ok = true
	ast.Inspect(e.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case nil, *ast.Ident, *ast.BasicLit, *ast.ParenExpr:
		case *ast.SelectorExpr:
			selection := s.pkg.info.Selections[n]
			if selection == nil {
				// A name of an imported package.
				return false
			}
			if selection.Kind() != types.FieldVal || len(selection.Index()) != 1 && selection.Indirect() {
				ok = false
				return false
			}
			if _, pointer := selection.Recv().Underlying().(*types.Pointer); pointer {
				if s.declared["nil"] {
					ok = false
					return false
				}
				condition := s.text(e, n.X) + " != nil"
				if !seen[condition] {
					seen[condition] = true
					// The inner pointers of a chain have to be tested first.
					conditions = append([]string{condition}, conditions...)
				}
			}
		case *ast.BinaryExpr:
			switch n.Op {
			case token.QUO, token.REM, token.SHL, token.SHR:
				ok = false
			case token.EQL, token.NEQ:
				// Comparing interfaces panics if their values cannot be compared.
				if t := s.pkg.info.Types[n.X].Type; t == nil || types.IsInterface(t) && !s.isNil(n.Y) {
					ok = false
				}
			}
		case *ast.UnaryExpr:
			ok = ok && n.Op != token.AND && n.Op != token.ARROW
		case *ast.CallExpr:
			ok = ok && s.isHarmless(n)
		default:
			ok = false
		}
		return ok
	})
	return conditions, ok
}

func (s *scope) isNil(x ast.Expr) bool {
	return s.pkg.info.Types[x].IsNil()
}

// isHarmless reports whether a call cannot panic: len, cap and conversions of basic types.
func (s *scope) isHarmless(call *ast.CallExpr) bool {
	fun := s.pkg.info.Types[call.Fun]
	if fun.IsBuiltin() {
		id, ok := call.Fun.(*ast.Ident)
		return ok && (id.Name == "len" || id.Name == "cap")
	}
	if !fun.IsType() {
		return false
	}
	_, basic := fun.Type.Underlying().(*types.Basic)
	return basic
}

// parameters returns the variables that the expression uses, as parameters and arguments of a
// closure. Passing them keeps them in registers, where capturing could move them to the stack.
func (s *scope) parameters(e *expression) (params, args string) {
	var names, declarations []string
	seen := map[types.Object]bool{}
	ast.Inspect(e.ast, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		if !ok {
			return true
		}
		object := s.pkg.info.Uses[id]
		typ, known := s.typeText[object]
		if !known || seen[object] {
			return true
		}
		seen[object] = true
		name := id.Name
		if renamed, ok := s.renamed[object]; ok {
			name = renamed
		}
		names = append(names, name)
		declarations = append(declarations, name+" "+typ)
		return true
	})
	return strings.Join(declarations, ", "), strings.Join(names, ", ")
}

// escapeNote returns a note if evaluating the expression makes the compiler move values to the heap,
// also while no tracer is attached.
func (s *scope) escapeNote(e *expression) string {
	note := ""
	if t := s.pkg.info.Types[e.ast].Type; e.field == "args" && t != nil && show(t).kind == "error" {
		note = "showing the message of `" + e.Expr + "` may move it to the heap"
	}
	ast.Inspect(e.ast, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && !s.isHarmless(call) {
			note = "the call in `" + e.Expr + "` may move its operands to the heap"
		}
		return note == ""
	})
	return note
}
