//! Parameters and results of a Go function, and where they are when it is entered and when it
//! returns.
//!
//! At a function's entry and at each of its return instructions, Go's calling convention alone
//! (`src/cmd/compile/abi-internal.md`) says where values are. The location lists of DWARF say it
//! for other instructions, too, but leave out values that the function does not use, and have
//! errors. Therefore the calling convention comes first here.

use crate::function_entry::Location;
use crate::go_type::TypeRef;
use crate::value_path::Point;
use std::fmt;
use std::ops::Range;

/// What DWARF says about a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The name of the symbol, such as `net/http.(*conn).serve`.
    pub name: String,
    /// The link-time addresses of the code. The first one is the entry.
    pub range: Range<u64>,
    /// The receiver, if there is one, and the parameters, in order. Their placement is that at the
    /// entry, and applies until the prologue has run: at the stack check and at the first
    /// instruction after it.
    ///
    /// Variables that the compiler passes to closures are included (`&name`). The dictionary of
    /// generic functions is left out, and types of type parameters are those that the code was
    /// compiled for, such as `go.shape.int`.
    pub parameters: Vec<Variable>,
    /// The results in order. Their placement is that at a return instruction. Results without a
    /// name are called `~r0`, `~r1`.
    pub results: Vec<Variable>,
}

/// The prefix of names that `usdt-gen inject` gives to parameters and results without one.
const INJECTED: &str = "usdtInject";

/// A parameter or a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The name. Parameters that the source does not name are called `~p0`, `~p1`.
    pub name: String,
    /// The type.
    pub ty: TypeRef,
    /// The name of the type.
    pub type_name: String,
    /// Where the value is.
    pub placement: Placement,
}

/// Where a parameter or a result is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// In registers. Each holds one part of the value: a field, or a word of a string.
    Registers(Vec<RegisterPart>),
    /// In memory.
    Memory {
        /// The hardware number of the stack pointer: 4 on amd64, 31 on arm64.
        base: u8,
        /// The offset in bytes of the value from the stack pointer.
        offset: i64,
    },
    /// The value has no bytes.
    Empty,
    /// Unknown, because the function has parameters that DWARF does not describe. Go before 1.24
    /// leaves out blank and unnamed ones.
    Unknown,
}

/// A part of a value in a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterPart {
    /// The register.
    pub register: Register,
    /// The offset in bytes of the part in the value.
    pub offset: u64,
    /// The size of the part in bytes. Higher bits of the register have no meaning.
    pub size: u8,
}

/// A register that holds a part of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// The integer register with this hardware number.
    Integer(u8),
    /// The floating-point register with this number: `X0` or `F0` is 0. The kernel does not save
    /// them for uprobes, so BPF programs cannot read them.
    Float(u8),
}

impl Signature {
    /// Returns the parameter or result with this name. A parameter hides a result.
    pub fn variable(&self, name: &str) -> Option<&Variable> {
        self.parameters.iter().chain(&self.results).find(|v| v.name == name)
    }

    /// Returns the variables that have their values at a point, without those that the compiler
    /// added: the parameters at the entry, the results at a return.
    pub fn variables(&self, at: Point) -> impl Iterator<Item = &Variable> {
        let all = match at {
            Point::Entry => &self.parameters,
            Point::Return => &self.results,
        };
        all.iter().filter(|variable| !variable.is_hidden())
    }
}

impl Variable {
    /// Returns the name by which users know the variable at a position of
    /// [`Signature::variables`]: `arg0` or `ret0` if it has none.
    pub fn display_name(&self, position: usize, at: Point) -> String {
        match (self.is_unnamed(), at) {
            (false, _) => self.name.clone(),
            (true, Point::Entry) => format!("arg{position}"),
            (true, Point::Return) => format!("ret{position}"),
        }
    }

    /// Returns true if the compiler added the parameter, such as a captured variable.
    pub fn is_hidden(&self) -> bool {
        self.name.starts_with(['.', '&'])
    }

    /// Returns true if the source gives it no name.
    pub fn is_unnamed(&self) -> bool {
        self.name.starts_with('~') || self.name.starts_with(INJECTED) || self.name == "_"
    }
}

