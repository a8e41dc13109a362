package main

import (
	"regexp"
	"strings"
	"testing"
)

func TestMatchesNamesAsTracebacksPrintThem(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"(*Store).Get", "(*Store).Get", true},
		{"(*Store).Get", "Store.Get", false},
		{"(*Store).*", "(*Store).Get", true},
		{"(*Store).*", "(*Stores).Get", false},
		{"*Handler", "(*Server).UserHandler", true},
		{"*Handler", "HandlerX", false},
		{"*", "anything", true},
		{"[A-Z]*", "Open", true},
		{"[A-Z]*", "open", false},
		{"[A-Z]*", "(*Store).Get", false},
		{"*.[A-Z]*", "(*Store).Get", true},
		{"*.[A-Z]*", "(*Store).get", false},
		{"[A-Z_]x", "_x", true},
		{"[A-Z", "A", false},
		{"", "", true},
		{"(*", "(*", true},
	} {
		if got := matches(c.pattern, c.name); got != c.want {
			t.Errorf("matches(%q, %q) = %v", c.pattern, c.name, got)
		}
	}
}

func TestAnExactRuleComesBeforePatterns(t *testing.T) {
	rules := []rule{
		{ID: 0, Name: "(*Store).*", Exclude: []string{"*.Close"}},
		{ID: 1, Name: "*"},
		{ID: 2, Name: "(*Store).Get"},
	}
	for name, want := range map[string]int{"(*Store).Get": 2, "(*Store).Put": 0, "(*Store).Close": 1, "f": 1} {
		if got := choose(rules, name); got == nil || got.ID != want {
			t.Errorf("choose(%q) = %v, want rule %d", name, got, want)
		}
	}
	if got := choose(rules[:1], "f"); got != nil {
		t.Errorf("choose(f) = %v", got)
	}
}

// FuzzMatches compares the matcher with a regular expression.
func FuzzMatches(f *testing.F) {
	f.Add("(*T).*", "(*T).x")
	f.Add("a*b*c", "aXbYbc")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if strings.ContainsAny(pattern, "[]\n") || strings.Contains(name, "\n") {
			matches(pattern, name)
			return
		}
		quoted := regexp.QuoteMeta(strings.ReplaceAll(pattern, "(*", "(\x00"))
		quoted = strings.ReplaceAll(strings.ReplaceAll(quoted, `\*`, ".*"), "\x00", `\*`)
		expr, err := regexp.Compile("^" + quoted + "$")
		if err != nil {
			return
		}
		if got, want := matches(pattern, name), expr.MatchString(name); got != want {
			t.Errorf("matches(%q, %q) = %v, want %v", pattern, name, got, want)
		}
	})
}
