//! Go types with the layout of C for the structs that arguments point to, and typed constants for
//! enums.
//!
//! On both architectures, Go lays out structs as C does if every member has its natural alignment.
//! Unions and bit-fields do not exist in Go: they become bytes with accessor methods. Constant
//! expressions in the generated code make the compiler check all sizes and offsets.

use super::comments::{indented, paragraphs};
use super::identifiers::{Taken, exported};
use crate::model::{BitField, Enum, Enumerator, Field, FieldType, Model, Struct, StructName};
use std::collections::HashSet;
use std::fmt::Write as _;

/// Go names of the types of a model, in the order of the model.
pub(super) struct TypeNames {
    pub(super) enums: Vec<String>,
    pub(super) structs: Vec<String>,
}

impl TypeNames {
    /// Assigns a free name to each type. `taken` already has the functions of the probes, so a type
    /// never renames a function.
    pub(super) fn assign(model: &Model, taken: &mut Taken) -> TypeNames {
        let plain = |name: &str| exported(name.strip_suffix("_t").unwrap_or(name));
        let enums = model.enums.iter().map(|e| taken.reserve(&plain(&e.name))).collect();
        let mut structs: Vec<Option<String>> = vec![None; model.structs.len()];
        // The type of a member is named after the struct that contains it, which comes later in the
        // model.
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
                *slot = Some(taken.reserve(&name));
            }
        }
        TypeNames { enums, structs: structs.into_iter().map(Option::unwrap_or_default).collect() }
    }

    /// Returns the name of the struct or union with this index.
    pub(super) fn structure(&self, at: usize) -> &str {
        self.structs.get(at).map_or("", String::as_str)
    }

    /// Returns the name of the enum with this index.
    pub(super) fn enumeration(&self, at: usize) -> &str {
        self.enums.get(at).map_or("", String::as_str)
    }
}

/// Go source of the types.
pub(super) struct Types {
    /// Declarations of the types and their methods.
    pub(super) declarations: String,
    /// Declarations that compile only if the layout is that of C on the supported architectures.
    pub(super) layout_checks: String,
}

/// Declares every type of the model. `helper_suffix` is the suffix of helper functions, see
/// [`super::package::helper_suffix`].
pub(super) fn declare(
    model: &Model,
    names: &TypeNames,
    taken: &mut Taken,
    helper_suffix: &str,
) -> Types {
    let mut declarer = Declarer {
        model,
        names,
        helper_suffix,
        out: String::new(),
        layout_checks: String::new(),
        has_bit_fields: false,
    };
    for (e, name) in model.enums.iter().zip(&names.enums) {
        write_enum(&mut declarer.out, e, name, taken);
    }
    for (s, name) in model.structs.iter().zip(&names.structs) {
        declarer.write_struct(s, name);
    }
    if declarer.has_bit_fields {
        declarer.write_bit_helpers();
    }
    let layout_checks = if declarer.layout_checks.is_empty() {
        String::new()
    } else {
        format!(
            "// These indices are out of range, which is a compile error, unless the layouts are those of C.\nvar (\n{})\n\n",
            declarer.layout_checks
        )
    };
    Types { declarations: declarer.out, layout_checks }
}

