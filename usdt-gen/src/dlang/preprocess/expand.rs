//! Macro expansion with hide sets.
//!
//! Each token carries the set of macros that produced it (Prosser's algorithm). A macro does not
//! expand a token that it produced, so expansion of recursive macros ends.

use super::state::{Macro, MacroParams, Preprocessor, TOKEN_BUDGET};
use crate::dlang::lexer::{self, Kind, Token};
use crate::dlang::source::Span;
use std::rc::Rc;

/// The longest token in bytes that `#` and `##` can produce.
const MAX_TOKEN_LEN: usize = 4096;
/// The deepest nesting of macro calls in the arguments of macro calls.
const MAX_DEPTH: usize = 32;

/// The names of the macros that produced a token, as a list that shares its tail.
#[derive(Clone, Default)]
struct HideSet(Option<Rc<HideSetNode>>);

struct HideSetNode {
    name: String,
    rest: HideSet,
}

impl HideSet {
    fn contains(&self, name: &str) -> bool {
        let mut set = self;
        while let Some(node) = &set.0 {
            if node.name == name {
                return true;
            }
            set = &node.rest;
        }
        false
    }

    fn with(&self, name: &str) -> HideSet {
        HideSet(Some(Rc::new(HideSetNode { name: name.to_owned(), rest: self.clone() })))
    }
}

impl Drop for HideSet {
    /// Drops the list in a loop. The recursive destructor would overflow the stack for a long list.
    fn drop(&mut self) {
        let mut next = self.0.take();
        while let Some(node) = next {
            next = Rc::into_inner(node).and_then(|mut node| node.rest.0.take());
        }
    }
}

/// A token with its hide set.
#[derive(Clone)]
struct HiddenToken {
    token: Token,
    hidden: HideSet,
}

impl HiddenToken {
    /// A token that no macro produced.
    fn new(token: Token) -> HiddenToken {
        HiddenToken { token, hidden: HideSet::default() }
    }
}

