//! What instructions of Go's compiler refer to: data relative to the code, and functions that they call.

use object::Architecture;

/// A piece of code, and where it is linked to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Code<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) address: u64,
    pub(crate) arch: Architecture,
}

impl Code<'_> {
    /// Addresses of data, in the order of the instructions, with the instruction's distance from the beginning.
    pub(crate) fn references(&self) -> Vec<(usize, u64)> {
        match self.arch {
            Architecture::X86_64 => self.references_amd64(),
            Architecture::Aarch64 => self.references_arm64(),
            _ => Vec::new(),
        }
    }

    /// Where a function is called first.
    pub(crate) fn call(&self, function: u64) -> Option<usize> {
        match self.arch {
            Architecture::X86_64 => {
                let is_call = |window: &(usize, &[u8])| match window.1 {
                    [0xe8, distance @ ..] => {
                        relative(self.address, window.0 + 5, distance) == Some(function)
                    }
                    _ => false,
                };
                self.bytes.windows(5).enumerate().find(is_call).map(|(at, _)| at)
            }
            Architecture::Aarch64 => self.words().find_map(|(at, word)| {
                let distance = (i64::from(word << 6) << 32 >> 32 >> 6) * 4;
                let target = self.address.wrapping_add(at as u64).wrapping_add_signed(distance);
                (word >> 26 == 0b10_0101 && target == function).then_some(at)
            }),
            _ => None,
        }
    }

    /// `mov`, `lea` and `cmp` of 64 bits with an address relative to the instruction's end.
    fn references_amd64(&self) -> Vec<(usize, u64)> {
        let one = |(at, window): (usize, &[u8])| match window {
            [0x48..=0x4f, 0x39 | 0x3b | 0x89 | 0x8b | 0x8d, how, distance @ ..]
                if how & 0xc7 == 5 =>
            {
                relative(self.address, at + 7, distance).map(|address| (at, address))
            }
            _ => None,
        };
        self.bytes.windows(7).enumerate().filter_map(one).collect()
    }

    /// `adrp` and an `add`, `ldr`, `str`, `ldp` or `stp` behind it.
    fn references_arm64(&self) -> Vec<(usize, u64)> {
        let mut pages = [None::<u64>; 32];
        let mut out = Vec::new();
        for (at, word) in self.words() {
            let (to, from) = ((word & 31) as usize, (word >> 5 & 31) as usize);
            let page = pages.get(from).copied().flatten();
            let immediate = u64::from(word >> 10 & 0xfff);
            if word & 0x9f00_0000 == 0x9000_0000 {
                let high = i64::from(word << 8) << 32 >> 32 >> 13 << 2;
                let pages_away = high | i64::from(word >> 29 & 3);
                let own = self.address.wrapping_add(at as u64) & !0xfff;
                if let Some(page) = pages.get_mut(to) {
                    *page = Some(own.wrapping_add_signed(pages_away << 12));
                }
                continue;
            }
            let Some(page) = page else { continue };
            match word >> 22 {
                0b10_0100_0100 => out.push((at, page.wrapping_add(immediate))),
                0b11_1110_0100 | 0b11_1110_0101 => out.push((at, page.wrapping_add(immediate * 8))),
                0b10_1010_0100 | 0b10_1010_0101 => {
                    let distance = i64::from(word << 10) << 32 >> 32 >> 25 << 3;
                    let first = page.wrapping_add_signed(distance);
                    out.extend([(at, first), (at, first.wrapping_add(8))]);
                }
                _ => {}
            }
        }
        out
    }

    fn words(&self) -> impl Iterator<Item = (usize, u32)> {
        let (words, _) = self.bytes.as_chunks::<4>();
        words.iter().enumerate().map(|(index, word)| (4 * index, u32::from_le_bytes(*word)))
    }
}

/// What a 32-bit distance that counts from the end of an instruction leads to.
fn relative(address: u64, end: usize, distance: &[u8]) -> Option<u64> {
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
        let code = Code { bytes: &bytes, address: 0x446_7ef, arch: Architecture::X86_64 };
        assert_eq!(code.references(), [(0, 0x54c_918), (7, 0x52c_6db)]);
        assert_eq!((code.call(0x446_7ef + 20), code.call(0)), (Some(14), None));
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
        let code = Code { bytes: &bytes, address: 0x1_0000, arch: Architecture::Aarch64 };
        let page = 0x1_0000 + 0x1b_d000;
        let seen = code.references();
        assert_eq!(seen[..2], [(4, page + 0x6d0), (12, page + 0x6d0)]);
        assert_eq!((code.call(0x1_000c), code.call(0x1_0010)), (Some(20), None));
    }

    proptest::proptest! {
        #[test]
        fn accepts_any_code(bytes: Vec<u8>, address: u64, function: u64) {
            for arch in [Architecture::X86_64, Architecture::Aarch64, Architecture::Riscv64] {
                let code = Code { bytes: &bytes, address, arch };
                code.references();
                code.call(function);
            }
        }
    }
}
