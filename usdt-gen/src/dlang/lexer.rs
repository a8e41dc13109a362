//! Tokens with spans. Comments are kept as tokens where they may document something.

use crate::dlang::source::{Sources, Span};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Identifier or keyword; the parser tells them apart by position.
    Word,
    /// Number as the preprocessor knows it: anything that begins with a digit.
    Number,
    /// `"…"` or `'…'`, closed on its line.
    Quoted,
    /// One punctuation character; `.` also stands for `...`.
    Punct(char),
    /// An operator of two characters.
    Operator,
    /// `/* … */` or `// …`.
    Comment,
    /// A whole control line, `#` to the end of the line with continuations.
    Control,
    /// A character with no meaning here, or a comment that is never closed. Reported where it is reached, as it
    /// may stand in text that a condition leaves out.
    Bad,
    /// End of the text.
    End,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Where messages point: for what a macro put there, the macro's use.
    pub(super) span: Span,
    /// Where its characters stand.
    pub(super) text: Span,
}

impl Token {
    fn new(kind: Kind, span: Span) -> Token {
        Token { kind, text: span.clone(), span }
    }
}

pub(super) const OPERATORS: [&str; 12] =
    ["&&", "||", "==", "!=", "<=", ">=", "<<", ">>", "->", "++", "--", "##"];

/// Splits the text at `range`. The last token is always [`Kind::End`].
pub(super) fn lex(sources: &Sources, range: &Span) -> Vec<Token> {
    run(sources, range, true)
}

/// Splits what follows the `#` of a control line; comments are left out, and there is no [`Kind::End`].
pub(super) fn lex_line(sources: &Sources, range: &Span) -> Vec<Token> {
    let mut tokens = run(sources, range, false);
    tokens.retain(|t| !matches!(t.kind, Kind::Comment | Kind::End));
    tokens
}

fn run(sources: &Sources, range: &Span, controls: bool) -> Vec<Token> {
    let text = sources.text(range);
    let mut lexer =
        Lexer { text, base: range.start, at: 0, tokens: Vec::new(), line_start: controls };
    while lexer.at < text.len() {
        lexer.step(controls);
    }
    lexer.push(Kind::End, text.len());
    lexer.tokens
}

struct Lexer<'a> {
    text: &'a str,
    base: usize,
    at: usize,
    tokens: Vec<Token>,
    line_start: bool,
}

fn in_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn push(&mut self, kind: Kind, end: usize) {
        self.tokens.push(Token::new(kind, self.base + self.at..self.base + end));
        self.at = end;
        // A comment in front of a `#` does not make it something else.
        self.line_start &= kind == Kind::Comment;
    }

    /// End of the run of characters from here on that satisfy `pred`.
    fn run(&self, pred: impl Fn(char) -> bool) -> usize {
        let rest = self.rest();
        self.at + rest.find(|c| !pred(c)).unwrap_or(rest.len())
    }

    fn step(&mut self, controls: bool) {
        let rest = self.rest();
        let Some(c) = rest.chars().next() else { return };
        match c {
            '\n' => {
                self.at += 1;
                self.line_start = controls;
            }
            '\\' if rest.starts_with("\\\n") || rest.starts_with("\\\r\n") => {
                self.at += rest.find('\n').map_or(1, |n| n + 1);
            }
            c if c.is_whitespace() || c == '\u{feff}' => self.at += c.len_utf8(),
            '/' if rest.starts_with("/*") => {
                let end = comment_end(rest);
                self.push(
                    if end.is_some() { Kind::Comment } else { Kind::Bad },
                    self.at + end.unwrap_or(rest.len()),
                );
            }
            '/' if rest.starts_with("//") => {
                let end = self.run(|c| c != '\n');
                self.push(Kind::Comment, end);
            }
            '#' if self.line_start => {
                let end = self.at + control_line(rest);
                self.push(Kind::Control, end);
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let end = self.run(in_word);
                self.push(Kind::Word, end);
            }
            c if c.is_ascii_digit() => {
                let end = self.run(in_word);
                self.push(Kind::Number, end);
            }
            '"' | '\'' => match quoted(rest, c) {
                Some(length) => self.push(Kind::Quoted, self.at + length),
                None => self.push(Kind::Bad, self.at + 1),
            },
            '.' if rest.starts_with("...") => self.push(Kind::Punct('.'), self.at + 3),
            _ if OPERATORS.iter().any(|o| rest.starts_with(o)) => {
                self.push(Kind::Operator, self.at + 2)
            }
            c if c.is_ascii_punctuation() && !"\\`#$".contains(c) || (c == '#' && !controls) => {
                self.push(Kind::Punct(c), self.at + 1);
            }
            c => self.push(Kind::Bad, self.at + c.len_utf8()),
        }
    }
}

