//! The system calls bpf(2), with a safe function for each command used, and perf_event_open(2) for
//! uprobes.
//!
//! The structures are those of [`uapi`]. The kernel copies them, and what they point to, before the
//! call returns.
#![allow(unsafe_code)] // system calls with pointers; each function checks or borrows what it passes

use super::asm::Insn;
use super::memlock::retry_with_raised_memlock;
use super::uapi::{self, LinkCreatePerfEvent, LinkCreateUprobeMulti, PerfEventAttr, ProgLoad};
use std::ffi::{CStr, c_long};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Number of tries of `BPF_PROG_LOAD` that a signal may interrupt (`EAGAIN`), as in libbpf.
const LOAD_ATTEMPTS: usize = 5;

/// The license that programs declare. Tracing helpers need one that is compatible with the GPL.
const LICENSE: &CStr = c"Dual MIT/GPL";

/// Calls bpf(2) with a structure of [`uapi`].
///
/// # Safety
///
/// Pointers in the structure must be valid for the reads and writes of the command.
pub(super) unsafe fn bpf<T: Copy>(command: u32, attributes: &mut T) -> io::Result<c_long> {
    // SAFETY: the structure has the size that is passed; the caller guarantees that its pointers
    // are valid.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            libc::c_ulong::from(command),
            &raw mut *attributes,
            size_of::<T>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Calls bpf(2) for a command that returns a new descriptor.
///
/// # Safety
///
/// As for [`bpf`]. The command must return a descriptor.
pub(super) unsafe fn bpf_fd<T: Copy>(command: u32, attributes: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: the caller meets the conditions of `bpf`. The descriptor is new and has no other
    // owner.
    unsafe { bpf(command, attributes).map(|fd| OwnedFd::from_raw_fd(fd as RawFd)) }
}

/// Converts a pointer to a field of a structure.
pub(super) fn pointer<T>(to: *const T) -> u64 {
    to as u64
}

/// Converts a descriptor to a field of a structure. Open descriptors are not negative.
pub(super) fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// Converts the name of a map or program, truncated to the 15 bytes that the kernel accepts.
pub(super) fn object_name(name: &CStr) -> [u8; 16] {
    let mut out = [0; 16];
    for (to, from) in out.iter_mut().take(15).zip(name.to_bytes()) {
        *to = *from;
    }
    out
}

/// Options for loading a program.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LoadOptions {
    /// `BPF_TRACE_UPROBE_MULTI` for `uprobe_multi` links, 0 for perf events.
    pub(crate) attach_type: u32,
    /// Flags, such as `BPF_F_SLEEPABLE`.
    pub(crate) flags: u32,
    /// The function of the kernel to attach to, as a type id in BTF; 0 for other programs.
    pub(crate) attach_btf_id: u32,
}

/// Loads a program. The verifier writes its log to `log`, unless that is empty.
///
/// `at` is the attach type, and the function of the kernel to attach to, by its type id in BTF; 0 if
/// programs of this type need none.
pub(crate) fn prog_load(
    kind: u32,
    name: &CStr,
    code: &[Insn],
    options: LoadOptions,
    log: &mut [u8],
) -> io::Result<OwnedFd> {
    let code: Vec<[u8; 8]> = code.iter().map(|one| one.to_bytes()).collect();
    let too_long = |_| io::Error::from_raw_os_error(libc::E2BIG);
    let mut attributes = ProgLoad {
        prog_type: kind,
        insn_cnt: code.len().try_into().map_err(too_long)?,
        insns: pointer(code.as_ptr()),
        license: pointer(LICENSE.as_ptr()),
        prog_name: object_name(name),
        prog_flags: options.flags,
        expected_attach_type: options.attach_type,
        attach_btf_id: options.attach_btf_id,
        ..ProgLoad::default()
    };
    if !log.is_empty() {
        attributes.log_level = 1;
        attributes.log_size = log.len().try_into().map_err(too_long)?;
        attributes.log_buf = pointer(log.as_mut_ptr());
    }
    retry_with_raised_memlock(|| {
        let mut attempts = LOAD_ATTEMPTS;
        loop {
            attempts -= 1;
            // SAFETY: `code` has `insn_cnt` instructions of 8 bytes, and `log` has `log_size`
            // bytes. Both and the license outlive the call.
            match unsafe { bpf_fd(uapi::BPF_PROG_LOAD, &mut attributes) } {
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && attempts > 0 => {}
                result => return result,
            }
        }
    })
}

