//! The catalog of probes of Go's runtime and standard library.
//!
//! Names and arguments are the same for probes that are compiled in and for function entries.
//!
//! The sources are the `.toml` files of this folder. `cargo xtask golden` generates `tables.rs`
//! from them, and `cargo xtask test` fails if it is out of date.

mod fields;
mod labels;
#[rustfmt::skip]
mod tables;
mod types;

pub use fields::all_fields;
pub(crate) use fields::{
    ALLOCATED_BYTES, GOROUTINE_CALLER, GOROUTINE_FUNCTION, GOROUTINE_STATUS, GOROUTINE_WAIT_REASON,
    field_offset,
};
pub(crate) use labels::labels;
pub use types::{Arg, Field, FunctionEntry, Probe, Provider};
pub(crate) use types::{ArgLocation, LabelSet};

/// Returns all providers, in the order of the documentation.
///
/// ```
/// let names: Vec<&str> = gobinary::catalog::providers().iter().map(|p| p.name).collect();
/// assert_eq!(names, ["go", "net_http", "sql", "tls", "net"]);
/// ```
pub fn providers() -> &'static [Provider] {
    &tables::PROVIDERS
}

/// Returns the provider with this name; `None` if the catalog has none.
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
            probe
                .entries
                .first()?
                .args
                .iter()
                .find(|(name, _)| *name == arg)
                .map(|(_, location)| *location)
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
        assert_eq!(
            location("go", "goroutine__exit", "id"),
            Some(ArgLocation::GoroutineId(Some(0)))
        );
        assert_eq!(location("tls", "handshake_start", "client"), Some(ArgLocation::Constant(1)));
    }
}
