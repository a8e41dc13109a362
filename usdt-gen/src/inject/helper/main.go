// Command inject rewrites the Go files of one package so that chosen functions fire probes.
//
// usdt-gen runs it in the place of a compilation: it reads a request as JSON from standard input
// and writes the rewritten files, and a description of the probes, as JSON to standard output.
// usdt-gen builds it with the user's toolchain, because only that toolchain's go/importer reliably
// reads the export data of its own compiler.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// A request names the files of a package, and the rules that apply to it.
type request struct {
	// Package is the path that the compiler gives the package: "main" for programs.
	Package string `json:"package"`
	// Files are the Go files on the compiler's command line.
	Files []string `json:"files"`
	// ImportConfig is the compiler's -importcfg file, which names the export data of imports.
	ImportConfig string `json:"import_config"`
	// GOARCH is the architecture that the package is compiled for.
	GOARCH string `json:"goarch"`
	// GOROOT is the root directory of the toolchain.
	GOROOT string `json:"goroot"`
	Rules  []rule `json:"rules"`
}

// A rule chooses functions, and what their probes show.
type rule struct {
	// ID identifies the rule in the response.
	ID int `json:"id"`
	// Name is a pattern of names without the package, such as "(*Store).Get" or "*Handler".
	Name string `json:"name"`
	// Exclude has patterns of names that the rule leaves out.
	Exclude []string `json:"exclude"`
	// Probe replaces the name that is derived from the function's name. It may be empty.
	Probe string `json:"probe"`
	// Provider replaces the package's name. It may be empty.
	Provider string `json:"provider"`
	// Form is "defer", "copy" or empty, which chooses one of them.
	Form string `json:"form"`
	// Optional is true if the rule may be for another version of the package. Arguments that do not
	// fit are hidden.
	Optional bool `json:"optional"`
	// Args and Returns are shown instead of the parameters and results, unless they are null.
	Args    *[]argument `json:"args"`
	Returns *[]argument `json:"returns"`
}

// An argument is a Go expression with a name.
type argument struct {
	Name string `json:"name"`
	Expr string `json:"expr"`
}

// A response describes what was, or would be, injected.
type response struct {
	// PackageName is the name in the package clause.
	PackageName string `json:"package_name"`
	// Refused is the reason why no function of the package can have probes. It is usually empty.
	Refused string `json:"refused"`
	// Files has the changed files only.
	Files []changedFile `json:"files"`
	// Support is a Go file for the package. It is empty if no function fires probes.
	Support string `json:"support"`
	// PanicOffset is the offset of the innermost panic in the runtime's type g. It is zero if it
	// is not known, and then the probes do not have the argument panicked.
	PanicOffset int        `json:"panic_offset"`
	Functions   []function `json:"functions"`
	// Skipped are functions that a rule matches and that cannot have probes.
	Skipped  []skipped `json:"skipped"`
	Problems []problem `json:"problems"`
	// Names are those of all functions of the package, for suggestions.
	Names []string `json:"names"`
}

type changedFile struct {
	// Index is that of the original in the request.
	Index int    `json:"index"`
	Text  string `json:"text"`
}

// A function has an entry and a return probe.
type function struct {
	Rule int `json:"rule"`
	// Name is the function's name without the package, as tracebacks print it.
	Name     string  `json:"name"`
	File     string  `json:"file"`
	Line     int     `json:"line"`
	Provider string  `json:"provider"`
	Probe    string  `json:"probe"`
	Form     string  `json:"form"`
	Entry    []value `json:"entry"`
	Return   []value `json:"return"`
	// Hidden says what the probes do not show, and why.
	Hidden []hidden `json:"hidden"`
	// Notes say what the user should know about this function.
	Notes []string `json:"notes"`
}

// A value is an argument of a probe.
type value struct {
	Name string `json:"name"`
	// Kind is how the value is passed: "int32", "string", "bytes", "error", "duration".
	Kind string `json:"kind"`
	// Type is the Go type, such as store.Key.
	Type string `json:"type"`
	// Expr is what the user wrote, or the name of the parameter or result.
	Expr string `json:"expr"`
	// Labels name values of an integer type with constants.
	Labels []label `json:"labels,omitempty"`
	// code is the Go expression that is passed to the probe.
	code string
	// setup are statements that come before the probe fires. It may be empty.
	setup string
}

type hidden struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

type skipped struct {
	Rule   int    `json:"rule"`
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// A problem is a mistake in a rule.
type problem struct {
	Rule int `json:"rule"`
	// Field is "func", "name", "form", or "args" or "returns" with the name of the argument after
	// a dot.
	Field string `json:"field"`
	// Offset and Length locate the mistake in the expression, in bytes. Length is zero if the
	// whole value is meant.
	Offset  int    `json:"offset"`
	Length  int    `json:"length"`
	Message string `json:"message"`
}

func main() {
	var req request
	if err := json.NewDecoder(os.Stdin).Decode(&req); err != nil {
		fail(fmt.Errorf("reading the request: %w", err))
	}
	res, err := inject(req)
	if err != nil {
		fail(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(res); err != nil {
		fail(fmt.Errorf("writing the response: %w", err))
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
