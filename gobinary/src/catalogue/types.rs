//! Types of the catalogue's tables, below the tables and the functions that look up in them.

/// A provider of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provider {
    /// As in notes: `net_http`.
    pub name: &'static str,
    /// What its probes are about: a sentence.
    pub doc: &'static str,
    /// In documented order.
    pub probes: &'static [Probe],
}

/// A probe of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// As in notes: `goroutine__create`.
    pub name: &'static str,
    /// When it fires: a sentence.
    pub doc: &'static str,
    /// The event of the runtime's own trace (`internal/trace/tracev2`) that it mirrors; `None` if it mirrors none.
    pub event: Option<&'static str>,
    /// In the order in which they are passed.
    pub args: &'static [Arg],
    /// Functions whose entry shows the same event in binaries without this probe.
    pub entries: &'static [FunctionEntry],
}

/// An argument of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arg {
    /// As in the schema.
    pub name: &'static str,
    /// In the language of provider definitions: `uint64_t`, `string`, `error`.
    pub ty: &'static str,
    /// What it is, with its unit.
    pub doc: &'static str,
}

/// A function that is entered when a probe would fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionEntry {
    /// As the function table names it.
    pub function: &'static str,
    /// Arguments of the probe that can be read there, by name; those that cannot are left out.
    pub(crate) args: &'static [(&'static str, ArgLocation)],
}

impl FunctionEntry {
    /// Returns the names of the probe's arguments that can be read at this entry.
    pub fn arg_names(&self) -> impl Iterator<Item = &'static str> {
        self.args.iter().map(|(name, _)| *name)
    }
}

/// Where an argument is when a function is entered. Registers are the integer registers of Go's calling convention
/// (`src/cmd/compile/abi-internal.md`), in its order, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArgLocation {
    /// In this register; a string's length is in the next one.
    Register(u8),
    /// In a field of what a register points to.
    FieldPath {
        /// The register.
        register: u8,
        /// For each pointer the fields from what it points to inwards: `pfd`, then its `Sysfd`. The last one is the
        /// argument, the others are the next pointer.
        path: &'static [&'static [Field]],
    },
    /// The label of an enum's code, which is the lowest byte of a register.
    Enum {
        /// The register.
        register: u8,
        /// The enum.
        labels: LabelSet,
    },
    /// The id of the goroutine whose `runtime.g` a register points to; `None`: of the running goroutine.
    GoroutineId(Option<u8>),
    /// Always this number.
    Constant(i64),
}

/// A field of a struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Field {
    /// The struct, with its package's path: `net/http.Request`.
    pub structure: &'static str,
    /// The field's own name.
    pub name: &'static str,
}

/// An enum whose codes have labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LabelSet {
    /// Why a goroutine waits: `waitReasonStrings`.
    WaitReason,
    /// Why the world is stopped: `stwReasonStrings`.
    StopReason,
}

/// Labels from a minor release on, by code.
pub(super) type LabelsSince = (u32, &'static [&'static str]);

/// Offsets of a field by release.
#[derive(Debug)]
pub(super) struct FieldOffsets {
    pub(super) field: Field,
    /// The first minor release, and the offset from there on; `None` if the field is gone.
    pub(super) since: &'static [(u32, Option<u32>)],
}
