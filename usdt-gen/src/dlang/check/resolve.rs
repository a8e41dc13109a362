//! Types: from what was written to what an argument is.

use crate::dlang::ast::{Base, Body, Derived, File, Keyword, Type};
use crate::dlang::c_types;
use crate::dlang::constant::{self, Scope};
use crate::dlang::diagnostic::Diagnostic;
use crate::dlang::lexer::{Kind, Token};
use crate::dlang::source::{Sources, Span};
use crate::model::{self, Enum, Struct};
use std::collections::HashMap;

/// Longest chain of typedefs; one more is a type defined by itself.
const MAX_TYPEDEFS: usize = 32;

/// How far the layout of a tag is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its members are being laid out: one that holds itself has no size.
    Open,
    /// It has no layout.
    Opaque,
    /// Its index in the model.
    Done(usize),
}

/// What is known while types are resolved.
pub(super) struct Resolver<'a> {
    pub(super) sources: &'a Sources,
    pub(super) file: &'a File,
    missing: &'a [String],
    pub(super) diagnostics: &'a mut Vec<Diagnostic>,
    typedefs: HashMap<&'a str, &'a Type>,
    /// Names of enums and structs that have none of their own, from typedefs, by tag.
    pub(super) typedef_names: HashMap<usize, (&'a str, &'a str)>,
    constants: HashMap<String, i128>,
    /// By tag, the index in the model.
    enum_of: HashMap<usize, usize>,
    pub(super) enums: Vec<Enum>,
    /// Enums of included files, by tag: part of the model once they are used.
    included_enums: HashMap<usize, Enum>,
    /// By tag.
    pub(super) struct_of: HashMap<usize, State>,
    pub(super) structs: Vec<Struct>,
}

/// A type without typedefs.
pub(super) struct Flat {
    pub(super) base: FlatBase,
    pub(super) derived: Vec<Derived>,
}

pub(super) enum FlatBase {
    /// An arithmetic type or one of the language's own.
    Known(model::Type),
    /// `char` or `signed char`.
    Char,
    Void,
    Tag(usize),
    /// No C type at all, or the ellipsis; reported by whoever needs it.
    Words,
    Ellipsis,
    Unknown(String),
    /// A typedef that leads to itself.
    Endless(String),
}

