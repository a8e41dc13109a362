//! Whether this process is still the parent of the process that runs a BPF program.

use super::{btf, pid_namespace};
use crate::bpf::asm::{Assembler, Cond, Label, R0, R1, R7, R10, Width};
use crate::bpf::codegen::pid_namespace::read_kernel;
use crate::bpf::helper;

/// Offset from the frame pointer of a copied pointer or number.
const WORD: i16 = -24;

/// How a program compares the parent of the running process with this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ParentCheck {
    /// Byte offsets of fields in `task_struct`.
    real_parent: i32,
    tgid: i32,
    /// The id of this process in the initial PID namespace.
    own_id: i32,
}

impl ParentCheck {
    /// Returns `None` on a kernel without BTF and, in a PID namespace, before Linux 5.10.
    pub(super) fn find() -> Option<ParentCheck> {
        let offsets = btf::field_offsets("task_struct", ["real_parent", "tgid"])?;
        let [real_parent, tgid] = offsets.map(i32::try_from);
        let own_id = i32::try_from(pid_namespace::initial_id()?).ok()?;
        Some(ParentCheck { real_parent: real_parent.ok()?, tgid: tgid.ok()?, own_id })
    }

    /// Jumps to `is_child` if the running process was started by this one, which has not ended: it
    /// would have another parent then. Changes all registers but `r6`, `r8` and `r9`.
    pub(super) fn jump_if_child(&self, asm: &mut Assembler, is_child: Label) {
        asm.call(helper::GET_CURRENT_TASK);
        read_kernel(asm, WORD, 8, R0, self.real_parent);
        asm.load(Width::Dw, R7, R10, WORD);
        read_kernel(asm, WORD, 4, R7, self.tgid);
        asm.load(Width::W, R1, R10, WORD);
        asm.jump_if(Cond::Eq, R1, self.own_id, is_child);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::syscall::run_tracepoint_program;
    use crate::kernel::load::load_tracepoint;
    use std::os::fd::AsFd as _;

    /// Runs the check in this process as if its own id were this one.
    fn is_child_of(id: u32) -> Option<bool> {
        let check = ParentCheck { own_id: id.try_into().ok()?, ..ParentCheck::find()? };
        let mut asm = Assembler::default();
        let is_child = asm.label();
        check.jump_if_child(&mut asm, is_child);
        asm.mov_imm(R0, 0);
        asm.exit();
        asm.place(is_child);
        asm.mov_imm(R0, 1);
        asm.exit();
        let program = load_tracepoint(&asm.finish().ok()?).ok()?;
        run_tracepoint_program(program.as_fd()).ok().map(|result| result == 1)
    }

    #[test]
    fn recognizes_the_parent() {
        let parent = is_child_of(std::os::unix::process::parent_id());
        if parent.is_none() && std::env::var("USDT_E2E").as_deref() != Ok("require") {
            return;
        }
        // The id of a parent in another namespace is not known here.
        assert_eq!(parent, Some(pid_namespace::own().is_ok_and(|namespace| namespace.is_none())));
        assert_eq!(is_child_of(std::process::id()), Some(false), "this process itself");
    }
}
