//! Parses the subset of C in the kernel's headers: structures, unions, bit fields, enumerations and
//! simple definitions.

use crate::command::{Failure, Outcome};
use std::collections::HashMap;

/// A parsed header.
pub(super) struct Header {
    /// The unmodified header, to find structures by their comments.
    text: String,
    /// The header without comments.
    code: String,
    constants: HashMap<String, u64>,
}

/// A member of a structure or union.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Member {
    /// A scalar or an array of scalars.
    ///
    /// `bytes` is the size of an element.
    Field { ty: &'static str, bytes: usize, elements: Option<usize>, name: String },
    /// Consecutive bit fields in one word: its size, and the number of bits in use.
    Bits { bytes: usize, bits: usize },
    /// A nested structure or union, possibly anonymous.
    Aggregate { union: bool, members: Vec<Member>, name: Option<String> },
}

/// The layout of a structure in Rust.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) fields: Vec<Field>,
    pub(super) size: usize,
    align: usize,
}

#[derive(Debug, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) ty: String,
    pub(super) offset: usize,
}

impl Header {
    pub(super) fn parse(text: &str) -> Header {
        let code = without_comments(text);
        let mut constants = HashMap::new();
        for line in code.lines() {
            let mut words = line.split_whitespace();
            if let (Some("#define"), Some(name)) = (words.next(), words.next())
                && let Some(value) = value(&words.collect::<String>(), &constants)
            {
                constants.insert(name.to_owned(), value);
            }
        }
        for (at, _) in code.match_indices("enum ") {
            let rest = code.get(at..).unwrap_or_default();
            if let Some((head, body)) = rest.split_once('{')
                && !head.contains([';', '}', '(', ')'])
                && let Some((body, _)) = body.split_once('}')
            {
                enumerators(body, &mut constants);
            }
        }
        Header { text: text.to_owned(), code, constants }
    }

    /// Returns the value of a constant.
    pub(super) fn constant(&self, name: &str) -> Option<u64> {
        self.constants.get(name).copied()
    }

    /// Returns the members of the structure or union with a tag.
    pub(super) fn tagged(&self, kind: &str, tag: &str) -> Outcome<Vec<Member>> {
        let head = format!("{kind} {tag} {{");
        let (_, body) = self.code.split_once(&head).ok_or_else(|| missing(&head))?;
        self.members(body)
    }

    /// Returns the members of a named structure within a union.
    pub(super) fn member(&self, members: &[Member], wanted: &str) -> Outcome<Vec<Member>> {
        let found = members.iter().find_map(|member| match member {
            Member::Aggregate { members, name: Some(name), .. } if name == wanted => {
                Some(members.clone())
            }
            _ => None,
        });
        found.ok_or_else(|| missing(wanted))
    }

    /// Returns the members of the structure whose first comment starts with `comment`.
    pub(super) fn commented(&self, comment: &str) -> Outcome<Vec<Member>> {
        let head = format!("struct {{ /* {comment}");
        let (_, body) = self.text.split_once(&head).ok_or_else(|| missing(&head))?;
        self.members(&without_comments(&format!("/*{body}")))
    }

    fn members(&self, body: &str) -> Outcome<Vec<Member>> {
        let mut tokens = tokens(body);
        tokens.reverse();
        members(&mut tokens, &self.constants).ok_or_else(|| {
            Failure(format!(
                "cannot read `{}…`",
                body.lines().take(3).collect::<Vec<_>>().join(" ")
            ))
        })
    }
}

fn missing(what: &str) -> Failure {
    Failure(format!("the headers do not define `{what}`"))
}

fn without_comments(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("/*") {
        out.push_str(before);
        out.push(' ');
        rest = after.split_once("*/").map_or("", |(_, rest)| rest);
    }
    out + rest
}

