//! The PID namespace of this process.
//!
//! BPF programs get the ids of the initial PID namespace. A process in another one, such as a
//! container, translates them to its own; see [`codegen`](crate::bpf::codegen::pid_namespace).

use super::btf;
use super::load::{load, load_tracepoint};
use crate::bpf::asm::{Assembler, R0, R7, R10, Width};
use crate::bpf::codegen::pid_namespace::{IDS, UPID_LEN, read_kernel, store_ids};
use crate::bpf::syscall::run_tracepoint_program;
use crate::bpf::{NestedIds, PidNamespace, helper};
use crate::error::{Error, ErrorKind, Result};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::LazyLock;

/// Inode of the initial PID namespace: `PROC_PID_INIT_INO` (`include/linux/proc_ns.h`).
const INITIAL: u64 = 0xEFFF_FFFC;

/// The PID namespace of this process, and what follows for the processes that it can trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PidNamespaceSupport {
    /// The initial namespace, which all processes of the host are in.
    Initial,
    /// Another namespace, such as that of a container. Processes outside it are left out.
    Own {
        /// Inode of `/proc/self/ns/pid`, which identifies the namespace.
        inode: u64,
        /// True if processes of nested namespaces are traced. This needs BTF and Linux 5.10.
        traces_nested: bool,
    },
    /// Another namespace, to which programs cannot translate process ids (before Linux 5.7).
    Unsupported,
}

/// Returns the PID namespace of this process, unless it is the initial one. The result of the first
/// call is kept, because a process never leaves its PID namespace.
///
/// # Errors
///
/// `Unsupported` if the kernel cannot translate process ids, and an error of the kernel if this
/// process may not load BPF programs.
pub(crate) fn own() -> Result<Option<PidNamespace>> {
    static OWN: LazyLock<Option<PidNamespace>> = LazyLock::new(find);
    let Some(namespace) = *OWN else { return Ok(None) };
    static TRANSLATES: LazyLock<Result<Option<NestedIds>>> = LazyLock::new(translation);
    match &*TRANSLATES {
        Ok(nested) => Ok(Some(PidNamespace { nested: *nested, ..namespace })),
        Err(error) if error.kind() == ErrorKind::Permission => Err(Error::kernel(
            error.to_string(),
            std::io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EPERM)),
        )),
        Err(_) => {
            let kind = ErrorKind::Unsupported { since: Some("5.7") };
            let message = "this process is in a PID namespace, to whose process ids the kernel cannot translate (Linux 5.7)";
            Err(Error::new(kind, message).with_hint("run it in the PID namespace of the host"))
        }
    }
}

/// Describes the PID namespace of this process.
pub(super) fn support() -> PidNamespaceSupport {
    match own() {
        Ok(None) => PidNamespaceSupport::Initial,
        Ok(Some(namespace)) => PidNamespaceSupport::Own {
            inode: namespace.inode.into(),
            traces_nested: namespace.nested.is_some(),
        },
        Err(_) => PidNamespaceSupport::Unsupported,
    }
}

/// Returns the id of this process in the initial PID namespace; `None` before Linux 5.10, if this
/// process is in another one.
pub(super) fn initial_id() -> Option<u32> {
    if matches!(own(), Ok(None)) {
        return Some(std::process::id());
    }
    let mut asm = Assembler::default();
    asm.call(helper::GET_CURRENT_PID_TGID);
    run_here(asm, |asm| asm.shr(R0, 32))
}

/// Returns the namespace without [`PidNamespace::nested`]; `None` for the initial one, and if `/proc`
/// is not mounted.
fn find() -> Option<PidNamespace> {
    let file = std::fs::metadata("/proc/self/ns/pid").ok()?;
    if file.ino() == INITIAL {
        return None;
    }
    Some(PidNamespace {
        device: kernel_device(file.dev()),
        inode: file.ino().try_into().ok()?,
        nested: None,
    })
}

/// Converts a device number to the encoding inside the kernel (`MKDEV` in `include/linux/kdev_t.h`).
fn kernel_device(device: u64) -> u32 {
    const MINOR_BITS: u32 = 20;
    rustix::fs::major(device) << MINOR_BITS | rustix::fs::minor(device)
}

/// Tries the helper that translates. Returns how to find ids in nested namespaces.
fn translation() -> Result<Option<NestedIds>> {
    let mut asm = Assembler::default();
    store_ids(&mut asm, &PidNamespace { device: 0, inode: 0, nested: None });
    load(&finish(asm, |asm| asm.load(Width::Dw, R0, R10, IDS))?, 0)?;
    Ok(nested_ids())
}

fn nested_ids() -> Option<NestedIds> {
    let offsets = |structure, fields| {
        let offsets: [u32; 2] = btf::field_offsets(structure, fields)?;
        Some(offsets.map(|offset| i32::try_from(offset).unwrap_or(0)))
    };
    let [thread_pid, group_leader] = offsets("task_struct", ["thread_pid", "group_leader"])?;
    let [pid_level, numbers] = offsets("pid", ["level", "numbers"])?;
    let [nr, namespace] = offsets("upid", ["nr", "ns"])?;
    let [common] = btf::field_offsets("pid_namespace", ["ns"])?;
    let [inum] = btf::field_offsets("ns_common", ["inum"])?;
    if (nr, namespace) != (0, 8) {
        return None;
    }
    let level = own_level(thread_pid, pid_level)?;
    Some(NestedIds {
        level,
        thread_pid,
        group_leader,
        pid_level,
        upid: numbers + level * UPID_LEN,
        inode: i32::try_from(common + inum).ok()?,
    })
}

/// Runs a program that returns the depth of this process's namespace below the initial one.
fn own_level(thread_pid: i32, pid_level: i32) -> Option<i32> {
    let mut asm = Assembler::default();
    asm.call(helper::GET_CURRENT_TASK);
    read_kernel(&mut asm, -8, 8, R0, thread_pid);
    asm.load(Width::Dw, R7, R10, -8);
    read_kernel(&mut asm, -8, 4, R7, pid_level);
    let level = run_here(asm, |asm| asm.load(Width::W, R0, R10, -8))?;
    // The kernel's limit is 32 (`MAX_PID_NS_LEVEL`).
    i32::try_from(level).ok().filter(|level| (1..=32).contains(level))
}

/// Runs a program in the context of this thread. Returns the result that `last` loads.
fn run_here(asm: Assembler, last: impl FnOnce(&mut Assembler)) -> Option<u32> {
    let program = load_tracepoint(&finish(asm, last).ok()?).ok()?;
    run_tracepoint_program(program.as_fd()).ok()
}

/// Ends a program with the result that `last` loads.
fn finish(
    mut asm: Assembler,
    last: impl FnOnce(&mut Assembler),
) -> Result<Vec<crate::bpf::asm::Insn>> {
    last(&mut asm);
    asm.exit();
    asm.finish().map_err(|_| Error::unsupported("the generated BPF program has an invalid jump"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_devices_like_the_kernel() {
        assert_eq!(kernel_device(rustix::fs::makedev(0, 4)), 4);
        // stat(2) splits the minor number.
        assert_eq!(kernel_device(rustix::fs::makedev(8, 0x12345)), 8 << 20 | 0x12345);
    }
}
