//! Macro definitions.

use super::{Diagnostic, Kind, Preprocessor, Span, Token};

/// A defined macro.
#[derive(Clone, Debug)]
pub(super) struct Macro {
    /// `None` for object-like ones.
    pub(super) params: Option<Params>,
    pub(super) body: Vec<Token>,
    span: Span,
}

/// Parameters of a function-like macro.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Params {
    pub(super) names: Vec<String>,
    /// Whether the last one takes all further arguments: `...` is `__VA_ARGS__`.
    pub(super) variadic: bool,
}

impl Preprocessor<'_> {
    /// `#define` with what follows it.
    pub(super) fn define(&mut self, tokens: &[Token], line: &Span) {
        let Some((name, rest)) = tokens.split_first().filter(|(name, _)| name.kind == Kind::Word)
        else {
            let help = "the form is `#define NAME VALUE` or `#define NAME(A, B) VALUE`";
            return self.error(line, "`#define` without a name", "this line", help);
        };
        let text = self.text(name).to_owned();
        if text == "defined" {
            return self.error(&name.span, "`defined` cannot be a macro", "this name", "");
        }
        // A parenthesis that touches the name opens the parameters; one behind a space begins the value.
        let touches = rest
            .first()
            .is_some_and(|t| t.kind == Kind::Punct('(') && t.text.start == name.text.end);
        let (params, body) = if touches {
            match self.params(rest.get(1..).unwrap_or_default()) {
                Some((params, used)) => (Some(params), rest.get(1 + used..).unwrap_or_default()),
                None => {
                    let help = "the form is `#define NAME(A, B) VALUE`";
                    return self.error(
                        &name.span,
                        "the parameters are not understood",
                        "of this macro",
                        help,
                    );
                }
            }
        } else {
            (None, rest)
        };
        let new = Macro { params, body: body.to_vec(), span: name.span.clone() };
        if let Some(old) = self.macros.get(&text)
            && !self.same(old, &new)
        {
            let (old, new) = (old.span.clone(), new.span.clone());
            let warning =
                Diagnostic::warning(new, format!("`{text}` is defined anew"), "this value counts");
            let known = self.sources.in_main(&old);
            self.diagnostics.push(if known {
                warning.related(old, "defined before here")
            } else {
                warning
            });
        }
        self.macros.insert(text, new);
    }

    fn same(&self, a: &Macro, b: &Macro) -> bool {
        let spelled =
            |m: &Macro| m.body.iter().map(|t| self.text(t).to_owned()).collect::<Vec<_>>();
        a.params == b.params && spelled(a) == spelled(b)
    }

    /// The names up to the closing parenthesis, and how many tokens that took.
    fn params(&self, tokens: &[Token]) -> Option<(Params, usize)> {
        let mut params = Params { names: Vec::new(), variadic: false };
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
