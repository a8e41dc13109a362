//! C declarations: specifiers, declarators, bodies of structs, unions and enums.

use super::{Diagnostic, Kind, Parse, Parser};
use crate::dlang::ast::{
    Base, Body, Derived, Enumerator, Keyword, Name, Param, Tag, Type, Typedef,
};
use crate::dlang::c_types;

const QUALIFIERS: [&str; 14] = [
    "const",
    "volatile",
    "restrict",
    "static",
    "extern",
    "register",
    "auto",
    "inline",
    "__restrict",
    "__const",
    "__inline",
    "__volatile__",
    "_Noreturn",
    "__extension__",
];
const ARITHMETIC: [&str; 9] =
    ["void", "char", "short", "int", "long", "float", "double", "signed", "unsigned"];
/// Compiler extensions with an operand in parentheses.
const ATTRIBUTES: [&str; 7] =
    ["__attribute__", "__attribute", "__declspec", "__asm__", "__asm", "_Alignas", "alignas"];

impl Parser<'_> {
    /// Whether a word begins a C declaration.
    pub(super) fn declares(&self, word: &str) -> bool {
        matches!(word, "typedef" | "struct" | "union" | "enum")
            || QUALIFIERS.contains(&word)
            || ARITHMETIC.contains(&word)
            || ATTRIBUTES.contains(&word)
            || c_types::named(word).is_some()
            || self.declared.contains(word)
    }

    pub(super) fn declaration(&mut self, doc: &str) -> Parse<()> {
        self.skip_attributes()?;
        let typedef = self.word() == "typedef";
        if typedef {
            self.bump();
        }
        let start = self.peek().span.start;
        let (base, text) = self.specifiers()?;
        let defines = self.previous().is_some_and(|t| t.kind == Kind::Punct('}'));
        if let (Base::Tag(at), true) = (&base, defines) {
            self.document(*at, doc);
        }
        if self.eat(';') {
            return Ok(());
        }
        loop {
            let param = self.declarator(start, base.clone(), text.clone())?;
            self.skip_attributes()?;
            let function = matches!(param.ty.derived.first(), Some(Derived::Function(_)));
            if let (Some(name), true) = (param.name, typedef) {
                self.declared.insert(name.text.clone());
                self.file.typedefs.push(Typedef { name, doc: doc.to_owned(), ty: param.ty });
            } else if function && self.is_punct('{') {
                return self.skip_brackets();
            }
            if self.eat('=') {
                self.initialiser()?;
            }
            if !self.eat(',') {
                break;
            }
        }
        self.expect(';', "the declaration")
    }

    /// The declaration's documentation is that of what it defines.
    fn document(&mut self, tag: usize, doc: &str) {
        if let Some(tag) = self.file.tags.get_mut(tag) {
            doc.clone_into(&mut tag.doc);
        }
    }

    fn initialiser(&mut self) -> Parse<()> {
        if self.is_punct('{') {
            return self.skip_brackets();
        }
        self.constant(",;");
        Ok(())
    }

    /// `inline int NAME = VALUE;` of D, or an inline function of C.
    pub(super) fn inline(&mut self) -> Parse<()> {
        self.bump();
        let start = self.peek().span.start;
        let (base, text) = self.specifiers()?;
        let param = self.declarator(start, base, text)?;
        if self.is_punct('{') {
            return self.skip_brackets();
        }
        if self.eat('=') {
            let value = self.constant(";");
            if let Some(name) = param.name {
                self.file.constants.push((name, value));
            }
        }
        self.expect(';', "the declaration")
    }

    /// Passes over compiler extensions; takes note of those that change layouts.
    pub(super) fn skip_attributes(&mut self) -> Parse<()> {
        while ATTRIBUTES.contains(&self.word()) {
            self.bump();
            if self.is_punct('(') {
                let start = self.at;
                self.skip_brackets()?;
                let inside = self.tokens.get(start..self.at).unwrap_or_default();
                self.layout_attribute |= inside.iter().any(|t| {
                    let text = self.text(t);
                    ["packed", "aligned", "mode", "vector_size"]
                        .iter()
                        .any(|w| text.trim_matches('_') == *w)
                });
            }
        }
        Ok(())
    }

    /// `const unsigned long`, `struct x`, `name` — everything before the stars.
    pub(super) fn specifiers(&mut self) -> Parse<(Base, String)> {
        let mut words: Vec<String> = Vec::new();
        let mut text: Vec<String> = Vec::new();
        let mut base = None;
        loop {
            self.skip_attributes()?;
            let word = self.word().to_owned();
            match word.as_str() {
                q if QUALIFIERS.contains(&q) => {
                    self.bump();
                    // The qualifier is part of a string type's spelling only, and stands in front there.
                    if q == "const" && text.first().is_none_or(|t| t != "const") {
                        text.insert(0, word);
                    }
                }
                w if ARITHMETIC.contains(&w) && base.is_none() => {
                    self.bump();
                    words.push(word.clone());
                    text.push(word);
                }
                keyword @ ("struct" | "union" | "enum") if base.is_none() && words.is_empty() => {
                    let keyword = match keyword {
                        "struct" => Keyword::Struct,
                        "union" => Keyword::Union,
                        _ => Keyword::Enum,
                    };
                    self.bump();
                    let (tag, spelled) = self.nested(|p| p.tag(keyword))?;
                    text.push(spelled);
                    base = Some(Base::Tag(tag));
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

    /// Behind the keyword: a tag, a body, or both.
    fn tag(&mut self, keyword: Keyword) -> Parse<(usize, String)> {
        self.skip_attributes()?;
        let name = if self.is_punct('{') { None } else { Some(self.name("a tag or `{`")?) };
        let spelled = match &name {
            Some(name) => format!("{} {}", keyword.text(), name.text),
            None => keyword.text().to_owned(),
        };
        let at = self.tag_at(keyword, name.as_ref());
        if !self.is_punct('{') {
            return Ok((at, spelled));
        }
        let outer = std::mem::take(&mut self.layout_attribute);
        let body = match keyword {
            Keyword::Enum => Body::Enumerators(self.enumerators()?),
            _ => Body::Members(self.members()?),
        };
        self.skip_attributes()?;
        let attributes = std::mem::replace(&mut self.layout_attribute, outer);
        if let Some(tag) = self.file.tags.get_mut(at) {
            if let (Some(_), Some(first), Some(name)) = (&tag.body, &tag.name, &name) {
                let first = first.span.clone();
                let message = format!("`{spelled}` is defined twice");
                let again = Diagnostic::error(name.span.clone(), message, "defined again here");
                self.diagnostics.push(again.related(first, "first defined here"));
            } else {
                tag.body = Some(body);
                tag.attributes = attributes;
                tag.name = name;
            }
        }
        Ok((at, spelled))
    }

    /// The index of a tag; of a new one where it has no name or was not mentioned before.
    fn tag_at(&mut self, keyword: Keyword, name: Option<&Name>) -> usize {
        let key = name.map(|n| (keyword, n.text.clone()));
        if let Some(at) = key.as_ref().and_then(|k| self.tag_names.get(k)) {
            return *at;
        }
        let at = self.file.tags.len();
        self.file.tags.push(Tag {
            keyword,
            name: name.cloned(),
            doc: String::new(),
            body: None,
            attributes: false,
        });
        if let Some(key) = key {
            self.tag_names.insert(key, at);
        }
        at
    }

    fn enumerators(&mut self) -> Parse<Vec<Enumerator>> {
        self.expect('{', "`enum`")?;
        let mut out: Vec<Enumerator> = Vec::new();
        loop {
            self.skipped.clear();
            if self.eat('}') {
                return Ok(out);
            }
            let name = self.name("an enumerator")?;
            let value = self.eat('=').then(|| self.constant(",}"));
            let more = self.eat(',');
            let mut doc = self.take_skipped();
            if more {
                doc.push_str(&self.rest_of_line());
            }
            out.push(Enumerator { name, value, doc });
            if !more {
                self.expect('}', "the last enumerator")?;
                return Ok(out);
            }
        }
    }

    fn members(&mut self) -> Parse<Vec<Param>> {
        self.expect('{', "the tag")?;
        let mut out: Vec<Param> = Vec::new();
        loop {
            self.skipped.clear();
            if self.eat('}') {
                return Ok(out);
            }
            if self.eat(';') {
                continue;
            }
            let start = self.peek().span.start;
            let (base, text) = self.specifiers()?;
            let mut doc = self.take_skipped();
            let first = out.len();
            loop {
                // `struct { … };` and `union { … };`: the members of an unnamed member are the outer one's.
                if self.is_punct(';') {
                    let end = self.previous().map_or(start, |t| t.span.end);
                    let ty = Type {
                        span: start..end,
                        text: text.clone(),
                        base: base.clone(),
                        derived: Vec::new(),
                    };
                    if out.len() == first {
                        out.push(Param {
                            name: None,
                            ty,
                            doc: String::new(),
                            go: None,
                            bits: None,
                        });
                    }
                    break;
                }
                let mut member = self.declarator(start, base.clone(), text.clone())?;
                if self.eat(':') {
                    member.bits = Some(self.constant(",;"));
                }
                self.skip_attributes()?;
                out.push(member);
                if !self.eat(',') {
                    break;
                }
            }
            doc.push_str(&self.take_skipped());
            self.expect(';', "the member")?;
            doc.push_str(&self.rest_of_line());
            for member in out.iter_mut().skip(first) {
                member.doc.clone_from(&doc);
            }
        }
    }

    /// Stars, a name, brackets and parentheses, inside out.
    pub(super) fn declarator(&mut self, start: usize, base: Base, text: String) -> Parse<Param> {
        let (name, derived, type_end) = self.nested(Self::steps)?;
        let end = type_end.max(start);
        Ok(Param {
            name,
            ty: Type { span: start..end, text, base, derived },
            doc: String::new(),
            go: None,
            bits: None,
        })
    }

    /// The name, the steps outermost first, and where the type ends in front of the name.
    fn steps(&mut self) -> Parse<(Option<Name>, Vec<Derived>, usize)> {
        let mut pointers = 0;
        loop {
            self.skip_attributes()?;
            if self.eat('*') {
                pointers += 1;
            } else if QUALIFIERS.contains(&self.word()) {
                self.bump();
            } else {
                break;
            }
        }
        let mut end = self.previous().map_or(0, |t| t.span.end);
        let mut name = None;
        let mut steps = Vec::new();
        if self.is_punct('(') && self.opens_declarator() {
            self.bump();
            (name, steps, _) = self.nested(Self::steps)?;
            self.expect(')', "the declarator")?;
            end = self.previous().map_or(end, |t| t.span.end);
        } else if self.peek().kind == Kind::Word {
            name = Some(self.name("a name")?);
        }
        loop {
            // There are no functions that return functions or arrays, and no arrays of functions.
            let last = steps.last();
            let may_index = !matches!(last, Some(Derived::Function(_)));
            let may_call = matches!(last, None | Some(Derived::Pointer));
            if may_index && self.is_punct('[') {
                self.bump();
                let length = self.constant("]");
                self.expect(']', "the array length")?;
                steps.push(Derived::Array((!length.tokens.is_empty()).then_some(length)));
            } else if may_call && self.is_punct('(') {
                let open = self.at;
                self.skip_brackets()?;
                let inside = self.tokens.get(open + 1..self.at - 1).unwrap_or_default();
                steps.push(Derived::Function(self.joined(inside)));
            } else {
                break;
            }
        }
        steps.extend(std::iter::repeat_n(Derived::Pointer, pointers));
        Ok((name, steps, end))
    }

    /// Whether a parenthesis groups a declarator, rather than opening a function's parameters.
    fn opens_declarator(&self) -> bool {
        let behind = self.tokens.get(self.at + 1..).unwrap_or_default();
        let next = behind.iter().find(|t| t.kind != Kind::Comment);
        next.is_some_and(|t| match t.kind {
            Kind::Punct('*' | '(' | '[' | '^') => true,
            Kind::Word => !self.declares(self.text(t)),
            _ => false,
        })
    }
}