impl Preprocessor<'_> {
    /// Expands the macros in `tokens`. Comments are kept. `depth` is the nesting of macro
    /// arguments.
    pub(super) fn expand(&mut self, tokens: Vec<Token>, depth: usize) -> Vec<Token> {
        let names_macro =
            |t: &Token| t.kind == Kind::Word && self.macros.contains_key(self.text(t));
        if !tokens.iter().any(names_macro) {
            return tokens;
        }
        let tokens = tokens.into_iter().map(HiddenToken::new).collect();
        self.expand_hidden(tokens, depth).into_iter().map(|t| t.token).collect()
    }

    fn expand_hidden(&mut self, mut pending: Vec<HiddenToken>, depth: usize) -> Vec<HiddenToken> {
        pending.reverse();
        let mut out = Vec::new();
        // After an unterminated call, later calls are not searched for their end. It would be the
        // same mistake, and the search would take quadratic time.
        let mut seen_unterminated = false;
        while let Some(HiddenToken { token, hidden }) =
            pending.pop().filter(|_| self.token_budget > 0)
        {
            let name = if token.kind == Kind::Word { self.text(&token) } else { "" };
            let can_expand = !name.is_empty() && !hidden.contains(name);
            let Some(found) = can_expand.then(|| self.macros.get(name)).flatten().cloned() else {
                out.push(HiddenToken { token, hidden });
                continue;
            };
            let name = name.to_owned();
            let arguments = if found.params.is_some() {
                let call =
                    if seen_unterminated { Call::None } else { take_arguments(&mut pending) };
                match call {
                    Call::None => {
                        out.push(HiddenToken { token, hidden });
                        continue;
                    }
                    Call::Unterminated => {
                        let help = "close its arguments with `)`";
                        self.error(
                            &token.span,
                            format!("the call of macro `{name}` is never closed"),
                            "starts here",
                            help,
                        );
                        seen_unterminated = true;
                        out.push(HiddenToken { token, hidden });
                        continue;
                    }
                    Call::Arguments(arguments) => arguments,
                }
            } else {
                Vec::new()
            };
            let Some(mut body) = self.substitute(&found, &name, arguments, &token.span, depth)
            else {
                continue;
            };
            if !self.spend(body.len(), &token.span) {
                return out;
            }
            let hidden = hidden.with(&name);
            for produced in &mut body {
                produced.token.span = token.span.clone();
                // A token from an argument keeps its own hide set.
                produced.hidden = if produced.hidden.0.is_none() {
                    hidden.clone()
                } else {
                    produced.hidden.with(&name)
                };
            }
            pending.extend(body.into_iter().rev());
        }
        out
    }

    /// Subtracts tokens from the budget. Returns false if it is exhausted.
    fn spend(&mut self, tokens: usize, span: &Span) -> bool {
        match self.token_budget.checked_sub(tokens + 1) {
            Some(rest) => self.token_budget = rest,
            None => {
                self.stop_expansion(
                    span,
                    format!("macros expand to more than {TOKEN_BUDGET} tokens"),
                );
            }
        }
        self.token_budget > 0
    }

    /// Reports an exceeded limit once, and stops all further expansion.
    fn stop_expansion(&mut self, span: &Span, message: String) {
        if self.token_budget > 0 {
            let help = "look for macros that expand to each other";
            self.error(span, message, "at this macro", help);
        }
        self.token_budget = 0;
    }

    /// Returns the body of a macro with its parameters replaced. Reports an error and returns
    /// `None` if that is not possible.
    fn substitute(
        &mut self,
        found: &Macro,
        name: &str,
        arguments: Vec<Vec<HiddenToken>>,
        span: &Span,
        depth: usize,
    ) -> Option<Vec<HiddenToken>> {
        let Some(params) = &found.params else {
            let body = found.body.iter().cloned().map(HiddenToken::new).collect();
            return Some(self.paste(body, span));
        };
        if depth >= MAX_DEPTH {
            self.stop_expansion(span, format!("macro calls are nested more than {MAX_DEPTH} deep"));
            return None;
        }
        let arguments = self.match_arguments(params, name, arguments, span)?;
        let argument_of = |token: &Token, this: &Self| {
            let text = this.text(token);
            let at = (token.kind == Kind::Word)
                .then(|| params.names.iter().position(|p| p == text))
                .flatten();
            at.and_then(|at| arguments.get(at))
        };
        let mut out: Vec<HiddenToken> = Vec::new();
        let mut at = 0;
        while let Some(token) = found.body.get(at) {
            at += 1;
            let is_paste = |i: Option<usize>, this: &Self| {
                i.and_then(|i| found.body.get(i)).is_some_and(|t| this.text(t) == "##")
            };
            if token.kind == Kind::Punct('#')
                && let Some(argument) = found.body.get(at).and_then(|t| argument_of(t, self))
            {
                at += 1;
                let argument = argument.clone();
                out.push(HiddenToken::new(self.stringify(&argument, span)?));
            } else if let Some(argument) = argument_of(token, self) {
                let argument = argument.clone();
                if is_paste(at.checked_sub(2), self) || is_paste(Some(at), self) {
                    // An empty argument becomes an empty token, so that `##` has an operand.
                    let is_empty = argument.is_empty();
                    out.extend(argument);
                    if is_empty {
                        out.push(HiddenToken::new(Token {
                            kind: Kind::Comment,
                            span: span.clone(),
                            text: 0..0,
                        }));
                    }
                } else {
                    let expanded = self.expand_hidden(argument, depth + 1);
                    if !self.spend(expanded.len(), span) {
                        return None;
                    }
                    out.extend(expanded);
                }
            } else {
                out.push(HiddenToken::new(token.clone()));
            }
        }
        Some(self.paste(out, span))
    }

    /// Returns one argument for each parameter. The last one of a variadic macro has all further
    /// arguments, joined by commas.
    fn match_arguments(
        &mut self,
        params: &MacroParams,
        name: &str,
        mut arguments: Vec<Vec<HiddenToken>>,
        span: &Span,
    ) -> Option<Vec<Vec<HiddenToken>>> {
        let wanted = params.names.len();
        // `F()` has no argument, or one that is empty.
        if wanted == 0 && arguments.len() == 1 && arguments.first().is_some_and(Vec::is_empty) {
            arguments.clear();
        }
        if params.variadic && arguments.len() >= wanted {
            let rest = arguments.split_off(wanted - 1);
            let comma = self.sources.scratch(",");
            let mut joined: Vec<HiddenToken> = Vec::new();
            for (i, argument) in rest.into_iter().enumerate() {
                if i > 0 {
                    joined.push(HiddenToken::new(Token {
                        kind: Kind::Punct(','),
                        span: span.clone(),
                        text: comma.clone(),
                    }));
                }
                joined.extend(argument);
            }
            arguments.push(joined);
        } else if params.variadic && arguments.len() + 1 == wanted {
            arguments.push(Vec::new());
        }
        if arguments.len() == wanted {
            return Some(arguments);
        }
        let (plural, got) = (if wanted == 1 { "" } else { "s" }, arguments.len());
        let message = format!("macro `{name}` takes {wanted} argument{plural}, not {got}");
        self.error(span, message, "called here", "");
        None
    }

    /// Evaluates `#argument`.
    fn stringify(&mut self, argument: &[HiddenToken], span: &Span) -> Option<Token> {
        let words: Vec<String> = argument
            .iter()
            .map(|t| self.text(&t.token).replace('\\', "\\\\").replace('"', "\\\""))
            .collect();
        let text = format!("\"{}\"", words.join(" "));
        self.new_token(&text, Kind::Quoted, span)
    }

    /// Evaluates each `left ## right`.
    fn paste(&mut self, tokens: Vec<HiddenToken>, span: &Span) -> Vec<HiddenToken> {
        if !tokens.iter().any(|t| self.text(&t.token) == "##") {
            return tokens;
        }
        let mut out: Vec<HiddenToken> = Vec::new();
        let mut rest = tokens.into_iter();
        while let Some(next) = rest.next() {
            if next.token.kind != Kind::Operator || self.text(&next.token) != "##" {
                out.push(next);
                continue;
            }
            let (Some(left), Some(right)) = (out.pop(), rest.next()) else {
                self.error(span, "`##` needs an operand on each side", "in this macro", "");
                return out;
            };
            let text = format!("{}{}", self.text(&left.token), self.text(&right.token));
            if text.is_empty() {
                out.push(left);
            } else if let Some(token) = self.new_token(&text, Kind::Word, span) {
                out.push(HiddenToken { token, hidden: left.hidden });
            }
        }
        // Remove the empty tokens that stand for empty arguments.
        out.retain(|t| t.token.kind != Kind::Comment || !t.token.text.is_empty());
        out
    }

    /// Returns a token with the given characters. They must be one token; its kind is `kind` only
    /// for [`Kind::Quoted`].
    fn new_token(&mut self, text: &str, kind: Kind, span: &Span) -> Option<Token> {
        if text.len() > MAX_TOKEN_LEN {
            let message = format!(
                "a macro expands to a token of {} bytes (limit {MAX_TOKEN_LEN})",
                text.len()
            );
            self.stop_expansion(span, message);
            return None;
        }
        let range = self.sources.scratch(text);
        if kind == Kind::Quoted {
            return Some(Token { kind, span: span.clone(), text: range });
        }
        match lexer::lex_line(self.sources, &range).as_slice() {
            [one] if one.kind != Kind::Invalid => Some(Token { span: span.clone(), ..one.clone() }),
            _ => {
                let message = format!("`##` produces `{text}`, which is not a single token");
                let help = "use `##` to join the parts of one name";
                self.error(span, message, "in this macro", help);
                None
            }
        }
    }
}