fn write_enum(out: &mut String, e: &Enum, name: &str, taken: &mut Taken) {
    let sign = if e.signed { "" } else { "u" };
    let c_name = if e.has_tag { format!("enum {}", e.name) } else { e.name.clone() };
    // Writing to a string cannot fail.
    let _ = writeln!(out, "// {name} corresponds to {c_name} in C.");
    paragraphs(out, &e.doc);
    let _ = writeln!(out, "type {name} {sign}int{}\n", u32::from(e.size) * 8);
    if e.values.is_empty() {
        return;
    }
    let _ = writeln!(out, "// Values of type {name}.\nconst (");
    let mut constants: Vec<Constant<'_>> = Vec::new();
    for Enumerator { name: c_name, value, doc } in &e.values {
        let short = exported(c_name);
        let constant =
            if short.starts_with(name) && short != name { short } else { format!("{name}{short}") };
        constants.push(Constant { name: taken.reserve(&constant), value: value.to_string(), doc });
    }
    // gofmt aligns neighboring lines. A comment line between them starts a new block.
    let mut at = 0;
    while at < constants.len() {
        let rest = constants.get(at..).unwrap_or_default();
        let length = 1 + rest.iter().skip(1).take_while(|c| c.doc.is_empty()).count();
        let block = rest.get(..length).unwrap_or_default();
        let width = block.iter().map(|c| c.name.len()).max().unwrap_or(0);
        for constant in block {
            indented(out, constant.doc);
            let _ = writeln!(out, "\t{:width$} {name} = {}", constant.name, constant.value);
        }
        at += block.len();
    }
    out.push_str(")\n\n");
}

/// A constant of an enum's type.
struct Constant<'a> {
    name: String,
    value: String,
    /// Documentation; empty if the definition has none.
    doc: &'a str,
}

/// Writes the declarations of structs and unions.
struct Declarer<'a> {
    model: &'a Model,
    names: &'a TypeNames,
    helper_suffix: &'a str,
    out: String,
    layout_checks: String,
    /// True once an accessor of a bit-field has been written, which needs the helpers.
    has_bit_fields: bool,
}

/// The bytes of a Go struct that hold bit-fields.
struct BitStorage<'a> {
    /// Name of the Go struct.
    type_name: &'a str,
    /// Name of the field with the bytes.
    field: &'a str,
    /// Offset of the field in the struct, in bytes.
    start: u64,
}

/// A field of a Go struct.
struct Row {
    /// Name; empty if the field is embedded.
    name: String,
    ty: String,
    /// Documentation; empty if the definition has none.
    doc: String,
}

impl Row {
    fn new(name: impl Into<String>, ty: impl Into<String>) -> Row {
        Row { name: name.into(), ty: ty.into(), doc: String::new() }
    }
}

