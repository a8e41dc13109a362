//! The exits of a function: the instructions at which it returns, and the jumps that leave it.
//!
//! The code is decoded from the function's first instruction to its last, so that no exit is found
//! inside another instruction. Go's compiler writes no data between instructions: tables of jumps
//! are in another section.

use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind};
use stapsdt::argspec::Arch;

/// The exits of a function, as offsets in bytes from its first instruction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exits {
    /// The return instructions.
    pub(crate) returns: Vec<u64>,
    /// The targets of jumps out of the function, as addresses, each once.
    pub(crate) jumps_out: Vec<u64>,
    /// True if the code calls a function and then jumps to its first instruction, as it does after
    /// its stack has grown.
    pub(crate) restarts: bool,
}

/// Finds the exits of a function with these bytes at this link-time address.
///
/// # Errors
///
/// Fails with the offset of the first bytes that are not an instruction.
pub(crate) fn find_exits(code: &[u8], address: u64, arch: Arch) -> Result<Exits, u64> {
    match arch {
        Arch::X86_64 => exits_amd64(code, address),
        Arch::Aarch64 => exits_arm64(code, address),
    }
}

impl Exits {
    fn add_jump(&mut self, target: u64, start: u64, len: u64, after_call: bool) {
        if target == start {
            self.restarts |= after_call;
        } else if target.wrapping_sub(start) >= len && !self.jumps_out.contains(&target) {
            self.jumps_out.push(target);
        }
    }
}

fn exits_amd64(code: &[u8], address: u64) -> Result<Exits, u64> {
    let mut exits = Exits::default();
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    let mut after_call = false;
    while decoder.can_decode() {
        let offset = decoder.position() as u64;
        decoder.decode_out(&mut instruction);
        if instruction.is_invalid() {
            return Err(offset);
        }
        let is_call = matches!(instruction.code(), Code::Call_rel32_64 | Code::Call_rm64);
        if matches!(instruction.code(), Code::Retnq | Code::Retnq_imm16) {
            exits.returns.push(offset);
        } else if instruction.op0_kind() == OpKind::NearBranch64 && !is_call {
            let target = instruction.near_branch_target();
            exits.add_jump(target, address, code.len() as u64, after_call);
        }
        after_call = is_call || after_call && restores_argument(instruction.mnemonic());
    }
    Ok(exits)
}

/// Returns true for the instructions with which a function restores its arguments after its stack
/// has grown.
fn restores_argument(mnemonic: Mnemonic) -> bool {
    use Mnemonic::{Mov, Movsd, Movss, Movsx, Movsxd, Movups, Movzx, Nop};
    matches!(mnemonic, Mov | Movsd | Movss | Movsx | Movsxd | Movups | Movzx | Nop)
}

fn exits_arm64(code: &[u8], address: u64) -> Result<Exits, u64> {
    /// `ret`, after masking its register.
    const RET: u32 = 0xd65f_0000;
    const RET_MASK: u32 = 0xffff_fc1f;
    let mut exits = Exits::default();
    let mut after_call = false;
    let (words, rest) = code.as_chunks::<4>();
    for (offset, word) in (0u64..).step_by(4).zip(words) {
        let word = u32::from_le_bytes(*word);
        let at = address.wrapping_add(offset);
        let len = code.len() as u64;
        if word & RET_MASK == RET {
            exits.returns.push(offset);
        } else if word >> 26 == 0b00_0101 {
            let distance = i64::from((word << 6) as i32 >> 6) * 4;
            exits.add_jump(at.wrapping_add_signed(distance), address, len, after_call);
        }
        let is_call = word >> 26 == 0b10_0101;
        // `ldr` and `ldp` of any size and register file.
        let is_load = word & 0x3b40_0000 == 0x3940_0000 || word & 0x3a40_0000 == 0x2840_0000;
        after_call = is_call || after_call && is_load;
    }
    if rest.is_empty() { Ok(exits) } else { Err(code.len() as u64 - rest.len() as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_returns_but_not_their_bytes_in_other_instructions() {
        let code = [
            0x49, 0x3b, 0x66, 0x10, 0x76, 0x0b, // cmp 0x10(%r14),%rsp; jbe
            0x55, // push %rbp
            0xb8, 0xc3, 0xc3, 0xc3, 0xc3, // mov $0xc3c3c3c3,%eax
            0x5d, 0xc3, // pop %rbp; ret
            0x5d, 0xc3, 0x90, // pop %rbp; ret; nop
            0xe8, 0, 1, 0, 0, // call
            0xeb, 0xe8, // jmp to the start
            0xcc, 0xcc,
        ];
        let exits = find_exits(&code, 0x1000, Arch::X86_64).unwrap();
        assert_eq!(exits, Exits { returns: vec![13, 15], jumps_out: vec![], restarts: true });
    }

    #[test]
    fn finds_jumps_out_of_the_function() {
        // jmp to 0x2000, twice; jmp to itself
        let code = [0xe9, 0xfb, 0x0f, 0, 0, 0xe9, 0xf6, 0x0f, 0, 0, 0xeb, 0xfe];
        let exits = find_exits(&code, 0x1000, Arch::X86_64).unwrap();
        assert_eq!(exits.jumps_out, [0x2000]);
        assert!(exits.returns.is_empty() && !exits.restarts);
    }

    #[test]
    fn rejects_bytes_that_are_no_instruction() {
        assert_eq!(find_exits(&[0x90, 0x06, 0xc3], 0, Arch::X86_64), Err(1));
        assert_eq!(find_exits(&[0x90, 0xe8, 1], 0, Arch::X86_64), Err(1), "a part of a call");
        assert_eq!(find_exits(&[0, 0, 0, 0, 1], 0, Arch::Aarch64), Err(4));
    }

    #[test]
    fn finds_exits_on_arm64() {
        let words: [u32; 6] = [
            0xf940_0b90, // ldr x16, [x28, #16]
            0xd65f_03c0, // ret
            0x1400_0400, // b +0x1000
            0x9400_0001, // bl
            0xf940_07e0, // ldr x0, [sp, #8]
            0x17ff_fffb, // b to the start
        ];
        let code: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let exits = find_exits(&code, 0x1_0000, Arch::Aarch64).unwrap();
        assert_eq!(exits, Exits { returns: vec![4], jumps_out: vec![0x1_1008], restarts: true });
    }

    proptest::proptest! {
        #[test]
        fn accepts_any_code(code: Vec<u8>, address: u64) {
            for arch in [Arch::X86_64, Arch::Aarch64] {
                if let Ok(exits) = find_exits(&code, address, arch) {
                    proptest::prop_assert!(exits.returns.iter().all(|at| *at < code.len() as u64));
                }
            }
        }
    }
}
