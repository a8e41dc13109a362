//! Tokens with spans. Comments are kept as tokens where they may document something.

use crate::diagnostic::{Diagnostic, Span};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Identifier or keyword; the parser tells them apart by position.
    Word,
    /// Integer literal.
    Number,
    /// One punctuation character, or `...`.
    Punct(char),
    /// `/* … */` or `// …`.
    Comment,
    /// A whole control line, `#` to the end of the line with continuations.
    Control,
    /// End of the text.
    End,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) span: Span,
}

/// Splits `source`. The last token is always [`Kind::End`].
pub(super) fn lex(source: &str, diagnostics: &mut Vec<Diagnostic>) -> Vec<Token> {
    let mut lexer = Lexer { source, at: 0, tokens: Vec::new(), line_start: true };
    while lexer.at < source.len() {
        lexer.step(diagnostics);
    }
    lexer.push(Kind::End, source.len());
    lexer.tokens
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    tokens: Vec<Token>,
    line_start: bool,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn push(&mut self, kind: Kind, end: usize) {
        self.tokens.push(Token { kind, span: self.at..end });
        self.at = end;
        self.line_start = false;
    }

    /// End of the run of characters from here on that satisfy `pred`.
    fn run(&self, pred: impl Fn(char) -> bool) -> usize {
        let rest = self.rest();
        self.at + rest.find(|c| !pred(c)).unwrap_or(rest.len())
    }

    fn step(&mut self, diagnostics: &mut Vec<Diagnostic>) {
        let rest = self.rest();
        let Some(c) = rest.chars().next() else { return };
        match c {
            '\n' => {
                self.at += 1;
                self.line_start = true;
            }
            c if c.is_whitespace() || c == '\u{feff}' => self.at += c.len_utf8(),
            '/' if rest.starts_with("/*") => self.block_comment(diagnostics),
            '/' if rest.starts_with("//") => {
                let end = self.run(|c| c != '\n');
                self.push(Kind::Comment, end);
            }
            '#' if self.line_start => {
                let end = self.control_line_end();
                self.push(Kind::Control, end);
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let end = self.run(|c| c.is_ascii_alphanumeric() || c == '_');
                self.push(Kind::Word, end);
            }
            c if c.is_ascii_digit() => {
                let end = self.run(|c| c.is_ascii_alphanumeric() || c == '_');
                self.push(Kind::Number, end);
            }
            '.' if rest.starts_with("...") => self.push(Kind::Punct('.'), self.at + 3),
            c if "{}()[];,:*=+-<>|&~/!?.".contains(c) => self.push(Kind::Punct(c), self.at + 1),
            c => {
                let span = self.at..self.at + c.len_utf8();
                self.at = span.end;
                diagnostics.push(
                    Diagnostic::error(
                        span,
                        format!("`{}` has no place in a provider definition", c.escape_default()),
                        "remove this character",
                    )
                    .help("names consist of ASCII letters, digits and `_`"),
                );
            }
        }
    }

    fn block_comment(&mut self, diagnostics: &mut Vec<Diagnostic>) {
        let body = self.rest().get(2..).unwrap_or_default();
        if let Some(length) = body.find("*/") {
            self.push(Kind::Comment, self.at + 2 + length + 2);
            return;
        }
        let span = self.at..self.at + 2;
        diagnostics.push(
            Diagnostic::error(span, "comment is never closed", "opened here").help("close it with `*/`"),
        );
        self.at = self.source.len();
    }

    fn control_line_end(&self) -> usize {
        let mut end = self.at;
        for line in self.rest().split_inclusive('\n') {
            end += line.len();
            let text = line.trim_end_matches(['\n', '\r']);
            if !text.ends_with('\\') {
                return end - (line.len() - text.len());
            }
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(source: &str) -> Vec<(Kind, &str)> {
        let mut diagnostics = Vec::new();
        let tokens = lex(source, &mut diagnostics);
        assert_eq!(diagnostics, []);
        tokens.iter().map(|t| (t.kind, &source[t.span.clone()])).collect()
    }

    #[test]
    fn comments_controls_and_words() {
        assert_eq!(
            kinds("#pragma D \\\n x\n/** d */ probe a(int); // end"),
            [
                (Kind::Control, "#pragma D \\\n x"),
                (Kind::Comment, "/** d */"),
                (Kind::Word, "probe"),
                (Kind::Word, "a"),
                (Kind::Punct('('), "("),
                (Kind::Word, "int"),
                (Kind::Punct(')'), ")"),
                (Kind::Punct(';'), ";"),
                (Kind::Comment, "// end"),
                (Kind::End, ""),
            ]
        );
    }

    #[test]
    fn a_stray_character_and_an_open_comment_are_reported_once_each() {
        let mut diagnostics = Vec::new();
        lex("provider é {}; /* never", &mut diagnostics);
        assert_eq!(diagnostics.len(), 2);
        assert_eq!(diagnostics[0].span, 9..11);
        assert_eq!(diagnostics[1].message, "comment is never closed");
    }
}
