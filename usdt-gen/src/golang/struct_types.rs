//! Go types with C's layout for the structs that arguments point to, and typed constants for enums.
//!
//! Go lays structs out as C does on both platforms as long as every member has its natural alignment. What has no
//! such member in Go, unions and bit-fields, is bytes with accessors. The compiler proves sizes and offsets.

use super::comments::paragraphs;
use super::identifiers::{Taken, exported};
use crate::model::{BitField, Enum, Enumerator, Field, FieldType, Model, Struct, StructName};
use std::collections::HashSet;
use std::fmt::Write as _;

/// Go names of a model's types, by index.
pub(super) struct TypeNames {
    pub(super) enums: Vec<String>,
    pub(super) structs: Vec<String>,
}

impl TypeNames {
    /// Names that are free: functions of probes come first, as their names must not change with a type's.
    pub(super) fn assign(model: &Model, taken: &mut Taken) -> TypeNames {
        let plain = |name: &str| exported(name.strip_suffix("_t").unwrap_or(name));
        let enums = model.enums.iter().map(|e| taken.free(&plain(&e.name))).collect();
        let mut structs: Vec<Option<String>> = vec![None; model.structs.len()];
        // Members' types are named after the struct that has them, which stands behind them.
        for (at, s) in model.structs.iter().enumerate().rev() {
            let name = match &s.name {
                StructName::Tag(name) | StructName::Typedef(name) => plain(name),
                StructName::Member { parent, field } => {
                    let outer = structs.get(*parent).and_then(Clone::clone).unwrap_or_default();
                    let member = model.structs.get(*parent).and_then(|p| p.fields.get(*field));
                    match member.and_then(|f| f.name.as_ref()) {
                        Some(name) => format!("{outer}{}", exported(name)),
                        None => {
                            format!("{outer}{}{field}", if s.is_union { "Union" } else { "Struct" })
                        }
                    }
                }
            };
            if let Some(slot) = structs.get_mut(at) {
                *slot = Some(taken.free(&name));
            }
        }
        TypeNames { enums, structs: structs.into_iter().map(Option::unwrap_or_default).collect() }
    }

    pub(super) fn structure(&self, at: usize) -> &str {
        self.structs.get(at).map_or("", String::as_str)
    }

    pub(super) fn enumeration(&self, at: usize) -> &str {
        self.enums.get(at).map_or("", String::as_str)
    }
}

/// Declarations, and what they need.
pub(super) struct Types {
    pub(super) text: String,
    /// Compiler-proved layout, for platforms whose C has it.
    pub(super) proof: String,
}

/// Declares every type of the model. `stem` tells the helpers of several files in one package apart.
pub(super) fn declare(model: &Model, names: &TypeNames, taken: &mut Taken, stem: &str) -> Types {
    let mut declarer =
        Declarer { model, names, stem, out: String::new(), proof: String::new(), bits: false };
    for (e, name) in model.enums.iter().zip(&names.enums) {
        enumeration(&mut declarer.out, e, name, taken);
    }
    for (s, name) in model.structs.iter().zip(&names.structs) {
        declarer.structure(s, name);
    }
    if declarer.bits {
        declarer.bit_helpers();
    }
    let proof = if declarer.proof.is_empty() {
        String::new()
    } else {
        format!(
            "// The layouts are C's, or these indices are out of range and nothing compiles.\nvar (\n{})\n\n",
            declarer.proof
        )
    };
    Types { text: declarer.out, proof }
}

