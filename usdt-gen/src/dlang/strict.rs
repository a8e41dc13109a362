//! What other implementations of the language would refuse.
//!
//! illumos, FreeBSD, Oracle and Apple share one grammar (`dt_grammar.y`, `dt_lex.l`); Apple's lexer alone knows
//! `//` comments. SystemTap's `dtrace` is a Python script that understands far less of C.

use super::ast::{Base, Derived, File, Param, Type};
use super::c_types;
use super::lexer::{self, Kind, Token};
use crate::dlang::diagnostic::{Diagnostic, Severity};
use crate::dlang::source::{Sources, Span};

/// An implementation of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// illumos, FreeBSD and Oracle.
    Illumos,
    /// macOS.
    Apple,
    /// SystemTap's `dtrace`.
    Systemtap,
}

/// Control lines that DTrace understands without its `-C`.
const D_CONTROLS: [&str; 4] = ["pragma", "ident", "error", "line"];
/// Control lines of the C preprocessor.
const CPP_CONTROLS: [&str; 9] =
    ["define", "undef", "if", "ifdef", "ifndef", "elif", "else", "endif", "include"];
/// Types of ours.
const OURS: [&str; 3] = ["bytes", "bool", "error"];

/// Reports what the dialect refuses; without one, only what not all of them take.
pub(super) fn check(
    sources: &Sources,
    main: &Span,
    file: File,
    dialect: Option<Dialect>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut strict = Strict { sources, diagnostics };
    match dialect {
        Some(Dialect::Systemtap) => {
            strict.systemtap(&file);
            return;
        }
        Some(dialect) => {
            strict.comments(main, dialect);
            strict.controls(main);
            strict.types(&file);
        }
        None => {}
    }
    let severity = if dialect.is_some() { Severity::Error } else { Severity::Warning };
    let help = "SystemTap does without, DTrace does not";
    strict.diagnostics.extend(
        file.missing_semicolons.into_iter().map(|d| Diagnostic { severity, ..d }.help(help)),
    );
}

struct Strict<'a> {
    sources: &'a Sources,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Strict<'_> {
    fn refuse(&mut self, span: &Span, message: impl Into<String>, label: &str, help: &str) {
        self.diagnostics.push(Diagnostic::error(span.clone(), message, label).help(help));
    }

    fn comments(&mut self, main: &Span, dialect: Dialect) {
        for token in lexer::lex(self.sources, main).iter().filter(|t| t.kind == Kind::Comment) {
            let text = self.sources.text(&token.text);
            if text.starts_with("//") {
                if dialect == Dialect::Illumos {
                    let help = "write `/* … */`";
                    self.refuse(&token.span, "DTrace has no `//` comments", "this one", help);
                }
            } else if let Some(at) = text.get(2..).and_then(|t| t.find("/*")) {
                let inner = token.span.start + 2 + at;
                let help = "remove the inner `/*`";
                self.refuse(
                    &(inner..inner + 2),
                    "DTrace takes no `/*` inside a comment",
                    "here",
                    help,
                );
            }
        }
    }

    fn controls(&mut self, main: &Span) {
        for token in lexer::lex(self.sources, main).iter().filter(|t| t.kind == Kind::Control) {
            let text = self.sources.text(&token.text).trim_start_matches('#').trim_start();
            let name: String = text.chars().take_while(char::is_ascii_alphanumeric).collect();
            if CPP_CONTROLS.contains(&name.as_str()) {
                let message = "DTrace runs the C preprocessor with `-C` only";
                self.diagnostics.push(Diagnostic::warning(
                    token.span.clone(),
                    message,
                    "this line needs it",
                ));
            } else if !(name.is_empty()
                || D_CONTROLS.contains(&name.as_str())
                || name.parse::<u32>().is_ok())
            {
                let help = "write prose as a comment: `/* … */`";
                self.refuse(
                    &token.span,
                    "DTrace does not know this control line",
                    "this line",
                    help,
                );
            }
        }
    }

    fn types(&mut self, file: &File) {
        let declared = |name: &str| file.typedefs.iter().any(|t| t.name.text == name);
        let probes = file.providers.iter().flat_map(|p| &p.probes);
        for param in probes.flat_map(|p| p.params.iter().chain(&p.outputs)) {
            if let Base::Named(name) = &param.ty.base
                && !declared(name)
                && (OURS.contains(&name.as_str()) || c_types::named(name).is_none())
            {
                let help = match name.as_str() {
                    "bytes" => "pass `const uint8_t *` and a length",
                    "bool" => "pass `uint8_t`",
                    "error" => "pass `string`",
                    _ => "declare it before the provider",
                };
                self.refuse(
                    &param.ty.span,
                    format!("DTrace has no type `{name}`"),
                    "used here",
                    help,
                );
            }
            if let Some(name) = &param.name
                && (declared(&name.text)
                    || c_types::named(&name.text)
                        .is_some_and(|_| !OURS.contains(&name.text.as_str())))
            {
                let message = format!("DTrace takes `{}` for a type", name.text);
                self.refuse(
                    &name.span,
                    message,
                    "an argument's name here",
                    "give the argument another name",
                );
            }
        }
    }

    fn systemtap(&mut self, file: &File) {
        for param in file.providers.iter().flat_map(|p| &p.probes).flat_map(|p| &p.params) {
            if let Param { name: None, ty: Type { base: Base::Words(words), derived, .. }, .. } =
                param
                && derived.is_empty()
                && words.as_slice() == ["void"]
            {
                let message = "SystemTap's dtrace counts `(void)` as an argument";
                self.refuse(&param.ty.span, message, "no argument is meant", "write `()`");
            } else if !self.simple(&param.ty) {
                let message = "SystemTap's dtrace does not understand this type";
                let help = "it takes one word, `struct`, `unsigned` or `const` with one, a star behind; \
                            a typedef gives anything such a name";
                self.refuse(&param.ty.span, message, "here", help);
            }
        }
    }

    /// `[struct|unsigned|const] NAME [const] [*]`, as the tool's grammar has it.
    fn simple(&self, ty: &Type) -> bool {
        if ty.derived.iter().any(|d| matches!(d, Derived::Function(_))) || ty.base == Base::Ellipsis
        {
            return false;
        }
        let tokens = lexer::lex_line(self.sources, &ty.span);
        let mut rest: &[Token] = &tokens;
        let mut eat = |pred: &dyn Fn(&str) -> bool| {
            let next = rest.split_first().filter(|(t, _)| pred(self.sources.text(&t.text)));
            if let Some((_, behind)) = next {
                rest = behind;
            }
            next.is_some()
        };
        let prefix = |w: &str| ["struct", "unsigned", "const"].contains(&w);
        // `unsigned x`: the prefix alone is a type, too.
        let prefixed = eat(&prefix);
        let word = |w: &str| w.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let named = eat(&|w| {
            word(w) && !prefix(w) && !["volatile", "enum", "union", "signed"].contains(&w)
        });
        eat(&|w| w == "const");
        eat(&|w| w == "*");
        (named || prefixed) && rest.is_empty()
    }
}