impl Declarer<'_> {
    fn write_struct(&mut self, s: &Struct, name: &str) {
        let c_type = match &s.name {
            StructName::Tag(tag) => {
                format!("{} {tag}", if s.is_union { "union" } else { "struct" })
            }
            StructName::Typedef(name) => name.clone(),
            StructName::Member { .. } => {
                format!("an unnamed {}", if s.is_union { "union" } else { "struct" })
            }
        };
        let _ = writeln!(self.out, "// {name} is {c_type}, with the layout of C.");
        paragraphs(&mut self.out, &s.doc);
        if s.is_union {
            self.out.push_str(
                "//\n// The members share memory. The garbage collector does not see pointers in it.\n",
            );
        }
        let _ = writeln!(self.out, "type {name} struct {{");
        let mut members: HashSet<String> = HashSet::new();
        let mut methods = String::new();
        let rows = if s.is_union {
            self.union_rows(s, name, &mut members, &mut methods)
        } else {
            self.struct_rows(s, name, &mut members, &mut methods)
        };
        write_rows(&mut self.out, &rows);
        self.out.push_str("}\n\n");
        self.out.push_str(&methods);
        let _ = writeln!(
            self.layout_checks,
            "\t_ = [1]struct{{}}{{}}[unsafe.Sizeof({name}{{}})-{}]",
            s.size
        );
    }

    /// Returns the fields of a union: an array of bytes of its size. Each member becomes a method
    /// in `methods`.
    fn union_rows(
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
            let member = match &field.name {
                Some(c_name) => format!("the member {c_name}"),
                None => "an unnamed member".to_owned(),
            };
            let _ = writeln!(methods, "// {method} returns a pointer to {member}.");
            paragraphs(methods, &field.doc);
            let _ = writeln!(
                methods,
                "func (u *{name}) {method}() *{ty} {{\n\treturn (*{ty})(unsafe.Pointer(u))\n}}\n"
            );
        }
        let mut rows = Vec::new();
        if s.align > 1 {
            rows.push(alignment_field(s.align));
        }
        let storage = BitStorage { type_name: name, field: "data", start: 0 };
        for field in s.fields.iter().filter(|f| f.bits.is_some()) {
            self.write_bit_accessors(field, &storage, members, methods);
        }
        if s.size > 0 {
            rows.push(Row::new("data", format!("[{}]byte", s.size)));
        }
        rows
    }

    /// Returns the fields of a struct. Bit-fields become methods in `methods`.
    fn struct_rows(
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
                let Some((size, field_align)) =
                    field.ty.size_align(&self.model.structs, &self.model.enums)
                else {
                    continue;
                };
                // Go adds padding after a last field of size zero.
                if size == 0 && fields.peek().is_none() {
                    continue;
                }
                pad(&mut rows, at, field.offset, field_align);
                at = field.offset + size;
                align = align.max(field_align);
                let ty = self.go_type(&field.ty, false);
                let go_name = match &field.name {
                    Some(c_name) => unique(taken, &exported(c_name)),
                    None => String::new(),
                };
                if !go_name.is_empty() {
                    let _ = writeln!(
                        self.layout_checks,
                        "\t_ = [1]struct{{}}{{}}[unsafe.Offsetof({name}{{}}.{go_name})-{}]",
                        field.offset
                    );
                }
                rows.push(Row { name: go_name, ty, doc: field.doc.clone() });
                continue;
            };
            // Consecutive bit-fields share one array of bytes.
            let more =
                std::iter::from_fn(|| fields.next_if(|(_, f)| f.bits.is_some()).map(|(_, f)| f));
            let run: Vec<&Field> = std::iter::once(field).chain(more).collect();
            let end = run
                .iter()
                .map(|f| bit_field_end(f))
                .max()
                .unwrap_or(u64::from(first.width))
                .div_ceil(8);
            let start = field.offset.max(at);
            if end > start {
                pad(&mut rows, at, start, 1);
                let storage = BitStorage { type_name: name, field: &format!("bits{n}"), start };
                rows.push(Row::new(storage.field, format!("[{}]byte", end - start)));
                for field in run {
                    self.write_bit_accessors(field, &storage, taken, methods);
                }
                at = end;
            }
        }
        // The compiler rounds the size up by itself, but vet of Go 1.21 does not when it evaluates
        // the layout checks.
        pad(&mut rows, at, s.size, 1);
        if s.align > align {
            rows.insert(0, alignment_field(s.align));
        }
        rows
    }

    /// Writes a getter and a setter of a bit-field.
    fn write_bit_accessors(
        &mut self,
        field: &Field,
        storage: &BitStorage<'_>,
        taken: &mut HashSet<String>,
        methods: &mut String,
    ) {
        let BitStorage { type_name: name, field: bytes, start } = *storage;
        let (Some(c_name), Some(BitField { shift, width })) = (&field.name, field.bits) else {
            return;
        };
        self.has_bit_fields = true;
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
        let get = format!("usdtGetBits{}(s.{bytes}[:], {first}, {width})", self.helper_suffix);
        let value = if signed {
            let shift = 64 - u32::from(width);
            format!("{ty}(int64({get}<<{shift}) >> {shift})")
        } else {
            format!("{ty}({get})")
        };
        let _ = writeln!(
            methods,
            "// {getter} returns the bit-field {c_name}, which has {width} bit{}.",
            if width == 1 { "" } else { "s" }
        );
        paragraphs(methods, &field.doc);
        let _ = write!(
            methods,
            "func (s *{name}) {getter}() {ty} {{\n\treturn {value}\n}}\n\n\
             // {setter} sets the bit-field {c_name} to the low bits of v.\n\
             func (s *{name}) {setter}(v {ty}) {{\n\tusdtSetBits{}(s.{bytes}[:], {first}, {width}, uint64(v))\n}}\n\n",
            self.helper_suffix
        );
    }

    fn write_bit_helpers(&mut self) {
        let suffix = self.helper_suffix;
        let _ = write!(
            self.out,
            "// usdtGetBits{suffix} returns the width bits of p from bit at on.\n\
             func usdtGetBits{suffix}(p []byte, at, width uint) (v uint64) {{\n\
             \tfor i := uint(0); i < width; i++ {{\n\
             \t\tv |= uint64(p[(at+i)/8]>>((at+i)%8)&1) << i\n\t}}\n\treturn v\n}}\n\n\
             // usdtSetBits{suffix} sets the width bits of p from bit at on to the low bits of v.\n\
             func usdtSetBits{suffix}(p []byte, at, width uint, v uint64) {{\n\
             \tfor i := uint(0); i < width; i++ {{\n\
             \t\tbit := byte(1) << ((at + i) % 8)\n\t\tp[(at+i)/8] &^= bit\n\
             \t\tif v>>i&1 != 0 {{\n\t\t\tp[(at+i)/8] |= bit\n\t\t}}\n\t}}\n}}\n\n"
        );
    }

    /// Returns the Go type of a field. If `in_union` is true, pointers become `uintptr`: the
    /// garbage collector does not see them.
    fn go_type(&self, ty: &FieldType, in_union: bool) -> String {
        match ty {
            FieldType::Char => "byte".into(),
            FieldType::Int { size, signed } => {
                format!("{}int{}", if *signed { "" } else { "u" }, u32::from(*size) * 8)
            }
            FieldType::Float { size } => format!("float{}", u32::from(*size) * 8),
            FieldType::Bool => "bool".into(),
            FieldType::Enum(at) => self.names.enumeration(*at).to_owned(),
            FieldType::Struct(at) => self.names.structure(*at).to_owned(),
            FieldType::StructPointer(_) | FieldType::Pointer if in_union => "uintptr".into(),
            FieldType::StructPointer(at) => format!("*{}", self.names.structure(*at)),
            FieldType::Pointer => "unsafe.Pointer".into(),
            FieldType::Array(element, length) => {
                format!("[{length}]{}", self.go_type(element, in_union))
            }
        }
    }
}

