//! Reports what other implementations of the language reject.
//!
//! illumos, FreeBSD, Oracle and Apple share one grammar (`dt_grammar.y`, `dt_lex.l`); Only Apple's
//! lexer accepts `//` comments. SystemTap's `dtrace` is a Python script that understands far less
//! of C.

use super::ast::{Base, Body, Derived, File, Param, Type};
use super::lexer::{self, Kind, Token};
use crate::dlang::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::dlang::source::{Sources, Span};
use crate::dlang::type_names::{self, GoSpelling};

/// Another implementation of the definition language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// DTrace of illumos, FreeBSD and Oracle.
    Illumos,
    /// DTrace of macOS.
    Apple,
    /// The `dtrace` script of SystemTap.
    Systemtap,
}

/// Directives that DTrace understands without its option `-C`.
const D_DIRECTIVES: [&str; 4] = ["pragma", "ident", "error", "line"];
/// Directives of the C preprocessor.
const CPP_DIRECTIVES: [&str; 9] =
    ["define", "undef", "if", "ifdef", "ifndef", "elif", "else", "endif", "include"];
/// Types that only this implementation has.
const EXTENSION_TYPES: [&str; 3] = ["bytes", "bool", "error"];

/// Reports what `dialect` rejects. Without a dialect, warns about what only some of them accept.
pub(super) fn check(
    sources: &Sources,
    main: &Span,
    file: &mut File,
    dialect: Option<Dialect>,
    diagnostics: &mut Diagnostics,
) {
    let mut checker = StrictChecker { sources, diagnostics };
    match dialect {
        Some(Dialect::Systemtap) => {
            checker.check_go_spellings(file, "SystemTap's dtrace");
            checker.check_systemtap_types(file);
            return;
        }
        Some(dialect) => {
            checker.check_comments(main, dialect);
            checker.check_directives(main);
            checker.check_go_spellings(file, "DTrace");
            checker.check_types(file);
        }
        None => {}
    }
    let severity = if dialect.is_some() { Severity::Error } else { Severity::Warning };
    let help = "SystemTap accepts this, DTrace does not";
    for diagnostic in std::mem::take(&mut file.missing_semicolons) {
        checker.diagnostics.push(Diagnostic { severity, ..diagnostic }.help(help));
    }
}

/// Returns the spelling of Go that a type has, unless the file declares that name.
fn go_spelling(file: &File, ty: &Type) -> Option<&'static GoSpelling> {
    let Base::Named(name) = &ty.base else { return None };
    let is_declared = file.typedefs.iter().any(|t| t.name.text == *name);
    type_names::go_spelling(name).filter(|_| !is_declared)
}

struct StrictChecker<'a> {
    sources: &'a Sources,
    diagnostics: &'a mut Diagnostics,
}

