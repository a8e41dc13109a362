//! References in machine code of Go's compiler: the data that it accesses and the functions that it
//! calls.

use stapsdt::argspec::Arch;

/// Machine code and its link-time address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Code<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) address: u64,
    pub(crate) arch: Arch,
}

/// A reference to data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// The offset in bytes of the instruction from the start of the code.
    pub(crate) offset: usize,
    /// The link-time address of the data.
    pub(crate) address: u64,
}

impl Code<'_> {
    /// Returns the references to data, in the order of the instructions.
    pub(crate) fn references(&self) -> Vec<Reference> {
        match self.arch {
            Arch::X86_64 => self.references_amd64(),
            Arch::Aarch64 => self.references_arm64(),
        }
    }

    /// Returns the offset of the first call of a function; `None` if the code does not call it.
    pub(crate) fn find_call(&self, function: u64) -> Option<usize> {
        match self.arch {
            Arch::X86_64 => {
                let is_call = |offset: usize, window: &[u8]| match window {
                    [0xe8, distance @ ..] => {
                        relative_address(self.address, offset + 5, distance) == Some(function)
                    }
                    _ => false,
                };
                let mut windows = self.bytes.windows(5).enumerate();
                windows.find(|(offset, window)| is_call(*offset, window)).map(|(offset, _)| offset)
            }
            Arch::Aarch64 => self.words().find_map(|(offset, word)| {
                let distance = (i64::from(word << 6) << 32 >> 32 >> 6) * 4;
                let target = self.address.wrapping_add(offset as u64).wrapping_add_signed(distance);
                (word >> 26 == 0b10_0101 && target == function).then_some(offset)
            }),
        }
    }

    /// Finds 64-bit `mov`, `lea` and `cmp` with an address relative to the end of the instruction.
    fn references_amd64(&self) -> Vec<Reference> {
        let reference = |(offset, window): (usize, &[u8])| match window {
            [0x48..=0x4f, 0x39 | 0x3b | 0x89 | 0x8b | 0x8d, mod_rm, distance @ ..]
                if mod_rm & 0xc7 == 5 =>
            {
                relative_address(self.address, offset + 7, distance)
                    .map(|address| Reference { offset, address })
            }
            _ => None,
        };
        self.bytes.windows(7).enumerate().filter_map(reference).collect()
    }

    /// Finds `add`, `ldr`, `str`, `ldp` and `stp` after an `adrp` with the same register.
    fn references_arm64(&self) -> Vec<Reference> {
        let mut pages = [None::<u64>; 32];
        let mut out = Vec::new();
        for (offset, word) in self.words() {
            let (to, from) = ((word & 31) as usize, (word >> 5 & 31) as usize);
            let page = pages.get(from).copied().flatten();
            let immediate = u64::from(word >> 10 & 0xfff);
            if word & 0x9f00_0000 == 0x9000_0000 {
                let high = i64::from(word << 8) << 32 >> 32 >> 13 << 2;
                let pages_away = high | i64::from(word >> 29 & 3);
                let own_page = self.address.wrapping_add(offset as u64) & !0xfff;
                if let Some(page) = pages.get_mut(to) {
                    *page = Some(own_page.wrapping_add_signed(pages_away << 12));
                }
                continue;
            }
            let Some(page) = page else { continue };
            match word >> 22 {
                // add
                0b10_0100_0100 => {
                    out.push(Reference { offset, address: page.wrapping_add(immediate) });
                }
                // str, ldr
                0b11_1110_0100 | 0b11_1110_0101 => {
                    out.push(Reference { offset, address: page.wrapping_add(immediate * 8) });
                }
                // stp, ldp
                0b10_1010_0100 | 0b10_1010_0101 => {
                    let distance = i64::from(word << 10) << 32 >> 32 >> 25 << 3;
                    let address = page.wrapping_add_signed(distance);
                    out.push(Reference { offset, address });
                    out.push(Reference { offset, address: address.wrapping_add(8) });
                }
                _ => {}
            }
        }
        out
    }

    /// Returns the 32-bit instructions with their offsets.
    fn words(&self) -> impl Iterator<Item = (usize, u32)> {
        let (words, _) = self.bytes.as_chunks::<4>();
        words.iter().enumerate().map(|(index, word)| (4 * index, u32::from_le_bytes(*word)))
    }
}

/// Returns the address at a 32-bit distance from the end of an instruction, whose offset is `end`.
fn relative_address(address: u64, end: usize, distance: &[u8]) -> Option<u64> {
    let distance = i32::from_le_bytes(*distance.first_chunk()?);
    Some(address.wrapping_add(end as u64).wrapping_add_signed(distance.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_references_and_calls_on_amd64() {
        // lea 0x106122(%rip),%rax; mov 0xe5ede(%rip),%rcx; call
        let bytes = [
            0x48, 0x8d, 5, 0x22, 0x61, 0x10, 0, 0x48, 0x8b, 0xd, 0xde, 0x5e, 0xe, 0, 0xe8, 1, 0, 0,
            0,
        ];
        let code = Code { bytes: &bytes, address: 0x446_7ef, arch: Arch::X86_64 };
        assert_eq!(
            code.references(),
            [
                Reference { offset: 0, address: 0x54c_918 },
                Reference { offset: 7, address: 0x52c_6db }
            ]
        );
        assert_eq!((code.find_call(0x446_7ef + 20), code.find_call(0)), (Some(14), None));
    }

    #[test]
    fn finds_references_and_calls_on_arm64() {
        let words: [u32; 6] = [
            0xb000_0dfb, // adrp x27, +0x1bd000
            0xf943_6b60, // ldr x0, [x27, #1744]
            0xb000_0de0, // adrp x0, +0x1bd000
            0x911b_4000, // add x0, x0, #0x6d0
            0xa940_0400, // ldp x0, x1, [x0]
            0x97ff_fffe, // bl -8
        ];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let code = Code { bytes: &bytes, address: 0x1_0000, arch: Arch::Aarch64 };
        let page = 0x1_0000 + 0x1b_d000;
        let address = page + 0x6d0;
        assert_eq!(
            code.references()[..2],
            [Reference { offset: 4, address }, Reference { offset: 12, address }]
        );
        assert_eq!((code.find_call(0x1_000c), code.find_call(0x1_0010)), (Some(20), None));
    }

    proptest::proptest! {
        #[test]
        fn accepts_any_code(bytes: Vec<u8>, address: u64, function: u64) {
            for arch in [Arch::X86_64, Arch::Aarch64] {
                let code = Code { bytes: &bytes, address, arch };
                code.references();
                code.find_call(function);
            }
        }
    }
}
