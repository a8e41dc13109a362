//! Loading programs.

use crate::bpf::asm::{Assembler, BadJump, Cond, Insn, R0};
use crate::bpf::uapi::{BPF_PROG_TYPE_KPROBE, BPF_PROG_TYPE_RAW_TRACEPOINT};
use crate::bpf::{helper, syscall};
use crate::error::{Error, Result};
use std::os::fd::OwnedFd;

/// Loads a uprobe program; `attach_type` is `BPF_TRACE_UPROBE_MULTI` for multi links, 0 for perf events.
pub(super) fn load(code: &[Insn], attach_type: u32) -> Result<OwnedFd> {
    let mut whole = on_the_stack_of_the_thread()?;
    whole.extend_from_slice(code);
    load_as(BPF_PROG_TYPE_KPROBE, &whole, attach_type)
}

/// What makes a program keep its data on the stack of the thread that it interrupts. Since Linux 6.13 programs of its
/// kind have one stack for each CPU instead (`bpf_enable_priv_stack` in `kernel/bpf/verifier.c`), as if nothing could
/// preempt them; but a uprobe's can be preempted, by another thread that reaches a probe and overwrites what is there.
/// Programs with a tail call are spared, and this one, which is never made, goes away when the program is loaded.
fn on_the_stack_of_the_thread() -> Result<Vec<Insn>> {
    let mut asm = Assembler::default();
    let begin = asm.label();
    asm.mov_imm(R0, 0);
    asm.jump_if(Cond::Eq, R0, 0, begin);
    asm.call(helper::TAIL_CALL);
    asm.exit();
    asm.place(begin);
    asm.finish_head().map_err(|BadJump| Error::unsupported("a jump to nowhere"))
}

/// A program that does this and returns 0.
pub(super) fn small_program(body: impl FnOnce(&mut Assembler)) -> Vec<Insn> {
    let mut asm = Assembler::default();
    body(&mut asm);
    asm.mov_imm(R0, 0);
    asm.exit();
    // It has no jumps that could lead nowhere.
    asm.finish().unwrap_or_default()
}

/// Loads a raw tracepoint's program.
pub(super) fn load_tracepoint(code: &[Insn]) -> Result<OwnedFd> {
    load_as(BPF_PROG_TYPE_RAW_TRACEPOINT, code, 0)
}

fn load_as(kind: u32, code: &[Insn], attach_type: u32) -> Result<OwnedFd> {
    match try_load(kind, code, attach_type, &mut []) {
        Ok(fd) => Ok(fd),
        Err(error) if verifier_may_tell(&error) => {
            let mut log = vec![0u8; 1 << 16];
            match try_load(kind, code, attach_type, &mut log) {
                Ok(fd) => Ok(fd),
                Err(_) => {
                    let text = String::from_utf8_lossy(&log);
                    let tail: Vec<&str> =
                        text.trim_end_matches('\0').trim_end().lines().rev().take(4).collect();
                    let tail: Vec<&str> = tail.into_iter().rev().collect();
                    Err(Error::kernel(
                        format!("the kernel rejects the program ({})", tail.join(" | ")),
                        errno(&error),
                    ))
                }
            }
        }
        Err(error) => Err(error),
    }
}

/// `EPERM` is about privileges; anything else is about the program.
fn verifier_may_tell(error: &Error) -> bool {
    !matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS) | None)
}

fn errno(error: &Error) -> std::io::Error {
    std::io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(0))
}

fn try_load(kind: u32, code: &[Insn], attach_type: u32, log: &mut [u8]) -> Result<OwnedFd> {
    syscall::prog_load(kind, c"usdt_attach", code, attach_type, log)
        .map_err(Error::kernel_rejected("cannot load the BPF program"))
}
