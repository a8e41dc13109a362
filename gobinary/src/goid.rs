//! Where a goroutine keeps its id: the register that holds the running goroutine, and the offset by release.

/// Number of the register that holds `g` in Go code on amd64: R14 (`src/cmd/compile/abi-internal.md`).
pub const G_AMD64: u8 = 14;
/// Number of the register that holds `g` on arm64: R28.
pub const G_ARM64: u8 = 28;

/// Offset of `goid` in `runtime.g` on 64-bit ports, from the first release of the range on. Measured on each
/// minor release's own DWARF (amd64 and arm64 agree).
const OFFSETS: &[(u32, u32)] = &[
    (21, 152),
    (23, 160), // `syscallbp` was added
    (25, 152), // `gobuf.ret` went away
];

/// Minor releases whose structs were measured.
const MEASURED: std::ops::RangeInclusive<u32> = 21..=27;

/// The offset for a release; `None` for versions that no one measured, development versions and forks.
pub fn by_version(version: &str) -> Option<u32> {
    let minor = released(version)?;
    OFFSETS.iter().rev().find(|(from, _)| *from <= minor).map(|(_, offset)| *offset)
}

/// The minor release, where structs are as they were measured: `go1.27.3` → 27; experiments behind a space do not
/// matter, anything else that follows does.
pub(crate) fn released(version: &str) -> Option<u32> {
    let release = version.split(' ').next()?.strip_prefix("go1.")?;
    let mut parts = release.split('.');
    let minor = parts.next()?.parse::<u32>().ok()?;
    (parts.all(|p| p.parse::<u32>().is_ok()) && MEASURED.contains(&minor)).then_some(minor)
}

#[cfg(test)]
mod tests {
    use super::by_version;

    #[test]
    fn releases_are_known_and_nothing_else_is() {
        for (version, offset) in [
            ("go1.21", Some(152)),
            ("go1.22.12", Some(152)),
            ("go1.23.0", Some(160)),
            ("go1.24.13 X:nocoverageredesign", Some(160)),
            ("go1.25.5", Some(152)),
            ("go1.27.3", Some(152)),
            ("go1.20.1", None),
            ("go1.28.0", None),
            ("go1.27rc1", None),
            ("go1.27.3-fips", None),
            ("devel go1.28-abcdef", None),
            ("", None),
        ] {
            assert_eq!(by_version(version), offset, "{version}");
        }
    }
}
