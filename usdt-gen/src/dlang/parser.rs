//! Recursive descent over tokens. After an error it resumes at the next `;`, so that every mistake is its own.

use super::ast::{Attributes, Base, File, Item, Name, Param, Probe, Provider, Type};
use super::lexer::{Kind, Token};
use crate::diagnostic::{Diagnostic, Span};

/// Parses a whole file; what could not be parsed has its diagnostic and is left out.
pub(super) fn parse(source: &str, tokens: &[Token], diagnostics: &mut Vec<Diagnostic>) -> File {
    let mut parser = Parser { source, tokens, at: 0, diagnostics, pragmas: Vec::new() };
    let mut file = File::default();
    loop {
        let doc = parser.trivia();
        file.items.append(&mut parser.pragmas);
        if parser.peek().kind == Kind::End {
            return file;
        }
        if parser.item(doc, &mut file).is_err() {
            parser.skip_statement();
        }
    }
}

/// The diagnostic is already pushed.
struct Failed;
type Parse<T> = Result<T, Failed>;

struct Parser<'a> {
    source: &'a str,
    tokens: &'a [Token],
    at: usize,
    diagnostics: &'a mut Vec<Diagnostic>,
    pragmas: Vec<Item>,
}

const QUALIFIERS: [&str; 9] =
    ["const", "volatile", "restrict", "static", "extern", "register", "auto", "inline", "__restrict"];
const ARITHMETIC: [&str; 9] =
    ["void", "char", "short", "int", "long", "float", "double", "signed", "unsigned"];

const END: Token = Token { kind: Kind::End, span: 0..0 };

