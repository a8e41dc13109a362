//! Macro expansion by hide sets: a token that came out of a macro is not expanded by it again.

use super::macros::Macro;
use super::{Kind, Preprocessor, Span, Token, lexer};
use std::rc::Rc;

/// Tokens that macros may put into one run. Real files need a few thousand; a macro that doubles itself is
/// stopped here.
pub(super) const BUDGET: usize = 1 << 18;
/// Longest token that `#` and `##` may make.
const MAX_TOKEN: usize = 4096;
/// Deepest nesting of macro calls in the arguments of macro calls.
const MAX_DEPTH: usize = 32;

/// The macros that a token came out of.
#[derive(Clone, Default)]
struct Hidden(Option<Rc<(String, Hidden)>>);

impl Hidden {
    fn has(&self, name: &str) -> bool {
        let mut at = self;
        while let Some(node) = &at.0 {
            if node.0 == name {
                return true;
            }
            at = &node.1;
        }
        false
    }

    fn with(&self, name: &str) -> Hidden {
        Hidden(Some(Rc::new((name.to_owned(), self.clone()))))
    }
}

impl Drop for Hidden {
    /// Long chains are taken apart in a loop: a destructor that calls itself would run out of stack.
    fn drop(&mut self) {
        let mut next = self.0.take();
        while let Some(node) = next {
            next = Rc::into_inner(node).and_then(|mut node| node.1.0.take());
        }
    }
}

type Work = (Token, Hidden);