impl StrictChecker<'_> {
    fn error(&mut self, span: &Span, message: impl Into<String>, label: &str, help: &str) {
        self.diagnostics.push(Diagnostic::error(span.clone(), message, label).help(help));
    }

    fn check_comments(&mut self, main: &Span, dialect: Dialect) {
        for token in lexer::lex(self.sources, main).iter().filter(|t| t.kind == Kind::Comment) {
            let text = self.sources.text(&token.text);
            if text.starts_with("//") {
                if dialect == Dialect::Illumos {
                    let help = "write `/* … */`";
                    self.error(&token.span, "DTrace has no `//` comments", "this comment", help);
                }
            } else if let Some(at) = text.get(2..).and_then(|t| t.find("/*")) {
                let inner = token.span.start + 2 + at;
                let help = "remove the inner `/*`";
                self.error(
                    &(inner..inner + 2),
                    "DTrace does not allow `/*` inside a comment",
                    "here",
                    help,
                );
            }
        }
    }

    fn check_directives(&mut self, main: &Span) {
        for token in lexer::lex(self.sources, main).iter().filter(|t| t.kind == Kind::Directive) {
            let text = self.sources.text(&token.text).trim_start_matches('#').trim_start();
            let name: String = text.chars().take_while(char::is_ascii_alphanumeric).collect();
            if CPP_DIRECTIVES.contains(&name.as_str()) {
                let message = "DTrace runs the C preprocessor only with `-C`";
                self.diagnostics.push(Diagnostic::warning(
                    token.span.clone(),
                    message,
                    "this line needs it",
                ));
            } else if !(name.is_empty()
                || D_DIRECTIVES.contains(&name.as_str())
                || name.parse::<u32>().is_ok())
            {
                let help = "write prose as a comment: `/* … */`";
                self.error(&token.span, "DTrace does not know this directive", "this line", help);
            }
        }
    }

    /// Reports types that are spelled as in Go.
    fn check_go_spellings(&mut self, file: &File, implementation: &str) {
        let members = file.tags.iter().filter_map(|tag| match &tag.body {
            Some(Body::Members(members)) => Some(members),
            _ => None,
        });
        let probes = file.providers.iter().flat_map(|p| &p.probes);
        let types = probes
            .flat_map(|p| p.params.iter().chain(&p.outputs))
            .chain(members.flatten())
            .map(|param| &param.ty)
            .chain(file.typedefs.iter().map(|typedef| &typedef.ty));
        for ty in types {
            if let Some(spelling) = go_spelling(file, ty) {
                let message = format!("{implementation} has no type `{}` of Go", spelling.go);
                let help = match spelling.ty {
                    crate::model::Type::Duration => {
                        "write `int64_t`, and `@go NAME time.Duration` in the comment"
                    }
                    crate::model::Type::Bytes => "pass `const uint8_t *` and a length",
                    _ => &format!("write `{}`", spelling.c),
                };
                self.error(&ty.span, message, "used here", help);
            }
        }
    }

    fn check_types(&mut self, file: &File) {
        let declared = |name: &str| file.typedefs.iter().any(|t| t.name.text == name);
        let probes = file.providers.iter().flat_map(|p| &p.probes);
        for param in probes.flat_map(|p| p.params.iter().chain(&p.outputs)) {
            if let Base::Named(name) = &param.ty.base
                && !declared(name)
                && go_spelling(file, &param.ty).is_none()
                && (EXTENSION_TYPES.contains(&name.as_str())
                    || type_names::standard(name).is_none())
            {
                let help = match name.as_str() {
                    "bytes" => "pass `const uint8_t *` and a length",
                    "bool" => "pass `uint8_t`",
                    "error" => "pass `string`",
                    _ => "declare it before the provider",
                };
                self.error(
                    &param.ty.span,
                    format!("DTrace has no type `{name}`"),
                    "used here",
                    help,
                );
            }
            if let Some(name) = &param.name
                && (declared(&name.text)
                    || type_names::standard(&name.text)
                        .is_some_and(|_| !EXTENSION_TYPES.contains(&name.text.as_str())))
            {
                let message = format!("DTrace parses `{}` as a type", name.text);
                self.error(
                    &name.span,
                    message,
                    "used as an argument name",
                    "give the argument another name",
                );
            }
        }
    }

    fn check_systemtap_types(&mut self, file: &File) {
        for param in file.providers.iter().flat_map(|p| &p.probes).flat_map(|p| &p.params) {
            if let Param { name: None, ty: Type { base: Base::Words(words), derived, .. }, .. } =
                param
                && derived.is_empty()
                && words.as_slice() == ["void"]
            {
                let message = "SystemTap's dtrace counts `(void)` as an argument";
                self.error(&param.ty.span, message, "this means no arguments", "write `()`");
            } else if go_spelling(file, &param.ty).is_none() && !self.is_systemtap_type(&param.ty) {
                let message = "SystemTap's dtrace does not understand this type";
                let help = "it accepts a single word, optionally with `struct`, `unsigned` or `const` \
                            before and `*` after it; use a typedef for other types";
                self.error(&param.ty.span, message, "here", help);
            }
        }
    }

    /// Returns true for `[struct|unsigned|const] NAME [const] [*]`, the types in the script's
    /// grammar.
    fn is_systemtap_type(&self, ty: &Type) -> bool {
        if ty.derived.iter().any(|d| matches!(d, Derived::Function(_))) || ty.base == Base::Ellipsis
        {
            return false;
        }
        let tokens = lexer::lex_line(self.sources, &ty.span);
        let mut rest: &[Token] = &tokens;
        let mut eat = |pred: &dyn Fn(&str) -> bool| {
            let next = rest.split_first().filter(|(t, _)| pred(self.sources.text(&t.text)));
            if let Some((_, after)) = next {
                rest = after;
            }
            next.is_some()
        };
        let is_prefix = |w: &str| ["struct", "unsigned", "const"].contains(&w);
        // In `unsigned x` the prefix alone is the type.
        let has_prefix = eat(&is_prefix);
        let is_word = |w: &str| w.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let has_name = eat(&|w| {
            is_word(w) && !is_prefix(w) && !["volatile", "enum", "union", "signed"].contains(&w)
        });
        eat(&|w| w == "const");
        eat(&|w| w == "*");
        (has_name || has_prefix) && rest.is_empty()
    }
}
