//! Feature detection: each feature is tried, because version numbers say little about distribution
//! kernels.

use super::btf;
use super::exec_events::ExecEvents;
use super::links::{LinkMethod, Mechanism};
use super::load::{load, load_sleepable, small_program};
use super::maps::{create_ring, page};
use super::pid_namespace;
pub use super::pid_namespace::PidNamespaceSupport;
use crate::bpf::asm::{Assembler, R0, R1, R2, R3, R10, Width};
use crate::bpf::syscall::{UprobeSite, link_uprobe_multi};
use crate::bpf::uapi::BPF_TRACE_UPROBE_MULTI;
use crate::bpf::{ExecutableOffsets, PreemptionFunctions, TaskStructOffsets, helper};
use crate::error::Error;
use std::os::fd::AsFd as _;
use std::sync::LazyLock;

/// Support for `uprobe_multi` links, which attach a program to many sites at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UprobeMultiSupport {
    /// The kernel has none (before Linux 6.6).
    Missing,
    /// The kernel has them, but their process filter matches only one thread (fixed in Linux 6.10
    /// and stable releases). BPF programs compare process ids instead.
    ThreadFilter,
    /// The kernel has them, and their process filter works.
    Full,
}

/// The features of the running kernel that this library uses.
///
/// `false` can also mean that this process may not use the feature; see [`Features::load_error`].
#[derive(Debug)]
pub struct Features {
    /// BPF programs can be loaded.
    pub bpf: bool,
    /// The reason why BPF programs cannot be loaded; `None` if they can.
    pub load_error: Option<Error>,
    /// The kernel has uprobes (Linux 3.5, with `CONFIG_UPROBES`).
    pub uprobes: bool,
    /// The kernel increments the semaphores of attached sites (Linux 4.20).
    pub semaphores: bool,
    /// Links that attach to many sites at once (Linux 6.6).
    pub uprobe_multi: UprobeMultiSupport,
    /// Programs can read the attach cookie of the site that was hit (Linux 5.15). Otherwise each
    /// site has a program.
    pub cookies: bool,
    /// The kernel has the BPF ring buffer (Linux 5.8), which tracing needs.
    pub ring_buffer: bool,
    /// Atomic operations return the old value (Linux 5.12; on arm64 5.18). Otherwise limits are
    /// less exact.
    pub atomics: bool,
    /// Programs can disable preemption while they publish a record (Linux 6.10, with BTF). Otherwise
    /// a preempted thread of low priority may delay the events of others.
    pub preemption: bool,
    /// The PID namespace of this process.
    pub pid_namespace: PidNamespaceSupport,
    /// The kernel reports calls of `exec` as they happen (Linux 4.17). Otherwise processes are
    /// polled.
    pub exec_events: bool,
}

/// Tries all features. This loads small BPF programs and creates a map, all of which are released
/// at once.
pub fn detect_features() -> Features {
    let empty = load(&small_program(|_| {}), 0);
    let has_uprobe_file = |path: &str| {
        std::path::Path::new("/sys/bus/event_source/devices/uprobe").join(path).exists()
    };
    Features {
        bpf: empty.is_ok(),
        load_error: empty.err(),
        uprobes: has_uprobe_file("type"),
        semaphores: has_uprobe_file("format/ref_ctr_offset"),
        uprobe_multi: uprobe_multi(),
        cookies: cookies(),
        ring_buffer: create_ring(c"usdt_try", page()).is_ok(),
        atomics: atomics(),
        preemption: preemption_functions().is_some(),
        pid_namespace: pid_namespace::support(),
        exec_events: ExecEvents::start(None).is_ok(),
    }
}

/// Returns true if programs can read the attach cookie (Linux 5.15).
pub(crate) fn cookies() -> bool {
    // Cached, because this is called for each new file of a target.
    static COOKIES: LazyLock<bool> = LazyLock::new(|| {
        load(&small_program(|asm| asm.call(helper::GET_ATTACH_COOKIE)), 0).is_ok()
    });
    *COOKIES
}

/// Returns field offsets of `task_struct` if programs can read the running task directly. This
/// needs a kernel with BTF and `bpf_get_current_task_btf` (Linux 5.11).
pub(crate) fn task_struct_offsets() -> Option<TaskStructOffsets> {
    static TASK: LazyLock<Option<TaskStructOffsets>> = LazyLock::new(find_task_struct_offsets);
    *TASK
}

fn find_task_struct_offsets() -> Option<TaskStructOffsets> {
    let [comm, pid, tgid] =
        btf::field_offsets("task_struct", ["comm", "pid", "tgid"])?.map(i16::try_from);
    let task = TaskStructOffsets { comm: comm.ok()?, pid: pid.ok()?, tgid: tgid.ok()? };
    let read_fields = |asm: &mut Assembler| {
        asm.call(helper::GET_CURRENT_TASK_BTF);
        asm.load(Width::Dw, R2, R0, task.comm);
        asm.load(Width::Dw, R2, R0, task.comm + 8);
        asm.load(Width::W, R2, R0, task.pid);
        asm.load(Width::W, R2, R0, task.tgid);
    };
    load(&small_program(read_fields), 0).is_ok().then_some(task)
}

