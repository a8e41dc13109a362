//! Recursive descent over tokens. After an error it resumes at the next `;`, so that every mistake is its own.

mod declaration;
mod doc;
mod provider;

use super::ast::{Attributes, Constant, File, Keyword, Name};
use super::c_types;
use super::lexer::{Kind, Token};
use super::preprocess::Output;
use crate::dlang::diagnostic::Diagnostic;
use crate::dlang::source::{Sources, Span};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Deepest nesting of struct bodies and parentheses in declarators.
const MAX_DEPTH: usize = 48;

/// Parses all tokens; what could not be parsed has its diagnostic and is left out.
pub(super) fn parse(sources: &Sources, input: &Output, diagnostics: &mut Vec<Diagnostic>) -> File {
    let Output { tokens, truncated, .. } = input;
    let truncated = *truncated;
    let mut parser = Parser {
        sources,
        tokens,
        at: 0,
        diagnostics,
        file: File::default(),
        tag_names: HashMap::new(),
        skipped: Vec::new(),
        depth: 0,
        layout_attribute: false,
        declared: HashSet::new(),
        truncated,
    };
    let mut passed_over: BTreeMap<String, (usize, Span)> = BTreeMap::new();
    loop {
        let doc = parser.trivia();
        let token = parser.peek().clone();
        if token.kind == Kind::End {
            break;
        }
        let before = (parser.at, parser.diagnostics.len());
        if parser.item(doc).is_err() {
            parser.at = parser.at.max(before.0 + 1);
            parser.skip_statement();
            if !sources.in_main(&token.span) {
                // A C header may hold anything; what is not understood is missed only where a type is needed.
                parser.diagnostics.truncate(before.1);
                let file = sources.file_of(&token.span).to_owned();
                passed_over.entry(file).or_insert((0, token.span.clone())).0 += 1;
            }
        }
    }
    for (file, (count, first)) in passed_over {
        let plural = if count == 1 { "" } else { "s" };
        parser.diagnostics.push(Diagnostic::warning(
            first,
            format!("{count} declaration{plural} of {file} not understood"),
            "passed over, the first of them",
        ));
    }
    parser.file
}

/// The diagnostic is already pushed.
struct Failed;
type Parse<T> = Result<T, Failed>;

struct Parser<'a> {
    sources: &'a Sources,
    tokens: &'a [Token],
    at: usize,
    diagnostics: &'a mut Vec<Diagnostic>,
    file: File,
    /// Where each named tag is in the file's list.
    tag_names: HashMap<(Keyword, String), usize>,
    /// Comments that were passed over inside a declaration.
    skipped: Vec<Span>,
    depth: usize,
    /// An attribute with a say in layouts was passed over.
    layout_attribute: bool,
    /// Names of typedefs so far.
    declared: HashSet<String>,
    /// The text ends in a comment that is never closed.
    truncated: bool,
}

const END: Token = Token { kind: Kind::End, span: 0..0, text: 0..0 };

