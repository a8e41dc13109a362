//! C declarations: specifiers, declarators, and the bodies of structs, unions and enums.

use super::cursor::{ParseResult, Parser};
use crate::dlang::ast::{
    Base, Body, Derived, Enumerator, Keyword, Name, Param, Tag, Type, Typedef,
};
use crate::dlang::diagnostic::Diagnostic;
use crate::dlang::lexer::{Kind, Token};
use crate::dlang::type_names;

/// Qualifiers and storage classes, which do not change the type of an argument.
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
/// Words of arithmetic types.
const ARITHMETIC: [&str; 9] =
    ["void", "char", "short", "int", "long", "float", "double", "signed", "unsigned"];
/// Attributes and other compiler extensions with an operand in parentheses.
const ATTRIBUTES: [&str; 7] =
    ["__attribute__", "__attribute", "__declspec", "__asm__", "__asm", "_Alignas", "alignas"];

/// A declarator without its base type.
struct Declarator {
    name: Option<Name>,
    /// Derivations, outermost first.
    derived: Vec<Derived>,
    /// End of the type's source before the name.
    type_end: usize,
}

impl Parser<'_> {
    /// Returns true if a word begins a C declaration.
    pub(super) fn begins_declaration(&self, word: &str) -> bool {
        matches!(word, "typedef" | "struct" | "union" | "enum")
            || QUALIFIERS.contains(&word)
            || ARITHMETIC.contains(&word)
            || ATTRIBUTES.contains(&word)
            || type_names::built_in(word).is_some()
            || self.typedef_names.contains(word)
    }

    pub(super) fn parse_declaration(&mut self, doc: &str) -> ParseResult<()> {
        self.skip_attributes()?;
        let is_typedef = self.word() == "typedef";
        let declaration_start = self.peek().span.start;
        if is_typedef {
            self.bump();
        }
        let start = self.peek().span.start;
        let (base, text) = self.parse_specifiers()?;
        let has_body = self.previous().is_some_and(|t| t.kind == Kind::Punct('}'));
        if let (Base::Tag(at), true) = (&base, has_body)
            && let Some(tag) = self.file.tags.get_mut(*at)
        {
            doc.clone_into(&mut tag.doc);
        }
        if self.eat(';') {
            return Ok(());
        }
        loop {
            let param = self.parse_declarator(start, base.clone(), text.clone())?;
            self.skip_attributes()?;
            let is_function = matches!(param.ty.derived.first(), Some(Derived::Function(_)));
            if let (Some(name), true) = (param.name, is_typedef) {
                self.typedef_names.insert(name.text.clone());
                let extent = self.extent(declaration_start);
                let doc = doc.to_owned();
                self.file.typedefs.push(Typedef { name, extent, doc, ty: param.ty });
            } else if is_function && self.is_punct('{') {
                return self.skip_brackets();
            }
            if self.eat('=') {
                self.skip_initializer()?;
            }
            if !self.eat(',') {
                break;
            }
        }
        self.expect(';', "the declaration")
    }

    fn skip_initializer(&mut self) -> ParseResult<()> {
        if self.is_punct('{') {
            return self.skip_brackets();
        }
        self.parse_constant(",;");
        Ok(())
    }

    /// Parses `inline int NAME = VALUE;` of D, or an inline function of C.
    pub(super) fn parse_inline(&mut self) -> ParseResult<()> {
        self.bump();
        let start = self.peek().span.start;
        let (base, text) = self.parse_specifiers()?;
        let param = self.parse_declarator(start, base, text)?;
        if self.is_punct('{') {
            return self.skip_brackets();
        }
        if self.eat('=') {
            let value = self.parse_constant(";");
            if let Some(name) = param.name {
                self.file.constants.push((name, value));
            }
        }
        self.expect(';', "the declaration")
    }

    /// Skips compiler attributes, and remembers those that change layouts.
    pub(super) fn skip_attributes(&mut self) -> ParseResult<()> {
        while ATTRIBUTES.contains(&self.word()) {
            self.bump();
            if self.is_punct('(') {
                let start = self.at;
                self.skip_brackets()?;
                let inside = self.tokens.get(start..self.at).unwrap_or_default();
                self.seen_layout_attribute |= inside.iter().any(|t| {
                    let text = self.text(t);
                    ["packed", "aligned", "mode", "vector_size"]
                        .iter()
                        .any(|w| text.trim_matches('_') == *w)
                });
            }
        }
        Ok(())
    }

    /// Parses the specifiers of a declaration, which come before its declarator: `unsigned long`,
    /// `struct x`, or a type name. Returns the type with its spelling.
    pub(super) fn parse_specifiers(&mut self) -> ParseResult<(Base, String)> {
        let mut words: Vec<String> = Vec::new();
        let mut text: Vec<String> = Vec::new();
        let mut base = None;
        loop {
            self.skip_attributes()?;
            let word = self.word().to_owned();
            match word.as_str() {
                q if QUALIFIERS.contains(&q) => {
                    self.bump();
                    // `const` is the only qualifier in the spelling of a type. It comes first
                    // there.
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
                    let (tag, spelled) = self.nested(|p| p.parse_tag(keyword))?;
                    text.push(spelled);
                    base = Some(Base::Tag(tag));
                }
                _ if base.is_none() && words.is_empty() && self.is_go_compound() => {
                    let parts: Vec<Token> = (0..3).map(|_| self.bump()).collect();
                    let spelling: String = parts.iter().map(|part| self.text(part)).collect();
                    text.push(spelling.clone());
                    base = Some(Base::Named(spelling));
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
            None => {
                let help = if self.is_punct('[') {
                    "of Go's slices, only `[]byte` can be passed; pass a length, or a pointer"
                } else {
                    ""
                };
                self.expected("a type", help)
            }
        }
    }

    /// Returns true if the next three tokens are a type of Go, such as `[]byte` or `time.Duration`.
    fn is_go_compound(&self) -> bool {
        let parts = self.tokens.get(self.at..).unwrap_or_default().iter().take(3);
        let spelling: String = parts.map(|part| self.text(part)).collect();
        spelling.contains(['.', ']']) && type_names::go_spelling(&spelling).is_some()
    }

    /// Parses what follows `struct`, `union` or `enum`: a tag, a body, or both. Returns the index
    /// of the tag with the spelling of the type.
    fn parse_tag(&mut self, keyword: Keyword) -> ParseResult<(usize, String)> {
        let start = self.previous().map_or(0, |t| t.span.start);
        self.skip_attributes()?;
        let name = if self.is_punct('{') { None } else { Some(self.parse_name("a tag or `{`")?) };
        let spelled = match &name {
            Some(name) => format!("{} {}", keyword.as_str(), name.text),
            None => keyword.as_str().to_owned(),
        };
        let at = self.tag_at(keyword, name.as_ref());
        if !self.is_punct('{') {
            return Ok((at, spelled));
        }
        let outer = std::mem::take(&mut self.seen_layout_attribute);
        let body = match keyword {
            Keyword::Enum => Body::Enumerators(self.parse_enumerators()?),
            _ => Body::Members(self.parse_members()?),
        };
        self.skip_attributes()?;
        let has_layout_attribute = std::mem::replace(&mut self.seen_layout_attribute, outer);
        let extent = self.extent(start);
        if let Some(tag) = self.file.tags.get_mut(at) {
            if let (Some(_), Some(first), Some(name)) = (&tag.body, &tag.name, &name) {
                let first = first.span.clone();
                let message = format!("`{spelled}` is defined twice");
                let again = Diagnostic::error(name.span.clone(), message, "defined again here");
                self.diagnostics.push(again.related(first, "first defined here"));
            } else {
                tag.body = Some(body);
                tag.has_layout_attribute = has_layout_attribute;
                tag.name = name;
                tag.extent = extent;
            }
        }
        Ok((at, spelled))
    }

    /// Returns the index of a tag. A tag without a name, or with a new name, is added.
    fn tag_at(&mut self, keyword: Keyword, name: Option<&Name>) -> usize {
        let key = name.map(|n| (keyword, n.text.clone()));
        if let Some(at) = key.as_ref().and_then(|k| self.tag_names.get(k)) {
            return *at;
        }
        let at = self.file.tags.len();
        self.file.tags.push(Tag {
            keyword,
            name: name.cloned(),
            extent: name.map_or(0..0, |n| n.span.clone()),
            doc: String::new(),
            body: None,
            has_layout_attribute: false,
        });
        if let Some(key) = key {
            self.tag_names.insert(key, at);
        }
        at
    }

    fn parse_enumerators(&mut self) -> ParseResult<Vec<Enumerator>> {
        self.expect('{', "`enum`")?;
        let mut out: Vec<Enumerator> = Vec::new();
        loop {
            self.skipped_comments.clear();
            if self.eat('}') {
                return Ok(out);
            }
            let name = self.parse_name("an enumerator")?;
            let value = self.eat('=').then(|| self.parse_constant(",}"));
            let has_comma = self.eat(',');
            let mut doc = self.take_skipped_doc();
            if has_comma {
                doc.push_str(&self.trailing_doc());
            }
            out.push(Enumerator { name, value, doc });
            if !has_comma {
                self.expect('}', "the last enumerator")?;
                return Ok(out);
            }
        }
    }

    fn parse_members(&mut self) -> ParseResult<Vec<Param>> {
        self.expect('{', "the tag")?;
        let mut out: Vec<Param> = Vec::new();
        loop {
            self.skipped_comments.clear();
            if self.eat('}') {
                return Ok(out);
            }
            if self.eat(';') {
                continue;
            }
            let start = self.peek().span.start;
            let (base, text) = self.parse_specifiers()?;
            let mut doc = self.take_skipped_doc();
            let first = out.len();
            loop {
                // `struct { … };` or `union { … };`, an unnamed member.
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
                            bit_width: None,
                        });
                    }
                    break;
                }
                let mut member = self.parse_declarator(start, base.clone(), text.clone())?;
                if self.eat(':') {
                    member.bit_width = Some(self.parse_constant(",;"));
                }
                self.skip_attributes()?;
                out.push(member);
                if !self.eat(',') {
                    break;
                }
            }
            doc.push_str(&self.take_skipped_doc());
            self.expect(';', "the member")?;
            doc.push_str(&self.trailing_doc());
            for member in out.iter_mut().skip(first) {
                member.doc.clone_from(&doc);
            }
        }
    }

    /// Parses a declarator: stars, a name, brackets and parentheses. `start` is the position of the
    /// type.
    pub(super) fn parse_declarator(
        &mut self,
        start: usize,
        base: Base,
        text: String,
    ) -> ParseResult<Param> {
        let Declarator { name, derived, type_end } = self.nested(Self::parse_derivations)?;
        let end = type_end.max(start);
        Ok(Param {
            name,
            ty: Type { span: start..end, text, base, derived },
            doc: String::new(),
            go: None,
            bit_width: None,
        })
    }

    fn parse_derivations(&mut self) -> ParseResult<Declarator> {
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
        let mut type_end = self.previous().map_or(0, |t| t.span.end);
        let mut name = None;
        let mut derived = Vec::new();
        if self.is_punct('(') && self.opens_declarator() {
            self.bump();
            let inner = self.nested(Self::parse_derivations)?;
            (name, derived) = (inner.name, inner.derived);
            self.expect(')', "the declarator")?;
            type_end = self.previous().map_or(type_end, |t| t.span.end);
        } else if self.peek().kind == Kind::Word {
            name = Some(self.parse_name("a name")?);
        }
        loop {
            // C has no functions that return functions or arrays, and no arrays of functions.
            let last = derived.last();
            let may_index = !matches!(last, Some(Derived::Function(_)));
            let may_call = matches!(last, None | Some(Derived::Pointer));
            if may_index && self.is_punct('[') {
                self.bump();
                let length = self.parse_constant("]");
                self.expect(']', "the array length")?;
                derived.push(Derived::Array((!length.tokens.is_empty()).then_some(length)));
            } else if may_call && self.is_punct('(') {
                let open = self.at;
                self.skip_brackets()?;
                let inside = self.tokens.get(open + 1..self.at - 1).unwrap_or_default();
                derived.push(Derived::Function(self.join(inside)));
            } else {
                break;
            }
        }
        derived.extend(std::iter::repeat_n(Derived::Pointer, pointers));
        Ok(Declarator { name, derived, type_end })
    }

    /// Returns true if a parenthesis groups a declarator, and false if it opens a function's
    /// parameters.
    fn opens_declarator(&self) -> bool {
        let rest = self.tokens.get(self.at + 1..).unwrap_or_default();
        let next = rest.iter().find(|t| t.kind != Kind::Comment);
        next.is_some_and(|t| match t.kind {
            Kind::Punct('*' | '(' | '[' | '^') => true,
            Kind::Word => !self.begins_declaration(self.text(t)),
            _ => false,
        })
    }
}
