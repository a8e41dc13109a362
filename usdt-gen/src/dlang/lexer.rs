//! Splits source into tokens with spans. Comments are tokens, too: they document what follows.

use crate::dlang::source::{Sources, Span};

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Identifier or keyword; the parser distinguishes them by position.
    Word,
    /// Preprocessing number: anything that begins with a digit.
    Number,
    /// `"…"` or `'…'` that is closed on the same line, with the prefix of its encoding: `L'x'`.
    Quoted,
    /// One punctuation character, or `...`, which has the character `.`.
    Punct(char),
    /// An operator of two characters.
    Operator,
    /// `/* … */` or `// …`.
    Comment,
    /// A whole directive line, from `#` to the end of the line including continuations.
    Directive,
    /// The rest of a source after [`MAX_TOKENS`] tokens. The preprocessor reports it.
    Rest,
    /// A character that is not part of the language, or a comment that is never closed. The
    /// preprocessor reports it, unless it is inside a condition that does not hold.
    Invalid,
    /// End of the source.
    End,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// The position for messages. For a token from a macro, this is where the macro is used.
    pub(super) span: Span,
    /// The position of the token's own characters.
    pub(super) text: Span,
}

impl Token {
    fn new(kind: Kind, span: Span) -> Token {
        Token { kind, text: span.clone(), span }
    }
}

/// The operators of two characters.
pub(super) const OPERATORS: [&str; 12] =
    ["&&", "||", "==", "!=", "<=", ">=", "<<", ">>", "->", "++", "--", "##"];

/// The largest number of tokens of one run, and of one file. It bounds the memory of all stages; a
/// definition of a thousand probes has about twenty thousand.
pub(super) const MAX_TOKENS: usize = 1 << 20;

/// Splits the source at `range` into tokens. The last one is always [`Kind::End`].
pub(super) fn lex(sources: &Sources, range: &Span) -> Vec<Token> {
    tokenize(sources, range, true)
}

/// Splits what follows the `#` of a directive. The result has no comments and no [`Kind::End`].
pub(super) fn lex_line(sources: &Sources, range: &Span) -> Vec<Token> {
    let mut tokens = tokenize(sources, range, false);
    tokens.retain(|t| !matches!(t.kind, Kind::Comment | Kind::End));
    tokens
}

/// `directives` is true if a `#` at the start of a line begins a directive.
fn tokenize(sources: &Sources, range: &Span, directives: bool) -> Vec<Token> {
    let text = sources.text(range);
    let mut lexer =
        Lexer { text, base: range.start, at: 0, tokens: Vec::new(), line_start: directives };
    while lexer.at < text.len() {
        if lexer.tokens.len() >= MAX_TOKENS {
            lexer.push(Kind::Rest, text.len());
            break;
        }
        lexer.step(directives);
    }
    lexer.push(Kind::End, text.len());
    lexer.tokens
}

struct Lexer<'a> {
    text: &'a str,
    /// Offset of `text` in the sources.
    base: usize,
    /// Offset of the next character in `text`.
    at: usize,
    tokens: Vec<Token>,
    /// True if only white space and comments precede on this line.
    line_start: bool,
}

