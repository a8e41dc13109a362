//! Where a goroutine keeps its id: the register that holds the running goroutine, and the offset by release.

use crate::supported_releases;

/// Number of the register that holds `g` in Go code on amd64: R14 (`src/cmd/compile/abi-internal.md`).
pub const G_REGISTER_AMD64: u8 = 14;
/// Number of the register that holds `g` on arm64: R28.
pub const G_REGISTER_ARM64: u8 = 28;

/// Offset of `goid` in `runtime.g` on 64-bit ports, from the first minor release of the pair on. Measured on the DWARF
/// of each [supported release](crate::supported_releases); amd64 and arm64 agree.
const OFFSETS: &[(u32, u32)] = &[
    (21, 152),
    (23, 160), // `syscallbp` was added
    (25, 152), // `gobuf.ret` went away
];

/// The offset for a release; `None` for unsupported releases, development versions and forks.
pub(crate) fn by_version(version: &str) -> Option<u32> {
    let minor = supported_releases::minor(version)?;
    OFFSETS.iter().rev().find(|(from, _)| *from <= minor).map(|(_, offset)| *offset)
}

#[cfg(test)]
mod tests {
    use super::by_version;

    #[test]
    fn knows_the_offset_of_supported_releases_only() {
        for (version, offset) in [
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
