//! Offsets of registers in `struct pt_regs`, the context of uprobe programs.
//!
//! The layout is that of the user-space ABI (`arch/x86/include/uapi/asm/ptrace.h`,
//! `arch/arm64/include/uapi/asm/ptrace.h`) and is stable on both architectures.

use stapsdt::argspec::{Arch, RegisterId};

/// The flags that the branch of a stack check tests, "unsigned lower or same".
pub(crate) struct CheckedFlags {
    /// Byte offset of the register with the flags.
    pub(crate) offset: i16,
    /// The name of the register in the kernel's `struct pt_regs`.
    pub(crate) name: &'static str,
    /// The bits of the carry and the zero flag.
    pub(crate) mask: i32,
    /// The bits that are set if the branch is not taken.
    pub(crate) not_taken: i32,
}

impl CheckedFlags {
    /// `jbe` on x86-64 is not taken if carry and zero are clear; `b.ls` on arm64 if carry is set and
    /// zero is clear.
    pub(crate) const NATIVE: CheckedFlags = if cfg!(target_arch = "aarch64") {
        CheckedFlags { offset: 264, name: "pstate", mask: 3 << 29, not_taken: 1 << 29 }
    } else {
        CheckedFlags { offset: 144, name: "flags", mask: 1 << 6 | 1, not_taken: 0 }
    };

    /// Returns true if the branch is not taken with this value of the register.
    pub(crate) fn passes(&self, register: u64) -> bool {
        register & self.mask as u64 == self.not_taken as u64
    }
}

/// Returns the byte offset of a register; `None` for vector registers, which `pt_regs` does not
/// contain.
pub(super) fn offset(register: RegisterId, arch: Arch) -> Option<i16> {
    /// Offsets of rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 … r15, in this order.
    const X86_64: [i16; 16] = [80, 88, 96, 40, 152, 32, 104, 112, 72, 64, 56, 48, 24, 16, 8, 0];
    match (arch, register) {
        (Arch::X86_64, RegisterId::Gpr(n)) => X86_64.get(usize::from(n)).copied(),
        (Arch::X86_64, RegisterId::Pc) => Some(128),
        (Arch::Aarch64, RegisterId::Gpr(n)) if n <= 30 => Some(8 * i16::from(n)),
        (Arch::Aarch64, RegisterId::Sp) => Some(248),
        (Arch::Aarch64, RegisterId::Pc) => Some(256),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branch_is_taken_if_carry_or_zero_says_so() {
        let flags = CheckedFlags::NATIVE;
        let taken = (flags.mask ^ flags.not_taken) as u64;
        let zero = if cfg!(target_arch = "aarch64") { 1 << 30 } else { 1 << 6 };
        assert!(flags.passes(flags.not_taken as u64));
        assert!(flags.passes(flags.not_taken as u64 | 0x202), "other flags do not matter");
        assert!(!flags.passes(taken) && !flags.passes(flags.not_taken as u64 | zero));
    }

    #[test]
    fn offsets_match_the_abi() {
        assert_eq!(offset(RegisterId::Gpr(4), Arch::X86_64), Some(152), "rsp");
        assert_eq!(offset(RegisterId::Gpr(14), Arch::X86_64), Some(8), "r14");
        assert_eq!(offset(RegisterId::Gpr(28), Arch::Aarch64), Some(224));
        assert_eq!(offset(RegisterId::Vector(0), Arch::X86_64), None);
        #[cfg(target_arch = "x86_64")]
        {
            assert_eq!(
                offset(RegisterId::Gpr(0), Arch::X86_64),
                Some(std::mem::offset_of!(libc::user_regs_struct, rax) as i16)
            );
            assert_eq!(
                offset(RegisterId::Gpr(7), Arch::X86_64),
                Some(std::mem::offset_of!(libc::user_regs_struct, rdi) as i16)
            );
            assert_eq!(
                offset(RegisterId::Gpr(15), Arch::X86_64),
                Some(std::mem::offset_of!(libc::user_regs_struct, r15) as i16)
            );
            assert_eq!(
                offset(RegisterId::Pc, Arch::X86_64),
                Some(std::mem::offset_of!(libc::user_regs_struct, rip) as i16)
            );
            assert_eq!(
                CheckedFlags::NATIVE.offset,
                std::mem::offset_of!(libc::user_regs_struct, eflags) as i16
            );
        }
    }
}