/// A parameter of array or function type is a pointer.
pub(super) fn decayed(ty: &Type) -> Type {
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
        missing: &'a [String],
        diagnostics: &'a mut Vec<Diagnostic>,
    ) -> Self {
        let mut resolver = Resolver {
            sources,
            file,
            missing,
            diagnostics,
            typedefs: file.typedefs.iter().map(|t| (t.name.text.as_str(), &t.ty)).collect(),
            typedef_names: HashMap::new(),
            constants: HashMap::new(),
            enum_of: HashMap::new(),
            enums: Vec::new(),
            struct_of: HashMap::new(),
            included_enums: HashMap::new(),
            structs: Vec::new(),
        };
        for typedef in &file.typedefs {
            if let (Base::Tag(tag), []) = (&typedef.ty.base, typedef.ty.derived.as_slice()) {
                resolver.typedef_names.entry(*tag).or_insert((&typedef.name.text, &typedef.doc));
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

    /// Enumerators are constants everywhere behind them. The file's own enums are part of the model, used or
    /// not: their names are what its users reach for.
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
                values.push((enumerator.name.text.clone(), next, enumerator.doc.clone()));
                next = next.saturating_add(1);
            }
            let typedef = self.typedef_names.get(&at);
            let name = match (&tag.name, typedef) {
                (Some(name), _) => name.text.clone(),
                (None, Some((name, _))) => (*name).to_owned(),
                (None, None) => continue,
            };
            let Some((size, signed)) = Enum::representation(values.iter().map(|v| v.1)) else {
                let span = enumerators.first().map_or(0..0, |e| e.name.span.clone());
                let message = format!("the values of enum `{name}` fit no 8-byte integer");
                self.diagnostics.push(Diagnostic::error(span, message, "from here on"));
                continue;
            };
            let own = enumerators.first().is_some_and(|e| self.sources.in_main(&e.name.span));
            let doc = if tag.doc.is_empty() { typedef.map_or("", |t| t.1) } else { &tag.doc };
            let model = Enum {
                name,
                tagged: tag.name.is_some(),
                doc: doc.to_owned(),
                size,
                signed,
                values,
            };
            if own {
                self.enum_of.insert(at, self.enums.len());
                self.enums.push(model);
            } else {
                self.included_enums.insert(at, model);
            }
        }
    }

    /// The model's enum of a tag that has a body.
    pub(super) fn enum_at(&mut self, tag: usize) -> Option<(usize, &Enum)> {
        if let Some(model) = self.included_enums.remove(&tag) {
            self.enum_of.insert(tag, self.enums.len());
            self.enums.push(model);
        }
        let index = *self.enum_of.get(&tag)?;
        Some((index, self.enums.get(index)?))
    }

    /// Value of a constant expression; reported where it has none.
    pub(super) fn evaluate(&mut self, value: &crate::dlang::ast::Constant) -> Option<i128> {
        let result = constant::evaluate(self.sources, &value.tokens, &value.span, &*self);
        match result {
            Ok(value) => Some(value),
            Err(no) => {
                let message = format!("this constant has no value: {}", no.reason);
                self.diagnostics.push(Diagnostic::error(no.span, message, "here"));
                None
            }
        }
    }

    /// Follows typedefs to their end.
    pub(super) fn flatten(&self, ty: &Type) -> Flat {
        let (mut base, mut derived) = (&ty.base, ty.derived.clone());
        for _ in 0..MAX_TYPEDEFS {
            let flat = match base {
                Base::Named(name) => match self.typedefs.get(name.as_str()) {
                    Some(inner) => {
                        derived.extend(inner.derived.iter().cloned());
                        base = &inner.base;
                        continue;
                    }
                    None => match c_types::named(name) {
                        Some(known) => FlatBase::Known(known),
                        None => FlatBase::Unknown(name.clone()),
                    },
                },
                Base::Words(words) if words.iter().any(|w| w == "void") && words.len() == 1 => {
                    FlatBase::Void
                }
                Base::Words(words) => match c_types::arithmetic(words) {
                    Some(_)
                        if words.iter().any(|w| w == "char")
                            && !words.iter().any(|w| w == "unsigned") =>
                    {
                        FlatBase::Char
                    }
                    Some(known) => FlatBase::Known(known),
                    None => FlatBase::Words,
                },
                Base::Tag(tag) => FlatBase::Tag(*tag),
                Base::Ellipsis => FlatBase::Ellipsis,
            };
            return Flat { base: flat, derived };
        }
        let name = if let Base::Named(name) = base { name.clone() } else { String::new() };
        Flat { base: FlatBase::Endless(name), derived }
    }

    /// What a parameter is; reports and returns `None` where it cannot be an argument.
    pub(super) fn argument(&mut self, ty: &Type) -> Option<model::Type> {
        let flat = self.flatten(ty);
        let pointee = match flat.derived.as_slice() {
            [] => return self.by_value(&flat.base, ty),
            // A function is passed as its address, an array as that of its first element.
            [Derived::Function(_), ..] => return Some(model::Type::Pointer),
            [Derived::Pointer | Derived::Array(_)] => flat.base,
            _ => FlatBase::Void,
        };
        Some(match pointee {
            FlatBase::Char => model::Type::CString,
            FlatBase::Tag(tag) => match self.struct_at(tag) {
                Some(index) => model::Type::Struct { index },
                None => model::Type::Pointer,
            },
            FlatBase::Unknown(name) => {
                self.unknown(&name, &ty.span, true);
                model::Type::Pointer
            }
            FlatBase::Endless(name) => return self.endless(&name, &ty.span),
            _ => model::Type::Pointer,
        })
    }

    fn by_value(&mut self, base: &FlatBase, ty: &Type) -> Option<model::Type> {
        match base {
            FlatBase::Known(known) => Some(*known),
            FlatBase::Char => Some(model::Type::Int { size: 1, signed: true }),
            FlatBase::Tag(tag) => self.tag_by_value(*tag, &ty.span),
            FlatBase::Void => {
                let help = "write `()` for a probe without arguments, `void *` for a pointer";
                self.no_type("`void` is no argument type", ty, help)
            }
            FlatBase::Words => {
                let help = "`long` is 8 bytes here; wider numbers do not fit an argument";
                self.no_type("these words spell no C type", ty, help)
            }
            FlatBase::Ellipsis => {
                self.diagnostics.push(
                    Diagnostic::error(
                        ty.span.clone(),
                        "a probe cannot have a variable number of arguments",
                        "not here",
                    )
                    .help("declare each argument; twelve words are the limit"),
                );
                None
            }
            FlatBase::Unknown(name) => {
                self.unknown(name, &ty.span, false);
                None
            }
            FlatBase::Endless(name) => self.endless(name, &ty.span),
        }
    }

    fn tag_by_value(&mut self, tag: usize, span: &Span) -> Option<model::Type> {
        let ast = self.file.tags.get(tag)?;
        if ast.keyword == Keyword::Enum {
            // An enum that is only mentioned is an int.
            return Some(match self.enum_at(tag) {
                Some((index, model)) => {
                    model::Type::Enum { index, size: model.size, signed: model.signed }
                }
                None => model::Type::Int { size: 4, signed: true },
            });
        }
        let keyword = ast.keyword.text();
        let (tag, typedef) = (ast.name.as_ref(), self.typedef_names.get(&tag));
        let pointer = match (tag, typedef) {
            (Some(tag), _) => format!("{keyword} {} *", tag.text),
            (None, Some((name, _))) => format!("{name} *"),
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

    fn no_type<T>(&mut self, message: &str, ty: &Type, help: &str) -> Option<T> {
        let label = format!("`{}`", ty.spelling());
        self.diagnostics.push(Diagnostic::error(ty.span.clone(), message, label).help(help));
        None
    }

    fn endless<T>(&mut self, name: &str, span: &Span) -> Option<T> {
        let message = format!("type `{name}` is defined by itself");
        self.diagnostics.push(Diagnostic::error(span.clone(), message, "used here"));
        None
    }

    /// Behind a pointer an unknown type is worth a warning only: the address is all that is passed.
    fn unknown(&mut self, name: &str, span: &Span, pointer: bool) {
        let message = format!("unknown type `{name}`");
        let nearest = c_types::nearest(name, self.typedefs.keys().copied());
        let help = match (nearest, self.missing.first()) {
            (Some(nearest), _) => format!("did you mean `{nearest}`?"),
            (None, Some(header)) => {
                format!("is it in `{header}`, which was not found? Name its folder with -I")
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
    fn name(&self, name: &str) -> Option<i128> {
        self.constants.get(name).copied()
    }

    /// Of arithmetic types, pointers and names that lead to those.
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
        let flat =
            self.flatten(&Type { span: 0..0, text: String::new(), base, derived: Vec::new() });
        match (flat.base, flat.derived.first()) {
            (_, Some(Derived::Pointer)) => Some(8),
            (FlatBase::Known(known), None) => Some(known.size().into()),
            (FlatBase::Char, None) => Some(1),
            _ => None,
        }
    }
}
