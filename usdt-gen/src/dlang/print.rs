//! Prints a model as a definition. Parsing the result gives the same model.

use crate::model::{
    Enumerator, FieldType, Model, Param, Probe, Provider, Struct, StructName, Type,
};
use stapsdt::schema::declaration;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Returns a definition that parses to this model.
///
/// Constants are printed as their values, and comments become line comments.
pub fn print(model: &Model) -> String {
    let mut printer = Printer { model, out: String::new() };
    printer.print_enums();
    printer.print_typedefs();
    for at in 0..model.structs.len() {
        printer.print_struct(at);
    }
    for provider in model.providers.values() {
        printer.print_provider(provider);
    }
    printer.out
}

struct Printer<'a> {
    model: &'a Model,
    out: String,
}

impl Printer<'_> {
    fn print_enums(&mut self) {
        for e in &self.model.enums {
            print_comment(&mut self.out, "", &e.doc);
            let (head, tail) = if e.has_tag {
                (format!("enum {}", e.name), String::new())
            } else {
                ("typedef enum".into(), format!(" {}", e.name))
            };
            // Writing to a string cannot fail.
            let _ = writeln!(self.out, "{head} {{");
            for Enumerator { name, value, doc } in &e.values {
                print_comment(&mut self.out, "\t", doc);
                let _ = writeln!(self.out, "\t{name} = {value},");
            }
            let _ = writeln!(self.out, "}}{tail};\n");
        }
    }

    /// Declares the names in the spellings of arguments and members that nothing else declares.
    fn print_typedefs(&mut self) {
        let mut names: BTreeMap<String, (u8, String)> = BTreeMap::new();
        let mut require_name = |spelling: &str, ty: Option<FieldType>| {
            let Some(name) = undeclared_name(spelling) else { return };
            let stars = spelling.matches('*').count();
            if is_standard(name, stars, spelling.matches('[').count(), ty.as_ref()) {
                return;
            }
            let declared = match (stars, &ty) {
                (0, Some(ty)) => {
                    let ty = element_type(ty, spelling.matches('[').count());
                    self.declare(&ty, name)
                }
                (1, Some(FieldType::StructPointer(at))) => {
                    declaration(&self.struct_name(*at), name)
                }
                // A pointer to `name` is a C string.
                (1, Some(FieldType::Char)) => format!("char {name}"),
                _ => format!("struct {name} {name}"),
            };
            // A use by value determines the type better than a pointer, and `char` better than a
            // number.
            let rank = match (stars, &ty) {
                (1, Some(FieldType::Char)) => 3,
                (0, _) => 2,
                (1, Some(FieldType::StructPointer(_))) => 1,
                _ => 0,
            };
            let best = names.entry(name.to_owned()).or_insert((rank, declared.clone()));
            if best.0 < rank {
                *best = (rank, declared);
            }
        };
        for s in &self.model.structs {
            for field in &s.fields {
                require_name(&field.spelling, Some(field.ty.clone()));
            }
        }
        for param in
            self.model.providers.values().flat_map(|p| p.probes.values()).flat_map(|p| &p.params)
        {
            let ty = match param.ty {
                Type::Int { size, signed } => Some(FieldType::Int { size, signed }),
                Type::Uintptr | Type::GoInt { .. } | Type::Duration => {
                    Some(FieldType::Int { size: 8, signed: param.ty.signed() })
                }
                Type::Float { size } => Some(FieldType::Float { size }),
                Type::Enum { index, .. } => Some(FieldType::Enum(index)),
                Type::Struct { index } => Some(FieldType::StructPointer(index)),
                Type::Pointer => Some(FieldType::Pointer),
                Type::CString => Some(FieldType::Char),
                Type::Bool | Type::String | Type::Bytes | Type::Error => None,
            };
            // A C string whose spelling has no star is an array or pointer typedef.
            let ty = match (param.ty, param.spelling.contains('*')) {
                (Type::CString, false) => Some(FieldType::Array(Box::new(FieldType::Char), 1)),
                _ => ty,
            };
            require_name(&param.spelling, ty);
        }
        let enums = self.model.enums.iter().filter(|e| !e.has_tag).map(|e| e.name.as_str());
        let structs = self.model.structs.iter().filter_map(|s| match &s.name {
            StructName::Typedef(name) => Some(name.as_str()),
            _ => None,
        });
        let declared_elsewhere: Vec<&str> = enums.chain(structs).collect();
        for (name, (_, declared)) in names {
            if !declared_elsewhere.contains(&name.as_str()) {
                let _ = writeln!(self.out, "typedef {declared};");
            }
        }
    }

    fn struct_name(&self, at: usize) -> String {
        let Some(s) = self.model.structs.get(at) else { return "void".into() };
        match &s.name {
            StructName::Tag(tag) => format!("{} {tag}", keyword(s)),
            StructName::Typedef(name) => name.clone(),
            StructName::Member { .. } => keyword(s).into(),
        }
    }

    /// Returns a C declaration of `name` with a type of the model.
    fn declare(&self, ty: &FieldType, name: &str) -> String {
        let spelling = match ty {
            FieldType::Char => "char".to_owned(),
            FieldType::Int { size, signed } => {
                format!("{}int{}_t", if *signed { "" } else { "u" }, u32::from(*size) * 8)
            }
            FieldType::Float { size: 4 } => "float".to_owned(),
            FieldType::Float { .. } => "double".to_owned(),
            FieldType::Bool => "bool".to_owned(),
            FieldType::Enum(at) => match self.model.enums.get(*at) {
                Some(e) if e.has_tag => format!("enum {}", e.name),
                Some(e) => e.name.clone(),
                None => "int".to_owned(),
            },
            FieldType::Struct(at) => self.struct_name(*at),
            FieldType::StructPointer(at) => format!("{} *", self.struct_name(*at)),
            FieldType::Pointer => "void *".to_owned(),
            FieldType::Array(element, length) => {
                return self.declare(element, &format!("{name}[{length}]"));
            }
        };
        declaration(&spelling, name)
    }

    fn print_struct(&mut self, at: usize) {
        let Some(s) = self.model.structs.get(at) else { return };
        let (head, tail) = match &s.name {
            StructName::Tag(tag) => (format!("{} {tag}", keyword(s)), String::new()),
            StructName::Typedef(name) => (format!("typedef {}", keyword(s)), format!(" {name}")),
            // Printed as part of the member.
            StructName::Member { .. } => return,
        };
        print_comment(&mut self.out, "", &s.doc);
        let _ = writeln!(self.out, "{head} {{");
        self.print_fields(s, 1);
        let _ = writeln!(self.out, "}}{tail};\n");
    }

    fn print_fields(&mut self, s: &Struct, depth: usize) {
        let indent = "\t".repeat(depth);
        for (n, field) in s.fields.iter().enumerate() {
            print_comment(&mut self.out, &indent, &field.doc);
            let width = field.bits.map_or(String::new(), |bits| format!(" : {}", bits.width));
            let name = field.name.as_deref().unwrap_or_default();
            let inline = match field.ty.innermost() {
                FieldType::Struct(at) => self.model.structs.get(*at).filter(|inner| {
                    matches!(inner.name, StructName::Member { parent, field } if field == n
                        && self.model.structs.get(parent).is_some_and(|p| std::ptr::eq(p, s)))
                }),
                _ => None,
            };
            let Some(inner) = inline else {
                let declared = declaration(&field.spelling, name);
                let _ = writeln!(self.out, "{indent}{}{width};", declared.trim_end());
                continue;
            };
            let _ = writeln!(self.out, "{indent}{} {{", keyword(inner));
            self.print_fields(inner, depth + 1);
            let lengths = field
                .spelling
                .find('[')
                .and_then(|at| field.spelling.get(at..))
                .unwrap_or_default();
            let _ = writeln!(self.out, "{indent}}} {name}{lengths};");
        }
    }

    fn print_provider(&mut self, provider: &Provider) {
        if let Some(stability) = &provider.stability {
            let _ = writeln!(
                self.out,
                "#pragma D attributes {stability} provider {} args\n",
                provider.name
            );
        }
        print_comment(&mut self.out, "", &provider.doc);
        let _ = writeln!(self.out, "provider {} {{", provider.name);
        for probe in provider.probes.values() {
            print_comment(&mut self.out, "\t", &probe.doc);
            let _ = write!(self.out, "\tprobe {}(", probe.name);
            self.print_params(&probe.params);
            self.print_outputs(probe);
            self.out.push_str(";\n");
        }
        self.out.push_str("};\n\n");
    }

    fn print_params(&mut self, params: &[Param]) {
        let docs: Vec<String> = params.iter().map(param_doc).collect();
        let documented = docs.iter().any(|doc| !doc.is_empty());
        for (at, (param, doc)) in params.iter().zip(&docs).enumerate() {
            if at > 0 {
                self.out.push(',');
            }
            if documented {
                self.out.push('\n');
                print_comment(&mut self.out, "\t\t", doc);
                self.out.push_str("\t\t");
            } else if at > 0 {
                self.out.push(' ');
            }
            let name = param.name.as_deref().unwrap_or_default();
            let declared = declaration(&param.spelling, name);
            self.out.push_str(declared.trim_end());
        }
        self.out.push_str(if documented { "\n\t)" } else { ")" });
    }

    fn print_outputs(&mut self, probe: &Probe) {
        for (at, output) in probe.outputs.iter().enumerate() {
            self.out.push_str(if at == 0 { " : (" } else { ", " });
            let name =
                probe.params.get(output.input).and_then(|p| p.name.as_deref()).unwrap_or_default();
            self.out.push_str(&declaration(&output.spelling, name));
        }
        if !probe.outputs.is_empty() {
            self.out.push(')');
        }
    }
}