impl Preprocessor<'_> {
    /// Expands every macro in `tokens`; comments stay where they are.
    pub(super) fn expand(&mut self, tokens: Vec<Token>, depth: usize) -> Vec<Token> {
        let named = |t: &Token| t.kind == Kind::Word && self.macros.contains_key(self.text(t));
        if !tokens.iter().any(named) {
            return tokens;
        }
        let work = tokens.into_iter().map(|t| (t, Hidden::default())).collect();
        self.expand_work(work, depth).into_iter().map(|(token, _)| token).collect()
    }

    fn expand_work(&mut self, mut pending: Vec<Work>, depth: usize) -> Vec<Work> {
        pending.reverse();
        let mut out = Vec::new();
        // One call that does not end is one mistake, and no reason to look for the end of every later one.
        let mut open_call = false;
        while let Some((token, hidden)) = pending.pop().filter(|_| self.budget > 0) {
            let name = if token.kind == Kind::Word { self.text(&token) } else { "" };
            let usable = !name.is_empty() && !hidden.has(name);
            let Some(found) = usable.then(|| self.macros.get(name)).flatten().cloned() else {
                out.push((token, hidden));
                continue;
            };
            let name = name.to_owned();
            let arguments = if found.params.is_some() {
                match if open_call { Call::None } else { call(&mut pending) } {
                    Call::None => {
                        out.push((token, hidden));
                        continue;
                    }
                    Call::Open => {
                        let help = "close its arguments with `)`";
                        self.error(
                            &token.span,
                            format!("the call of macro `{name}` does not end"),
                            "here",
                            help,
                        );
                        open_call = true;
                        out.push((token, hidden));
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
            let inner = hidden.with(&name);
            for (t, h) in &mut body {
                t.span = token.span.clone();
                // What came through an argument keeps what it must not become again, too.
                *h = if h.0.is_none() { inner.clone() } else { h.with(&name) };
            }
            pending.extend(body.into_iter().rev());
        }
        out
    }

    /// Counts tokens against the budget.
    fn spend(&mut self, tokens: usize, span: &Span) -> bool {
        match self.budget.checked_sub(tokens + 1) {
            Some(rest) => self.budget = rest,
            None => self.give_up(span, format!("macros expand to more than {BUDGET} tokens")),
        }
        self.budget > 0
    }

    /// Reports a limit, once, and expands nothing from here on.
    fn give_up(&mut self, span: &Span, message: String) {
        if self.budget > 0 {
            self.error(span, message, "at this macro", "does a macro lead to itself?");
        }
        self.budget = 0;
    }

    /// The body with arguments in place of parameters; `None` where that is reported.
    fn substitute(
        &mut self,
        found: &Macro,
        name: &str,
        arguments: Vec<Vec<Work>>,
        span: &Span,
        depth: usize,
    ) -> Option<Vec<Work>> {
        let Some(params) = &found.params else {
            let body = found.body.iter().map(|t| (t.clone(), Hidden::default())).collect();
            return Some(self.paste(body, span));
        };
        if depth >= MAX_DEPTH {
            self.give_up(span, format!("macro calls are nested {MAX_DEPTH} deep"));
            return None;
        }
        let arguments = self.arranged(params, name, arguments, span)?;
        let value = |token: &Token, this: &Self| {
            let text = this.text(token);
            let at = (token.kind == Kind::Word)
                .then(|| params.names.iter().position(|p| p == text))
                .flatten();
            at.and_then(|at| arguments.get(at))
        };
        let mut out: Vec<Work> = Vec::new();
        let mut at = 0;
        while let Some(token) = found.body.get(at) {
            at += 1;
            let pasted = |i: Option<usize>, this: &Self| {
                i.and_then(|i| found.body.get(i)).is_some_and(|t| this.text(t) == "##")
            };
            if token.kind == Kind::Punct('#')
                && let Some(argument) = found.body.get(at).and_then(|t| value(t, self))
            {
                at += 1;
                let argument = argument.clone();
                out.push((self.stringise(&argument, span)?, Hidden::default()));
            } else if let Some(argument) = value(token, self) {
                let argument = argument.clone();
                if pasted(at.checked_sub(2), self) || pasted(Some(at), self) {
                    // Keeps `##` an operand where the argument is empty.
                    let empty = argument.is_empty();
                    out.extend(argument);
                    if empty {
                        out.push((
                            Token { kind: Kind::Comment, span: span.clone(), text: 0..0 },
                            Hidden::default(),
                        ));
                    }
                } else {
                    let expanded = self.expand_work(argument, depth + 1);
                    if !self.spend(expanded.len(), span) {
                        return None;
                    }
                    out.extend(expanded);
                }
            } else {
                out.push((token.clone(), Hidden::default()));
            }
        }
        Some(self.paste(out, span))
    }

    /// One argument for each parameter: those behind the last one of a variadic macro joined by commas.
    fn arranged(
        &mut self,
        params: &super::macros::Params,
        name: &str,
        mut arguments: Vec<Vec<Work>>,
        span: &Span,
    ) -> Option<Vec<Vec<Work>>> {
        let wanted = params.names.len();
        // `F()` is no argument, or one that is empty.
        if wanted == 0 && arguments.len() == 1 && arguments.first().is_some_and(Vec::is_empty) {
            arguments.clear();
        }
        if params.variadic && arguments.len() >= wanted {
            let rest = arguments.split_off(wanted - 1);
            let comma = self.sources.scratch(",");
            let mut joined: Vec<Work> = Vec::new();
            for (i, argument) in rest.into_iter().enumerate() {
                if i > 0 {
                    let token =
                        Token { kind: Kind::Punct(','), span: span.clone(), text: comma.clone() };
                    joined.push((token, Hidden::default()));
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

    /// `#argument`.
    fn stringise(&mut self, argument: &[Work], span: &Span) -> Option<Token> {
        let words: Vec<String> = argument
            .iter()
            .map(|(t, _)| self.text(t).replace('\\', "\\\\").replace('"', "\\\""))
            .collect();
        let text = format!("\"{}\"", words.join(" "));
        self.token(&text, Kind::Quoted, span)
    }

    /// `left ## right`.
    fn paste(&mut self, tokens: Vec<Work>, span: &Span) -> Vec<Work> {
        if !tokens.iter().any(|(t, _)| self.text(t) == "##") {
            return tokens;
        }
        let mut out: Vec<Work> = Vec::new();
        let mut rest = tokens.into_iter();
        while let Some((token, hidden)) = rest.next() {
            if token.kind != Kind::Operator || self.text(&token) != "##" {
                out.push((token, hidden));
                continue;
            }
            let (Some((left, hidden)), Some((right, _))) = (out.pop(), rest.next()) else {
                self.error(span, "`##` without something on both sides", "in this macro", "");
                return out;
            };
            let text = format!("{}{}", self.text(&left), self.text(&right));
            if text.is_empty() {
                out.push((left, hidden));
            } else if let Some(token) = self.token(&text, Kind::Word, span) {
                out.push((token, hidden));
            }
        }
        out.retain(|(t, _)| t.kind != Kind::Comment || !t.text.is_empty());
        out
    }

    /// A token of new text. What is asked for as a word may be any token, but one.
    fn token(&mut self, text: &str, kind: Kind, span: &Span) -> Option<Token> {
        if text.len() > MAX_TOKEN {
            self.give_up(span, format!("a macro makes a token of {} bytes", text.len()));
            return None;
        }
        let made = self.sources.scratch(text);
        if kind == Kind::Quoted {
            return Some(Token { kind, span: span.clone(), text: made });
        }
        match lexer::lex_line(self.sources, &made).as_slice() {
            [one] if one.kind != Kind::Bad => Some(Token { span: span.clone(), ..one.clone() }),
            _ => {
                let help = "`##` joins two halves of one name";
                self.error(span, format!("`{text}` is no single token"), "in this macro", help);
                None
            }
        }
    }
}

enum Call {
    /// No parenthesis follows: the name is an ordinary word.
    None,
    /// It is never closed.
    Open,
    Arguments(Vec<Vec<Work>>),
}

/// Takes the arguments of a call off the tokens to come, which stand in reverse. Without a whole call nothing is
/// taken.
fn call(pending: &mut Vec<Work>) -> Call {
    let mut depth = 0usize;
    let mut close = None;
    for (at, (token, _)) in pending.iter().enumerate().rev() {
        match token.kind {
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
    let Some(close) = close else { return if depth == 0 { Call::None } else { Call::Open } };
    let mut arguments = vec![Vec::new()];
    depth = 0;
    for (token, hidden) in pending.drain(close..).rev() {
        match token.kind {
            Kind::Comment => continue,
            Kind::Punct('(') => depth += 1,
            Kind::Punct(')') => depth -= 1,
            Kind::Punct(',') if depth == 1 => {
                arguments.push(Vec::new());
                continue;
            }
            _ => {}
        }
        // The outermost pair belongs to the call.
        let outermost =
            matches!((token.kind, depth), (Kind::Punct('('), 1) | (Kind::Punct(')'), 0));
        if let Some(last) = arguments.last_mut().filter(|_| !outermost) {
            last.push((token, hidden));
        }
    }
    Call::Arguments(arguments)
}