fn enumerators(body: &str, constants: &mut HashMap<String, u64>) {
    let mut next = 0;
    for enumerator in body.split(',') {
        let (name, given) = enumerator
            .split_once('=')
            .map_or((enumerator, None), |(name, given)| (name, Some(given)));
        // An enumerator that is not a plain name comes from a macro; nothing needs its values.
        let Some(number) = given.map_or(Some(next), |given| value(given, constants)) else {
            return;
        };
        constants.insert(name.trim().to_owned(), number);
        next = number.wrapping_add(1);
    }
}

/// Evaluates a number or a known name, optionally shifted left.
fn value(text: &str, constants: &HashMap<String, u64>) -> Option<u64> {
    let text = text.trim().trim_start_matches('(').trim_end_matches(')').trim();
    if let Some((number, shift)) = text.split_once("<<") {
        return value(number, constants)?
            .checked_shl(u32::try_from(value(shift, constants)?).ok()?);
    }
    let digits = text.trim_end_matches(['U', 'L', 'u', 'l']);
    match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    }
    .or_else(|| constants.get(text).copied())
}

/// Splits code into names, numbers and punctuation.
fn tokens(code: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (token, after) = rest.split_at(if length == 0 { first.len_utf8() } else { length });
        out.push(token);
        rest = after.trim_start();
    }
    out
}

/// Parses members up to the closing brace. The tokens are in reverse order.
fn members(tokens: &mut Vec<&str>, constants: &HashMap<String, u64>) -> Option<Vec<Member>> {
    let mut out = Vec::new();
    loop {
        match tokens.pop()? {
            "}" => return Some(out),
            kind @ ("struct" | "union") => {
                if tokens.pop()? != "{" {
                    return None;
                }
                let members = members(tokens, constants)?;
                let name = match tokens.pop()? {
                    ";" => None,
                    name => {
                        tokens.pop().filter(|token| *token == ";")?;
                        Some(name.to_owned())
                    }
                };
                out.push(Member::Aggregate { union: kind == "union", members, name });
            }
            ty => {
                // The tag of an enumeration, whose members need no names here.
                let (ty, bytes) = match ty {
                    "enum" => tokens.pop().map(|_| ("u32", 4))?,
                    ty => scalar(ty)?,
                };
                declarators(tokens, (ty, bytes), constants, &mut out)?;
            }
        }
    }
}

/// Returns the Rust type and the size of a scalar type.
fn scalar(ty: &str) -> Option<(&'static str, usize)> {
    Some(match ty {
        "char" | "__u8" => ("u8", 1),
        "__u16" => ("u16", 2),
        "__u32" => ("u32", 4),
        "__s32" => ("i32", 4),
        "__u64" | "__aligned_u64" => ("u64", 8),
        _ => return None,
    })
}

