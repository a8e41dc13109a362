//! Resolves types: from a type as written to the type of an argument.

use crate::dlang::ast::{Base, Body, Derived, File, Keyword, Param, Type};
use crate::dlang::c_types;
use crate::dlang::constant::{self, Scope};
use crate::dlang::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::dlang::lexer::{Kind, Token};
use crate::dlang::source::{Sources, Span};
use crate::dlang::type_names;
use crate::model::{self, Enum, Struct};
use std::collections::HashMap;

/// The longest chain of typedefs. A longer one is taken as a type that is defined in terms of
/// itself.
const MAX_TYPEDEF_CHAIN: usize = 32;

/// The state of a struct's layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LayoutState {
    /// Its members are being laid out. A struct that contains itself by value has no size.
    InProgress,
    /// It has no known layout.
    Opaque,
    /// It is laid out and has this index in the model.
    Done(usize),
}

/// Resolves types against the declarations of a file, and collects the types of the model.
pub(super) struct Resolver<'a> {
    pub(super) sources: &'a Sources,
    pub(super) file: &'a File,
    missing_headers: &'a [String],
    pub(super) diagnostics: &'a mut Diagnostics,
    typedefs: HashMap<&'a str, &'a Type>,
    /// By tag index, the first typedef of each struct, union and enum. It names those without a
    /// tag.
    pub(super) tag_typedefs: HashMap<usize, TagTypedef<'a>>,
    constants: HashMap<String, i128>,
    /// By tag index, the index of an enum in the model.
    enum_of: HashMap<usize, usize>,
    pub(super) enums: Vec<Enum>,
    /// By tag index, enums of included files. They become part of the model when they are used.
    included_enums: HashMap<usize, Enum>,
    /// By tag index, the layout of a struct or union.
    pub(super) struct_of: HashMap<usize, LayoutState>,
    pub(super) structs: Vec<Struct>,
}

/// A typedef of a struct, union or enum.
#[derive(Clone, Copy)]
pub(super) struct TagTypedef<'a> {
    pub(super) name: &'a str,
    pub(super) doc: &'a str,
}

/// A type whose typedefs are resolved.
pub(super) struct CanonicalType {
    pub(super) base: CanonicalBase,
    pub(super) derived: Vec<Derived>,
}

pub(super) enum CanonicalBase {
    /// An arithmetic type, or a type of the language such as `string`.
    Known(model::Type),
    /// `char` or `signed char`.
    Char,
    Void,
    Tag(usize),
    /// Words that are not a C type. The use of the type reports it.
    NotAType,
    Ellipsis,
    Unknown(String),
    /// A typedef that is defined in terms of itself.
    Recursive(String),
}

/// Returns the type of a parameter: an array or function decays to a pointer.
pub(super) fn decay(ty: &Type) -> Type {
    let mut ty = ty.clone();
    match ty.derived.first_mut() {
        Some(first @ Derived::Array(_)) => *first = Derived::Pointer,
        Some(Derived::Function(_)) => ty.derived.insert(0, Derived::Pointer),
        _ => {}
    }
    ty
}

impl<'a> Resolver<'a> {
    pub(super) fn new(
        sources: &'a Sources,
        file: &'a File,
        missing_headers: &'a [String],
        diagnostics: &'a mut Diagnostics,
    ) -> Self {
        let mut resolver = Resolver {
            sources,
            file,
            missing_headers,
            diagnostics,
            typedefs: file.typedefs.iter().map(|t| (t.name.text.as_str(), &t.ty)).collect(),
            tag_typedefs: HashMap::new(),
            constants: HashMap::new(),
            enum_of: HashMap::new(),
            enums: Vec::new(),
            struct_of: HashMap::new(),
            included_enums: HashMap::new(),
            structs: Vec::new(),
        };
        for typedef in &file.typedefs {
            if let (Base::Tag(tag), []) = (&typedef.ty.base, typedef.ty.derived.as_slice()) {
                resolver
                    .tag_typedefs
                    .entry(*tag)
                    .or_insert(TagTypedef { name: &typedef.name.text, doc: &typedef.doc });
            }
        }
        for (name, value) in &file.constants {
            if let Some(value) = resolver.evaluate(value) {
                resolver.constants.insert(name.text.clone(), value);
            }
        }
        resolver.collect_enums();
        resolver
    }