/// What follows the name of a function-like macro.
enum Call {
    /// No parenthesis. The name is an ordinary word.
    None,
    /// An opening parenthesis that is never closed.
    Unterminated,
    Arguments(Vec<Vec<HiddenToken>>),
}

/// Removes the arguments of a call from the pending tokens, which are in reverse order. Nothing is
/// removed unless the call is complete.
fn take_arguments(pending: &mut Vec<HiddenToken>) -> Call {
    let mut depth = 0usize;
    let mut close = None;
    for (at, pending) in pending.iter().enumerate().rev() {
        match pending.token.kind {
            Kind::Comment => {}
            Kind::Punct('(') => depth += 1,
            _ if depth == 0 => return Call::None,
            Kind::Punct(')') if depth == 1 => {
                close = Some(at);
                break;
            }
            Kind::Punct(')') => depth -= 1,
            _ => {}
        }
    }
    let Some(close) = close else {
        return if depth == 0 { Call::None } else { Call::Unterminated };
    };
    let mut arguments = vec![Vec::new()];
    depth = 0;
    for argument in pending.drain(close..).rev() {
        let kind = argument.token.kind;
        match kind {
            Kind::Comment => continue,
            Kind::Punct('(') => depth += 1,
            Kind::Punct(')') => depth -= 1,
            Kind::Punct(',') if depth == 1 => {
                arguments.push(Vec::new());
                continue;
            }
            _ => {}
        }
        // The outermost parentheses belong to the call.
        let is_outermost = matches!((kind, depth), (Kind::Punct('('), 1) | (Kind::Punct(')'), 0));
        if let Some(last) = arguments.last_mut().filter(|_| !is_outermost) {
            last.push(argument);
        }
    }
    Call::Arguments(arguments)
}
