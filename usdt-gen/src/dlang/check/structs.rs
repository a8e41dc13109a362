//! Structs and unions that arguments lead to, laid out.

use super::resolve::{FlatBase, Resolver, State};
use crate::dlang::ast::{Base, Body, Derived, Keyword, Param};
use crate::dlang::diagnostic::Diagnostic;
use crate::model::{self, Enum, FieldType, Struct, StructName, Wanted};

/// Deepest nesting of structs in structs.
const MAX_DEPTH: usize = 32;

/// There is no layout; pointers to it are plain addresses then.
struct Opaque;

impl Resolver<'_> {
    /// The model's struct of a tag, if it is defined and can be laid out.
    pub(super) fn struct_at(&mut self, tag: usize) -> Option<usize> {
        self.lay_out(tag, false, 0).ok()
    }

    /// The types of the model. What pointers in members lead to comes in last.
    pub(super) fn finish(mut self) -> (Vec<Enum>, Vec<Struct>) {
        let mut at = 0;
        while at < self.structs.len() {
            let mut fields =
                self.structs.get_mut(at).map(|s| std::mem::take(&mut s.fields)).unwrap_or_default();
            for field in &mut fields {
                self.follow(&mut field.ty);
            }
            if let Some(s) = self.structs.get_mut(at) {
                s.fields = fields;
            }
            at += 1;
        }
        (self.enums, self.structs)
    }

    /// Until here a pointer to a struct has named its tag.
    fn follow(&mut self, ty: &mut FieldType) {
        match ty {
            FieldType::StructPointer(tag) => {
                let tag = *tag;
                *ty = self.struct_at(tag).map_or(FieldType::Pointer, FieldType::StructPointer);
            }
            FieldType::Array(element, _) => self.follow(element),
            _ => {}
        }
    }

    /// `member` is true for the type of a member, which needs no name.
    fn lay_out(&mut self, tag: usize, member: bool, depth: usize) -> Result<usize, Opaque> {
        match self.struct_of.get(&tag) {
            Some(State::Done(index)) => return Ok(*index),
            Some(State::Opaque | State::Open) => return Err(Opaque),
            None => {}
        }
        self.struct_of.insert(tag, State::Open);
        let before = self.structs.len();
        let made = self.members(tag, member, depth);
        let state = match made {
            Ok(()) => State::Done(self.structs.len() - 1),
            Err(Opaque) => {
                // Without the outer one nothing leads to its members' types; another way to them finds them anew.
                self.structs.truncate(before);
                self.struct_of.retain(|_, s| !matches!(s, State::Done(index) if *index >= before));
                State::Opaque
            }
        };
        self.struct_of.insert(tag, state);
        match state {
            State::Done(index) => Ok(index),
            _ => Err(Opaque),
        }
    }

    /// Appends the laid-out struct behind those its members are made of.
    fn members(&mut self, tag: usize, member: bool, depth: usize) -> Result<(), Opaque> {
        let ast = self.file.tags.get(tag).ok_or(Opaque)?;
        let Some(Body::Members(members)) = &ast.body else { return Err(Opaque) };
        let typedef = self.typedef_names.get(&tag).copied();
        let name = match (&ast.name, typedef, member) {
            (Some(name), ..) => StructName::Tag(name.text.clone()),
            (None, Some((name, _)), _) => StructName::Typedef(name.to_owned()),
            // The parent is known when it is done.
            (None, None, true) => StructName::Member { parent: 0, field: 0 },
            (None, None, false) => return Err(Opaque),
        };
        if ast.attributes {
            let span = ast.name.as_ref().or(members.first().and_then(|m| m.name.as_ref()));
            let span = span.map_or(0..0, |n| n.span.clone());
            self.diagnostics.push(
                Diagnostic::warning(
                    span,
                    "attributes change the layout of this struct",
                    "of this one",
                )
                .help("pointers to it are passed as they are, without a Go type"),
            );
            return Err(Opaque);
        }
        if depth >= MAX_DEPTH {
            return Err(Opaque);
        }
        let mut wanted = Vec::new();
        let mut unnamed_members = Vec::new();
        for member in members {
            let one = self.member(member, depth)?;
            if let (Base::Tag(at), FieldType::Struct(index)) = (&member.ty.base, one.ty.innermost())
            {
                let named = self.file.tags.get(*at).is_some_and(|t| t.name.is_some());
                if !named && !self.typedef_names.contains_key(at) {
                    unnamed_members.push((*index, wanted.len()));
                }
            }
            wanted.push(one);
        }
        let union = ast.keyword == Keyword::Union;
        let doc = if ast.doc.is_empty() { typedef.map_or("", |t| t.1) } else { &ast.doc };
        let made = Struct::lay_out(name, union, doc.to_owned(), wanted, &self.structs, &self.enums)
            .ok_or(Opaque)?;
        let parent = self.structs.len();
        for (index, field) in unnamed_members {
            if let Some(s) = self.structs.get_mut(index) {
                s.name = StructName::Member { parent, field };
            }
        }
        self.structs.push(made);
        Ok(())
    }

    fn member(&mut self, member: &Param, depth: usize) -> Result<Wanted, Opaque> {
        let mut spelled = member.ty.clone();
        let flat = self.flatten(&member.ty);
        let ty = self.field_type(&flat.base, &flat.derived, depth)?;
        // Lengths are constants that may have names; the model knows their values.
        for step in &mut spelled.derived {
            if let Derived::Array(Some(length)) = step {
                length.text = self.evaluate(length).ok_or(Opaque)?.to_string();
            }
        }
        let width = match &member.bits {
            None => None,
            Some(bits) => {
                Some(u8::try_from(self.evaluate(bits).ok_or(Opaque)?).map_err(|_| Opaque)?)
            }
        };
        let integer = matches!(
            ty,
            FieldType::Char | FieldType::Int { .. } | FieldType::Bool | FieldType::Enum(_)
        );
        if width.is_some() && (!integer || (width == Some(0) && member.name.is_some())) {
            return Err(Opaque);
        }
        let name = member.name.as_ref().map(|n| n.text.clone());
        if name.is_none() && width.is_none() && !matches!(ty, FieldType::Struct(_)) {
            return Err(Opaque);
        }
        Ok(Wanted { name, spelling: spelled.spelling(), ty, doc: member.doc.clone(), width })
    }

    fn field_type(
        &mut self,
        base: &FlatBase,
        derived: &[Derived],
        depth: usize,
    ) -> Result<FieldType, Opaque> {
        match derived.split_first() {
            Some((Derived::Function(_), _)) => Err(Opaque),
            Some((Derived::Pointer, rest)) => Ok(match base {
                FlatBase::Tag(tag) if rest.is_empty() && !self.is_enum(*tag) => {
                    FieldType::StructPointer(*tag)
                }
                _ => FieldType::Pointer,
            }),
            Some((Derived::Array(length), rest)) => {
                if rest.len() >= MAX_DEPTH {
                    return Err(Opaque);
                }
                let length = match length {
                    Some(length) => {
                        u64::try_from(self.evaluate(length).ok_or(Opaque)?).map_err(|_| Opaque)?
                    }
                    // A flexible array member takes no room.
                    None => 0,
                };
                Ok(FieldType::Array(Box::new(self.field_type(base, rest, depth)?), length))
            }
            None => match base {
                FlatBase::Char => Ok(FieldType::Char),
                FlatBase::Known(model::Type::Int { size, signed }) => {
                    Ok(FieldType::Int { size: *size, signed: *signed })
                }
                FlatBase::Known(model::Type::Uintptr) => {
                    Ok(FieldType::Int { size: 8, signed: false })
                }
                FlatBase::Known(model::Type::Float { size }) => {
                    Ok(FieldType::Float { size: *size })
                }
                FlatBase::Known(model::Type::Bool) => Ok(FieldType::Bool),
                FlatBase::Tag(tag) if self.is_enum(*tag) => Ok(match self.enum_at(*tag) {
                    Some((index, _)) => FieldType::Enum(index),
                    None => FieldType::Int { size: 4, signed: true },
                }),
                FlatBase::Tag(tag) => self.lay_out(*tag, true, depth + 1).map(FieldType::Struct),
                _ => Err(Opaque),
            },
        }
    }

    fn is_enum(&self, tag: usize) -> bool {
        self.file.tags.get(tag).is_some_and(|t| t.keyword == Keyword::Enum)
    }
}