impl Parser<'_> {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).or(self.tokens.last()).unwrap_or(&END)
    }

    fn text(&self, token: &Token) -> &str {
        self.sources.text(&token.text)
    }

    /// The next token's text; comments inside declarations are passed over.
    fn word(&mut self) -> &str {
        self.skip_comments();
        self.text(self.peek())
    }

    fn skip_comments(&mut self) {
        while self.peek().kind == Kind::Comment {
            let span = self.peek().span.clone();
            self.skipped.push(span);
            self.at += 1;
        }
    }

    fn bump(&mut self) -> Token {
        self.skip_comments();
        let token = self.peek().clone();
        if token.kind != Kind::End {
            self.at += 1;
        }
        token
    }

    fn is_punct(&mut self, c: char) -> bool {
        self.skip_comments();
        self.peek().kind == Kind::Punct(c)
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.is_punct(c);
        if found {
            self.at += 1;
        }
        found
    }

    /// The last token before the next one that is no comment.
    fn previous(&self) -> Option<&Token> {
        self.tokens.get(..self.at)?.iter().rev().find(|t| t.kind != Kind::Comment)
    }

    /// That the rest is missing is no news behind a comment that is never closed.
    fn report(&mut self, diagnostic: Diagnostic) {
        if !(self.truncated && self.peek().kind == Kind::End) {
            self.diagnostics.push(diagnostic);
        }
    }

    fn fail<T>(&mut self, diagnostic: Diagnostic) -> Parse<T> {
        self.report(diagnostic);
        Err(Failed)
    }

    /// "expected X, found Y" at the next token.
    fn expected<T>(&mut self, what: &str, help: &str) -> Parse<T> {
        self.skip_comments();
        let token = self.peek().clone();
        let found = self.described(&token);
        let mut diagnostic = Diagnostic::error(
            token.span,
            format!("expected {what}, found {found}"),
            format!("expected {what}"),
        );
        if !help.is_empty() {
            diagnostic = diagnostic.help(help);
        }
        self.fail(diagnostic)
    }

    fn described(&self, token: &Token) -> String {
        match token.kind {
            Kind::End => "the end of the file".to_owned(),
            Kind::Control => "a control line".to_owned(),
            _ => format!("`{}`", self.text(token)),
        }
    }

    /// A missing separator belongs to the line it should end.
    fn missing(&mut self, c: char, after: &str) -> Diagnostic {
        self.skip_comments();
        let token = self.peek().clone();
        let end = self.previous().map_or(0, |t| t.span.end);
        let found = self.described(&token);
        Diagnostic::error(
            end..end,
            format!("expected `{c}` after {after}, found {found}"),
            format!("add `{c}` here"),
        )
    }

    fn expect(&mut self, c: char, after: &str) -> Parse<()> {
        if self.eat(c) {
            return Ok(());
        }
        let diagnostic = self.missing(c, after);
        self.fail(diagnostic)
    }

    fn name(&mut self, what: &str) -> Parse<Name> {
        self.skip_comments();
        if self.peek().kind != Kind::Word {
            return self.expected(what, "");
        }
        let token = self.bump();
        Ok(Name { text: self.text(&token).to_owned(), span: token.span })
    }

    /// Runs a step one level deeper, unless that is too deep.
    fn nested<T>(&mut self, step: impl FnOnce(&mut Self) -> Parse<T>) -> Parse<T> {
        if self.depth >= MAX_DEPTH {
            let span = self.peek().span.clone();
            let message = format!("declarations are nested {MAX_DEPTH} deep");
            return self.fail(Diagnostic::error(span, message, "the next one would be here"));
        }
        self.depth += 1;
        let result = step(self);
        self.depth -= 1;
        result
    }

    /// The tokens of a constant expression, up to one of `stops`.
    fn constant(&mut self, stops: &str) -> Constant {
        let start = self.at;
        let mut depth = 0usize;
        loop {
            self.skip_comments();
            match self.peek().kind {
                Kind::End => break,
                Kind::Punct(c) if depth == 0 && stops.contains(c) => break,
                Kind::Punct('(') => depth += 1,
                Kind::Punct(')') => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
        }
        let next = self.peek().span.clone();
        let tokens: Vec<Token> = self.tokens.get(start..self.at).unwrap_or_default().to_vec();
        let tokens: Vec<Token> = tokens.into_iter().filter(|t| t.kind != Kind::Comment).collect();
        let span = match (tokens.first(), tokens.last()) {
            (Some(first), Some(last)) => first.span.start..last.span.end.max(first.span.start),
            _ => next.start..next.start,
        };
        let text = self.joined(&tokens);
        Constant { span, tokens, text }
    }

    /// Tokens as one would write them: a space between words only.
    fn joined(&self, tokens: &[Token]) -> String {
        let mut out = String::new();
        for token in tokens.iter().filter(|t| t.kind != Kind::Comment) {
            let text = self.text(token);
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ',';
            if out.ends_with(word) && text.starts_with(|c: char| word(c) && c != ',' || c == '*') {
                out.push(' ');
            }
            out.push_str(text);
        }
        out
    }

    fn control_line(&mut self, token: &Token) {
        let text = self.text(token).replace("\\\n", " ");
        let words: Vec<&str> = text.trim_start_matches('#').split_whitespace().collect();
        match words.as_slice() {
            ["pragma", "D", "attributes", stability, "provider", provider, what, ..] => {
                let name = Name { text: (*provider).to_owned(), span: token.span.clone() };
                self.file.attributes.push(Attributes {
                    stability: (*stability).to_owned(),
                    provider: name,
                    what: (*what).to_owned(),
                });
            }
            ["pragma", "D", "attributes", ..] => self.diagnostics.push(
                Diagnostic::error(
                    token.span.clone(),
                    "incomplete attributes pragma",
                    "written here",
                )
                .help(
                    "the form is `#pragma D attributes NAME/DATA/CLASS provider PROVIDER \
                     provider|module|function|name|args`",
                ),
            ),
            // Other pragmas concern the D compiler.
            _ => {}
        }
    }

    /// To behind the next `;` outside braces, or to behind a closing brace that ends the declaration.
    fn skip_statement(&mut self) {
        let mut depth = 0usize;
        loop {
            let token = self.bump();
            match token.kind {
                Kind::End => return,
                Kind::Punct('{') => depth += 1,
                Kind::Punct('}') if depth <= 1 => {
                    self.eat(';');
                    return;
                }
                Kind::Punct('}') => depth -= 1,
                Kind::Punct(';') if depth == 0 => return,
                // Whatever the mistake was, a provider begins anew.
                Kind::Word if depth == 0 && self.text(&token) == "provider" => {
                    self.at -= 1;
                    return;
                }
                _ => {}
            }
        }
    }

    /// From an opening bracket to behind the one that closes it.
    fn skip_brackets(&mut self) -> Parse<()> {
        let open = self.peek().clone();
        let mut depth = 0usize;
        loop {
            match self.bump().kind {
                Kind::Punct('{' | '(' | '[') => depth += 1,
                Kind::Punct('}' | ')' | ']') if depth == 1 => return Ok(()),
                Kind::Punct('}' | ')' | ']') => depth -= 1,
                Kind::End => {
                    let message = format!("{} is never closed", self.described(&open));
                    return self.fail(Diagnostic::error(open.span, message, "opened here"));
                }
                _ => {}
            }
        }
    }

    fn item(&mut self, doc: String) -> Parse<()> {
        let word = self.word().to_owned();
        match word.as_str() {
            "provider" => {
                let provider = self.provider(doc)?;
                self.file.providers.push(provider);
                Ok(())
            }
            ";" => {
                self.bump();
                Ok(())
            }
            "probe" => {
                let span = self.peek().span.clone();
                self.fail(
                    Diagnostic::error(
                        span,
                        "probe outside a provider",
                        "not inside `provider NAME { … };`",
                    )
                    .help("wrap it: `provider app { probe …; };`"),
                )
            }
            // How a D program translates one type to another, or what C asserts, is no part of the interface.
            "translator" | "_Static_assert" | "static_assert" => {
                self.skip_statement();
                Ok(())
            }
            "inline" => self.inline(),
            _ if self.declares(&word) => self.declaration(&doc),
            _ if self.is_clause() => {
                let span = self.peek().span.clone();
                self.diagnostics.push(
                    Diagnostic::warning(span, "probe clauses do not define probes", "passed over")
                        .help("this file is a D program: only its providers and types are read"),
                );
                while !self.is_punct('{') {
                    self.bump();
                }
                self.skip_brackets()
            }
            _ => {
                let near =
                    c_types::nearest_of(&word, ["provider", "typedef", "struct"].into_iter());
                let help = near.map_or_else(
                    || {
                        "a definition file consists of `provider NAME { probe …; };` and type declarations"
                            .to_owned()
                    },
                    |near| format!("did you mean `{near}`?"),
                );
                self.expected("`provider`", &help)
            }
        }
    }

    /// `syscall::read:entry / pred / { … }`, `BEGIN { … }`: a probe specification with its action.
    fn is_clause(&self) -> bool {
        let rest = self.tokens.get(self.at..).unwrap_or_default();
        let mut colons = false;
        for token in rest.iter().filter(|t| t.kind != Kind::Comment) {
            match token.kind {
                Kind::Punct('{') => {
                    let first = rest.first().map_or("", |t| self.text(t));
                    return colons || ["BEGIN", "END", "ERROR"].contains(&first);
                }
                Kind::Punct(':') => colons = true,
                Kind::Punct(';' | '}') | Kind::End => return false,
                _ => {}
            }
        }
        false
    }
}
