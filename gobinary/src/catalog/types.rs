//! The types of the catalog's tables.

/// A provider of the catalog: a group of probes of the runtime or of a standard library package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provider {
    /// The name as in notes, such as `net_http`.
    pub name: &'static str,
    /// The documentation: one sentence.
    pub doc: &'static str,
    /// The probes, in the order of the documentation.
    pub probes: &'static [Probe],
}

/// A probe of the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The name as in notes, such as `goroutine__create`.
    pub name: &'static str,
    /// The documentation: one sentence about when the probe fires.
    pub doc: &'static str,
    /// The corresponding event of the runtime's execution trace (`internal/trace/tracev2`); `None`
    /// if it has none.
    pub event: Option<&'static str>,
    /// The arguments in order.
    pub args: &'static [Arg],
    /// The functions whose entries can stand in for the probe in binaries without it.
    pub entries: &'static [FunctionEntry],
}

/// An argument of a probe of the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arg {
    /// The name as in the schema.
    pub name: &'static str,
    /// The type in the language of provider definitions, such as `uint64_t`, `string` or `error`.
    pub ty: &'static str,
    /// The documentation: a noun phrase with the unit.
    pub doc: &'static str,
}

/// A function that is entered when the probe would fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionEntry {
    /// The name in the function table, such as `runtime.newproc1`.
    pub function: &'static str,
    /// The first minor release whose function has the arguments there; `None` for all up to
    /// `until`.
    pub(crate) since: Option<u32>,
    /// The last minor release whose function has the arguments there; `None` for all from `since`
    /// on.
    pub(crate) until: Option<u32>,
    /// The names and locations of the probe's arguments that can be read at the entry.
    pub(crate) args: &'static [(&'static str, ArgLocation)],
}

impl FunctionEntry {
    /// Returns true if the entry is for a minor release; `None` is taken for the newest one.
    pub(crate) fn is_for(&self, minor: Option<u32>) -> bool {
        let minor = minor.unwrap_or(u32::MAX);
        self.since.is_none_or(|since| since <= minor) && self.until.is_none_or(|last| minor <= last)
    }

    /// Returns the names of the probe's arguments that can be read at this entry.
    pub fn arg_names(&self) -> impl Iterator<Item = &'static str> {
        self.args.iter().map(|(name, _)| *name)
    }
}

/// The location of an argument at the entry of a function.
///
/// Register numbers are positions, from 0, in the integer registers of Go's calling convention
/// (`src/cmd/compile/abi-internal.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArgLocation {
    /// In this register. The length of a string is in the next one.
    Register(u8),
    /// In a field of a struct to which a register points.
    FieldPath {
        /// The register.
        register: u8,
        /// One list per pointer: the nested fields from the outermost to the innermost, such as
        /// `pfd` and its `Sysfd`. The innermost field is the next pointer or, in the last list, the
        /// argument.
        path: &'static [&'static [Field]],
    },
    /// The label of an enum whose code is the lowest byte of a register.
    Enum {
        /// The register.
        register: u8,
        /// The enum.
        labels: LabelSet,
    },
    /// The id of the goroutine whose `runtime.g` this register points to; `None` for the running
    /// goroutine.
    GoroutineId(Option<u8>),
    /// A constant value.
    Constant(i64),
}

/// A field of a struct of the runtime or the standard library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Field {
    /// The struct with its package path, such as `net/http.Request`.
    pub structure: &'static str,
    /// The name of the field.
    pub name: &'static str,
}

/// An enum of the runtime whose codes have labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LabelSet {
    /// The reason why a goroutine waits: `waitReasonStrings`.
    WaitReason,
    /// The reason why the world is stopped: `stwReasonStrings`.
    StopReason,
}

/// The first minor release with these labels, and the labels by code.
pub(super) type LabelsSince = (u32, &'static [&'static str]);

/// The offsets of a field by release.
#[derive(Debug)]
pub(super) struct FieldOffsets {
    pub(super) field: Field,
    /// Pairs of a minor release and the offset since then; `None` if the release removed the field.
    pub(super) since: &'static [(u32, Option<u32>)],
}
