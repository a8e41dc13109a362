//! Lays out the structs and unions that arguments point to.

use super::resolve::{CanonicalBase, LayoutState, Resolver};
use crate::dlang::ast::{Base, Body, Derived, Keyword, Param};
use crate::dlang::diagnostic::Diagnostic;
use crate::model::{self, Enum, FieldDecl, FieldType, Struct, StructName};

/// The deepest nesting of structs in structs.
const MAX_DEPTH: usize = 32;

/// The error of a type without a known layout. Pointers to it become plain addresses.
struct Opaque;

impl Resolver<'_> {
    /// Returns the index of a tag's struct in the model, or `None` if it has no known layout.
    pub(super) fn struct_at(&mut self, tag: usize) -> Option<usize> {
        self.lay_out(tag, false, 0).ok()
    }

    /// Returns the types of the model, after adding the structs that members point to.
    pub(super) fn finish(mut self) -> (Vec<Enum>, Vec<Struct>) {
        let mut at = 0;
        while at < self.structs.len() {
            let mut fields =
                self.structs.get_mut(at).map(|s| std::mem::take(&mut s.fields)).unwrap_or_default();
            for field in &mut fields {
                self.resolve_pointee(&mut field.ty);
            }
            if let Some(s) = self.structs.get_mut(at) {
                s.fields = fields;
            }
            at += 1;
        }
        (self.enums, self.structs)
    }

    /// Replaces the tag index in a pointer to a struct by the struct's index in the model.
    fn resolve_pointee(&mut self, ty: &mut FieldType) {
        match ty {
            FieldType::StructPointer(tag) => {
                let tag = *tag;
                *ty = self.struct_at(tag).map_or(FieldType::Pointer, FieldType::StructPointer);
            }
            FieldType::Array(element, _) => self.resolve_pointee(element),
            _ => {}
        }
    }

    /// Lays out a struct once and returns its index in the model. `is_member` is true for the type
    /// of a member, which does not need a name.
    fn lay_out(&mut self, tag: usize, is_member: bool, depth: usize) -> Result<usize, Opaque> {
        match self.struct_of.get(&tag) {
            Some(LayoutState::Done(index)) => return Ok(*index),
            Some(LayoutState::Opaque | LayoutState::InProgress) => return Err(Opaque),
            None => {}
        }
        self.struct_of.insert(tag, LayoutState::InProgress);
        let before = self.structs.len();
        let state = match self.lay_out_members(tag, is_member, depth) {
            Ok(()) => LayoutState::Done(self.structs.len() - 1),
            Err(Opaque) => {
                // Drop the types of its members: nothing refers to them now. If another struct uses
                // them, they are laid out again.
                self.structs.truncate(before);
                self.struct_of
                    .retain(|_, s| !matches!(s, LayoutState::Done(index) if *index >= before));
                LayoutState::Opaque
            }
        };
        self.struct_of.insert(tag, state);
        match state {
            LayoutState::Done(index) => Ok(index),
            _ => Err(Opaque),
        }
    }

    /// Lays out a struct and appends it to the model, after the structs that it contains.
    fn lay_out_members(&mut self, tag: usize, is_member: bool, depth: usize) -> Result<(), Opaque> {
        let ast = self.file.tags.get(tag).ok_or(Opaque)?;
        let Some(Body::Members(members)) = &ast.body else { return Err(Opaque) };
        let typedef = self.tag_typedefs.get(&tag).copied();
        let name = match (&ast.name, typedef, is_member) {
            (Some(name), ..) => StructName::Tag(name.text.clone()),
            (None, Some(typedef), _) => StructName::Typedef(typedef.name.to_owned()),
            // The parent fills in its index when it is laid out.
            (None, None, true) => StructName::Member { parent: 0, field: 0 },
            (None, None, false) => return Err(Opaque),
        };
        if ast.has_layout_attribute {
            let span = ast.name.as_ref().or(members.first().and_then(|m| m.name.as_ref()));
            let span = span.map_or(0..0, |n| n.span.clone());
            self.diagnostics.push(
                Diagnostic::warning(
                    span,
                    "compiler attributes change the layout of this struct",
                    "this struct",
                )
                .help("pointers to it are passed as plain addresses, without a Go type"),
            );
            return Err(Opaque);
        }
        if depth >= MAX_DEPTH {
            return Err(Opaque);
        }
        let mut fields = Vec::new();
        let mut unnamed_members = Vec::new();
        for member in members {
            let field = self.field(member, depth)?;
            if let (Base::Tag(at), FieldType::Struct(index)) =
                (&member.ty.base, field.ty.innermost())
            {
                let has_tag = self.file.tags.get(*at).is_some_and(|t| t.name.is_some());
                if !has_tag && !self.tag_typedefs.contains_key(at) {
                    unnamed_members.push((*index, fields.len()));
                }
            }
            fields.push(field);
        }
        let is_union = ast.keyword == Keyword::Union;
        let doc = if ast.doc.is_empty() { typedef.map_or("", |t| t.doc) } else { &ast.doc };
        let laid_out =
            Struct::lay_out(name, is_union, doc.to_owned(), fields, &self.structs, &self.enums)
                .ok_or(Opaque)?;
        let parent = self.structs.len();
        for (index, field) in unnamed_members {
            if let Some(s) = self.structs.get_mut(index) {
                s.name = StructName::Member { parent, field };
            }
        }
        self.structs.push(laid_out);
        Ok(())
    }

    fn field(&mut self, member: &Param, depth: usize) -> Result<FieldDecl, Opaque> {
        let mut spelled = member.ty.clone();
        let canonical = self.canonicalize(&member.ty);
        let ty = self.field_type(&canonical.base, &canonical.derived, depth)?;
        // Array lengths can be named constants. The model has their values.
        for derived in &mut spelled.derived {
            if let Derived::Array(Some(length)) = derived {
                length.text = self.evaluate(length).ok_or(Opaque)?.to_string();
            }
        }
        let bit_width = match &member.bit_width {
            None => None,
            Some(width) => {
                Some(u8::try_from(self.evaluate(width).ok_or(Opaque)?).map_err(|_| Opaque)?)
            }
        };
        let is_integer = matches!(
            ty,
            FieldType::Char | FieldType::Int { .. } | FieldType::Bool | FieldType::Enum(_)
        );
        if bit_width.is_some() && (!is_integer || (bit_width == Some(0) && member.name.is_some())) {
            return Err(Opaque);
        }
        let name = member.name.as_ref().map(|n| n.text.clone());
        if name.is_none() && bit_width.is_none() && !matches!(ty, FieldType::Struct(_)) {
            return Err(Opaque);
        }
        let spelling = self.spelling(&spelled);
        Ok(FieldDecl { name, spelling, ty, doc: member.doc.clone(), bit_width })
    }

    fn field_type(
        &mut self,
        base: &CanonicalBase,
        derived: &[Derived],
        depth: usize,
    ) -> Result<FieldType, Opaque> {
        match derived.split_first() {
            Some((Derived::Function(_), _)) => Err(Opaque),
            Some((Derived::Pointer, rest)) => Ok(match base {
                CanonicalBase::Tag(tag) if rest.is_empty() && !self.is_enum(*tag) => {
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
                    // A flexible array member occupies no space.
                    None => 0,
                };
                Ok(FieldType::Array(Box::new(self.field_type(base, rest, depth)?), length))
            }
            None => match base {
                CanonicalBase::Char => Ok(FieldType::Char),
                CanonicalBase::Known(model::Type::Int { size, signed }) => {
                    Ok(FieldType::Int { size: *size, signed: *signed })
                }
                CanonicalBase::Known(model::Type::Uintptr) => {
                    Ok(FieldType::Int { size: 8, signed: false })
                }
                CanonicalBase::Known(model::Type::Duration) => {
                    Ok(FieldType::Int { size: 8, signed: true })
                }
                CanonicalBase::Known(model::Type::Pointer) => Ok(FieldType::Pointer),
                CanonicalBase::Known(model::Type::Float { size }) => {
                    Ok(FieldType::Float { size: *size })
                }
                CanonicalBase::Known(model::Type::Bool) => Ok(FieldType::Bool),
                CanonicalBase::Tag(tag) if self.is_enum(*tag) => Ok(match self.enum_at(*tag) {
                    Some((index, _)) => FieldType::Enum(index),
                    None => FieldType::Int { size: 4, signed: true },
                }),
                CanonicalBase::Tag(tag) => {
                    self.lay_out(*tag, true, depth + 1).map(FieldType::Struct)
                }
                _ => Err(Opaque),
            },
        }
    }

    fn is_enum(&self, tag: usize) -> bool {
        self.file.tags.get(tag).is_some_and(|t| t.keyword == Keyword::Enum)
    }
}