/// Attaches a program to a raw tracepoint until the descriptor is closed.
pub(crate) fn raw_tracepoint_open(name: &CStr, program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attributes = uapi::RawTracepointOpen {
        name: pointer(name.as_ptr()),
        prog_fd: number(program),
        ..uapi::RawTracepointOpen::default()
    };
    // SAFETY: the name is NUL-terminated and outlives the call.
    unsafe { bpf_fd(uapi::BPF_RAW_TRACEPOINT_OPEN, &mut attributes) }
}

/// Runs a raw tracepoint program in the context of the calling thread, and returns its result (Linux
/// 5.10).
pub(crate) fn run_tracepoint_program(program: BorrowedFd<'_>) -> io::Result<u32> {
    let mut attributes =
        uapi::ProgTestRun { prog_fd: number(program), ..uapi::ProgTestRun::default() };
    // SAFETY: the sizes of all buffers are zero, so the kernel follows no pointers.
    unsafe { bpf(uapi::BPF_PROG_TEST_RUN, &mut attributes)? };
    Ok(attributes.retval)
}

/// Returns a descriptor from which the output of an iterator over the main thread of a process is
/// read (Linux 6.1).
pub(crate) fn iterate_task(program: BorrowedFd<'_>, pid: u32) -> io::Result<OwnedFd> {
    let tasks = uapi::IterTasks { tid: pid, ..uapi::IterTasks::default() };
    let mut attributes = uapi::LinkCreateIter {
        prog_fd: number(program),
        attach_type: uapi::BPF_TRACE_ITER,
        iter_info: pointer(&raw const tasks),
        iter_info_len: size_of::<uapi::IterTasks>() as u32,
        ..uapi::LinkCreateIter::default()
    };
    // SAFETY: `iter_info` has `iter_info_len` bytes and outlives the call.
    let link = unsafe { bpf_fd(uapi::BPF_LINK_CREATE, &mut attributes) }?;
    let mut attributes =
        uapi::IterCreate { link_fd: number(link.as_fd()), ..uapi::IterCreate::default() };
    // SAFETY: there are no pointers. The descriptor keeps the link.
    unsafe { bpf_fd(uapi::BPF_ITER_CREATE, &mut attributes) }
}

/// Links a program to a perf event, with an attach cookie (Linux 5.15).
pub(crate) fn link_perf_event(
    program: BorrowedFd<'_>,
    event: BorrowedFd<'_>,
    cookie: u64,
) -> io::Result<OwnedFd> {
    let mut attributes = LinkCreatePerfEvent {
        prog_fd: number(program),
        target_fd: number(event),
        attach_type: uapi::BPF_PERF_EVENT,
        perf_event_bpf_cookie: cookie,
        ..LinkCreatePerfEvent::default()
    };
    // SAFETY: there are no pointers.
    unsafe { bpf_fd(uapi::BPF_LINK_CREATE, &mut attributes) }
}

/// A site of a `uprobe_multi` link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UprobeSite {
    /// File offset of the instruction.
    pub(crate) offset: u64,
    /// File offset of the semaphore; 0 if there is none.
    pub(crate) semaphore: u64,
    /// The cookie that `bpf_get_attach_cookie` returns.
    pub(crate) cookie: u64,
}

/// Links a program to sites of a file (Linux 6.6), in one process or, if `pid` is 0, in all.
pub(crate) fn link_uprobe_multi(
    program: BorrowedFd<'_>,
    path: &CStr,
    sites: &[UprobeSite],
    pid: u32,
) -> io::Result<OwnedFd> {
    let offsets: Vec<u64> = sites.iter().map(|site| site.offset).collect();
    let semaphores: Vec<u64> = sites.iter().map(|site| site.semaphore).collect();
    let cookies: Vec<u64> = sites.iter().map(|site| site.cookie).collect();
    let too_many = |_| io::Error::from_raw_os_error(libc::E2BIG);
    let mut attributes = LinkCreateUprobeMulti {
        prog_fd: number(program),
        attach_type: uapi::BPF_TRACE_UPROBE_MULTI,
        uprobe_multi_path: pointer(path.as_ptr()),
        uprobe_multi_offsets: pointer(offsets.as_ptr()),
        uprobe_multi_ref_ctr_offsets: pointer(semaphores.as_ptr()),
        uprobe_multi_cookies: pointer(cookies.as_ptr()),
        uprobe_multi_cnt: sites.len().try_into().map_err(too_many)?,
        uprobe_multi_pid: pid,
        ..LinkCreateUprobeMulti::default()
    };
    // SAFETY: each array has `cnt` elements; `unsigned long` has 64 bits on the architectures that
    // this crate supports. The arrays and the NUL-terminated path outlive the call.
    unsafe { bpf_fd(uapi::BPF_LINK_CREATE, &mut attributes) }
}

