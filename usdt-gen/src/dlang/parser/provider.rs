//! Providers, probes and their parameters.

use super::doc::{split_go_type, split_go_types, split_params};
use super::{Diagnostic, Failed, Kind, Parse, Parser};
use crate::dlang::ast::{Base, Param, Probe, Provider, Type};
use crate::dlang::c_types;

impl Parser<'_> {
    pub(super) fn provider(&mut self, doc: String) -> Parse<Provider> {
        self.bump();
        let name = self.name("the provider's name")?;
        if !self.eat('{') {
            let missing = self.missing('{', "the provider's name");
            let clear = self.word() == "probe";
            self.report(missing);
            if !clear {
                return Err(Failed);
            }
        }
        let mut probes = Vec::new();
        loop {
            let doc = self.trivia();
            if self.is_punct('}') || self.peek().kind == Kind::End {
                break;
            }
            let before = self.at;
            if let Ok(probe) = self.probe(&doc) {
                probes.push(probe);
            } else {
                // The word `probe` of the failed one does not begin the next.
                self.at = self.at.max(before + 1);
                self.skip_probe();
            }
        }
        self.expect('}', "the last probe")?;
        if !self.eat(';') {
            let missing = self.missing(';', "the provider's `}`");
            self.file.missing_semicolons.push(missing);
        }
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

    fn probe(&mut self, doc: &str) -> Parse<Probe> {
        if self.word() != "probe" {
            let near = c_types::nearest_of(self.word(), ["probe"].into_iter());
            let help = near.map_or(String::new(), |near| format!("did you mean `{near}`?"));
            return self.expected("`probe` or `}`", &help);
        }
        self.bump();
        let name = self.name("the probe's name")?;
        if self.is_punct('-') {
            let span = name.span.start..self.peek().span.end;
            return self.fail(
                Diagnostic::error(span, "`-` in a probe's name", "write `__` here").help(
                    "DTrace shows `__` as `-`: `request__start` is traced as `request-start`",
                ),
            );
        }
        let mut params = self.params()?;
        let outputs = if self.eat(':') { self.params()? } else { Vec::new() };
        if !self.eat(';') {
            let missing = self.missing(';', "the probe");
            let next = self.word().to_owned();
            if next != "probe" && next != "}" {
                return self.fail(missing);
            }
            // What is meant is clear.
            self.file.missing_semicolons.push(missing);
        }
        for param in &mut params {
            let (doc, go) = split_go_type(&param.doc);
            param.doc = doc;
            param.go = go;
        }
        let is_param =
            |name: &str| params.iter().any(|p| p.name.as_ref().is_some_and(|n| n.text == name));
        let (doc, go_types) = split_go_types(doc, is_param);
        let (doc, described) = split_params(&doc, is_param);
        for (name, go) in go_types {
            let param = params.iter_mut().find(|p| p.name.as_ref().is_some_and(|n| n.text == name));
            if let Some(param) = param {
                param.go = Some(go);
            }
        }
        for (name, text) in described {
            let param = params.iter_mut().find(|p| p.name.as_ref().is_some_and(|n| n.text == name));
            if let Some(param) = param {
                param.doc = text;
            }
        }
        Ok(Probe { name, doc, params, outputs })
    }

    fn params(&mut self) -> Parse<Vec<Param>> {
        self.expect('(', "the probe's name")?;
        let mut params: Vec<Param> = Vec::new();
        self.skipped.clear();
        if self.eat(')') {
            return Ok(params);
        }
        loop {
            let mut param = self.param()?;
            let ends = self.is_punct(')');
            param.doc = self.take_skipped();
            params.push(param);
            if ends {
                self.at += 1;
                return Ok(params);
            }
            if !self.eat(',') {
                return self.expected("`,` or `)`", "");
            }
            let behind = self.rest_of_line();
            if let Some(last) = params.last_mut().filter(|_| !behind.is_empty()) {
                if !last.doc.is_empty() {
                    last.doc.push('\n');
                }
                last.doc.push_str(&behind);
            }
        }
    }

    fn param(&mut self) -> Parse<Param> {
        self.skip_comments();
        if self.peek().kind == Kind::Punct('.') && self.text(self.peek()) == "..." {
            let span = self.bump().span;
            let ty = Type { span, text: "...".into(), base: Base::Ellipsis, derived: Vec::new() };
            return Ok(Param { name: None, ty, doc: String::new(), go: None, bits: None });
        }
        let start = self.peek().span.start;
        let (base, text) = self.specifiers()?;
        self.declarator(start, base, text)
    }
}
