//! The syntax tree: what was written, with spans, before anything is known about it.

use super::lexer::Token;
use crate::dlang::diagnostic::Diagnostic;
use crate::dlang::source::Span;

/// Text with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) text: String,
    pub(super) span: Span,
}

/// A definition file with all it includes.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) providers: Vec<Provider>,
    pub(super) typedefs: Vec<Typedef>,
    /// Every struct, union and enum that is mentioned; types refer to them by index.
    pub(super) tags: Vec<Tag>,
    pub(super) attributes: Vec<Attributes>,
    /// `inline int NAME = VALUE;`
    pub(super) constants: Vec<(Name, Constant)>,
    /// Missing semicolons that SystemTap does without, as the messages about them.
    pub(super) missing_semicolons: Vec<Diagnostic>,
}

/// `typedef TYPE NAME;`
#[derive(Debug)]
pub(super) struct Typedef {
    pub(super) name: Name,
    pub(super) doc: String,
    pub(super) ty: Type,
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
    /// The translated prototype after `:`, which selects among the inputs by name.
    pub(super) outputs: Vec<Param>,
}

/// A parameter, or a member of a struct.
#[derive(Debug)]
pub(super) struct Param {
    pub(super) name: Option<Name>,
    pub(super) ty: Type,
    pub(super) doc: String,
    /// The Go type that an annotation `@go` names, of a probe's parameter.
    pub(super) go: Option<String>,
    /// Width, of a bit-field.
    pub(super) bits: Option<Constant>,
}

/// A constant expression, not evaluated yet.
#[derive(Clone, Debug)]
pub(super) struct Constant {
    pub(super) span: Span,
    pub(super) tokens: Vec<Token>,
    /// As written, single spaces.
    pub(super) text: String,
}

/// A type as written.
#[derive(Clone, Debug)]
pub(super) struct Type {
    pub(super) span: Span,
    /// The base's words with single spaces, as they go into the schema.
    pub(super) text: String,
    pub(super) base: Base,
    /// What the declarator makes of the base, outermost first: `int *a[3]` is an array of pointers.
    pub(super) derived: Vec<Derived>,
}

/// The type before any `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// Words of an arithmetic type or `void`, sorted: `long`, `unsigned`.
    Words(Vec<String>),
    /// A single name: a typedef or one of the language's own.
    Named(String),
    /// Index in [`File::tags`].
    Tag(usize),
    /// `...`
    Ellipsis,
}

/// A step of a declarator.
#[derive(Clone, Debug)]
pub(super) enum Derived {
    Pointer,
    /// Without a length where the brackets are empty.
    Array(Option<Constant>),
    /// With its parameters' text.
    Function(String),
}

/// A struct, union or enum.
#[derive(Debug)]
pub(super) struct Tag {
    pub(super) keyword: Keyword,
    /// Absent for one that is only its body.
    pub(super) name: Option<Name>,
    pub(super) doc: String,
    /// Absent where it is only mentioned.
    pub(super) body: Option<Body>,
    /// A compiler attribute changes the layout in a way that is not modelled.
    pub(super) attributes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Keyword {
    Struct,
    Union,
    Enum,
}

impl Keyword {
    pub(super) fn text(self) -> &'static str {
        match self {
            Keyword::Struct => "struct",
            Keyword::Union => "union",
            Keyword::Enum => "enum",
        }
    }
}

#[derive(Debug)]
pub(super) enum Body {
    Members(Vec<Param>),
    Enumerators(Vec<Enumerator>),
}

#[derive(Debug)]
pub(super) struct Enumerator {
    pub(super) name: Name,
    pub(super) value: Option<Constant>,
    pub(super) doc: String,
}

impl Type {
    /// The type without a name in it: `const char *`, `int (*)(int)`.
    pub(super) fn spelling(&self) -> String {
        let mut inner = String::new();
        for (i, step) in self.derived.iter().enumerate() {
            let behind_star = i > 0 && matches!(self.derived.get(i - 1), Some(Derived::Pointer));
            match step {
                Derived::Pointer => inner.insert(0, '*'),
                Derived::Array(length) => {
                    let length = length.as_ref().map_or("", |l| l.text.as_str());
                    inner = if behind_star {
                        format!("({inner})[{length}]")
                    } else {
                        format!("{inner}[{length}]")
                    };
                }
                Derived::Function(params) => {
                    inner = if behind_star {
                        format!("({inner})({params})")
                    } else {
                        format!("{inner}({params})")
                    };
                }
            }
        }
        if inner.is_empty() { self.text.clone() } else { format!("{} {inner}", self.text) }
    }
}
