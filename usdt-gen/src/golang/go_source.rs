//! The Go files: exported functions that test the semaphore, functions that fire the probe if it is
//! not zero, and empty functions for other platforms.

use super::comments::{list_item, paragraphs, wrapped};
use super::package::{ARCHITECTURES, GoProbe, OPT_OUT, TOOLCHAIN, Unit};
use crate::model::{Model, Type};
use stapsdt::blob;
use std::fmt::Write as _;

/// Size in bytes of the stack buffer for a C string. Longer strings are copied to the heap.
const CSTRING_BUFFER: usize = 256;

/// Returns the build constraint of files with probes. It is true for toolchains and platforms that
/// have stubs, unless the build tag `usdt_off` is set.
fn supported() -> String {
    format!("{TOOLCHAIN} && linux && ({ARCHITECTURES}) && {OPT_OUT}")
}

/// Returns `STEM.go`, which fires the probes.
pub(super) fn with_probes(model: &Model, unit: &Unit<'_>) -> String {
    let mut out = format!("{}//go:build {}\n\n", unit.header(), supported());
    write_package_clause(&mut out, model, unit);
    let touch = unit
        .uses(|ty| matches!(ty, Type::String | Type::Bytes | Type::Error | Type::Struct { .. }));
    let cstring = unit.uses(|ty| ty == Type::CString);
    let has_layout_checks = !unit.types.layout_checks.is_empty();
    let pointers = unit.uses(|ty| ty == Type::Pointer);
    let floats = unit.uses(|ty| matches!(ty, Type::Float { .. }));
    let durations = unit.uses(|ty| ty == Type::Duration);
    let injected = unit.package.injected;
    write_imports(
        &mut out,
        &[
            ("math", floats && !injected),
            ("time", durations && !injected),
            ("unsafe", touch || cstring || pointers || has_layout_checks || floats && injected),
        ],
    );
    let helpers = Helpers { suffix: &unit.helper_suffix };
    out.push_str(&unit.types.declarations);
    out.push_str(&unit.types.layout_checks);
    for probe in &unit.probes {
        write_exported_functions(&mut out, probe, unit);
        write_fire_function(&mut out, probe, unit, &helpers);
        write_assembly_declarations(&mut out, probe);
    }
    if touch {
        helpers.write_touch(&mut out);
    }
    if cstring {
        helpers.write_cstring(&mut out);
    }
    if unit.uses(|ty| ty == Type::Bool) {
        helpers.write_bool(&mut out);
    }
    if unit.uses(|ty| ty == Type::Error) {
        helpers.write_error_message(&mut out, injected);
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// Returns `STEM_other.go`, which has the same functions without probes.
pub(super) fn without_probes(unit: &Unit<'_>) -> String {
    let (header, package) = (unit.header(), unit.package.name);
    let mut out = format!("{header}//go:build !({})\n\npackage {package}\n\n", supported());
    let pointers =
        unit.uses(|ty| ty == Type::Pointer) || unit.types.declarations.contains("unsafe.");
    let durations = unit.uses(|ty| ty == Type::Duration);
    write_imports(&mut out, &[("time", durations), ("unsafe", pointers)]);
    out.push_str(&unit.types.declarations);
    for probe in &unit.probes {
        let name = &probe.name;
        let params = parameters(probe, unit);
        let _ =
            write!(out, "// {name} does nothing in this build.\nfunc {name}({params}) {{\n}}\n\n");
        if !params.is_empty() && unit.package.lazy_args {
            let _ = write!(
                out,
                "// {name}Func does nothing in this build.\nfunc {name}Func(args func(fire func({params}))) {{\n}}\n\n"
            );
        }
        let _ = write!(
            out,
            "// {name}Enabled reports false in this build.\nfunc {name}Enabled() bool {{\n\treturn false\n}}\n\n"
        );
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

impl Unit<'_> {
    /// True if the type of any argument matches the predicate.
    fn uses(&self, predicate: fn(Type) -> bool) -> bool {
        self.probes.iter().flat_map(|probe| &probe.probe.params).any(|param| predicate(param.ty))
    }
}

/// Writes an import declaration of the packages whose flag is true.
fn write_imports(out: &mut String, packages: &[(&str, bool)]) {
    let used: Vec<&str> =
        packages.iter().filter(|(_, used)| *used).map(|(name, _)| *name).collect();
    match used.as_slice() {
        [] => {}
        [one] => {
            let _ = write!(out, "import \"{one}\"\n\n");
        }
        several => {
            out.push_str("import (\n");
            for name in several {
                let _ = writeln!(out, "\t\"{name}\"");
            }
            out.push_str(")\n\n");
        }
    }
}

/// Writes the package clause, with documentation unless the files join an existing package.
fn write_package_clause(out: &mut String, model: &Model, unit: &Unit<'_>) {
    if !unit.package.prefix.is_empty() {
        let _ = write!(out, "package {}\n\n", unit.package.name);
        return;
    }
    let names: Vec<&str> = model.providers.keys().map(String::as_str).collect();
    let plural = if names.len() == 1 { "provider" } else { "providers" };
    let _ = writeln!(
        out,
        "// Package {} contains the static probes (USDT) of {plural} {}.",
        unit.package.name,
        names.join(", ")
    );
    for provider in model.providers.values() {
        paragraphs(out, &provider.doc);
    }
    out.push_str(
        "//\n// While no tracer is attached, a probe costs one load, one comparison and one branch. Build with\n\
         // go build -toolexec='usdt-gen toolexec' to add the ELF notes that bpftrace, perf and gdb read.\n",
    );
    let _ = write!(out, "package {}\n\n", unit.package.name);
}

/// Returns the Go type of an argument.
pub(super) fn go_type(ty: Type, unit: &Unit<'_>) -> String {
    match ty {
        Type::Enum { index, .. } => unit.type_names.enumeration(index).to_owned(),
        Type::Struct { index } => format!("*{}", unit.type_names.structure(index)),
        // Injected files import no `time`.
        Type::Duration if unit.package.injected => "int64".into(),
        _ => built_in_go_type(ty).unwrap_or_default(),
    }
}

/// Returns the Go type of an argument, or `None` if it depends on the declarations of a model.
pub(crate) fn built_in_go_type(ty: Type) -> Option<String> {
    let name = match ty {
        Type::Enum { .. } | Type::Struct { .. } => return None,
        Type::Int { size, signed } => {
            format!("{}int{}", if signed { "" } else { "u" }, u32::from(size) * 8)
        }
        Type::Uintptr => "uintptr".into(),
        Type::GoInt { signed } => if signed { "int" } else { "uint" }.into(),
        Type::Duration => "time.Duration".into(),
        Type::Float { size } => format!("float{}", u32::from(size) * 8),
        Type::Bool => "bool".into(),
        Type::CString | Type::String => "string".into(),
        Type::Bytes => "[]byte".into(),
        Type::Error => "error".into(),
        Type::Pointer => "unsafe.Pointer".into(),
    };
    Some(name)
}

/// Returns the parameters of the probe's Go functions, such as `id uint64, method, path string`.
pub(super) fn parameters(probe: &GoProbe<'_>, unit: &Unit<'_>) -> String {
    let types = probe.probe.params.iter().map(|param| go_type(param.ty, unit));
    group(probe.params.iter().cloned().zip(types))
}

/// Returns a Go parameter list in which consecutive parameters of the same type share it.
fn group(params: impl Iterator<Item = (String, String)>) -> String {
    let mut list = String::new();
    let mut params = params.peekable();
    while let Some((name, ty)) = params.next() {
        list.push_str(&name);
        match params.peek() {
            Some((_, next)) if *next == ty => list.push_str(", "),
            Some(_) => {
                let _ = write!(list, " {ty}, ");
            }
            None => {
                let _ = write!(list, " {ty}");
            }
        }
    }
    list
}

/// Returns the argument words that tracers see, such as `arg0 id, arg1 and arg2 method (pointer,
/// length)`.
fn tracer_view(probe: &GoProbe<'_>) -> String {
    let mut word = 0;
    let mut parts = Vec::new();
    for (name, param) in probe.params.iter().zip(&probe.probe.params) {
        parts.push(match param.ty {
            Type::String | Type::Bytes | Type::Error => {
                format!("arg{word} and arg{} {name} (pointer, length)", word + 1)
            }
            Type::CString => format!("arg{word} {name} (C string)"),
            Type::Float { .. } => format!("arg{word} {name} (IEEE 754 bits)"),
            Type::Duration => format!("arg{word} {name} (nanoseconds)"),
            Type::Struct { .. } => {
                format!("arg{word} {name} (pointer to {})", pointee(&param.spelling))
            }
            _ => format!("arg{word} {name}"),
        });
        word += param.ty.words();
    }
    parts.join(", ")
}

/// Returns the type that a pointer type points to: `struct conn` for `const struct conn *`.
fn pointee(spelling: &str) -> &str {
    let base = spelling.split('*').next().unwrap_or_default().trim();
    base.strip_prefix("const ").unwrap_or(base)
}

/// Writes the documentation of the arguments as a list.
fn write_argument_docs(out: &mut String, probe: &GoProbe<'_>) {
    if probe.probe.params.iter().all(|p| p.doc.is_empty()) {
        return;
    }
    out.push_str("//\n// Arguments:\n");
    for (name, param) in
        probe.params.iter().zip(&probe.probe.params).filter(|(_, p)| !p.doc.is_empty())
    {
        list_item(out, name, &param.doc);
    }
}

/// Writes the exported functions. They convert the semaphore to `uint32`, so the compiler loads and
/// tests a register, which pairs with the branch. Comparing with memory would take a cycle more in
/// a tight loop.
fn write_exported_functions(out: &mut String, probe: &GoProbe<'_>, unit: &Unit<'_>) {
    let (name, full, fire) = (&probe.name, probe.full_name(), probe.fire());
    let attached = format!("uint32({}.semaphore) != 0", probe.semaphore_blob());
    let params = parameters(probe, unit);
    let _ = writeln!(out, "// {name} fires the probe {full}.");
    paragraphs(out, &probe.probe.doc);
    write_argument_docs(out, probe);
    if !probe.params.is_empty() {
        out.push_str("//\n");
        wrapped(out, &format!("Tracers see {}.", tracer_view(probe)));
    }
    let directive = nosplit(probe, unit);
    if !directive.is_empty() {
        let _ = write!(out, "//\n{directive}");
    }
    let _ = write!(
        out,
        "func {name}({params}) {{\n\tif {attached} {{\n\t\t{fire}({})\n\t}}\n}}\n\n",
        probe.params.join(", ")
    );
    if !params.is_empty() && unit.package.lazy_args {
        wrapped(
            out,
            &format!(
                "{name}Func fires the probe {full} if a tracer is attached. Only then it calls args, which \
                 computes the arguments and passes them to fire."
            ),
        );
        let _ = write!(
            out,
            "func {name}Func(args func(fire func({params}))) {{\n\
             \tif {attached} {{\n\t\targs({fire})\n\t}}\n}}\n\n"
        );
    }
    let _ = write!(
        out,
        "// {name}Enabled reports whether a tracer is attached to {full}.\n\
         func {name}Enabled() bool {{\n\treturn {attached}\n}}\n\n"
    );
}

/// Writes the function that converts the arguments to words and calls the stub. It is out of line,
/// so that the exported functions stay small enough to be inlined.
fn write_fire_function(
    out: &mut String,
    probe: &GoProbe<'_>,
    unit: &Unit<'_>,
    helpers: &Helpers<'_>,
) {
    let mut statements = String::new();
    let mut words = Vec::new();
    for (i, (name, param)) in probe.params.iter().zip(&probe.probe.params).enumerate() {
        match param.ty {
            Type::Enum { signed, .. } => {
                words.push(format!("{}int64({name})", if signed { "" } else { "u" }));
            }
            Type::Struct { .. } => {
                let pointer = format!("(*byte)(unsafe.Pointer({name}))");
                let _ = writeln!(
                    statements,
                    "\t{}({pointer}, int(unsafe.Sizeof(*{name})))",
                    helpers.name("Touch")
                );
                words.push(format!("unsafe.Pointer({name})"));
            }
            Type::Int { signed: true, size } => words.push(convert("int64", name, size == 8)),
            Type::Int { signed: false, size } => words.push(convert("uint64", name, size == 8)),
            Type::GoInt { signed: true } | Type::Duration => words.push(format!("int64({name})")),
            Type::GoInt { signed: false } | Type::Uintptr => words.push(format!("uint64({name})")),
            Type::Float { size } if unit.package.injected => {
                words.push(format!("uint64(*(*uint{})(unsafe.Pointer(&{name})))", size * 8));
            }
            Type::Float { size: 4 } => words.push(format!("uint64(math.Float32bits({name}))")),
            Type::Float { .. } => words.push(format!("math.Float64bits({name})")),
            Type::Bool => words.push(format!("{}({name})", helpers.name("Bool"))),
            Type::CString => {
                let _ = writeln!(statements, "\tvar buf{i} [{CSTRING_BUFFER}]byte");
                words.push(format!(
                    "unsafe.Pointer({}(buf{i}[:], {name}))",
                    helpers.name("CString")
                ));
            }
            Type::String | Type::Bytes | Type::Error => {
                let data = if param.ty == Type::Bytes { "SliceData" } else { "StringData" };
                let mut value = name.clone();
                if param.ty == Type::Error {
                    value = format!("message{i}");
                    let _ = writeln!(
                        statements,
                        "\t{value} := {}({name})",
                        helpers.name("ErrorMessage")
                    );
                }
                let _ = writeln!(
                    statements,
                    "\t{}(unsafe.{data}({value}), len({value}))",
                    helpers.name("Touch")
                );
                words.push(format!("unsafe.Pointer(unsafe.{data}({value}))"));
                words.push(format!("uint64(len({value}))"));
            }
            Type::Pointer => words.push(name.clone()),
        }
    }
    let (fire, stub) = (probe.fire(), probe.stub());
    let _ = write!(
        out,
        "// {fire} fires the probe unconditionally.\n//\n{}//go:noinline\n\
         func {fire}({}) {{\n{statements}\t{stub}({})\n}}\n\n",
        nosplit(probe, unit),
        parameters(probe, unit),
        words.join(", ")
    );
}

/// Returns the directive for functions of package runtime, which fires probes where the stack must
/// not grow. It fires probes with strings only where the stack may grow.
fn nosplit(probe: &GoProbe<'_>, unit: &Unit<'_>) -> &'static str {
    if unit.package.runtime && !probe.has_strings() { "//go:nosplit\n" } else { "" }
}

/// Returns the expression that converts an integer to the type of a word. `is_word` is true if it
/// already has that type.
fn convert(word_type: &str, name: &str, is_word: bool) -> String {
    if is_word { name.to_owned() } else { format!("{word_type}({name})") }
}

/// Writes the Go declarations of the stub, the site and the blob, which are defined in assembly.
fn write_assembly_declarations(out: &mut String, probe: &GoProbe<'_>) {
    let words: Vec<&str> =
        probe.probe.params.iter().flat_map(|param| word_types(param.ty)).copied().collect();
    let params =
        group(words.iter().enumerate().map(|(word, ty)| (format!("arg{word}"), (*ty).to_owned())));
    // A function without parameters has nothing that could escape.
    let noescape = if words.is_empty() { "" } else { "//\n//go:noescape\n" };
    let stub = probe.stub();
    let _ = write!(
        out,
        "// {stub} loads the arguments into registers and jumps to the site.\n{noescape}func {stub}({params})\n\n"
    );
    // The linker of Go 1.21 requires a declaration of every assembly function.
    let site = probe.site();
    let _ = write!(out, "// {site} is the site that tracers attach to.\nfunc {site}()\n\n");
    let after = probe.data.blob_size().saturating_sub(blob::field::SEMAPHORE + 2);
    let _ = write!(
        out,
        "// {blob} is defined in assembly. The kernel counts the attached tracers in semaphore.\n\
         var {blob} struct {{\n\t_         [{}]byte\n\tsemaphore uint16\n\t_         [{after}]byte\n}}\n\n",
        blob::field::SEMAPHORE,
        blob = probe.blob()
    );
}

/// Returns the Go types of an argument's words, as the stub takes them.
fn word_types(ty: Type) -> &'static [&'static str] {
    match ty {
        ty if ty.signed() => &["int64"],
        Type::CString | Type::Pointer | Type::Struct { .. } => &["unsafe.Pointer"],
        Type::String | Type::Bytes | Type::Error => &["unsafe.Pointer", "uint64"],
        _ => &["uint64"],
    }
}

/// Writes functions that a file has once.
struct Helpers<'a> {
    /// Suffix of their names, see [`super::package::helper_suffix`].
    suffix: &'a str,
}