/// Enables run-time statistics of BPF programs until the descriptor is closed (Linux 5.8).
pub(crate) fn enable_run_time_stats() -> io::Result<OwnedFd> {
    let mut attributes = uapi::EnableStats { type_: uapi::BPF_STATS_RUN_TIME };
    // SAFETY: there are no pointers.
    unsafe { bpf_fd(uapi::BPF_ENABLE_STATS, &mut attributes) }
}

/// Returns what the kernel knows about a program.
pub(crate) fn prog_info(program: BorrowedFd<'_>) -> io::Result<uapi::ProgInfo> {
    let mut info = uapi::ProgInfo::default();
    // SAFETY: the counts of all arrays in the structure are zero, so the kernel follows no
    // pointers. All bit patterns are valid, even if the descriptor is not that of a program.
    unsafe { object_info(program, &mut info)? };
    Ok(info)
}

/// Reads the kernel's information about a map or program.
///
/// # Safety
///
/// `T` must be a structure of [`uapi`] for `BPF_OBJ_GET_INFO_BY_FD`, in which the counts of arrays
/// are zero.
pub(super) unsafe fn object_info<T: Copy>(object: BorrowedFd<'_>, info: &mut T) -> io::Result<()> {
    let mut attributes = uapi::ObjGetInfo {
        bpf_fd: number(object),
        info_len: size_of::<T>() as u32,
        info: pointer(&raw mut *info),
    };
    // SAFETY: the kernel writes at most `info_len` bytes.
    unsafe { bpf(uapi::BPF_OBJ_GET_INFO_BY_FD, &mut attributes).map(drop) }
}

/// Opens a perf event at an instruction of a file, in one process or, if `pid` is 0, in all. `kind`
/// is the type number of the `uprobe` event source.
pub(crate) fn perf_event_uprobe(
    kind: u32,
    path: &CStr,
    offset: u64,
    semaphore: u32,
    pid: u32,
) -> io::Result<OwnedFd> {
    /// Position of the semaphore's offset in `config` (`PERF_UPROBE_REF_CTR_OFFSET_SHIFT` in
    /// `kernel/events/core.c`).
    const REF_CTR_SHIFT: u32 = 32;
    let attributes = PerfEventAttr {
        type_: kind,
        size: size_of::<PerfEventAttr>() as u32,
        config: u64::from(semaphore) << REF_CTR_SHIFT,
        uprobe_path: pointer(path.as_ptr()),
        probe_offset: offset,
        ..PerfEventAttr::default()
    };
    // perf_event_open(2) wants one CPU for an event of all processes. The program runs on every CPU
    // even so.
    let (pid, cpu) = if pid == 0 { (-1, 0) } else { (pid.cast_signed(), -1) };
    let flags = libc::c_ulong::from(uapi::PERF_FLAG_FD_CLOEXEC);
    // SAFETY: the structure has the size in its `size` field, the path is NUL-terminated, and both
    // outlive the call.
    let fd = unsafe {
        libc::syscall(libc::SYS_perf_event_open, &raw const attributes, pid, cpu, -1, flags)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Attaches a program to a perf event until the event is closed.
pub(crate) fn perf_event_run(event: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    /// `PERF_EVENT_IOC_SET_BPF` and `PERF_EVENT_IOC_ENABLE` (`include/uapi/linux/perf_event.h`).
    const SET_BPF: libc::c_ulong = 0x4004_2408;
    const ENABLE: libc::c_ulong = 0x2400;
    for (request, argument) in [(SET_BPF, program.as_raw_fd()), (ENABLE, 0)] {
        // SAFETY: the argument of both requests is a number.
        if unsafe { libc::ioctl(event.as_raw_fd(), request as _, argument) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
