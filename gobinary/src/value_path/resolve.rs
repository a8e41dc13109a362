//! Following a path through types, and the words of the value at its end.

use super::place::{Place, Unreadable};
use super::{PathError, Point, Size, Step, ValuePath};
use crate::dwarf::{DebugInfo, DebugInfoError, NoType};
use crate::function_entry::Location;
use crate::go_type::{Field, GoType, MAP_LENGTH_FIELDS, TypeKind, TypeRef};
use crate::signature::{Format, Guard, GuardTest, Signature, Value, Variable, Word};
use stapsdt::source::Source;
use std::sync::Arc;

/// The size of a word in bytes.
const WORD: u64 = 8;
/// The offset in bytes of the type in an `abi.ITab`.
const ITAB_TYPE: u64 = 8;
/// The limit on conditions without which a value does not exist: each is code at each of its reads.
const MAX_GUARDS: usize = 8;
/// The limit on structs in which a promoted field is looked for.
const MAX_EMBEDDED: usize = 256;
/// The number of names that a message lists.
const MAX_NAMES: usize = 24;

/// A value on the way along a path.
pub(super) struct Resolver<'d, 'a, S: Source<'a>> {
    info: &'d mut DebugInfo<'a, S>,
    /// The path so far.
    path: String,
    /// The type of the variable that the path begins with.
    type_ref: TypeRef,
    ty: Arc<GoType>,
    place: Place,
    /// What must hold for the value to exist.
    guards: Vec<Guard>,
}

