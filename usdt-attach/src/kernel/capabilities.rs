//! What this process may do, and what else keeps it from doing that.

use crate::error::{Error, ErrorKind};

/// Look into processes of other users. Numbers are those of `include/uapi/linux/capability.h`.
pub const CAP_SYS_PTRACE: u32 = 19;
const CAP_SYS_ADMIN: u32 = 21;
/// Attach programs to probes (Linux 5.8).
pub const CAP_PERFMON: u32 = 38;
/// Create maps and load programs (Linux 5.8).
pub const CAP_BPF: u32 = 39;

/// Adds to an error of the kernel's what this process can do about it.
pub(crate) fn explain(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Permission if error.hint().is_none() => {
            error.with_hint(Capabilities::current().hint())
        }
        ErrorKind::Unsupported { .. } if error.raw_os_error() == Some(libc::ENOSYS) => {
            error.with_hint("the kernel has no BPF (CONFIG_BPF_SYSCALL)")
        }
        _ => error,
    }
}

/// Of a process, by `/proc/PID/status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Effective capabilities.
    capabilities: u64,
    /// Whether a seccomp filter decides on its system calls.
    filtered: bool,
}

impl Capabilities {
    /// This process's.
    pub fn current() -> Capabilities {
        Capabilities::parse(&std::fs::read_to_string("/proc/self/status").unwrap_or_default())
    }

    fn parse(status: &str) -> Capabilities {
        let field = |name: &str| {
            status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default().trim()
        };
        Capabilities {
            capabilities: u64::from_str_radix(field("CapEff:"), 16).unwrap_or(0),
            // SECCOMP_MODE_FILTER
            filtered: field("Seccomp:") == "2",
        }
    }

    /// Whether it has a capability, or the older one that includes it.
    pub fn has(self, capability: u32) -> bool {
        let set = |bit: u32| self.capabilities >> bit & 1 != 0;
        set(capability) || matches!(capability, CAP_BPF | CAP_PERFMON) && set(CAP_SYS_ADMIN)
    }

    /// What to do where the kernel lets it load or attach no program.
    pub fn hint(self) -> &'static str {
        match (self.has(CAP_BPF) && self.has(CAP_PERFMON), self.filtered) {
            (false, _) => "run as root or with CAP_BPF and CAP_PERFMON",
            (true, true) => {
                "a seccomp filter refuses it: run the container with `--security-opt seccomp=unconfined` or a profile \
                 that allows bpf and perf_event_open"
            }
            (true, false) => {
                "the capabilities are there, so kernel lockdown, a security module or a limit on locked memory refuses it"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_is_for_what_is_in_the_way() {
        let way = |capabilities: u64, seccomp: &str| {
            Capabilities::parse(&format!(
                "Name:\tx\nCapEff:\t{capabilities:016x}\nSeccomp:\t{seccomp}\n"
            ))
            .hint()
        };
        assert!(way(0, "2").starts_with("run as root"));
        assert!(way(1 << CAP_BPF, "0").starts_with("run as root"));
        assert!(way(1 << CAP_BPF | 1 << CAP_PERFMON, "2").contains("seccomp=unconfined"));
        assert!(way(1 << CAP_SYS_ADMIN, "2").contains("seccomp=unconfined"));
        assert!(way(u64::MAX, "0").contains("lockdown"));
        assert_eq!(Capabilities::parse("no status"), Capabilities::default());
        assert!(!Capabilities::parse("CapEff: 0000000000200000").has(CAP_SYS_PTRACE));
    }
}
