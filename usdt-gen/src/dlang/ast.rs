//! The syntax tree of a definition: declarations as written, with spans, before types are resolved.

use super::lexer::Token;
use crate::dlang::diagnostic::Diagnostic;
use crate::dlang::source::Span;

/// A name with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) text: String,
    pub(super) span: Span,
}

/// A definition with all files that it includes.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) providers: Vec<Provider>,
    pub(super) typedefs: Vec<Typedef>,
    /// Every struct, union and enum that occurs. Types refer to them by index.
    pub(super) tags: Vec<Tag>,
    pub(super) attributes: Vec<Attributes>,
    /// From `inline int NAME = VALUE;`.
    pub(super) constants: Vec<(Name, Constant)>,
    /// Diagnostics for missing semicolons that SystemTap accepts.
    pub(super) missing_semicolons: Vec<Diagnostic>,
}

/// `typedef TYPE NAME;`
#[derive(Debug)]
pub(super) struct Typedef {
    pub(super) name: Name,
    /// The whole declaration without its semicolon.
    pub(super) extent: Span,
    pub(super) doc: String,
    pub(super) ty: Type,
}

/// `#pragma D attributes STABILITY provider PROVIDER SUBJECT`.
#[derive(Debug)]
pub(super) struct Attributes {
    pub(super) stability: String,
    pub(super) provider: Name,
    /// What the stability applies to: `provider`, `module`, `function`, `name` or `args`.
    pub(super) subject: String,
}

#[derive(Debug)]
pub(super) struct Provider {
    pub(super) name: Name,
    /// The whole declaration.
    pub(super) extent: Span,
    pub(super) doc: String,
    pub(super) probes: Vec<Probe>,
}

#[derive(Debug)]
pub(super) struct Probe {
    pub(super) name: Name,
    /// The whole declaration.
    pub(super) extent: Span,
    pub(super) doc: String,
    pub(super) params: Vec<Param>,
    /// Parameters of the translated prototype after `:`. They refer to `params` by name.
    pub(super) outputs: Vec<Param>,
}

/// A parameter of a probe, or a member of a struct.
#[derive(Debug)]
pub(super) struct Param {
    pub(super) name: Option<Name>,
    pub(super) ty: Type,
    pub(super) doc: String,
    /// The Go type in an `@go` annotation of a probe's parameter.
    pub(super) go: Option<String>,
    /// Width of a bit-field in bits.
    pub(super) bit_width: Option<Constant>,
}

/// A constant expression that is not evaluated yet.
#[derive(Clone, Debug)]
pub(super) struct Constant {
    pub(super) span: Span,
    pub(super) tokens: Vec<Token>,
    /// The expression as written, with white space normalized.
    pub(super) text: String,
}

/// A type as written.
#[derive(Clone, Debug)]
pub(super) struct Type {
    pub(super) span: Span,
    /// The words of the base with single spaces, as the schema shows them.
    pub(super) text: String,
    pub(super) base: Base,
    /// The derivations in the declarator, outermost first: `int *a[3]` is an array of pointers.
    pub(super) derived: Vec<Derived>,
}

/// The type without its declarator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// Words of an arithmetic type or `void`, sorted: `long`, `unsigned`.
    Words(Vec<String>),
    /// A single name: a typedef, or a type of the language such as `string`.
    Named(String),
    /// Index in [`File::tags`].
    Tag(usize),
    /// `...`, a variable number of arguments.
    Ellipsis,
}

/// One derivation in a declarator.
#[derive(Clone, Debug)]
pub(super) enum Derived {
    Pointer,
    /// The length is `None` if the brackets are empty.
    Array(Option<Constant>),
    /// The parameters are kept as written.
    Function(String),
}

/// A struct, union or enum.
#[derive(Debug)]
pub(super) struct Tag {
    pub(super) keyword: Keyword,
    /// `None` for an anonymous type.
    pub(super) name: Option<Name>,
    /// From the keyword to the end of the body, or the name if there is no body.
    pub(super) extent: Span,
    pub(super) doc: String,
    /// `None` if the type is declared but not defined.
    pub(super) body: Option<Body>,
    /// True if a compiler attribute changes the layout in a way that is not modeled.
    pub(super) has_layout_attribute: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Keyword {
    Struct,
    Union,
    Enum,
}

impl Keyword {
    pub(super) fn as_str(self) -> &'static str {
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
    /// Returns the C spelling of the type without a declared name: `const char *`, `int (*)(int)`.
    pub(super) fn spelling(&self) -> String {
        let mut inner = String::new();
        for (i, derived) in self.derived.iter().enumerate() {
            let after_star = i > 0 && matches!(self.derived.get(i - 1), Some(Derived::Pointer));
            match derived {
                Derived::Pointer => inner.insert(0, '*'),
                Derived::Array(length) => {
                    let length = length.as_ref().map_or("", |l| l.text.as_str());
                    inner = if after_star {
                        format!("({inner})[{length}]")
                    } else {
                        format!("{inner}[{length}]")
                    };
                }
                Derived::Function(params) => {
                    inner = if after_star {
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