    /// Evaluates the enumerators, which are constants in everything that follows them.
    ///
    /// The enums of the main file are part of the model even if no argument uses them, because Go
    /// code uses their generated constants.
    fn collect_enums(&mut self) {
        for (at, tag) in self.file.tags.iter().enumerate() {
            let Some(Body::Enumerators(enumerators)) = &tag.body else { continue };
            let mut next = 0i128;
            let mut values = Vec::new();
            for enumerator in enumerators {
                if let Some(value) = &enumerator.value {
                    let Some(value) = self.evaluate(value) else { continue };
                    next = value;
                }
                self.constants.insert(enumerator.name.text.clone(), next);
                values.push(model::Enumerator {
                    name: enumerator.name.text.clone(),
                    value: next,
                    doc: enumerator.doc.clone(),
                });
                next = next.saturating_add(1);
            }
            let typedef = self.tag_typedefs.get(&at);
            let name = match (&tag.name, typedef) {
                (Some(name), _) => name.text.clone(),
                (None, Some(typedef)) => typedef.name.to_owned(),
                (None, None) => continue,
            };
            let Some((size, signed)) = Enum::representation(values.iter().map(|v| v.value)) else {
                let span = enumerators.first().map_or(0..0, |e| e.name.span.clone());
                let message = format!("the values of enum `{name}` do not fit in 8 bytes");
                self.diagnostics.push(Diagnostic::error(span, message, "in this enum"));
                continue;
            };
            let in_main = enumerators.first().is_some_and(|e| self.sources.in_main(&e.name.span));
            let doc = if tag.doc.is_empty() { typedef.map_or("", |t| t.doc) } else { &tag.doc };
            let model = Enum {
                name,
                has_tag: tag.name.is_some(),
                doc: doc.to_owned(),
                size,
                signed,
                values,
            };
            if in_main {
                self.enum_of.insert(at, self.enums.len());
                self.enums.push(model);
            } else {
                self.included_enums.insert(at, model);
            }
        }
    }

    /// Returns the model's enum for a tag, with its index, or `None` if the enum is not defined.
    pub(super) fn enum_at(&mut self, tag: usize) -> Option<(usize, &Enum)> {
        if let Some(model) = self.included_enums.remove(&tag) {
            self.enum_of.insert(tag, self.enums.len());
            self.enums.push(model);
        }
        let index = *self.enum_of.get(&tag)?;
        Some((index, self.enums.get(index)?))
    }

