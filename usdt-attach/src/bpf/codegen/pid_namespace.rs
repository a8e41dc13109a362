//! The ids of the running thread and process in a PID namespace other than the initial one.
//!
//! `bpf_get_current_pid_tgid` returns the ids of the initial PID namespace. In another namespace,
//! a program asks for the ids once, when it begins, and keeps them in a slot of its stack that
//! nothing else uses. Both ids are 0 for a process outside the namespace.
//!
//! `bpf_get_ns_current_pid_tgid` compares the namespace with that of the process itself, so it fails
//! for a process of a nested namespace, such as a container that was started in this one. Its ids
//! are then read from the kernel's `struct pid`.

use super::{Cond, Emitter, R0, R1, R2, R3, R7, R8, R9, R10, Width, helper};
#[cfg(any(test, fuzzing))]
use crate::bpf::NestedIds;
use crate::bpf::PidNamespace;
use crate::bpf::asm::{Assembler, R4, Reg};

/// Offset from the frame pointer of the ids: the thread id, then the process id. It is below every
/// frame and record.
pub(crate) const IDS: i16 = -488;
/// Offset from the frame pointer of a copied pointer or number.
const WORD: i16 = -496;
/// Offset from the frame pointer of a copied `struct upid`: the id in 4 bytes, 4 unused bytes, and
/// a pointer to the namespace.
const UPID: i16 = -512;
/// Size in bytes of a `struct upid`.
pub(crate) const UPID_LEN: i32 = 16;

/// A namespace for tests.
#[cfg(any(test, fuzzing))]
pub(super) const SAMPLE: PidNamespace = PidNamespace {
    device: 4,
    inode: 0xF000_0005,
    nested: Some(NestedIds {
        level: 1,
        thread_pid: 2500,
        group_leader: 2400,
        pid_level: 4,
        upid: 112,
        inode: 100,
    }),
};

/// Stores the ids of the running thread and process at [`IDS`]. Changes all registers but `r6`.
pub(crate) fn store_ids(asm: &mut Assembler, namespace: &PidNamespace) {
    let done = asm.label();
    asm.mov_imm64(R1, i64::from(namespace.device));
    asm.mov_imm64(R2, i64::from(namespace.inode));
    asm.mov(R3, R10);
    asm.add_imm(R3, IDS.into());
    asm.mov_imm(R4, 8);
    // Sets both ids to 0 if it fails.
    asm.call(helper::GET_NS_CURRENT_PID_TGID);
    if let Some(nested) = namespace.nested {
        asm.jump_if(Cond::Eq, R0, 0, done);
        asm.call(helper::GET_CURRENT_TASK);
        asm.mov(R7, R0);
        read_pointer(asm, R8, R7, nested.thread_pid);
        read_kernel(asm, WORD, 4, R8, nested.pid_level);
        asm.load(Width::W, R1, R10, WORD);
        asm.jump_if(Cond::Lt, R1, nested.level, done);
        read_kernel(asm, UPID, UPID_LEN, R8, nested.upid);
        asm.load(Width::W, R9, R10, UPID);
        asm.load(Width::Dw, R8, R10, UPID + 8);
        read_kernel(asm, WORD, 4, R8, nested.inode);
        asm.load(Width::W, R1, R10, WORD);
        asm.mov_imm64(R2, i64::from(namespace.inode));
        asm.jump_if_reg(Cond::Ne, R1, R2, done);
        read_pointer(asm, R8, R7, nested.group_leader);
        read_pointer(asm, R8, R8, nested.thread_pid);
        read_kernel(asm, UPID, UPID_LEN, R8, nested.upid);
        asm.load(Width::W, R1, R10, UPID);
        asm.store(Width::W, R10, IDS, R9);
        asm.store(Width::W, R10, IDS + 4, R1);
    }
    asm.place(done);
}

/// Copies kernel memory at `base + offset` to the stack. A failed read gives zeros.
pub(crate) fn read_kernel(asm: &mut Assembler, to: i16, len: i32, base: Reg, offset: i32) {
    asm.mov(R1, R10);
    asm.add_imm(R1, to.into());
    asm.mov_imm(R2, len);
    asm.mov(R3, base);
    asm.add_imm(R3, offset);
    asm.call(helper::PROBE_READ_KERNEL);
}

/// `dst = *(base + offset)`, 0 if the read fails.
fn read_pointer(asm: &mut Assembler, dst: Reg, base: Reg, offset: i32) {
    read_kernel(asm, WORD, 8, base, offset);
    asm.load(Width::Dw, dst, R10, WORD);
}

impl Emitter<'_> {
    /// Stores the ids for the rest of the program, unless the process is in the initial namespace.
    pub(super) fn load_ids(&mut self) {
        if let Some(namespace) = &self.features.pid_namespace {
            store_ids(&mut self.asm, namespace);
        }
    }

    /// Jumps to `outside` if the process is not in the namespace. Returns false, and does nothing, if
    /// that cannot be.
    pub(super) fn check_namespace(&mut self, outside: super::Label) -> bool {
        let may_be_outside = self.features.pid_namespace.is_some() && !self.plan.names_processes();
        if may_be_outside {
            self.asm.load(Width::W, R1, R10, IDS + 4);
            self.asm.jump_if(Cond::Eq, R1, 0, outside);
        }
        may_be_outside
    }

    /// `r0 = ` the thread id, and the process id in the upper half.
    pub(super) fn ids(&mut self) {
        match self.features.pid_namespace {
            Some(_) => self.asm.load(Width::Dw, R0, R10, IDS),
            None => self.asm.call(helper::GET_CURRENT_PID_TGID),
        }
    }
}
