//! The model of a definition: its providers, probes and types, independent of syntax.
//!
//! The parser produces it and every generator works from it. The model holds only what is valid, so
//! generators have no errors of their own for types.

pub(crate) mod interface_diff;
mod struct_layout;

pub(crate) use struct_layout::{BitField, Enum, Enumerator, FieldDecl, FieldType};
pub use struct_layout::{Field, Struct, StructName};

use indexmap::IndexMap;
use stapsdt::schema;

/// The largest number of argument words of a probe. libbpf rejects a note with more.
pub(crate) const MAX_WORDS: usize = 12;

/// The providers of a definition in declared order, and the types that their arguments use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// Providers by name.
    pub(crate) providers: IndexMap<String, Provider>,
    /// Enums of the definition, and enums of included files that are used.
    pub(crate) enums: Vec<Enum>,
    /// Structs and unions that arguments point to, directly or through members of other structs.
    pub structs: Vec<Struct>,
}

/// A provider, which is a namespace of probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Provider {
    /// Name as declared.
    pub(crate) name: String,
    /// Documentation from the comment before the provider. Empty if there is none.
    pub(crate) doc: String,
    /// Stability of the arguments as `NAME/DATA/CLASS`, from a pragma.
    pub(crate) stability: Option<String>,
    /// Probes by name, in declared order.
    pub(crate) probes: IndexMap<String, Probe>,
}

/// A probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    /// Name as declared, with double underscores.
    pub(crate) name: String,
    /// Documentation from the comment before the probe. Empty if there is none.
    pub(crate) doc: String,
    /// Arguments in declared order.
    pub(crate) params: Vec<Param>,
    /// Arguments of the translated prototype, which DTrace shows as `args[]`. Empty if there is
    /// none. Notes always describe `params`.
    pub(crate) outputs: Vec<Output>,
    /// The function that the probe was injected into; see [`schema::Probe::symbol`].
    pub(crate) symbol: Option<String>,
}

/// An argument of a translated prototype.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    /// Index in [`Probe::params`] of the argument that it is translated from.
    pub(crate) input: usize,
    /// C spelling of the translated type.
    pub(crate) spelling: String,
}

/// An argument of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Param {
    /// Declared name. `None` if the parameter is unnamed.
    pub(crate) name: Option<String>,
    /// C spelling of the type.
    pub(crate) spelling: String,
    /// Resolved type.
    pub(crate) ty: Type,
    /// Documentation from a comment next to the parameter or from an `@param` line.
    pub(crate) doc: String,
    /// Names of values, of a Go type with constants. Definitions have none.
    pub(crate) labels: Vec<schema::Label>,
}

/// The type of an argument. It determines how Go declares and passes the argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// An integer.
    Int {
        /// Size in bytes: 1, 2, 4 or 8.
        size: u8,
        /// True for two's complement.
        signed: bool,
    },
    /// `uintptr_t`, an integer of 8 bytes.
    Uintptr,
    /// An integer of 8 bytes that is an `int` or `uint` in Go, from `@go int` or `@go uint`.
    GoInt {
        /// True for `int`.
        signed: bool,
    },
    /// A signed integer of 8 bytes in nanoseconds, from `@go time.Duration`.
    Duration,
    /// An IEEE 754 number.
    Float {
        /// Size in bytes: 4 or 8.
        size: u8,
    },
    /// An enum that is defined.
    Enum {
        /// Index in [`Model::enums`].
        index: usize,
        /// Size in bytes: 4 or 8.
        size: u8,
        /// True for two's complement.
        signed: bool,
    },
    /// `bool`, of 1 byte.
    Bool,
    /// A pointer to a struct or union with a known layout.
    Struct {
        /// Index in [`Model::structs`].
        index: usize,
    },
    /// `char *`, passed as a pointer to a NUL-terminated copy.
    CString,
    /// `string`, passed as pointer and length.
    String,
    /// `bytes`, passed as pointer and length.
    Bytes,
    /// `error`, passed as pointer and length of its message.
    Error,
    /// Any other pointer.
    Pointer,
}