impl Helpers<'_> {
    fn name(&self, base: &str) -> String {
        format!("usdt{base}{}", self.suffix)
    }

    fn write_touch(&self, out: &mut String) {
        let _ = write!(
            out,
            "// {name} reads the first of n bytes at p and the last that a tracer copies, so that their pages are\n\
             // in memory when the tracer reads them: a tracer cannot wait for a page fault. It returns a value\n\
             // and is not inlined, so that the compiler keeps the reads.\n//\n//go:noinline\n\
             func {name}(p *byte, n int) byte {{\n\tif p == nil || n == 0 {{\n\t\treturn 0\n\t}}\n\
             \tif n > {max} {{\n\t\tn = {max}\n\t}}\n\
             \treturn *p ^ *(*byte)(unsafe.Add(unsafe.Pointer(p), n-1))\n}}\n\n",
            name = self.name("Touch"),
            max = stapsdt::schema::MAX_COPIED_STRING
        );
    }

    fn write_cstring(&self, out: &mut String) {
        let _ = write!(
            out,
            "// {name} returns a copy of s with a terminating NUL. It uses buf, which must be zero, or the heap\n\
             // if buf is too small.\n\
             func {name}(buf []byte, s string) *byte {{\n\tif len(s) >= len(buf) {{\n\
             \t\tbuf = make([]byte, len(s)+1)\n\t}}\n\tcopy(buf, s)\n\treturn &buf[0]\n}}\n\n",
            name = self.name("CString")
        );
    }

    fn write_bool(&self, out: &mut String) {
        let _ = write!(
            out,
            "// {name} returns 1 for true and 0 for false.\nfunc {name}(b bool) uint64 {{\n\
             \tif b {{\n\t\treturn 1\n\t}}\n\treturn 0\n}}\n\n",
            name = self.name("Bool")
        );
    }

    /// `guarded` is true if a panic in the method must not reach the program.
    fn write_error_message(&self, out: &mut String, guarded: bool) {
        let (result, guard) = if guarded {
            ("(message string)", "\tdefer func() { recover() }()\n")
        } else {
            ("string", "")
        };
        let _ = write!(
            out,
            "// {name} returns the message of err, or an empty string if err is nil.\n\
             func {name}(err error) {result} {{\n\
             \tif err == nil {{\n\t\treturn \"\"\n\t}}\n{guard}\treturn err.Error()\n}}\n\n",
            name = self.name("ErrorMessage")
        );
    }
}
