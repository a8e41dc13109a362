package main

import (
	"fmt"
	"go/types"
	"strconv"
	"strings"
)

// prefix starts the names of all declarations that are added to a package.
const prefix = "usdtInject"

// shown is how a value of a type is passed to a probe.
type shown struct {
	kind string
	// convert is a format with the expression as its argument.
	convert string
	// alias is the type of the converted value in generated code.
	alias string
	// suffix is appended to the names of parameters and results that are not shown as they are.
	suffix string
	// labels name values of an integer type with constants.
	labels []label
	// reason says why the value cannot be shown. The other fields are empty then.
	reason string
}

// basicKinds are the kinds of Go's basic types, with the suffix of the alias in generated code.
var basicKinds = map[types.BasicKind][2]string{
	types.Bool: {"bool", "Bool"}, types.UntypedBool: {"bool", "Bool"},
	types.Int: {"int", "Int"}, types.UntypedInt: {"int", "Int"},
	types.Int8: {"int8", "Int8"}, types.Int16: {"int16", "Int16"},
	types.Int32: {"int32", "Int32"}, types.UntypedRune: {"int32", "Int32"},
	types.Int64: {"int64", "Int64"},
	types.Uint:  {"uint", "Uint"}, types.Uint8: {"uint8", "Uint8"}, types.Uint16: {"uint16", "Uint16"},
	types.Uint32: {"uint32", "Uint32"}, types.Uint64: {"uint64", "Uint64"},
	types.Uintptr: {"uintptr", "Uintptr"},
	types.Float32: {"float32", "Float32"}, types.Float64: {"float64", "Float64"},
	types.UntypedFloat: {"float64", "Float64"},
	types.String:       {"string", "String"}, types.UntypedString: {"string", "String"},
}

// show returns how values of a type are passed to a probe.
func show(t types.Type) shown {
	if isTypeParam(t) {
		return shown{reason: "its type is a type parameter"}
	}
	if isNamed(t, "time", "Duration") {
		return converted("duration", "Int64")
	}
	if types.Identical(t, types.Universe.Lookup("error").Type()) {
		return shown{kind: "error", convert: "%s", alias: prefix + "Error"}
	}
	switch u := t.Underlying().(type) {
	case *types.Basic:
		if kind, ok := basicKinds[u.Kind()]; ok {
			how := converted(kind[0], kind[1])
			how.labels = constantLabels(t)
			return how
		}
		return shown{reason: fmt.Sprintf("values of type %s cannot be passed", u)}
	case *types.Slice:
		if elem, ok := u.Elem().Underlying().(*types.Basic); ok && elem.Kind() == types.Uint8 {
			if _, named := u.Elem().(*types.Basic); named || types.Identical(u.Elem(), elem) {
				return converted("bytes", "Bytes")
			}
		}
		return length()
	case *types.Map, *types.Chan:
		return length()
	case *types.Interface:
		return dynamicType()
	case *types.Pointer:
		return shown{reason: "it is a pointer; name a field, such as `%[1]s.Field`"}
	case *types.Struct:
		return shown{reason: "it is a struct; name a field, such as `%[1]s.Field`"}
	case *types.Array:
		return shown{reason: "it is an array; name an element, such as `%[1]s[0]`"}
	case *types.Signature:
		return shown{reason: "it is a function"}
	case *types.Tuple:
		return shown{reason: "it has " + strconv.Itoa(u.Len()) + " values"}
	}
	return shown{reason: "its type is not known"}
}

func converted(kind, alias string) shown {
	return shown{kind: kind, convert: prefix + alias + "(%s)", alias: prefix + alias}
}

// length shows a value by its length.
func length() shown {
	return shown{kind: "int", convert: "len(%s)", alias: prefix + "Int", suffix: "_len"}
}

// dynamicType shows an interface by the name of the type in it.
func dynamicType() shown {
	return shown{kind: "string", convert: prefix + "TypeName(%s)", alias: prefix + "String", suffix: "_type"}
}

// typeOf returns the type of what is shown of a value of type t.
func (s shown) typeOf(t types.Type) string {
	// Tools read brackets in a type of the schema as those of a C array.
	if name := spelling(t); s.suffix == "" && !strings.Contains(name, "[") {
		return name
	}
	return s.kind
}

// describe returns what is shown of an expression.
func (s shown) describe(expr string) string {
	switch s.suffix {
	case "_len":
		return "len(" + expr + ")"
	case "_type":
		return "type of " + expr
	}
	return expr
}

func isTypeParam(t types.Type) bool {
	_, ok := t.(*types.TypeParam)
	return ok
}

// isNamed reports whether t is the type path.name.
func isNamed(t types.Type, path, name string) bool {
	named, ok := t.(*types.Named)
	if !ok {
		return false
	}
	obj := named.Obj()
	return obj.Name() == name && obj.Pkg() != nil && obj.Pkg().Path() == path
}

// spelling returns a type as the schema shows it: with package names instead of paths.
func spelling(t types.Type) string {
	return types.TypeString(types.Default(t), func(p *types.Package) string { return p.Name() })
}

// words returns the number of argument words of a kind.
func words(kind string) int {
	switch kind {
	case "string", "bytes", "error":
		return 2
	}
	return 1
}

// predeclared are the identifiers that generated code uses. A package that declares one of them
// cannot have probes.
var predeclared = []string{
	"bool", "byte", "error", "false", "float32", "float64", "int", "int16", "int32", "int64", "int8",
	"len", "nil", "recover", "string", "true", "uint", "uint16", "uint32", "uint64", "uint8", "uintptr",
}