/// Length of the block comment at the start of `text`, if it is closed.
fn comment_end(text: &str) -> Option<usize> {
    text.get(2..)?.find("*/").map(|at| at + 4)
}

/// Length of the string or character constant at the start of `text`, if it is closed on its line.
fn quoted(text: &str, quote: char) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '\n' => return None,
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Length of the control line at the start of `text`, without its line end. Comments and continuations in it may
/// span lines.
fn control_line(text: &str) -> usize {
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|r| !r.is_empty()) {
        if rest.starts_with("//") {
            return at + rest.find('\n').unwrap_or(rest.len());
        }
        if rest.starts_with("/*") {
            match comment_end(rest) {
                Some(length) => at += length,
                // Reported when the line is read.
                None => return at + rest.find('\n').unwrap_or(rest.len()),
            }
        } else if rest.starts_with("\\\n") {
            at += 2;
        } else if rest.starts_with("\\\r\n") {
            at += 3;
        } else if rest.starts_with('\n') || rest.starts_with("\r\n") {
            return at;
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str, split: fn(&Sources, &Span) -> Vec<Token>) -> Vec<(Kind, String)> {
        let mut sources = Sources::default();
        let span = sources.add("x.d", text);
        split(&sources, &span).iter().map(|t| (t.kind, sources.text(&t.text).to_owned())).collect()
    }

    fn expect(text: &str, split: fn(&Sources, &Span) -> Vec<Token>, expected: &[(Kind, &str)]) {
        let expected: Vec<(Kind, String)> =
            expected.iter().map(|(k, t)| (*k, (*t).to_owned())).collect();
        assert_eq!(kinds(text, split), expected, "{text}");
    }

    #[test]
    fn comments_controls_and_words() {
        expect(
            "#pragma D \\\n x\n/** d */ probe a(int); // end",
            lex,
            &[
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
            ],
        );
    }

    #[test]
    fn a_control_line_ends_where_its_comment_does() {
        expect(
            "#define A 1 /* two\nlines */ + 2\nx",
            lex,
            &[
                (Kind::Control, "#define A 1 /* two\nlines */ + 2"),
                (Kind::Word, "x"),
                (Kind::End, ""),
            ],
        );
        expect(
            "# don't /* open\nx",
            lex,
            &[(Kind::Control, "# don't /* open"), (Kind::Word, "x"), (Kind::End, "")],
        );
        expect(
            "a >> 'x' ## \"s\\\"\" \\\n b // c",
            lex_line,
            &[
                (Kind::Word, "a"),
                (Kind::Operator, ">>"),
                (Kind::Quoted, "'x'"),
                (Kind::Operator, "##"),
                (Kind::Quoted, "\"s\\\"\""),
                (Kind::Word, "b"),
            ],
        );
    }

    #[test]
    fn what_has_no_meaning_is_kept_for_whoever_reaches_it() {
        expect(
            "é don't /* never",
            lex,
            &[
                (Kind::Bad, "é"),
                (Kind::Word, "don"),
                (Kind::Bad, "'"),
                (Kind::Word, "t"),
                (Kind::Bad, "/* never"),
                (Kind::End, ""),
            ],
        );
    }
}
