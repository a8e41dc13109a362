//! Files: the declarations at the top level, and recovery after an error.

use super::cursor::{ParseResult, Parser};
use crate::dlang::ast::{Attributes, File, Name};
use crate::dlang::c_types;
use crate::dlang::diagnostic::{Diagnostic, Diagnostics};
use crate::dlang::lexer::{Kind, Token};
use crate::dlang::preprocess::Output;
use crate::dlang::source::{Sources, Span};
use std::collections::BTreeMap;

/// Parses all tokens. A declaration that cannot be parsed is reported and left out.
pub(in crate::dlang) fn parse(
    sources: &Sources,
    input: &Output,
    diagnostics: &mut Diagnostics,
) -> File {
    let mut parser = Parser::new(sources, input, diagnostics);
    let mut ignored: BTreeMap<String, IgnoredDeclarations> = BTreeMap::new();
    loop {
        let doc = parser.parse_doc();
        let token = parser.peek().clone();
        if token.kind == Kind::End {
            break;
        }
        let (start, reported) = (parser.at, parser.diagnostics.position());
        if parser.parse_item(doc).is_err() {
            parser.at = parser.at.max(start + 1);
            parser.skip_statement();
            if !sources.in_main(&token.span) {
                // A C header can contain anything. One warning per header is enough, because an
                // error follows if a type is missing.
                parser.diagnostics.roll_back(reported);
                let file = sources.file_of(&token.span).to_owned();
                let first = token.span.clone();
                ignored.entry(file).or_insert(IgnoredDeclarations { count: 0, first }).count += 1;
            }
        }
    }
    for (file, IgnoredDeclarations { count, first }) in ignored {
        let plural = if count == 1 { "" } else { "s" };
        parser.diagnostics.push(Diagnostic::warning(
            first,
            format!("cannot parse {count} declaration{plural} of {file}"),
            "this is the first one; ignored",
        ));
    }
    parser.file
}

/// The declarations of an included file that cannot be parsed.
struct IgnoredDeclarations {
    count: usize,
    /// Position of the first one.
    first: Span,
}

impl Parser<'_> {
    /// Parses one declaration at the top level of a file.
    fn parse_item(&mut self, doc: String) -> ParseResult<()> {
        let word = self.word().to_owned();
        match word.as_str() {
            "provider" => {
                let provider = self.parse_provider(doc)?;
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
            // Translators of D and assertions of C are not part of the interface.
            "translator" | "_Static_assert" | "static_assert" => {
                self.skip_statement();
                Ok(())
            }
            "inline" => self.parse_inline(),
            _ if self.begins_declaration(&word) => self.parse_declaration(&doc),
            _ if self.is_probe_clause() => {
                let span = self.peek().span.clone();
                self.diagnostics.push(
                    Diagnostic::warning(span, "probe clauses do not define probes", "ignored")
                        .help("only the providers and types of a D program are read"),
                );
                while !self.is_punct('{') {
                    self.bump();
                }
                self.skip_brackets()
            }
            _ => {
                let near = c_types::nearest(&word, ["provider", "typedef", "struct"].into_iter());
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

    /// Returns true at a clause of a D program: a probe specification with its action, such as
    /// `syscall::read:entry / predicate / { … }` or `BEGIN { … }`.
    fn is_probe_clause(&self) -> bool {
        let rest = self.tokens.get(self.at..).unwrap_or_default();
        let mut seen_colon = false;
        for token in rest.iter().filter(|t| t.kind != Kind::Comment) {
            match token.kind {
                Kind::Punct('{') => {
                    let first = rest.first().map_or("", |t| self.text(t));
                    return seen_colon || ["BEGIN", "END", "ERROR"].contains(&first);
                }
                Kind::Punct(':') => seen_colon = true,
                Kind::Punct(';' | '}') | Kind::End => return false,
                _ => {}
            }
        }
        false
    }

    /// Handles a directive that the preprocessor left: a `#pragma`.
    pub(super) fn parse_pragma(&mut self, token: &Token) {
        let text = self.text(token).replace("\\\n", " ");
        let words: Vec<&str> = text.trim_start_matches('#').split_whitespace().collect();
        match words.as_slice() {
            ["pragma", "D", "attributes", stability, "provider", provider, subject, ..] => {
                let name = Name { text: (*provider).to_owned(), span: token.span.clone() };
                self.file.attributes.push(Attributes {
                    stability: (*stability).to_owned(),
                    provider: name,
                    subject: (*subject).to_owned(),
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
            // Other pragmas are for the D compiler.
            _ => {}
        }
    }
}
