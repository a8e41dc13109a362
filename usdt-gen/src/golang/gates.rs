//! The Go side: exported gates, their out-of-line halves, and the no-op form for other platforms.

use super::comments::{comment, paragraphs, wrapped};
use super::identifiers::exported;
use super::package::{ARCHITECTURES, GoProbe, OPT_OUT, TOOLCHAIN, Unit};
use crate::model::{Model, Type};
use stapsdt::blob;
use std::fmt::Write as _;

/// Stack buffer for C strings; longer ones are copied to the heap.
const CSTRING_BUFFER: usize = 256;

/// The build constraint of toolchains and platforms that have stubs, unless the build asks for none.
fn supported() -> String {
    format!("{TOOLCHAIN} && linux && ({ARCHITECTURES}) && {OPT_OUT}")
}

/// `STEM.go`.
pub(super) fn linux(model: &Model, unit: &Unit<'_>) -> String {
    let mut out = format!("{}//go:build {}\n\n", unit.header(), supported());
    package_doc(&mut out, model, unit);
    let uses = |pred: fn(Type) -> bool| {
        unit.probes.iter().flat_map(|p| &p.probe.params).any(|p| pred(p.ty))
    };
    let touches =
        uses(|t| matches!(t, Type::String | Type::Bytes | Type::Error | Type::Struct { .. }));
    let cstrings = uses(|t| t == Type::CString);
    let pointers =
        touches || cstrings || uses(|t| t == Type::Pointer) || !unit.types.proof.is_empty();
    let floats = uses(|t| matches!(t, Type::Float { .. }));
    let durations = uses(|t| t == Type::Duration);
    imports(&mut out, &[("math", floats), ("time", durations), ("unsafe", pointers)]);
    let helpers = Helpers { stem: exported(unit.stem) };
    out.push_str(&unit.types.text);
    out.push_str(&unit.types.proof);
    for probe in &unit.probes {
        gate(&mut out, probe, unit);
        fire(&mut out, probe, unit, &helpers);
        stub_and_blob(&mut out, probe);
    }
    if touches {
        helpers.touch(&mut out);
    }
    if cstrings {
        helpers.cstring(&mut out);
    }
    if uses(|t| t == Type::Bool) {
        helpers.boolean(&mut out);
    }
    if uses(|t| t == Type::Error) {
        helpers.error(&mut out);
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// `STEM_other.go`: the same API where there are no stubs.
pub(super) fn other(unit: &Unit<'_>) -> String {
    let (header, package) = (unit.header(), unit.package.name);
    let mut out = format!("{header}//go:build !({})\n\npackage {package}\n\n", supported());
    let uses = |ty: Type| unit.probes.iter().flat_map(|p| &p.probe.params).any(|p| p.ty == ty);
    let pointers = uses(Type::Pointer) || unit.types.text.contains("unsafe.");
    imports(&mut out, &[("time", uses(Type::Duration)), ("unsafe", pointers)]);
    out.push_str(&unit.types.text);
    for probe in &unit.probes {
        let name = &probe.name;
        let params = signature(probe, unit);
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

/// An import declaration of the packages that are used.
fn imports(out: &mut String, packages: &[(&str, bool)]) {
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

fn package_doc(out: &mut String, model: &Model, unit: &Unit<'_>) {
    if !unit.package.prefix.is_empty() {
        let _ = write!(out, "package {}\n\n", unit.package.name);
        return;
    }
    let names: Vec<&str> = model.providers.keys().map(String::as_str).collect();
    let plural = if names.len() == 1 { "provider" } else { "providers" };
    let _ = writeln!(
        out,
        "// Package {} holds the static probes (USDT) of {plural} {}.",
        unit.package.name,
        names.join(", ")
    );
    for provider in model.providers.values().filter(|p| !p.doc.is_empty()) {
        out.push_str("//\n");
        comment(out, &provider.doc);
    }
    out.push_str(
        "//\n// A probe costs one load, compare and branch until a tracer attaches to it. Seal binaries with\n\
         // go build -toolexec='usdt-gen toolexec' so that every tracer finds the probes.\n",
    );
    let _ = write!(out, "package {}\n\n", unit.package.name);
}

fn go_type(ty: Type, unit: &Unit<'_>) -> String {
    match ty {
        Type::Enum { index, .. } => unit.type_names.enumeration(index).to_owned(),
        Type::Struct { index } => format!("*{}", unit.type_names.structure(index)),
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
    }
}

fn signature(probe: &GoProbe<'_>, unit: &Unit<'_>) -> String {
    let params: Vec<String> = probe
        .params
        .iter()
        .zip(&probe.probe.params)
        .map(|(name, p)| format!("{name} {}", go_type(p.ty, unit)))
        .collect();
    params.join(", ")
}

/// What tracers see, as documentation: `arg0 id, arg1 and arg2 method (pointer, length)`.
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

/// `const struct conn *` → `struct conn`.
fn pointee(spelling: &str) -> &str {
    let base = spelling.split('*').next().unwrap_or_default().trim();
    base.strip_prefix("const ").unwrap_or(base)
}

/// What the definition says of the arguments.
fn argument_docs(out: &mut String, probe: &GoProbe<'_>) {
    if probe.probe.params.iter().all(|p| p.doc.is_empty()) {
        return;
    }
    out.push_str("//\n// Arguments:\n");
    for (name, param) in
        probe.params.iter().zip(&probe.probe.params).filter(|(_, p)| !p.doc.is_empty())
    {
        let text: Vec<&str> = param.doc.lines().filter(|l| !l.is_empty()).collect();
        let _ = writeln!(out, "//   - {name}: {}", text.join("\n//     "));
    }
}

/// The exported functions. Widening the semaphore makes the compiler load it and test a register, two instructions
/// that pair with the branch, where it would compare with memory: a cycle less in a tight loop.
fn gate(out: &mut String, probe: &GoProbe<'_>, unit: &Unit<'_>) {
    let (name, full, gate, fire) = (&probe.name, probe.full_name(), probe.gate(), probe.fire());
    let params = signature(probe, unit);
    let _ = writeln!(out, "// {name} fires the probe {full}.");
    paragraphs(out, &probe.probe.doc);
    argument_docs(out, probe);
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
        "func {name}({params}) {{\n\tif uint32({gate}.semaphore) != 0 {{\n\t\t{fire}({})\n\t}}\n}}\n\n",
        probe.params.join(", ")
    );
    if !params.is_empty() && unit.package.lazy_args {
        let _ = write!(
            out,
            "// {name}Func fires the probe {full} with arguments that args computes and passes to fire.\n\
             // It calls args only while a tracer is attached.\n\
             func {name}Func(args func(fire func({params}))) {{\n\
             \tif uint32({gate}.semaphore) != 0 {{\n\t\targs({fire})\n\t}}\n}}\n\n"
        );
    }
    let _ = write!(
        out,
        "// {name}Enabled reports whether a tracer is attached to {full}.\n\
         func {name}Enabled() bool {{\n\treturn uint32({gate}.semaphore) != 0\n}}\n\n"
    );
}

fn fire(out: &mut String, probe: &GoProbe<'_>, unit: &Unit<'_>, helpers: &Helpers) {
    let mut before = String::new();
    let mut words = Vec::new();
    for (i, (name, param)) in probe.params.iter().zip(&probe.probe.params).enumerate() {
        match param.ty {
            Type::Enum { signed, .. } => {
                words.push(format!("{}int64({name})", if signed { "" } else { "u" }));
            }
            Type::Struct { .. } => {
                let pointer = format!("(*byte)(unsafe.Pointer({name}))");
                let _ = writeln!(
                    before,
                    "\t{}({pointer}, int(unsafe.Sizeof(*{name})))",
                    helpers.name("Touch")
                );
                words.push(format!("unsafe.Pointer({name})"));
            }
            Type::Int { signed: true, size } => words.push(convert("int64", name, size == 8)),
            Type::Int { signed: false, size } => words.push(convert("uint64", name, size == 8)),
            Type::GoInt { signed: true } | Type::Duration => words.push(format!("int64({name})")),
            Type::GoInt { signed: false } | Type::Uintptr => words.push(format!("uint64({name})")),
            Type::Float { size: 4 } => words.push(format!("uint64(math.Float32bits({name}))")),
            Type::Float { .. } => words.push(format!("math.Float64bits({name})")),
            Type::Bool => words.push(format!("{}({name})", helpers.name("Bool"))),
            Type::CString => {
                let _ = writeln!(before, "\tvar buf{i} [{CSTRING_BUFFER}]byte");
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
                    let _ = writeln!(before, "\t{value} := {}({name})", helpers.name("Error"));
                }
                let _ = writeln!(
                    before,
                    "\t{}(unsafe.{data}({value}), len({value}))",
                    helpers.name("Touch")
                );
                words.push(format!("unsafe.Pointer(unsafe.{data}({value}))"));
                words.push(format!("uint64(len({value}))"));
            }
            Type::Pointer => words.push(name.clone()),
        }
    }
    let _ = write!(
        out,
        "{}//go:noinline\nfunc {}({}) {{\n{before}\t{}({})\n}}\n\n",
        nosplit(probe, unit),
        probe.fire(),
        signature(probe, unit),
        probe.stub(),
        words.join(", ")
    );
}

/// The runtime fires where a stack must not grow. It fires with strings elsewhere only.
fn nosplit(probe: &GoProbe<'_>, unit: &Unit<'_>) -> &'static str {
    if unit.package.runtime && !probe.has_strings() { "//go:nosplit\n" } else { "" }
}

fn convert(to: &str, name: &str, same: bool) -> String {
    if same { name.to_owned() } else { format!("{to}({name})") }
}

fn stub_and_blob(out: &mut String, probe: &GoProbe<'_>) {
    let mut params = Vec::new();
    let mut arg = |ty: &str| params.push(format!("arg{} {ty}", params.len()));
    for param in &probe.probe.params {
        match param.ty {
            ty if ty.signed() => arg("int64"),
            Type::CString | Type::Pointer | Type::Struct { .. } => arg("unsafe.Pointer"),
            Type::String | Type::Bytes | Type::Error => {
                arg("unsafe.Pointer");
                arg("uint64");
            }
            _ => arg("uint64"),
        }
    }
    // Without pointers there is nothing to escape, and the compiler says so.
    let noescape = if params.is_empty() { "" } else { "//go:noescape\n" };
    let _ = write!(out, "{noescape}func {}({})\n\n", probe.stub(), params.join(", "));
    // Go 1.21's linker wants a declaration of every assembly function.
    let _ = write!(out, "func {}()\n\n", probe.site());
    let size = probe.data.blob_size();
    let after = size.saturating_sub(blob::field::SEMAPHORE + 2);
    let _ = write!(
        out,
        "// {blob} is defined in assembly; the kernel counts the attached tracers in semaphore.\n\
         var {blob} struct {{\n\t_         [{}]byte\n\tsemaphore uint16\n\t_         [{after}]byte\n}}\n\n",
        blob::field::SEMAPHORE,
        blob = probe.blob()
    );
}

/// Functions that the package needs once; named after the file, as one package may hold several.
struct Helpers {
    stem: String,
}

impl Helpers {
    fn name(&self, what: &str) -> String {
        format!("usdt{what}{}", self.stem)
    }

    fn touch(&self, out: &mut String) {
        let _ = write!(
            out,
            "// {name} reads the first and the last byte, so that their pages are present when a tracer,\n\
             // which cannot wait for them, reads the string.\n//\n//go:noinline\n\
             func {name}(p *byte, n int) byte {{\n\tif p == nil || n == 0 {{\n\t\treturn 0\n\t}}\n\
             \treturn *p ^ *(*byte)(unsafe.Add(unsafe.Pointer(p), n-1))\n}}\n\n",
            name = self.name("Touch")
        );
    }

    fn cstring(&self, out: &mut String) {
        let _ = write!(
            out,
            "// {name} copies s, NUL-terminated, into buf, which is zero, or to the heap where it does not fit.\n\
             func {name}(buf []byte, s string) *byte {{\n\tif len(s) >= len(buf) {{\n\
             \t\tbuf = make([]byte, len(s)+1)\n\t}}\n\tcopy(buf, s)\n\treturn &buf[0]\n}}\n\n",
            name = self.name("CString")
        );
    }

    fn boolean(&self, out: &mut String) {
        let _ = write!(
            out,
            "func {}(b bool) uint64 {{\n\tif b {{\n\t\treturn 1\n\t}}\n\treturn 0\n}}\n\n",
            self.name("Bool")
        );
    }

    fn error(&self, out: &mut String) {
        let _ = write!(
            out,
            "// {name} is the error's message; nil has none.\nfunc {name}(err error) string {{\n\
             \tif err == nil {{\n\t\treturn \"\"\n\t}}\n\treturn err.Error()\n}}\n\n",
            name = self.name("Error")
        );
    }
}
