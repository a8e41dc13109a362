//! Types of Go values, as a debugger sees them.

/// A reference to a type in the debug information that it was read from. A type is read when it is
/// needed: types refer to each other in cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeRef(pub(crate) u64);

/// A Go type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoType {
    /// The name in Go's syntax, with the full path of packages: `*net/http.Request`, `[]uint8`,
    /// `time.Duration`.
    pub name: String,
    /// The size of a value in bytes.
    pub size: u64,
    /// The kind of the underlying type, and the types that it is made of.
    pub kind: TypeKind,
}

/// The kind of a type: of `time.Duration`, that of `int64`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TypeKind {
    /// `bool`.
    Bool,
    /// An integer of the type's size, `uintptr` included.
    Int {
        /// True for two's complement.
        signed: bool,
    },
    /// `float32` or `float64`.
    Float,
    /// `complex64` or `complex128`: real and imaginary part, each of half the size.
    Complex,
    /// `string`: a pointer and a length.
    String,
    /// A slice: a pointer, a length and a capacity.
    Slice {
        /// The type of an element.
        element: TypeRef,
    },
    /// An array.
    Array {
        /// The type of an element.
        element: TypeRef,
        /// The number of elements.
        len: u64,
    },
    /// A pointer.
    Pointer {
        /// The type that it points to; `None` for `unsafe.Pointer`.
        target: Option<TypeRef>,
    },
    /// A struct.
    Struct {
        /// The fields in the order of the declaration.
        fields: Vec<Field>,
    },
    /// A map, which is a pointer to a header of the runtime.
    Map {
        /// The header's type, with its length in a field; see [`MAP_LENGTH_FIELDS`].
        header: TypeRef,
    },
    /// A channel, which is a pointer to a header of the runtime.
    Chan {
        /// The header's type, with the fields `qcount` (length) and `dataqsiz` (capacity).
        header: TypeRef,
    },
    /// An interface: two words, of which the second one points to the value, or is the value if it
    /// is a pointer.
    Interface {
        /// True for an interface without methods, whose first word points to the type of the value.
        /// The first word of others points to an `abi.ITab`.
        is_empty: bool,
    },
    /// A function: a pointer to a closure, which starts with the address of the code.
    Func,
}

/// The names of the field with the number of entries in the header of a map: before Go 1.24
/// (`runtime.hmap`), and since (`internal/runtime/maps.Map`).
pub const MAP_LENGTH_FIELDS: [&str; 2] = ["count", "used"];

/// A field of a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name; the name of the type for embedded fields.
    pub name: String,
    /// The offset in bytes from the start of the struct.
    pub offset: u64,
    /// The type.
    pub ty: TypeRef,
    /// True for an embedded field, whose fields and methods are promoted.
    pub is_embedded: bool,
}