fn is_word_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn push(&mut self, kind: Kind, end: usize) {
        self.tokens.push(Token::new(kind, self.base + self.at..self.base + end));
        self.at = end;
        // A comment before the `#` does not prevent a directive.
        self.line_start &= kind == Kind::Comment;
    }

    /// Returns the end of the run of characters from here on that satisfy `pred`.
    fn end_of_run(&self, pred: impl Fn(char) -> bool) -> usize {
        let rest = self.rest();
        self.at + rest.find(|c| !pred(c)).unwrap_or(rest.len())
    }

    /// Consumes one token, or white space.
    fn step(&mut self, directives: bool) {
        let rest = self.rest();
        let Some(c) = rest.chars().next() else { return };
        match c {
            '\n' => {
                self.at += 1;
                self.line_start = directives;
            }
            '\\' if rest.starts_with("\\\n") || rest.starts_with("\\\r\n") => {
                self.at += rest.find('\n').map_or(1, |n| n + 1);
            }
            c if c.is_whitespace() || c == '\u{feff}' => self.at += c.len_utf8(),
            '/' if rest.starts_with("/*") => {
                let end = comment_length(rest);
                self.push(
                    if end.is_some() { Kind::Comment } else { Kind::Invalid },
                    self.at + end.unwrap_or(rest.len()),
                );
            }
            '/' if rest.starts_with("//") => {
                let end = self.end_of_run(|c| c != '\n');
                self.push(Kind::Comment, end);
            }
            '#' if self.line_start => {
                let end = self.at + directive_length(rest);
                self.push(Kind::Directive, end);
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                let end = self.end_of_run(is_word_character);
                match encoded_literal_length(rest) {
                    Some(length) => self.push(Kind::Quoted, self.at + length),
                    None => self.push(Kind::Word, end),
                }
            }
            c if c.is_ascii_digit() => {
                let end = self.end_of_run(is_word_character);
                self.push(Kind::Number, end);
            }
            '"' | '\'' => match literal_length(rest, c) {
                Some(length) => self.push(Kind::Quoted, self.at + length),
                None => self.push(Kind::Invalid, self.at + 1),
            },
            '.' if rest.starts_with("...") => self.push(Kind::Punct('.'), self.at + 3),
            _ if OPERATORS.iter().any(|o| rest.starts_with(o)) => {
                self.push(Kind::Operator, self.at + 2);
            }
            c if c.is_ascii_punctuation() && !"\\`#$".contains(c) || (c == '#' && !directives) => {
                self.push(Kind::Punct(c), self.at + 1);
            }
            c => self.push(Kind::Invalid, self.at + c.len_utf8()),
        }
    }
}

/// Returns the length of the block comment at the start of `text`, or `None` if it is never closed.
fn comment_length(text: &str) -> Option<usize> {
    text.get(2..)?.find("*/").map(|at| at + 4)
}

/// Returns the length of the string or character literal at the start of `text`, or `None` if it is
/// not closed on its line.
fn literal_length(text: &str, quote: char) -> Option<usize> {
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

/// Returns the length of the wide or Unicode literal at the start of `text`, such as `L'x'` and
/// `u8"x"`. `None` if there is none.
fn encoded_literal_length(text: &str) -> Option<usize> {
    let prefix = ["u8", "L", "u", "U"].into_iter().find(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(['"', '\'']))
    })?;
    let literal = text.get(prefix.len()..)?;
    Some(prefix.len() + literal_length(literal, literal.chars().next()?)?)
}

/// Returns the length of the directive at the start of `text`, without its line ending. Comments
/// and continuations in it can span lines.
fn directive_length(text: &str) -> usize {
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|r| !r.is_empty()) {
        if rest.starts_with("//") {
            return at + rest.find('\n').unwrap_or(rest.len());
        }
        if rest.starts_with("/*") {
            match comment_length(rest) {
                Some(length) => at += length,
                // The preprocessor reports it.
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
    fn splits_directives_comments_and_words() {
        expect(
            "#pragma D \\\n x\n/** d */ probe a(int); // end",
            lex,
            &[
                (Kind::Directive, "#pragma D \\\n x"),
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
    fn a_directive_includes_a_comment_that_spans_lines() {
        expect(
            "#define A 1 /* two\nlines */ + 2\nx",
            lex,
            &[
                (Kind::Directive, "#define A 1 /* two\nlines */ + 2"),
                (Kind::Word, "x"),
                (Kind::End, ""),
            ],
        );
        expect(
            "# don't /* open\nx",
            lex,
            &[(Kind::Directive, "# don't /* open"), (Kind::Word, "x"), (Kind::End, "")],
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
    fn an_encoding_prefix_is_part_of_its_literal() {
        expect(
            "L'a' u8\"b\" U 'c' uL'd' u'e",
            lex_line,
            &[
                (Kind::Quoted, "L'a'"),
                (Kind::Quoted, "u8\"b\""),
                (Kind::Word, "U"),
                (Kind::Quoted, "'c'"),
                (Kind::Word, "uL"),
                (Kind::Quoted, "'d'"),
                (Kind::Word, "u"),
                (Kind::Invalid, "'"),
                (Kind::Word, "e"),
            ],
        );
    }

    #[test]
    fn keeps_invalid_characters_as_tokens() {
        expect(
            "é don't /* never",
            lex,
            &[
                (Kind::Invalid, "é"),
                (Kind::Word, "don"),
                (Kind::Invalid, "'"),
                (Kind::Word, "t"),
                (Kind::Invalid, "/* never"),
                (Kind::End, ""),
            ],
        );
    }
}
