//! Finds out what is at a position of a definition that is being edited, from its tokens alone.

use super::lexer::{self, Kind, Token};
use super::source::{Sources, Span};

/// What can be written at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a comment that documents a declaration.
    Documentation,
    /// In another comment, or in a string.
    Other,
    /// In a line that begins with `#`.
    Directive,
    /// In the parentheses of a probe.
    Parameters,
    /// In the braces of a provider, between probes.
    Provider,
    /// In the braces of a struct, union or enum.
    Members,
    /// At the top level of the file.
    TopLevel,
}

/// Returns what can be written at the end of `before`, the part of a definition before a position.
pub(crate) fn place(before: &str) -> Place {
    let mut sources = Sources::default();
    let all = sources.add("", before);
    let tokens = lexer::lex(&sources, &all);
    if let Some(last) = tokens.iter().rev().find(|t| t.kind != Kind::End)
        && let Some(place) = unfinished(last, &sources, &all)
    {
        return place;
    }
    let mut open: Vec<Place> = Vec::new();
    // The keyword of the current declaration.
    let mut keyword = "";
    for token in &tokens {
        let text = sources.text(&token.text);
        match token.kind {
            Kind::Word if matches!(text, "provider" | "struct" | "union" | "enum" | "probe") => {
                keyword = text;
            }
            Kind::Punct('{') => {
                open.push(if keyword == "provider" { Place::Provider } else { Place::Members });
            }
            Kind::Punct('(') => open.push(Place::Parameters),
            Kind::Punct('}' | ')') => drop(open.pop()),
            _ => {}
        }
    }
    open.pop().unwrap_or(Place::TopLevel)
}

/// Returns the place if the last token continues at the end of the source.
fn unfinished(last: &Token, sources: &Sources, all: &Span) -> Option<Place> {
    let text = sources.text(&last.text);
    let at_end = last.text.end == all.end;
    match last.kind {
        Kind::Invalid if text.starts_with("/**") => Some(Place::Documentation),
        Kind::Invalid if text.starts_with("/*") => Some(Place::Other),
        Kind::Invalid if text.starts_with(['"', '\'']) => Some(Place::Other),
        Kind::Comment if at_end && text.starts_with("//") => Some(Place::Other),
        Kind::Directive if at_end => Some(Place::Directive),
        _ => None,
    }
}

/// A word of a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// Its position in the sources.
    pub(crate) span: Span,
    /// The word; two words and the period between them, as in `time.Duration`, are one.
    pub(crate) text: String,
    /// The token before it. Empty if there is none.
    pub(crate) previous: String,
}

/// Returns the word at an offset, or that ends there. Words in comments, strings and directives do
/// not count.
pub(crate) fn word_at(sources: &Sources, file: &Span, offset: usize) -> Option<Word> {
    let mut tokens = lexer::lex(sources, file);
    tokens.retain(|token| token.kind != Kind::Comment);
    let contains = |t: &Token| t.text.start <= offset && offset <= t.text.end;
    let at = tokens.iter().position(|t| t.kind == Kind::Word && contains(t))?;
    let token = |at: Option<usize>| at.and_then(|at| tokens.get(at));
    let text = |at: Option<usize>| token(at).map_or("", |t| sources.text(&t.text));
    let (mut first, mut last) = (at, at);
    if text(at.checked_sub(1)) == "." && at > 1 {
        first = at - 2;
    } else if text(Some(at + 1)) == "." {
        last = at + 2;
    }
    let span = token(Some(first))?.text.start..token(Some(last)).or(token(Some(at)))?.text.end;
    Some(Word {
        text: sources.text(&span).to_owned(),
        previous: text(first.checked_sub(1)).to_owned(),
        span,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_can_be_written_at_a_position() {
        for (before, expected) in [
            ("", Place::TopLevel),
            ("provider app { probe a(", Place::Parameters),
            ("provider app { probe a(int b, ", Place::Parameters),
            ("provider app { probe a(int b); ", Place::Provider),
            ("provider app { };", Place::TopLevel),
            ("struct conn { ", Place::Members),
            ("provider app { /** The @", Place::Documentation),
            ("/* x", Place::Other),
            ("// x", Place::Other),
            ("// x\n", Place::TopLevel),
            ("/** x */", Place::TopLevel),
            ("#include \"", Place::Directive),
            ("#define A 1\n", Place::TopLevel),
            ("provider app { probe a(char *b = \"", Place::Other),
            ("}}))", Place::TopLevel),
        ] {
            assert_eq!(place(before), expected, "{before}");
        }
    }

    #[test]
    fn finds_words_but_not_in_comments() {
        let mut sources = Sources::default();
        let source = "provider p { probe a(time.Duration d, struct x *y); /* int */ };";
        let file = sources.add("probes.d", source);
        let at = |text: &str| word_at(&sources, &file, source.find(text).unwrap());
        let word = |text: &str| at(text).map(|w| (w.text, w.previous));
        let expected = |text: &str, previous: &str| Some((text.to_owned(), previous.to_owned()));
        assert_eq!(word("Duration"), expected("time.Duration", "("));
        assert_eq!(word("time"), expected("time.Duration", "("));
        assert_eq!(word("x *"), expected("x", "struct"));
        assert_eq!(word("provider"), expected("provider", ""));
        assert_eq!(word("int */"), None);
        assert_eq!(word("};"), None);
    }
}
