//! The capabilities of this process, and hints for operations that the kernel did not permit.

use crate::error::{Error, ErrorKind};
use std::os::unix::fs::MetadataExt as _;

/// `CAP_SYS_PTRACE`: read the mappings and the memory of processes of other users.
pub const CAP_SYS_PTRACE: u32 = 19;
const CAP_SYS_ADMIN: u32 = 21;
/// `CAP_PERFMON`: attach BPF programs to probes (since Linux 5.8; `CAP_SYS_ADMIN` includes it).
pub const CAP_PERFMON: u32 = 38;
/// `CAP_BPF`: create BPF maps and load programs (since Linux 5.8; `CAP_SYS_ADMIN` includes it).
pub const CAP_BPF: u32 = 39;

/// Adds a hint to an error about a system call, if this process can do something about it.
pub(crate) fn add_hint(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Permission if error.hint().is_none() => {
            error.with_hint(Capabilities::current().hint())
        }
        ErrorKind::Unsupported { .. } if error.raw_os_error() == Some(libc::ENOSYS) => {
            error.with_hint("the kernel is built without BPF (CONFIG_BPF_SYSCALL)")
        }
        _ => error,
    }
}

/// What to do in a user namespace.
const USER_NAMESPACE: &str = "the capabilities of a user namespace do not permit BPF: run as root in the user namespace of the host (a container without user remapping)";

/// The effective capabilities of this process, and whether a seccomp filter restricts its system
/// calls.
///
/// ```
/// use usdt_attach::kernel::capabilities::{CAP_BPF, CAP_PERFMON, Capabilities};
///
/// let capabilities = Capabilities::current();
/// if !(capabilities.has(CAP_BPF) && capabilities.has(CAP_PERFMON)) {
///     eprintln!("cannot attach: {}", capabilities.hint());
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// The set of effective capabilities; a capability is the bit with its number.
    effective: u64,
    /// True if a seccomp filter is installed.
    has_seccomp_filter: bool,
    /// True if the capabilities are those of a user namespace other than the initial one.
    is_in_user_namespace: bool,
}

/// Inode of the initial user namespace: `PROC_USER_INIT_INO` (`include/linux/proc_ns.h`).
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

impl Capabilities {
    /// Reads the capabilities of this process from `/proc/self/status`. If that fails, there are
    /// none.
    pub fn current() -> Capabilities {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let is_in_user_namespace = std::fs::metadata("/proc/self/ns/user")
            .is_ok_and(|namespace| namespace.ino() != INITIAL_USER_NAMESPACE);
        Capabilities { is_in_user_namespace, ..Capabilities::parse(&status) }
    }

    fn parse(status: &str) -> Capabilities {
        let field = |name: &str| {
            status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default().trim()
        };
        Capabilities {
            effective: u64::from_str_radix(field("CapEff:"), 16).unwrap_or(0),
            // SECCOMP_MODE_FILTER
            has_seccomp_filter: field("Seccomp:") == "2",
            is_in_user_namespace: false,
        }
    }

    /// Returns true if the capabilities are those of a user namespace other than the initial one.
    /// They do not permit loading BPF programs.
    pub fn is_in_user_namespace(self) -> bool {
        self.is_in_user_namespace
    }

    /// Returns true if the process has a capability, given by its number, or `CAP_SYS_ADMIN` where
    /// that includes it.
    pub fn has(self, capability: u32) -> bool {
        let is_set = |bit: u32| self.effective >> bit & 1 != 0;
        is_set(capability) || matches!(capability, CAP_BPF | CAP_PERFMON) && is_set(CAP_SYS_ADMIN)
    }

    /// Returns what to do if the kernel does not permit loading or attaching a program (`EPERM`,
    /// `EACCES`).
    pub fn hint(self) -> &'static str {
        if self.is_in_user_namespace {
            return USER_NAMESPACE;
        }
        match (self.has(CAP_BPF) && self.has(CAP_PERFMON), self.has_seccomp_filter) {
            (false, _) => "run as root or with CAP_BPF and CAP_PERFMON",
            (true, true) => {
                "a seccomp filter blocks it: run the container with `--security-opt seccomp=unconfined` or a profile \
                 that allows bpf and perf_event_open"
            }
            (true, false) => {
                "the process has CAP_BPF and CAP_PERFMON, so kernel lockdown, a security module or the locked-memory limit blocks it"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hint_names_what_blocks_the_operation() {
        let hint = |effective: u64, seccomp: &str| {
            Capabilities::parse(&format!(
                "Name:\tx\nCapEff:\t{effective:016x}\nSeccomp:\t{seccomp}\n"
            ))
            .hint()
        };
        assert!(hint(0, "2").starts_with("run as root"));
        assert!(hint(1 << CAP_BPF, "0").starts_with("run as root"));
        assert!(hint(1 << CAP_BPF | 1 << CAP_PERFMON, "2").contains("seccomp=unconfined"));
        assert!(hint(1 << CAP_SYS_ADMIN, "2").contains("seccomp=unconfined"));
        assert!(hint(u64::MAX, "0").contains("lockdown"));
        let remapped = Capabilities {
            is_in_user_namespace: true,
            ..Capabilities::parse("CapEff: 000001ffffffffff")
        };
        assert!(remapped.hint().contains("user namespace"));
        assert_eq!(Capabilities::parse("no status"), Capabilities::default());
        assert!(!Capabilities::parse("CapEff: 0000000000200000").has(CAP_SYS_PTRACE));
    }
}