impl<'d, 'a, S: Source<'a>> Resolver<'d, 'a, S> {
    /// Starts at the parameter or result with a name.
    pub(super) fn start(
        info: &'d mut DebugInfo<'a, S>,
        signature: &Signature,
        point: Point,
        name: &str,
    ) -> Result<Self, PathError> {
        let (variables, kind) = match point {
            Point::Entry => (&signature.parameters, "parameter"),
            Point::Return => (&signature.results, "result"),
        };
        let Some(variable) = variables.iter().find(|variable| variable.name == name) else {
            let function = signature.name.clone();
            let available = names(variables.iter().map(|variable| variable.name.as_str()));
            return Err(PathError::NoVariable { function, kind, name: name.to_owned(), available });
        };
        Resolver::at(info, variable)
    }

    /// Starts at a parameter or result.
    pub(super) fn at(
        info: &'d mut DebugInfo<'a, S>,
        variable: &Variable,
    ) -> Result<Self, PathError> {
        let path = variable.name.clone();
        let place = Place::new(&variable.placement).map_err(|e| unreadable(&path, e))?;
        let ty = info.go_type(variable.ty)?;
        Ok(Resolver { info, path, ty, place, type_ref: variable.ty, guards: Vec::new() })
    }

    /// Follows a path to its end, and returns the value there.
    pub(super) fn follow(mut self, path: &ValuePath) -> Result<Value, PathError> {
        for step in &path.steps {
            match step {
                Step::Field(name) => self.field(name)?,
                Step::Index(index) => self.index(*index)?,
                Step::Assert(name) => self.assert(name)?,
                Step::Dereference => self.dereference()?,
            }
            self.path = step.after(&self.path);
        }
        match path.size {
            Some(size) => self.size(size),
            None => self.value(),
        }
    }

    fn wrong_type(&self, problem: &str) -> PathError {
        let (path, type_name) = (self.path.clone(), self.ty.name.clone());
        PathError::WrongType { path, type_name, problem: problem.to_owned() }
    }

    fn readable<T>(&self, result: Result<T, Unreadable>) -> Result<T, PathError> {
        result.map_err(|error| unreadable(&self.path, error))
    }

    fn word(&self, offset: u64, size: u64, signed: bool) -> Result<Word, PathError> {
        self.readable(self.place.word(offset, size, signed))
    }

    /// Goes to what the pointer points to.
    fn dereference(&mut self) -> Result<(), PathError> {
        let TypeKind::Pointer { target } = self.ty.kind else {
            return Err(self.wrong_type("is not a pointer"));
        };
        let target = target.ok_or_else(|| self.wrong_type("points to an unknown type"))?;
        self.place = self.readable(self.place.dereference(0))?;
        self.ty = self.info.go_type(target)?;
        Ok(())
    }

    /// Follows a pointer to a type of another kind, as Go does for fields and indexes.
    fn dereference_to(&mut self, is_wanted: impl Fn(&TypeKind) -> bool) -> Result<(), PathError> {
        if let TypeKind::Pointer { target: Some(target) } = self.ty.kind
            && is_wanted(&self.info.go_type(target)?.kind)
        {
            self.dereference()?;
        }
        Ok(())
    }

    fn index(&mut self, index: u64) -> Result<(), PathError> {
        self.dereference_to(|kind| matches!(kind, TypeKind::Array { .. }))?;
        let (element, len) = match self.ty.kind {
            TypeKind::Array { element, len } => (element, len),
            TypeKind::Slice { element } => {
                let ty = self.info.go_type(element)?;
                return self.element(index, ty);
            }
            TypeKind::String => {
                let kind = TypeKind::Int { signed: false };
                let byte = GoType { name: "uint8".to_owned(), size: 1, kind };
                return self.element(index, Arc::new(byte));
            }
            TypeKind::Map { .. } => {
                return Err(self.wrong_type(
                    "is a map, whose entries cannot be read; their number can, with `len(…)`",
                ));
            }
            _ => return Err(self.wrong_type("is not an array, a slice or a string")),
        };
        if index >= len {
            return Err(self.wrong_type(&format!("has no element {index}; it has {len}")));
        }
        let ty = self.info.go_type(element)?;
        let offset = index.checked_mul(ty.size).ok_or(Unreadable::Damaged);
        let place = offset.and_then(|offset| self.place.part(offset, ty.size));
        self.place = self.readable(place)?;
        self.ty = ty;
        Ok(())
    }

    /// Goes to an element of a slice or a string: an address, then a length.
    fn element(&mut self, index: u64, ty: Arc<GoType>) -> Result<(), PathError> {
        let test = i64::try_from(index).map(GuardTest::HasIndex);
        let offset = index.checked_mul(ty.size).ok_or(Unreadable::Damaged);
        let (Ok(test), Ok(offset)) = (test, offset) else {
            return Err(self.wrong_type(&format!("has no element {index}")));
        };
        let length = self.word(WORD, WORD, true)?;
        self.guard(length, test)?;
        let elements = self.readable(self.place.dereference(0))?;
        self.place = self.readable(elements.part(offset, ty.size))?;
        self.ty = ty;
        Ok(())
    }

    fn guard(&mut self, word: Word, test: GuardTest) -> Result<(), PathError> {
        if self.guards.len() == MAX_GUARDS {
            return Err(unreadable(&self.path, Unreadable::TooManyGuards));
        }
        self.guards.push(Guard { word, test });
        Ok(())
    }

    /// Goes to the value that an interface holds, if it has a type.
    fn assert(&mut self, name: &str) -> Result<(), PathError> {
        let TypeKind::Interface { is_empty } = self.ty.kind else {
            return Err(self.wrong_type("is not an interface, so it has one type only"));
        };
        let asserted = self.info.named_type(name, self.type_ref).map_err(|problem| {
            let reason = match problem {
                NoType::Unknown => "the debug information describes no such type of a value in an interface; write the type as in `%T`, such as `*fs.PathError`".to_owned(),
                NoType::Ambiguous(types) => {
                    format!("it stands for several; write the path of the package: {types}")
                }
                NoType::NoDescriptors => "the type descriptors of the binary are not found".to_owned(),
                NoType::DebugInfo(problem) => problem.to_string(),
            };
            PathError::NoType { path: self.path.clone(), name: name.to_owned(), reason }
        })?;
        if !is_empty {
            let itab = self.word(0, WORD, false)?;
            self.guard(itab, GuardTest::IsNotNil)?;
        }
        let dynamic_type = self.dynamic_type(is_empty)?;
        self.guard(dynamic_type, GuardTest::IsType(asserted.descriptor))?;
        let data = if asserted.is_direct {
            self.place.part(WORD, WORD)
        } else {
            self.place.dereference(WORD)
        };
        self.place = self.readable(data)?;
        self.ty = self.info.go_type(asserted.ty)?;
        Ok(())
    }

    fn field(&mut self, name: &str) -> Result<(), PathError> {
        self.dereference_to(|kind| matches!(kind, TypeKind::Struct { .. }))?;
        let ty = Arc::clone(&self.ty);
        let TypeKind::Struct { fields } = &ty.kind else {
            let problem = match ty.kind {
                TypeKind::Interface { .. } => {
                    "is an interface; name the type that it holds, such as `.(*fs.PathError)`"
                }
                TypeKind::Pointer { .. } => "is not a pointer to a struct",
                _ => "is not a struct",
            };
            return Err(self.wrong_type(problem));
        };
        let Some(way) = self.find_field(fields, name)? else {
            let available = names(fields.iter().map(|field| field.name.as_str()));
            let (path, type_name) = (self.path.clone(), ty.name.clone());
            let field = name.to_owned();
            return Err(PathError::NoField { path, type_name, field, available });
        };
        for field in way {
            self.dereference_to(|kind| matches!(kind, TypeKind::Struct { .. }))?;
            self.enter(&field)?;
        }
        Ok(())
    }

    /// Goes to a field of the struct.
    fn enter(&mut self, field: &Field) -> Result<(), PathError> {
        let ty = self.info.go_type(field.ty)?;
        self.place = self.readable(self.place.part(field.offset, ty.size))?;
        self.ty = ty;
        Ok(())
    }

    /// Returns the fields that lead to the field with a name: itself, or embedded structs that
    /// promote it and then itself. The shortest way counts, as in Go.
    fn find_field(
        &mut self,
        fields: &[Field],
        name: &str,
    ) -> Result<Option<Vec<Field>>, DebugInfoError> {
        let mut level: Vec<(Vec<Field>, Vec<Field>)> = vec![(Vec::new(), fields.to_vec())];
        let mut structs_left = MAX_EMBEDDED;
        while !level.is_empty() {
            let mut next = Vec::new();
            for (way, fields) in level {
                if let Some(found) = fields.iter().find(|field| field.name == name) {
                    return Ok(Some([way, vec![found.clone()]].concat()));
                }
                for embedded in fields.iter().filter(|field| field.is_embedded) {
                    let Some(left) = structs_left.checked_sub(1) else { return Ok(None) };
                    structs_left = left;
                    let inner = self.struct_fields(embedded.ty)?;
                    next.extend(
                        inner.map(|f| ([&way[..], std::slice::from_ref(embedded)].concat(), f)),
                    );
                }
            }
            level = next;
        }
        Ok(None)
    }

    /// Returns the fields of a struct, or of the struct that a pointer points to.
    fn struct_fields(&mut self, ty: TypeRef) -> Result<Option<Vec<Field>>, DebugInfoError> {
        let mut ty = self.info.go_type(ty)?;
        if let TypeKind::Pointer { target: Some(target) } = ty.kind {
            ty = self.info.go_type(target)?;
        }
        match &ty.kind {
            TypeKind::Struct { fields } => Ok(Some(fields.clone())),
            _ => Ok(None),
        }
    }

    /// Returns a length or a capacity.
    fn size(mut self, size: Size) -> Result<Value, PathError> {
        let location = |word: Word| (Format::Int, vec![word]);
        let (format, words) = match (&self.ty.kind, size) {
            (TypeKind::String | TypeKind::Slice { .. }, Size::Len) => {
                location(self.word(WORD, WORD, true)?)
            }
            (TypeKind::Slice { .. }, Size::Cap) => location(self.word(2 * WORD, WORD, true)?),
            (TypeKind::Array { len, .. }, _) => {
                let len = i64::try_from(*len).unwrap_or(i64::MAX);
                location(Word { location: Location::Constant(len), size: 8, signed: true })
            }
            (TypeKind::Map { header }, Size::Len) => {
                (Format::Map, vec![self.header_field(*header, &MAP_LENGTH_FIELDS)?])
            }
            (TypeKind::Chan { header }, Size::Len) => {
                location(self.header_field(*header, &["qcount"])?)
            }
            (TypeKind::Chan { header }, Size::Cap) => {
                location(self.header_field(*header, &["dataqsiz"])?)
            }
            (_, Size::Len) => return Err(self.wrong_type("has no length")),
            (_, Size::Cap) => return Err(self.wrong_type("has no capacity")),
        };
        Ok(Value { format, type_name: "int".to_owned(), guards: self.guards, words })
    }

    /// Returns a field of the header that a map or a channel points to.
    fn header_field(&mut self, header: TypeRef, names: &[&str]) -> Result<Word, PathError> {
        let fields = self.struct_fields(header)?.unwrap_or_default();
        let field = fields.iter().find(|field| names.contains(&field.name.as_str()));
        let field = field.ok_or(DebugInfoError::Damaged("the type of a map or a channel"))?;
        let size = self.info.go_type(field.ty)?.size;
        let header = self.readable(self.place.dereference(0))?;
        self.readable(header.word(field.offset, size, false))
    }

    /// Returns the value in its default form.
    pub(super) fn value(mut self) -> Result<Value, PathError> {
        let ty = Arc::clone(&self.ty);
        let (format, words) = match &ty.kind {
            TypeKind::Bool => (Format::Bool, vec![self.word(0, ty.size, false)?]),
            TypeKind::Int { signed } => {
                let is_duration = ty.name == "time.Duration";
                let format = if is_duration { Format::Duration } else { Format::Int };
                (format, vec![self.word(0, ty.size, *signed)?])
            }
            TypeKind::Float => (Format::Float, vec![self.word(0, ty.size, false)?]),
            TypeKind::Complex => {
                let half = ty.size / 2;
                (Format::Complex, vec![self.word(0, half, false)?, self.word(half, half, false)?])
            }
            TypeKind::String => {
                (Format::String, vec![self.word(0, WORD, false)?, self.word(WORD, WORD, true)?])
            }
            TypeKind::Slice { element } => {
                let element = self.info.go_type(*element)?;
                let is_byte = element.size == 1 && element.kind == TypeKind::Int { signed: false };
                let (format, first) = if is_byte { (Format::Bytes, 0) } else { (Format::Slice, 1) };
                let words =
                    [first, first + 1].map(|index| self.word(index * WORD, WORD, index > 0));
                (format, words.into_iter().collect::<Result<_, _>>()?)
            }
            TypeKind::Pointer { .. } => (Format::Pointer, vec![self.word(0, WORD, false)?]),
            TypeKind::Func => {
                let closure = self.readable(self.place.dereference(0))?;
                (Format::Func, vec![self.readable(closure.word(0, WORD, false))?])
            }
            TypeKind::Map { header } => {
                (Format::Map, vec![self.header_field(*header, &MAP_LENGTH_FIELDS)?])
            }
            TypeKind::Chan { header } => {
                let names = ["qcount", "dataqsiz"];
                let words = names.map(|name| self.header_field(*header, &[name]));
                (Format::Chan, words.into_iter().collect::<Result<_, _>>()?)
            }
            TypeKind::Interface { is_empty } => self.interface(*is_empty)?,
            TypeKind::Struct { fields } if ty.name == "time.Time" => {
                let mut words = Vec::new();
                for name in ["wall", "ext"] {
                    let field = fields.iter().find(|field| field.name == name);
                    let field = field.ok_or(DebugInfoError::Damaged("the type `time.Time`"))?;
                    words.push(self.word(field.offset, WORD, name == "ext")?);
                }
                (Format::Time, words)
            }
            TypeKind::Struct { fields } => {
                let fields = names(fields.iter().map(|field| field.name.as_str()));
                return Err(self.wrong_type(&format!("is a struct; choose a field: {fields}")));
            }
            TypeKind::Array { len, .. } => {
                return Err(self.wrong_type(&format!(
                    "is an array of {len}; choose an element, such as `{}[0]`",
                    self.path
                )));
            }
        };
        Ok(Value { format, type_name: ty.name.clone(), guards: self.guards, words })
    }

    /// Returns the word with the address of the dynamic type's descriptor.
    fn dynamic_type(&self, is_empty: bool) -> Result<Word, PathError> {
        if is_empty {
            return self.word(0, WORD, false);
        }
        let itab = self.readable(self.place.dereference(0))?;
        self.readable(itab.word(ITAB_TYPE, WORD, false))
    }

    fn interface(&self, is_empty: bool) -> Result<(Format, Vec<Word>), PathError> {
        let mut words = vec![self.dynamic_type(is_empty)?, self.word(WORD, WORD, false)?];
        if self.ty.name != "error" {
            return Ok((Format::Interface, words));
        }
        let data = self.readable(self.place.dereference(WORD))?;
        for (offset, signed) in [(0, false), (WORD, true)] {
            words.push(self.readable(data.word(offset, WORD, signed))?);
        }
        Ok((Format::Error, words))
    }
}

fn unreadable(path: &str, error: Unreadable) -> PathError {
    PathError::Unreadable { path: path.to_owned(), reason: error.reason().to_owned() }
}

/// Returns a list of names for a message.
fn names<'n>(all: impl Iterator<Item = &'n str>) -> String {
    let mut listed: Vec<String> = Vec::new();
    for name in all {
        if listed.len() == MAX_NAMES {
            listed.push("…".to_owned());
            break;
        }
        listed.push(format!("`{name}`"));
    }
    if listed.is_empty() { "none".to_owned() } else { listed.join(", ") }
}
