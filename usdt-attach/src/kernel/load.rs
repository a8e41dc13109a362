//! Loading BPF programs.

use crate::bpf::asm::{Assembler, Cond, Insn, JumpError, R0};
use crate::bpf::syscall::LoadOptions;
use crate::bpf::uapi::{BPF_PROG_TYPE_KPROBE, BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_PROG_TYPE_TRACING};
use crate::bpf::{helper, syscall};
use crate::error::{Error, Result};
use std::os::fd::OwnedFd;

/// Flag of programs that may sleep (`BPF_F_SLEEPABLE`). The headers define it as a macro, which the
/// generated bindings do not have.
const SLEEPABLE: u32 = 1 << 4;

/// Loads a uprobe program; `attach_type` is `BPF_TRACE_UPROBE_MULTI` for `uprobe_multi` links and 0
/// for perf events.
pub(super) fn load(code: &[Insn], attach_type: u32) -> Result<OwnedFd> {
    load_uprobe(code, attach_type, 0)
}

/// Loads a uprobe program that may sleep.
pub(super) fn load_sleepable(code: &[Insn], attach_type: u32) -> Result<OwnedFd> {
    load_uprobe(code, attach_type, SLEEPABLE)
}

fn load_uprobe(code: &[Insn], attach_type: u32, flags: u32) -> Result<OwnedFd> {
    let mut whole = thread_stack_prologue()?;
    whole.extend_from_slice(code);
    let options = LoadOptions { attach_type, flags, ..LoadOptions::default() };
    load_as(BPF_PROG_TYPE_KPROBE, &whole, options)
}

/// Returns a prologue that makes the kernel run the program on the stack of the interrupted thread.
///
/// Since Linux 6.13, kprobe programs have a private stack per CPU (`bpf_enable_priv_stack` in
/// `kernel/bpf/verifier.c`). A uprobe program can be preempted, though, and another thread that
/// hits a probe on the same CPU would overwrite that stack. Programs with a tail call keep the
/// thread's stack. The tail call in this prologue is never executed; the verifier removes it as
/// dead code.
fn thread_stack_prologue() -> Result<Vec<Insn>> {
    let mut asm = Assembler::default();
    let begin = asm.label();
    asm.mov_imm(R0, 0);
    asm.jump_if(Cond::Eq, R0, 0, begin);
    asm.call(helper::TAIL_CALL);
    asm.exit();
    asm.place(begin);
    asm.finish_prologue()
        .map_err(|JumpError| Error::unsupported("the generated BPF program has an invalid jump"))
}

/// Assembles a program that executes `body` and returns 0.
pub(super) fn small_program(body: impl FnOnce(&mut Assembler)) -> Vec<Insn> {
    let mut asm = Assembler::default();
    body(&mut asm);
    asm.mov_imm(R0, 0);
    asm.exit();
    asm.finish().unwrap_or_default()
}

/// Loads a program for a raw tracepoint.
pub(super) fn load_tracepoint(code: &[Insn]) -> Result<OwnedFd> {
    load_as(BPF_PROG_TYPE_RAW_TRACEPOINT, code, LoadOptions::default())
}

/// Loads a program for a function of the kernel, given by its type id in BTF.
pub(super) fn load_tracing(code: &[Insn], attach_type: u32, function: u32) -> Result<OwnedFd> {
    let options = LoadOptions { attach_type, attach_btf_id: function, ..LoadOptions::default() };
    load_as(BPF_PROG_TYPE_TRACING, code, options)
}

fn load_as(kind: u32, code: &[Insn], options: LoadOptions) -> Result<OwnedFd> {
    match try_load(kind, code, options, &mut []) {
        Ok(fd) => Ok(fd),
        Err(error) if is_about_the_program(&error) => {
            let mut log = vec![0u8; 1 << 16];
            match try_load(kind, code, options, &mut log) {
                Ok(fd) => Ok(fd),
                Err(_) => {
                    let message =
                        format!("the BPF verifier rejected the program ({})", last_lines(&log));
                    Err(Error::kernel(message, errno(&error)))
                }
            }
        }
        Err(error) => Err(error),
    }
}

/// Returns true if the verifier's log may explain an error: `EPERM` is about privileges, `ENOSYS`
/// about the kernel, and a program that was accepted needs memory and a descriptor.
fn is_about_the_program(error: &Error) -> bool {
    !matches!(
        error.raw_os_error(),
        Some(libc::EPERM | libc::ENOSYS | libc::EMFILE | libc::ENFILE | libc::ENOMEM) | None
    )
}

/// Returns the last lines of a verifier's log, which have the reason, joined in one line.
fn last_lines(log: &[u8]) -> String {
    const LINES: usize = 4;
    // What follows the first NUL are remains of an earlier part.
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    let log = String::from_utf8_lossy(log.get(..end).unwrap_or_default());
    let lines: Vec<&str> = log.trim_end().lines().collect();
    lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join(" | ")
}

fn errno(error: &Error) -> std::io::Error {
    std::io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(0))
}

fn try_load(kind: u32, code: &[Insn], options: LoadOptions, log: &mut [u8]) -> Result<OwnedFd> {
    syscall::prog_load(kind, c"usdt_attach", code, options, log)
        .map_err(Error::kernel_rejected("cannot load the BPF program"))
}
