//! What a definition declares, with positions: the view that editors have of it.

use super::ast::{self, Keyword, Name};
use super::source::Span;

/// The providers and types of a definition and of the files that it includes.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    /// Providers in declared order.
    pub(crate) providers: Vec<Provider>,
    /// Structs, unions, enums and typedefs that have a name and a definition.
    pub(crate) types: Vec<TypeDeclaration>,
}

/// A name with its declaration.
#[derive(Debug)]
pub(crate) struct Declaration {
    /// The name as written.
    pub(crate) name: String,
    /// Position of the name.
    pub(crate) span: Span,
    /// Position of the whole declaration.
    pub(crate) extent: Span,
    /// Documentation from the comment before the declaration. Empty if there is none.
    pub(crate) doc: String,
}

/// A provider.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) declaration: Declaration,
    pub(crate) probes: Vec<Probe>,
}

/// A probe.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) declaration: Declaration,
    /// The parameters that have a name.
    pub(crate) params: Vec<String>,
}

/// A struct, union, enum or typedef.
#[derive(Debug)]
pub(crate) struct TypeDeclaration {
    pub(crate) declaration: Declaration,
    pub(crate) kind: TypeKind,
}

/// The keyword of a type's declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TypeKind {
    Struct,
    Union,
    Enum,
    Typedef,
}

impl Outline {
    pub(super) fn of(file: &ast::File) -> Outline {
        let providers = file.providers.iter().map(|provider| Provider {
            declaration: declaration(&provider.name, &provider.extent, &provider.doc),
            probes: provider.probes.iter().map(probe).collect(),
        });
        let tags = file.tags.iter().filter(|tag| tag.body.is_some()).filter_map(|tag| {
            let name = tag.name.as_ref()?;
            let kind = match tag.keyword {
                Keyword::Struct => TypeKind::Struct,
                Keyword::Union => TypeKind::Union,
                Keyword::Enum => TypeKind::Enum,
            };
            Some(TypeDeclaration { declaration: declaration(name, &tag.extent, &tag.doc), kind })
        });
        let typedefs = file.typedefs.iter().map(|typedef| TypeDeclaration {
            declaration: declaration(&typedef.name, &typedef.extent, &typedef.doc),
            kind: TypeKind::Typedef,
        });
        Outline { providers: providers.collect(), types: tags.chain(typedefs).collect() }
    }

    /// Returns the declaration of a type. `keyword` is the word before its name, which
    /// distinguishes `struct x` from a typedef `x`.
    pub(crate) fn type_declaration(&self, keyword: &str, name: &str) -> Option<&TypeDeclaration> {
        let kind = match keyword {
            "struct" => TypeKind::Struct,
            "union" => TypeKind::Union,
            "enum" => TypeKind::Enum,
            _ => TypeKind::Typedef,
        };
        self.types.iter().find(|ty| ty.kind == kind && ty.declaration.name == name)
    }
}

fn probe(probe: &ast::Probe) -> Probe {
    let names = probe.params.iter().filter_map(|param| param.name.as_ref());
    Probe {
        declaration: declaration(&probe.name, &probe.extent, &probe.doc),
        params: names.map(|name| name.text.clone()).collect(),
    }
}

fn declaration(name: &Name, extent: &Span, doc: &str) -> Declaration {
    // A name from a macro can be outside the declaration.
    let contains_name = extent.start <= name.span.start && name.span.end <= extent.end;
    let extent = if contains_name { extent } else { &name.span };
    Declaration {
        name: name.text.clone(),
        span: name.span.clone(),
        extent: extent.clone(),
        doc: doc.to_owned(),
    }
}
