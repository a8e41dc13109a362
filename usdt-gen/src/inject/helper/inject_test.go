package main

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// importConfig writes the import configuration of standard packages, as the go command does for
// the compiler.
func importConfig(t *testing.T, packages ...string) string {
	t.Helper()
	args := append([]string{"list", "-export", "-deps", "-f", "{{if .Export}}packagefile {{.ImportPath}}={{.Export}}{{end}}"}, packages...)
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return write(t, "importcfg", string(out))
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// injected runs inject on one file and checks that Go accepts the result.
func injected(t *testing.T, source string, rules ...rule) (*response, string) {
	t.Helper()
	config := importConfig(t, "errors", "fmt", "context", "net/url", "time")
	res, err := inject(request{
		Package: "p", Files: []string{write(t, "p.go", source)}, ImportConfig: config,
		GOARCH: "amd64", GOROOT: runtime.GOROOT(), Rules: rules,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Files) == 0 {
		return res, ""
	}
	// The stubs that usdt-gen generates.
	stubs := "package p\n"
	types := map[string]string{
		"duration": "int64", "bytes": "[]byte",
	}
	for _, f := range res.Functions {
		for suffix, values := range map[string][]value{"__entry": f.Entry, "__return": f.Return} {
			var params []string
			for _, v := range values {
				kind := types[v.Kind]
				if kind == "" {
					kind = v.Kind
				}
				params = append(params, v.Name+"_ "+kind)
			}
			name := prefix + f.Probe + suffix
			stubs += "func " + name + "(" + strings.Join(params, ", ") + ") {}\nfunc " + name + "Enabled() bool { return false }\n"
		}
	}
	check(t, config, res.Files[0].Text, res.Support, stubs)
	return res, res.Files[0].Text
}

// check fails unless Go accepts the files as a package of Go 1.17.
func check(t *testing.T, config string, sources ...string) {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	for _, source := range sources {
		file, err := parser.ParseFile(fset, "p.go", source, parser.ParseComments)
		if err != nil {
			t.Fatalf("%v\n%s", err, source)
		}
		files = append(files, file)
	}
	lookup, err := exportData(config)
	if err != nil {
		t.Fatal(err)
	}
	version := "go1.17"
	if strings.Contains(sources[0], "[T any]") {
		version = "go1.18"
	}
	conf := types.Config{Importer: importer.ForCompiler(fset, "gc", lookup), GoVersion: version}
	if _, err := conf.Check("p", fset, files, nil); err != nil {
		t.Errorf("%v\n%s", err, strings.Join(sources[:1], "\n"))
	}
}

func names(values []value) string {
	var all []string
	for _, v := range values {
		all = append(all, v.Name+" "+v.Kind)
	}
	return strings.Join(all, ", ")
}

func expressions(pairs ...string) *[]argument {
	list := []argument{}
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, argument{pairs[i], pairs[i+1]})
	}
	return &list
}

const header = "package p\n\nimport (\n\t\"context\"\n\t\"fmt\"\n\t\"net/url\"\n\t\"time\"\n)\n\nvar _ context.Context\nvar _ = fmt.Sprint\nvar _ url.URL\nvar _ time.Duration\n\n"

func TestShowsParametersAndResults(t *testing.T) {
	res, _ := injected(t, header+`type key string
func (k key) F(a int8, b []byte, c map[string]int, d error, e fmt.Stringer, f *int, g struct{}, h time.Duration, ctx context.Context, _ int) (int, error) {
	fmt.Println()
	return 1, nil
}
`, rule{Name: "*"})
	f := res.Functions[0]
	if got := names(f.Entry); got != "k string, a int8, b bytes, c_len int, d_type string, e_type string, h duration" {
		t.Errorf("entry shows %s", got)
	}
	if got := names(f.Return); got != "r0 int, err error, panicked bool, duration_ns duration" {
		t.Errorf("return shows %s", got)
	}
	var hidden []string
	for _, h := range f.Hidden {
		hidden = append(hidden, h.Name)
	}
	if got := strings.Join(hidden, " "); got != "f g ctx" {
		t.Errorf("hidden: %s", got)
	}
}

