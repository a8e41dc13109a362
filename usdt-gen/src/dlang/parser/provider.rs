//! Providers, probes and their parameters.

use super::cursor::{Failed, ParseResult, Parser};
use super::doc::{split_go_type, split_go_types, split_params};
use crate::dlang::ast::{Base, Param, Probe, Provider, Type};
use crate::dlang::c_types;
use crate::dlang::diagnostic::{Diagnostic, MAX_DIAGNOSTICS};
use crate::dlang::lexer::Kind;

impl Parser<'_> {
    pub(super) fn parse_provider(&mut self, doc: String) -> ParseResult<Provider> {
        let start = self.bump().span.start;
        let name = self.parse_name("the provider's name")?;
        if !self.eat('{') {
            let missing = self.missing('{', "the provider's name");
            // Before a probe it is clear that only the brace is missing.
            let can_continue = self.word() == "probe";
            self.report(missing);
            if !can_continue {
                return Err(Failed);
            }
        }
        let mut probes = Vec::new();
        loop {
            let doc = self.parse_doc();
            if self.is_punct('}') || self.peek().kind == Kind::End {
                break;
            }
            let at = self.at;
            if let Ok(probe) = self.parse_probe(&doc) {
                probes.push(probe);
            } else {
                // Skip the keyword `probe` of the failed one, because it also begins the next.
                self.at = self.at.max(at + 1);
                self.skip_probe();
            }
        }
        self.expect('}', "the last probe")?;
        if !self.eat(';') {
            let missing = self.missing(';', "the provider's `}`");
            self.report_missing_semicolon(missing);
        }
        Ok(Provider { extent: self.extent(start), name, doc, probes })
    }

    /// Remembers a missing semicolon, which is an error or a warning by the dialect.
    fn report_missing_semicolon(&mut self, missing: Diagnostic) {
        if self.file.missing_semicolons.len() <= MAX_DIAGNOSTICS {
            self.file.missing_semicolons.push(missing);
        }
    }

    /// Skips to after the next `;`, or to before a `}` or `probe` if the `;` is missing.
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

    fn parse_probe(&mut self, doc: &str) -> ParseResult<Probe> {
        if self.word() != "probe" {
            let near = c_types::nearest(self.word(), ["probe"].into_iter());
            let help = near.map_or(String::new(), |near| format!("did you mean `{near}`?"));
            return self.expected("`probe` or `}`", &help);
        }
        let start = self.bump().span.start;
        let name = self.parse_name("the probe's name")?;
        if self.is_punct('-') {
            let span = name.span.start..self.peek().span.end;
            return self.fail(
                Diagnostic::error(span, "`-` in a probe's name", "write `__` here").help(
                    "DTrace shows `__` as `-`: `request__start` is traced as `request-start`",
                ),
            );
        }
        let mut params = self.parse_params()?;
        let outputs = if self.eat(':') { self.parse_params()? } else { Vec::new() };
        if !self.eat(';') {
            let missing = self.missing(';', "the probe");
            let next = self.word().to_owned();
            if next != "probe" && next != "}" {
                return self.fail(missing);
            }
            // The rest of the probe is complete, so it is kept.
            self.report_missing_semicolon(missing);
        }
        for param in &mut params {
            let (doc, go) = split_go_type(&param.doc);
            param.doc = doc;
            param.go = go;
        }
        let is_param =
            |name: &str| params.iter().any(|p| p.name.as_ref().is_some_and(|n| n.text == name));
        let (doc, go_types) = split_go_types(doc, is_param);
        let (doc, descriptions) = split_params(&doc, is_param);
        for (name, go_type) in go_types {
            if let Some(param) = find_param(&mut params, &name) {
                param.go = Some(go_type);
            }
        }
        for (name, description) in descriptions {
            if let Some(param) = find_param(&mut params, &name) {
                param.doc = description;
            }
        }
        Ok(Probe { extent: self.extent(start), name, doc, params, outputs })
    }

    fn parse_params(&mut self) -> ParseResult<Vec<Param>> {
        self.expect('(', "the probe's name")?;
        let mut params: Vec<Param> = Vec::new();
        self.skipped_comments.clear();
        if self.eat(')') {
            return Ok(params);
        }
        loop {
            let mut param = self.parse_param()?;
            let is_last = self.is_punct(')');
            param.doc = self.take_skipped_doc();
            params.push(param);
            if is_last {
                self.at += 1;
                return Ok(params);
            }
            if !self.eat(',') {
                let help = match self.word() {
                    "." | "byte" | "uint8" => {
                        "write the type before the name: `[]byte body`, `time.Duration elapsed`"
                    }
                    _ => "",
                };
                return self.expected("`,` or `)`", help);
            }
            let trailing = self.trailing_doc();
            if let Some(last) = params.last_mut().filter(|_| !trailing.is_empty()) {
                if !last.doc.is_empty() {
                    last.doc.push('\n');
                }
                last.doc.push_str(&trailing);
            }
        }
    }

    fn parse_param(&mut self) -> ParseResult<Param> {
        self.skip_comments();
        if self.peek().kind == Kind::Punct('.') && self.text(self.peek()) == "..." {
            let span = self.bump().span;
            let ty = Type { span, text: "...".into(), base: Base::Ellipsis, derived: Vec::new() };
            return Ok(Param { name: None, ty, doc: String::new(), go: None, bit_width: None });
        }
        let start = self.peek().span.start;
        let (base, text) = self.parse_specifiers()?;
        self.parse_declarator(start, base, text)
    }
}

fn find_param<'a>(params: &'a mut [Param], name: &str) -> Option<&'a mut Param> {
    params.iter_mut().find(|p| p.name.as_ref().is_some_and(|n| n.text == name))
}
