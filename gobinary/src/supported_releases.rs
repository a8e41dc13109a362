//! The supported Go releases. Code, tests and tasks all use this table.
//!
//! To add a minor release, first compare three things with it: the offset of the goroutine id, the
//! offsets and labels of [`crate::catalog`], and the overlay of `usdt-gen`.
//!
//! Unmodified binaries of older releases can be traced, too: see [`UNMODIFIED_MINORS`]. For other
//! versions, offsets are read from DWARF, and facts that DWARF does not have are left out.

use std::ops::RangeInclusive;

/// The minor releases that build generated packages: `21` is Go 1.21.
pub const MINORS: RangeInclusive<u32> = 21..=27;

/// The minor releases whose unmodified binaries have function entries as probes. The tables of this
/// crate have the struct layouts of all of them.
///
/// The first one is the oldest release that passes arguments in registers on amd64.
pub const UNMODIFIED_MINORS: RangeInclusive<u32> = 17..=27;

/// The oldest minor release that passes arguments in registers on arm64.
pub(crate) const FIRST_REGISTER_ABI_ARM64: u32 = 18;

/// The patch release of each minor release, in the same order, that the tests of the compatibility
/// matrix and of the ready-made packages use.
pub const TESTED: [&str; 7] =
    ["1.21.13", "1.22.12", "1.23.12", "1.24.13", "1.25.5", "1.26.8", "1.27.3"];

/// The patch release of each minor release of [`UNMODIFIED_MINORS`] before [`MINORS`], in order,
/// that the tests of unmodified binaries use in addition to [`TESTED`].
pub const TESTED_UNMODIFIED: [&str; 4] = ["1.17.13", "1.18.10", "1.19.13", "1.20.14"];

/// Returns the minor number of a release whose layouts are in the tables: 27 for `go1.27.3`.
///
/// `version` is in the format of `runtime.Version()`. Experiments after a space are ignored. `None`
/// for release candidates, development versions and forks, whose layouts may differ.
pub(crate) fn minor(version: &str) -> Option<u32> {
    let release = version.split(' ').next()?.strip_prefix("go1.")?;
    let mut parts = release.split('.');
    let minor = parts.next()?.parse::<u32>().ok()?;
    let is_release = parts.all(|part| part.parse::<u32>().is_ok());
    (is_release && UNMODIFIED_MINORS.contains(&minor)).then_some(minor)
}

/// Returns the minor number that a version begins with, of any release, release candidate or fork:
/// 15 for `go1.15rc1`. `None` for development versions.
pub(crate) fn leading_minor(version: &str) -> Option<u32> {
    let rest = version.strip_prefix("go1.")?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_one_release_of_each_supported_minor() {
        let minors = |releases: &[&str]| -> Vec<u32> {
            releases.iter().filter_map(|release| minor(&format!("go{release}"))).collect()
        };
        assert_eq!(minors(&TESTED), MINORS.collect::<Vec<_>>());
        let unmodified = [&TESTED_UNMODIFIED[..], &TESTED].concat();
        assert_eq!(minors(&unmodified), UNMODIFIED_MINORS.collect::<Vec<_>>());
    }

    #[test]
    fn accepts_supported_releases_only() {
        for (version, expected) in [
            ("go1.21", Some(21)),
            ("go1.24.13 X:nocoverageredesign", Some(24)),
            ("go1.27.3", Some(27)),
            ("go1.17", Some(17)),
            ("go1.16.15", None),
            ("go1.28.0", None),
            ("go1.27rc1", None),
            ("go1.27.3-fips", None),
            ("devel go1.28-abcdef", None),
            ("", None),
        ] {
            assert_eq!(minor(version), expected, "{version}");
        }
    }

    #[test]
    fn reads_the_leading_minor_of_any_version() {
        for (version, expected) in [
            ("go1.15.9", Some(15)),
            ("go1.9rc2", Some(9)),
            ("go1.19.8-custom", Some(19)),
            ("go1.28", Some(28)),
            ("go1.", None),
            ("go2.1", None),
            ("devel go1.28-abcdef", None),
            ("", None),
        ] {
            assert_eq!(leading_minor(version), expected, "{version}");
        }
    }
}
