//! Probes of Go's runtime and standard library: one vocabulary, whichever way a binary offers them.
//!
//! The `.toml` files next to this one are the source. `cargo xtask golden` generates `tables.rs` from them, and
//! `cargo xtask test` fails when it is out of date.

pub mod fields;
pub mod labels;
#[rustfmt::skip]
mod tables;

use labels::LabelSet;

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
    pub args: &'static [(&'static str, ArgLocation)],
}

/// Where an argument is when a function is entered. Registers are the integer registers of Go's calling convention
/// (`src/cmd/compile/abi-internal.md`), in its order, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgLocation {
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

/// Every provider, in documented order.
pub fn providers() -> &'static [Provider] {
    &tables::PROVIDERS
}

/// The provider of this name.
pub fn provider(name: &str) -> Option<&'static Provider> {
    providers().iter().find(|provider| provider.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_providers_in_documented_order() {
        let names: Vec<&str> = providers().iter().map(|p| p.name).collect();
        assert_eq!(names, ["go", "net_http", "sql", "tls", "net"]);
        assert_eq!(provider("sql").map(|p| p.name), Some("sql"));
        assert_eq!(provider("app"), None);
    }

    #[test]
    fn reads_locations_of_every_kind() {
        let location = |provider_name: &str, probe: &str, arg: &str| {
            let probe = provider(provider_name)?.probes.iter().find(|p| p.name == probe)?;
            probe.entries.first()?.args.iter().find(|(name, _)| *name == arg).map(|(_, location)| *location)
        };
        assert_eq!(location("go", "goroutine__create", "caller"), Some(ArgLocation::Register(2)));
        assert_eq!(
            location("net", "conn_close", "fd"),
            Some(ArgLocation::FieldPath {
                register: 0,
                path: &[&[
                    Field { structure: "net.netFD", name: "pfd" },
                    Field { structure: "internal/poll.FD", name: "Sysfd" },
                ]],
            })
        );
        let labels = LabelSet::WaitReason;
        assert_eq!(
            location("go", "goroutine__block", "reason"),
            Some(ArgLocation::Enum { register: 2, labels })
        );
        assert_eq!(location("go", "goroutine__block", "id"), Some(ArgLocation::GoroutineId(None)));
        assert_eq!(location("go", "goroutine__exit", "id"), Some(ArgLocation::GoroutineId(Some(0))));
        assert_eq!(location("tls", "handshake_start", "client"), Some(ArgLocation::Constant(1)));
    }
}