/// Parses the declarators between a type and the semicolon.
fn declarators(
    tokens: &mut Vec<&str>,
    (ty, bytes): (&'static str, usize),
    constants: &HashMap<String, u64>,
    out: &mut Vec<Member>,
) -> Option<()> {
    loop {
        let mut next = tokens.pop()?;
        let mut name = "";
        if next != ":" {
            name = next;
            next = tokens.pop()?;
        }
        match next {
            ":" => {
                let width: usize = tokens.pop()?.parse().ok()?;
                match out.last_mut() {
                    Some(Member::Bits { bytes: word, bits })
                        if *word == bytes && *bits + width <= 8 * bytes =>
                    {
                        *bits += width;
                    }
                    _ => out.push(Member::Bits { bytes, bits: width }),
                }
                next = tokens.pop()?;
            }
            "[" => {
                let elements = value(tokens.pop()?, constants)?.try_into().ok()?;
                out.push(Member::Field {
                    ty,
                    bytes,
                    elements: Some(elements),
                    name: name.to_owned(),
                });
                tokens.pop().filter(|token| *token == "]")?;
                next = tokens.pop()?;
            }
            _ => out.push(Member::Field { ty, bytes, elements: None, name: name.to_owned() }),
        }
        match next {
            ";" => return Some(()),
            "," => {}
            _ => return None,
        }
    }
}

impl Layout {
    /// Lays out a structure with these members. `choices` names the member to use of each union; by
    /// default it is the first.
    pub(super) fn new(members: &[Member], choices: &[&str]) -> Result<Layout, String> {
        let mut out = Layout { align: 1, ..Layout::default() };
        out.structure(members, choices, "")?;
        out.pad(out.align);
        Ok(out)
    }

    fn structure(
        &mut self,
        members: &[Member],
        choices: &[&str],
        prefix: &str,
    ) -> Result<(), String> {
        for (at, member) in members.iter().enumerate() {
            match member {
                Member::Field { ty, bytes, elements, name } => {
                    let count = elements.unwrap_or(1);
                    let ty = elements.map_or((*ty).to_owned(), |n| format!("[{ty}; {n}]"));
                    // `type` is a keyword of Rust.
                    let name = if name == "type" { "type_" } else { name };
                    self.push(format!("{prefix}{name}"), ty, *bytes, bytes * count);
                }
                Member::Bits { bytes, .. } => {
                    let name = format!("{prefix}bits_{}", self.size);
                    self.push(name, format!("u{}", 8 * bytes), *bytes, *bytes);
                }
                Member::Aggregate { union: false, members, name } => {
                    let prefix =
                        name.as_ref().map_or(prefix.to_owned(), |name| format!("{prefix}{name}_"));
                    self.pad(align(members));
                    self.structure(members, choices, &prefix)?;
                }
                Member::Aggregate { union: true, members: all, .. } => {
                    let chosen =
                        all.iter().find(|member| is_chosen(member, choices)).or(all.first());
                    let chosen = chosen.ok_or("an empty union")?;
                    self.pad(align(all));
                    let begin = self.size;
                    self.structure(std::slice::from_ref(chosen), choices, prefix)?;
                    let bytes = all.iter().map(size).max().unwrap_or(0);
                    if self.size - begin < bytes && at + 1 < members.len() {
                        return Err(format!(
                            "the chosen member has {} bytes, but its union has {bytes}",
                            self.size - begin
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, name: String, ty: String, align: usize, bytes: usize) {
        self.pad(align);
        self.fields.push(Field { name, ty, offset: self.size });
        self.size += bytes;
        self.align = self.align.max(align);
    }

    /// Adds padding as a field, so that all bytes are initialized.
    fn pad(&mut self, align: usize) {
        let bytes = self.size.next_multiple_of(align) - self.size;
        if bytes > 0 {
            let name = format!("padding_{}", self.size);
            self.fields.push(Field { name, ty: format!("[u8; {bytes}]"), offset: self.size });
            self.size += bytes;
        }
    }
}

fn is_chosen(member: &Member, choices: &[&str]) -> bool {
    let name = match member {
        Member::Field { name, .. } => Some(name),
        Member::Bits { .. } => None,
        // A member names the anonymous structure that it is in.
        Member::Aggregate { name: None, members, .. } => {
            return members.iter().any(|member| is_chosen(member, choices));
        }
        Member::Aggregate { name, .. } => name.as_ref(),
    };
    name.is_some_and(|name| choices.contains(&name.as_str()))
}

fn align(members: &[Member]) -> usize {
    let member_align = |member: &Member| match member {
        Member::Field { bytes, .. } | Member::Bits { bytes, .. } => *bytes,
        Member::Aggregate { members, .. } => align(members),
    };
    members.iter().map(member_align).max().unwrap_or(1)
}

fn size(member: &Member) -> usize {
    match member {
        Member::Field { bytes, elements, .. } => bytes * elements.unwrap_or(1),
        Member::Bits { bytes, .. } => *bytes,
        Member::Aggregate { union: true, members, .. } => {
            members.iter().map(size).max().unwrap_or(0).next_multiple_of(align(members))
        }
        Member::Aggregate { union: false, members, .. } => members
            .iter()
            .fold(0usize, |offset, member| {
                offset.next_multiple_of(align(std::slice::from_ref(member))) + size(member)
            })
            .next_multiple_of(align(members)),
    }
}
