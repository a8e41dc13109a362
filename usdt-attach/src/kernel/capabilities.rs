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
    /// True if the effective user is root, in this user namespace.
    is_root: bool,
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
            is_root: field("Uid:").split_whitespace().nth(1) == Some("0"),
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
            (false, _) if self.is_root => match (self.has(CAP_BPF), self.has(CAP_PERFMON)) {
                (false, true) => "this root lacks CAP_BPF: add it to the container or the unit",
                (true, false) => "this root lacks CAP_PERFMON: add it to the container or the unit",
                _ => {
                    "this root lacks CAP_BPF and CAP_PERFMON: add them to the container or the unit"
                }
            },
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

/// Why this process may not read another one (ptrace(2), "Ptrace access mode checking").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PtraceObstacle {
    /// It is not root and lacks the capability.
    OtherUser,
    /// It is root without the capability, as in most containers.
    RootWithoutCapability,
    /// Its capabilities do not reach processes outside of its user namespace.
    UserNamespace,
    /// It has the capability, but lacks others (`CAP_*` as bits) that the other process has.
    FewerCapabilities(u64),
    /// It has the capabilities, so a security module forbids it.
    SecurityModule,
}

/// The names of the capabilities (`include/uapi/linux/capability.h`), by number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Lists the names of up to three capabilities.
fn names_of(capabilities: u64) -> String {
    const SHOWN: usize = 3;
    let all: Vec<String> = (0..64)
        .filter(|bit| capabilities >> bit & 1 != 0)
        .map(|bit| NAMES.get(bit).map_or(format!("capability {bit}"), |name| format!("CAP_{name}")))
        .collect();
    let first: Vec<&str> = all.iter().take(SHOWN).map(String::as_str).collect();
    match all.len().saturating_sub(SHOWN) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

impl PtraceObstacle {
    /// Returns what keeps this process from reading other processes in general.
    pub(crate) fn current() -> PtraceObstacle {
        let uid_map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        PtraceObstacle::of(Capabilities::current(), CapabilitySets::default(), &uid_map)
    }

    /// Returns what keeps this process from reading this one.
    pub(crate) fn to(pid: u32) -> PtraceObstacle {
        let uid_map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let sets = CapabilitySets {
            // This process gives up most of the capabilities that it has.
            own_bounding: capability_set("self", "CapBnd:"),
            other_permitted: capability_set(pid, "CapPrm:"),
        };
        PtraceObstacle::of(Capabilities::current(), sets, &uid_map)
    }

    fn of(own: Capabilities, sets: CapabilitySets, uid_map: &str) -> PtraceObstacle {
        // The initial user namespace maps every user to itself.
        let is_initial = uid_map.split_whitespace().eq(["0", "0", "4294967295"]);
        match (own.has(CAP_SYS_PTRACE), own.is_root) {
            (true, _) if !uid_map.is_empty() && !is_initial => PtraceObstacle::UserNamespace,
            (true, _) => match sets.other_permitted & !sets.own_bounding {
                0 => PtraceObstacle::SecurityModule,
                lacking => PtraceObstacle::FewerCapabilities(lacking),
            },
            (false, true) => PtraceObstacle::RootWithoutCapability,
            (false, false) => PtraceObstacle::OtherUser,
        }
    }

    pub(crate) fn message(self, pid: u32) -> String {
        match self {
            PtraceObstacle::OtherUser => format!("process {pid} belongs to another user"),
            PtraceObstacle::RootWithoutCapability => {
                format!("process {pid} cannot be read: this process is root without CAP_SYS_PTRACE")
            }
            PtraceObstacle::UserNamespace => format!(
                "process {pid} cannot be read: it is outside of the user namespace of this process"
            ),
            PtraceObstacle::FewerCapabilities(lacking) => format!(
                "process {pid} cannot be read: it has {}, which this process lacks",
                names_of(lacking)
            ),
            PtraceObstacle::SecurityModule => format!(
                "process {pid} cannot be read: a security module forbids it, although this process has CAP_SYS_PTRACE"
            ),
        }
    }

    pub(crate) fn hint(self) -> &'static str {
        match self {
            PtraceObstacle::OtherUser => "run as root or with CAP_SYS_PTRACE",
            PtraceObstacle::RootWithoutCapability => {
                "add the capability: `--cap-add SYS_PTRACE` for Docker and podman, `capabilities: add: [SYS_PTRACE]` for Kubernetes"
            }
            PtraceObstacle::UserNamespace => "run outside of the user namespace",
            PtraceObstacle::FewerCapabilities(_) => {
                "run with the capabilities of that process, or outside of the sandbox"
            }
            PtraceObstacle::SecurityModule => {
                "check the AppArmor or SELinux profile, Landlock, and kernel.yama.ptrace_scope"
            }
        }
    }
}

/// The capabilities that this process may have, and those that another one has.
#[derive(Clone, Copy, Debug, Default)]
struct CapabilitySets {
    own_bounding: u64,
    other_permitted: u64,
}

/// Returns a set of `/proc/PID/status` (proc_pid_status(5)); empty if it cannot be read.
fn capability_set(pid: impl std::fmt::Display, name: &str) -> u64 {
    let status = std::fs::read(format!("/proc/{pid}/status")).unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let set = status.lines().find_map(|line| line.strip_prefix(name));
    set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0)
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

    #[test]
    fn names_the_capability_that_root_lacks() {
        let root = |effective: u64| {
            Capabilities::parse(&format!("Uid:\t0\t0\t0\t0\nCapEff:\t{effective:016x}\n"))
        };
        assert!(root(0).hint().starts_with("this root lacks CAP_BPF and CAP_PERFMON"));
        assert!(root(1 << CAP_BPF).hint().starts_with("this root lacks CAP_PERFMON"));
        assert!(root(1 << CAP_PERFMON).hint().starts_with("this root lacks CAP_BPF:"));
        let (initial, other) = ("         0          0 4294967295\n", "0 100000 65536\n");
        let ptrace = root(1 << CAP_SYS_PTRACE);
        for (own, uid_map, expected) in [
            (root(0), initial, PtraceObstacle::RootWithoutCapability),
            (root(0), other, PtraceObstacle::RootWithoutCapability),
            (ptrace, other, PtraceObstacle::UserNamespace),
            (ptrace, initial, PtraceObstacle::SecurityModule),
            (Capabilities::default(), initial, PtraceObstacle::OtherUser),
        ] {
            assert_eq!(PtraceObstacle::of(own, CapabilitySets::default(), uid_map), expected);
        }
        let sets = CapabilitySets { own_bounding: !(1 << 24), other_permitted: u64::MAX >> 23 };
        let obstacle = PtraceObstacle::of(ptrace, sets, initial);
        assert_eq!(
            obstacle.message(1),
            "process 1 cannot be read: it has CAP_SYS_RESOURCE, which this process lacks"
        );
        assert_eq!(names_of(0b1111), "CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH and 1 more");
        assert_eq!(names_of(1 << 63), "capability 63");
    }
}
