//! Privileges that a command gives up.
//!
//! The program usually runs as root, and reads files and memory that others control. What a command
//! does not need, it gives up before it reads the first of them:
//!
//! * `PR_SET_NO_NEW_PRIVS`: no program that this process might execute gains privileges.
//! * All capabilities but those in [`Needs`]. Without `CAP_SYS_ADMIN`, `CAP_DAC_OVERRIDE`,
//!   `CAP_SYS_MODULE` and the others, a flaw in a parser is not the same as root.
//!
//! A command that starts another program (`-- CMD`, `run`, `--backend bcc`) does neither before the
//! program runs: `CMD` may be setuid, and it gets the privileges that it would have in a shell.
//!
//! After attaching, a session that attaches to nothing else (`go`) gives up `CAP_BPF` and
//! `CAP_PERFMON`, too. Reading a mapped buffer needs no capability, and neither does detaching. Reading a map by its
//! descriptor needs none since Linux 5.19, even if `kernel.unprivileged_bpf_disabled` is set; on
//! older kernels `CAP_BPF` is kept. Targets that are followed (`-p` and commands, because a
//! process may load another library, `--exe`, `--cgroup`, `--all`) keep both for the next file.
//!
//! Capabilities belong to threads. They are dropped while the process has one thread, or by the
//! thread that goes on to handle foreign data.

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use usdt_attach::kernel::detect::{UprobeMultiSupport, uprobe_multi};

/// What a command does that needs capabilities.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Needs {
    /// Loads and attaches BPF programs.
    pub(crate) attaching: bool,
    /// Reads mappings, memory and mapped files of processes.
    pub(crate) processes: bool,
    /// Creates a file where the user says.
    pub(crate) output_file: bool,
    /// Listens at a port, which may be below 1024.
    pub(crate) listening: bool,
    /// Enables statistics of BPF programs, which requires `CAP_SYS_ADMIN`.
    pub(crate) statistics: bool,
    /// Ends a command that it has started and that may run as another user.
    pub(crate) ending_a_command: bool,
}

impl Needs {
    fn capabilities(self) -> CapabilitySet {
        let mut kept = CapabilitySet::empty();
        let mut keep = |is_needed: bool, capabilities| {
            if is_needed {
                kept |= capabilities;
            }
        };
        keep(self.attaching, CapabilitySet::BPF | CapabilitySet::PERFMON);
        keep(
            self.processes,
            CapabilitySet::SYS_PTRACE
                | CapabilitySet::CHECKPOINT_RESTORE
                | CapabilitySet::DAC_READ_SEARCH,
        );
        keep(
            self.output_file,
            CapabilitySet::DAC_OVERRIDE | CapabilitySet::FOWNER | CapabilitySet::CHOWN,
        );
        keep(self.listening, CapabilitySet::NET_BIND_SERVICE);
        keep(self.statistics, CapabilitySet::SYS_ADMIN);
        keep(self.ending_a_command, CapabilitySet::KILL);
        kept
    }
}

/// Gives up what a command does not need, before it reads foreign data. Does nothing if it cannot: a
/// container may forbid the calls, and the command does its work with more privileges than it needs.
pub(crate) fn restrict(needs: Needs) {
    let _ = rustix::thread::set_no_new_privs(true);
    let mut kept = needs.capabilities();
    if needs.attaching && holds(CapabilitySet::SYS_ADMIN) && !has_links() {
        // Perf events require CAP_SYS_ADMIN there, and locked memory is limited before Linux 5.11.
        kept |= CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_RESOURCE;
    }
    keep_only(kept);
}

/// Gives up what is not needed after attaching. Otherwise the same as [`restrict`].
///
/// `read_maps` is called without the dropped capabilities and returns false if the kernel does not
/// let it read the maps; then `CAP_BPF` is kept.
pub(crate) fn restrict_attached(needs: Needs, read_maps: impl FnOnce() -> bool) {
    let _ = rustix::thread::set_no_new_privs(true);
    let kept = needs.capabilities();
    let Ok(old) = capabilities(None) else { return };
    // The permitted set keeps CAP_BPF until reading the maps has been tried.
    let permitted = old.permitted & (kept | CapabilitySet::BPF);
    let trial = CapabilitySets { effective: old.effective & kept, permitted, ..old };
    if set_capabilities(None, trial).is_ok() {
        let bpf = if read_maps() { CapabilitySet::empty() } else { CapabilitySet::BPF };
        let effective = old.effective & (kept | bpf);
        let _ = set_capabilities(None, CapabilitySets { effective, permitted, ..old });
        keep_only(kept | bpf);
    }
}

/// True if the kernel has links for many sites, which CAP_BPF and CAP_PERFMON suffice for.
fn has_links() -> bool {
    uprobe_multi() != UprobeMultiSupport::Missing
}

fn holds(capability: CapabilitySet) -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(capability))
}

fn keep_only(kept: CapabilitySet) {
    // Ambient capabilities vanish with the inheritable ones.
    if let Ok(CapabilitySets { effective, permitted, .. }) = capabilities(None) {
        let inheritable = CapabilitySet::empty();
        let sets = CapabilitySets {
            effective: effective & kept,
            permitted: permitted & kept,
            inheritable,
        };
        let _ = set_capabilities(None, sets);
    }
}