/// Returns the documentation of a parameter, including its `@go` annotation.
fn param_doc(param: &Param) -> String {
    let annotation = param.ty.go_name().map(|name| format!("@go {}", name.spelling()));
    let parts = [Some(param.doc.clone()).filter(|doc| !doc.is_empty()), annotation];
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

fn keyword(s: &Struct) -> &'static str {
    if s.is_union { "union" } else { "struct" }
}

/// Returns the type of an array's elements after `levels` subscripts.
fn element_type(ty: &FieldType, levels: usize) -> FieldType {
    match ty {
        FieldType::Array(element, _) if levels > 0 => element_type(element, levels - 1),
        other => other.clone(),
    }
}

/// Returns the type name in a spelling if it must be declared: the base, if it is a single unknown
/// word.
fn undeclared_name(spelling: &str) -> Option<&str> {
    let base = spelling.split(['*', '(', '[']).next()?.trim();
    let base = base.strip_prefix("const ").unwrap_or(base);
    let is_word = !base.is_empty() && base.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let is_known = super::c_types::arithmetic(&[base.to_owned()]).is_some();
    (is_word && !is_known && !["void", "struct", "union", "enum"].contains(&base)).then_some(base)
}

/// Returns true if a name needs no declaration. A file can declare a standard name as another type.
/// Spellings of Go are not standard, because a model has those of C, unless the file declares them.
fn is_standard(name: &str, stars: usize, subscripts: usize, ty: Option<&FieldType>) -> bool {
    let Some(known) = super::type_names::standard(name) else { return false };
    let Some(ty) = ty else { return true };
    match (stars, known) {
        (0, Type::Int { size, signed }) => {
            element_type(ty, subscripts) == FieldType::Int { size, signed }
        }
        (0, Type::Uintptr) => {
            element_type(ty, subscripts) == FieldType::Int { size: 8, signed: false }
        }
        (0, Type::Pointer) => element_type(ty, subscripts) == FieldType::Pointer,
        (1, _) => !matches!(ty, FieldType::StructPointer(_) | FieldType::Char),
        _ => true,
    }
}

/// Prints documentation as line comments. A block comment would end at a `*/` inside.
fn print_comment(out: &mut String, indent: &str, doc: &str) {
    for line in doc.lines() {
        // The parser removes one leading star.
        let star = if line.starts_with('*') { "* " } else { "" };
        let _ = writeln!(out, "{}", format!("{indent}// {star}{line}").trim_end());
    }
}
