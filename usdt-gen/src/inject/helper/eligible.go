package main

import (
	"go/ast"
	"strings"
)

// refusals are compiler directives of functions that cannot fire probes, with the reason.
var refusals = []struct{ directive, reason string }{
	{"//go:nosplit", "it is marked //go:nosplit, so its stack cannot grow"},
	{"//go:systemstack", "it is marked //go:systemstack"},
	{"//go:nowritebarrier", "it is marked //go:nowritebarrier"},
	{"//go:yeswritebarrier", "it is marked //go:yeswritebarrierrec"},
	{"//go:cgo_unsafe_args", "it is marked //go:cgo_unsafe_args"},
	{"//go:linkname", "the runtime or another package calls it by //go:linkname"},
}

// stopTheWorld are functions of the standard library that the runtime calls while all goroutines
// are stopped.
var stopTheWorld = map[string]bool{
	"sync.poolCleanup":                  true,
	"sync.runtime_registerPoolCleanup":  true,
	"unique.registerCleanup":            true,
	"internal/godebug.registerMetric":   true,
	"syscall.runtime_AfterFork":         true,
	"syscall.runtime_AfterForkInChild":  true,
	"syscall.runtime_BeforeFork":        true,
	"syscall.forkAndExecInChild":        true,
	"syscall.forkAndExecInChild1":       true,
	"internal/runtime/maps.fatal":       true,
	"internal/weak.runtime_makeStrong":  true,
	"os/signal.signal_recv":             true,
	"internal/poll.runtime_Semacquire":  true,
	"internal/poll.runtime_Semrelease":  true,
	"internal/synctest.inBubble":        true,
	"reflect.callReflect":               true,
	"reflect.callMethod":                true,
	"reflect.moveMakeFuncArgPtrs":       true,
	"internal/reflectlite.typedmemmove": true,
}

// refusal returns the reason why a function cannot have probes; empty if it can.
func refusal(pkg *sourcePackage, file *sourceFile, decl *ast.FuncDecl) string {
	if decl.Body == nil {
		return "it has no body in Go: it is written in assembly or linked from another package"
	}
	if decl.Name.Name == "init" && decl.Recv == nil {
		return "it is an init function, which no tracer can be attached to in time"
	}
	if decl.Name.Name == "_" {
		return "it has no name"
	}
	if stopTheWorld[pkg.types.Path()+"."+decl.Name.Name] {
		return "the runtime calls it where its stack cannot grow"
	}
	for _, r := range refusals {
		if hasDirective(decl, r.directive) {
			return r.reason
		}
	}
	if directive := linkname(file.ast, decl.Name.Name); directive && decl.Recv == nil {
		return "the runtime or another package may call it by //go:linkname"
	}
	return ""
}

// linkname reports whether a file has a linkname directive for a function.
func linkname(file *ast.File, name string) bool {
	for _, group := range file.Comments {
		for _, comment := range group.List {
			if !strings.HasPrefix(comment.Text, "//go:linkname") {
				continue
			}
			fields := strings.Fields(comment.Text)
			if len(fields) > 1 && fields[0] == "//go:linkname" && fields[1] == name {
				return true
			}
		}
	}
	return false
}

// hasDirective reports whether a function's doc comment has a directive.
func hasDirective(decl *ast.FuncDecl, prefix string) bool {
	if decl.Doc == nil {
		return false
	}
	for _, comment := range decl.Doc.List {
		if strings.HasPrefix(comment.Text, prefix) {
			return true
		}
	}
	return false
}

// bodyFacts says what decides the form of a function's probes.
type bodyFacts struct {
	returns, defers int
	loopDefer       bool
	// recovers is true if the function itself calls recover, which then must not move into another
	// function.
	recovers bool
	// localTypes is true if the body declares types: a copy of it has different ones.
	localTypes bool
	nodes      int
	calls      int
	// heavy is true for statements that the compiler never inlines.
	heavy bool
}

// inspectBody counts what the compiler counts, without the bodies of closures.
func inspectBody(decl *ast.FuncDecl, body *ast.BlockStmt) bodyFacts {
	var facts bodyFacts
	var visit func(n ast.Node, inLoop bool)
	visit = func(root ast.Node, inLoop bool) {
		ast.Inspect(root, func(n ast.Node) bool {
			if n == nil || n == root {
				return true
			}
			facts.nodes++
			switch n := n.(type) {
			case *ast.FuncLit:
				facts.heavy = true
				return false
			case *ast.ReturnStmt:
				facts.returns++
			case *ast.DeferStmt:
				facts.heavy = true
				facts.defers++
				facts.loopDefer = facts.loopDefer || inLoop
			case *ast.GoStmt, *ast.SelectStmt:
				facts.heavy = true
			case *ast.DeclStmt:
				if decl, ok := n.Decl.(*ast.GenDecl); ok {
					for _, spec := range decl.Specs {
						if _, ok := spec.(*ast.TypeSpec); ok {
							facts.localTypes = true
						}
					}
				}
			case *ast.CallExpr:
				facts.calls++
				if id, ok := n.Fun.(*ast.Ident); ok && id.Name == "recover" {
					facts.recovers = true
				}
			case *ast.ForStmt:
				visit(n, true)
				return false
			case *ast.RangeStmt:
				visit(n, true)
				return false
			case *ast.LabeledStmt:
				// A goto to a label is a loop for the compiler, too.
				inLoop = true
			}
			return true
		})
	}
	visit(body, false)
	if decl.Type.Results == nil {
		facts.returns++
	}
	return facts
}

// maxInlinedNodes is the size in syntax nodes up to which a function is considered to be inlined.
// The compiler's budget is 80, and it counts about as many nodes.
const maxInlinedNodes = 40

// isInlined reports whether the compiler is expected to inline a function.
func (f bodyFacts) isInlined(decl *ast.FuncDecl) bool {
	return !f.heavy && !f.recovers && f.calls == 0 && f.nodes <= maxInlinedNodes && !hasDirective(decl, "//go:noinline")
}

// The compiler's limits for open-coded defers (cmd/compile/internal/ssagen). Beyond them each
// return of the function becomes slower, also while no tracer is attached.
const (
	maxOpenDefers        = 8
	maxReturnsTimesDefer = 15
)

// chooseForm returns the form of a function's probes, and a note if it is not the requested one.
func (f bodyFacts) chooseForm(requested string, decl *ast.FuncDecl) (form, note string) {
	obstacle := ""
	switch {
	case f.recovers:
		obstacle = "it calls recover"
	case f.localTypes:
		obstacle = "its body declares types"
	case hasDirective(decl, "//go:uintptr"):
		obstacle = "it keeps uintptr arguments alive"
	}
	isOpen := func(defers int) bool {
		return !f.loopDefer && defers <= maxOpenDefers && f.returns*defers <= maxReturnsTimesDefer
	}
	wanted := requested
	if wanted == "" {
		wanted = "defer"
		if isOpen(f.defers) && !isOpen(f.defers+1) {
			wanted = "copy"
		}
	}
	if wanted == "copy" && obstacle != "" {
		return "defer", "the form is `defer` because " + obstacle
	}
	return wanted, ""
}
