//! The supported Go releases. Code, tests and tasks all use this table.
//!
//! To add a minor release, first compare three things with it: the offset of the goroutine id, the
//! offsets and labels of [`crate::catalog`], and the overlay of `usdt-gen`.
//!
//! Binaries of other releases can be traced, too. Their offsets are read from DWARF, and facts that
//! DWARF does not have are left out.

use std::ops::RangeInclusive;

/// The minor releases whose struct layouts were measured: `21` is Go 1.21. The first one is the
/// oldest Go release that builds generated packages.
pub const MINORS: RangeInclusive<u32> = 21..=27;

/// The patch release of each minor release, in the same order, that the tests of the compatibility
/// matrix and of the ready-made packages use.
pub const TESTED: [&str; 7] =
    ["1.21.13", "1.22.12", "1.23.12", "1.24.13", "1.25.5", "1.26.8", "1.27.3"];

/// Returns the minor number of a supported release: 27 for `go1.27.3`.
///
/// `version` is in the format of `runtime.Version()`. Experiments after a space are ignored. `None`
/// for release candidates, development versions and forks, whose layouts may differ.
pub(crate) fn minor(version: &str) -> Option<u32> {
    let release = version.split(' ').next()?.strip_prefix("go1.")?;
    let mut parts = release.split('.');
    let minor = parts.next()?.parse::<u32>().ok()?;
    (parts.all(|part| part.parse::<u32>().is_ok()) && MINORS.contains(&minor)).then_some(minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_one_release_of_each_supported_minor() {
        let tested: Vec<u32> =
            TESTED.iter().filter_map(|release| minor(&format!("go{release}"))).collect();
        assert_eq!(tested, MINORS.collect::<Vec<_>>());
    }

    #[test]
    fn accepts_supported_releases_only() {
        for (version, expected) in [
            ("go1.21", Some(21)),
            ("go1.24.13 X:nocoverageredesign", Some(24)),
            ("go1.27.3", Some(27)),
            ("go1.20.1", None),
            ("go1.28.0", None),
            ("go1.27rc1", None),
            ("go1.27.3-fips", None),
            ("devel go1.28-abcdef", None),
            ("", None),
        ] {
            assert_eq!(minor(version), expected, "{version}");
        }
    }
}