fn enumeration(out: &mut String, e: &Enum, name: &str, taken: &mut Taken) {
    let sign = if e.signed { "" } else { "u" };
    let c_name = if e.has_tag { format!("enum {}", e.name) } else { e.name.clone() };
    // Writing to a string has no failing case.
    let _ = writeln!(out, "// {name} is {c_name}.");
    paragraphs(out, &e.doc);
    let _ = writeln!(out, "type {name} {sign}int{}\n", u32::from(e.size) * 8);
    if e.values.is_empty() {
        return;
    }
    let _ = writeln!(out, "// Values of {name}.\nconst (");
    // gofmt aligns what stands on neighbouring lines; a comment line in between starts a new block.
    let mut rows: Vec<(String, String, &str)> = Vec::new();
    for Enumerator { name: c_name, value, doc } in &e.values {
        let own = exported(c_name);
        let constant =
            if own.starts_with(name) && own != name { own } else { format!("{name}{own}") };
        rows.push((taken.free(&constant), value.to_string(), doc));
    }
    let width = |rows: &[(String, String, &str)]| rows.iter().map(|r| r.0.len()).max().unwrap_or(0);
    let mut at = 0;
    while at < rows.len() {
        let rest = rows.get(at..).unwrap_or_default();
        let block = 1 + rest.iter().skip(1).take_while(|r| r.2.is_empty()).count();
        let block = rest.get(..block).unwrap_or_default();
        let wide = width(block);
        for (constant, value, doc) in block {
            for line in doc.lines() {
                let _ = writeln!(out, "{}", format!("\t// {line}").trim_end());
            }
            let _ = writeln!(out, "\t{constant:wide$} {name} = {value}");
        }
        at += block.len();
    }
    out.push_str(")\n\n");
}

struct Declarer<'a> {
    model: &'a Model,
    names: &'a TypeNames,
    stem: &'a str,
    out: String,
    proof: String,
    bits: bool,
}

/// The bytes that hold bit-fields: of which Go type, which field, from which byte of the struct on.
struct Bytes<'a> {
    of: &'a str,
    field: &'a str,
    start: u64,
}

/// A line of a Go struct: a name, empty where embedded, a type, documentation.
type Row = (String, String, String);

