//! The machine of an ELF file.

use crate::argspec::Arch;
use crate::note::Format;
use goblin::elf::header;
use std::fmt;

/// The machine for which a file was built.
///
/// `Display` prints the name that Debian gives to the architecture.
///
/// ```
/// use stapsdt::elf::Machine;
/// use stapsdt::note::Format;
///
/// let machine = Machine { number: 22, format: Format { is64: true, big_endian: true } };
/// assert_eq!(machine.to_string(), "s390x");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// `e_machine`.
    pub number: u16,
    /// The address size and the byte order.
    pub format: Format,
}

impl Machine {
    /// Returns the architecture; `None` if [`argspec`](crate::argspec) does not support it.
    pub fn arch(self) -> Option<Arch> {
        match (self.number, self.format) {
            (header::EM_X86_64, Format::LE64) => Some(Arch::X86_64),
            (header::EM_AARCH64, Format::LE64) => Some(Arch::Aarch64),
            _ => None,
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// `EM_LOONGARCH`, which goblin does not define.
        const EM_LOONGARCH: u16 = 258;
        let Format { is64, big_endian } = self.format;
        f.write_str(match (self.number, is64, big_endian) {
            (header::EM_X86_64, true, false) => "amd64",
            (header::EM_X86_64, false, false) => "x32",
            (header::EM_AARCH64, true, false) => "arm64",
            (header::EM_386, false, false) => "i386",
            (header::EM_ARM, false, false) => "arm",
            (header::EM_PPC64, true, false) => "ppc64el",
            (header::EM_PPC64, true, true) => "ppc64",
            (header::EM_PPC, false, true) => "powerpc",
            (header::EM_S390, true, true) => "s390x",
            (header::EM_S390, false, true) => "s390",
            (header::EM_RISCV, true, false) => "riscv64",
            (header::EM_RISCV, false, false) => "riscv32",
            (EM_LOONGARCH, true, false) => "loong64",
            (header::EM_MIPS, true, false) => "mips64el",
            (header::EM_MIPS, false, false) => "mipsel",
            (header::EM_SPARCV9, true, true) => "sparc64",
            (number, ..) => {
                let (bits, order) =
                    (if is64 { 64 } else { 32 }, if big_endian { "big" } else { "little" });
                return write!(f, "machine {number} ({bits}-bit, {order}-endian)");
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_little_endian_files_of_64_bits_have_an_architecture() {
        let machine =
            |number, is64, big_endian| Machine { number, format: Format { is64, big_endian } };
        assert_eq!(machine(62, true, false).arch(), Some(Arch::X86_64));
        assert_eq!(machine(183, true, false).arch(), Some(Arch::Aarch64));
        for (number, is64, big_endian, name) in [
            (62, false, false, "x32"),
            (183, true, true, "machine 183 (64-bit, big-endian)"),
            (3, false, false, "i386"),
            (243, true, false, "riscv64"),
            (21, true, true, "ppc64"),
        ] {
            let machine = machine(number, is64, big_endian);
            assert_eq!((machine.arch(), machine.to_string()), (None, name.to_owned()));
        }
    }
}
