//! What this kernel can do, found out by asking it.

use super::btf;
use super::links::create_multi;
use super::load::load;
use super::maps::{create_ring, page};
use crate::bpf::TaskStructOffsets;
use crate::bpf::asm::{Assembler, Insn, R0, R2, R10, Width};
use crate::bpf::helper;
use crate::error::Error;
use libbpf_sys as bpf;
use std::os::fd::AsRawFd;
use std::sync::LazyLock;

/// How far the kernel's multi-uprobe links go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultiLinks {
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
    pub refusal: Option<Error>,
    pub uprobes: bool,
    pub semaphores: bool,
    pub multi: MultiLinks,
    pub cookies: bool,
    pub ring: bool,
    pub atomics: bool,
    /// Whether it tells of `exec`.
    pub exec: bool,
}

/// Tries everything.
pub fn features() -> Features {
    super::silence_libbpf();
    let empty = load(&program(|_| {}), 0);
    let has = |path: &str| std::path::Path::new("/sys/bus/event_source/devices/uprobe").join(path).exists();
    Features {
        bpf: empty.is_ok(),
        refusal: empty.err(),
        uprobes: has("type"),
        semaphores: has("format/ref_ctr_offset"),
        multi: multi_links(),
        cookies: cookies(),
        ring: ring(),
        atomics: atomics(),
        exec: super::ExecEvents::start().is_ok(),
    }
}

/// Whether programs can ask for the cookie of their site.
pub(crate) fn cookies() -> bool {
    // Asked for each new file that is attached to; the kernel stays the same.
    static COOKIES: LazyLock<bool> =
        LazyLock::new(|| load(&program(|asm| asm.call(helper::GET_ATTACH_COOKIE)), 0).is_ok());
    *COOKIES
}

/// Where things are in `task_struct`, if programs may load them themselves: the kernel has its types (BTF) and gives
/// them the running task (Linux 5.11).
pub(crate) fn task() -> Option<TaskStructOffsets> {
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
    load(&program(words), 0).is_ok().then_some(task)
}

/// Whether there is the buffer that all CPUs share.
pub(crate) fn ring() -> bool {
    static RING: LazyLock<bool> = LazyLock::new(|| create_ring(c"usdt_try", page()).is_ok());
    *RING
}

/// Whether atomic operations give the old value.
pub(crate) fn atomics() -> bool {
    static ATOMICS: LazyLock<bool> = LazyLock::new(|| {
        let add = |asm: &mut Assembler| {
            asm.mov_imm(R2, 1);
            asm.store_imm(Width::Dw, R10, -8, 0);
            asm.atomic_fetch_add(R10, -8, R2);
        };
        load(&program(add), 0).is_ok()
    });
    *ATOMICS
}

/// A program that does this and ends.
pub(crate) fn program(body: impl FnOnce(&mut Assembler)) -> Vec<Insn> {
    let mut asm = Assembler::default();
    body(&mut asm);
    asm.mov_imm(R0, 0);
    asm.exit();
    // It has no jumps that could lead nowhere.
    asm.finish().unwrap_or_default()
}

/// Tries links that must fail and looks how: a directory is no binary (`EBADF`), and a kernel with the right
/// process filter refuses the process id -1 before it looks at the path (`EINVAL`).
pub(crate) fn multi_links() -> MultiLinks {
    let Ok(program) = load(&program(|_| {}), bpf::BPF_TRACE_UPROBE_MULTI) else { return MultiLinks::Missing };
    let probe = |pid: u32| create_multi(program.as_raw_fd(), c"/", &[0], None, pid).err().unwrap_or(0);
    match (probe(0), probe(u32::MAX)) {
        (libc::EBADF, libc::EINVAL) => MultiLinks::Full,
        (libc::EBADF, _) => MultiLinks::ThreadFilter,
        _ => MultiLinks::Missing,
    }
}
