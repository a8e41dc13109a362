//! Macro definitions: `#define` and the predefined macros.

use super::state::{Macro, MacroParams, Preprocessor};
use crate::dlang::diagnostic::Diagnostic;
use crate::dlang::lexer::{self, Kind, Token};
use crate::dlang::source::Span;

/// Macros that C compilers define on every supported platform. None of them names an architecture,
/// because the generated package is for all architectures.
const PREDEFINED: &[&str] = &["__linux__", "__linux", "__unix__", "__LP64__", "_LP64", "__ELF__"];

const DEFINE_FORM: &str = "the form is `#define NAME VALUE` or `#define NAME(A, B) VALUE`";

impl Preprocessor<'_> {
    /// Defines the predefined macros and those of the options.
    pub(super) fn predefine_macros(&mut self) {
        let mut macros: Vec<(String, String)> =
            PREDEFINED.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect();
        macros.extend(self.options.defines.iter().map(|define| match define.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (define.clone(), "1".to_owned()),
        }));
        for (name, value) in macros {
            let span = self.sources.scratch(&format!("{name} {value}"));
            let tokens = lexer::lex_line(self.sources, &span);
            self.define(&tokens, &span);
        }
    }

    /// Handles `#define`. `tokens` are what follows it, `line` is the whole directive.
    pub(super) fn define(&mut self, tokens: &[Token], line: &Span) {
        let Some((name, rest)) = tokens.split_first().filter(|(name, _)| name.kind == Kind::Word)
        else {
            return self.error(line, "`#define` without a name", "this line", DEFINE_FORM);
        };
        let text = self.text(name).to_owned();
        if text == "defined" {
            return self.error(&name.span, "`defined` cannot be a macro", "this name", "");
        }
        // A parenthesis directly after the name opens the parameters; after a space it begins the
        // value.
        let is_function_like = rest
            .first()
            .is_some_and(|t| t.kind == Kind::Punct('(') && t.text.start == name.text.end);
        let (params, body) = if is_function_like {
            match self.parse_params(rest.get(1..).unwrap_or_default()) {
                Some((params, used)) => (Some(params), rest.get(1 + used..).unwrap_or_default()),
                None => {
                    let message = "invalid macro parameters";
                    return self.error(&name.span, message, "in this definition", DEFINE_FORM);
                }
            }
        } else {
            (None, rest)
        };
        let new = Macro { params, body: body.to_vec(), span: name.span.clone() };
        if let Some(old) = self.macros.get(&text)
            && !self.are_equal(old, &new)
        {
            let (old, new) = (old.span.clone(), new.span.clone());
            let message = format!("macro `{text}` is redefined");
            let mut warning = Diagnostic::warning(new, message, "this definition is used");
            // A macro from the command line has no position to show.
            if self.sources.in_main(&old) {
                warning = warning.related(old, "previous definition");
            }
            self.report(warning);
        }
        self.macros.insert(text, new);
    }

    fn are_equal(&self, a: &Macro, b: &Macro) -> bool {
        a.params == b.params
            && a.body.iter().map(|t| self.text(t)).eq(b.body.iter().map(|t| self.text(t)))
    }

    /// Parses parameters up to the closing parenthesis. Returns them with the number of tokens
    /// used.
    fn parse_params(&self, tokens: &[Token]) -> Option<(MacroParams, usize)> {
        let mut params = MacroParams { names: Vec::new(), variadic: false };
        if tokens.first()?.kind == Kind::Punct(')') {
            return Some((params, 1));
        }
        let mut at = 0;
        loop {
            let token = tokens.get(at)?;
            match token.kind {
                Kind::Word => params.names.push(self.text(token).to_owned()),
                Kind::Punct('.') if self.text(token) == "..." => {
                    params.names.push("__VA_ARGS__".to_owned());
                    params.variadic = true;
                }
                _ => return None,
            }
            at += 2;
            match tokens.get(at - 1)?.kind {
                Kind::Punct(')') => return Some((params, at)),
                Kind::Punct(',') if !params.variadic => {}
                _ => return None,
            }
        }
    }
}