func TestRewritesEveryKindOfSignature(t *testing.T) {
	body := " { fmt.Println(); "
	for _, form := range []string{"defer", "copy"} {
		for _, source := range []string{
			"func f() {}",
			"func f() {\n\tfmt.Println()\n}",
			"func f(int, string) (int)" + body + "return 1 }",
			"func f(_ int, _, b string) (_ int, err error)" + body + "return 1, nil }",
			"func f(a ...int) int" + body + "return len(a) }",
			"func f(a, b int) (x, y int)" + body + "x = a; return }",
			"func f(url *url.URL) *url.URL" + body + "return url }",
			"func f(string, int bool) (len error)" + body + "return }",
			"type t struct{}\nfunc (t) f(a int) int" + body + "return a }",
			"type t struct{}\nfunc (_ *t) f(a int) func(int) (int, error)" + body + "return nil }",
			"func f(len int, list []int, m map[string]int) []int" + body + "return list }",
			"func f() interface{ m() }" + body + "return nil }",
			"func f[T any](a T, n int) (T, int)" + body + "return a, n }",
			"type t[T any] struct{}\nfunc (s *t[T]) f(a T, n int) (T, int)" + body + "return a, n }",
		} {
			source = header + strings.Replace(source, "[T any]", "[T any]", 1) + "\n"
			res, text := injected(t, source, rule{Name: "*f", Form: form}, rule{Name: "f", Form: form})
			if len(res.Functions) != 1 || res.Functions[0].Form != form || len(res.Problems) != 0 {
				t.Errorf("%s: %+v", source, res)
			}
			// The directive on top and the copies at the end are lines of their own.
			if !strings.HasPrefix(text, "//line ") || form == "defer" && strings.Count(text, "\n") != strings.Count(source, "\n")+1 {
				t.Errorf("lines moved:\n%s", text)
			}
		}
	}
}