/// Returns the number of the first bit after a bit-field, counted from the start of the struct.
fn bit_field_end(field: &Field) -> u64 {
    field.bits.map_or(0, |b| field.offset * 8 + u64::from(b.shift) + u64::from(b.width))
}

/// Returns a field of size zero that gives the struct its alignment, in bytes.
fn alignment_field(align: u64) -> Row {
    Row::new("_", format!("[0]uint{}", align * 8))
}

/// Adds padding from `at` to `offset` unless the alignment of the next field implies it.
fn pad(rows: &mut Vec<Row>, at: u64, offset: u64, align: u64) {
    if at.next_multiple_of(align.max(1)) < offset || (align == 1 && at < offset) {
        rows.push(Row::new("_", format!("[{}]byte", offset - at)));
    }
}

/// Returns a name that is not in `taken`, and adds it.
fn unique(taken: &mut HashSet<String>, name: &str) -> String {
    let mut name = name.to_owned();
    while !taken.insert(name.clone()) {
        name.push('_');
    }
    name
}

/// Writes the fields as gofmt formats them: it aligns neighboring lines up to a comment or an
/// embedded field.
fn write_rows(out: &mut String, rows: &[Row]) {
    let mut at = 0;
    while at < rows.len() {
        let rest = rows.get(at..).unwrap_or_default();
        let embedded = rest.first().is_some_and(|row| row.name.is_empty());
        let more = rest
            .iter()
            .skip(1)
            .take_while(|row| !embedded && row.doc.is_empty() && !row.name.is_empty());
        let length = 1 + more.count();
        let block = rest.get(..length).unwrap_or_default();
        let width = block.iter().map(|row| row.name.len()).max().unwrap_or(0);
        for Row { name, ty, doc } in block {
            indented(out, doc);
            if name.is_empty() {
                let _ = writeln!(out, "\t{ty}");
            } else {
                let _ = writeln!(out, "\t{name:width$} {ty}");
            }
        }
        at += length;
    }
}