/// Returns the offsets that lead to the executable of the running process, if programs can read them
/// directly (Linux 5.11, with BTF).
pub(crate) fn executable_offsets() -> Option<ExecutableOffsets> {
    static OFFSETS: LazyLock<Option<ExecutableOffsets>> = LazyLock::new(|| {
        let [mm] = btf::field_offsets("task_struct", ["mm"])?;
        let [file] = btf::field_offsets("mm_struct", ["exe_file"])?;
        let [inode] = btf::field_offsets("file", ["f_inode"])?;
        let [mm, file, inode] = [mm, file, inode].map(i16::try_from);
        let offsets = ExecutableOffsets { mm: mm.ok()?, file: file.ok()?, inode: inode.ok()? };
        let read_fields = |asm: &mut Assembler| {
            asm.call(helper::GET_CURRENT_TASK_BTF);
            for offset in [offsets.mm, offsets.file, offsets.inode] {
                asm.load(Width::Dw, R0, R0, offset);
            }
        };
        load(&small_program(read_fields), 0).is_ok().then_some(offsets)
    });
    *OFFSETS
}

/// Returns the functions with which programs disable preemption, if they may call them (Linux 6.10,
/// with BTF).
pub(crate) fn preemption_functions() -> Option<PreemptionFunctions> {
    static FUNCTIONS: LazyLock<Option<PreemptionFunctions>> = LazyLock::new(|| {
        let [disable, enable] = btf::function_ids(["bpf_preempt_disable", "bpf_preempt_enable"])?;
        let call_both = |asm: &mut Assembler| {
            asm.call_kernel_function(disable);
            asm.call_kernel_function(enable);
        };
        let works = load(&small_program(call_both), 0).is_ok();
        works.then_some(PreemptionFunctions { disable, enable })
    });
    *FUNCTIONS
}

/// Returns true if atomic operations return the old value (Linux 5.12; on arm64 5.18).
pub(crate) fn atomics() -> bool {
    static ATOMICS: LazyLock<bool> = LazyLock::new(|| {
        let add = |asm: &mut Assembler| {
            asm.mov_imm(R2, 1);
            asm.store_imm(Width::Dw, R10, -8, 0);
            asm.atomic_fetch_add(R10, -8, R2);
        };
        load(&small_program(add), 0).is_ok()
    });
    *ATOMICS
}

/// Returns true if programs that are linked with `method` may sleep (Linux 6.0; for `uprobe_multi`
/// links 6.6).
pub(crate) fn sleepable(method: LinkMethod) -> bool {
    fn works(attach_type: u32) -> bool {
        let copy_byte = |asm: &mut Assembler| {
            asm.mov(R1, R10);
            asm.add_imm(R1, -8);
            asm.mov_imm(R2, 1);
            asm.mov_imm(R3, 0);
            asm.call(helper::COPY_FROM_USER);
        };
        load_sleepable(&small_program(copy_byte), attach_type).is_ok()
    }
    static MULTI: LazyLock<bool> = LazyLock::new(|| works(BPF_TRACE_UPROBE_MULTI));
    static PERF: LazyLock<bool> = LazyLock::new(|| works(0));
    match method {
        LinkMethod::UprobeMulti { .. } => *MULTI,
        LinkMethod::PerfEvents => *PERF,
        LinkMethod::ProgramPerSite => false,
    }
}

/// Returns the kernel's support for `uprobe_multi` links. It is tried once, with a small BPF program;
/// a process that may not load BPF programs gets [`UprobeMultiSupport::Missing`].
pub fn uprobe_multi() -> UprobeMultiSupport {
    static SUPPORT: LazyLock<UprobeMultiSupport> = LazyLock::new(uprobe_multi_support);
    *SUPPORT
}

/// Tries `uprobe_multi` links that must fail, and compares the error numbers. A directory is not a
/// binary (`EBADF`). A kernel whose process filter works rejects the process id -1 before it checks
/// the path (`EINVAL`).
fn uprobe_multi_support() -> UprobeMultiSupport {
    let Ok(program) = load(&small_program(|_| {}), BPF_TRACE_UPROBE_MULTI) else {
        return UprobeMultiSupport::Missing;
    };
    let site = UprobeSite { offset: 0, semaphore: 0, cookie: 0 };
    let errno_for_pid =
        |pid: u32| link_uprobe_multi(program.as_fd(), c"/", &[site], pid).err()?.raw_os_error();
    match (errno_for_pid(0), errno_for_pid(u32::MAX)) {
        (Some(libc::EBADF), Some(libc::EINVAL)) => UprobeMultiSupport::Full,
        (Some(libc::EBADF), _) => UprobeMultiSupport::ThreadFilter,
        _ => UprobeMultiSupport::Missing,
    }
}

/// Resolves a mechanism to a method that the running kernel supports.
pub(crate) fn link_method(mechanism: Mechanism) -> LinkMethod {
    match mechanism {
        Mechanism::ProgramPerSite => LinkMethod::ProgramPerSite,
        Mechanism::Auto if !cookies() => LinkMethod::ProgramPerSite,
        Mechanism::PerfEvents => LinkMethod::PerfEvents,
        Mechanism::Auto | Mechanism::UprobeMulti => match uprobe_multi() {
            UprobeMultiSupport::Missing => LinkMethod::PerfEvents,
            support => {
                LinkMethod::UprobeMulti { filters_processes: support == UprobeMultiSupport::Full }
            }
        },
    }
}