func TestExpressionsCannotPanic(t *testing.T) {
	source := header + `type r struct { u *url.URL; list []int; next *r; table map[string]int }
func (x *r) size() int { fmt.Println(); return len(x.list) }
func F(a *r, s fmt.Stringer, n int) (*r, error) { fmt.Println(); return nil, nil }
`
	_, text := injected(t, source, rule{Name: "F",
		Args:    expressions("path", "a.u.Path", "size", "a.size()", "item", "a.list[n]", "text", "s.String()", "sum", "n + 1", "both", "a.next.u.Path == a.u.Path", "ratio", "n / 2"),
		Returns: expressions("next", "len(r0.list)", "code", "err.Error()"),
	})
	for _, part := range []string{
		"if a != nil && a.u != nil { usdtInjectV_path = usdtInjectString((a.u.Path)) }",
		"func(a *r) (usdtInjectV_size usdtInjectInt) { defer usdtInjectCatch(); usdtInjectV_size = usdtInjectInt((a.size())); return }(a)",
		"func(a *r, n int) (usdtInjectV_item usdtInjectInt) { defer usdtInjectCatch();",
		"usdtInjectInt((n + 1))",
		"if usdtInjectR0 != nil { usdtInjectV_next = usdtInjectInt((len(usdtInjectR0.list))) }",
		"usdtInjectString((usdtInjectR1.Error()))",
		"func(n int) (usdtInjectV_ratio usdtInjectInt) { defer usdtInjectCatch();",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
}

func TestAParameterMayHideAPredeclaredName(t *testing.T) {
	source := header + "type r struct { n int; list []int }\nfunc F(len, nil int, a *r, b []int) { fmt.Println() }\n"
	res, _ := injected(t, source, rule{Name: "F"})
	if got := names(res.Functions[0].Entry); got != "len int, nil int" {
		t.Errorf("entry shows %s", got)
	}
	_, text := injected(t, source, rule{Name: "F", Args: expressions("n", "a.n")})
	if !strings.Contains(text, "usdtInjectV_n = usdtInjectInt((a.n)); return }(a)") {
		t.Error("the expression is not under a recover:\n" + text)
	}
	res, _ = injected(t, source, rule{Name: "F", Args: expressions("n", "a.list")})
	if len(res.Problems) != 1 || !strings.Contains(res.Problems[0].Message, "`len`") {
		t.Errorf("problems: %+v", res.Problems)
	}
}

func TestMistakesInExpressionsHaveAPosition(t *testing.T) {
	source := header + "type r struct { m map[int]int; u *url.URL }\nfunc F(a *r, ch chan int) (n int, err error) { fmt.Println(); return }\n"
	for _, c := range []struct {
		args, returns  string
		offset, length int
		message        string
	}{
		{"len(b)", "", 4, 0, "undefined: b"},
		{"a.", "", 2, 0, "expected selector"},
		{"a.u.Nope", "", 4, 0, "a.u.Nope undefined"},
		{"a.u", "", 0, 3, "name a field, such as `a.u.Field`"},
		{"len(a.m) + a.m[1]", "", 11, 6, "reading a map"},
		{"<-ch", "", 0, 4, "receiving from a channel"},
		{"n", "", 0, 1, "`n` is a result"},
		{"", "func() int { return 1 }()", 0, 23, "function literals"},
		{"len(F(a, ch))", "", 0, 0, ""},
	} {
		r := rule{ID: 7, Name: "F"}
		if c.args != "" {
			r.Args = expressions("x", c.args)
		} else {
			r.Returns = expressions("x", c.returns)
		}
		res, text := injected(t, source, r)
		if text != "" || len(res.Problems) == 0 {
			t.Errorf("%+v: no problem", c)
			continue
		}
		p := res.Problems[0]
		if p.Rule != 7 || !strings.Contains(p.Message, c.message) || c.message != "" && (p.Offset != c.offset || p.Length != c.length) {
			t.Errorf("%+v: %+v", c, p)
		}
	}
}

func TestChoosesTheFormByTheCompilersLimits(t *testing.T) {
	returns := func(count int) string { return strings.Repeat("\tif n == 1 { return 1 }\n", count-1) + "\treturn 0\n" }
	const deferred = "\tdefer fmt.Println()\n"
	for _, c := range []struct{ body, form string }{
		{returns(16), "copy"},
		{returns(15), "defer"},
		{deferred + returns(8), "copy"},
		// Defers are not open-coded anyway, so one more changes nothing.
		{deferred + returns(16), "defer"},
		{"\tfor { defer fmt.Println() }\n", "defer"},
		// The body must stay in the function.
		{"\trecover()\n" + returns(16), "defer"},
		{"\ttype local int\n" + returns(16), "defer"},
		{strings.Repeat(deferred, 8) + "\treturn 0\n", "copy"},
	} {
		res, _ := injected(t, header+"func F(n int) int {\n"+c.body+"}\n", rule{Name: "F"})
		if got := res.Functions[0].Form; got != c.form {
			t.Errorf("form %s, want %s:\n%s", got, c.form, c.body)
		}
	}
}

func TestLeavesOutFunctionsThatCannotFire(t *testing.T) {
	source := strings.Replace(header, "import (", "import (\n\t_ \"unsafe\"", 1) + `
func init() { fmt.Println() }
func noBody()
//go:nosplit
func noSplit() { fmt.Println() }
//go:linkname linked
func linked() { fmt.Println() }
func small(a int) int { return a }
func large() { fmt.Println() }
`
	res, _ := injected(t, source, rule{Name: "*"})
	reasons := map[string]string{}
	for _, s := range res.Skipped {
		reasons[s.Name] = s.Reason
	}
	for name, part := range map[string]string{
		"init": "init function", "noBody": "no body", "noSplit": "nosplit", "linked": "linkname", "small": "inlines",
	} {
		if !strings.Contains(reasons[name], part) {
			t.Errorf("%s: %q", name, reasons[name])
		}
	}
	if len(res.Functions) != 1 || res.Functions[0].Name != "large" {
		t.Errorf("functions: %+v", res.Functions)
	}
	res, _ = injected(t, source, rule{Name: "small"})
	if len(res.Functions) != 1 || len(res.Functions[0].Notes) != 1 {
		t.Errorf("a function that is named exactly: %+v", res)
	}
}

func TestRefusesPackagesThatGeneratedCodeDoesNotWorkIn(t *testing.T) {
	res, _ := injected(t, "package p\n\ntype string int\n\nfunc F() { print(1) }\n", rule{Name: "F"})
	if !strings.Contains(res.Refused, "`string`") {
		t.Errorf("refused: %q", res.Refused)
	}
	goroot := runtime.GOROOT()
	for path, want := range map[string]bool{
		"runtime": true, "internal/abi": true, "strconv": false, "net/http": false, "example.com/runtime": false, "sync": false,
	} {
		if got := inRuntime(goroot, path); got != want {
			t.Errorf("inRuntime(%s) = %v", path, got)
		}
	}
	if got := panicOffset(goroot); got != 32 {
		t.Errorf("panicOffset = %d", got)
	}
}

func TestProbeNamesAreUnique(t *testing.T) {
	res, _ := injected(t, header+"type T struct{}\nfunc T_F() { fmt.Println() }\nfunc (T) F() { fmt.Println() }\nfunc Größe() { fmt.Println() }\n", rule{Name: "*"})
	var got []string
	for _, f := range res.Functions {
		got = append(got, f.Probe)
	}
	if strings.Join(got, " ") != "T_F T_F_2 Gr__e" {
		t.Errorf("probes: %s", got)
	}
	res, _ = injected(t, header+"func A() { fmt.Println() }\nfunc B() { fmt.Println() }\n", rule{Name: "*", Probe: "x"})
	if len(res.Problems) != 1 || res.Problems[0].Field != "name" {
		t.Errorf("problems: %+v", res.Problems)
	}
}