impl Parser<'_> {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).or(self.tokens.last()).unwrap_or(&END)
    }

    fn text(&self, token: &Token) -> &str {
        self.source.get(token.span.clone()).unwrap_or_default()
    }

    /// The next token's text; comments inside declarations are passed over.
    fn word(&mut self) -> &str {
        self.skip_comments();
        self.text(self.peek())
    }

    fn skip_comments(&mut self) {
        while self.peek().kind == Kind::Comment {
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

    fn fail<T>(&mut self, diagnostic: Diagnostic) -> Parse<T> {
        self.diagnostics.push(diagnostic);
        Err(Failed)
    }

    /// "expected X, found Y" at the next token, or right behind the previous one where something is missing.
    fn expected<T>(&mut self, what: &str, help: &str) -> Parse<T> {
        self.skip_comments();
        let token = self.peek().clone();
        let found = match token.kind {
            Kind::End => "the end of the file".to_owned(),
            Kind::Control => "a control line".to_owned(),
            _ => format!("`{}`", self.text(&token)),
        };
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

    fn expect(&mut self, c: char, after: &str) -> Parse<()> {
        if self.eat(c) {
            return Ok(());
        }
        // A missing separator belongs to the line it should end.
        let end = self.tokens.get(..self.at).and_then(|t| t.iter().rev().find(|t| t.kind != Kind::Comment));
        let end = end.map_or(0, |t| t.span.end);
        let found = self.word().to_owned();
        let found = if found.is_empty() { "the end of the file".to_owned() } else { format!("`{found}`") };
        self.fail(Diagnostic::error(
            end..end,
            format!("expected `{c}` after {after}, found {found}"),
            format!("add `{c}` here"),
        ))
    }

    fn name(&mut self, what: &str) -> Parse<Name> {
        self.skip_comments();
        if self.peek().kind != Kind::Word {
            return self.expected(what, "");
        }
        let token = self.bump();
        Ok(Name { text: self.text(&token).to_owned(), span: token.span })
    }

    /// Passes over comments and control lines; returns the documentation they hold for what follows.
    fn trivia(&mut self) -> String {
        let mut doc: Vec<Span> = Vec::new();
        loop {
            let token = self.peek().clone();
            match token.kind {
                Kind::Comment => {
                    if doc.last().is_some_and(|last| self.gap_has_blank_line(last.end..token.span.start)) {
                        doc.clear();
                    }
                    doc.push(token.span);
                    self.at += 1;
                }
                Kind::Control => {
                    doc.clear();
                    self.at += 1;
                    self.control_line(&token);
                }
                _ => {
                    let next = token.span.start;
                    if doc.last().is_some_and(|last| self.gap_has_blank_line(last.end..next)) {
                        doc.clear();
                    }
                    // A comment behind the previous declaration, on its line, documents that one.
                    if let Some(first) = doc.first()
                        && self.shares_line_with_code(first.start)
                    {
                        doc.remove(0);
                    }
                    return doc_text(doc.iter().filter_map(|span| self.source.get(span.clone())));
                }
            }
        }
    }

    fn gap_has_blank_line(&self, gap: Span) -> bool {
        self.source.get(gap).is_some_and(|text| text.matches('\n').count() > 1)
    }

    fn shares_line_with_code(&self, at: usize) -> bool {
        let before = self.source.get(..at).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        !line.trim().is_empty()
    }

    fn control_line(&mut self, token: &Token) {
        let text = self.text(token).replace("\\\n", " ");
        let words: Vec<&str> = text.trim_start_matches('#').split_whitespace().collect();
        match words.as_slice() {
            ["pragma", "D", "attributes", stability, "provider", provider, what, ..] => {
                let name = Name { text: (*provider).to_owned(), span: token.span.clone() };
                self.pragmas.push(Item::Attributes(Attributes {
                    stability: (*stability).to_owned(),
                    provider: name,
                    what: (*what).to_owned(),
                }));
            }
            ["pragma", "D", "attributes", ..] => self.diagnostics.push(
                Diagnostic::error(token.span.clone(), "incomplete attributes pragma", "written here")
                    .help("the form is `#pragma D attributes NAME/DATA/CLASS provider PROVIDER provider|module|function|name|args`"),
            ),
            // Other pragmas, idents and line markers concern the D compiler.
            ["pragma" | "ident" | "line" | "!" , ..] | [] => {}
            [first, ..] if first.starts_with('!') || first.chars().all(|c| c.is_ascii_digit()) => {}
            _ => self.diagnostics.push(
                Diagnostic::error(token.span.clone(), "preprocessor lines are not understood", "this line")
                    .help("run the file through the C preprocessor first: `cpp -P FILE.d > EXPANDED.d`"),
            ),
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
                _ => {}
            }
        }
    }

    fn item(&mut self, doc: String, file: &mut File) -> Parse<()> {
        match self.word() {
            "provider" => {
                let provider = self.provider(doc)?;
                file.items.push(Item::Provider(provider));
                Ok(())
            }
            "typedef" | "struct" | "union" | "enum" => self.declaration(file),
            ";" => {
                self.bump();
                Ok(())
            }
            "probe" => {
                let span = self.peek().span.clone();
                self.fail(
                    Diagnostic::error(span, "probe outside a provider", "not inside `provider NAME { … };`")
                        .help("wrap it: `provider app { probe …; };`"),
                )
            }
            _ => self.expected(
                "`provider`",
                "a definition file consists of `provider NAME { probe …; };` and type declarations",
            ),
        }
    }

    fn provider(&mut self, doc: String) -> Parse<Provider> {
        self.bump();
        let name = self.name("the provider's name")?;
        self.expect('{', "the provider's name")?;
        let mut probes = Vec::new();
        loop {
            let doc = self.trivia();
            if self.is_punct('}') || self.peek().kind == Kind::End {
                break;
            }
            if let Ok(probe) = self.probe(doc) {
                probes.push(probe);
            } else {
                self.skip_probe();
            }
        }
        self.expect('}', "the last probe")?;
        // A missing `;` is reported; the provider is known all the same.
        let _ = self.expect(';', "the provider's `}`");
        Ok(Provider { name, doc, probes })
    }

    /// To behind the next `;`, or in front of `}` or the next `probe` where the `;` is what is missing.
    fn skip_probe(&mut self) {
        loop {
            match self.peek().kind {
                Kind::End | Kind::Punct('}') => return,
                Kind::Punct(';') => {
                    self.at += 1;
                    return;
                }
                Kind::Word if self.text(self.peek()) == "probe" => return,
                _ => self.at += 1,
            }
        }
    }

    fn probe(&mut self, doc: String) -> Parse<Probe> {
        if self.word() != "probe" {
            return self.expected("`probe` or `}`", "");
        }
        self.bump();
        let name = self.name("the probe's name")?;
        if self.is_punct('-') {
            let span = name.span.start..self.peek().span.end;
            return self.fail(
                Diagnostic::error(span, "`-` in a probe's name", "write `__` here")
                    .help("DTrace shows `__` as `-`: `request__start` is traced as `request-start`"),
            );
        }
        let params = self.params()?;
        let outputs = if self.eat(':') { self.params()? } else { Vec::new() };
        if self.expect(';', "the probe").is_err() {
            self.skip_probe();
        }
        Ok(Probe { name, doc, params, outputs })
    }

    fn params(&mut self) -> Parse<Vec<Param>> {
        self.expect('(', "the probe's name")?;
        let mut params = Vec::new();
        if self.eat(')') {
            return Ok(params);
        }
        loop {
            params.push(self.param()?);
            if self.eat(',') {
                continue;
            }
            if self.eat(')') {
                return Ok(params);
            }
            return self.expected("`,` or `)`", "");
        }
    }

    fn param(&mut self) -> Parse<Param> {
        self.skip_comments();
        if self.is_punct('.') {
            let span = self.bump().span;
            return Ok(Param {
                name: None,
                ty: Type { span, text: "...".into(), base: Base::Ellipsis, pointers: 0 },
            });
        }
        let start = self.peek().span.start;
        let (base, text) = self.specifiers()?;
        self.declarator(start, base, text)
    }

    /// `const unsigned long`, `struct x`, `name` — everything before the stars.
    fn specifiers(&mut self) -> Parse<(Base, String)> {
        let mut words: Vec<String> = Vec::new();
        let mut text: Vec<String> = Vec::new();
        let mut base = None;
        loop {
            let word = self.word().to_owned();
            match word.as_str() {
                q if QUALIFIERS.contains(&q) => {
                    self.bump();
                    // The qualifier is part of a string type's spelling only.
                    if q == "const" {
                        text.push(word);
                    }
                }
                w if ARITHMETIC.contains(&w) && base.is_none() => {
                    self.bump();
                    words.push(word.clone());
                    text.push(word);
                }
                keyword @ ("struct" | "union" | "enum") if base.is_none() && words.is_empty() => {
                    let keyword = match keyword {
                        "struct" => "struct",
                        "union" => "union",
                        _ => "enum",
                    };
                    self.bump();
                    let tag =
                        if self.is_punct('{') { String::new() } else { self.name("a tag or `{`")?.text };
                    if self.is_punct('{') {
                        self.braces()?;
                    }
                    text.push(format!("{keyword} {tag}").trim_end().to_owned());
                    base = Some(if keyword == "enum" { Base::Enum } else { Base::Aggregate(keyword, tag) });
                }
                _ if self.peek().kind == Kind::Word && base.is_none() && words.is_empty() => {
                    self.bump();
                    text.push(word.clone());
                    base = Some(Base::Named(word));
                }
                _ => break,
            }
        }
        words.sort();
        match base {
            Some(base) => Ok((base, text.join(" "))),
            None if !words.is_empty() => Ok((Base::Words(words), text.join(" "))),
            None => self.expected("a type", ""),
        }
    }

    /// Stars, an optional name, array brackets.
    fn declarator(&mut self, start: usize, base: Base, mut text: String) -> Parse<Param> {
        let mut pointers = 0;
        loop {
            if self.eat('*') {
                text.push_str(if pointers == 0 { " *" } else { "*" });
                pointers += 1;
            } else if QUALIFIERS.contains(&self.word()) {
                self.bump();
            } else {
                break;
            }
        }
        if self.is_punct('(') {
            let span = start..self.peek().span.end;
            return self.fail(
                Diagnostic::error(span, "function pointers are not understood here", "declared here")
                    .help("declare the argument as `void *`: a tracer sees its address"),
            );
        }
        let end = self.tokens.get(self.at.saturating_sub(1)).map_or(start, |t| t.span.end);
        let name = if self.peek().kind == Kind::Word { Some(self.name("a name")?) } else { None };
        while self.is_punct('[') {
            // An array parameter is a pointer to its element.
            while !self.is_punct(']') {
                if self.bump().kind == Kind::End {
                    return self.expected("`]`", "");
                }
            }
            self.bump();
            text.push_str(if pointers == 0 { " *" } else { "*" });
            pointers += 1;
        }
        Ok(Param { name, ty: Type { span: start..end, text, base, pointers } })
    }

    fn braces(&mut self) -> Parse<()> {
        let open = self.peek().span.clone();
        let mut depth = 0usize;
        loop {
            match self.bump().kind {
                Kind::Punct('{') => depth += 1,
                Kind::Punct('}') if depth == 1 => return Ok(()),
                Kind::Punct('}') => depth -= 1,
                Kind::End => {
                    return self.fail(Diagnostic::error(open, "`{` is never closed", "opened here"));
                }
                _ => {}
            }
        }
    }

    fn declaration(&mut self, file: &mut File) -> Parse<()> {
        let typedef = self.word() == "typedef";
        if typedef {
            self.bump();
        }
        let start = self.peek().span.start;
        let (base, text) = self.specifiers()?;
        if self.eat(';') {
            return Ok(());
        }
        loop {
            let param = self.declarator(start, base.clone(), text.clone())?;
            if let (Some(name), true) = (param.name, typedef) {
                file.items.push(Item::Typedef { name, ty: param.ty });
            }
            if !self.eat(',') {
                break;
            }
        }
        self.expect(';', "the declaration")
    }
}

/// Comment markers off, common leading stars off, one blank line at most between paragraphs.
fn doc_text<'a>(comments: impl Iterator<Item = &'a str>) -> String {
    let mut lines: Vec<String> = Vec::new();
    for comment in comments {
        let body = match comment.strip_prefix("/*") {
            Some(body) => body.strip_suffix("*/").unwrap_or(body).trim_start_matches('*'),
            None => comment.trim_start_matches('/'),
        };
        for line in body.lines() {
            let line = line.trim();
            let line = line.strip_prefix('*').unwrap_or(line).trim();
            if !line.is_empty() || lines.last().is_some_and(|last| !last.is_empty()) {
                lines.push(line.to_owned());
            }
        }
    }
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines.join("\n")
}