impl Declarer<'_> {
    fn structure(&mut self, s: &Struct, name: &str) {
        let what = match &s.name {
            StructName::Tag(tag) => {
                format!("{} {tag}", if s.is_union { "union" } else { "struct" })
            }
            StructName::Typedef(name) => name.clone(),
            StructName::Member { .. } => {
                format!("an unnamed {}", if s.is_union { "union" } else { "struct" })
            }
        };
        let _ = writeln!(self.out, "// {name} is {what}, laid out as in C.");
        paragraphs(&mut self.out, &s.doc);
        if s.is_union {
            self.out.push_str(
                "//\n// Its members share their bytes; the garbage collector sees no pointers in them.\n",
            );
        }
        let _ = writeln!(self.out, "type {name} struct {{");
        let mut members: HashSet<String> = HashSet::new();
        let mut methods = String::new();
        let rows = if s.is_union {
            self.union(s, name, &mut members, &mut methods)
        } else {
            self.members(s, name, &mut members, &mut methods)
        };
        write_rows(&mut self.out, &rows);
        self.out.push_str("}\n\n");
        self.out.push_str(&methods);
        let _ =
            writeln!(self.proof, "\t_ = [1]struct{{}}{{}}[unsafe.Sizeof({name}{{}})-{}]", s.size);
    }

    /// A union is its size in bytes, and a method a member.
    fn union(
        &mut self,
        s: &Struct,
        name: &str,
        members: &mut HashSet<String>,
        methods: &mut String,
    ) -> Vec<Row> {
        for field in s.fields.iter().filter(|f| f.bits.is_none()) {
            let (method, ty) = match (&field.name, &field.ty) {
                (Some(c_name), ty) => (unique(members, &exported(c_name)), self.go_type(ty, true)),
                (None, FieldType::Struct(at)) => {
                    let ty = self.names.structure(*at).to_owned();
                    (unique(members, &ty), ty)
                }
                (None, _) => continue,
            };
            let _ = writeln!(
                methods,
                "// {method} is the member {}.",
                field.name.as_deref().unwrap_or("without a name")
            );
            paragraphs(methods, &field.doc);
            let _ = writeln!(
                methods,
                "func (u *{name}) {method}() *{ty} {{\n\treturn (*{ty})(unsafe.Pointer(u))\n}}\n"
            );
        }
        let mut rows = Vec::new();
        if s.align > 1 {
            rows.push(marker(s.align));
        }
        let bytes = Bytes { of: name, field: "data", start: 0 };
        for field in s.fields.iter().filter(|f| f.bits.is_some()) {
            self.bit_methods(field, &bytes, members, methods);
        }
        if s.size > 0 {
            rows.push(("data".into(), format!("[{}]byte", s.size), String::new()));
        }
        rows
    }

    fn members(
        &mut self,
        s: &Struct,
        name: &str,
        taken: &mut HashSet<String>,
        methods: &mut String,
    ) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        let (mut at, mut align) = (0u64, 1u64);
        let mut fields = s.fields.iter().enumerate().peekable();
        while let Some((n, field)) = fields.next() {
            let Some(first) = field.bits else {
                let Some((size, own)) = field.ty.size_align(&self.model.structs, &self.model.enums)
                else {
                    continue;
                };
                // In last place Go would make room for the address of nothing.
                if size == 0 && fields.peek().is_none() {
                    continue;
                }
                pad(&mut rows, at, field.offset, own);
                at = field.offset + size;
                align = align.max(own);
                let ty = self.go_type(&field.ty, false);
                let go_name = match &field.name {
                    Some(c_name) => unique(taken, &exported(c_name)),
                    None => String::new(),
                };
                if !go_name.is_empty() {
                    let _ = writeln!(
                        self.proof,
                        "\t_ = [1]struct{{}}{{}}[unsafe.Offsetof({name}{{}}.{go_name})-{}]",
                        field.offset
                    );
                }
                rows.push((go_name, ty, field.doc.clone()));
                continue;
            };
            // All bit-fields of a run share one piece of bytes.
            let more =
                std::iter::from_fn(|| fields.next_if(|(_, f)| f.bits.is_some()).map(|(_, f)| f));
            let run: Vec<&Field> = std::iter::once(field).chain(more).collect();
            let ends = |f: &Field| {
                f.bits.map_or(0, |b| f.offset * 8 + u64::from(b.shift) + u64::from(b.width))
            };
            let end =
                run.iter().map(|f| ends(f)).max().unwrap_or(u64::from(first.width)).div_ceil(8);
            let start = field.offset.max(at);
            if end > start {
                pad(&mut rows, at, start, 1);
                let bytes = Bytes { of: name, field: &format!("bits{n}"), start };
                rows.push((
                    bytes.field.to_owned(),
                    format!("[{}]byte", end - start),
                    String::new(),
                ));
                for field in run {
                    self.bit_methods(field, &bytes, taken, methods);
                }
                at = end;
            }
        }
        // Go would round up by itself, but vet of Go 1.21 does not when it checks the proof.
        pad(&mut rows, at, s.size, 1);
        if s.align > align {
            rows.insert(0, marker(s.align));
        }
        rows
    }

    fn bit_methods(
        &mut self,
        field: &Field,
        place: &Bytes<'_>,
        taken: &mut HashSet<String>,
        methods: &mut String,
    ) {
        let Bytes { of: name, field: bytes, start } = *place;
        let (Some(c_name), Some(BitField { shift, width })) = (&field.name, field.bits) else {
            return;
        };
        self.bits = true;
        let ty = match &field.ty {
            FieldType::Bool => "uint8".to_owned(),
            other => self.go_type(other, false),
        };
        let first = (field.offset - start) * 8 + u64::from(shift);
        let getter = unique(taken, &exported(c_name));
        let setter = unique(taken, &format!("Set{getter}"));
        let signed = match &field.ty {
            FieldType::Int { signed, .. } => *signed,
            FieldType::Enum(at) => self
                .model
                .enums
                .get(*at)
                .is_some_and(|e| e.signed && e.values.iter().any(|v| v.value < 0)),
            _ => false,
        };
        let get = format!("usdtGetBits{}(s.{bytes}[:], {first}, {width})", self.stem);
        let value = if signed {
            let up = 64 - u32::from(width);
            format!("{ty}(int64({get}<<{up}) >> {up})")
        } else {
            format!("{ty}({get})")
        };
        let _ = writeln!(
            methods,
            "// {getter} is the bit-field {c_name}, {width} bit{} wide.",
            if width == 1 { "" } else { "s" }
        );
        paragraphs(methods, &field.doc);
        let _ = write!(
            methods,
            "func (s *{name}) {getter}() {ty} {{\n\treturn {value}\n}}\n\n\
             // {setter} sets the bit-field {c_name} to the lowest bits of v.\n\
             func (s *{name}) {setter}(v {ty}) {{\n\tusdtSetBits{}(s.{bytes}[:], {first}, {width}, uint64(v))\n}}\n\n",
            self.stem
        );
    }

    fn bit_helpers(&mut self) {
        let stem = self.stem;
        let _ = write!(
            self.out,
            "func usdtGetBits{stem}(p []byte, at, width uint) (v uint64) {{\n\
             \tfor i := uint(0); i < width; i++ {{\n\
             \t\tv |= uint64(p[(at+i)/8]>>((at+i)%8)&1) << i\n\t}}\n\treturn v\n}}\n\n\
             func usdtSetBits{stem}(p []byte, at, width uint, v uint64) {{\n\
             \tfor i := uint(0); i < width; i++ {{\n\
             \t\tbit := byte(1) << ((at + i) % 8)\n\t\tp[(at+i)/8] &^= bit\n\
             \t\tif v>>i&1 != 0 {{\n\t\t\tp[(at+i)/8] |= bit\n\t\t}}\n\t}}\n}}\n\n"
        );
    }

    /// `hidden` from the garbage collector a pointer is a number.
    fn go_type(&self, ty: &FieldType, hidden: bool) -> String {
        match ty {
            FieldType::Char => "byte".into(),
            FieldType::Int { size, signed } => {
                format!("{}int{}", if *signed { "" } else { "u" }, u32::from(*size) * 8)
            }
            FieldType::Float { size } => format!("float{}", u32::from(*size) * 8),
            FieldType::Bool => "bool".into(),
            FieldType::Enum(at) => self.names.enumeration(*at).to_owned(),
            FieldType::Struct(at) => self.names.structure(*at).to_owned(),
            FieldType::StructPointer(_) | FieldType::Pointer if hidden => "uintptr".into(),
            FieldType::StructPointer(at) => format!("*{}", self.names.structure(*at)),
            FieldType::Pointer => "unsafe.Pointer".into(),
            FieldType::Array(element, length) => {
                format!("[{length}]{}", self.go_type(element, hidden))
            }
        }
    }
}