    /// Evaluates a constant expression. Reports an error and returns `None` if it has no value.
    pub(super) fn evaluate(&mut self, value: &crate::dlang::ast::Constant) -> Option<i128> {
        let result = constant::evaluate(self.sources, &value.tokens, &value.span, &*self);
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let message = format!("cannot evaluate this constant: {}", error.reason);
                self.diagnostics.push(Diagnostic::error(error.span, message, "here"));
                None
            }
        }
    }

    /// Resolves the typedefs in a type.
    pub(super) fn canonicalize(&self, ty: &Type) -> CanonicalType {
        let (mut base, mut derived) = (&ty.base, ty.derived.clone());
        for _ in 0..MAX_TYPEDEF_CHAIN {
            let canonical = match base {
                Base::Named(name) => match self.typedefs.get(name.as_str()) {
                    Some(inner) => {
                        derived.extend(inner.derived.iter().cloned());
                        base = &inner.base;
                        continue;
                    }
                    None => match type_names::built_in(name) {
                        Some(known) => CanonicalBase::Known(known),
                        None => CanonicalBase::Unknown(name.clone()),
                    },
                },
                Base::Words(words) if words.iter().any(|w| w == "void") && words.len() == 1 => {
                    CanonicalBase::Void
                }
                Base::Words(words) => match c_types::arithmetic(words) {
                    Some(_)
                        if words.iter().any(|w| w == "char")
                            && !words.iter().any(|w| w == "unsigned") =>
                    {
                        CanonicalBase::Char
                    }
                    Some(known) => CanonicalBase::Known(known),
                    None => CanonicalBase::NotAType,
                },
                Base::Tag(tag) => CanonicalBase::Tag(*tag),
                Base::Ellipsis => CanonicalBase::Ellipsis,
            };
            return CanonicalType { base: canonical, derived };
        }
        let name = if let Base::Named(name) = base { name.clone() } else { String::new() };
        CanonicalType { base: CanonicalBase::Recursive(name), derived }
    }

    /// Returns the C spelling of a type. Spellings of Go become those of C, as tracers and their
    /// scripts expect C.
    pub(super) fn spelling(&self, ty: &Type) -> String {
        if let Base::Named(name) = &ty.base
            && !self.typedefs.contains_key(name.as_str())
            && let Some(spelling) = type_names::go_spelling(name)
        {
            let mut ty = ty.clone();
            let base = match spelling.c.strip_suffix(" *") {
                Some(pointee) => {
                    ty.derived.push(Derived::Pointer);
                    pointee
                }
                None => spelling.c,
            };
            ty.text = ty.text.replace(name.as_str(), base);
            return ty.spelling();
        }
        ty.spelling()
    }

    /// Returns the type of an argument. Reports an error and returns `None` if the type cannot be
    /// passed.
    pub(super) fn argument(&mut self, ty: &Type) -> Option<model::Type> {
        let canonical = self.canonicalize(ty);
        let pointee = match canonical.derived.as_slice() {
            [] => return self.by_value(&canonical.base, ty),
            // A function is passed as its address, and an array as the address of its first
            // element.
            [Derived::Function(_), ..] => return Some(model::Type::Pointer),
            [Derived::Pointer | Derived::Array(_)] => canonical.base,
            _ => CanonicalBase::Void,
        };
        Some(match pointee {
            CanonicalBase::Char => model::Type::CString,
            CanonicalBase::Tag(tag) => match self.struct_at(tag) {
                Some(index) => model::Type::Struct { index },
                None => model::Type::Pointer,
            },
            CanonicalBase::Unknown(name) => {
                self.report_unknown_type(&name, &ty.span, true);
                model::Type::Pointer
            }
            CanonicalBase::Recursive(name) => return self.report_recursive_type(&name, &ty.span),
            _ => model::Type::Pointer,
        })
    }

    fn by_value(&mut self, base: &CanonicalBase, ty: &Type) -> Option<model::Type> {
        match base {
            CanonicalBase::Known(known) => Some(*known),
            CanonicalBase::Char => Some(model::Type::Int { size: 1, signed: true }),
            CanonicalBase::Tag(tag) => self.tag_by_value(*tag, &ty.span),
            CanonicalBase::Void => {
                let help = "write `()` for a probe without arguments, or `void *` for a pointer";
                self.report_invalid_type("`void` is not an argument type", ty, help)
            }
            CanonicalBase::NotAType => {
                let help = "`long` is 8 bytes wide, and an argument holds at most 8 bytes";
                self.report_invalid_type("this is not a C type", ty, help)
            }
            CanonicalBase::Ellipsis => {
                self.diagnostics.push(
                    Diagnostic::error(
                        ty.span.clone(),
                        "a probe cannot have a variable number of arguments",
                        "not allowed here",
                    )
                    .help("declare each argument; a probe has at most 12 argument words"),
                );
                None
            }
            CanonicalBase::Unknown(name) => {
                self.report_unknown_type(name, &ty.span, false);
                None
            }
            CanonicalBase::Recursive(name) => self.report_recursive_type(name, &ty.span),
        }
    }

    fn tag_by_value(&mut self, tag: usize, span: &Span) -> Option<model::Type> {
        let ast = self.file.tags.get(tag)?;
        if ast.keyword == Keyword::Enum {
            // An enum without a definition is an int.
            return Some(match self.enum_at(tag) {
                Some((index, model)) => {
                    model::Type::Enum { index, size: model.size, signed: model.signed }
                }
                None => model::Type::Int { size: 4, signed: true },
            });
        }
        let keyword = ast.keyword.as_str();
        let pointer = match (ast.name.as_ref(), self.tag_typedefs.get(&tag)) {
            (Some(tag), _) => format!("{keyword} {} *", tag.text),
            (None, Some(typedef)) => format!("{} *", typedef.name),
            (None, None) => "void *".to_owned(),
        };
        self.diagnostics.push(
            Diagnostic::error(
                span.clone(),
                format!("a {keyword} cannot be passed by value"),
                "an argument is at most 8 bytes",
            )
            .help(format!("pass a pointer (`{pointer}`), or list the fields a tracer needs")),
        );
        None
    }

    /// Returns the name and the type of an argument that is declared as in Go, `id uint64`.
    pub(super) fn reversed_declaration<'p>(&self, ast: &'p Param) -> Option<(&'p str, &'p str)> {
        let (Base::Named(name), Some(ty)) = (&ast.ty.base, &ast.name) else { return None };
        let is_type = |word: &str| {
            self.typedefs.contains_key(word)
                || type_names::built_in(word).is_some()
                || c_types::arithmetic(&[word.to_owned()]).is_some()
        };
        (ast.ty.derived.is_empty() && !is_type(name) && is_type(&ty.text))
            .then_some((name.as_str(), ty.text.as_str()))
    }

    fn report_invalid_type<T>(&mut self, message: &str, ty: &Type, help: &str) -> Option<T> {
        let label = format!("`{}`", ty.spelling());
        self.diagnostics.push(Diagnostic::error(ty.span.clone(), message, label).help(help));
        None
    }

    fn report_recursive_type<T>(&mut self, name: &str, span: &Span) -> Option<T> {
        let message = format!("type `{name}` is defined in terms of itself");
        self.diagnostics.push(Diagnostic::error(span.clone(), message, "used here"));
        None
    }

    /// A pointer to an unknown type is only worth a warning, because just the address is passed.
    fn report_unknown_type(&mut self, name: &str, span: &Span, pointer: bool) {
        if self.diagnostics.is_full(if pointer { Severity::Warning } else { Severity::Error }) {
            return;
        }
        let message = format!("unknown type `{name}`");
        let nearest = c_types::nearest_type(name, self.typedefs.keys().copied());
        let help = match (nearest, self.missing_headers.first()) {
            _ if name.contains("int128") => {
                "an argument holds at most 8 bytes: pass two halves, or a pointer".to_owned()
            }
            (Some(nearest), _) => format!("did you mean `{nearest}`?"),
            (None, Some(header)) => {
                format!(
                    "is it declared in `{header}`, which was not found? Add its directory with -I"
                )
            }
            (None, None) if pointer => {
                format!("declare it before the provider: `typedef struct {name} {name};`")
            }
            (None, None) => {
                format!("declare it before the provider, for example `typedef uint64_t {name};`")
            }
        };
        self.diagnostics.push(if pointer {
            Diagnostic::warning(span.clone(), message, "passed as an address").help(help)
        } else {
            Diagnostic::error(span.clone(), message, "not declared in this file").help(help)
        });
    }
}

impl Scope for Resolver<'_> {
    fn value_of(&self, name: &str) -> Option<i128> {
        self.constants.get(name).copied()
    }

    /// Knows arithmetic types, pointers, and typedefs of these.
    fn size_of(&self, tokens: &[Token]) -> Option<i128> {
        if tokens.iter().any(|t| t.kind == Kind::Punct('*')) {
            return Some(8);
        }
        let mut words: Vec<String> = tokens
            .iter()
            .map(|t| self.sources.text(&t.text).to_owned())
            .filter(|w| w != "const")
            .collect();
        words.sort();
        let base = match (words.as_slice(), c_types::arithmetic(&words)) {
            (_, Some(_)) => Base::Words(words),
            ([name], None) => Base::Named(name.clone()),
            _ => return None,
        };
        let ty = Type { span: 0..0, text: String::new(), base, derived: Vec::new() };
        let canonical = self.canonicalize(&ty);
        match (canonical.base, canonical.derived.first()) {
            (_, Some(Derived::Pointer)) => Some(8),
            (CanonicalBase::Known(known), None) => Some(known.size().into()),
            (CanonicalBase::Char, None) => Some(1),
            _ => None,
        }
    }
}
