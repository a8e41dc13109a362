//! The kernel features that generated programs use.

use super::cpu_ring_format::CpuRings;

/// The kernel features that a generated program may use. The default is the oldest supported
/// kernel, Linux 5.8.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KernelFeatures {
    /// Programs can read the attach cookie of the site (Linux 5.15). Otherwise each site has a
    /// program of its own.
    pub cookies: bool,
    /// The transport of records.
    pub transport: Transport,
    /// Atomic operations return the old value (Linux 5.12; on arm64 5.18). Otherwise a few more
    /// hits than the limit may pass when several CPUs race.
    pub atomics: bool,
    /// Functions with which a program disables preemption while it publishes a record. `None` before
    /// Linux 6.10 and without BTF: a preempted writer holds back the records after its own.
    pub preemption: Option<PreemptionFunctions>,
    /// Offsets for reading the running thread's name and ids from its `task_struct`, which is
    /// cheaper than calling helpers. `None` before Linux 5.11 and without BTF.
    pub task: Option<TaskStructOffsets>,
    /// The program may sleep, so it can bring a string into memory (Linux 6.0; for `uprobe_multi`
    /// links 6.6). Otherwise a string that is not in memory is unreadable.
    pub sleepable: bool,
    /// The PID namespace whose ids programs use. `None` in the initial one, whose ids need no
    /// translation.
    pub pid_namespace: Option<PidNamespace>,
    /// Offsets for finding the executable of the running process. `None` before Linux 5.11 and
    /// without BTF, and if the plan does not ask for it.
    pub executable: Option<ExecutableOffsets>,
}

/// How records get from programs to the reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Transport {
    /// The kernel's BPF ring buffer (Linux 5.8).
    #[default]
    RingBuf,
    /// The mapped ring, an MPSC ring in a mapped array map (Linux 5.15; on arm64 5.18).
    MappedRing,
    /// A ring per CPU in a mapped array map. It needs [`KernelFeatures::preemption`] (Linux 6.10).
    CpuRings(CpuRings),
}

/// BTF type ids of the kernel's functions `bpf_preempt_disable` and `bpf_preempt_enable`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PreemptionFunctions {
    pub disable: u32,
    pub enable: u32,
}

/// Byte offsets of the fields that lead from the running thread to the inode of its executable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExecutableOffsets {
    /// `mm` in `task_struct`.
    pub mm: i16,
    /// `exe_file` in `mm_struct`.
    pub file: i16,
    /// `f_inode` in `file`.
    pub inode: i16,
}

/// Byte offsets of fields in the kernel's `task_struct`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskStructOffsets {
    /// The thread name, 16 bytes.
    pub comm: i16,
    /// The thread id, 32 bits.
    pub pid: i16,
    /// The process id, 32 bits.
    pub tgid: i16,
}

/// A PID namespace other than the initial one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PidNamespace {
    /// Device of `/proc/self/ns/pid`, in the kernel's encoding (`dev_t`).
    pub device: u32,
    /// Inode of `/proc/self/ns/pid`.
    pub inode: u32,
    /// How to find the ids of a process of a nested namespace, for which
    /// `bpf_get_ns_current_pid_tgid` fails. `None` without BTF and before Linux 5.10.
    pub nested: Option<NestedIds>,
}

/// Where the kernel keeps the ids of a process in each of its PID namespaces: `struct pid` has an
/// array of `struct upid`, from the initial namespace to that of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NestedIds {
    /// Depth of this process's namespace below the initial one, at least 1.
    pub level: i32,
    /// Byte offset of the thread's `struct pid *` in `task_struct`.
    pub thread_pid: i32,
    /// Byte offset of the pointer to the first thread of the process in `task_struct`.
    pub group_leader: i32,
    /// Byte offset of the namespace's depth in `struct pid`.
    pub pid_level: i32,
    /// Byte offset of the `struct upid` of this process's namespace in `struct pid`.
    pub upid: i32,
    /// Byte offset of the inode in `struct pid_namespace`.
    pub inode: i32,
}