/// A field of no size that aligns the whole.
fn marker(align: u64) -> Row {
    ("_".into(), format!("[0]uint{}", align * 8), String::new())
}

/// Padding up to `offset`, where the next field's alignment does not bring it there by itself.
fn pad(rows: &mut Vec<Row>, at: u64, offset: u64, align: u64) {
    if at.next_multiple_of(align.max(1)) < offset || (align == 1 && at < offset) {
        rows.push(("_".into(), format!("[{}]byte", offset - at), String::new()));
    }
}

/// A name nothing else in the struct has.
fn unique(taken: &mut HashSet<String>, name: &str) -> String {
    let mut name = name.to_owned();
    while !taken.insert(name.clone()) {
        name.push('_');
    }
    name
}

/// Rows as gofmt aligns them: names of neighbouring lines, up to a comment or an embedded field.
fn write_rows(out: &mut String, rows: &[Row]) {
    let mut at = 0;
    while at < rows.len() {
        let rest = rows.get(at..).unwrap_or_default();
        let embedded = rest.first().is_some_and(|r| r.0.is_empty());
        let more =
            rest.iter().skip(1).take_while(|r| !embedded && r.2.is_empty() && !r.0.is_empty());
        let length = 1 + more.count();
        let block = rest.get(..length).unwrap_or_default();
        let wide = block.iter().map(|r| r.0.len()).max().unwrap_or(0);
        for (name, ty, doc) in block {
            for line in doc.lines() {
                let _ = writeln!(out, "{}", format!("\t// {line}").trim_end());
            }
            if name.is_empty() {
                let _ = writeln!(out, "\t{ty}");
            } else {
                let _ = writeln!(out, "\t{name:wide$} {ty}");
            }
        }
        at += length;
    }
}