impl Type {
    /// Returns how a tracer interprets the argument words.
    pub(crate) fn kind(self) -> schema::Kind {
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

    /// Returns the number of argument words in the note: 2 for pointer and length, otherwise 1.
    pub(crate) fn words(self) -> usize {
        self.kind().words()
    }

    /// Returns the size of the first word in bytes.
    pub(crate) fn size(self) -> u8 {
        match self {
            Type::Int { size, .. } | Type::Enum { size, .. } | Type::Float { size } => size,
            Type::Bool => 1,
            _ => 8,
        }
    }

    /// Returns true if the first word is two's complement.
    pub(crate) fn signed(self) -> bool {
        match self {
            Type::Int { signed, .. } | Type::Enum { signed, .. } | Type::GoInt { signed } => signed,
            Type::Duration => true,
            _ => false,
        }
    }

    /// Returns the UCUM code of the value's unit, or `None` if the type does not imply a unit.
    pub(crate) fn unit(self) -> Option<&'static str> {
        (self == Type::Duration).then_some("ns")
    }

    /// Returns the type after an `@go` annotation. `None` if the sizes or signs differ.
    pub(crate) fn as_go(self, name: GoName) -> Option<Type> {
        if self.go_name() == Some(name) {
            return Some(self);
        }
        let Type::Int { size: 8, signed } = self else { return None };
        match name {
            GoName::Int if signed => Some(Type::GoInt { signed }),
            GoName::Uint if !signed => Some(Type::GoInt { signed }),
            GoName::Duration if signed => Some(Type::Duration),
            _ => None,
        }
    }

    /// Returns the `@go` annotation that selects this type, or `None` if it needs no annotation.
    pub(crate) fn go_name(self) -> Option<GoName> {
        match self {
            Type::GoInt { signed: true } => Some(GoName::Int),
            Type::GoInt { signed: false } => Some(GoName::Uint),
            Type::Duration => Some(GoName::Duration),
            _ => None,
        }
    }
}

/// A Go type that an `@go` annotation gives an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GoName {
    /// `int`.
    Int,
    /// `uint`.
    Uint,
    /// `time.Duration`.
    Duration,
}

impl GoName {
    /// All Go types that an annotation can name.
    pub(crate) const ALL: [GoName; 3] = [GoName::Int, GoName::Uint, GoName::Duration];

    /// Returns the Go spelling, which the annotation uses.
    pub(crate) fn spelling(self) -> &'static str {
        match self {
            GoName::Int => "int",
            GoName::Uint => "uint",
            GoName::Duration => "time.Duration",
        }
    }

    /// Returns a C type of the same size and sign, which the argument can be declared with.
    pub(crate) fn c_type(self) -> &'static str {
        match self {
            GoName::Int | GoName::Duration => "int64_t",
            GoName::Uint => "uint64_t",
        }
    }
}

impl Probe {
    /// Returns the number of argument words in the note.
    pub(crate) fn words(&self) -> usize {
        self.params.iter().map(|p| p.ty.words()).sum()
    }
}

impl Model {
    /// Returns the machine-readable interface of the definition.
    pub(crate) fn schema(&self) -> schema::Schema {
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
    /// Returns the schema of one of this provider's probes, as its schema note carries it.
    pub(crate) fn probe_schema(&self, probe: &Probe) -> schema::Probe {
        let args = probe.params.iter().enumerate().map(|(i, p)| schema::Arg {
            name: p.name.clone().unwrap_or_else(|| format!("arg{i}")),
            ty: p.spelling.clone(),
            kind: p.ty.kind(),
            size: p.ty.size(),
            signed: p.ty.signed(),
            unit: p.ty.unit().map(str::to_owned),
            doc: p.doc.clone(),
            labels: p.labels.clone(),
        });
        schema::Probe {
            name: probe.name.clone(),
            args: args.collect(),
            doc: probe.doc.clone(),
            stability: self.stability.clone(),
            symbol: probe.symbol.clone(),
        }
    }
}