impl fmt::Display for Signature {
    /// Writes the signature in Go's syntax, without hidden parameters:
    /// `main.(*Store).Get(s *main.Store, key string) (string, error)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |variables: &[Variable]| {
            let visible = variables.iter().filter(|v| !v.is_hidden());
            let print = |v: &Variable| match v.is_unnamed() {
                true => v.type_name.clone(),
                false => format!("{} {}", v.name, v.type_name),
            };
            visible.map(print).collect::<Vec<String>>().join(", ")
        };
        write!(f, "{}({})", self.name, list(&self.parameters))?;
        match self.results.as_slice() {
            [] => Ok(()),
            [only] if only.is_unnamed() => write!(f, " {}", only.type_name),
            results => write!(f, " ({})", list(results)),
        }
    }
}

/// One word of a value, or a part of it: what a tracer reads at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Where it is: in a register, or at the end of a chain of pointers.
    pub location: Location,
    /// The size in bytes: 1, 2, 4 or 8.
    pub size: u8,
    /// True for two's complement.
    pub signed: bool,
}

impl Word {
    /// Returns the first word of an interface, which is zero if the interface is nil, given the word
    /// with its dynamic type. The type is behind the first word if the interface has methods.
    pub fn interface_start(&self) -> Word {
        /// The offset of the type in `internal/abi.ITab`.
        const ITAB_TYPE: i64 = 8;
        let location = match &self.location {
            Location::Memory { base, offsets } => match offsets.as_slice() {
                [ITAB_TYPE] => Location::Register(*base),
                [rest @ .., ITAB_TYPE] => Location::Memory { base: *base, offsets: rest.to_vec() },
                _ => self.location.clone(),
            },
            other => other.clone(),
        };
        Word { location, ..*self }
    }
}

/// A condition without which a value does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The word that is tested; it has 8 bytes.
    pub word: Word,
    /// The test.
    pub test: GuardTest,
}

/// The test of a [`Guard`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardTest {
    /// The word is a length above this index.
    HasIndex(i64),
    /// The word is not zero: an interface that is not nil.
    IsNotNil,
    /// The word is the address of the type descriptor that has this link-time address.
    IsType(u64),
}

/// A value that a tracer can read, and how to print it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// How to print the words.
    pub format: Format,
    /// The name of the Go type.
    pub type_name: String,
    /// What must hold for the value to exist, in the order in which it has to be tested: reading a
    /// word is safe only if all guards before it hold. All of them hold before `words` are read.
    pub guards: Vec<Guard>,
    /// The words to read; [`Format`] says which. A failed read of a word behind a pointer means
    /// that the pointer is nil, or that the memory is not present.
    pub words: Vec<Word>,
}

/// How to print a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// One word: an integer.
    Int,
    /// One word: 0 or 1.
    Bool,
    /// One word: the IEEE 754 bits of a number.
    Float,
    /// Two words: the bits of the real and the imaginary part.
    Complex,
    /// One word: an address.
    Pointer,
    /// Two words: the address and the length of a string.
    String,
    /// Two words: the address and the length of a byte slice.
    Bytes,
    /// One word: a number of nanoseconds, `time.Duration`.
    Duration,
    /// Two words: the fields `wall` and `ext` of `time.Time`; see [`GoTime`].
    ///
    /// [`GoTime`]: crate::go_time::GoTime
    Time,
    /// Two words: the length and the capacity of a slice.
    Slice,
    /// One word: the number of entries of a map. A failed read is a nil map.
    Map,
    /// Two words: the length and the capacity of a channel. A failed read is a nil channel.
    Chan,
    /// One word: the address of a function's code. A failed read is a nil function.
    Func,
    /// Two words: the address of the dynamic type and the data word. A failed read of the first one
    /// is a nil interface, and so is a zero. [`DynamicTypes`] knows the type's name.
    ///
    /// [`DynamicTypes`]: crate::dynamic_type::DynamicTypes
    Interface,
    /// Four words: those of an interface, then the address and the length of a string at the start
    /// of the data. The string has a meaning only if [`DynamicTypes::error_data`] says so.
    ///
    /// [`DynamicTypes::error_data`]: crate::dynamic_type::DynamicTypes::error_data
    Error,
}
