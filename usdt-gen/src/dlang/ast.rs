//! The syntax tree: what was written, with spans, before anything is known about it.

use crate::diagnostic::Span;

/// Text with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) text: String,
    pub(super) span: Span,
}

/// A definition file.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) items: Vec<Item>,
}

/// A top-level declaration.
#[derive(Debug)]
pub(super) enum Item {
    Provider(Provider),
    /// `typedef TYPE NAME;` and every other name a declaration introduces.
    Typedef {
        name: Name,
        ty: Type,
    },
    Attributes(Attributes),
}

/// `#pragma D attributes A/B/C provider P WHAT`.
#[derive(Debug)]
pub(super) struct Attributes {
    pub(super) stability: String,
    pub(super) provider: Name,
    pub(super) what: String,
}

#[derive(Debug)]
pub(super) struct Provider {
    pub(super) name: Name,
    pub(super) doc: String,
    pub(super) probes: Vec<Probe>,
}

#[derive(Debug)]
pub(super) struct Probe {
    pub(super) name: Name,
    pub(super) doc: String,
    pub(super) params: Vec<Param>,
    /// The translated prototype after `:`, names only: it selects among the inputs.
    pub(super) outputs: Vec<Param>,
}

#[derive(Debug)]
pub(super) struct Param {
    pub(super) name: Option<Name>,
    pub(super) ty: Type,
}

/// A type as written.
#[derive(Clone, Debug)]
pub(super) struct Type {
    pub(super) span: Span,
    /// Text with single spaces, as it goes into the schema.
    pub(super) text: String,
    pub(super) base: Base,
    /// Levels of `*`, array parameters included.
    pub(super) pointers: usize,
}

/// The type before any `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// Words of an arithmetic type or `void`, sorted: `long`, `unsigned`.
    Words(Vec<String>),
    /// A single name: a typedef or one of the language's own.
    Named(String),
    /// `struct X`, `union X`.
    Aggregate(&'static str, String),
    Enum,
    /// `...`
    Ellipsis,
}
