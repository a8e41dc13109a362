//! The model of a definition file: what every generator works from, free of syntax.

pub mod interface_diff;
mod struct_layout;

pub use struct_layout::{Enum, Field, FieldType, Struct, StructName, Wanted};

use indexmap::IndexMap;
use stapsdt::schema;

/// Most argument words a probe may have: libbpf refuses a note with more.
pub const MAX_WORDS: usize = 12;

/// Every provider of a file, in declared order, and the types that their arguments lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// By name.
    pub providers: IndexMap<String, Provider>,
    /// Enums of the file, and those of included ones that are used.
    pub enums: Vec<Enum>,
    /// Structs and unions that arguments point to, directly or through members.
    pub structs: Vec<Struct>,
}

/// A provider: a namespace of probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// As declared.
    pub name: String,
    /// From the comment before it; paragraphs separated by blank lines.
    pub doc: String,
    /// Of the arguments, `NAME/DATA/CLASS`, from a pragma.
    pub stability: Option<String>,
    /// By name, in declared order.
    pub probes: IndexMap<String, Probe>,
}

/// A probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// As declared, underscores kept.
    pub name: String,
    /// From the comment before it.
    pub doc: String,
    /// In declared order.
    pub params: Vec<Param>,
    /// What DTrace's `args[]` shows instead, where the definition says so. Notes carry the inputs.
    pub outputs: Vec<Output>,
}

/// An argument of a translated prototype.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Index of the input that it is translated from.
    pub input: usize,
    /// The type as written.
    pub spelling: String,
}

/// A declared argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Declared name, if there is one.
    pub name: Option<String>,
    /// The type as written.
    pub spelling: String,
    /// What it is.
    pub ty: Type,
    /// From a comment beside it or an `@param` line.
    pub doc: String,
}

/// What an argument is, and so how Go declares and passes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// An integer of 1, 2, 4 or 8 bytes.
    Int {
        /// Bytes.
        size: u8,
        /// Two's complement.
        signed: bool,
    },
    /// `uintptr_t`: an integer as wide as a pointer.
    Uintptr,
    /// `@go int` or `@go uint`: 8 bytes that are Go's own integer.
    GoInt {
        /// Two's complement.
        signed: bool,
    },
    /// `@go time.Duration`: 8 bytes, signed, nanoseconds.
    Duration,
    /// 4 or 8 bytes of IEEE 754.
    Float {
        /// Bytes.
        size: u8,
    },
    /// An enum that the file defines.
    Enum {
        /// Index in [`Model::enums`].
        index: usize,
        /// Bytes.
        size: u8,
        /// Two's complement.
        signed: bool,
    },
    /// `bool`.
    Bool,
    /// Pointer to a struct or union that the file defines.
    Struct {
        /// Index in [`Model::structs`].
        index: usize,
    },
    /// `char *`: passed as a NUL-terminated copy.
    CString,
    /// `string`: pointer and length.
    String,
    /// `bytes`: pointer and length.
    Bytes,
    /// `error`: pointer and length of its message.
    Error,
    /// Any other pointer.
    Pointer,
}

impl Type {
    /// How a tracer reads the words.
    pub fn kind(self) -> schema::Kind {
        match self {
            Type::Int { .. }
            | Type::Enum { .. }
            | Type::Uintptr
            | Type::GoInt { .. }
            | Type::Duration => schema::Kind::Int,
            Type::Float { .. } => schema::Kind::Float,
            Type::Bool => schema::Kind::Bool,
            Type::CString => schema::Kind::Cstring,
            Type::String => schema::Kind::String,
            Type::Bytes => schema::Kind::Bytes,
            Type::Error => schema::Kind::Error,
            Type::Pointer | Type::Struct { .. } => schema::Kind::Pointer,
        }
    }

    /// Argument words in the note: two for what travels as pointer and length.
    pub fn words(self) -> usize {
        self.kind().words()
    }

    /// Bytes of the first word.
    pub fn size(self) -> u8 {
        match self {
            Type::Int { size, .. } | Type::Enum { size, .. } | Type::Float { size } => size,
            Type::Bool => 1,
            _ => 8,
        }
    }

    /// Whether the first word is two's complement.
    pub fn signed(self) -> bool {
        match self {
            Type::Int { signed, .. } | Type::Enum { signed, .. } | Type::GoInt { signed } => signed,
            Type::Duration => true,
            _ => false,
        }
    }

    /// Unit of the value, by its UCUM code, where the type says it.
    pub fn unit(self) -> Option<&'static str> {
        (self == Type::Duration).then_some("ns")
    }

    /// The type that `@go NAME` makes of this one; `None` where the two do not have the same size and sign.
    pub fn as_go(self, name: GoName) -> Option<Type> {
        let Type::Int { size: 8, signed } = self else { return None };
        match name {
            GoName::Int if signed => Some(Type::GoInt { signed }),
            GoName::Uint if !signed => Some(Type::GoInt { signed }),
            GoName::Duration if signed => Some(Type::Duration),
            _ => None,
        }
    }

    /// The annotation that makes this type, if it takes one.
    pub fn go_name(self) -> Option<GoName> {
        match self {
            Type::GoInt { signed: true } => Some(GoName::Int),
            Type::GoInt { signed: false } => Some(GoName::Uint),
            Type::Duration => Some(GoName::Duration),
            _ => None,
        }
    }
}

/// A Go type that an annotation `@go` gives an argument in place of the one of its C type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoName {
    /// `int`.
    Int,
    /// `uint`.
    Uint,
    /// `time.Duration`.
    Duration,
}

impl GoName {
    /// All of them.
    pub const ALL: [GoName; 3] = [GoName::Int, GoName::Uint, GoName::Duration];

    /// As Go spells it.
    pub fn spelling(self) -> &'static str {
        match self {
            GoName::Int => "int",
            GoName::Uint => "uint",
            GoName::Duration => "time.Duration",
        }
    }

    /// The C type that has its size and sign.
    pub fn c_type(self) -> &'static str {
        match self {
            GoName::Int | GoName::Duration => "int64_t",
            GoName::Uint => "uint64_t",
        }
    }
}

impl Probe {
    /// Argument words of the note.
    pub fn words(&self) -> usize {
        self.params.iter().map(|p| p.ty.words()).sum()
    }

    /// The name DTrace shows: every `__` is a `-`.
    pub fn dtrace_name(&self) -> String {
        self.name.replace("__", "-")
    }
}

impl Model {
    /// The machine-readable interface.
    pub fn schema(&self) -> schema::Schema {
        let providers = self
            .providers
            .values()
            .map(|p| schema::Provider {
                name: p.name.clone(),
                probes: p.probes.values().map(|probe| p.probe_schema(probe)).collect(),
            })
            .collect();
        schema::Schema { version: schema::VERSION, providers }
    }
}

impl Provider {
    /// A probe of this provider as its schema note carries it.
    pub fn probe_schema(&self, probe: &Probe) -> schema::Probe {
        let args = probe.params.iter().enumerate().map(|(i, p)| schema::Arg {
            name: p.name.clone().unwrap_or_else(|| format!("arg{i}")),
            ty: p.spelling.clone(),
            kind: p.ty.kind(),
            size: p.ty.size(),
            signed: p.ty.signed(),
            unit: p.ty.unit().map(str::to_owned),
            doc: p.doc.clone(),
        });
        schema::Probe {
            name: probe.name.clone(),
            args: args.collect(),
            doc: probe.doc.clone(),
            stability: self.stability.clone(),
        }
    }
}
