package main

import (
	"go/ast"
	"strings"
)

// matches reports whether name matches pattern. A star matches any characters, [A-Z] one of a set
// of characters. The star after an opening parenthesis is that of a pointer receiver.
func matches(pattern, name string) bool {
	// Two positions to return to are enough: only the last star has to be tried again.
	star, restart := -1, 0
	p, n := 0, 0
	for n < len(name) {
		if p < len(pattern) {
			switch {
			case isStar(pattern, p):
				star, restart = p, n
				p++
				continue
			case pattern[p] == '[':
				if size, ok := matchSet(pattern[p:], name[n]); ok {
					p += size
					n++
					continue
				}
			case pattern[p] == name[n]:
				p++
				n++
				continue
			}
		}
		if star < 0 {
			return false
		}
		restart++
		p, n = star+1, restart
	}
	for p < len(pattern) && isStar(pattern, p) {
		p++
	}
	return p == len(pattern)
}

// isStar reports whether pattern has a wildcard at an index.
func isStar(pattern string, at int) bool {
	return pattern[at] == '*' && !(at > 0 && pattern[at-1] == '(')
}

// matchSet matches a set such as [A-Z_] at the beginning of pattern. It returns the set's size.
func matchSet(pattern string, c byte) (int, bool) {
	end := strings.IndexByte(pattern, ']')
	if end < 0 {
		return 0, false
	}
	set := pattern[1:end]
	for i := 0; i < len(set); i++ {
		if i+2 < len(set) && set[i+1] == '-' {
			if set[i] <= c && c <= set[i+2] {
				return end + 1, true
			}
			i += 2
			continue
		}
		if set[i] == c {
			return end + 1, true
		}
	}
	return 0, false
}

// isExact reports whether a pattern matches only one name.
func isExact(pattern string) bool {
	for i := range pattern {
		if pattern[i] == '[' || isStar(pattern, i) {
			return false
		}
	}
	return true
}

// choose returns the rule for a function: an exact one, or else the first that matches.
func choose(rules []rule, name string) *rule {
	var chosen *rule
	for i := range rules {
		r := &rules[i]
		if !matches(r.Name, name) || excluded(r, name) {
			continue
		}
		if isExact(r.Name) {
			return r
		}
		if chosen == nil {
			chosen = r
		}
	}
	return chosen
}

func excluded(r *rule, name string) bool {
	for _, pattern := range r.Exclude {
		if matches(pattern, name) {
			return true
		}
	}
	return false
}

// functionName returns the name of a function without its package, as tracebacks print it:
// "(*Store).Get", "Key.String" or "Map".
func functionName(decl *ast.FuncDecl) string {
	receiver, pointer := receiverType(decl)
	switch {
	case receiver == "":
		return decl.Name.Name
	case pointer:
		return "(*" + receiver + ")." + decl.Name.Name
	default:
		return receiver + "." + decl.Name.Name
	}
}

// receiverType returns the name of a method's receiver type. It is empty for functions.
func receiverType(decl *ast.FuncDecl) (name string, pointer bool) {
	if decl.Recv == nil || len(decl.Recv.List) != 1 {
		return "", false
	}
	expr := decl.Recv.List[0].Type
	for {
		switch e := expr.(type) {
		case *ast.ParenExpr:
			expr = e.X
		case *ast.StarExpr:
			expr, pointer = e.X, true
		case *ast.IndexExpr:
			expr = e.X
		case *ast.IndexListExpr:
			expr = e.X
		case *ast.Ident:
			return e.Name, pointer
		default:
			return "", false
		}
	}
}
