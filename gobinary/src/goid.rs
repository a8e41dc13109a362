//! The goroutine id: the register that holds the running goroutine, and the offset of the id by
//! release.

use crate::supported_releases;

/// The hardware number of the register that holds the running goroutine, `g`, in Go code on amd64:
/// R14 (`src/cmd/compile/abi-internal.md`).
pub const G_REGISTER_AMD64: u8 = 14;
/// The hardware number of the register that holds the running goroutine, `g`, in Go code on arm64:
/// R28.
pub const G_REGISTER_ARM64: u8 = 28;

/// An offset of `goid` in `runtime.g`, and the first minor release that has it.
struct OffsetSince {
    minor: u32,
    offset: u32,
}

/// The offsets on 64-bit ports, measured on the DWARF of each
/// [supported release](crate::supported_releases). They are the same on amd64 and arm64.
const OFFSETS: &[OffsetSince] = &[
    OffsetSince { minor: 17, offset: 152 },
    // Go 1.23 added `syscallbp`.
    OffsetSince { minor: 23, offset: 160 },
    // Go 1.25 removed `gobuf.ret`.
    OffsetSince { minor: 25, offset: 152 },
];

/// Returns the offset in bytes for a version. `None` for unsupported releases, development versions
/// and forks.
pub(crate) fn by_version(version: &str) -> Option<u32> {
    let minor = supported_releases::minor(version)?;
    OFFSETS.iter().rev().find(|since| since.minor <= minor).map(|since| since.offset)
}

#[cfg(test)]
mod tests {
    use super::by_version;

    #[test]
    fn knows_the_offset_of_supported_releases_only() {
        for (version, offset) in [
            ("go1.17.13", Some(152)),
            ("go1.21", Some(152)),
            ("go1.22.12", Some(152)),
            ("go1.23.0", Some(160)),
            ("go1.24.13 X:nocoverageredesign", Some(160)),
            ("go1.25.5", Some(152)),
            ("go1.27.3", Some(152)),
            ("go1.28.0", None),
            ("devel go1.28-abcdef", None),
        ] {
            assert_eq!(by_version(version), offset, "{version}");
        }
    }
}
