//! What this kernel can do, found out by asking it.

use super::btf;
use super::exec_events::ExecEvents;
use super::links::{LinkMethod, Mechanism};
use super::load::{load, small_program};
use super::maps::{create_ring, page};
use crate::bpf::asm::{Assembler, R0, R2, R10, Width};
use crate::bpf::syscall::{UprobeSite, link_uprobe_multi};
use crate::bpf::uapi::BPF_TRACE_UPROBE_MULTI;
use crate::bpf::{TaskStructOffsets, helper};
use crate::error::Error;
use std::os::fd::AsFd as _;
use std::sync::LazyLock;

/// How far the kernel's multi-uprobe links go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UprobeMultiSupport {
    /// None (before Linux 6.6).
    Missing,
    /// There, but their process filter picks one thread (fixed in mid-2024).
    ThreadFilter,
    /// There and right.
    Full,
}

/// What the kernel has of what this crate uses.
#[derive(Debug)]
pub struct Features {
    /// Programs load.
    pub bpf: bool,
    /// Why they do not.
    pub load_error: Option<Error>,
    /// User code can be probed (Linux 3.5 with `CONFIG_UPROBES`).
    pub uprobes: bool,
    /// The kernel increments the semaphores of the sites that it attaches to (Linux 4.20).
    pub semaphores: bool,
    /// Links to many sites at once.
    pub uprobe_multi: UprobeMultiSupport,
    /// Programs can ask for the cookie of the site that was hit (Linux 5.15).
    pub cookies: bool,
    /// The ring buffer (Linux 5.8).
    pub ring_buffer: bool,
    /// Atomic operations return the old value (Linux 5.12).
    pub atomics: bool,
    /// Calls of `exec` are told as they happen (Linux 4.17).
    pub exec_events: bool,
}

/// Tries everything.
pub fn detect_features() -> Features {
    let empty = load(&small_program(|_| {}), 0);
    let has = |path: &str| {
        std::path::Path::new("/sys/bus/event_source/devices/uprobe").join(path).exists()
    };
    Features {
        bpf: empty.is_ok(),
        load_error: empty.err(),
        uprobes: has("type"),
        semaphores: has("format/ref_ctr_offset"),
        uprobe_multi: uprobe_multi_support(),
        cookies: cookies(),
        ring_buffer: create_ring(c"usdt_try", page()).is_ok(),
        atomics: atomics(),
        exec_events: ExecEvents::start().is_ok(),
    }
}

/// Whether programs can ask for the cookie of their site.
pub(crate) fn cookies() -> bool {
    // Asked for each new file that is attached to; the kernel stays the same.
    static COOKIES: LazyLock<bool> = LazyLock::new(|| {
        load(&small_program(|asm| asm.call(helper::GET_ATTACH_COOKIE)), 0).is_ok()
    });
    *COOKIES
}

/// Where things are in `task_struct`, if programs may load them themselves: the kernel has its types (BTF) and gives
/// them the running task (Linux 5.11).
pub(crate) fn task_struct_offsets() -> Option<TaskStructOffsets> {
    static TASK: LazyLock<Option<TaskStructOffsets>> = LazyLock::new(find_task);
    *TASK
}

fn find_task() -> Option<TaskStructOffsets> {
    let [comm, pid, tgid] = btf::fields("task_struct", ["comm", "pid", "tgid"])?.map(i16::try_from);
    let task = TaskStructOffsets { comm: comm.ok()?, pid: pid.ok()?, tgid: tgid.ok()? };
    let words = |asm: &mut Assembler| {
        asm.call(helper::GET_CURRENT_TASK_BTF);
        asm.load(Width::Dw, R2, R0, task.comm);
        asm.load(Width::Dw, R2, R0, task.comm + 8);
        asm.load(Width::W, R2, R0, task.pid);
        asm.load(Width::W, R2, R0, task.tgid);
    };
    load(&small_program(words), 0).is_ok().then_some(task)
}

/// Whether atomic operations give the old value.
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

/// Tries links that must fail and looks how: a directory is no binary (`EBADF`), and a kernel with the right
/// process filter refuses the process id -1 before it looks at the path (`EINVAL`).
fn uprobe_multi_support() -> UprobeMultiSupport {
    let Ok(program) = load(&small_program(|_| {}), BPF_TRACE_UPROBE_MULTI) else {
        return UprobeMultiSupport::Missing;
    };
    let site = UprobeSite { offset: 0, semaphore: 0, cookie: 0 };
    let probe =
        |pid: u32| link_uprobe_multi(program.as_fd(), c"/", &[site], pid).err()?.raw_os_error();
    match (probe(0), probe(u32::MAX)) {
        (Some(libc::EBADF), Some(libc::EINVAL)) => UprobeMultiSupport::Full,
        (Some(libc::EBADF), _) => UprobeMultiSupport::ThreadFilter,
        _ => UprobeMultiSupport::Missing,
    }
}

/// What is automatic about a mechanism, decided for this kernel.
pub(crate) fn link_method(mechanism: Mechanism) -> LinkMethod {
    match mechanism {
        Mechanism::ProgramPerSite => LinkMethod::ProgramPerSite,
        Mechanism::Auto if !cookies() => LinkMethod::ProgramPerSite,
        Mechanism::PerfEvents => LinkMethod::PerfEvents,
        Mechanism::Auto | Mechanism::UprobeMulti => match uprobe_multi_support() {
            UprobeMultiSupport::Missing => LinkMethod::PerfEvents,
            // A filter by thread is no filter by process.
            found => {
                LinkMethod::UprobeMulti { filters_processes: found == UprobeMultiSupport::Full }
            }
        },
    }
}
